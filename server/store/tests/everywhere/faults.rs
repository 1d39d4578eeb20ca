//! Faults of database servers: conflicts, cut connections, no answer, a restart. And a new database
//! that two nodes open at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use throng_health::State;
use throng_store::{
    AppendError, NewUser, Options, RegisterError, StorageFault, Store, StoreError, check,
    hash_token,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::Scenario;
use crate::common::{
    Bench, DOWN_WITHIN, Flavor, SERVER, UP_WITHIN, bench, bench_with, client, new_database,
    options, text, texts, until, with_cid,
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A trigger that makes a transaction with the message `unlucky` the victim of a deadlock, the first
/// two times, and one with `doomed` every time. A rollback does not reset the sequence that counts.
fn conflicts(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Sqlite => panic!("SQLite has one writer"),
        Flavor::Postgres => {
            "CREATE SEQUENCE tries;
             CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF NEW.msg = 'doomed' OR (NEW.msg = 'unlucky' AND nextval('tries') <= 2) THEN
                 RAISE EXCEPTION 'injected' USING ERRCODE = '40P01';
               END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER fault BEFORE INSERT ON messages
             FOR EACH ROW EXECUTE FUNCTION fault()"
        }
        Flavor::Mariadb => {
            "CREATE SEQUENCE tries;
             CREATE TRIGGER fault BEFORE INSERT ON messages FOR EACH ROW
             IF NEW.msg = 'doomed' OR (NEW.msg = 'unlucky' AND NEXTVAL(tries) <= 2) THEN
               SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213;
             END IF"
        }
    }
}

async fn a_lost_conflict_is_retried_a_bounded_number_of_times() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    sqlx::raw_sql(conflicts(bench.flavor)).execute(&second_db).await.expect("fault");
    let batch = vec![text(1, "before"), text(1, "unlucky")];
    let placed = bench.store.append(1, None, batch).await.expect("append");
    assert_eq!((placed.first_seq, placed.ids.len()), (1, 2));
    let metrics = bench.store.metrics();
    assert_eq!(
        (metrics.counters.commits.load(Relaxed), metrics.counters.commit_retries.load(Relaxed)),
        (1, 2)
    );
    let doomed = bench.store.append(1, None, vec![text(1, "doomed")]).await;
    assert!(matches!(doomed, Err(AppendError::Store(StoreError::Database(_)))), "{doomed:?}");
    assert_eq!(metrics.counters.commit_retries.load(Relaxed), 2 + 4);
    let placed = bench.store.append(1, None, vec![text(1, "after")]).await.expect("append");
    assert_eq!(placed.first_seq, 3);
}

async fn two_nodes_may_open_a_new_database_at_once() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    let tables = ["tokens", "users", "rooms", "messages", "read_marks", "reading", "files"];
    for table in tables.into_iter().chain(["_sqlx_migrations"]) {
        let sql = sqlx::AssertSqlSafe(format!("DROP TABLE {table}"));
        sqlx::raw_sql(sql).execute(&second_db).await.expect("drop");
    }
    let (one, two) = tokio::join!(bench.node("one"), bench.node("two"));
    one.create_room(7).await.expect("create");
    assert_eq!(two.room(7).await.expect("query").expect("room").last_seq, 0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The server does not receive the COMMIT.
    Before,
    /// The server has committed, and its answer is lost.
    After,
    /// So it is with each COMMIT that follows.
    AfterEach,
    /// As before, and the server cannot be reached for a while.
    BeforeForLong,
    AfterForLong,
    /// The server does not receive the ROLLBACK.
    Rollback,
    /// Nor does it, and the connection stays open.
    SilentRollback,
}

impl Cut {
    fn is_received(self) -> bool {
        matches!(self, Cut::After | Cut::AfterEach | Cut::AfterForLong)
    }

    fn is_long(self) -> bool {
        matches!(self, Cut::BeforeForLong | Cut::AfterForLong)
    }

    /// The statement at which the connection is cut.
    fn statement(self) -> &'static [u8] {
        match self {
            Cut::Before | Cut::After | Cut::AfterEach | Cut::BeforeForLong | Cut::AfterForLong => {
                b"COMMIT"
            }
            Cut::Rollback | Cut::SilentRollback => b"ROLLBACK",
        }
    }
}

/// A proxy between a store and its server. When armed, it cuts the connection at the next COMMIT or
/// ROLLBACK.
struct Proxy {
    dir: tempfile::TempDir,
    flavor: Flavor,
    switches: Arc<Switches>,
}

#[derive(Default)]
struct Switches {
    is_armed: AtomicBool,
    cuts: AtomicUsize,
    is_gone: AtomicBool,
    /// Nothing passes, and no connection ends.
    is_stalled: AtomicBool,
}

impl Proxy {
    fn start(flavor: Flavor, server: PathBuf, cut: Cut) -> Proxy {
        let dir = tempfile::tempdir().expect("tempdir");
        let listener = UnixListener::bind(dir.path().join(flavor.socket_name())).expect("bind");
        let switches = Arc::<Switches>::default();
        let of_all = Arc::clone(&switches);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if of_all.is_gone.load(Relaxed) {
                    continue;
                }
                let upstream = UnixStream::connect(&server).await.expect("the server is up");
                tokio::spawn(relay(client, upstream, cut, Arc::clone(&of_all)));
            }
        });
        Proxy { dir, flavor, switches }
    }

    fn arm(&self) {
        self.switches.is_armed.store(true, Relaxed);
    }

    fn cuts(&self) -> usize {
        self.switches.cuts.load(Relaxed)
    }

    fn url(&self, direct: &str) -> String {
        let database = Path::new(direct.split('?').next().expect("a URL")).file_name();
        let database = database.and_then(|name| name.to_str()).expect("it names a database");
        self.flavor.url(&self.dir.path().join(self.flavor.socket_name()), database)
    }
}

async fn relay(mut client: UnixStream, mut server: UnixStream, cut: Cut, switches: Arc<Switches>) {
    let Switches { is_armed, cuts, is_gone, is_stalled } = &*switches;
    let way = async || {
        while is_stalled.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &up[..length];
                let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                // A connection that begins names its isolation.
                let is_it = has(cut.statement()) && !has(b"READ COMMITTED");
                let is_cut = is_it && is_armed.load(Relaxed);
                if is_cut {
                    is_armed.store(cut == Cut::AfterEach, Relaxed);
                    cuts.fetch_add(1, Relaxed);
                    is_gone.store(cut.is_long(), Relaxed);
                    if cut.is_received() && server.write_all(bytes).await.is_ok() {
                        // Its answer proves that it has committed.
                        let _ = server.read(&mut down).await;
                    }
                    if cut == Cut::SilentRollback {
                        // Until the store gives up.
                        while client.read(&mut up).await.is_ok_and(|length| length > 0) {}
                    }
                    return;
                }
                if is_gone.load(Relaxed) { return }
                way().await;
                if server.write_all(bytes).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                way().await;
                if client.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}

async fn check_cut_commit(cut: Cut) {
    let bench = bench().await;
    let server = SERVER.with(Arc::clone);
    let proxy = Proxy::start(bench.flavor, server.socket(), cut);
    let store =
        Store::open(&proxy.url(&bench.url), options(&bench.dir)).await.expect("open by the proxy");
    store.append(1, Some(1), texts(1, 1, 2)).await.expect("append");
    proxy.arm();
    let save = store.save_read(7, 1, 2, true);
    let placed = store.append(1, Some(3), texts(1, 3, 5)).await.expect("append across the cut");
    save.await.expect("save across the cut");
    assert_eq!(proxy.cuts(), 1, "{cut:?}");
    let retries = store.metrics().counters.commit_retries.load(Relaxed);
    assert_eq!(retries, u64::from(!cut.is_received()), "{cut:?}");
    let rows = bench.store.fetch(1, 0, 100).await.expect("fetch");
    let kept: Vec<_> = rows.iter().map(|row| (row.seq, row.msg.clone())).collect();
    assert_eq!(kept, (1..=5).map(|n| (n, n.to_string())).collect::<Vec<_>>(), "{cut:?}");
    let ids: Vec<_> = rows[2..].iter().map(|row| row.id).collect();
    assert_eq!((placed.first_seq, placed.ids), (3, ids), "{cut:?}");
    assert_eq!(bench.store.reads(7).await.expect("query"), [(1, 2)], "{cut:?}");
    // A batch without a message has no row to look for; it is written again.
    proxy.arm();
    store.save_read(7, 1, 4, false).await.expect("save across the cut");
    assert_eq!(bench.store.reads(7).await.expect("query"), [(1, 4)], "{cut:?}");
    store.append(1, Some(6), texts(1, 6, 6)).await.expect("append");
}

async fn a_commit_that_never_arrived_is_made_again() {
    check_cut_commit(Cut::Before).await;
}

async fn a_commit_that_was_not_answered_is_not_repeated() {
    check_cut_commit(Cut::After).await;
}

/// What was found needs no COMMIT, which could fail.
async fn a_commit_that_is_found_to_be_kept_is_not_followed_by_another() {
    let bench = bench().await;
    let server = SERVER.with(Arc::clone);
    let proxy = Proxy::start(bench.flavor, server.socket(), Cut::AfterEach);
    let store =
        Store::open(&proxy.url(&bench.url), options(&bench.dir)).await.expect("open by the proxy");
    store.append(1, Some(1), texts(1, 1, 2)).await.expect("append");
    proxy.arm();
    let placed = store.append(1, Some(3), texts(1, 3, 3)).await.expect("append across the cut");
    let retries = store.metrics().counters.commit_retries.load(Relaxed);
    assert_eq!((proxy.cuts(), retries), (1, 0), "the COMMIT of the message, and a look-up");
    let rows = bench.store.fetch(1, 2, 100).await.expect("fetch");
    let kept: Vec<_> = rows.iter().map(|row| (row.seq, row.id)).collect();
    assert_eq!(kept, [(3, placed.ids[0])]);
}

/// A store whose server commits or not, and is then out of reach; tries to reach it end early.
async fn cut_store(bench: &Bench, cut: Cut) -> (Proxy, Store) {
    let server = SERVER.with(Arc::clone);
    let proxy = Proxy::start(bench.flavor, server.socket(), cut);
    let options = Options { busy_timeout_ms: 200, ..options(&bench.dir) };
    let store = Store::open(&proxy.url(&bench.url), options).await.expect("open by the proxy");
    store.append(1, None, texts(1, 1, 2)).await.expect("append");
    proxy.arm();
    (proxy, store)
}

/// The callers learn that it is unknown. The next append gets the next seq, and a message that is
/// sent again gets its own.
async fn a_commit_that_stays_in_doubt_is_unknown_and_blocks_no_other() {
    let bench = bench().await;
    let (proxy, store) = cut_store(&bench, Cut::AfterForLong).await;
    let doubtful = store.append(1, None, vec![text(1, "3"), with_cid(1, "4", "four")]).await;
    assert!(matches!(doubtful, Err(AppendError::Unknown(_))), "{doubtful:?}");
    let counters = &store.metrics().counters;
    assert_eq!(counters.commit_failures.load(Relaxed), 1);
    assert_eq!(counters.commits_unknown.load(Relaxed), 1);
    proxy.switches.is_gone.store(false, Relaxed);
    let placed = store.append(1, None, texts(1, 5, 5)).await.expect("append");
    assert_eq!(placed.first_seq, 5);
    let again = store.append(1, None, vec![with_cid(1, "4", "four")]).await.expect("append");
    assert_eq!((again.ids.len(), again.repeats[0].seq), (0, 4));
    let rows = bench.store.fetch(1, 0, 100).await.expect("fetch");
    let kept: Vec<_> = rows.iter().map(|row| (row.seq, row.msg.clone())).collect();
    assert_eq!(kept, (1..=5).map(|n| (n, n.to_string())).collect::<Vec<_>>());
}

/// Waits until a store has lost its COMMIT, and for some of its look-ups.
async fn it_is_in_doubt(proxy: &Proxy) {
    let deadline = Instant::now() + TIMEOUT;
    while proxy.cuts() == 0 {
        assert!(Instant::now() < deadline, "nothing is committed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
}

/// The server comes back while the store looks: what callers learn is what happened, and what was not kept is
/// written again.
async fn a_commit_in_doubt_is_looked_up_before_its_callers_are_answered() {
    for cut in [Cut::BeforeForLong, Cut::AfterForLong] {
        let bench = bench().await;
        let (proxy, store) = cut_store(&bench, cut).await;
        let append = store.append(1, None, vec![with_cid(1, "3", "three")]);
        let comes_back = async {
            it_is_in_doubt(&proxy).await;
            proxy.switches.is_gone.store(false, Relaxed);
        };
        let (appended, ()) = tokio::join!(append, comes_back);
        let rows = bench.store.fetch(1, 2, 100).await.expect("fetch");
        let placed = appended.expect("it is committed, or written again");
        assert_eq!((placed.first_seq, placed.ids), (3, vec![rows[0].id]), "{cut:?}");
        assert_eq!((rows.len(), proxy.cuts()), (1, 1), "{cut:?}");
        assert_eq!(store.metrics().counters.commits_unknown.load(Relaxed), 0, "{cut:?}");
        store.append(1, None, texts(1, 4, 4)).await.expect("append");
    }
}

/// A server that lost what was not committed may give its ids again: under the id and the number of the
/// message in doubt there is one of another node.
async fn another_message_in_the_place_of_one_in_doubt_is_not_taken_for_it() {
    for (own, becomes) in [
        (text(1, "ours"), "UPDATE messages SET user_id = 2 WHERE seq = 3"),
        (text(1, "ours"), "UPDATE messages SET msg = 'theirs' WHERE seq = 3"),
        (text(1, "ours"), "UPDATE messages SET created_at = created_at - 1 WHERE seq = 3"),
        (with_cid(1, "ours", "c"), "UPDATE messages SET cid = NULL WHERE seq = 3"),
    ] {
        let bench = bench().await;
        let second_db = bench.second_db().await;
        let (proxy, store) = cut_store(&bench, Cut::AfterForLong).await;
        let append = store.append(1, None, vec![own]);
        let comes_back = async {
            it_is_in_doubt(&proxy).await;
            let changed = sqlx::raw_sql(becomes).execute(&second_db).await.expect("change");
            assert_eq!(changed.rows_affected(), 1, "{becomes}");
            proxy.switches.is_gone.store(false, Relaxed);
        };
        let (appended, ()) = tokio::join!(append, comes_back);
        let placed = appended.expect("it is written behind the other");
        assert_eq!((placed.first_seq, placed.ids.len()), (4, 1), "{becomes}");
        let placed = store.append(1, None, vec![text(1, "more")]).await.expect("append");
        assert_eq!(placed.first_seq, 5, "{becomes}");
    }
}

/// While the table `is_full` has a row, writing fails as it does when the server's disk is full. Their own
/// statements for that need an administrator and a file system.
fn fullness(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Sqlite => panic!("its disk is filled in the tests of the storage"),
        Flavor::Postgres => {
            "CREATE TABLE is_full (x INT);
             CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF EXISTS (SELECT 1 FROM is_full) THEN
                 RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
               END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER full_messages BEFORE INSERT ON messages
             FOR EACH ROW EXECUTE FUNCTION full_disk();
             CREATE TRIGGER full_probe BEFORE UPDATE ON _sqlx_migrations
             FOR EACH ROW EXECUTE FUNCTION full_disk()"
        }
        Flavor::Mariadb => {
            "CREATE TABLE is_full (x INT);
             CREATE TRIGGER full_messages BEFORE INSERT ON messages FOR EACH ROW
             IF EXISTS (SELECT 1 FROM is_full) THEN
               SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114;
             END IF;
             CREATE TRIGGER full_probe BEFORE UPDATE ON _sqlx_migrations FOR EACH ROW
             IF EXISTS (SELECT 1 FROM is_full) THEN
               SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114;
             END IF"
        }
    }
}

async fn a_full_disk_of_the_server_is_reported_and_heals() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    sqlx::raw_sql(fullness(bench.flavor)).execute(&second_db).await.expect("triggers");
    bench.store.append(1, None, texts(1, 1, 1)).await.expect("append");
    let fill = sqlx::raw_sql("INSERT INTO is_full VALUES (1)");
    fill.execute(&second_db).await.expect("fill");
    let refused = bench.store.append(1, None, texts(1, 2, 2)).await;
    let Err(AppendError::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.storage_fault(), Some(StorageFault::Full), "{error}");
    let full = State::Down("the disk is full".into());
    bench.until("store", DOWN_WITHIN, |state| *state == full).await;
    // A write must show that it is over.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(bench.health("store"), full);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sqlx::raw_sql("DELETE FROM is_full").execute(&second_db).await.expect("make space");
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    let placed = bench.store.append(1, None, texts(1, 2, 2)).await.expect("append");
    assert_eq!(placed.first_seq, 2, "nothing of the refused message is kept");
}

/// While the table `is_refused` has a row, no account can be inserted, for a reason of the database's own.
fn refusal(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Sqlite => panic!("nobody else writes rules into its file"),
        Flavor::Postgres => {
            "CREATE TABLE is_refused (how INT);
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF EXISTS (SELECT 1 FROM is_refused WHERE how = 1) THEN RAISE 'not today'; END IF;
               IF EXISTS (SELECT 1 FROM is_refused WHERE how = 2) THEN RAISE unique_violation; END IF;
               IF EXISTS (SELECT 1 FROM is_refused WHERE how = 3) THEN RETURN NULL; END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER refuse_users BEFORE INSERT ON users
             FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
        Flavor::Mariadb => {
            "CREATE TABLE is_refused (how INT);
             CREATE TRIGGER refuse_users BEFORE INSERT ON users FOR EACH ROW
             IF EXISTS (SELECT 1 FROM is_refused WHERE how = 1) THEN
               SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today';
             ELSEIF EXISTS (SELECT 1 FROM is_refused WHERE how = 2) THEN
               SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062, MESSAGE_TEXT = 'not today';
             ELSEIF EXISTS (SELECT 1 FROM is_refused WHERE how = 3) THEN
               SIGNAL SQLSTATE '22003' SET MYSQL_ERRNO = 1264, MESSAGE_TEXT = 'not today';
             END IF"
        }
    }
}

/// Only the rows of callers meet it, so the probe has to insert such rows too.
async fn what_the_database_refuses_is_reported_until_it_takes_it() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    sqlx::raw_sql(refusal(bench.flavor)).execute(&second_db).await.expect("a trigger");
    let register = async |name: &str| {
        let new = NewUser {
            email: format!("{name}@example.com"),
            password: "correct horse".into(),
            avatar: String::new(),
        };
        bench.store.register(new, client()).await
    };
    for name in ["one", "two", "three"] {
        register(name).await.expect("it takes them");
    }
    let is_down = |state: &State| matches!(state, State::Down(why) if why.contains("refuses"));
    // By an error of its own; in the words of a name that is taken; and by dropping the row, or as one that does not fit.
    for how in 1..=3 {
        let forbid = format!("INSERT INTO is_refused VALUES ({how})");
        let forbid = sqlx::raw_sql(sqlx::AssertSqlSafe(forbid)).execute(&second_db).await;
        forbid.expect("forbid");
        let refused = register("four").await.map(drop).expect_err("the database refuses it");
        let RegisterError::Store(_) = refused else { panic!("{how}: {refused}") };
        bench.until("store", DOWN_WITHIN, is_down).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            assert!(is_down(&bench.health("store")), "{how}: {:?}", bench.health("store"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sqlx::raw_sql("DELETE FROM is_refused").execute(&second_db).await.expect("allow");
        bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    }
    register("four").await.expect("it takes it again");
    for table in ["users", "rooms", "messages", "files", "reading", "read_marks", "tokens"] {
        let sql = match table {
            "users" | "rooms" => {
                format!("SELECT COUNT(*) FROM {table} WHERE name LIKE 'throng probe%'")
            }
            "tokens" => "SELECT COUNT(*) FROM tokens WHERE expires_at = 0".to_owned(),
            "messages" => "SELECT COUNT(*) FROM messages WHERE msg = 'throng probe'".to_owned(),
            "files" => "SELECT COUNT(*) FROM files WHERE mime = 'throng probe'".to_owned(),
            _ => format!("SELECT COUNT(*) FROM {table} WHERE room_id >= 1000000000"),
        };
        let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql.clone()));
        assert_eq!(count.fetch_one(&second_db).await.expect(&sql), 0, "{sql}");
    }
    if bench.flavor == Flavor::Postgres {
        // As after a restore that left the sequences behind.
        let restart = "ALTER SEQUENCE users_id_seq RESTART WITH 1";
        sqlx::raw_sql(restart).execute(&second_db).await.expect(restart);
        let refused = register("five").await.map(drop).expect_err("its number is taken");
        assert!(matches!(&refused, RegisterError::Store(_)), "the name is free: {refused}");
        bench.until("store", DOWN_WITHIN, is_down).await;
        // The probe uses up the numbers.
        bench.until("store", Duration::from_secs(10), |state| *state == State::Ok).await;
        register("five").await.expect("its number is free");
    }
    let taken = register("four").await.map(drop).expect_err("the name is taken");
    assert!(matches!(taken, RegisterError::EmailTaken), "{taken}");
}

/// A trigger that fails for the message `doomed`, so that its transaction is rolled back.
fn rejection(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Sqlite => panic!("its rollback is tested with the storage"),
        Flavor::Postgres => {
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF NEW.msg = 'doomed' THEN RAISE EXCEPTION 'injected'; END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER fault BEFORE INSERT ON messages
             FOR EACH ROW EXECUTE FUNCTION fault()"
        }
        Flavor::Mariadb => {
            "CREATE TRIGGER fault BEFORE INSERT ON messages FOR EACH ROW
             IF NEW.msg = 'doomed' THEN SIGNAL SQLSTATE '45000'; END IF"
        }
    }
}

/// The one connection that writes is not used again: its next user would write into the transaction of
/// the one before.
async fn check_cut_rollback(cut: Cut) {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    sqlx::raw_sql(rejection(bench.flavor)).execute(&second_db).await.expect("fault");
    let proxy = Proxy::start(bench.flavor, SERVER.with(Arc::clone).socket(), cut);
    let options = Options { writers: 1, answer_timeout_ms: 500, ..options(&bench.dir) };
    let store = Store::open(&proxy.url(&bench.url), options).await.expect("open by the proxy");
    for round in 1..=3_u64 {
        proxy.arm();
        // A probe rolls back as well, and may be the one that is cut.
        let doomed = vec![text(1, "written first"), text(1, "doomed")];
        let doomed = store.append(1, None, doomed).await;
        assert!(matches!(doomed, Err(AppendError::Store(_))), "{cut:?}: {doomed:?}");
        assert_eq!(proxy.cuts() as u64, round, "{cut:?}");
        let placed = store.append(1, None, texts(1, round, round)).await.expect("append");
        assert_eq!(placed.first_seq, round, "{cut:?}");
        store.save_read(7, 1, round, false).await.expect("save");
        store.create_room(100 + round as u32).await.expect("create");
    }
    let rows = bench.store.fetch(1, 0, 100).await.expect("fetch");
    let kept: Vec<_> = rows.into_iter().map(|row| row.msg).collect();
    assert_eq!(kept, ["1", "2", "3"], "{cut:?}: others see what was written, and no more");
    assert_eq!(bench.store.reads(7).await.expect("query"), [(1, 3)]);
}

async fn a_rollback_that_fails_costs_its_connection_and_no_more() {
    check_cut_rollback(Cut::Rollback).await;
}

async fn a_rollback_without_an_answer_costs_its_connection_and_no_more() {
    check_cut_rollback(Cut::SilentRollback).await;
}

/// A registration is one transaction, and one whose answer is lost is recognised.
async fn a_registration_across_a_cut_is_made_once() {
    for cut in [Cut::Before, Cut::After] {
        let bench = bench().await;
        let proxy = Proxy::start(bench.flavor, SERVER.with(Arc::clone).socket(), cut);
        let url = proxy.url(&bench.url);
        let store = Store::open(&url, options(&bench.dir)).await.expect("open by the proxy");
        proxy.arm();
        let new = NewUser {
            email: "ann@x.org".into(),
            password: "secret12".into(),
            avatar: "/a.svg".into(),
        };
        let created = store.register(new.clone(), client()).await.expect("it is made");
        assert_eq!(proxy.cuts(), 1, "{cut:?}");
        let hash = |token: &str| hash_token(token).expect("a token");
        let user = bench.store.authenticate(hash(&created.api_token)).await.expect("query");
        assert_eq!(user, Some(created.user.clone()), "{cut:?}");
        let user = bench.store.authenticate_cookie(hash(&created.cookie)).await.expect("query");
        assert_eq!(user, Some(created.user), "{cut:?}");
        let again = store.register(new, client()).await;
        assert!(matches!(again, Err(RegisterError::EmailTaken)), "{cut:?}: {again:?}");
    }
}

/// Another client of the database holds a lock: the server says that it cannot write, and nothing is lost.
async fn a_lock_of_another_client_is_reported_and_passes() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    let mut other = second_db.acquire().await.expect("a connection");
    let mut run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut *other).await.expect(sql);
    };
    let is_stuck = |state: &State| matches!(state, State::Down(reason) if reason.contains("lock"));
    // A row, which only those meet who write it.
    run("BEGIN").await;
    run("UPDATE rooms SET name = name WHERE id = 1").await;
    let append = tokio::spawn(bench.store.append(1, None, texts(1, 1, 1)));
    bench.until("store", DOWN_WITHIN, is_stuck).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert!(is_stuck(&bench.health("store")), "it is as long as the lock");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run("ROLLBACK").await;
    append.await.expect("it does not panic").expect("it waited");
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    // A table, and nobody writes.
    let (lock, unlock) = match bench.flavor {
        Flavor::Sqlite => panic!("SQLite locks the file"),
        Flavor::Postgres => ("BEGIN; LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE", "ROLLBACK"),
        Flavor::Mariadb => ("LOCK TABLES users WRITE", "UNLOCK TABLES"),
    };
    run(lock).await;
    bench.until("store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    run(unlock).await;
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
}

async fn a_server_that_hangs_is_reported_and_used_again() {
    let bench = bench().await;
    let proxy = Proxy::start(bench.flavor, SERVER.with(Arc::clone).socket(), Cut::Before);
    let options = Options { answer_timeout_ms: 500, ..options(&bench.dir) };
    let store = Store::open(&proxy.url(&bench.url), options).await.expect("open by the proxy");
    store.append(1, None, texts(1, 1, 1)).await.expect("append");
    proxy.switches.is_stalled.store(true, Relaxed);
    until(&store, "store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    assert!(store.append(1, None, texts(1, 2, 2)).await.is_err());
    // It stays so for as long as the server hangs.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        let state = store.options().health.state("store");
        assert!(matches!(state, Some(State::Down(_))), "{state:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.switches.is_stalled.store(false, Relaxed);
    until(&store, "store", UP_WITHIN, |state| *state == State::Ok).await;
    store.append(1, None, texts(1, 3, 3)).await.expect("append");
    store.save_read(7, 1, 1, false).await.expect("save");
}

/// Each commit takes longer than a probe waits for its connection.
async fn a_busy_database_is_not_a_broken_one() {
    let bench = bench_with(|options| options.writers = 1).await;
    let slow = match bench.flavor {
        Flavor::Sqlite => panic!("it has no statement that takes time"),
        Flavor::Postgres => {
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(0.9); RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON messages
             FOR EACH ROW EXECUTE FUNCTION slow()"
        }
        Flavor::Mariadb => {
            "CREATE TRIGGER slow BEFORE INSERT ON messages FOR EACH ROW SET @slept = SLEEP(0.9)"
        }
    };
    let second_db = bench.second_db().await;
    sqlx::raw_sql(slow).execute(&second_db).await.expect("slow");
    let writing = async {
        for _ in 0..7 {
            bench.store.append(1, None, vec![text(1, "slow")]).await.expect("append");
        }
    };
    let watching = async {
        loop {
            assert_eq!(bench.health("store"), State::Ok, "it is busy");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = watching => {}
    }
}

async fn a_statement_without_an_answer_in_time_fails() {
    let bench = bench_with(|options| options.answer_timeout_ms = 400).await;
    let second_db = bench.second_db().await;
    let mut lock = second_db.begin().await.expect("begin");
    let rooms = sqlx::query("SELECT id FROM rooms ORDER BY id FOR UPDATE");
    rooms.fetch_all(&mut *lock).await.expect("lock");
    let stuck = bench.store.append(1, None, vec![text(1, "stuck")]);
    let stuck = tokio::time::timeout(TIMEOUT, stuck).await.expect("it ends in time");
    assert!(matches!(stuck, Err(AppendError::Store(StoreError::Unanswered))), "{stuck:?}");
    assert!(bench.store.metrics().counters.unanswered.load(Relaxed) >= 1);
    lock.rollback().await.expect("release");
    let deadline = Instant::now() + TIMEOUT;
    let placed = loop {
        match bench.store.append(1, None, vec![text(1, "after")]).await {
            Ok(placed) => break placed,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(placed.first_seq, 1, "nothing of the failed append is kept");
}

async fn closing_has_a_time_limit() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    let mut lock = second_db.begin().await.expect("begin");
    let rooms = sqlx::query("SELECT id FROM rooms ORDER BY id FOR UPDATE");
    rooms.fetch_all(&mut *lock).await.expect("lock");
    let stuck = bench.store.append(1, None, vec![text(1, "stuck")]);
    tokio::time::timeout(TIMEOUT, bench.store.close()).await.expect("it ends in time");
    lock.rollback().await.expect("release");
    // Whether it is committed is decided once the lock is released.
    let kept = match stuck.await {
        Ok(placed) => {
            assert_eq!(placed.first_seq, 1);
            vec!["stuck".to_owned()]
        }
        Err(_) => Vec::new(),
    };
    let rows = bench.node("two").await.fetch(1, 0, 10).await.expect("fetch");
    assert_eq!(rows.into_iter().map(|row| row.msg).collect::<Vec<_>>(), kept);
}

async fn a_server_that_comes_back_is_used_again() {
    let bench = bench_with(|options| options.busy_timeout_ms = 300).await;
    let server = SERVER.with(Arc::clone);
    bench.store.append(1, None, vec![text(1, "before")]).await.expect("append");
    assert_eq!(bench.health("store"), State::Ok, "it is up");
    server.kill();
    bench.until("store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    let lost = bench.store.append(1, None, vec![text(1, "lost")]).await;
    assert!(matches!(lost, Err(AppendError::Store(StoreError::Database(_)))), "{lost:?}");
    assert!(bench.store.room(1).await.is_err());
    server.resume().await;
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    let placed = bench.store.append(1, None, vec![text(1, "after")]).await.expect("append");
    assert_eq!(placed.first_seq, 2);
    let rows = bench.store.fetch(1, 0, 10).await.expect("fetch");
    assert_eq!(rows.iter().map(|row| row.msg.as_str()).collect::<Vec<_>>(), ["before", "after"]);
}

/// A user that may not create tables is enough once the tables are there.
async fn rights_that_are_missing_are_found_by_the_check_and_by_the_start() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    let run = async |sql: String| {
        let what = sql.clone();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&second_db).await.expect(&what);
    };
    let (_, empty) = new_database(&options(&bench.dir)).await;
    let named = |url: &str| {
        let name = url.split('?').next().and_then(|url| url.rsplit('/').next());
        name.expect("it names a database").to_owned()
    };
    let all = "SELECT, INSERT, UPDATE, DELETE";
    let (own, [write, read_only]) = match bench.flavor {
        Flavor::Sqlite => panic!("SQLite has no users"),
        Flavor::Postgres => {
            run("CREATE ROLE writer LOGIN PASSWORD 'secret'".into()).await;
            let write = format!("GRANT {all} ON ALL TABLES IN SCHEMA public TO writer");
            let read_only = "REVOKE DELETE ON messages FROM writer".to_owned();
            ("throng@", [write, read_only])
        }
        Flavor::Mariadb => {
            run("CREATE USER writer@localhost IDENTIFIED BY 'secret'".into()).await;
            run(format!("GRANT SELECT ON {}.* TO writer@localhost", named(&empty))).await;
            let database = named(&bench.url);
            let write = format!("GRANT {all} ON {database}.* TO writer@localhost");
            let read_only = format!("REVOKE DELETE ON {database}.* FROM writer@localhost");
            ("root@", [write, read_only])
        }
    };
    let by_writer = |url: &str| url.replace(own, "writer:secret@");
    let options = options(&bench.dir);
    let refused = async |url: &str, what: &str| {
        let url = by_writer(url);
        let opened = Store::open(&url, options.clone()).await.map(drop).expect_err(what);
        let checked = check(&url, &options).await.expect_err(what);
        for error in [opened, checked] {
            let said = error.to_string();
            assert!(said.contains("denied"), "{what}: {said}");
        }
    };
    refused(&empty, "it may create no table").await;
    run(write).await;
    let url = by_writer(&bench.url);
    check(&url, &options).await.expect("it may write");
    let store = Store::open(&url, options.clone()).await.expect("it may write");
    store.append(1, None, texts(1, 1, 1)).await.expect("append");
    assert!(store.close().await, "everything was written");
    run(read_only).await;
    refused(&bench.url, "it may not delete").await;
}

/// With too few connections for all, some of them work; with fewer than one for each use, nothing does.
async fn a_database_that_grants_few_connections_is_named() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    let run = async |sql: String| {
        let what = sql.clone();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&second_db).await.expect(&what);
    };
    let (own, words) = match bench.flavor {
        Flavor::Sqlite => panic!("SQLite grants as many as there are descriptors"),
        Flavor::Postgres => ("throng@", "too many connections for role"),
        Flavor::Mariadb => ("root@", "max_user_connections"),
    };
    let granted = async |connections: u32| match bench.flavor {
        Flavor::Postgres => run(format!("ALTER ROLE few CONNECTION LIMIT {connections}")).await,
        _ => {
            let limit = format!("MAX_USER_CONNECTIONS {connections}");
            run(format!("ALTER USER few@localhost WITH {limit}")).await;
        }
    };
    match bench.flavor {
        Flavor::Postgres => {
            run("CREATE ROLE few LOGIN PASSWORD 'secret'".into()).await;
            run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO few".into())
                .await;
        }
        _ => {
            run("CREATE USER few@localhost IDENTIFIED BY 'secret'".into()).await;
            run("GRANT SELECT, INSERT, UPDATE, DELETE ON *.* TO few@localhost".into()).await;
        }
    }
    let url = bench.url.replace(own, "few:secret@");
    let options = options(&bench.dir);
    granted(2).await;
    let opened = Store::open(&url, options.clone()).await.map(drop).expect_err("too few");
    let checked = check(&url, &options).await.map(drop).expect_err("too few");
    for error in [opened, checked] {
        assert!(error.to_string().contains(words), "{error}");
    }
    granted(3).await;
    let warnings = check(&url, &options).await.expect("one for each use");
    let is_said = warnings.len() == 1 && warnings[0].contains("grants 3 connections");
    assert!(is_said && warnings[0].contains(words), "{warnings:?}");
    granted(100).await;
    assert_eq!(check(&url, &options).await.expect("enough"), [""; 0]);
}

/// A database that cannot keep every text refuses messages for ever.
async fn an_encoding_that_lacks_characters_is_refused() {
    let bench = bench().await;
    if bench.flavor == Flavor::Mariadb {
        // Each of our tables names its own.
        return;
    }
    let sql =
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    sqlx::raw_sql(sql).execute(&bench.second_db().await).await.expect(sql);
    let url = bench.flavor.url(&SERVER.with(|server| server.socket()), "latin");
    let options = options(&bench.dir);
    let opened = Store::open(&url, options.clone()).await.map(drop).expect_err("it is opened");
    let checked = check(&url, &options).await.expect_err("it is accepted");
    for error in [opened, checked] {
        assert!(matches!(&error, StoreError::Encoding(name) if name == "LATIN1"), "{error}");
    }
}

async fn a_wrong_password_is_named_within_a_second() {
    let bench = bench().await;
    let second_db = bench.second_db().await;
    let run = async |sql: String| {
        let sql = sqlx::AssertSqlSafe(sql);
        sqlx::raw_sql(sql).execute(&second_db).await.expect("it is done");
    };
    let (own, cause) = match bench.flavor {
        Flavor::Sqlite => panic!("SQLite has no passwords"),
        Flavor::Postgres => {
            run("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right-secret'".into()).await;
            let file = sqlx::query_scalar::<_, String>("SHOW hba_file").fetch_one(&second_db).await;
            let rules = "('local all guarded scram-sha-256'), ('local all all trust')";
            let file = file.expect("it has a file of rules");
            run(format!("COPY (SELECT * FROM (VALUES {rules}) AS rules) TO '{file}'")).await;
            run("SELECT pg_reload_conf()".into()).await;
            ("throng@", "password authentication failed")
        }
        Flavor::Mariadb => {
            run("CREATE USER guarded@localhost IDENTIFIED BY 'right-secret'".into()).await;
            run("GRANT ALL ON *.* TO guarded@localhost".into()).await;
            ("root@", "Access denied")
        }
    };
    let url = |password: &str| bench.url.replace(own, &format!("guarded:{password}@"));
    let options = options(&bench.dir);
    // The rules are read again a moment later.
    let deadline = Instant::now() + TIMEOUT;
    while check(&url("wrong-secret"), &options).await.is_ok() {
        assert!(Instant::now() < deadline, "any password is accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    check(&url("right-secret"), &options).await.expect("it is the password that is wrong");
    let begun = Instant::now();
    let opened = Store::open(&url("wrong-secret"), options.clone()).await.map(drop);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let refused = opened.expect_err("the password is wrong");
    let checked = check(&url("wrong-secret"), &options).await.expect_err("the check says so too");
    assert_eq!(refused.storage_fault(), Some(StorageFault::Denied), "{refused}");
    let sentence = refused.to_string();
    assert_eq!(checked.to_string(), sentence);
    assert!(sentence.contains(cause) && !sentence.contains('\n'), "{sentence}");
    assert!(!sentence.contains("wrong-secret"), "{sentence}");
}

pub const SCENARIOS: &[Scenario] = &[
    ("a_database_that_grants_few_connections_is_named", || {
        Box::pin(a_database_that_grants_few_connections_is_named())
    }),
    ("what_the_database_refuses_is_reported_until_it_takes_it", || {
        Box::pin(what_the_database_refuses_is_reported_until_it_takes_it())
    }),
    ("a_registration_across_a_cut_is_made_once", || {
        Box::pin(a_registration_across_a_cut_is_made_once())
    }),
    ("a_lock_of_another_client_is_reported_and_passes", || {
        Box::pin(a_lock_of_another_client_is_reported_and_passes())
    }),
    ("an_encoding_that_lacks_characters_is_refused", || {
        Box::pin(an_encoding_that_lacks_characters_is_refused())
    }),
    ("rights_that_are_missing_are_found_by_the_check_and_by_the_start", || {
        Box::pin(rights_that_are_missing_are_found_by_the_check_and_by_the_start())
    }),
    ("a_wrong_password_is_named_within_a_second", || {
        Box::pin(a_wrong_password_is_named_within_a_second())
    }),
    ("two_nodes_may_open_a_new_database_at_once", || {
        Box::pin(two_nodes_may_open_a_new_database_at_once())
    }),
    ("a_lost_conflict_is_retried_a_bounded_number_of_times", || {
        Box::pin(a_lost_conflict_is_retried_a_bounded_number_of_times())
    }),
    ("a_commit_that_never_arrived_is_made_again", || {
        Box::pin(a_commit_that_never_arrived_is_made_again())
    }),
    ("a_commit_that_was_not_answered_is_not_repeated", || {
        Box::pin(a_commit_that_was_not_answered_is_not_repeated())
    }),
    ("a_commit_that_is_found_to_be_kept_is_not_followed_by_another", || {
        Box::pin(a_commit_that_is_found_to_be_kept_is_not_followed_by_another())
    }),
    ("another_message_in_the_place_of_one_in_doubt_is_not_taken_for_it", || {
        Box::pin(another_message_in_the_place_of_one_in_doubt_is_not_taken_for_it())
    }),
    ("a_commit_that_stays_in_doubt_is_unknown_and_blocks_no_other", || {
        Box::pin(a_commit_that_stays_in_doubt_is_unknown_and_blocks_no_other())
    }),
    ("a_commit_in_doubt_is_looked_up_before_its_callers_are_answered", || {
        Box::pin(a_commit_in_doubt_is_looked_up_before_its_callers_are_answered())
    }),
    ("a_rollback_that_fails_costs_its_connection_and_no_more", || {
        Box::pin(a_rollback_that_fails_costs_its_connection_and_no_more())
    }),
    ("a_rollback_without_an_answer_costs_its_connection_and_no_more", || {
        Box::pin(a_rollback_without_an_answer_costs_its_connection_and_no_more())
    }),
    ("a_full_disk_of_the_server_is_reported_and_heals", || {
        Box::pin(a_full_disk_of_the_server_is_reported_and_heals())
    }),
    ("a_server_that_hangs_is_reported_and_used_again", || {
        Box::pin(a_server_that_hangs_is_reported_and_used_again())
    }),
    ("a_busy_database_is_not_a_broken_one", || Box::pin(a_busy_database_is_not_a_broken_one())),
    ("a_statement_without_an_answer_in_time_fails", || {
        Box::pin(a_statement_without_an_answer_in_time_fails())
    }),
    ("closing_has_a_time_limit", || Box::pin(closing_has_a_time_limit())),
    ("a_server_that_comes_back_is_used_again", || {
        Box::pin(a_server_that_comes_back_is_used_again())
    }),
];

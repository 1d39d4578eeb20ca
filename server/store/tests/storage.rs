//! A database file and a disk that fail: every way to write fails with them, the store says so in
//! time, and all of it works again by itself.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Bench, DOWN_WITHIN, UP_WITHIN, bench, options, text, until};
use sqlx::AnyPool;
use throng_health::State;
use throng_store::{
    ImageKind, Load, LoadedUser, NewMessage, NewUser, Options, PlacedMessage, Store, StoreError,
    TOKEN_CHARS, TokenScope, Urgency, check, hash_token,
};

/// The smallest PNG, with a number behind it that makes each file another one.
fn image(number: u8) -> Bytes {
    const PNG: &[u8] = &[
        0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0,
        0, 0, 1, 0, 0, 0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89,
    ];
    [PNG, &[number]].concat().into()
}

const IMPORTED: &str = "imported@example.org";

/// What some ways to write need.
struct Ready {
    /// A token to log out.
    token: String,
}

impl Ready {
    /// Made while all works. Besides, [`IMPORTED`] has the hash of an import, which their next login replaces, and
    /// somebody was reading on a node that is gone.
    async fn new(bench: &Bench, user: u32) -> Ready {
        let hash = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let sql = format!(
            "INSERT INTO users (name, email, email_key, password_hash, avatar, created_at, updated_at)
             VALUES ('imported', '{IMPORTED}', '{IMPORTED}', '{hash}', '', 0, 0)
             ON CONFLICT DO UPDATE SET password_hash = '{hash}';
             INSERT OR IGNORE INTO reading (node, user_id, room_id) VALUES ('gone', 1, 1)"
        );
        let other = bench.second_db().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&other).await.expect("an account");
        other.close().await;
        let token = bench.store.issue_token(user, TokenScope::Api).await.expect("a token");
        Ready { token }
    }
}

type Outcomes = Vec<(&'static str, Result<(), String>)>;

/// Every way to write, each under its name.
async fn writes(store: &Store, user: u32, number: u8, ready: &Ready) -> Outcomes {
    fn shown<T, E: std::fmt::Display>(outcome: Result<T, E>) -> Result<(), String> {
        outcome.map(drop).map_err(|error| error.to_string())
    }
    /// Of what writes only for who is known.
    fn known<T, E: std::fmt::Display>(outcome: Result<Option<T>, E>) -> Result<(), String> {
        let known = outcome.map_err(|error| error.to_string())?;
        known.map(drop).ok_or_else(|| "it wrote nothing".to_owned())
    }
    let new = NewUser {
        email: format!("user{number}@example.org"),
        password: "secret".into(),
        avatar: "/avatars/0.svg".into(),
    };
    let token = store.issue_token(user, TokenScope::Api).await;
    let room = [(200 + u32::from(number), format!("Room {number}"))];
    let logged_in = store.verify_login(IMPORTED, "U*U".into(), Urgency::Other, common::client());
    vec![
        ("message", shown(store.append(1, None, vec![text(user, &"x".repeat(10_000))]).await)),
        ("read mark", shown(store.save_read(user, 1, u64::from(number), false).await)),
        ("token", shown(token)),
        ("logout", known(store.revoke(hash_token(&ready.token).expect("it is one")).await)),
        ("login", known(logged_in.await)),
        ("registration", shown(store.register(new, common::client()).await)),
        ("upload", shown(store.save_image(ImageKind::Messages, image(number)).await)),
        ("avatar", shown(store.set_avatar(user, &format!("/{number}.svg")).await)),
        ("room", shown(store.create_room(100 + u32::from(number)).await)),
        ("rooms of the configuration", shown(store.ensure_rooms(&room).await)),
        ("raising marks", shown(store.raise_marks("gone").await)),
    ]
}

async fn all_writes_work(bench: &Bench, user: u32, number: u8) {
    let ready = Ready::new(bench, user).await;
    for (what, outcome) in writes(&bench.store, user, number, &ready).await {
        assert_eq!(outcome, Ok(()), "{what}");
    }
}

/// SQLite rolls the transaction back by itself, as it does when the disk is full, out of memory or
/// broken; the rollback that follows fails, and the connection must not be used again.
#[tokio::test]
async fn a_transaction_that_the_database_ended_by_itself_hinders_no_other() {
    let bench = bench().await;
    let user = bench.user("ann@example.org").await.id;
    let other = bench.second_db().await;
    for (number, (table, event, wanted)) in [
        ("messages", "INSERT", &["message"][..]),
        ("read_marks", "INSERT", &["read mark", "raising marks"]),
        ("tokens", "INSERT", &["token", "registration"]),
        ("tokens", "DELETE", &["logout"]),
        ("users", "INSERT", &["registration"]),
        ("users", "UPDATE", &["login", "avatar"]),
        ("files", "INSERT", &["upload"]),
        ("rooms", "INSERT", &["room", "rooms of the configuration"]),
        ("reading", "DELETE", &["raising marks"]),
    ]
    .into_iter()
    .enumerate()
    {
        let number = 2 * number as u8;
        let ready = Ready::new(&bench, user).await;
        inject(&other, event, table, "ROLLBACK").await;
        let mut failed = writes(&bench.store, user, number, &ready).await;
        failed.retain(|(_, outcome)| outcome.is_err());
        let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, wanted, "{event} {table}: {failed:?}");
        sqlx::raw_sql("DROP TRIGGER fault").execute(&other).await.expect("heal");
        all_writes_work(&bench, user, number + 1).await;
    }
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
}

/// Makes every change of this kind fail, and end its transaction, or leave that to its author.
async fn inject(other: &AnyPool, event: &str, table: &str, how: &str) {
    let fault = format!(
        "CREATE TRIGGER fault BEFORE {event} ON {table} \
         BEGIN SELECT RAISE({how}, 'injected'); END"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(fault)).execute(other).await.expect("fault");
}

/// An import is one long transaction of many statements.
#[tokio::test]
async fn an_import_that_fails_leaves_nothing_and_hinders_no_other() {
    let tables = ["users", "tokens", "messages", "rooms", "read_marks"];
    for (table, how) in tables.map(|table| ["ROLLBACK", "ABORT"].map(|how| (table, how))).concat() {
        let bench = bench().await;
        let other = bench.second_db().await;
        inject(&other, "INSERT", table, how).await;
        let failed = import(&bench.store).await;
        assert!(
            failed.as_ref().is_err_and(|error| error.contains("injected")),
            "{table}: {failed:?}"
        );
        sqlx::raw_sql("DROP TRIGGER fault").execute(&other).await.expect("heal");
        assert_eq!(import(&bench.store).await, Ok(()), "{table}: nothing of the first is there");
        assert_eq!(bench.store.tips().await.expect("query"), [(1, 0), (2, 0), (7, 1)]);
        all_writes_work(&bench, 1, 1).await;
        assert_eq!(bench.health("store"), State::Ok, "the storage itself never failed");
    }
}

async fn import(store: &Store) -> Result<(), String> {
    let user = LoadedUser {
        id: 1,
        name: "ann".into(),
        email: "ann@example.org".into(),
        email_verified_at_ms: None,
        password_hash: "x".into(),
        avatar: String::new(),
        created_at_ms: 0,
        updated_at_ms: 0,
        token_hash: hash_token(&"t".repeat(TOKEN_CHARS)),
    };
    let message = text(1, "hello");
    let placed = PlacedMessage { room: 7, seq: 1, created_at_ms: 0, message: &message };
    let import = async {
        let mut load = Load::begin(store).await?.expect("there is nothing yet");
        load.users(&[user]).await?;
        load.messages(&[placed]).await?;
        load.rooms(&[(7, 1)].into()).await?;
        load.marks([((1, 7), 1)].into_iter()).await?;
        load.commit().await
    };
    import.await.map_err(|error: StoreError| error.to_string())
}

/// Whether this process runs nothing but the test of that name. Another one does otherwise, and has by then.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "THRONG_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let mut alone = throng_kit::own(program);
    let output = alone.args(["--exact", test]).env(ALONE, "1").output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// A limit on the size of files, which every write meets as EFBIG. It holds for the whole process.
#[tokio::test]
async fn storage_that_takes_no_byte_is_reported_and_heals() {
    use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
    use tokio::signal::unix::{SignalKind, signal};
    if !is_alone("storage_that_takes_no_byte_is_reported_and_heals") {
        return;
    }
    // Without a handler the signal would end the process instead of failing the write.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).expect("a handler"));
    let bench = bench().await;
    let user = bench.user("ann@example.org").await.id;
    all_writes_work(&bench, user, 1).await;
    let limit = getrlimit(Resource::Fsize);
    let ready = Ready::new(&bench, user).await;
    setrlimit(Resource::Fsize, Rlimit { current: Some(0), ..limit }).expect("limit");
    for (what, outcome) in writes(&bench.store, user, 2, &ready).await {
        assert!(outcome.is_err(), "{what}");
    }
    bench.until("store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    bench.until("disk", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    // It stays down for as long as the fault lasts.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        assert!(matches!(bench.health("store"), State::Down(_)));
        assert!(matches!(bench.health("disk"), State::Down(_)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bench.store.reads(user).await.expect("reads work"), [(1, 1)]);
    setrlimit(Resource::Fsize, limit).expect("no limit");
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    bench.until("disk", UP_WITHIN, |state| *state == State::Ok).await;
    all_writes_work(&bench, user, 3).await;
}

#[tokio::test]
async fn a_lock_of_another_program_is_reported_and_its_end_too() {
    let bench = common::bench_with(|options| options.busy_timeout_ms = 200).await;
    let user = bench.user("ann@example.org").await.id;
    let other = bench.second_db().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.expect("lock");
    bench.until("store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    let locked = "the database stays locked, by another program or by a write that the disk has not finished";
    let locked = State::Down(locked.into());
    bench.until("store", DOWN_WITHIN, |state| *state == locked).await;
    assert!(bench.store.append(1, None, vec![text(user, "locked out")]).await.is_err());
    lock.rollback().await.expect("release");
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    all_writes_work(&bench, user, 1).await;
}

#[tokio::test]
async fn little_free_space_refuses_messages_and_uploads_and_nothing_else() {
    let bench = common::bench_with(|options| options.min_free_mb = 1 << 30).await;
    let new = NewUser { email: "a@b.c".into(), password: "secret".into(), avatar: "/a.svg".into() };
    let user = bench.store.register(new, common::client()).await;
    let user = user.expect("an account needs little").user.id;
    let ready = Ready::new(&bench, user).await;
    for (what, outcome) in writes(&bench.store, user, 1, &ready).await {
        let is_refused = ["message", "upload"].contains(&what);
        let want = if is_refused { Err(StoreError::LowDisk.to_string()) } else { Ok(()) };
        assert_eq!(outcome, want, "{what}");
    }
    let State::Down(reason) = bench.health("disk") else { panic!("the disk is ok") };
    assert!(reason.contains("storage.min_free_mb is 1073741824"), "{reason}");
    assert_eq!(bench.health("store"), State::Ok);
}

/// What becomes of a file under a running server, and how it is put back.
#[tokio::test]
async fn a_database_file_that_is_removed_replaced_or_emptied_is_not_written_to() {
    use std::fs;
    use std::path::Path;
    type Change = fn(&Path, &Path);
    let removed: Change = |file, aside| fs::rename(file, aside).expect("rename");
    let replaced: Change = |file, aside| {
        fs::rename(file, aside).expect("rename");
        fs::copy(aside, file).expect("copy");
    };
    for (name, change) in [
        ("throng.db", removed),
        ("throng.db", replaced),
        ("throng.db-wal", removed),
        ("throng.db-wal", replaced),
        ("throng.db-shm", removed),
        ("throng.db-shm", replaced),
    ] {
        let bench = bench().await;
        let user = bench.user("ann@example.org").await.id;
        all_writes_work(&bench, user, 1).await;
        let ready = Ready::new(&bench, user).await;
        let (file, aside) = (bench.dir.path().join(name), bench.dir.path().join("aside"));
        change(&file, &aside);
        // At once, and not only after a look.
        let refused = bench.store.append(1, None, vec![text(user, "lost")]).await;
        assert!(
            refused.as_ref().is_err_and(|error| error.to_string().contains("removed, replaced")),
            "{name}: {refused:?}"
        );
        let reason = State::Down("the database file or its log was removed or replaced".into());
        bench.until("store", DOWN_WITHIN, |state| *state == reason).await;
        for (what, outcome) in writes(&bench.store, user, 2, &ready).await {
            assert!(outcome.is_err(), "{name}: {what}");
        }
        assert!(bench.store.reads(user).await.is_err(), "what is read is not what is there");
        fs::rename(&aside, &file).expect("put it back");
        bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
        all_writes_work(&bench, user, 3).await;
        change(&file, &aside);
        bench.until("store", DOWN_WITHIN, |state| *state == reason).await;
        assert!(!bench.store.close().await, "not everything was written");
    }
    // The same files, with something else inside.
    let other = bench().await;
    all_writes_work(&other, other.user("ann@example.org").await.id, 1).await;
    assert!(other.store.close().await);
    let emptied = |_: &[u8]| Vec::new();
    let cut = |content: &[u8]| content[..content.len() / 2].to_vec();
    let zeroed = |content: &[u8]| vec![0; content.len()];
    let copied_over =
        |_: &[u8]| fs::read(other.dir.path().join("throng.db")).expect("it was closed");
    type Rewrite<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let changes: [(&str, &str, Rewrite<'_>); 5] = [
        ("emptied", "throng.db", &emptied),
        ("copied over", "throng.db", &copied_over),
        ("emptied", "throng.db-wal", &emptied),
        ("cut", "throng.db-wal", &cut),
        ("zeroed", "throng.db-wal", &zeroed),
    ];
    for (what, name, change) in changes {
        let bench = bench().await;
        let user = bench.user("ann@example.org").await.id;
        all_writes_work(&bench, user, 1).await;
        let file = bench.dir.path().join(name);
        let content = fs::read(&file).expect("read");
        // In place: it stays the same file.
        fs::write(&file, change(&content)).expect("write");
        let refused = bench.store.append(1, None, vec![text(user, "lost")]).await;
        assert!(
            refused.as_ref().is_err_and(|error| error.to_string().contains("removed, replaced")),
            "{name} {what}: {refused:?}"
        );
        bench.until("store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
        assert!(!bench.store.close().await, "not everything was written");
    }
}

/// One page that is damaged fails some messages and not others, and no row of a probe.
#[tokio::test]
async fn a_damaged_database_is_down_until_a_check_finds_no_damage() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options { is_exclusive: true, ..options(&dir) };
    let url = options.default_url();
    let store = Store::open(&url, options.clone()).await.expect("open");
    store.ensure_rooms(&[(1, "Room".into())]).await.expect("a room");
    let message = |cid: &str| NewMessage { cid: Some(cid.into()), ..text(1, "x") };
    store.append(1, None, vec![message("first")]).await.expect("append");
    assert!(store.close().await);
    let file = dir.path().join("throng.db");
    let db = AnyPool::connect(&url).await.expect("open");
    let pages: (i64, i64) = sqlx::query_as(
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name = 'messages_cid'",
    )
    .fetch_one(&db)
    .await
    .expect("the index");
    db.close().await;
    let whole = std::fs::read(&file).expect("read");
    let mut damaged = whole.clone();
    let (page, bytes) =
        (usize::try_from(pages.0).expect("a page"), usize::try_from(pages.1).expect("bytes"));
    damaged[(page - 1) * bytes..page * bytes].fill(0);
    std::fs::write(&file, &damaged).expect("write");
    let store =
        Store::open(&url, options.clone()).await.expect("the other pages are enough to start");
    store.append(1, None, vec![message("second")]).await.expect_err("its index is damaged");
    let down = State::Down("the database is damaged".into());
    until(&store, "store", DOWN_WITHIN, |state| *state == down).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(
            store.options().health.state("store").expect("it reports it"),
            down,
            "after {:?}",
            begun.elapsed()
        );
        let _ = store.append(1, None, vec![text(1, "without a client id")]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.close().await;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.path().join(format!("throng.db{end}")));
    }
    std::fs::write(&file, &whole).expect("restore");
    let store = Store::open(&url, options).await.expect("open");
    store.append(1, None, vec![message("second")]).await.expect("it was restored");
}

/// An older copy of all three files, put over those that are open: the index of the log fits the log then. What shows
/// it is that members have seen more messages than there are.
#[tokio::test]
async fn an_older_copy_put_over_the_open_files_takes_no_message() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options { is_exclusive: true, ..options(&dir) };
    let url = options.default_url();
    let store = Store::open(&url, options.clone()).await.expect("open");
    store.ensure_rooms(&[(1, "Room".into())]).await.expect("a room");
    let append = async |tip: u64| store.append_behind(1, None, tip, vec![text(1, "x")]).await;
    for tip in 0..3 {
        append(tip).await.expect("append");
    }
    let names = ["throng.db", "throng.db-wal", "throng.db-shm"];
    let copies = names.map(|name| std::fs::read(dir.path().join(name)).expect("read"));
    for tip in 3..6 {
        append(tip).await.expect("append");
    }
    for (name, copy) in names.iter().zip(&copies) {
        use std::io::Write;
        // In place, and without a moment in which it is empty: the index is mapped.
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(name));
        file.expect("open").write_all(copy).expect("write");
    }
    for _ in 0..2 {
        let refused = append(6).await.map(drop).expect_err("three messages are gone");
        assert!(refused.to_string().contains("removed, replaced"), "{refused}");
    }
    until(&store, "store", DOWN_WITHIN, |state| matches!(state, State::Down(_))).await;
    assert!(!store.close().await, "not everything was written");
}

/// The log begins anew, and is emptied by another program that has moved its content.
#[tokio::test]
async fn a_checkpoint_is_no_loss() {
    let bench = bench().await;
    let user = bench.user("ann@example.org").await.id;
    all_writes_work(&bench, user, 1).await;
    let second_db = bench.second_db().await;
    for round in 0..6 {
        for mode in ["PASSIVE", "RESTART", "TRUNCATE"] {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&second_db).await.expect("checkpoint");
            let long = "x".repeat(200_000);
            bench.store.append(1, None, vec![text(user, &long)]).await.expect("append");
        }
        // As many pages as the server's own checkpoint needs.
        let long = "x".repeat(3_000_000);
        bench.store.append(1, None, vec![text(user, &long)]).await.expect("append");
        assert_eq!(bench.health("store"), State::Ok, "round {round}");
    }
}

async fn open_error(url: &str, options: Options) -> StoreError {
    let begun = Instant::now();
    let opened = Store::open(url, options.clone()).await.map(drop);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let error = opened.expect_err("it cannot be opened");
    if !matches!(error, StoreError::InUse { .. }) {
        let checked = check(url, &options).await.expect_err("the check says so too");
        assert_eq!(checked.to_string(), error.to_string());
    }
    let sentence = error.to_string();
    assert!(!sentence.contains('\n') && !sentence.contains("timed out"), "{sentence}");
    error
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_within_a_second() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options { is_exclusive: true, ..options(&dir) };
    let url = options.default_url();
    check(&url, &options).await.expect("nothing is there yet");
    assert!(
        std::fs::read_dir(dir.path()).expect("list").next().is_none(),
        "a check leaves nothing"
    );
    let database = dir.path().join("throng.db");

    std::fs::write(&database, "not a database, and long enough to be looked at".repeat(100))
        .expect("write");
    let damaged = open_error(&url, options.clone()).await.to_string();
    assert!(damaged.contains("file is not a database"), "{damaged}");

    std::fs::write(&database, "").expect("empty it");
    std::fs::create_dir_all(dir.path().join("storage/images")).expect("create");
    let emptied = open_error(&url, options.clone()).await;
    assert!(matches!(emptied, StoreError::Emptied(_)), "{emptied}");

    std::fs::remove_file(&database).expect("remove");
    std::fs::create_dir(&database).expect("create");
    let directory = open_error(&url, options.clone()).await.to_string();
    assert!(directory.contains("Is a directory"), "{directory}");
    std::fs::remove_dir(&database).expect("remove");

    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("write");
    let in_file = Options { is_exclusive: true, ..Options::new(file.join("data")) };
    let no_directory = open_error(&in_file.default_url(), in_file).await.to_string();
    assert!(no_directory.contains("not a directory"), "{no_directory}");

    for url in ["postgres://a:b@127.0.0.1:1/x", "mysql://a:b@127.0.0.1:1/x"] {
        let refused = open_error(url, options.clone()).await.to_string();
        assert!(refused.contains("Connection refused"), "{refused}");
    }

    let store = Store::open(&url, options.clone()).await.expect("open");
    let taken = open_error(&url, options.clone()).await.to_string();
    let own = format!("process {}", std::process::id());
    assert!(taken.contains(&own), "{taken}");
    let warnings = check(&url, &options).await.expect("a running server is no error");
    let own = std::process::id();
    assert!(warnings.len() == 1 && warnings[0].contains(&format!("process {own}")), "{warnings:?}");
    std::fs::remove_file(dir.path().join("throng.lock")).expect("remove");
    let health = store.options().health.clone();
    let begun = Instant::now();
    while health.state("lock") == Some(State::Ok) {
        assert!(begun.elapsed() < DOWN_WITHIN, "a lost lock is not noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn everything_in_the_data_directory_is_private() {
    let place = tempfile::tempdir().expect("tempdir");
    let data = place.path().join("data");
    let options = Options { min_free_mb: 0, ..Options::new(&data) };
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    for round in 0..2_u8 {
        let store = Store::open(&options.default_url(), options.clone()).await.expect("open");
        store.save_image(ImageKind::Messages, image(round)).await.expect("save");
        let mut folders = vec![data.clone()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            assert_eq!(mode(&folder), 0o700, "{}", folder.display());
            for entry in std::fs::read_dir(&folder).expect("list") {
                let path = entry.expect("entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    assert_eq!(mode(&path), 0o600, "{}", path.display());
                    files += 1;
                }
            }
        }
        assert!(files >= 4, "the database, its log, its lock and an image: {files}");
        assert!(store.close().await);
        // As an earlier version left it.
        for (path, mode) in
            [("", 0o755), ("throng.db", 0o644), ("throng.lock", 0o644), ("storage", 0o755)]
        {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(data.join(path), mode).expect("chmod");
        }
    }
}

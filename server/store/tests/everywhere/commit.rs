//! Group commit: order, atomicity, bounds.

use std::sync::atomic::Ordering::Relaxed;

use crate::common::{Bench, Flavor, bench, bench_with, text, texts};
use crate::everywhere;
use throng_store::{AppendError, Appended, StoreError};

async fn last_seq(bench: &Bench, room: u32) -> u64 {
    bench.store.room(room).await.expect("query").expect("room").last_seq
}

/// Holds a lock that every append needs, so that jobs queue until it is dropped.
async fn held_lock(bench: &Bench) -> sqlx::Transaction<'static, sqlx::Any> {
    let pool = bench.second_db().await;
    if bench.flavor == Flavor::Sqlite {
        return pool.begin_with("BEGIN IMMEDIATE").await.expect("lock");
    }
    let mut lock = pool.begin().await.expect("begin");
    let rooms = sqlx::query("SELECT id FROM rooms ORDER BY id FOR UPDATE");
    rooms.fetch_all(&mut *lock).await.expect("lock");
    lock
}

/// What makes messages that say `poison` fail, and what ends it.
fn poison(flavor: Flavor) -> (&'static str, &'static str) {
    match flavor {
        Flavor::Sqlite => (
            "CREATE TRIGGER fault BEFORE INSERT ON messages WHEN NEW.msg = 'poison'
             BEGIN SELECT RAISE(ABORT, 'injected'); END",
            "DROP TRIGGER fault",
        ),
        Flavor::Postgres => (
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.msg = 'poison' THEN RAISE EXCEPTION 'injected'; END IF; RETURN NEW; END
             $$;
             CREATE TRIGGER fault BEFORE INSERT ON messages
             FOR EACH ROW EXECUTE FUNCTION fault()",
            "DROP TRIGGER fault ON messages",
        ),
        Flavor::Mariadb => (
            "CREATE TRIGGER fault BEFORE INSERT ON messages FOR EACH ROW
             IF NEW.msg = 'poison' THEN SIGNAL SQLSTATE '45000'; END IF",
            "DROP TRIGGER fault",
        ),
    }
}

async fn what_waits_is_committed_together_and_in_order() {
    let bench = bench().await;
    let lock = held_lock(&bench).await;
    let mut appends = Vec::new();
    for seq in 1..=500 {
        appends.push((1, bench.store.append(1, Some(seq), vec![text(1, &seq.to_string())])));
        appends.push((2, bench.store.append(2, Some(2 * seq - 1), texts(2, 2 * seq - 1, 2 * seq))));
    }
    let read = bench.store.save_read(1, 1, 500, false);
    lock.rollback().await.expect("release");
    let mut ids = std::collections::HashSet::new();
    for (room, append) in appends {
        let answered = append.await.expect("append").ids;
        assert_eq!(answered.len(), room);
        ids.extend(answered);
    }
    read.await.expect("save");
    assert_eq!(ids.len(), 1500, "every message has its own id");
    assert_eq!((last_seq(&bench, 1).await, last_seq(&bench, 2).await), (500, 1000));
    let commits = bench.store.metrics().counters.commits.load(Relaxed);
    assert_eq!(commits, 1, "one transaction for 1001 jobs");
    assert_eq!(bench.store.metrics().counters.jobs.load(Relaxed), 1001);
    assert_eq!(bench.store.metrics().counters.messages.load(Relaxed), 1500);
    assert_eq!(bench.store.metrics().commit_latency.count(), commits);
    let page = bench.store.history(2, 1, 0).await.expect("query").expect("room");
    let rows: Vec<_> = page.rows.iter().map(|row| (row.seq, row.msg.clone())).collect();
    assert_eq!(rows, (981..=1000).map(|n| (n, n.to_string())).collect::<Vec<_>>());
}

async fn ids_belong_to_their_messages() {
    let bench = bench().await;
    let ids = bench.store.append(1, Some(1), texts(1, 1, 300)).await.expect("append").ids;
    let page = bench.store.history(1, 15, 0).await.expect("query").expect("room");
    let rows: Vec<_> = page.rows.iter().map(|row| (row.msg.clone(), row.id)).collect();
    let want: Vec<_> = (1..=20).map(|n: usize| (n.to_string(), ids[n - 1])).collect();
    assert_eq!(rows, want);
}

async fn an_append_that_would_leave_a_gap_or_repeat_is_refused_alone() {
    let bench = bench().await;
    bench.store.append(1, Some(1), texts(1, 1, 3)).await.expect("append");
    let lock = held_lock(&bench).await;
    let gap = bench.store.append(1, Some(5), vec![text(1, "gap")]);
    let repeat = bench.store.append(1, Some(3), vec![text(1, "repeat")]);
    let right = bench.store.append(1, Some(4), vec![text(1, "right")]);
    let late = bench.store.append(1, Some(4), vec![text(1, "late")]);
    let nowhere = bench.store.append(77, Some(1), vec![text(1, "nowhere")]);
    let empty = bench.store.append(2, Some(1), vec![]);
    lock.rollback().await.expect("release");
    assert!(matches!(gap.await, Err(AppendError::OutOfSequence { last_seq: 3, .. })));
    assert!(matches!(repeat.await, Err(AppendError::OutOfSequence { last_seq: 3, .. })));
    assert_eq!(right.await.expect("append").ids.len(), 1);
    assert!(matches!(late.await, Err(AppendError::OutOfSequence { last_seq: 4, .. })));
    assert!(matches!(nowhere.await, Err(AppendError::UnknownRoom)));
    assert_eq!(
        empty.await.expect("append"),
        Appended { first_seq: 1, ids: Vec::new(), repeats: Vec::new() }
    );
    let page = bench.store.history(1, 1, 0).await.expect("query").expect("room");
    let rows: Vec<_> = page.rows.iter().map(|row| row.msg.as_str()).collect();
    assert_eq!(rows, ["1", "2", "3", "right"]);
}

async fn an_append_without_a_number_gets_the_next() {
    let bench = bench().await;
    let lock = held_lock(&bench).await;
    let first = bench.store.append(1, None, texts(1, 1, 2));
    let second = bench.store.append(1, Some(3), texts(1, 3, 3));
    let third = bench.store.append(1, None, texts(1, 4, 5));
    let nowhere = bench.store.append(77, None, vec![text(1, "nowhere")]);
    lock.rollback().await.expect("release");
    assert_eq!(first.await.expect("append").first_seq, 1);
    assert_eq!(second.await.expect("append").first_seq, 3);
    assert_eq!(third.await.expect("append").first_seq, 4);
    assert!(matches!(nowhere.await, Err(AppendError::UnknownRoom)));
    let next = bench.store.append(1, None, texts(1, 6, 6)).await.expect("append");
    assert_eq!(next.first_seq, 6);
    let page = bench.store.history(1, 1, 0).await.expect("query").expect("room");
    let rows: Vec<_> = page.rows.iter().map(|row| (row.seq, row.msg.clone())).collect();
    assert_eq!(rows, (1..=6).map(|n| (n, n.to_string())).collect::<Vec<_>>());
    assert_eq!(page.rows[5].id, next.ids[0]);
}

async fn check_failed_batch(bench: &Bench, fault: &'static str, heal: &'static str) {
    let second_db = bench.second_db().await;
    bench.store.append(1, Some(1), vec![text(1, "before")]).await.expect("append");
    sqlx::raw_sql(fault).execute(&second_db).await.expect("fault");
    let lock = held_lock(bench).await;
    let answers = [
        bench.store.append(1, Some(2), vec![text(1, "innocent")]),
        bench.store.append(2, Some(1), texts(1, 1, 40)),
        bench.store.append(1, Some(3), vec![text(1, "poison")]),
        bench.store.append(1, Some(4), vec![text(1, "behind")]),
    ];
    let read = bench.store.save_read(9, 1, 1, false);
    lock.rollback().await.expect("release");
    // Nothing yielded between the calls, so all of them are one batch.
    for answer in answers {
        let answer = answer.await;
        assert!(matches!(&answer, Err(AppendError::Store(StoreError::Database(_)))), "{answer:?}");
    }
    assert!(matches!(read.await, Err(StoreError::Database(_))));
    assert_eq!(bench.store.metrics().counters.commit_failures.load(Relaxed), 1);
    assert_eq!((last_seq(bench, 1).await, last_seq(bench, 2).await), (1, 0));
    assert_eq!(bench.store.reads(9).await.expect("query"), []);
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM messages")
        .fetch_one(&second_db)
        .await
        .expect("count");
    assert_eq!(rows, 1, "no row of the failed batch stays");

    sqlx::raw_sql(heal).execute(&second_db).await.expect("heal");
    bench.store.append(1, Some(2), vec![text(1, "poison")]).await.expect("append after healing");
    assert_eq!(last_seq(bench, 1).await, 2);
}

async fn a_statement_that_fails_takes_its_whole_batch_with_it() {
    let bench = bench().await;
    let (fault, heal) = poison(bench.flavor);
    check_failed_batch(&bench, fault, heal).await;
}

async fn a_commit_that_fails_takes_its_whole_batch_with_it() {
    // A deferred constraint fails at COMMIT, when every statement has succeeded.
    let bench = bench().await;
    let (fault, heal) = match bench.flavor {
        Flavor::Sqlite => (
            "CREATE TABLE debts
                 (room_id INTEGER REFERENCES rooms (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER fault BEFORE INSERT ON messages WHEN NEW.msg = 'poison'
             BEGIN INSERT INTO debts VALUES (4711); END",
            "DROP TRIGGER fault",
        ),
        Flavor::Postgres => (
            "CREATE TABLE debts
                 (room_id BIGINT REFERENCES rooms (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF NEW.msg = 'poison' THEN INSERT INTO debts VALUES (4711); END IF; RETURN NEW;
             END $$;
             CREATE TRIGGER fault BEFORE INSERT ON messages
             FOR EACH ROW EXECUTE FUNCTION fault()",
            "DROP TRIGGER fault ON messages",
        ),
        // It has no deferred constraints, so no statement fails at its COMMIT.
        Flavor::Mariadb => return,
    };
    check_failed_batch(&bench, fault, heal).await;
}

async fn one_job_beyond_the_queue_is_refused_at_once() {
    let bench = bench_with(|options| options.commit_queue_max = 4).await;
    let _lock = held_lock(&bench).await;
    // Nothing yields here, so the writer takes nothing between the calls.
    let _queued: Vec<_> =
        (1..=4).map(|seq| bench.store.append(1, Some(seq), vec![text(1, "queued")])).collect();
    assert_eq!(bench.store.commit_queue_depth(), 4);
    let refused = bench.store.append(1, Some(5), vec![text(1, "too many")]).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Busy(_)))), "{refused:?}");
    assert_eq!(bench.store.metrics().counters.refusals.load(Relaxed), 1);
}

async fn a_batch_takes_no_more_than_its_bound() {
    let bench = bench_with(|options| options.commit_batch_max = 10).await;
    let appends: Vec<_> =
        (1..=100).map(|seq| bench.store.append(1, Some(seq), vec![text(1, "x")])).collect();
    for append in appends {
        append.await.expect("append");
    }
    assert_eq!(bench.store.metrics().counters.commits.load(Relaxed), 10);
}

async fn a_dropped_future_does_not_take_its_messages_back() {
    let bench = bench().await;
    drop(bench.store.append(1, Some(1), vec![text(1, "kept")]));
    bench.store.flush().await.expect("flush");
    assert_eq!(last_seq(&bench, 1).await, 1);
}

async fn closing_commits_what_is_queued_and_ends_the_rest() {
    let bench = bench().await;
    let queued = bench.store.append(1, Some(1), vec![text(1, "queued")]);
    bench.store.close().await;
    assert_eq!(queued.await.expect("append").ids.len(), 1);
    let late = bench.store.append(1, Some(2), vec![text(1, "late")]).await;
    assert!(matches!(late, Err(AppendError::Store(_))), "{late:?}");
    let reopened = bench.node("local").await;
    assert_eq!(reopened.room(1).await.expect("query").expect("room").last_seq, 1);
}

everywhere! {
    what_waits_is_committed_together_and_in_order,
    ids_belong_to_their_messages,
    an_append_that_would_leave_a_gap_or_repeat_is_refused_alone,
    an_append_without_a_number_gets_the_next,
    a_statement_that_fails_takes_its_whole_batch_with_it,
    a_commit_that_fails_takes_its_whole_batch_with_it,
    one_job_beyond_the_queue_is_refused_at_once,
    a_batch_takes_no_more_than_its_bound,
    a_dropped_future_does_not_take_its_messages_back,
    closing_commits_what_is_queued_and_ends_the_rest,
}

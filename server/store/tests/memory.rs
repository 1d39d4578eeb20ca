//! SQLite without memory. Its bound holds for the whole process, and can be lowered only: this test has a process of
//! its own.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{DOWN_WITHIN, UP_WITHIN, bench, text};
use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;
use throng_health::State;

/// More than the store needs, and little enough to use up.
const HEAP_LIMIT: u64 = 48 << 20;

/// What else is in the process: it takes all memory that there is, until it has to stop.
async fn hog(hog: AnyPool, is_over: Arc<AtomicBool>) {
    let insert = |bytes: usize| format!("INSERT INTO hog VALUES (zeroblob({bytes}))");
    while !is_over.load(Relaxed) {
        for bytes in [1 << 20, 1 << 16, 1 << 12] {
            while sqlx::raw_sql(sqlx::AssertSqlSafe(insert(bytes))).execute(&hog).await.is_ok() {}
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    hog.close().await;
}

#[tokio::test]
async fn memory_that_is_used_up_is_reported_and_all_works_when_there_is_some_again() {
    let bench = bench().await;
    let user = bench.user("ann@example.org").await.id;
    let message = || vec![text(user, &"x".repeat(10_000))];
    bench.store.append(1, None, message()).await.expect("there is memory");
    let pool = AnyPoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
    let pool = pool.expect("a database in memory");
    let limit = format!("PRAGMA hard_heap_limit = {HEAP_LIMIT}; CREATE TABLE hog (bytes BLOB)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(&pool).await.expect("a limit");
    let is_over = Arc::new(AtomicBool::new(false));
    let hogging = tokio::spawn(hog(pool, Arc::clone(&is_over)));

    let no_memory = State::Down("the database is out of memory".into());
    for _ in 0..200 {
        if bench.store.append(1, None, message()).await.is_err() {
            break;
        }
    }
    bench.until("store", DOWN_WITHIN, |state| *state == no_memory).await;
    let mut is_refused = false;
    for _ in 0..200 {
        // One may get what the other connection has freed a moment before.
        is_refused = is_refused || bench.store.append(1, None, message()).await.is_err();
    }
    assert!(is_refused, "there is still none");

    is_over.store(true, Relaxed);
    hogging.await.expect("it ends");
    bench.until("store", UP_WITHIN, |state| *state == State::Ok).await;
    let before = bench.store.room(1).await.expect("query").expect("room").last_seq;
    let placed = bench.store.append(1, None, message()).await.expect("there is memory");
    assert_eq!(placed.first_seq, before + 1);
    bench.store.save_read(user, 1, placed.first_seq, false).await.expect("a read mark");
    bench.user("eve@example.org").await;
    let rows = bench.store.fetch(1, before, before + 10).await.expect("query");
    assert_eq!(rows.len(), 1);
}

//! A database of an earlier version of the server, and one of another program.

mod common;

use std::path::Path;

use common::options;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throng_store::{Store, StoreError, check};

/// As the first version wrote it: a user of two rooms, who was in the first when the process ended.
const ROWS: &str = "
    INSERT INTO users VALUES
        (1, 'ann', 'ann@example.org', 'ann@example.org', NULL, 'x', '/a.svg', 1000, 1000);
    INSERT INTO rooms VALUES (1, 'Lobby', 2, 1000), (2, 'Lounge', 1, 1000);
    INSERT INTO messages VALUES
        (1, 1, 1, 1, 'one', '', '1970-01-01T00:00:01Z', 1000),
        (2, 1, 2, 1, 'two', '', '1970-01-01T00:00:01Z', 1000),
        (3, 2, 1, 1, 'elsewhere', '', '1970-01-01T00:00:01Z', 1000);
    INSERT INTO reads VALUES (1, 1, 1, 1), (1, 2, 0, 0)";

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = options(&dir);
    let url = options.default_url();
    let file: SqliteConnectOptions = url.parse().expect("a URL of SQLite");
    let old = SqlitePool::connect_with(file.create_if_missing(true)).await.expect("create");
    let migrations = Migrator::new(Path::new("migrations/sqlite")).await.expect("the files");
    migrations.run_to(1, &old).await.expect("the first schema");
    sqlx::raw_sql(ROWS).execute(&old).await.expect("rows");
    old.close().await;

    for opened in ["migrated", "opened once more"] {
        let store = Store::open(&url, options.clone()).await.expect(opened);
        let page = store.history(1, 1, 0).await.expect("query").expect("room 1");
        let texts: Vec<&str> = page.rows.iter().map(|row| row.msg.as_str()).collect();
        assert_eq!(texts, ["one", "two"], "{opened}");
        // A user who was reading a room has read all of it: the process that knew more has ended.
        assert_eq!(store.reads(1).await.expect("query"), [(1, 2), (2, 0)], "{opened}");
        assert_eq!(store.tips().await.expect("query"), [(1, 2), (2, 1)], "{opened}");
        store.close().await;
    }
}

#[tokio::test]
async fn the_file_of_another_program_is_refused_and_stays_as_it_is() {
    for (sql, is_refused) in [
        ("CREATE TABLE users (id INTEGER PRIMARY KEY)", true),
        ("CREATE TABLE Messages (body TEXT)", true),
        ("CREATE VIEW rooms AS SELECT 1 AS id", true),
        ("CREATE TABLE notes (body TEXT)", false),
    ] {
        let dir = tempfile::tempdir().expect("tempdir");
        let options = options(&dir);
        let url = options.default_url();
        let file: SqliteConnectOptions = url.parse().expect("a URL of SQLite");
        let other = SqlitePool::connect_with(file.create_if_missing(true)).await.expect("create");
        sqlx::raw_sql(sql).execute(&other).await.expect(sql);
        other.close().await;
        let database = dir.path().join("throng.db");
        let content = std::fs::read(&database).expect("read");
        let checked = check(&url, &options).await.map(drop);
        assert_eq!(std::fs::read(&database).expect("read"), content, "{sql}");
        let opened = Store::open(&url, options.clone()).await.map(drop);
        for outcome in [checked, opened] {
            if is_refused {
                let error = outcome.expect_err(sql);
                assert!(matches!(error, StoreError::Foreign), "{sql}: {error}");
            } else {
                outcome.expect(sql);
            }
        }
        let is_as_it_was = std::fs::read(&database).expect("read") == content;
        assert_eq!(is_as_it_was, is_refused, "{sql}");
    }
}

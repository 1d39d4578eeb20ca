//! A database of an earlier version of the server.

mod common;

use std::path::Path;

use common::options;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throng_store::Store;

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

//! Data that this build cannot use: the check and the start refuse it with the same words.

use crate::common::{bench, new_database, options};
use crate::everywhere;
use throng_store::{Store, check};

const NEWER: &str = "the data was written by a newer throng (migration 9 is unknown to this one)";
const CHANGED: &str = "migration 2 was changed after it was applied";
const NOT_COMPLETE: &str = "migration 2 did not complete";
const FOREIGN: &str = "the database holds tables of another program";

async fn data_that_this_build_cannot_use_is_refused_by_the_check_and_by_the_start() {
    for (change, says) in [
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 9, 'of a newer one', success, checksum, execution_time
             FROM _sqlx_migrations WHERE version = 1",
            NEWER,
        ),
        ("UPDATE _sqlx_migrations SET checksum = 'another' WHERE version = 2", CHANGED),
        ("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2", NOT_COMPLETE),
        ("DROP TABLE _sqlx_migrations", FOREIGN),
        // As an earlier start on such tables has left it.
        ("DELETE FROM _sqlx_migrations", FOREIGN),
        // Another program may use the same list.
        ("UPDATE _sqlx_migrations SET version = version + 20000000", FOREIGN),
    ] {
        let bench = bench().await;
        let options = options(&bench.dir);
        assert!(bench.store.close().await, "everything was written");
        check(&bench.url, &options).await.expect("our own data");
        let second_db = bench.second_db().await;
        sqlx::raw_sql(change).execute(&second_db).await.expect(change);
        second_db.close().await;
        for what in ["before a start", "after it"] {
            let checked = check(&bench.url, &options).await.expect_err(change);
            assert_eq!(checked.to_string(), says, "{what}");
            let opened = Store::open(&bench.url, options.clone()).await.map(drop);
            assert_eq!(opened.expect_err(change).to_string(), says, "{what}");
        }
    }
}

async fn an_empty_database_is_accepted_by_the_check_and_filled_by_the_start() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = options(&dir);
    let (_, url) = new_database(&options).await;
    for what in ["it is empty", "a check changes nothing"] {
        check(&url, &options).await.expect(what);
    }
    let store = Store::open(&url, options.clone()).await.expect("open");
    check(&url, &options).await.expect("a running server is no error");
    assert!(store.close().await, "everything was written");
}

everywhere! {
    data_that_this_build_cannot_use_is_refused_by_the_check_and_by_the_start,
    an_empty_database_is_accepted_by_the_check_and_filled_by_the_start,
}

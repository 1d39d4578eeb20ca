//! The original application's data, imported from a real MariaDB into every database.

#[path = "../../store/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use common::servers::Server;
use common::{Flavor, client, options};
use sqlx::AnyPool;
use tempfile::TempDir;
use throng_import::{Import, ImportError, ImportReport, Remark, Tally};
use throng_store::{NewUser, Store, Urgency, hash_token};

const SCHEMA: &str = include_str!("original.sql");

/// The hash of `U*U` with PHP's prefix; the letters of the tokens name their owners.
const ROWS: &str = "
    INSERT INTO users (id, name, email, email_verified_at, password, avatar, api_token,
                       created_at, updated_at) VALUES
      (1, 'ann', 'Ann@example.org', '2020-01-01 00:00:00', '{bcrypt}', 'https://a.example/1.png',
       REPEAT('a', 60), '2020-02-03 04:05:06', '2020-02-03 04:05:07'),
      (2, 'bob', 'bob@example.org', NULL, '{bcrypt}', '/b.png', NULL, NULL, NULL),
      (5, 'Zoë', 'zoë@example.org', NULL, 'plain', '/z.png', 'short-token', NULL, NULL),
      (6, 'late', 'late@example.org', NULL, '{bcrypt}', '/l.png', REPEAT('d', 60), NULL, NULL),
      (7, 'ann', 'ann@EXAMPLE.org', NULL, '{bcrypt}', '/c.png', REPEAT('c', 60), NULL, NULL),
      (5000000000, 'far', 'far@example.org', NULL, '{bcrypt}', '/f.png', NULL, NULL, NULL);
    INSERT INTO messages (id, msg, img, user_id, room_id, created_at) VALUES
      (10, 'first 你好 \u{1f600}', '', 1, 1, '2020-02-03 04:05:06'),
      (11, '', '/storage/x.png', 2, 1, '2020-02-03 04:05:07'),
      (12, 'an orphan', '', 99, 1, '2020-02-03 04:05:08'),
      (13, 'other spelling', '', 7, 1, '2020-02-03 04:05:09'),
      (14, 'nowhere', '', 1, 0, '2020-02-03 04:05:10'),
      (15, 'second room', '', 5, 2, '2020-02-03 04:05:11'),
      (16, 'too far', '', 5000000000, 2, '2020-02-03 04:05:12');
    INSERT INTO counts (id, user_id, room_id, count) VALUES
      (1, 1, 1, 2), (2, 1, 1, 3), (3, 1, 2, 0), (4, 2, 1, 50), (5, 99, 1, 1), (6, 5, -1, 1),
      (7, 5, 7, 0), (8, 7, 1, 1), (9, 6, 2, -4)";

/// The original, filled.
async fn original(server: &Server) -> String {
    let url = server.new_database().await;
    let pool = AnyPool::connect(&url).await.expect("connect");
    sqlx::raw_sql(SCHEMA).execute(&pool).await.expect("schema");
    // Another collation would have kept two spellings of one address apart.
    let collation = "ALTER TABLE users MODIFY email VARCHAR(255) COLLATE utf8mb4_bin NOT NULL";
    sqlx::raw_sql(collation).execute(&pool).await.expect("collation");
    // Written as the original writes: by the clock of the server's own zone.
    let rows = format!("SET time_zone = @@GLOBAL.time_zone; {ROWS}")
        .replace("{bcrypt}", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&pool).await.expect("rows");
    pool.close().await;
    url
}

fn remarks(remarks: &BTreeMap<&'static str, Remark>) -> Vec<(&'static str, Vec<i64>)> {
    let short = |reason: &&'static str| reason.split(':').nth(1).unwrap_or(reason).trim();
    remarks.iter().map(|(reason, remark)| (short(reason), remark.ids.clone())).collect()
}

fn check_report(report: &ImportReport) {
    let counted = |tally: &Tally| (tally.read, tally.written);
    assert_eq!(counted(&report.users), (6, 4));
    let reasons = remarks(&report.users.remarks);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(reasons[0].1, [7], "an earlier account has the e-mail");
    assert_eq!(reasons[1], ("the id is out of range", vec![5_000_000_000]));
    assert_eq!(reasons[2], ("the password is no bcrypt hash", vec![5]));
    assert_eq!(counted(&report.tokens), (3, 2));
    assert_eq!(report.tokens.remarks.values().next().expect("a remark").ids, [5]);
    assert_eq!(counted(&report.messages), (7, 4));
    assert_eq!(
        remarks(&report.messages.remarks),
        [("its author does not exist", vec![12, 16]), ("the room id is out of range", vec![14])]
    );
    assert_eq!(counted(&report.counts), (9, 5));
    let rows: u64 = report.counts.remarks.values().map(|remark| remark.rows).sum();
    // Skipped: 2, 5, 6, 8; written as all unread: 4.
    assert_eq!(rows, 5, "{:?}", report.counts.remarks);
    assert_eq!((report.rooms, report.marks), (3, 4 * 2));
    let text = format!("{report:?}{report}");
    assert!(!text.contains("$2y$") && !text.contains("aaaa"), "the report holds a secret");
}

async fn check_target(store: &Store) {
    // The users, who can log in as before.
    let ann = store.user(1).await.expect("query").expect("ann");
    assert_eq!((ann.email.as_str(), ann.name.as_str()), ("Ann@example.org", "ann"));
    assert_eq!(ann.avatar, "https://a.example/1.png");
    // Written by a clock eight hours ahead of UTC.
    assert_eq!(ann.created_at, "2020-02-02 20:05:06");
    assert_eq!(ann.email_verified_at.as_deref(), Some("2019-12-31 16:00:00"));
    let login = async |email: &str, password: &str| {
        let user = store.verify_login(email, password.into(), Urgency::Other, client()).await;
        user.expect("verify").map(|user| user.id)
    };
    assert_eq!(login("ANN@example.org", "U*U").await, Some(1));
    assert_eq!(login("zoë@example.org", "plain").await, None);
    let owner = async |letter: &str| {
        let hash = hash_token(&letter.repeat(60)).expect("shape");
        store.authenticate(hash).await.expect("query").map(|user| user.id)
    };
    assert_eq!((owner("a").await, owner("d").await, owner("c").await), (Some(1), Some(6), None));
    // The messages.
    let page = store.history(1, 1, 0).await.expect("query").expect("room 1");
    let messages: Vec<_> = page
        .rows
        .iter()
        .map(|row| (row.seq, row.user, row.msg.as_str(), row.img.as_str(), row.time.as_str()))
        .collect();
    assert_eq!(
        messages,
        [
            (1, 1, "first 你好 \u{1f600}", "", "2020-02-02T20:05:06Z"),
            (2, 2, "", "/storage/x.png", "2020-02-02T20:05:07Z"),
            (3, 1, "other spelling", "", "2020-02-02T20:05:09Z"),
        ]
    );
    assert_eq!(store.tips().await.expect("query"), [(1, 3), (2, 1), (7, 0)]);
    // Unread as the original would have shown them: 2 and 0, all, none.
    assert_eq!(store.reads(1).await.expect("query"), [(1, 1), (2, 1)]);
    assert_eq!(store.reads(2).await.expect("query"), [(1, 0), (2, 1)]);
    assert_eq!(store.reads(5).await.expect("query"), [(1, 3), (2, 1)]);
    assert_eq!(store.reads(6).await.expect("query"), [(1, 3), (2, 1)]);
    // New ids and seqs follow.
    let new =
        NewUser { email: "new@example.org".into(), password: "s".into(), avatar: "/n".into() };
    assert_eq!(store.register(new, client()).await.expect("register").user.id, 7);
    let placed = store.append(1, None, vec![common::text(1, "next")]).await.expect("append");
    assert_eq!(placed.first_seq, 4);
}

async fn check_import(from: &str, target: &str) {
    let dir = TempDir::new().expect("tempdir");
    let store = Store::open(target, options(&dir)).await.expect("open");
    store.ensure_rooms(&[(1, "Lobby".into())]).await.expect("rooms");
    let utc_offset_s = 8 * 60 * 60;
    let dry = Import { from, utc_offset_s, into: None };
    check_report(&dry.run(|_, _| ()).await.expect("dry run"));
    assert_eq!(store.user(1).await.expect("query"), None, "a dry run writes nothing");

    let import = Import { from, utc_offset_s, into: Some(&store) };
    let mut progress = Vec::new();
    let report = import.run(|table, rows| progress.push((table, rows))).await.expect("import");
    check_report(&report);
    assert_eq!(progress, [("users", 6), ("messages", 7), ("counts", 9)]);
    assert_eq!(store.room(1).await.expect("query").expect("room").name, "Lobby");
    check_target(&store).await;

    let again = import.run(|_, _| ()).await;
    assert!(matches!(again, Err(ImportError::NotEmpty("users"))), "{again:?}");
    store.close().await;
}

#[tokio::test]
async fn the_original_is_imported_whole() {
    let mariadb = Server::start(Flavor::Mariadb).await;
    let from = original(&mariadb).await;
    let dir = TempDir::new().expect("tempdir");
    check_import(&from, &options(&dir).default_url()).await;
    check_import(&from, &mariadb.new_database().await).await;
    let postgres = Server::start(Flavor::Postgres).await;
    check_import(&from, &postgres.new_database().await).await;
}

#[tokio::test]
async fn a_source_that_fails_half_way_leaves_nothing() {
    let mariadb = Server::start(Flavor::Mariadb).await;
    let from = original(&mariadb).await;
    let pool = AnyPool::connect(&from).await.expect("connect");
    sqlx::raw_sql("DROP TABLE counts").execute(&pool).await.expect("drop");
    let dir = TempDir::new().expect("tempdir");
    let store = Store::open(&options(&dir).default_url(), options(&dir)).await.expect("open");
    let import = Import { from: &from, utc_offset_s: 0, into: Some(&store) };
    let outcome = import.run(|_, _| ()).await;
    assert!(matches!(outcome, Err(ImportError::Source(_))), "{outcome:?}");
    assert_eq!(store.user(1).await.expect("query"), None);
    assert_eq!(store.tips().await.expect("query"), []);
    let postgres = Import { from: "postgres://ann:secret@db/x", utc_offset_s: 0, into: None };
    assert!(matches!(postgres.run(|_, _| ()).await, Err(ImportError::SourceUrl)));
}

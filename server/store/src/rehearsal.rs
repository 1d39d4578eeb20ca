//! A row of every kind that callers insert, in a transaction that is undone. Only this shows what a trigger, a
//! sequence or a rule of the database does to their rows.

use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row};

use crate::StoreError;
use crate::clock::now_ms;
use crate::dialect::Dialect;

/// Beyond the room ids that clients may use.
const ROOM_MIN: i64 = 1_000_000_000;

/// What the rows of one rehearsal are called: two probes at once must not wait for each other.
struct Names {
    user: String,
    room: i64,
    hash: String,
    /// The same as the database writes bytes.
    bytes: String,
}

impl Names {
    fn new(dialect: Dialect, number: i64) -> Self {
        let hash = format!("{number:064x}");
        let bytes = match dialect {
            Dialect::Postgres => format!("decode('{hash}', 'hex')"),
            Dialect::Sqlite | Dialect::Mysql => format!("X'{hash}'"),
        };
        Self { user: format!("throng probe {number}"), room: ROOM_MIN + number, hash, bytes }
    }

    fn inserts(&self, dialect: Dialect) -> String {
        let begin = match dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN; SET LOCAL lock_timeout = 600",
            Dialect::Mysql => "BEGIN",
        };
        let Self { user, room, hash, bytes } = self;
        format!(
            "{begin}; \
             INSERT INTO users (name, email, email_key, password_hash, avatar, created_at, updated_at) \
             VALUES ('throng probe', '{user}', '{user}', '', '', 0, 0); \
             INSERT INTO tokens (hash, user_id, scope, created_at, expires_at) \
             SELECT {bytes}, id, 'api', 0, 0 FROM users WHERE email_key = '{user}'; \
             INSERT INTO rooms (id, name, created_at) VALUES ({room}, 'throng probe', 0); \
             UPDATE rooms SET last_seq = 1 WHERE id = {room}; \
             INSERT INTO messages (room_id, seq, user_id, msg, img, time, created_at) \
             VALUES ({room}, 1, 0, 'throng probe', '', '', 0); \
             INSERT INTO read_marks (user_id, room_id, seq) VALUES (0, {room}, 1); \
             INSERT INTO reading (node, user_id, room_id) VALUES ('throng probe', 0, {room}); \
             INSERT INTO files (kind, hash, mime, bytes, created_at) \
             VALUES ('messages', '{hash}', 'throng probe', 0, 0)"
        )
    }

    /// One number for each row that is there.
    fn count(&self) -> String {
        let Self { user, room, hash, bytes } = self;
        let rows = [
            format!("users WHERE email_key = '{user}'"),
            format!("tokens WHERE hash = {bytes}"),
            format!("rooms WHERE id = {room} AND last_seq = 1"),
            format!("messages WHERE room_id = {room}"),
            format!("read_marks WHERE room_id = {room}"),
            format!("reading WHERE room_id = {room}"),
            format!("files WHERE kind = 'messages' AND hash = '{hash}'"),
        ];
        let counts = rows.map(|rows| format!("(SELECT COUNT(*) FROM {rows})"));
        format!("SELECT {}", counts.join(" + "))
    }
}

/// Rows that a rehearsal inserts.
const ROWS: i64 = 7;

/// Whether the database takes what callers insert. Of it only the numbers are used up that it would have given.
/// The connection must not be used again if this fails.
///
/// # Errors
/// Why not.
pub(crate) async fn rehearse(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<(), StoreError> {
    const NUMBERS: i64 = 1_000_000_000_000;
    let number = now_ms().rem_euclid(NUMBERS) ^ i64::from(std::process::id() & 0xfff);
    let names = Names::new(dialect, number);
    let inserted = connection.execute(AssertSqlSafe(names.inserts(dialect))).await;
    inserted.map_err(|error| match StoreError::from(error) {
        // Nobody has asked for these rows: whatever it says, it refuses them.
        error if error.storage_fault().is_some() => error,
        error => StoreError::Refused(error.to_string()),
    })?;
    let found = connection.fetch_one(AssertSqlSafe(names.count())).await?;
    let rows: i64 = found.try_get(0)?;
    connection.execute("ROLLBACK").await?;
    if rows == ROWS {
        Ok(())
    } else {
        Err(StoreError::Refused("rows that it took are missing".to_owned()))
    }
}

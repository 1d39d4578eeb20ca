//! A row of every kind that callers insert, in a transaction that is undone. Only this shows what a trigger, a
//! sequence or a rule of the database does to their rows.

use sqlx::{AnyConnection, AssertSqlSafe, Executor};

use crate::StoreError;
use crate::clock::now_ms;
use crate::dialect::Dialect;

/// Beyond the room ids that clients may use.
const ROOM_MIN: i64 = 1_000_000_000;

/// Inserts the rows and undoes that. `number`: which rows, since two probes at once must not wait for each other.
fn script(dialect: Dialect, number: i64) -> String {
    let begin = match dialect {
        Dialect::Sqlite => "BEGIN IMMEDIATE",
        Dialect::Postgres => "BEGIN; SET LOCAL lock_timeout = 600",
        Dialect::Mysql => "BEGIN",
    };
    let hash = format!("{number:064x}");
    let bytes = match dialect {
        Dialect::Postgres => format!("decode('{hash}', 'hex')"),
        Dialect::Sqlite | Dialect::Mysql => format!("X'{hash}'"),
    };
    let room = ROOM_MIN + number;
    let user = format!("throng probe {number}");
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
         VALUES ('messages', '{hash}', 'throng probe', 0, 0); \
         DELETE FROM tokens WHERE hash = {bytes}; \
         ROLLBACK"
    )
}

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
    connection.execute(AssertSqlSafe(script(dialect, number))).await?;
    Ok(())
}

//! Loading another application's data into an empty store, in one transaction.

use std::collections::BTreeMap;

use crate::clock::now_ms;
use crate::connection::Write;
use crate::dialect::{Dialect, OnConflict};
use crate::messages::{PlacedMessage, insert_messages};
use crate::reads::{ReadMark, ReadMarks, raise_marks};
use crate::rooms::{default_name, raise_rooms};
use crate::statement::insert_rows;
use crate::tokens::TokenScope;
use crate::users::email_key;
use crate::{Store, StoreError};

/// Read marks written at once.
const MARKS_CHUNK: usize = 10_000;

/// A user of another application. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedUser {
    pub id: u32,
    pub name: String,
    /// Unique by [`email_key`].
    pub email: String,
    pub email_verified_at_ms: Option<i64>,
    /// A bcrypt hash, replaced by argon2id at the first login. No password matches any other text.
    pub password_hash: String,
    pub avatar: String,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    /// Hash of the user's `Api` token; it lives for [`crate::Options::token_lifetime`] from now.
    pub token_hash: Option<[u8; 32]>,
}

/// A transaction that fills a store without users, messages and read marks. Dropping it leaves the
/// store as it was.
pub struct Load {
    write: Write,
    dialect: Dialect,
    token_lifetime_ms: i64,
}

impl Load {
    /// Begins the transaction. The error is the name of what the store has already.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin(store: &Store) -> Result<Result<Self, &'static str>, StoreError> {
        let dialect = store.db().dialect;
        let mut write = store.db().write().await?;
        for (table, sql) in [
            ("users", "SELECT id FROM users LIMIT 1"),
            ("messages", "SELECT user_id FROM messages LIMIT 1"),
            ("read marks", "SELECT user_id FROM read_marks LIMIT 1"),
        ] {
            if dialect.query(sql).fetch_optional(&mut *write).await?.is_some() {
                return Ok(Err(table));
            }
        }
        let token_lifetime_ms = store.options().token_lifetime_ms();
        Ok(Ok(Self { write, dialect, token_lifetime_ms }))
    }

    /// Writes users under their ids, and their tokens.
    ///
    /// # Errors
    /// The database failed, or an id or e-mail occurs twice.
    pub async fn users(&mut self, users: &[LoadedUser]) -> Result<(), StoreError> {
        let dialect = self.dialect;
        let into = "users (id, name, email, email_key, email_verified_at, password_hash, avatar, \
                    created_at, updated_at)";
        let insert = insert_rows(&mut self.write, dialect, into, "", users, |insert, user| {
            insert
                .bind(i64::from(user.id))
                .bind(dialect.text(&user.name))
                .bind(dialect.text(&user.email))
                .bind(dialect.text(&email_key(&user.email)))
                .bind(user.email_verified_at_ms)
                .bind(user.password_hash.clone())
                .bind(dialect.text(&user.avatar))
                .bind(user.created_at_ms)
                .bind(user.updated_at_ms)
        });
        insert.await?;
        let tokens = users.iter().filter_map(|user| Some((user.id, user.token_hash?)));
        let tokens: Vec<_> = tokens.collect();
        let into = "tokens (hash, user_id, scope, created_at, expires_at)";
        let (now, lifetime_ms) = (now_ms(), self.token_lifetime_ms);
        insert_rows(&mut self.write, dialect, into, "", &tokens, |insert, (user, hash)| {
            insert
                .bind(hash.to_vec())
                .bind(i64::from(*user))
                .bind(TokenScope::Api.name())
                .bind(now)
                .bind(now.saturating_add(lifetime_ms))
        })
        .await
    }

    /// Writes messages under their seqs. Rooms and authors are not checked.
    ///
    /// # Errors
    /// The database failed, or a seq occurs twice in a room.
    pub async fn messages(&mut self, messages: &[PlacedMessage<'_>]) -> Result<(), StoreError> {
        insert_messages(&mut self.write, self.dialect, messages).await?;
        Ok(())
    }

    /// Writes the last seqs of rooms, and creates the rooms that do not exist.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rooms(&mut self, last_seqs: &BTreeMap<u32, u64>) -> Result<(), StoreError> {
        let rooms: Vec<u32> = last_seqs.keys().copied().collect();
        let into = "rooms (id, name, created_at)";
        let keep = self.dialect.on_conflict("id", &OnConflict::Keep);
        let now = now_ms();
        let insert =
            insert_rows(&mut self.write, self.dialect, into, &keep, &rooms, |insert, room| {
                insert.bind(i64::from(*room)).bind(default_name(*room)).bind(now)
            });
        insert.await?;
        raise_rooms(&mut self.write, self.dialect, last_seqs).await
    }

    /// Writes read marks, given as (user, room) and seq.
    ///
    /// # Errors
    /// The database failed.
    pub async fn marks(
        &mut self,
        marks: impl Iterator<Item = ((u32, u32), u64)>,
    ) -> Result<(), StoreError> {
        let mut marks = marks.map(|(key, seq)| (key, ReadMark { seq, is_reading: false, choice: 0 }));
        loop {
            let chunk: ReadMarks = marks.by_ref().take(MARKS_CHUNK).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            raise_marks(&mut self.write, self.dialect, &chunk).await?;
        }
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// The database failed; nothing was written.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.dialect == Dialect::Postgres {
            // Ids that were given do not advance the sequence that generates them.
            let follow = "SELECT setval(pg_get_serial_sequence('users', 'id'), max(id)) FROM users";
            self.dialect.query(follow).execute(&mut *self.write).await?;
        }
        self.write.commit().await?;
        Ok(())
    }
}

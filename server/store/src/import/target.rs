//! The store that is filled, in one transaction.

use sqlx::{Any, Transaction};

use super::{ImportError, Message, User};
use crate::clock::now_ms;
use crate::db::statement_lengths;
use crate::dialect::{Dialect, OnConflict, values};
use crate::messages::{PlacedMessage, insert_messages};
use crate::plan::Stands;
use crate::reads::{ReadMarks, raise_marks};
use crate::rooms::raise_rooms;
use crate::tokens::TokenScope;
use crate::{Store, StoreError};

pub(super) struct Target {
    write: Transaction<'static, Any>,
    dialect: Dialect,
    token_lifetime_ms: i64,
}

impl Target {
    pub async fn open(store: &Store) -> Result<Self, ImportError> {
        let dialect = store.db().dialect;
        let mut write = store.db().write().await.map_err(StoreError::from)?;
        for (table, sql) in [
            ("users", "SELECT id FROM users LIMIT 1"),
            ("messages", "SELECT user_id FROM messages LIMIT 1"),
            ("read marks", "SELECT user_id FROM read_marks LIMIT 1"),
        ] {
            let found = dialect.query(sql).fetch_optional(&mut *write).await;
            if found.map_err(StoreError::from)?.is_some() {
                return Err(ImportError::NotEmpty(table));
            }
        }
        let lifetime = store.options().token_lifetime.as_millis();
        let token_lifetime_ms = i64::try_from(lifetime).unwrap_or(i64::MAX);
        Ok(Self { write, dialect, token_lifetime_ms })
    }

    pub async fn write_users(&mut self, users: &[User]) -> Result<(), StoreError> {
        let dialect = self.dialect;
        let mut rest = users.iter();
        for length in statement_lengths(users.len()) {
            let mut insert = dialect.query(format!(
                "INSERT INTO users (id, name, email, email_key, email_verified_at, password_hash,
                                    avatar, created_at, updated_at) VALUES {}",
                values(length, 9)
            ));
            for user in rest.by_ref().take(length) {
                insert = insert
                    .bind(i64::from(user.id))
                    .bind(dialect.text(&user.legacy.name))
                    .bind(dialect.text(&user.legacy.email))
                    .bind(dialect.text(&user.email_key))
                    .bind(user.email_verified_at)
                    .bind(user.legacy.password.clone())
                    .bind(dialect.text(&user.legacy.avatar))
                    .bind(user.created_at)
                    .bind(user.updated_at);
            }
            insert.execute(&mut *self.write).await?;
        }
        self.write_tokens(users).await
    }

    async fn write_tokens(&mut self, users: &[User]) -> Result<(), StoreError> {
        let now = now_ms();
        let tokens: Vec<_> = users.iter().filter_map(|user| Some((user.id, user.token?))).collect();
        let mut rest = tokens.iter();
        for length in statement_lengths(tokens.len()) {
            let mut insert = self.dialect.query(format!(
                "INSERT INTO tokens (hash, user_id, scope, created_at, expires_at) VALUES {}",
                values(length, 5)
            ));
            for (user, hash) in rest.by_ref().take(length) {
                insert = insert
                    .bind(hash.to_vec())
                    .bind(i64::from(*user))
                    .bind(TokenScope::Api.name())
                    .bind(now)
                    .bind(now.saturating_add(self.token_lifetime_ms));
            }
            insert.execute(&mut *self.write).await?;
        }
        Ok(())
    }

    pub async fn write_messages(&mut self, messages: &[Message]) -> Result<(), StoreError> {
        let placed: Vec<_> = messages
            .iter()
            .map(|message| PlacedMessage {
                room: message.room,
                seq: message.seq,
                created_at: message.created_at,
                message: &message.message,
            })
            .collect();
        insert_messages(&mut self.write, self.dialect, &placed).await?;
        Ok(())
    }

    pub async fn write_rooms(&mut self, stands: &Stands) -> Result<(), StoreError> {
        let mut rest = stands.keys();
        for length in statement_lengths(stands.len()) {
            let mut insert = self.dialect.query(format!(
                "INSERT INTO rooms (id, name, created_at) VALUES {}{}",
                values(length, 3),
                self.dialect.on_conflict("id", &OnConflict::Keep)
            ));
            for room in rest.by_ref().take(length) {
                insert = insert.bind(i64::from(*room)).bind(format!("Room {room}")).bind(now_ms());
            }
            insert.execute(&mut *self.write).await?;
        }
        raise_rooms(&mut self.write, self.dialect, stands).await
    }

    pub async fn write_marks(&mut self, marks: &ReadMarks) -> Result<(), StoreError> {
        raise_marks(&mut self.write, self.dialect, marks).await
    }

    pub async fn finish(mut self) -> Result<(), StoreError> {
        if self.dialect == Dialect::Postgres {
            // Ids that were given do not move the counter that gives them.
            let follow = "SELECT setval(pg_get_serial_sequence('users', 'id'), max(id)) FROM users";
            self.dialect.query(follow).execute(&mut *self.write).await?;
        }
        self.write.commit().await?;
        Ok(())
    }
}

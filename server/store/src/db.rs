//! The connections: one that writes, a few that read.

use std::str::FromStr;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::{Options, StoreError, Synchronous};

/// SQLite lets one writer in at a time. With a single writing connection the wait for it is a fair
/// queue of ours instead of a busy loop of SQLite's.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    pub writer: SqlitePool,
    pub readers: SqlitePool,
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

impl Db {
    pub async fn open(url: &str, options: &Options) -> Result<Self, StoreError> {
        if !url.starts_with("sqlite:") || url.contains(":memory:") {
            // An in-memory database is private to one connection, so readers would see nothing.
            return Err(StoreError::Url(url.split('@').next_back().unwrap_or("").to_owned()));
        }
        let connect = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match options.synchronous {
                Synchronous::Normal => SqliteSynchronous::Normal,
                Synchronous::Full => SqliteSynchronous::Full,
            })
            .busy_timeout(options.busy_timeout);
        if let Some(parent) = connect.get_filename().parent() {
            std::fs::create_dir_all(parent)?;
        }
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect.clone())
            .await?;
        MIGRATIONS.run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }

    /// A transaction that owns the write lock from its start, so that it cannot fail half-way for
    /// want of the lock.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// An integer of the database as one of ours.
pub(crate) fn narrow<T: TryFrom<i64>>(value: i64, what: &'static str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(what))
}

/// Lengths of the statements a run of `rows` is written with: powers of two, so that few distinct
/// statements exist and all stay in the cache of prepared ones.
pub(crate) fn statement_lengths(mut rows: usize) -> impl Iterator<Item = usize> {
    const LONGEST: usize = 256;
    std::iter::from_fn(move || {
        if rows == 0 {
            return None;
        }
        let length = if rows >= LONGEST { LONGEST } else { 1 << rows.ilog2() };
        rows -= length;
        Some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_lengths_are_powers_of_two_that_add_up() {
        assert_eq!(statement_lengths(0).count(), 0);
        assert_eq!(statement_lengths(7).collect::<Vec<_>>(), [4, 2, 1]);
        assert_eq!(statement_lengths(600).collect::<Vec<_>>(), [256, 256, 64, 16, 8]);
    }
}

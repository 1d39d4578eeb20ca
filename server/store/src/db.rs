//! The connections: some that write, some that read.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions};
use sqlx::query::Query;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyPool, AssertSqlSafe, ConnectOptions, Executor, Transaction};

use crate::dialect::Dialect;
use crate::fault::is_transient;
use crate::{Options, StoreError, StoreMetrics, Synchronous};

/// Transactions tried again after a conflict with another, and after a lost connection.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// Enough for the upper pages of every index. What is below them the kernel caches as well, and a
/// copy of it in each reader would be a third of what an idle connection costs.
const READER_CACHE_KIB: u32 = 512;

#[derive(Clone, Debug)]
pub(crate) struct Db {
    pub dialect: Dialect,
    /// SQLite lets one writer in at a time. With a single writing connection the wait for it is a
    /// fair queue of ours instead of a busy loop of SQLite's.
    pub writer: AnyPool,
    pub readers: AnyPool,
    /// What a file asks for it has at once, or after `busy_timeout`.
    answer_timeout: Option<Duration>,
    metrics: Arc<StoreMetrics>,
}

impl Db {
    pub async fn open(
        url: &str,
        options: &Options,
        metrics: Arc<StoreMetrics>,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url).ok_or_else(|| StoreError::Url(without_secrets(url)))?;
        let (writer, readers) = match dialect {
            Dialect::Sqlite => Self::open_file(url, options).await?,
            Dialect::Postgres | Dialect::Mysql => Self::open_server(url, dialect, options).await?,
        };
        let answer_timeout = (dialect != Dialect::Sqlite).then_some(options.answer_timeout);
        Ok(Self { dialect, writer, readers, answer_timeout, metrics })
    }

    /// The pool that writes, and the one that reads.
    async fn open_file(url: &str, options: &Options) -> Result<(AnyPool, AnyPool), StoreError> {
        if url.contains(":memory:") {
            // An in-memory database is private to one connection, so readers would see nothing.
            return Err(StoreError::Url(without_secrets(url)));
        }
        let file = SqliteConnectOptions::from_str(url)?;
        let path = std::path::absolute(file.get_filename())?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = file.filename(path);
        let pragmas = format!(
            "PRAGMA busy_timeout = {}; PRAGMA foreign_keys = ON; PRAGMA synchronous = {}",
            options.busy_timeout.as_millis(),
            match options.synchronous {
                Synchronous::Normal => "NORMAL",
                Synchronous::Full => "FULL",
            }
        );
        let connect =
            |file: SqliteConnectOptions| AnyConnectOptions::from_url(&file.to_url_lossy());
        let writer = pool(1, format!("{pragmas}; PRAGMA journal_mode = WAL"))
            .min_connections(1)
            .connect_with(connect(file.clone().create_if_missing(true))?)
            .await?;
        Dialect::Sqlite.migrations().run(&writer).await?;
        let cache = format!("{pragmas}; PRAGMA cache_size = -{READER_CACHE_KIB}");
        let readers = pool(options.readers, cache)
            .connect_with(connect(file.create_if_missing(false).read_only(true))?)
            .await?;
        Ok((writer, readers))
    }

    async fn open_server(
        url: &str,
        dialect: Dialect,
        options: &Options,
    ) -> Result<(AnyPool, AnyPool), StoreError> {
        let connect = AnyConnectOptions::from_str(url)?;
        // So that what is given up here ends there too, a moment later.
        let session = dialect.session(options.answer_timeout * 2);
        let pool = |connections, session: &str| {
            pool(connections, session.to_owned()).acquire_timeout(options.busy_timeout)
        };
        // A migration of a large table takes its time.
        let patient = pool(1, "").connect_with(connect.clone()).await?;
        migrate(&patient, dialect).await?;
        patient.close().await;
        let writer = pool(options.writers, &session).connect_with(connect.clone()).await?;
        let readers = pool(options.readers, &session).connect_with(connect).await?;
        Ok((writer, readers))
    }

    /// A transaction that writes.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        self.writer.begin_with(self.dialect.begin()).await
    }

    /// The answer, if it comes in time.
    pub async fn in_time<T, E: Into<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        let Some(limit) = self.answer_timeout else { return answer.await.map_err(E::into) };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(E::into),
            Err(_) => {
                self.metrics.unanswered.fetch_add(1, Relaxed);
                Err(StoreError::Unanswered)
            }
        }
    }

    /// Runs a transaction again when it lost against another one, or its connection.
    pub async fn retried<T, F>(&self, mut transaction: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 1;
        loop {
            match self.in_time(transaction()).await {
                Err(error) if attempt < ATTEMPTS_MAX && is_transient(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    pub fn query(
        &self,
        sql: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Query<'static, Any, AnyArguments> {
        self.dialect.query(sql)
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Several nodes may come to a new database at once.
async fn migrate(pool: &AnyPool, dialect: Dialect) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    if dialect == Dialect::Mysql {
        // sqlx asks for its own lock without a limit, which MariaDB takes for no wait at all.
        let lock = "SELECT GET_LOCK('throng.migrations', 600)";
        connection.execute(lock).await?;
    }
    dialect.migrations().run(&mut *connection).await?;
    if dialect == Dialect::Mysql {
        connection.execute("SELECT RELEASE_LOCK('throng.migrations')").await?;
    }
    Ok(())
}

/// A pool that runs `session` on each new connection. Connections live as long as they work.
fn pool(connections: u32, session: String) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move {
                if !session.is_empty() {
                    connection.execute(AssertSqlSafe(session)).await?;
                }
                Ok(())
            })
        })
}

/// A single statement, asked of a pool.
pub(crate) trait Asked<T>: Future<Output = Result<T, sqlx::Error>> + Sized {
    async fn in_time(self, db: &Db) -> Result<T, StoreError> {
        db.in_time(self).await
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>>> Asked<T> for F {}

/// Whether a URL names a database that the store knows.
#[must_use]
pub fn is_database_url(url: &str) -> bool {
    match Dialect::of(url) {
        Some(Dialect::Sqlite) => true,
        Some(Dialect::Postgres | Dialect::Mysql) => url.contains("://"),
        None => false,
    }
}

/// Whether a URL names a database server rather than a file.
#[must_use]
pub fn is_server_url(url: &str) -> bool {
    matches!(Dialect::of(url), Some(Dialect::Postgres | Dialect::Mysql))
}

/// A database URL as it may be shown: without user, password and parameters.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else {
        // What is no URL may be a password that lost its surroundings.
        return if bare.starts_with("sqlite:") { bare.into() } else { "no URL".into() };
    };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://…@{place}"),
        None => bare.to_owned(),
    }
}

/// An integer of the database as one of ours.
pub(crate) fn narrow<T: TryFrom<i64>>(value: i64, what: &'static str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(what))
}

/// Lengths of the statements a run of `rows` is written with: powers of two, so that few distinct
/// statements exist and all stay in the cache of prepared ones.
pub(crate) fn statement_lengths(mut rows: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let length = statement_length(rows)?;
        rows -= length;
        Some(length)
    })
}

/// The first of them.
pub(crate) fn statement_length(rows: usize) -> Option<usize> {
    const LONGEST: usize = 256;
    (rows > 0).then(|| if rows >= LONGEST { LONGEST } else { 1 << rows.ilog2() })
}

/// Keys of one lookup.
pub(crate) const LOOKUP_KEYS_MAX: usize = 256;

/// `keys` with the last one repeated up to a power of two, for the same reason: a lookup finds
/// nothing new by it.
pub(crate) fn padded<K: Clone>(keys: &[K]) -> Vec<K> {
    let mut padded = keys.to_vec();
    if let Some(last) = keys.last() {
        padded.resize(keys.len().next_power_of_two(), last.clone());
    }
    padded
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

    #[test]
    fn padding_repeats_the_last_key_up_to_a_power_of_two() {
        assert_eq!(padded(&[1]), [1]);
        assert_eq!(padded(&[1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded(&[0; 256]).len(), 256);
        assert!(padded::<u8>(&[]).is_empty());
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for url in [
            "postgres://ann:secret@db.example:5432/throng",
            "postgres://db.example/throng?user=ann&password=secret",
            "mysql://ann:sec@ret@db.example/throng",
            "secret",
            "ann:secret@db.example",
        ] {
            let shown = without_secrets(url);
            assert!(!shown.contains("secret") && !shown.contains("ret@"), "{shown}");
        }
        assert_eq!(without_secrets("sqlite://data/throng.db"), "sqlite://data/throng.db");
        assert_eq!(without_secrets("mysql://a:b@db:3306/x"), "mysql://…@db:3306/x");
    }
}

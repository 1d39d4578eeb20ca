//! The connections to the database: some write, some read.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyQueryResult, AnyRow};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyPool, AssertSqlSafe, ConnectOptions, Executor, Transaction};

use crate::dialect::{Dialect, Statement};
use crate::fault::is_transient;
use crate::migrations;
use crate::url::without_secrets;
use crate::{Options, StoreError, StoreMetrics, Synchronous};

/// Attempts at one transaction: it is repeated after a conflict with another one, and after its
/// connection was lost.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// Enough for the upper pages of every index. The kernel caches the pages below them, and a copy
/// in each reader would be a third of what an idle connection costs.
const READER_CACHE_KIB: u32 = 512;

#[derive(Clone, Debug)]
pub(crate) struct Db {
    pub dialect: Dialect,
    /// SQLite admits one writer at a time. With a single writing connection, writers wait in the
    /// pool's fair queue instead of SQLite's busy loop.
    pub writer: AnyPool,
    pub readers: AnyPool,
    /// `None` for a file, where only the lock is waited for, up to `busy_timeout`.
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
        let answer_timeout = (dialect != Dialect::Sqlite).then_some(options.answer_timeout());
        Ok(Self { dialect, writer, readers, answer_timeout, metrics })
    }

    /// The pool for writing, and the pool for reading.
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
            options.busy_timeout().as_millis(),
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
        migrations::of(Dialect::Sqlite).run(&writer).await?;
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
        // So that a statement given up here ends on the server too, a moment later.
        let session = dialect.session(options.answer_timeout() * 2);
        let pool = |connections, session: &str| {
            pool(connections, session.to_owned()).acquire_timeout(options.busy_timeout())
        };
        // No time limit for this connection: migrating a large table takes long.
        let migrating = pool(1, "").connect_with(connect.clone()).await?;
        migrate(&migrating, dialect).await?;
        migrating.close().await;
        let writer = pool(options.writers, &session).connect_with(connect.clone()).await?;
        let readers = pool(options.readers, &session).connect_with(connect).await?;
        Ok((writer, readers))
    }

    /// A transaction that writes.
    pub async fn write(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        self.writer.begin_with(self.dialect.begin()).await
    }

    /// The answer, if it comes within [`Options::answer_timeout`].
    pub async fn in_time<T, E: Into<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        let Some(limit) = self.answer_timeout else { return answer.await.map_err(E::into) };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(E::into),
            Err(_) => {
                self.metrics.counters.unanswered.fetch_add(1, Relaxed);
                Err(StoreError::Unanswered)
            }
        }
    }

    /// Runs a transaction, and again when it lost against another one or lost its connection.
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

    pub fn query(&self, sql: impl Into<Cow<'static, str>>) -> Statement {
        self.dialect.query(sql)
    }

    /// The rows of one `SELECT`, from a connection that reads.
    pub async fn rows(&self, select: Statement) -> Result<Vec<AnyRow>, StoreError> {
        self.in_time(select.fetch_all(&self.readers)).await
    }

    /// The row of one `SELECT`, if there is one, from a connection that reads.
    pub async fn row(&self, select: Statement) -> Result<Option<AnyRow>, StoreError> {
        self.in_time(select.fetch_optional(&self.readers)).await
    }

    /// As [`Db::row`], from a connection that writes.
    pub async fn row_of_writer(&self, select: Statement) -> Result<Option<AnyRow>, StoreError> {
        self.in_time(select.fetch_optional(&self.writer)).await
    }

    /// One statement that writes, in a transaction of its own.
    pub async fn execute(&self, change: Statement) -> Result<AnyQueryResult, StoreError> {
        self.in_time(change.execute(&self.writer)).await
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Applies the migrations; several nodes may do so at once.
async fn migrate(pool: &AnyPool, dialect: Dialect) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    if dialect == Dialect::Mysql {
        // sqlx takes its own lock with no limit, which MariaDB understands as no wait at all.
        let lock = "SELECT GET_LOCK('throng.migrations', 600)";
        connection.execute(lock).await?;
    }
    migrations::of(dialect).run(&mut *connection).await?;
    if dialect == Dialect::Mysql {
        connection.execute("SELECT RELEASE_LOCK('throng.migrations')").await?;
    }
    Ok(())
}

/// A pool that runs `session` on each new connection and keeps connections for as long as they work.
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

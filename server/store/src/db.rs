//! The connections to the database: some write, some read.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyQueryResult, AnyRow};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use throng_health::Dependency;

use crate::connection::{Loan, Write};
use crate::dialect::{Dialect, Statement};
use crate::directory::{create_private, mend_database, open_private, refuse_emptied, with_suffix};
use crate::disk::take_bytes;
use crate::fault::is_transient;
use crate::file::OpenFile;
use crate::migrations;
use crate::rehearsal::rehearse;
use crate::unanswered::Unanswered;
use crate::url::without_secrets;
use crate::{Options, StorageFault, StoreError, StoreMetrics, Synchronous};

/// Attempts at one transaction: it is repeated after a conflict with another one, and after its
/// connection was lost.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// Enough for the upper pages of every index. The kernel caches the pages below them, and a copy
/// in each reader would be a third of what an idle connection costs.
const READER_CACHE_KIB: u32 = 512;

/// Reads a page of any database.
const READ: &str = "SELECT version FROM _sqlx_migrations WHERE version = 1";

/// Makes a file of a megabyte, and undoes it: a change of a row fits where a message does not. What hinders it other
/// than the storage, such as a right that is missing, says nothing.
const EXTEND: &str = "BEGIN; \
     CREATE TABLE throng_probe AS SELECT repeat('x', 900) AS x FROM generate_series(1, 1100); \
     ROLLBACK";

/// Connections of a server besides those that write and those that read.
const PROBES: u32 = 1;

/// One that writes, one that reads, and that of a probe.
const CONNECTIONS_MIN: u32 = 2 + PROBES;

/// Time that a probe waits for SQLite's lock.
const PROBE_BUSY_TIMEOUT_MS: u32 = 500;

#[derive(Clone, Debug)]
pub(crate) struct Db {
    pub dialect: Dialect,
    /// SQLite admits one writer at a time. With a single writing connection, writers wait in the
    /// pool's fair queue instead of SQLite's busy loop.
    writer: AnyPool,
    readers: AnyPool,
    /// A connection of its own, for a probe.
    probe: Arc<Session>,
    /// `None` where a server keeps the database.
    file: Option<OpenDatabase>,
    /// `None` for a file, where only the lock is waited for, up to `busy_timeout`.
    answer_timeout: Option<Duration>,
    pub metrics: Arc<StoreMetrics>,
    health: Dependency,
    /// A write has failed for a reason that is not known: the next look inserts rows.
    is_suspect: Arc<AtomicBool>,
    /// A file has shown damage: until a check has found none, it is down.
    is_damaged: Arc<AtomicBool>,
    /// Group commits.
    pub batches: Arc<Unanswered>,
    /// What else is written.
    writes: Arc<Unanswered>,
}

/// A database that is a file.
#[derive(Clone, Debug)]
struct OpenDatabase {
    file: Arc<OpenFile>,
    /// One connection that is never used. As long as it is open, SQLite does not remove the log and make another.
    keeper: AnyPool,
}

/// How to connect: where to, and the first statements on each connection.
#[derive(Clone, Debug)]
struct Session {
    connect: AnyConnectOptions,
    begin: String,
}

impl Session {
    async fn open(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = self.connect.connect().await?;
        begin(&mut connection, &self.begin).await?;
        Ok(connection)
    }

    /// A pool of such connections, which it opens when they are needed and keeps for as long as they
    /// work.
    fn pool(self, connections: u32, acquire_timeout: Duration) -> AnyPool {
        AnyPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                let session = self.begin.clone();
                Box::pin(async move { begin(connection, &session).await })
            })
            .connect_lazy_with(self.connect)
    }
}

async fn begin(connection: &mut AnyConnection, session: &str) -> Result<(), sqlx::Error> {
    if !session.is_empty() {
        connection.execute(AssertSqlSafe(session.to_owned())).await?;
    }
    Ok(())
}

/// The path in a URL of SQLite, made absolute.
pub(crate) fn database_file(url: &str) -> Result<PathBuf, StoreError> {
    if url.contains(":memory:") {
        // An in-memory database is private to one connection, so readers would see nothing.
        return Err(StoreError::Url(without_secrets(url)));
    }
    let file = SqliteConnectOptions::from_str(url)?;
    std::path::absolute(file.get_filename())
        .map_err(|error| StoreError::at(file.get_filename(), error))
}

/// How SQLite is opened: to read, or to write.
fn file_session(
    url: &str,
    file: &Path,
    busy_timeout_ms: u32,
    options: &Options,
    is_reader: bool,
) -> Result<Session, StoreError> {
    let connect = SqliteConnectOptions::from_str(url)?
        .filename(file)
        .create_if_missing(false)
        .read_only(is_reader);
    let end = if is_reader {
        format!("PRAGMA cache_size = -{READER_CACHE_KIB}")
    } else {
        "PRAGMA journal_mode = WAL".to_owned()
    };
    let begin = format!(
        "PRAGMA busy_timeout = {busy_timeout_ms}; PRAGMA foreign_keys = ON; \
         PRAGMA synchronous = {}; {end}",
        match options.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        }
    );
    let connect = AnyConnectOptions::from_url(&connect.to_url_lossy())?;
    Ok(Session { connect, begin })
}

fn server_session(url: &str, begin: String) -> Result<Session, StoreError> {
    Ok(Session { connect: AnyConnectOptions::from_str(url)?, begin })
}

/// Checks that a database could be opened, and changes nothing. Answers what is to be said of it otherwise.
///
/// # Errors
/// Why it could not.
pub(crate) async fn check(url: &str, options: &Options) -> Result<Vec<String>, StoreError> {
    sqlx::any::install_default_drivers();
    let dialect = Dialect::of(url).ok_or_else(|| StoreError::Url(without_secrets(url)))?;
    let session = if dialect == Dialect::Sqlite {
        let file = database_file(url)?;
        refuse_emptied(&file)?;
        if !file.exists() {
            return Ok(Vec::new());
        }
        // As the server opens it, since SQLite would be content with a file it may only read.
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&file)
            .map_err(|error| StoreError::at(&file, error))?;
        file_session(url, &file, options.busy_timeout_ms, options, true)?
    } else {
        server_session(url, String::new())?
    };
    let ask = async {
        let mut connection = session.open().await?;
        let is_current = migrations::judge(&mut connection, dialect).await?;
        if !is_current {
            migrations::may_create(&mut connection, dialect).await?;
        }
        Ok::<_, StoreError>((connection, is_current))
    };
    let (mut connection, is_current) = first_answer(options, ask).await?;
    if is_current {
        may_write(&mut connection, dialect, options).await?;
    }
    connection.close().await?;
    if dialect == Dialect::Sqlite {
        return Ok(Vec::new());
    }
    let wanted = (options.writers + options.readers).max(1) + PROBES;
    let short = open_all(&session, wanted, options).await?;
    Ok(short.into_iter().collect())
}

/// Opens so many connections at once, and closes them. Answers that the database grants fewer, if it grants enough to
/// work with.
async fn open_all(
    session: &Session,
    wanted: u32,
    options: &Options,
) -> Result<Option<String>, StoreError> {
    let mut open = Vec::new();
    let mut refused = None;
    while open.len() < wanted as usize {
        match first_answer(options, session.open()).await {
            Ok(connection) => open.push(connection),
            Err(error) if open.len() < CONNECTIONS_MIN as usize => return Err(error),
            Err(error) => {
                refused = Some(format!(
                    "the database grants {} connections of the {wanted} that a server may open \
                     (store.writers, store.readers and one more): {error}",
                    open.len()
                ));
                break;
            }
        }
    }
    for connection in open {
        connection.close().await?;
    }
    Ok(refused)
}

/// Whether the tables can be written to. That another client holds a lock is no reason to give up: there may be nothing
/// to write yet.
async fn may_write(
    connection: &mut AnyConnection,
    dialect: Dialect,
    options: &Options,
) -> Result<(), StoreError> {
    let trying = async {
        migrations::has_rights(connection, dialect).await?;
        migrations::try_writing(connection, dialect).await
    };
    match first_answer(options, trying).await {
        Err(error) if error.storage_fault().is_some_and(|fault| !fault.is_certain()) => {
            tracing::warn!(%error, "the tables cannot be written to now");
            Ok(())
        }
        tried => tried,
    }
}

/// The first answer of a database, if it comes in time.
async fn first_answer<T, E: Into<StoreError>>(
    options: &Options,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(options.busy_timeout(), answer).await;
    answer.map_err(|_| StoreError::Unanswered)?.map_err(E::into)
}

impl Db {
    /// Connects once before it makes the pools, since a pool repeats what cannot succeed.
    pub async fn open(
        url: &str,
        options: &Options,
        metrics: Arc<StoreMetrics>,
        health: Dependency,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url).ok_or_else(|| StoreError::Url(without_secrets(url)))?;
        let (writer, readers, probe, file) = match dialect {
            Dialect::Sqlite => {
                let (writer, readers, probe, file) = Self::open_file(url, options).await?;
                (writer, readers, probe, Some(file))
            }
            Dialect::Postgres | Dialect::Mysql => {
                let (writer, readers, probe) = Self::open_server(url, dialect, options).await?;
                (writer, readers, probe, None)
            }
        };
        let answer_timeout = (dialect != Dialect::Sqlite).then_some(options.answer_timeout());
        Ok(Self {
            dialect,
            writer,
            readers,
            probe: Arc::new(probe),
            file,
            answer_timeout,
            metrics,
            health,
            is_suspect: Arc::default(),
            is_damaged: Arc::default(),
            batches: Arc::default(),
            writes: Arc::default(),
        })
    }

    /// The pool for writing, the pool for reading, how a probe connects, and the file.
    async fn open_file(
        url: &str,
        options: &Options,
    ) -> Result<(AnyPool, AnyPool, Session, OpenDatabase), StoreError> {
        let file = database_file(url)?;
        if let Some(parent) = file.parent() {
            create_private(parent)?;
        }
        refuse_emptied(&file)?;
        drop(open_private(&file)?);
        mend_database(&file);
        let session = |busy_timeout_ms, is_reader| {
            file_session(url, &file, busy_timeout_ms, options, is_reader)
        };
        let writing = session(options.busy_timeout_ms, false)?;
        let reading = session(options.busy_timeout_ms, true)?;
        // It may write, to undo what a crash has left, and does not begin a log in the file of another program.
        let judging = Session { begin: reading.begin.clone(), ..writing.clone() };
        let mut judge = judging.open().await?;
        let is_current = migrations::judge(&mut judge, Dialect::Sqlite).await?;
        judge.close().await?;
        let mut first = writing.open().await?;
        if !is_current {
            migrations::of(Dialect::Sqlite).run(&mut first).await?;
        }
        first.close().await?;
        let wait = options.busy_timeout();
        let keeper = reading.clone().pool(1, wait);
        keeper.execute(READ).await?;
        let open = OpenDatabase { file: Arc::new(OpenFile::new(&file)?), keeper };
        let writer = writing.pool(1, wait);
        let readers = reading.pool(options.readers, wait);
        Ok((writer, readers, session(PROBE_BUSY_TIMEOUT_MS, false)?, open))
    }

    async fn open_server(
        url: &str,
        dialect: Dialect,
        options: &Options,
    ) -> Result<(AnyPool, AnyPool, Session), StoreError> {
        // No time limit for this connection: migrating a large table takes long.
        let mut first = first_answer(options, server_session(url, String::new())?.open()).await?;
        migrate(&mut first, dialect).await?;
        may_write(&mut first, dialect, options).await?;
        first.close().await?;
        // Its words, where a pool would only say that it has waited.
        let few = server_session(url, String::new())?;
        open_all(&few, CONNECTIONS_MIN, options).await?;
        // So that a statement given up here ends on the server too, a moment later.
        let session = server_session(url, dialect.session(options.answer_timeout() * 2))?;
        let wait = options.busy_timeout();
        let writer = session.clone().pool(options.writers, wait);
        Ok((writer, session.clone().pool(options.readers, wait), session))
    }

    /// The database, if it is a file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|open| open.file.path())
    }

    /// A transaction that writes.
    pub async fn write(&self) -> Result<Write, StoreError> {
        self.was_in_place()?;
        let file = self.file.as_ref().map(|open| Arc::clone(&open.file));
        Write::begin(&self.writer, self.dialect, file).await
    }

    /// Looks whether the files are in place.
    async fn is_in_place(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(open) => OpenFile::look(&open.file).await,
            None => Ok(()),
        }
    }

    /// The file has lost what was written to it. It is not used again before a restart.
    pub fn lose(&self) -> StoreError {
        let open = self.file.as_ref().expect("only a file has one writer");
        let lost = open.file.lose();
        self.note(&lost);
        lost
    }

    /// Whether the files were in place when somebody looked last.
    fn was_in_place(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), |open| open.file.was_in_place())
    }

    /// Whether rows can be read, the rights are there, and a transaction can begin. Leaves no trace on the disk, so it
    /// can be repeated for ever.
    pub async fn probe_lightly(&self) -> Result<(), StoreError> {
        self.is_in_place().await?;
        let mut write = self.write().await?;
        // Another client may have locked a table, or taken the right to write away.
        let probing = async {
            migrations::has_rights(&mut write, self.dialect).await?;
            migrations::try_writing(&mut write, self.dialect).await
        };
        if let Err(error) = probing.await {
            write.undo(&error).await;
            return Err(error);
        }
        write.forget().await?;
        self.probe_reading().await
    }

    /// Writes have waited for so long that another client must have locked what they write. `has_committed`: group
    /// commits succeed meanwhile.
    pub fn is_stuck(&self, has_committed: bool) -> bool {
        let is_batch = !has_committed && self.batches.are_stuck();
        self.answer_timeout.is_some() && (is_batch || self.writes.are_stuck())
    }

    /// Over a connection as the callers have.
    async fn probe_reading(&self) -> Result<(), StoreError> {
        let mut loan = Loan::of(&self.readers).await?;
        let read = loan.execute(READ).await;
        loan.end(read).map(drop)
    }

    /// Whether the database can be opened and written to, as if for the first time.
    pub async fn probe_thoroughly(&self) -> Result<(), StoreError> {
        self.is_in_place().await?;
        let write = match self.file() {
            Some(file) => {
                take_bytes_next_to(file).await?;
                // Writes a page, and no other program reads the number.
                "PRAGMA user_version = 0"
            }
            // A row that is there since the first migration, and that nothing else locks. What waits for a lock, or for
            // another server, must not wait on when nobody waits for it.
            None if self.dialect == Dialect::Postgres => {
                "SET LOCAL lock_timeout = 600; SET LOCAL synchronous_commit = local; \
                 UPDATE _sqlx_migrations SET execution_time = execution_time WHERE version = 1"
            }
            None => "UPDATE _sqlx_migrations SET execution_time = execution_time WHERE version = 1",
        };
        let mut connection = self.probe.open().await?;
        connection.execute(write).await?;
        migrations::has_rights(&mut connection, self.dialect).await?;
        migrations::try_writing(&mut connection, self.dialect).await?;
        rehearse(&mut connection, self.dialect).await?;
        // A lock says nothing of the disk, and may be held for long.
        if self.dialect == Dialect::Postgres
            && !self.is_stuck(false)
            && let Err(error) = connection.execute(EXTEND).await.map_err(StoreError::from)
            && error.storage_fault().is_some_and(|fault| fault != StorageFault::Denied)
        {
            return Err(error);
        }
        connection.close().await?;
        self.probe_reading().await
    }

    /// The answer to what writes, if it comes within [`Options::answer_timeout`].
    pub async fn in_time<T, E: Into<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        let waiting = self.writes.begin();
        let answer = self.otherwise_in_time(answer).await;
        waiting.end(&answer);
        if answer.is_err() {
            self.suspect();
        }
        answer
    }

    /// The next look inserts rows, as callers do.
    pub fn suspect(&self) {
        self.is_suspect.store(true, Relaxed);
    }

    /// Whether a write has failed since the last call.
    pub fn take_suspicion(&self) -> bool {
        self.is_suspect.swap(false, Relaxed)
    }

    /// Whether a file has shown damage that no check has refuted.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Relaxed)
    }

    /// Reads all of a file, over a connection of its own: what is damaged, if anything is. Takes as long as that takes.
    pub async fn find_damage(&self) -> Result<Option<String>, StoreError> {
        let mut connection = self.probe.open().await?;
        let found = connection.fetch_one("PRAGMA quick_check(1)").await?;
        connection.close().await?;
        let found: String = found.try_get(0)?;
        let damage = (found != "ok").then_some(found);
        self.is_damaged.store(damage.is_some(), Relaxed);
        Ok(damage)
    }

    /// The answer to what writes nothing, such as the beginning of a transaction, if it comes as soon.
    pub async fn otherwise_in_time<T, E: Into<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        let answer = match self.answer_timeout {
            None => answer.await.map_err(E::into),
            Some(limit) => match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer.map_err(E::into),
                Err(_) => {
                    self.metrics.counters.unanswered.fetch_add(1, Relaxed);
                    Err(StoreError::Unanswered)
                }
            },
        };
        answer.inspect_err(|error| self.note(error))
    }

    /// A call that shows that the storage is down makes the server unready at once.
    fn note(&self, error: &StoreError) {
        if let Some(fault) = error.storage_fault().filter(|fault| fault.is_certain()) {
            if fault == StorageFault::Damaged && self.file.is_some() {
                self.is_damaged.store(true, Relaxed);
            }
            self.health.set_fault(Some(fault.to_string()));
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
        let rows = async {
            self.was_in_place()?;
            let mut loan = Loan::of(&self.readers).await?;
            let rows = select.fetch_all(&mut *loan).await;
            loan.end(rows)
        };
        self.otherwise_in_time(rows).await
    }

    /// The row of one `SELECT`, if there is one, from a connection that reads.
    pub async fn row(&self, select: Statement) -> Result<Option<AnyRow>, StoreError> {
        self.row_of(&self.readers, select).await
    }

    /// As [`Db::row`], from a connection that writes.
    pub async fn row_of_writer(&self, select: Statement) -> Result<Option<AnyRow>, StoreError> {
        self.row_of(&self.writer, select).await
    }

    async fn row_of(
        &self,
        pool: &AnyPool,
        select: Statement,
    ) -> Result<Option<AnyRow>, StoreError> {
        let row = async {
            self.was_in_place()?;
            let mut loan = Loan::of(pool).await?;
            let row = select.fetch_optional(&mut *loan).await;
            loan.end(row)
        };
        self.otherwise_in_time(row).await
    }

    /// One statement that writes, in a transaction of its own.
    pub async fn execute(&self, change: Statement) -> Result<AnyQueryResult, StoreError> {
        let result = async {
            self.is_in_place().await?;
            let mut loan = Loan::of(&self.writer).await?;
            let result = change.execute(&mut *loan).await;
            loan.end(result)
        };
        self.in_time(result).await
    }

    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        if let Some(open) = &self.file {
            open.keeper.close().await;
        }
    }
}

/// Writes next to a database, as far into a file as the database and its log reach.
async fn take_bytes_next_to(file: &Path) -> Result<(), StoreError> {
    let file = file.to_owned();
    let taken = tokio::task::spawn_blocking(move || {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let reach = length(&file).max(length(&with_suffix(&file, "-wal")));
        let directory = file.parent().unwrap_or(Path::new("."));
        take_bytes(directory, reach).map_err(|error| StoreError::at(directory, error))
    });
    taken.await.map_err(|_| StoreError::Closed)?
}

/// Applies the migrations; several nodes may do so at once.
async fn migrate(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), StoreError> {
    if dialect == Dialect::Mysql {
        // sqlx takes its own lock with no limit, which MariaDB understands as no wait at all.
        let lock = "SELECT GET_LOCK('throng.migrations', 600)";
        connection.execute(lock).await?;
    }
    // Under the lock: MySQL shows a migration of another node as one that did not complete.
    if !migrations::judge(connection, dialect).await? {
        // Only this needs the right to create tables.
        migrations::of(dialect).run(&mut *connection).await?;
    }
    if dialect == Dialect::Mysql {
        connection.execute("SELECT RELEASE_LOCK('throng.migrations')").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use throng_health::{Health, Need, State};

    use super::*;
    use crate::StorageFault;

    /// SQLite may open a file that it may only read, and says so when it is to write.
    #[tokio::test]
    async fn a_connection_that_may_only_read_is_reported_and_replaced() {
        let place = tempfile::tempdir().expect("tempdir");
        let options = Options { min_free_mb: 0, ..Options::new(place.path()) };
        let health = Health::default().depends_on("store", Need::Required);
        let url = options.default_url();
        let db = Db::open(&url, &options, Arc::default(), health.clone()).await.expect("open");
        let insert = || db.query("INSERT INTO rooms (id, name, created_at) VALUES (7, 'x', 0)");
        for is_transaction in [false, true] {
            health.set(State::Ok);
            let mut only_reads = db.write().await.expect("a transaction");
            only_reads.execute("PRAGMA query_only = ON").await.expect("it is taken");
            only_reads.commit().await.expect("there is nothing to write");
            let refused = if is_transaction {
                // SQLite refuses its beginning, since it begins as one that writes.
                db.in_time(async { db.write().await.map(drop) }).await
            } else {
                db.execute(insert()).await.map(drop)
            };
            let fault = refused.expect_err("it may only read").storage_fault();
            assert_eq!(fault, Some(StorageFault::ReadOnly));
            assert_eq!(health.state(), State::Down("the storage is read-only".into()));
            db.execute(insert()).await.expect("another connection is open");
            let delete = db.query("DELETE FROM rooms WHERE id = 7");
            db.execute(delete).await.expect("it goes on");
        }
    }

    #[tokio::test]
    async fn a_probe_reads_over_the_connections_that_read() {
        let place = tempfile::tempdir().expect("tempdir");
        let options = Options { min_free_mb: 0, ..Options::new(place.path()) };
        let health = Health::default().depends_on("store", Need::Required);
        let url = options.default_url();
        let db = Db::open(&url, &options, Arc::default(), health).await.expect("open");
        db.probe_lightly().await.expect("it reads and writes");
        db.readers.close().await;
        db.write().await.expect("it writes").forget().await.expect("rollback");
        db.probe_lightly().await.expect_err("it does not read");
        db.probe_thoroughly().await.expect_err("nor does it now");
    }
}

//! Durable data of the chat: users, tokens, rooms, messages, read marks and uploaded images.
//!
//! A process opens one [`Store`], which is cheap to clone and needs a tokio runtime. The database is
//! SQLite, PostgreSQL, MySQL or MariaDB; several nodes may share a database server. Messages and
//! read marks go through the group commit and are durable when their call answers. Every other call
//! is one statement or one transaction.
//!
//! | module | content |
//! |---|---|
//! | `users`, `tokens`, `registration` | accounts, tokens, both at once |
//! | `password`, `hash_queue`, `hashers` | password hashes, in which order and on which threads |
//! | `rooms`, `messages`, `reads`, `reading` | the SQL of rooms, messages, read marks, and of who is reading where |
//! | `images` | uploaded images: files and their rows |
//! | `job` → `plan` → `commit` | the group commit: what waits, what it writes, the transaction |
//! | `load` | another application's data into an empty store |
//! | `statement`, `dialect` | statements of many rows, what differs between databases |
//! | `db`, `connection`, `unanswered` | the pools, when a connection is used again, and what waits for an answer |
//! | `directory`, `file`, `disk`, `watch` | who may use the files, whether they are in place, what is free, and how all of it is |
//! | `url`, `options`, `error`, `fault`, `metrics`, `clock` | settings, errors, counters, time |
#![forbid(unsafe_code)]

mod clock;
mod commit;
mod connection;
mod db;
mod dialect;
mod directory;
mod disk;
mod error;
mod fault;
mod file;
mod hash_queue;
mod hashers;
mod images;
mod job;
mod load;
mod messages;
mod metrics;
mod migrations;
mod options;
mod password;
mod plan;
mod reading;
mod reads;
mod registration;
mod rehearsal;
mod rooms;
mod statement;
mod tokens;
mod unanswered;
mod upload_folder;
mod url;
mod users;
mod watch;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use clock::format_datetime;
pub use error::{ImageError, RegisterError, StoreError};
pub use fault::StorageFault;
pub use hash_queue::Urgency;
pub use images::{StoredImage, decode_data_url};
pub use job::{AppendError, Appended, Repeat};
pub use load::{Load, LoadedUser};
pub use messages::{
    FETCH_MESSAGES_MAX, HistoryPage, MessageRow, NewMessage, PAGE_MESSAGES, PlacedMessage,
};
pub use metrics::{
    COMMIT_SECONDS, LATENCY_BUCKETS_US, LatencyHistogram, StoreCounters, StoreMetrics,
};
pub use options::{Options, PasswordCost, Synchronous};
pub use password::is_bcrypt;
pub use reads::SavedMark;
pub use registration::{NewUser, Registered};
pub use rooms::RoomRow;
pub use throng_wire::http::ClientKey;
pub use throng_wire::image_path::{ImageFormat, ImageKind};
pub use tokens::{TOKEN_CHARS, TokenScope, hash_token};
pub use url::{is_database_url, is_server_url, without_secrets};
pub use users::{UserRow, email_key, plain_name};

use commit::Committer;
use db::{Db, database_file};
use dialect::Dialect;
use directory::{DatabaseLock, create_private, mend_directory};
use disk::Disk;
use job::Job;
use password::Passwords;
use watch::{Dependencies, Pending, Watch};

/// Between two attempts to raise the read marks of the last process, when its storage took no writes at the start.
const RAISE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long [`Store::close`] waits.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The store. A clone is another handle on it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    options: Options,
    passwords: Passwords,
    commit_queue: mpsc::Sender<Job>,
    metrics: Arc<StoreMetrics>,
    disk: Arc<Disk>,
    /// Until the store is closed.
    watching: Mutex<Option<Watching>>,
}

/// What ends when the store is closed or dropped: the watch, and then the right to the file.
struct Watching {
    task: JoinHandle<()>,
    _lock: Option<Arc<DatabaseLock>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Checks that a store could be opened, and changes nothing. A server that has it open is no error. Answers what is
/// to be said of it otherwise.
///
/// # Errors
/// As [`Store::open`].
pub async fn check(url: &str, options: &Options) -> Result<Vec<String>, StoreError> {
    let file =
        if Dialect::of(url) == Some(Dialect::Sqlite) { Some(database_file(url)?) } else { None };
    let database_dir = file.as_deref().and_then(Path::parent);
    for directory in database_dir.into_iter().chain([options.data_dir.as_path()]) {
        directory::check_new(directory)?;
    }
    let file = file.filter(|_| options.is_exclusive);
    if let Some(file) = &file {
        DatabaseLock::check(file)?;
        disk::check_new(file)?;
    }
    let mut warnings = db::check(url, options).await?;
    if let Some(in_use) = file.and_then(|file| DatabaseLock::held(&file)) {
        warnings.push(format!("{in_use}: a server cannot start with it meanwhile"));
    }
    Ok(warnings)
}

impl Store {
    /// Opens the database, creates what is missing, applies pending migrations, raises the read
    /// marks of users who were reading on an earlier node of this name, and starts the group commit and the watch on
    /// the current tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a URL of an unsupported database, [`StoreError::InUse`] when another
    /// process has the file open, [`StoreError::Emptied`] when it has lost its content,
    /// [`StoreError::Migration`] for data that this build cannot use, [`StoreError::Foreign`] for data
    /// of another program; otherwise what failed.
    pub async fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        create_private(&options.data_dir)?;
        mend_directory(&options.data_dir);
        images::mend_directories(&options.data_dir);
        let metrics = Arc::new(StoreMetrics::default());
        let lock = match Dialect::of(url) {
            Some(Dialect::Sqlite) if options.is_exclusive => {
                let file = database_file(url)?;
                file.parent().map_or(Ok(()), create_private)?;
                Some(Arc::new(DatabaseLock::take(&file)?))
            }
            _ => None,
        };
        let dependencies = Dependencies::of(&options.health);
        let store_health = dependencies.store.clone();
        let db = Db::open(url, &options, Arc::clone(&metrics), store_health).await?;
        let disk = Arc::new(Disk::new(&options, db.file()));
        let passwords = Passwords::new(&options, Arc::clone(&metrics)).await?;
        let (commit_queue, jobs) = mpsc::channel(options.commit_queue_max.max(1));
        let committer = Committer {
            db: db.clone(),
            node: options.node.clone(),
            batch_max: options.commit_batch_max,
            is_alone: lock.is_some(),
            metrics: metrics.clone(),
        };
        tokio::spawn(committer.run(jobs));
        let watch = Watch {
            db: db.clone(),
            disk: Arc::clone(&disk),
            lock: lock.clone(),
            dependencies,
            pending: Pending::default(),
        };
        let task = tokio::spawn(watch.begin().await.run());
        let watching = Mutex::new(Some(Watching { task, _lock: lock }));
        let shared = Shared { db, options, passwords, commit_queue, metrics, disk, watching };
        let store = Self { shared: Arc::new(shared) };
        match store.raise_marks(&store.options().node).await {
            Err(error) if error.storage_fault().is_some_and(StorageFault::is_certain) => {
                tracing::warn!(%error, "read marks of users who were in rooms are not up to date until this passes");
                store.raise_marks_later();
            }
            raised => raised?,
        }
        store.warn_of_missing_images().await?;
        Ok(store)
    }

    /// Counters since [`Store::open`].
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.shared.metrics
    }

    /// What the store was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Appends and saves that wait for a commit.
    #[must_use]
    pub fn commit_queue_depth(&self) -> usize {
        self.shared.commit_queue.max_capacity() - self.shared.commit_queue.capacity()
    }

    /// Commits what is queued and closes the database, within [`CLOSE_TIMEOUT`]; later calls fail.
    /// Answers whether everything queued was committed.
    pub async fn close(&self) -> bool {
        let closing = async {
            let flushed = self.flush().await;
            let held = &self.shared.watching;
            let mut watching = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Watching { task, .. }) = &mut watching {
                task.abort();
                let _ = task.await;
            }
            if let Err(error) = &flushed {
                tracing::error!(%error, "closing the store: queued work was not committed");
            }
            self.db().close().await;
            // Another process may open the file from now on.
            drop(watching);
            flushed.is_ok()
        };
        tokio::time::timeout(CLOSE_TIMEOUT, closing).await.unwrap_or_else(|_| {
            tracing::error!(
                "closing the store: the database did not answer in time; queued work may be lost"
            );
            false
        })
    }

    /// Raises the read marks when the storage takes writes again. It goes on reading until then.
    fn raise_marks_later(&self) {
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RAISE_AGAIN_AFTER).await;
                let Some(shared) = shared.upgrade() else { return };
                let store = Self { shared };
                let raised = store.raise_marks(&store.options().node).await;
                if raised.is_ok() || store.commit_queue().is_closed() {
                    return;
                }
            }
        });
    }

    fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    fn db(&self) -> &Db {
        &self.shared.db
    }

    fn passwords(&self) -> &Passwords {
        &self.shared.passwords
    }

    fn commit_queue(&self) -> &mpsc::Sender<Job> {
        &self.shared.commit_queue
    }
}

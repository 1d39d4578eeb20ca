//! Durable data of the chat: users, tokens, rooms, messages, read marks and uploaded images.
//!
//! A process opens one [`Store`], which is cheap to clone and needs a tokio runtime. The database is
//! SQLite, PostgreSQL, MySQL or MariaDB; several nodes may share a database server. Messages and
//! read marks go through the group commit and are durable when their call answers. Every other call
//! is one statement or one transaction.
//!
//! | module | content |
//! |---|---|
//! | `users`, `tokens`, `password` | accounts, tokens, password hashes |
//! | `rooms`, `messages`, `reads`, `reading` | the SQL of rooms, messages, read marks, and of who is reading where |
//! | `images` | uploaded images: files, and their rows |
//! | `job` → `plan` → `commit` | the group commit: what waits, what it writes, the transaction |
//! | `load` | another application's data into an empty store |
//! | `statement`, `dialect`, `db` | statements of many rows, what differs between databases, connections |
//! | `url`, `options`, `error`, `fault`, `metrics`, `clock` | settings, errors, counters, time |
#![forbid(unsafe_code)]

mod clock;
mod commit;
mod db;
mod dialect;
mod error;
mod fault;
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
mod rooms;
mod statement;
mod tokens;
mod url;
mod users;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use clock::format_datetime;
pub use error::{AppendError, ImageError, RegisterError, StoreError};
pub use images::{ImageFormat, ImageKind, StoredImage, decode_data_url};
pub use job::Appended;
pub use load::{Load, LoadedUser};
pub use messages::{
    FETCH_MESSAGES_MAX, HistoryPage, MessageRow, NewMessage, PAGE_MESSAGES, PlacedMessage,
};
pub use metrics::{
    COMMIT_SECONDS, LATENCY_BUCKETS_US, LatencyHistogram, StoreCounters, StoreMetrics,
};
pub use options::{Options, PasswordCost, Synchronous};
pub use password::is_bcrypt;
pub use rooms::RoomRow;
pub use tokens::{TOKEN_CHARS, TokenScope, hash_token};
pub use url::{is_database_url, is_server_url, without_secrets};
pub use users::{NewUser, UserRow, email_key, plain_name};

use commit::Committer;
use db::Db;
use job::Job;
use password::Passwords;

/// How long [`Store::ping`] waits.
pub const PING_TIMEOUT: Duration = Duration::from_secs(2);

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
}

impl Store {
    /// Opens the database, creates what is missing, applies pending migrations, settles the users
    /// who were reading on an earlier node of this name, and starts the group commit on the current
    /// tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a URL of an unsupported database; otherwise what failed.
    pub async fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        std::fs::create_dir_all(&options.data_dir)?;
        let metrics = Arc::new(StoreMetrics::default());
        let db = Db::open(url, &options, Arc::clone(&metrics)).await?;
        let passwords = Passwords::new(&options).await?;
        let (commit_queue, jobs) = mpsc::channel(options.commit_queue_max.max(1));
        let committer = Committer {
            db: db.clone(),
            node: options.node.clone(),
            batch_max: options.commit_batch_max,
            metrics: metrics.clone(),
        };
        tokio::spawn(committer.run(jobs));
        let shared = Shared { db, options, passwords, commit_queue, metrics };
        let store = Self { shared: Arc::new(shared) };
        store.settle(&store.options().node).await?;
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

    /// Checks that the database answers within [`PING_TIMEOUT`].
    ///
    /// # Errors
    /// [`StoreError::Unanswered`], or the error of the database.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.db().query("SELECT 1").execute(&self.db().readers);
        // A server that is suspended or unreachable does not report an error.
        tokio::time::timeout(PING_TIMEOUT, answer).await.map_err(|_| StoreError::Unanswered)??;
        Ok(())
    }

    /// Commits what is queued and closes the database, within [`CLOSE_TIMEOUT`]; later calls fail.
    pub async fn close(&self) {
        let closing = async {
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "closing the store: queued work was not committed");
            }
            self.db().close().await;
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!(
                "closing the store: the database did not answer in time; queued work may be lost"
            );
        }
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

//! What Throng keeps: users, tokens, rooms, messages, read marks and uploaded images.
//!
//! One [`Store`] per process, cheap to clone, driven by a tokio runtime, on SQLite, PostgreSQL,
//! MySQL or MariaDB; several processes may share a database server. What differs between the
//! databases is in `dialect`. Messages and read marks go
//! through group commit and are durable when their call answers; everything else is one statement
//! or one transaction per call. The SQL of each concern is in the module of its name.
#![forbid(unsafe_code)]

mod clock;
mod commit;
mod db;
mod dialect;
mod error;
mod fault;
mod images;
mod import;
mod messages;
mod metrics;
mod options;
mod password;
mod plan;
mod reading;
mod reads;
mod rooms;
mod tokens;
mod users;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use clock::format_datetime;
pub use commit::Appended;
pub use db::{is_database_url, is_server_url, without_secrets};
pub use error::{AppendError, ImageError, RegisterError, StoreError};
pub use images::{ImageFormat, ImageKind, StoredImage, decode_data_url};
pub use import::{Import, ImportError, ImportReport, Remark, Tally};
pub use messages::{FETCH_MESSAGES_MAX, HistoryPage, MessageRow, NewMessage, PAGE_MESSAGES};
pub use metrics::{LATENCY_BUCKETS_US, LatencyHistogram, StoreMetrics};
pub use options::{Options, PasswordCost, Synchronous};
pub use rooms::RoomRow;
pub use tokens::{TOKEN_CHARS, TokenScope, hash_token};
pub use users::{NewUser, UserRow};

use commit::{Committer, Job};
use db::Db;
use password::Passwords;

/// How long [`Store::ping`] waits.
pub const PING_PATIENCE: Duration = Duration::from_secs(2);

/// How long [`Store::close`] waits.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A handle on the store.
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
    /// Opens the database, creates what is missing, applies pending migrations, and starts the
    /// group commit on the current tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Url`] for a database this build does not know; otherwise what failed.
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

    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.shared.metrics
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Appends and saves that wait for a commit.
    #[must_use]
    pub fn commit_queue_depth(&self) -> usize {
        self.shared.commit_queue.max_capacity() - self.shared.commit_queue.capacity()
    }

    /// Whether the database answers, within [`PING_PATIENCE`].
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.db().query("SELECT 1").execute(&self.db().readers);
        // A server that is stopped or cut off does not even refuse.
        tokio::time::timeout(PING_PATIENCE, answer).await.map_err(|_| StoreError::Unanswered)??;
        Ok(())
    }

    /// Commits what is queued and closes the database; later calls fail. A database that does not
    /// answer is waited for [`CLOSE_PATIENCE`], not longer.
    pub async fn close(&self) {
        let closing = async {
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "the store was closed with work in its queue");
            }
            self.db().close().await;
        };
        if tokio::time::timeout(CLOSE_PATIENCE, closing).await.is_err() {
            tracing::warn!("the database did not answer; what was queued may be lost");
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

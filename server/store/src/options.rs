//! How a store is opened.

use std::path::PathBuf;
use std::time::Duration;

/// What a commit promises, in SQLite's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit is in the operating system's hands: it survives `kill -9` of the server. A power
    /// loss or kernel crash may take the commits since the last WAL checkpoint, never corrupt the
    /// file.
    #[default]
    Normal,
    /// Every commit is flushed to the device: it survives a power loss as well, at the price of
    /// one flush per group commit.
    Full,
}

/// How dear a password hash is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// argon2id with 19 MiB and two passes, the OWASP minimum.
    #[default]
    Standard,
    /// The cheapest argon2id there is: for load tests on a loopback address only.
    Cheapest,
}

/// Settings of a [`crate::Store`]. Every queue and every stored thing has its bound here.
#[derive(Clone, Debug)]
pub struct Options {
    /// Uploaded images live below it, and the database unless its URL says otherwise.
    pub data_dir: PathBuf,
    /// Name of this node among those that share the database. Whoever was reading on a node of
    /// this name before is settled by [`crate::Store::open`].
    pub node: String,
    pub synchronous: Synchronous,
    pub password_cost: PasswordCost,
    /// Password hashes computed at once; each holds a core.
    pub password_jobs: usize,
    /// Callers that may wait for a password hash; more are answered `Busy`.
    pub password_waiters_max: usize,
    /// Connections that read at once.
    pub readers: u32,
    /// Connections to a database server that write: the group commit and a few accounts. SQLite has
    /// one.
    pub writers: u32,
    /// How long a connection is waited for, or SQLite's lock.
    pub busy_timeout: Duration,
    /// What a database server has not answered by then is given up. After twice that time the server
    /// ends the statement itself, and a transaction that says nothing.
    pub answer_timeout: Duration,
    /// Appends and saves that may wait for a commit; more are answered `Busy`.
    pub commit_queue_max: usize,
    /// Appends and saves taken into one transaction.
    pub commit_batch_max: usize,
    pub token_lifetime: Duration,
    /// Tokens a user may hold per scope; a new one beyond it ends the oldest.
    pub tokens_per_user_max: u32,
    pub image_bytes_max: usize,
    /// Width times height.
    pub image_pixels_max: u64,
}

impl Options {
    /// Defaults for one node whose files live in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            data_dir: data_dir.into(),
            node: "local".into(),
            synchronous: Synchronous::default(),
            password_cost: PasswordCost::default(),
            password_jobs: cores.div_ceil(2),
            password_waiters_max: 1024,
            readers: 4,
            writers: 4,
            busy_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            commit_queue_max: 16 * 1024,
            commit_batch_max: 4096,
            token_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            tokens_per_user_max: 32,
            image_bytes_max: 3 * 1024 * 1024,
            image_pixels_max: 64 * 1024 * 1024,
        }
    }

    /// The URL of the embedded database in the data directory.
    #[must_use]
    pub fn default_url(&self) -> String {
        format!("sqlite://{}", self.data_dir.join("throng.db").display())
    }

    /// Fitted to load tests: cheap hashes and a long queue for them.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.password_cost = PasswordCost::Cheapest;
        self.password_waiters_max = 1 << 20;
        self.commit_queue_max = 1 << 20;
        self
    }
}

//! How a store is opened.

use std::path::PathBuf;
use std::time::Duration;

/// What a commit guarantees, in SQLite's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit is handed to the operating system: it survives `kill -9` of the server. A power loss
    /// or kernel crash may lose the commits since the last WAL checkpoint, but not corrupt the file.
    #[default]
    Normal,
    /// Every commit is flushed to the device: it survives a power loss too, and costs one flush per
    /// group commit.
    Full,
}

/// How expensive a password hash is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// argon2id with 19 MiB and two passes, the OWASP minimum.
    #[default]
    Standard,
    /// The cheapest argon2id, for load tests on a loopback address only.
    Cheapest,
}

/// Settings of a [`crate::Store`], with the bound of every queue and of everything stored.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of uploaded images, and of the database unless its URL names another place.
    pub data_dir: PathBuf,
    /// Name of this node among those that share the database. [`crate::Store::open`] settles the
    /// users who were reading on an earlier node of this name.
    pub node: String,
    /// What a commit to SQLite guarantees.
    pub synchronous: Synchronous,
    /// How expensive new password hashes are.
    pub password_cost: PasswordCost,
    /// Password hashes computed at once; each occupies a core.
    pub password_jobs: usize,
    /// Callers that may wait for a password hash; more get [`crate::StoreError::Busy`].
    pub password_waiters_max: usize,
    /// Connections for reading.
    pub readers: u32,
    /// Connections to a database server for writing: the group commit and a few accounts. SQLite
    /// has one.
    pub writers: u32,
    /// How long a call waits for a connection, or for SQLite's lock.
    pub busy_timeout: Duration,
    /// How long a database server may take to answer. After twice that time the server itself ends
    /// the statement, or the idle transaction.
    pub answer_timeout: Duration,
    /// Appends and saves that may wait for a commit; more get [`crate::StoreError::Busy`].
    pub commit_queue_max: usize,
    /// Appends and saves taken into one transaction.
    pub commit_batch_max: usize,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// Tokens of a user per scope; a new one beyond that revokes the oldest.
    pub tokens_per_user_max: u32,
    /// Size of an uploaded image, in bytes.
    pub image_bytes_max: usize,
    /// Width times height of an uploaded image.
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

    /// The same for load tests: cheap hashes, and long queues.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.password_cost = PasswordCost::Cheapest;
        self.password_waiters_max = 1 << 20;
        self.commit_queue_max = 1 << 20;
        self
    }

    pub(crate) fn token_lifetime_ms(&self) -> i64 {
        i64::try_from(self.token_lifetime.as_millis()).unwrap_or(i64::MAX)
    }
}

//! How a store is opened.

use std::path::PathBuf;
use std::time::Duration;

use throng_health::Health;

throng_tables::choices! {
    /// What a commit promises, in SQLite's words.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Synchronous {
        /// A commit is in the operating system's hands: it survives `kill -9` of the server. A power
        /// loss or kernel crash may take the commits since the last WAL checkpoint, never corrupt the
        /// file.
        #[default]
        Normal = "normal",
        /// Every commit is flushed to the device: it survives a power loss as well, at the price of
        /// one flush per group commit.
        Full = "full",
    }
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

throng_tables::settings! {
    /// Settings of a [`crate::Store`]. Every queue and every stored thing has its bound here.
    #[derive(Clone, Debug)]
    pub struct Options;

    [""]
    /// Directory of the SQLite database and the uploaded images.
    data_dir: PathBuf = "./data".into();

    ["store"]
    /// What SQLite promises of a commit: to survive `kill -9` (normal), or a power loss too (full).
    synchronous: Synchronous = Synchronous::Normal;
    /// Connections to the database that read.
    readers: u32 = 4, "connections", 1..=1024;
    /// Connections to a database server that write: the group commit and a few accounts. SQLite has
    /// one.
    writers: u32 = 4, "connections", 2..=1024;
    /// Time to wait for a free connection, for SQLite's lock, or at the start for the answer of a database server; one
    /// that refuses, or whose name is not known, ends the start at once.
    busy_timeout_ms: u32 = 5_000, "ms", 10..=3_600_000;
    /// Time a database server has to answer. After twice that time it ends the statement or the idle
    /// transaction itself. SQLite has no such limit.
    answer_timeout_ms: u32 = 10_000, "ms", 100..=3_600_000;

    ["login"]
    /// Threads that compute password hashes, below the priority of the shards. Each keeps 19 MiB from its
    /// first hash on.
    hash_threads: usize = cores().div_ceil(2), "threads", 1..=64 => "half as many as cores";
    /// Logins that may wait for a hash, and as many again of addresses from which the account has been used.
    /// Clients take turns. Of more, those of the client that has most are refused.
    hash_queue_max: usize = 256, "logins", 1..=1 << 20;
    /// Time a login or registration may wait for its hash before it is refused.
    hash_timeout_ms: u32 = 5_000, "ms", 10..=600_000;

    ["storage"]
    /// Free disk space below which uploads are refused and the server is not ready; 0: no floor. Below
    /// half of it messages are refused as well, where the database is a file.
    min_free_mb: u32 = 256, "MB", 0..=1 << 30;

    fixed
    /// Where the store reports how its database and its disk are.
    health: Health = Health::default();
    /// Whether a database file is locked against other processes; off where a test stands in for them.
    is_exclusive: bool = true;
    /// Name of this node among those that share the database. [`crate::Store::open`] raises the read
    /// marks of users who were in a room on a node of this name before.
    node: String = "local".to_owned();
    /// Cost of a password hash.
    password_cost: PasswordCost = PasswordCost::default();
    /// Appends and saves that may wait for a commit; more are answered `Busy`.
    commit_queue_max: usize = 16 * 1024;
    /// Appends and saves taken into one transaction.
    commit_batch_max: usize = 4096;
    /// How long a token is valid.
    token_lifetime: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// Tokens a user may hold per scope; a new one beyond it ends the oldest.
    tokens_per_user_max: u32 = 32;
    /// Bytes of one image.
    image_bytes_max: usize = 3 * 1024 * 1024;
    /// Width times height.
    image_pixels_max: u64 = 64 * 1024 * 1024;
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Options {
    /// Defaults for one node whose files live in `data_dir`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), ..Self::default() }
    }

    pub(crate) fn token_lifetime_ms(&self) -> i64 {
        i64::try_from(self.token_lifetime.as_millis()).unwrap_or(i64::MAX)
    }

    /// See [`Options::busy_timeout_ms`].
    #[must_use]
    pub fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout_ms.into())
    }

    /// See [`Options::answer_timeout_ms`].
    #[must_use]
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms.into())
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
        self.hash_queue_max = 1 << 20;
        self.hash_timeout_ms = 600_000;
        self.commit_queue_max = 1 << 20;
        self
    }
}

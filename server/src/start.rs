//! Why the server did not start.

/// Why the server did not start, or stopped unasked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error("cannot open the store ({url}, data directory {data_dir}): {error}")]
    OpenStore { url: String, data_dir: String, error: throng_store::StoreError },
    #[error("cannot read the store: {0}")]
    Store(#[from] throng_store::StoreError),
    #[error("{0}; nothing was imported")]
    Import(#[from] throng_import::ImportError),
    #[error("{0}")]
    RedisSettings(String),
    #[error("Redis rejected the login at {url}: {failure}")]
    RedisLogin { url: String, failure: throng_redis::Failure },
    #[error("the user of Redis at {url} may not do what a node does: it has no right {right}")]
    RedisRights { url: String, right: String },
    /// Of `check-config` alone: the server starts without Redis.
    #[error("cannot use Redis at {url}: {cause}")]
    NoRedis { url: String, cause: String },
    /// Of a command whose result is what it prints.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    #[error(transparent)]
    Runtime(#[from] throng_runtime::StartError),
}

impl StartError {
    /// [`StartError::OpenStore`] without the secrets of `url`.
    pub fn open_store(
        url: &str,
        options: &throng_store::Options,
        error: throng_store::StoreError,
    ) -> StartError {
        let data_dir = options.data_dir.display().to_string();
        StartError::OpenStore { url: throng_store::without_secrets(url), data_dir, error }
    }

    /// Exit status, after sysexits.h where it has one.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_) | StartError::RedisSettings(_) => 78,
            StartError::RedisLogin { .. } | StartError::RedisRights { .. } => 77,
            StartError::NoRedis { .. } => 69,
            StartError::OpenStore { .. }
            | StartError::Store(_)
            | StartError::Import(_)
            | StartError::Output(_) => 74,
            StartError::Runtime(error) => error.exit_code(),
        }
    }
}

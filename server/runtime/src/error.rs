//! Why a server did not start, or stopped by itself.

use std::io;

/// Why a server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, or does not belong to this machine.
    #[error("cannot listen on {addr}: {error}")]
    Bind {
        /// The address, or the path of a Unix socket.
        addr: String,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The number of shards is 0.
    #[error("the number of shards must be at least 1")]
    NoShards,
    /// The system gave no thread, descriptor or randomness.
    #[error("system error: {0}")]
    System(io::Error),
    /// The setting demands the `io_uring` driver, and the system does not permit it.
    #[error("io_uring is not usable on this system; try `--io-driver auto`")]
    IoUringUnavailable,
    /// The thread of a shard ended before the stop.
    #[error("shard {0} ended unexpectedly")]
    ShardEnded(u8),
}

impl StartError {
    /// Exit status: 64, 69, 70 or 71, as in sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Bind { .. } | StartError::System(_) => 71,
            StartError::NoShards => 64,
            StartError::IoUringUnavailable => 69,
            StartError::ShardEnded(_) => 70,
        }
    }
}

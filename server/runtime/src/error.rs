//! Why a server did not start, or did not go on.

use std::io;
use std::net::SocketAddr;

/// Why a server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, or not one of this machine.
    #[error("cannot listen on {addr}: {error}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// No thread, descriptor or randomness was to be had.
    #[error("system error: {0}")]
    System(io::Error),
    /// The `io_uring` driver was demanded.
    #[error("io_uring is not usable on this system; try `--io-driver auto`")]
    IoUringUnavailable,
    /// The thread of a shard ended without being asked.
    #[error("shard {0} ended unexpectedly")]
    ShardEnded(u8),
}

impl StartError {
    /// Exit status, after sysexits.h where it has one.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Bind { .. } | StartError::System(_) => 71,
            StartError::IoUringUnavailable => 69,
            StartError::ShardEnded(_) => 70,
        }
    }
}

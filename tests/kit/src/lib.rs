//! How tests, benches and `cargo xtask` start other programs: one table of them ([`programs`]), one
//! launcher ([`Process`]), and on top of it the servers that tests need: Redis, PostgreSQL, MariaDB,
//! and Throng itself.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod database;
pub mod http;
pub mod process;
pub mod programs;
pub mod redis;
pub mod scratch;
pub mod server;

use std::fmt;
use std::time::{Duration, Instant};

pub use process::{Process, Signal};
pub use programs::{Program, own};

/// Time for anything that works, even on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a program was not started, or was not ready in time; with its output.
pub struct Failed(pub String);

/// The result of everything that may fail here.
pub type Result<T = ()> = std::result::Result<T, Failed>;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As it is displayed, so that `expect` prints the output of a program line by line.
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Failed(error.to_string())
    }
}

/// Polls `probe` until it returns a value; for state that no event announces.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

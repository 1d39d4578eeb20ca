//! Support for the end-to-end tests in `it/`: a server process, a plain HTTP request, and a WebSocket
//! that can also do what no library allows. The tests with real clients are in `js/`, `python/` and
//! `rust-client/`.
#![forbid(unsafe_code)]

pub mod chat;
pub mod http;
pub mod server;
pub mod ws;

use std::time::{Duration, Instant};

/// Asks `probe` again and again; for state that no event announces.
///
/// # Panics
/// When the answer does not come in `within`.
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

//! Redis servers of a test, and waiting for what they do.

use std::time::{Duration, Instant};

pub use throng_kit::TIMEOUT;
pub use throng_kit::redis::{Redis as Server, create_cluster};

/// A port that stays free.
pub fn free_port() -> u16 {
    throng_kit::scratch::spare_port().expect("a free port")
}

/// Polls until `attempt` returns a value, or fails the test.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

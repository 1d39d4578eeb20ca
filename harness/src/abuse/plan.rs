//! How hard a target is abused, and what is judged.

use std::time::Duration;

/// Settings of the cases `abuse.*`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long the abuse lasts.
    pub time: Duration,
    pub connections: u32,
    /// Users that watch.
    pub users: usize,
    /// Latency that is fine whatever it was at rest.
    pub slack: Duration,
    /// The target's process, if it runs on this machine and is to be judged.
    pub server_pid: Option<u32>,
}

impl Plan {
    /// Long enough for a quantile, and no longer than needed.
    pub fn rest_time(&self) -> Duration {
        (self.time / 2).clamp(Duration::from_millis(500), Duration::from_secs(2))
    }

    /// What the runner grants a case on top of its timeout: it may be tried three times.
    pub fn case_time(&self) -> Duration {
        (self.time + 2 * self.rest_time()) * 3
    }
}

//! The clock that all threads of the process share.

use std::time::{Duration, Instant};

use throng_engine::Now;

/// Monotonic time since the start of the process, equal on all threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose time zero is now. Start one per process.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The current time.
    pub fn now(&self) -> Now {
        let since_start = self.origin.elapsed().as_nanos();
        Now(u64::try_from(since_start).expect("a process runs less than five centuries"))
    }

    /// The same moment for timers of the standard library and of tokio.
    pub fn instant(&self, at: Now) -> Instant {
        self.origin + Duration::from_nanos(at.0)
    }
}

/// The wall clock, in ms since 1970 (UTC). It may be set at any time.
pub fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

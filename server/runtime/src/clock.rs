//! The one clock of the process.

use std::time::{Duration, Instant};

use throng_engine::Now;

/// Counts from the start of the process, alike on all threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let since_start = self.origin.elapsed().as_nanos();
        Now(u64::try_from(since_start).expect("a process runs less than five centuries"))
    }

    pub fn instant(&self, at: Now) -> Instant {
        self.origin + Duration::from_nanos(at.0)
    }
}

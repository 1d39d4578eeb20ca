//! How fast a client without a user is read (LIM-36, LIM-37).

use std::thread;
use std::time::{Duration, Instant};

const PER_S: f64 = 50.0;
const BURST: f64 = 200.0;
const PAUSE: Duration = Duration::from_millis(20);

/// Counts what one connection sent, and pauses its thread when that is too much.
pub struct Rate {
    since: Instant,
    taken: f64,
}

impl Rate {
    pub fn new() -> Rate {
        Rate { since: Instant::now(), taken: 0.0 }
    }

    /// Takes one packet; returns when the next may be read.
    pub fn take(&mut self) {
        self.taken += 1.0;
        while self.taken > BURST + PER_S * self.since.elapsed().as_secs_f64() {
            thread::sleep(PAUSE);
        }
    }
}

//! How fast a client without a user is read (LIM-36, LIM-37).

use std::thread;
use std::time::{Duration, Instant};

const PER_S: f64 = 50.0;
const BURST: f64 = 200.0;
/// A packet of more bytes counts as several.
const PACKET_BYTES: f64 = 1024.0;
/// Between the packets of a burst: other clients' threads get the lock meanwhile.
pub const TURN: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Counts what one connection sent, and pauses its thread when that is too much.
pub struct Rate {
    since: Instant,
    taken: f64,
}

impl Rate {
    pub fn new() -> Rate {
        Rate { since: Instant::now(), taken: 0.0 }
    }

    /// Takes packets of so many bytes together; returns when the next may be read.
    pub fn take(&mut self, packets: usize, bytes: usize) {
        if packets == 0 {
            return;
        }
        self.taken += packets as f64 + bytes as f64 / PACKET_BYTES;
        thread::sleep(TURN);
        while self.taken > BURST + PER_S * self.since.elapsed().as_secs_f64() {
            thread::sleep(PAUSE);
        }
    }
}

//! How fast a client without a user is read (LIM-36, LIM-37), and rates of events and requests.

use std::thread;
use std::time::{Duration, Instant};

use crate::options::EventRate;

const PER_S: f64 = 50.0;
const BURST: f64 = 200.0;
/// A packet of more bytes counts as several.
const PACKET_BYTES: f64 = 1024.0;
/// Between the packets of a burst: other clients' threads get the lock meanwhile.
pub const TURN: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_millis(100);

/// What is left of a rate, in time.
pub struct Allowance {
    left: f64,
    since: Instant,
}

impl Allowance {
    pub fn whole(rate: EventRate) -> Allowance {
        Allowance { left: rate.burst, since: Instant::now() }
    }

    /// Takes one; else how long until there is one.
    pub fn take(&mut self, rate: EventRate) -> Result<(), Duration> {
        let earned = self.since.elapsed().as_secs_f64() * rate.per_s;
        (self.left, self.since) = ((self.left + earned).min(rate.burst), Instant::now());
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / rate.per_s));
        }
        self.left -= 1.0;
        Ok(())
    }

    pub fn left(&self) -> u32 {
        self.left as u32
    }
}

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

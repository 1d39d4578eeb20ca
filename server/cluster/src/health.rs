//! Whether Redis answers and accepts writes.

use throng_engine::Now;

/// How long to wait after a failure.
const RETRY_MS: u64 = 250;

/// The health of Redis. `broken`: no answer, or no connection. `refused`: it rejects writes.
#[derive(Default)]
pub struct Health {
    broken: Option<&'static str>,
    refused: Option<&'static str>,
    /// When the next order may be issued while `broken`, or the next write while `refused`.
    pub retry_at: Now,
    /// When it was last known to be `broken`.
    pub last_broken_at: Option<Now>,
    is_up: bool,
    since: Now,
}

impl Health {
    /// An order failed without an answer.
    pub fn mark_broken(&mut self, now: Now, why: &'static str) {
        self.broken = Some(why);
        self.last_broken_at = Some(now);
        self.retry_at = now.plus_ms(RETRY_MS);
    }

    /// Redis rejected an order.
    pub fn mark_refused(&mut self, now: Now, why: &'static str) {
        self.refused = Some(why);
        self.retry_at = now.plus_ms(RETRY_MS);
    }

    /// Redis answered an order.
    pub fn mark_answered(&mut self, now: Now) {
        if self.broken.take().is_some() {
            self.last_broken_at = Some(now);
        }
    }

    /// Redis executed a write.
    pub fn mark_accepted(&mut self) {
        self.refused = None;
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// No failure, or time to try again.
    pub fn may_try(&self, now: Now) -> bool {
        (self.broken.is_none() && self.refused.is_none()) || now >= self.retry_at
    }

    /// An order was issued. While `broken` it counts as the next attempt. While `refused` only a
    /// write shows whether writes are still rejected, so reads must not postpone it.
    pub fn mark_tried(&mut self, now: Now) {
        if self.broken.is_some() {
            self.retry_at = now.plus_ms(RETRY_MS);
        }
    }

    pub fn is_up(&self) -> bool {
        self.is_up
    }

    pub fn since(&self) -> Now {
        self.since
    }

    /// `is_joined`: the lease is held and the logs are read. Returns the new state if it changed.
    pub fn update(&mut self, now: Now, is_joined: bool) -> Option<bool> {
        let is_up = is_joined && self.broken.is_none() && self.refused.is_none();
        if is_up == self.is_up {
            return None;
        }
        self.is_up = is_up;
        self.since = now;
        Some(is_up)
    }

    /// Why it is down, in a word; empty while it is up.
    pub fn why(&self) -> &'static str {
        self.broken.or(self.refused).unwrap_or(if self.is_up { "" } else { "joining" })
    }
}

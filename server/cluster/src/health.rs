//! Whether Redis does what it is asked.

use throng_core::Now;

/// How long to wait after a failure.
const RETRY_MS: u64 = 250;

#[derive(Default)]
pub struct Health {
    broken: Option<&'static str>,
    refused: Option<&'static str>,
    /// When the next order may be tried while it is broken, or the next write while it is refused.
    pub retry_at: Now,
    /// When it was last broken.
    pub troubled_at: Option<Now>,
    is_up: bool,
    since: Now,
}

impl Health {
    pub fn broke(&mut self, now: Now, why: &'static str) {
        self.broken = Some(why);
        self.troubled_at = Some(now);
        self.retry_at = now.plus_ms(RETRY_MS);
    }

    pub fn refuse(&mut self, now: Now, why: &'static str) {
        self.refused = Some(why);
        self.retry_at = now.plus_ms(RETRY_MS);
    }

    pub fn answered(&mut self, now: Now) {
        if self.broken.take().is_some() {
            self.troubled_at = Some(now);
        }
    }

    pub fn accepted(&mut self) {
        self.refused = None;
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// After a failure: whether it is time to try again.
    pub fn may_try(&self, now: Now) -> bool {
        (self.broken.is_none() && self.refused.is_none()) || now >= self.retry_at
    }

    /// An order was given. While it is broken that was the try; while it is refused only a write
    /// says whether it still is, and what is read meanwhile must not put that off.
    pub fn tried(&mut self, now: Now) {
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

    /// `is_joined`: the lease is held and the logs are read. Answers whether it went up or down.
    pub fn judge(&mut self, now: Now, is_joined: bool) -> Option<bool> {
        let is_up = is_joined && self.broken.is_none() && self.refused.is_none();
        if is_up == self.is_up {
            return None;
        }
        self.is_up = is_up;
        self.since = now;
        Some(is_up)
    }

    pub fn why(&self) -> &'static str {
        self.broken.or(self.refused).unwrap_or(if self.is_up { "" } else { "joining" })
    }
}

//! Time as an argument.

/// Nanoseconds since the process started, one origin for all shards; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

// Time alone may stop at its ends: a deadline beyond the end of time is one that never comes.
#[expect(clippy::disallowed_methods)]
impl Now {
    /// `ms` milliseconds later; at most the end of time.
    pub const fn plus_ms(self, ms: u64) -> Now {
        Now(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// `ns` nanoseconds later; at most the end of time.
    pub const fn plus_ns(self, ns: u64) -> Now {
        Now(self.0.saturating_add(ns))
    }

    /// `ns` nanoseconds earlier; at the earliest the start of the process.
    pub const fn minus_ns(self, ns: u64) -> Now {
        Now(self.0.saturating_sub(ns))
    }

    /// Nanoseconds since `earlier`; 0 if that is later.
    pub const fn since(self, earlier: Now) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When something was sent that is read at `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Not before.
    pub since: Now,
    /// When it is read.
    pub now: Now,
}

impl From<Now> for Sent {
    fn from(now: Now) -> Sent {
        Sent { since: now, now }
    }
}

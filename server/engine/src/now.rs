//! Time as an argument.

/// Nanoseconds since the process started, one origin for all shards; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

impl Now {
    pub const fn plus_ms(self, ms: u64) -> Now {
        Now(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    pub const fn plus_ns(self, ns: u64) -> Now {
        Now(self.0.saturating_add(ns))
    }

    pub const fn since(self, earlier: Now) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

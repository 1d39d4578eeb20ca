//! How fast the [`Budgets`](super::budgets::Budgets) of a room fill.

use throng_engine::Rate;

use crate::throttle::RosterThrottle;

const SECOND_NS: u64 = 1_000_000_000;
/// Anything may be sent while less than this time's worth is owed.
const BURST_NS: u64 = 50_000_000;
/// What one event counts as at least of the small budget: a join storm in a large room must not
/// become a storm of small events.
const EVENT_BYTES: u64 = 1024;

/// In bytes.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) again: Rate,
    pub(super) events: Rate,
    pub(super) first: Rate,
    pub(super) changes: Rate,
    /// So much may be sent at once; more is sent to one member after the other.
    pub(super) at_once: u64,
}

impl Rates {
    /// `presence_mode`: members per presence mode.
    pub(super) fn new(throttle: &RosterThrottle, [full, delta, count]: [u32; 3]) -> Rates {
        // A sixteenth is kept back for what is sent at once before it is paid.
        let (small, large) = (throttle.room_bytes_per_s, throttle.room_update_bytes_per_s);
        let (small, large) = (small - small / 16, large - large / 16);
        let half = |bytes: u64, is_shared: bool| if is_shared { bytes / 2 } else { bytes };
        let is_small_shared = full > 0 && delta + count > 0;
        Rates {
            again: rate(half(small, is_small_shared)),
            events: rate(half(small, is_small_shared)),
            first: rate(half(large, delta > 0)),
            changes: rate(half(large, true)),
            at_once: throttle.room_bytes_per_s / 16,
        }
    }
}

fn rate(bytes_per_s: u64) -> Rate {
    let rate = Rate::new(bytes_per_s.max(1), SECOND_NS, 1).expect("at least one byte");
    rate.with_burst_ns(BURST_NS)
}

/// What `events` of `bytes` each cost of the small budget.
pub(super) fn cost(events: u64, bytes: usize) -> u64 {
    events * (bytes as u64).max(EVENT_BYTES)
}

#[cfg(test)]
mod tests {
    use throng_engine::{Bucket, Now};

    use super::rate;

    #[test]
    fn a_room_that_owes_more_than_fifty_milliseconds_worth_waits() {
        let mut bucket = Bucket::default();
        let now = Now(1_000_000_000);
        bucket.charge(&rate(1000), now, 1000);
        assert_eq!(bucket.open_at(&rate(1000)), now.plus_ms(950));
    }
}

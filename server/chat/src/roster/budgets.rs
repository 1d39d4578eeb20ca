//! What a room may send of its roster in a second (PRES-52).
//!
//! Whole rosters sent again to members that had one grow with the square of the room on every change, and
//! merging changes saves them: they have a small budget. What a member must get once, merging does not
//! save: the first roster, and, in mode delta, each entry that comes or goes. It has a large one. Each is
//! halved when two kinds of it wait, so that neither keeps the other waiting.

use crate::budget::Budget;
use crate::throttle::RosterThrottle;

/// What one event counts as at least of the small budget: a join storm in a large room must not
/// become a storm of small events.
const EVENT_BYTES: u64 = 1024;

#[derive(Default)]
pub(super) struct Budgets {
    /// Of the small one: whole rosters, and the events of members in mode delta or count.
    pub(super) again: Budget,
    pub(super) events: Budget,
    /// Of the large one: first rosters, and changes.
    pub(super) first: Budget,
    pub(super) changes: Budget,
}

/// Bytes per second for each kind.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) again: u64,
    pub(super) events: u64,
    pub(super) first: u64,
    pub(super) changes: u64,
    /// So much may be sent at once; more is sent to one member after the other.
    pub(super) at_once: u64,
}

impl Rates {
    /// `presence_mode`: members per presence mode.
    pub(super) fn new(throttle: &RosterThrottle, [full, delta, count]: [u32; 3]) -> Rates {
        // A sixteenth is kept back for what is sent at once before it is paid.
        let (small, large) = (throttle.room_bytes_per_s, throttle.room_update_bytes_per_s);
        let (small, large) = (small - small / 16, large - large / 16);
        let half = |bytes: u64, is_shared: bool| if is_shared { (bytes / 2).max(1) } else { bytes };
        let is_small_shared = full > 0 && delta + count > 0;
        Rates {
            again: half(small, is_small_shared),
            events: half(small, is_small_shared),
            first: half(large, delta > 0),
            changes: half(large, true),
            at_once: throttle.room_bytes_per_s / 16,
        }
    }
}

/// What `events` of `bytes` each cost of the small budget.
pub(super) fn cost(events: u64, bytes: usize) -> u64 {
    events * (bytes as u64).max(EVENT_BYTES)
}

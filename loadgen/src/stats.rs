//! What one thread counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::samples::{Metric, Samples, Sparse};

/// The struct and its sum from one list of fields.
macro_rules! counters {
    ($($(#[$attribute:meta])* $field:ident,)*) => {
        /// Sums over the whole run, warm-up included. Field names are those of the JSON report.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counters {
            $($(#[$attribute])* pub $field: u64,)*
        }

        impl Counters {
            /// The names of all counters.
            pub const NAMES: &[&str] = &[$(stringify!($field),)*];

            /// Adds every counter; a maximum stays one.
            pub fn add(&mut self, other: &Self) {
                let roster_bytes_max = self.roster_bytes_max.max(other.roster_bytes_max);
                $(self.$field += other.$field;)*
                self.roster_bytes_max = roster_bytes_max;
            }
        }
    };
}

counters! {
    /// Messages sent.
    published,
    /// Deliveries owed: messages × members at the time, less refused ones.
    expected,
    /// Owed deliveries that came, each counted once.
    delivered,
    missing,
    duplicated,
    /// Messages of ours that came altered: cut, with other bytes, or the text of another one. They are not
    /// delivered.
    #[serde(default)]
    corrupted,
    /// Delivered, but after a later message of the same publisher.
    out_of_order,
    /// Messages that a member received in another order than the members around it, in rooms with several
    /// publishers: once per member and message.
    #[serde(default)]
    order_violations,
    /// Messages of such rooms whose place in the order of the room is known.
    #[serde(default)]
    order_compared,
    /// Delivered, but slower than `late_after_ms`.
    late,
    /// Deliveries of messages published while the member was joining or leaving: allowed, not owed.
    edge,
    /// Messages published, and neither come nor refused, when the connection of a member ended: not
    /// owed, but the server may have counted them as delivered.
    #[serde(default)]
    under_way,
    /// Deliveries to a client that had not joined, or had left, the room.
    outside_membership,
    /// Deliveries of numbers that were never published.
    unknown,
    /// Messages of other runs.
    foreign,
    /// Messages with a time stamp in the future.
    clock_backwards,
    acked,
    refused,
    /// Deliveries of messages that the server had refused.
    #[serde(default)]
    refused_delivered,
    /// Due messages that could not be sent because the publisher was not in its room.
    skipped,
    /// Publishers whose connection the server ended unasked, and that were not back when the run ended.
    #[serde(default)]
    publishers_lost,
    /// Closed loop: messages given up after `completion_timeout_ms`.
    timed_out,
    /// Deliveries that came within the measured time.
    measured_delivered,
    /// Messages due within the measured time.
    measured_published,
    connects,
    connect_failures,
    /// Connections ended by the other side, unasked.
    disconnects,
    reconnects,
    /// Clients that were due and not in their rooms when the run ended.
    #[serde(default)]
    absent,
    leaves,
    joins,
    rosters,
    /// The longest roster event met.
    #[serde(default)]
    roster_bytes_max,
    /// Members whose last roster was wrong at rest, each stay in a room counted once.
    unconverged,
    /// Those of them to whom no roster had come that could be read.
    #[serde(default)]
    without_roster,
    bytes_in,
    bytes_out,
    frames_in,
    reads,
}

impl Counters {
    /// Rosters were awaited, and to no member came any.
    #[must_use]
    pub fn has_no_roster(&self) -> bool {
        self.unconverged > 0 && self.without_roster == self.unconverged
    }
}

/// A thread's counters, samples since the last shipment, and errors by kind.
#[derive(Default)]
pub struct Stats {
    pub counters: Counters,
    pub samples: Samples,
    pub errors: BTreeMap<String, u64>,
    pub first_attempt_ns: Option<u64>,
    pub last_join_ns: u64,
    /// Clients that are in all their rooms.
    pub arrived: u64,
    /// (delivered, published) at the last shipment.
    pub shipped: (u64, u64),
}

impl Stats {
    /// Counts an error; kinds beyond a bound share one name, since servers choose some of them.
    pub fn error(&mut self, kind: &str) {
        if let Some(count) = self.errors.get_mut(kind) {
            *count += 1;
        } else if self.errors.len() < 64 {
            self.errors.insert(kind.to_owned(), 1);
        } else {
            *self.errors.entry("other".to_owned()).or_insert(0) += 1;
        }
    }
}

/// One thread's second, shipped to the main thread.
pub struct Interval {
    /// Seconds since the first message was due; none before.
    pub second: Option<u64>,
    pub samples: Vec<(Metric, Sparse)>,
    pub delivered: u64,
    pub published: u64,
}

/// What a thread hands back when it ends.
pub struct ThreadResult {
    pub counters: Counters,
    pub errors: BTreeMap<String, u64>,
    pub first_attempt_ns: Option<u64>,
}

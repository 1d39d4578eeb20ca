//! What one thread counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::samples::{Metric, Samples, Sparse};

/// Sums over the whole run, warm-up included. Field names are those of the JSON report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Messages sent.
    pub published: u64,
    /// Deliveries owed: messages × members at the time, less refused ones.
    pub expected: u64,
    /// Owed deliveries that came, each counted once.
    pub delivered: u64,
    pub missing: u64,
    pub duplicated: u64,
    /// Delivered, but after a later message of the same publisher.
    pub out_of_order: u64,
    /// Delivered, but slower than `late_after_ms`.
    pub late: u64,
    /// Deliveries of messages published while the member was joining or leaving: allowed, not owed.
    pub edge: u64,
    /// Deliveries to a client that had not joined, or had left, the room.
    pub outside_membership: u64,
    /// Deliveries of numbers nobody published.
    pub unknown: u64,
    /// Messages of other runs.
    pub foreign: u64,
    /// Messages with a time stamp in the future.
    pub clock_backwards: u64,
    pub acked: u64,
    pub refused: u64,
    /// Due messages that could not be sent because the publisher was not in its room.
    pub skipped: u64,
    /// Closed loop: messages given up after `completion_timeout_ms`.
    pub timed_out: u64,
    /// Deliveries that came within the measured time.
    pub measured_delivered: u64,
    /// Messages due within the measured time.
    pub measured_published: u64,
    pub connects: u64,
    pub connect_failures: u64,
    /// Connections ended by the other side, unasked.
    pub disconnects: u64,
    pub reconnects: u64,
    /// Clients that were due and not in their rooms when the run ended.
    #[serde(default)]
    pub absent: u64,
    pub leaves: u64,
    pub joins: u64,
    pub rosters: u64,
    /// The longest roster event met.
    #[serde(default)]
    pub roster_bytes_max: u64,
    /// Members whose last roster was wrong at rest.
    pub unconverged: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub frames_in: u64,
    pub reads: u64,
}

impl Counters {
    pub fn add(&mut self, other: &Self) {
        let Self {
            published,
            expected,
            delivered,
            missing,
            duplicated,
            out_of_order,
            late,
            edge,
            outside_membership,
            unknown,
            foreign,
            clock_backwards,
            acked,
            refused,
            skipped,
            timed_out,
            measured_delivered,
            measured_published,
            connects,
            connect_failures,
            disconnects,
            reconnects,
            absent,
            leaves,
            joins,
            rosters,
            roster_bytes_max,
            unconverged,
            bytes_in,
            bytes_out,
            frames_in,
            reads,
        } = other;
        self.published += published;
        self.expected += expected;
        self.delivered += delivered;
        self.missing += missing;
        self.duplicated += duplicated;
        self.out_of_order += out_of_order;
        self.late += late;
        self.edge += edge;
        self.outside_membership += outside_membership;
        self.unknown += unknown;
        self.foreign += foreign;
        self.clock_backwards += clock_backwards;
        self.acked += acked;
        self.refused += refused;
        self.skipped += skipped;
        self.timed_out += timed_out;
        self.measured_delivered += measured_delivered;
        self.measured_published += measured_published;
        self.connects += connects;
        self.connect_failures += connect_failures;
        self.disconnects += disconnects;
        self.reconnects += reconnects;
        self.absent += absent;
        self.leaves += leaves;
        self.joins += joins;
        self.rosters += rosters;
        self.roster_bytes_max = self.roster_bytes_max.max(*roster_bytes_max);
        self.unconverged += unconverged;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.frames_in += frames_in;
        self.reads += reads;
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

//! What `/ready` and `/metrics` show.

use throng_engine::Now;

/// A snapshot of a node's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Redis works: the lease is renewed, the logs are read and appended to.
    pub is_up: bool,
    /// Since when it is up or down.
    pub since: Now,
    /// Why it is down, in a word; empty while it is up.
    pub why: &'static str,
    /// The id of this node while it holds its lease.
    pub node: Option<u16>,
    /// The current incarnation, or the last one.
    pub incarnation: String,
    /// All state that other nodes need was written.
    pub is_announced: bool,
    /// Other nodes that are alive.
    pub peers: u32,
    /// Age of the last log entry when it was read, in milliseconds.
    pub lag_ms: u64,
    /// Users in rooms that Redis does not show yet.
    pub dirty_presence: u64,
    /// Pairs of the original's map that Redis does not show yet.
    pub dirty_map: u64,
    /// Changes and messages that are not in the logs yet.
    pub unlogged: u64,
    /// Bytes of committed messages that wait to be appended.
    pub backlog_bytes: u64,
    /// Rooms and peers whose presence is being read.
    pub loading: u64,
    /// Dead incarnations that are being swept.
    pub sweeping: u64,
    pub counters: Counters,
}

/// Counters that never decrease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub entries_appended: u64,
    pub messages_appended: u64,
    pub entries_read: u64,
    /// Entries that were malformed, empty, too large or from a later version.
    pub entries_skipped: u64,
    /// Entries that came again, or after later ones.
    pub entries_late: u64,
    pub orders: u64,
    pub orders_broken: u64,
    pub orders_refused: u64,
    /// Outcomes of orders that were not in flight.
    pub outcomes_unexpected: u64,
    pub writes: u64,
    pub leases_lost: u64,
    pub resyncs: u64,
    pub swept_incarnations: u64,
    pub swept_items: u64,
    pub tips_polled: u64,
    /// Batches of messages that were announced as a tip only, because the backlog was full.
    pub backlog_full: u64,
    /// Publishes that were refused because too many waited for a number.
    pub numbering_full: u64,
    /// Times that a live node was not adopted because of `peers_max`.
    pub peers_full: u64,
    /// Controls that were dropped because of `controls_max`.
    pub controls_full: u64,
    /// Rooms that were read again because too many changes came during the read.
    pub loads_repeated: u64,
}

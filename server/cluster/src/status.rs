//! What `/ready` and the metrics say.

use throng_core::Now;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Redis does what it is asked: the lease is renewed, logs are read and appended to.
    pub is_up: bool,
    /// Since when it is up or down.
    pub since: Now,
    /// Why it is down, in a word; empty while it is up.
    pub why: &'static str,
    /// The id of this node while it holds its lease.
    pub node: Option<u16>,
    pub incarnation: String,
    /// All that others must know has been written.
    pub is_announced: bool,
    /// Other nodes that live.
    pub peers: u32,
    /// Milliseconds between an entry being appended and read, by the last one read.
    pub lag_ms: u64,
    /// State that Redis does not show yet: users in rooms, pairs of the map, things to tell.
    pub dirty_presence: u64,
    pub dirty_map: u64,
    pub untold: u64,
    /// Bytes of committed messages that wait to be appended.
    pub backlog_bytes: u64,
    /// Rooms of other nodes whose presence is being read.
    pub loading: u64,
    /// Dead incarnations whose leavings are being removed.
    pub sweeping: u64,
    pub counters: Counters,
}

/// Only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub entries_appended: u64,
    pub messages_appended: u64,
    pub entries_read: u64,
    /// Entries that could not be understood.
    pub entries_skipped: u64,
    /// Entries that came a second time, or after later ones.
    pub entries_late: u64,
    pub orders: u64,
    pub orders_broken: u64,
    pub orders_refused: u64,
    pub writes: u64,
    pub leases_lost: u64,
    pub resyncs: u64,
    pub swept_incarnations: u64,
    pub swept_items: u64,
    pub tips_polled: u64,
    /// Bounds that were hit: messages told as a tip only, publishes refused, nodes not taken in,
    /// controls forgotten, users whose presence came while too much was waiting.
    pub backlog_full: u64,
    pub numbering_full: u64,
    pub peers_full: u64,
    pub controls_full: u64,
    pub loads_repeated: u64,
}

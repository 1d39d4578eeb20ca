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

throng_tables::metrics! {
    /// What one node counts.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Counters: u64, "backplane_";

    [labelled]
    Counter events "events": "What the backplane has done. entries_skipped: unreadable log \
        entries; entries_late: entries that came twice or after later ones; resyncs: logs read \
        again after a gap; loads_repeated: presence of another node read again; \
        outcomes_unexpected: outcomes of orders that were not in flight, or that do not fit \
        theirs." {
        entries_appended: what = "entries_appended";
        messages_appended: what = "messages_appended";
        entries_read: what = "entries_read";
        entries_skipped: what = "entries_skipped";
        entries_late: what = "entries_late";
        writes: what = "writes";
        leases_lost: what = "leases_lost";
        resyncs: what = "resyncs";
        swept_incarnations: what = "swept_incarnations";
        swept_items: what = "swept";
        tips_polled: what = "tips_polled";
        loads_repeated: what = "loads_repeated";
        outcomes_unexpected: what = "outcomes_unexpected";
    }
    Counter orders "orders": "Orders to Redis and the database, by outcome." {
        orders_done: outcome = "done";
        orders_broken: outcome = "broken";
        orders_refused: outcome = "refused";
    }
    Counter bounds_hit "events": "Bounds of the backplane that were hit. backlog: messages of \
        which only the number was sent; numbering: publishes refused; peers: nodes not taken in; \
        controls: changes of users or tokens not sent." {
        backlog_full: bound = "backlog";
        numbering_full: bound = "numbering";
        peers_full: bound = "peers";
        controls_full: bound = "controls";
    }
}

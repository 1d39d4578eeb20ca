//! Counters that a shard publishes at the end of each turn and any thread may read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use throng_engine::{CounterTable, Counters};

throng_tables::metrics! {
    /// What the loop of one shard counts.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct RuntimeCounters: u64, "";

    Gauge pipes "connections": "Open WebSocket connections.";
    Gauge heads "connections": "Connections that have not sent their request head yet.";
    Counter connections_accepted "connections": "Connections accepted.";
    Counter connections_refused "connections": "Connections refused because of a limit.";
    Counter refusals_cut "connections": "Refused connections closed before their clients had time to \
        read why, because too many waited.";
    Counter connections_handed_over "connections": "Connections passed to the HTTP thread.";
    Counter heads_over_budget "connections": "Connections closed while their request head was arriving, \
        because all such heads together held too many bytes; the oldest first.";
    Counter handshake_timeouts "connections": "Connections closed because no request came in time.";
    Counter turns "turns": "Turns of the shard loops.";
    Counter flushes "sends": "Sends to WebSockets.";
    Counter bytes_out "bytes": "Bytes sent on WebSockets.";
    Counter logs_dropped "lines": "Log lines dropped because the log could not keep up.";
    Counter commands_dropped "commands": "Commands dropped because the thread that works on them \
        had ended; only while the server ends.";
    Counter signals_dropped "signals": "Signals dropped because the backplane had ended; only \
        while the server ends.";

    [labelled]
    Gauge lane_depth "items": "Items that wait in the lanes to a shard; store: commands the store \
        has not answered." {
        lane_depth_request: lane = "request";
        lane_depth_delivery: lane = "delivery";
        lane_depth_store: lane = "store";
    }
}

/// One shard's published numbers.
pub struct ShardStats {
    engine: Table,
    app: Table,
    runtime: Table,
    is_quiet: AtomicBool,
}

struct Table {
    names: &'static [&'static str],
    values: Box<[AtomicU64]>,
}

impl Table {
    fn new(names: &'static [&'static str]) -> Table {
        Table { names, values: names.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    fn publish(&self, counters: &impl CounterTable) {
        let mut published = self.values.iter();
        counters.read(|value| {
            let published = published.next().expect("a table has a place for each counter");
            published.store(value, Ordering::Relaxed);
        });
        assert!(published.next().is_none(), "a table has no other places");
    }

    fn values(&self) -> Vec<u64> {
        self.values.iter().map(|value| value.load(Ordering::Relaxed)).collect()
    }

    fn value(&self, name: &str) -> Option<u64> {
        let index = self.names.iter().position(|known| *known == name)?;
        Some(self.values[index].load(Ordering::Relaxed))
    }
}

impl ShardStats {
    /// `app`: the names of the application's counters.
    pub fn new(app: &'static [&'static str]) -> ShardStats {
        ShardStats {
            engine: Table::new(Counters::NAMES),
            app: Table::new(app),
            runtime: Table::new(RuntimeCounters::NAMES),
            is_quiet: AtomicBool::new(false),
        }
    }

    pub(crate) fn publish(
        &self,
        engine: &Counters,
        app: &impl CounterTable,
        runtime: &RuntimeCounters,
        is_quiet: bool,
    ) {
        self.engine.publish(engine);
        self.app.publish(app);
        self.runtime.publish(runtime);
        self.is_quiet.store(is_quiet, Ordering::Release);
    }

    /// No connection is open, and nothing waits in a queue: the shard may end.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Acquire)
    }

    /// The shard has made its first turn.
    pub fn has_started(&self) -> bool {
        self.value("turns").expect("the loop counts its turns") > 0
    }

    /// The published values of [`Counters`], in the order of its names.
    pub fn engine(&self) -> Vec<u64> {
        self.engine.values()
    }

    /// The published values of the application's counters, in the order of their names.
    pub fn app(&self) -> Vec<u64> {
        self.app.values()
    }

    /// The published values of [`RuntimeCounters`], in the order of its names.
    pub fn runtime(&self) -> Vec<u64> {
        self.runtime.values()
    }

    /// One counter of the engine, the application or the runtime by its name.
    pub fn value(&self, name: &str) -> Option<u64> {
        [&self.engine, &self.app, &self.runtime].into_iter().find_map(|table| table.value(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_counters_are_read_by_name() {
        let stats = ShardStats::new(&[]);
        let runtime = RuntimeCounters { turns: 3, bytes_out: 7, ..RuntimeCounters::default() };
        stats.runtime.publish(&runtime);
        assert_eq!((stats.value("turns"), stats.value("bytes_out")), (Some(3), Some(7)));
        assert_eq!(stats.value("no_such_counter"), None);
    }

    /// Once a short table lost the last counters in silence.
    #[test]
    #[should_panic(expected = "a table has a place for each counter")]
    fn a_table_that_is_too_short_is_a_bug() {
        Table::new(&["turns"]).publish(&RuntimeCounters::default());
    }
}

//! Counters that a shard publishes at the end of each turn and any thread may read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use throng_engine::{CounterTable, Counters};

throng_engine::counters! {
    /// What the runtime itself counts.
    RuntimeCounters:
    /// Gauge: WebSocket byte streams.
    pipes,
    /// Gauge: connections whose request head is awaited.
    heads,
    /// Connections accepted.
    accepted,
    /// Connections refused: too many, or the HTTP thread or a shard is overloaded.
    refused_connections,
    /// Connections handed over to the HTTP thread.
    handed_over,
    /// Connections whose request head took too long.
    head_timeouts,
    /// Turns of the loop.
    turns,
    /// Sends that took at least one byte.
    flushes,
    /// Bytes sent on WebSockets.
    bytes_out,
    /// Gauge: requests that wait in the lanes to this shard.
    lane_depth_request,
    /// Gauge: deliveries that wait in the lanes to this shard.
    lane_depth_delivery,
    /// Gauge: commands without a reply.
    lane_depth_store,
    /// Lines of the log dropped: the channel was full.
    logs_dropped,
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
            if let Some(published) = published.next() {
                published.store(value, Ordering::Relaxed);
            }
        });
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
        self.value("turns").is_some_and(|turns| turns > 0)
    }

    /// One counter of the engine, the application or the runtime by its name.
    pub fn value(&self, name: &str) -> Option<u64> {
        [&self.engine, &self.app, &self.runtime].into_iter().find_map(|table| table.value(name))
    }
}

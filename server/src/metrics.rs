//! What the server tells Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use throng_store::{LATENCY_BUCKETS_US, Store};

use crate::backplane::RedisStats;
use crate::presence::read;
use throng_chat::{Chat, Presence, UserId};
use throng_runtime::launch::Shards;
use throng_runtime::limiter::ConnectionLimiter;
use throng_runtime::stats::ShardStats;

/// Routes a client can make up are counted as one.
const ROUTES_MAX: usize = 256;

pub struct Metrics {
    registry: Registry,
    requests: Arc<Mutex<BTreeMap<(String, u16), u64>>>,
}

struct Source {
    shard_stats: Arc<[Arc<ShardStats>]>,
    limiter: Arc<ConnectionLimiter>,
    views: Arc<[Arc<Mutex<Presence>>]>,
    store: Store,
    backplane: Option<Arc<RedisStats>>,
    requests: Arc<Mutex<BTreeMap<(String, u16), u64>>>,
}

impl Metrics {
    pub fn new(shards: &Shards<Chat>, store: Store, backplane: Option<Arc<RedisStats>>) -> Metrics {
        let requests = Arc::default();
        let source = Source {
            shard_stats: Arc::clone(&shards.shard_stats),
            limiter: Arc::clone(&shards.limiter),
            views: Arc::clone(&shards.views),
            store,
            backplane,
            requests: Arc::clone(&requests),
        };
        let mut registry = Registry::with_prefix("throng");
        registry.register_collector(Box::new(source));
        Metrics { registry, requests }
    }

    pub fn count_request(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let route = if requests.len() < ROUTES_MAX { route } else { "other" };
        *requests.entry((route.to_owned(), status)).or_insert(0) += 1;
    }

    /// In Prometheus' own text form, which every scraper of the last ten years reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes all");
        as_prometheus(&text)
    }
}

/// OpenMetrics names a counter without `_total` in its comments and ends with a mark; the older form
/// does neither.
fn as_prometheus(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let comment = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP "));
        match comment.and_then(|rest| rest.split_once(' ')) {
            Some((name, rest)) if counters.contains(&name) => {
                let (kind, _) = line.split_at("# TYPE ".len());
                let _ = writeln!(text, "{kind}{name}_total {rest}");
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

type Labels = Vec<(&'static str, String)>;

impl Source {
    fn sum(&self, name: &str) -> u64 {
        self.shard_stats.iter().map(|stats| stats.value(name).unwrap_or(0)).sum()
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let e = &mut encoder;
        self.connections(e)?;
        self.chat(e)?;
        self.transport(e)?;
        self.store(e)?;
        if let Some(stats) = &self.backplane {
            backplane(e, stats)?;
        }
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.iter().map(|((route, status), count)| {
            (vec![("route", route.clone()), ("status", status.to_string())], *count)
        });
        counters(e, "http_requests", "HTTP requests by route and status", requests)?;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        gauges(e, "build_info", "Always 1; the build is in the labels", [(version, 1)])
    }
}

impl Source {
    fn connections(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let websockets = self.sum("pipes");
        let others = u64::from(self.limiter.connections()).saturating_sub(websockets);
        gauges(
            e,
            "connections",
            "Open TCP connections",
            [
                (vec![("transport", "websocket".into())], websockets),
                (vec![("transport", "http".into())], others),
            ],
        )?;
        let kinds = [
            ("websocket", "eio3", "ws_eio3"),
            ("websocket", "eio4", "ws_eio4"),
            ("polling", "eio3", "polling_eio3"),
            ("polling", "eio4", "polling_eio4"),
        ];
        let by_kind = |prefix: &str| {
            kinds.map(|(transport, protocol, suffix)| {
                let labels: Labels =
                    vec![("transport", transport.into()), ("protocol", protocol.into())];
                (labels, self.sum(&format!("{prefix}_{suffix}")))
            })
        };
        gauges(e, "sessions", "Open sessions", by_kind("sessions"))?;
        counters(e, "sessions_opened", "Sessions opened", by_kind("opened"))?;
        let closed = self.family("closed_", "reason");
        counters(e, "sessions_closed", "Sessions ended, by reason", closed)?;
        counter(e, "upgrades", "Sessions moved to a WebSocket", self.sum("upgrades"))?;
        counter(e, "handshakes_refused", "Handshakes refused", self.sum("handshakes_refused"))?;
        counter(e, "connections_accepted", "Connections accepted", self.sum("accepted"))?;
        let refused = self.sum("refused_connections");
        counter(e, "connections_refused", "Connections over a limit", refused)?;
        let late = self.sum("head_timeouts");
        counter(e, "handshake_timeouts", "Connections without a request in time", late)?;
        let handed = self.sum("handed_over");
        counter(e, "connections_handed_over", "Connections given to the HTTP thread", handed)
    }

    fn chat(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        gauge(e, "rooms", "Rooms known", self.sum("rooms"))?;
        gauge(e, "members", "Sessions in rooms", self.sum("members"))?;
        let users: BTreeSet<UserId> = read(&self.views, |view| view.users().collect::<Vec<_>>())
            .into_iter()
            .flatten()
            .collect();
        let users = users.len() as u64;
        gauge(e, "users_online", "Users present in one room or more", users)?;
        counter(e, "joins", "Sessions that entered a room", self.sum("joins"))?;
        counter(e, "leaves", "Sessions that left a room", self.sum("leaves"))?;
        counter(e, "events_in", "Events that clients sent", self.sum("events_in"))?;
        counter(e, "messages_in", "Messages on their way to a room", self.sum("messages_in"))?;
        counter(e, "deliveries", "Messages handed to member sessions", self.sum("deliveries"))?;
        counter(e, "events_out", "Events sent", self.sum("events_out"))?;
        counter(e, "shed", "Frames dropped that may be dropped", self.sum("shed"))?;
        counter(e, "evictions", "Clients closed by a limit", self.sum("evictions"))?;
        let broadcasts = self.sum("roster_broadcasts");
        counter(e, "roster_broadcasts", "Rosters and presence changes sent to rooms", broadcasts)?;
        counter(e, "roster_bytes", "Bytes of them, recipients included", self.sum("roster_bytes"))?;
        let news = self.sum("roster_news_bytes");
        counter(e, "roster_news_bytes", "Those of them that each member hears once", news)?;
        let put_off = self.sum("rosters_put_off");
        counter(e, "rosters_put_off", "Rosters left to a later turn by a full one", put_off)?;
        counters(e, "refusals", "Requests refused, by code", self.family("refused_", "code"))
    }

    fn transport(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counter(e, "turns", "Turns of the shard loops", self.sum("turns"))?;
        counter(e, "flushes", "Sends", self.sum("flushes"))?;
        counter(e, "bytes_in", "Bytes received on WebSockets", self.sum("bytes_in"))?;
        counter(e, "bytes_out", "Bytes sent on WebSockets", self.sum("bytes_out"))?;
        let depth = self.family("lane_depth_", "lane");
        gauges(e, "lane_depth", "Items that wait in lanes", depth)?;
        let refusals = self.family("lane_refusals_", "lane");
        counters(e, "lane_refusals", "Requests refused because a lane was full", refusals)?;
        counter(e, "logs_dropped", "Log lines dropped", self.sum("logs_dropped"))
    }

    fn store(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = self.store.metrics();
        counter(e, "store_commits", "Transactions committed", metrics.commits.load(Relaxed))?;
        let failures = metrics.commit_failures.load(Relaxed);
        counter(e, "store_commit_failures", "Transactions that failed", failures)?;
        let retries = metrics.commit_retries.load(Relaxed);
        counter(e, "store_commit_retries", "Transactions tried again", retries)?;
        let unanswered = metrics.unanswered.load(Relaxed);
        counter(e, "store_unanswered", "Calls the database did not answer in time", unanswered)?;
        let depth = self.store.commit_queue_depth() as u64;
        gauge(e, "store_queue_depth", "Appends and saves that wait for a commit", depth)?;
        let latency = &metrics.commit_latency;
        let bounds = LATENCY_BUCKETS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets()).collect();
        let mut metric = e.encode_descriptor(
            "store_commit_seconds",
            "Time of a transaction",
            None,
            MetricType::Histogram,
        )?;
        let sum_s = latency.sum_us() as f64 / 1e6;
        metric.encode_histogram::<NoLabelSet>(sum_s, latency.count(), &buckets, None)
    }

    /// All core or shell counters whose name begins with `prefix`, labelled by the rest of it.
    fn family(&self, prefix: &str, label: &'static str) -> Vec<(Labels, u64)> {
        use throng_engine::CounterTable as _;
        let names = throng_engine::Counters::NAMES
            .iter()
            .chain(throng_chat::Counters::NAMES)
            .chain(throng_runtime::stats::RuntimeCounters::NAMES);
        let family = names.filter_map(|name| {
            let rest = name.strip_prefix(prefix).filter(|_| *name != "refused_connections")?;
            Some((vec![(label, rest.to_owned())], self.sum(name)))
        });
        family.collect()
    }
}

fn backplane(e: &mut DescriptorEncoder<'_>, stats: &RedisStats) -> fmt::Result {
    let s = stats.status();
    let c = s.counters;
    gauge(e, "backplane_up", "1 while Redis does what it is asked", u64::from(s.is_up))?;
    gauge(e, "backplane_lease", "1 while this node holds its lease", u64::from(s.node.is_some()))?;
    gauge(e, "backplane_peers", "Other nodes that live", u64::from(s.peers))?;
    gauge(e, "backplane_lag_ms", "Age of the last log entry when it was read", s.lag_ms)?;
    let waiting = [
        ("presence", s.dirty_presence),
        ("map", s.dirty_map),
        ("telling", s.unlogged),
        ("loading", s.loading),
        ("sweeping", s.sweeping),
    ];
    let waiting = waiting.map(|(what, count)| (vec![("what", what.to_owned())], count));
    gauges(e, "backplane_waiting", "Facts that Redis does not show yet, or that we lack", waiting)?;
    let help = "Bytes of messages that wait to be told to other nodes";
    gauge(e, "backplane_backlog_bytes", help, s.backlog_bytes)?;
    let counted = [
        ("entries_appended", c.entries_appended),
        ("messages_appended", c.messages_appended),
        ("entries_read", c.entries_read),
        ("entries_skipped", c.entries_skipped),
        ("entries_late", c.entries_late),
        ("writes", c.writes),
        ("leases_lost", c.leases_lost),
        ("resyncs", c.resyncs),
        ("swept", c.swept_items),
        ("tips_polled", c.tips_polled),
        ("outcomes_unexpected", c.outcomes_unexpected),
    ];
    let counted = counted.map(|(what, count)| (vec![("what", what.to_owned())], count));
    counters(e, "backplane_events", "What the backplane has done", counted)?;
    let orders = [
        ("done", c.orders - c.orders_broken - c.orders_refused),
        ("broken", c.orders_broken),
        ("refused", c.orders_refused),
    ];
    let orders = orders.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count));
    counters(e, "backplane_orders", "Orders to Redis and the database", orders)?;
    let bounds = [
        ("backlog", c.backlog_full),
        ("numbering", c.numbering_full),
        ("peers", c.peers_full),
        ("controls", c.controls_full),
    ];
    let bounds = bounds.map(|(bound, count)| (vec![("bound", bound.to_owned())], count));
    counters(e, "backplane_bounds_hit", "Bounds of the backplane that were hit", bounds)?;

    let adapter = &stats.adapter;
    let is_subscribed = u64::from(adapter.is_subscribed());
    gauge(e, "adapter_subscribed", "1 while other programs are listened to", is_subscribed)?;
    counter(e, "adapter_events_in", "Events of other programs taken", adapter.emits())?;
    let skipped = adapter.skipped().into_iter();
    let skipped = skipped.map(|(why, count)| (vec![("why", why.to_owned())], count));
    counters(e, "adapter_skipped", "Publications not passed on", skipped)?;
    let help = "Messages published for other programs";
    counter(e, "adapter_published", help, adapter.published())?;
    let help = "Messages that could not be published for other programs";
    counter(e, "adapter_unpublished", help, adapter.unpublished())
}

fn counter(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = e.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(metric)
}

fn gauge(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = e.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(as_gauge(value)).encode(metric)
}

fn counters(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    family: impl IntoIterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut metric = e.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in family {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    family: impl IntoIterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut metric = e.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in family {
        ConstGauge::new(as_gauge(value)).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_named_alike_in_comments_and_samples() {
        let open_metrics = "# HELP throng_joins Joins\n# TYPE throng_joins counter\n\
             throng_joins_total 3\n# HELP throng_rooms R\n# TYPE throng_rooms gauge\n\
             throng_rooms 2\n# EOF\n";
        let expected = "# HELP throng_joins_total Joins\n# TYPE throng_joins_total counter\n\
             throng_joins_total 3\n# HELP throng_rooms R\n# TYPE throng_rooms gauge\n\
             throng_rooms 2\n";
        assert_eq!(super::as_prometheus(open_metrics), expected);
    }
}

//! The page `/metrics`: every table of metrics, in the text format of Prometheus.
//!
//! A metric is declared once, in the `metrics!` table of the code that counts it.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use throng_chat::{Chat, Quotas};
use throng_health::State;
use throng_rest::RestCounters;
use throng_runtime::http::HttpCounters;
use throng_runtime::launch::Shards;
use throng_runtime::limiter::ConnectionLimiter;
use throng_runtime::refusals::Refusals;
use throng_runtime::stats::{RuntimeCounters, ShardStats};
use throng_store::{COMMIT_SECONDS, LATENCY_BUCKETS_US, LatencyHistogram, Store, StoreCounters};
use throng_tables::metrics::{Family, Kind, Series, Table};

use crate::backplane::{NodeGauges, RedisStats};
use crate::config::docs::REGENERATE;
use crate::presence::Views;

/// Routes a client can make up are counted as one.
const ROUTES_MAX: usize = 256;

throng_tables::metrics! {
    /// What is looked up when `/metrics` is asked.
    struct ProcessGauges: u64, "";

    Gauge users_online "users": "Users present in at least one room.";
    Gauge connections_max "connections": "Connections that may be open at once: limits.connections_max, or \
        what the limit of open files leaves if that is less.";
    Gauge store_queue_depth "jobs": "Appends and saves that wait for a commit.";
    Counter quotas_displaced "users": "Users whose use of a rate was forgotten too early, because others \
        with similar numbers had used more.";
    Gauge ready "": "1 if `/ready` answers 200, else 0.";

    [labelled]
    Gauge connections "connections": "Open TCP connections." {
        connections_websocket: transport = "websocket";
        connections_http: transport = "http";
    }
    Gauge dependency_up "": "1 while it works, else 0. store: the database takes writes. disk: the \
        disk takes files, and enough of it is free. lock: no other process may open the database \
        file. shards: every shard turns. redis: Redis works; 0 without Redis." {
        dependency_up_store: dependency = "store";
        dependency_up_disk: dependency = "disk";
        dependency_up_lock: dependency = "lock";
        dependency_up_shards: dependency = "shards";
        dependency_up_redis: dependency = "redis";
    }
    Gauge build_info "": "Always 1; the label is the version." {
        build_info: version = env!("CARGO_PKG_VERSION");
    }
}

/// The only family whose labels depend on what clients ask.
const HTTP_REQUESTS: Family = Family {
    name: "http_requests",
    kind: Kind::Counter,
    unit: "requests",
    help: "HTTP requests answered, by route and status.",
    series: Series::Dynamic(&["route", "status"]),
};

/// What is about one thing: its families, and how their values are written.
struct Part {
    title: &'static str,
    families: &'static [Family],
    write: fn(&Source, &[Family], &mut DescriptorEncoder<'_>) -> fmt::Result,
}

/// The whole page, in its order.
const PAGE: &[Part] = &[
    Part {
        title: "Process",
        families: ProcessGauges::FAMILIES,
        write: |source, families, e| table(e, families, &source.process().values()),
    },
    Part {
        title: "Sessions",
        families: throng_engine::Counters::FAMILIES,
        write: |source, families, e| table(e, families, &source.sum(ShardStats::engine)),
    },
    Part {
        title: "Handshakes",
        families: Refusals::FAMILIES,
        write: |source, families, e| table(e, families, &source.refusals.values()),
    },
    Part {
        title: "Rooms and messages",
        families: throng_chat::Counters::FAMILIES,
        write: |source, families, e| table(e, families, &source.sum(ShardStats::app)),
    },
    Part {
        title: "Shard loops and connections",
        families: RuntimeCounters::FAMILIES,
        write: |source, families, e| table(e, families, &source.sum(ShardStats::runtime)),
    },
    Part {
        title: "HTTP thread",
        families: &[HTTP_REQUESTS],
        write: |source, _, e| source.write_requests(e),
    },
    Part {
        title: "HTTP thread, ends of connections",
        families: HttpCounters::FAMILIES,
        write: |source, families, e| table(e, families, &source.http.values()),
    },
    Part {
        title: "API",
        families: RestCounters::FAMILIES,
        write: |source, families, e| table(e, families, &source.rest.values()),
    },
    Part {
        title: "Store",
        families: StoreCounters::FAMILIES,
        write: |source, families, e| table(e, families, &source.store.metrics().counters.values()),
    },
    Part {
        title: "Store, time of a commit",
        families: &[COMMIT_SECONDS],
        write: |source, _, e| histogram(e, &COMMIT_SECONDS, &source.store.metrics().commit_latency),
    },
    Part {
        title: "This node among others (with Redis)",
        families: NodeGauges::FAMILIES,
        write: |source, families, e| {
            source.backplane.as_ref().map_or(Ok(()), |stats| {
                table(e, families, &NodeGauges::from(&stats.status()).values())
            })
        },
    },
    Part {
        title: "Log and orders (with Redis)",
        families: throng_cluster::Counters::FAMILIES,
        write: |source, families, e| {
            source
                .backplane
                .as_ref()
                .map_or(Ok(()), |stats| table(e, families, &stats.status().counters.values()))
        },
    },
    Part {
        title: "Other programs (with Redis)",
        families: throng_redis::counters::Counters::FAMILIES,
        write: |source, families, e| {
            source
                .backplane
                .as_ref()
                .map_or(Ok(()), |stats| table(e, families, &stats.adapter.values()))
        },
    },
];

/// Every family, in the order of the page.
pub fn families() -> impl Iterator<Item = &'static Family> {
    PAGE.iter().flat_map(|part| part.families)
}

/// The page `metrics.md`.
pub fn markdown() -> String {
    let mut page = format!(
        "# Metrics\n\n\
         Made by `{REGENERATE}` from the tables in the source; do not edit.\n\n\
         `GET /metrics` answers in the text format of Prometheus. Counters begin at 0 with the process.\n"
    );
    for Part { title, families, .. } in PAGE {
        let _ = write!(
            page,
            "\n## {title}\n\n| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n"
        );
        for family in *families {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                family.exported(),
                family.kind.name(),
                family.unit,
                labels(family),
                family.help
            );
        }
    }
    page
}

/// `reason`: its values.
fn labels(family: &Family) -> String {
    let name = |(index, label): (usize, &'static str)| {
        let Series::Fixed(series) = family.series else { return format!("`{label}`") };
        let mut values: Vec<String> = Vec::new();
        for (_, value) in series.iter().map(|labels| labels[index]) {
            let value =
                if label == "version" { "the version".into() } else { format!("`{value}`") };
            if !values.contains(&value) {
                values.push(value);
            }
        }
        format!("`{label}`: {}", values.join(", "))
    };
    let labels: Vec<String> = family.labels().into_iter().enumerate().map(name).collect();
    labels.join("; ")
}

pub struct Metrics {
    /// For the HTTP thread to count in.
    pub http: Arc<HttpCounters>,
    registry: Registry,
    requests: Arc<Mutex<BTreeMap<(String, u16), u64>>>,
}

struct Source {
    shard_stats: Arc<[Arc<ShardStats>]>,
    limiter: Arc<ConnectionLimiter>,
    views: Views,
    store: Store,
    backplane: Option<Arc<RedisStats>>,
    quotas: Arc<Quotas>,
    rest: Arc<RestCounters>,
    refusals: Arc<Refusals>,
    requests: Arc<Mutex<BTreeMap<(String, u16), u64>>>,
    http: Arc<HttpCounters>,
}

impl Metrics {
    pub(crate) fn new(
        shards: &Shards<Chat>,
        views: Views,
        store: Store,
        backplane: Option<Arc<RedisStats>>,
        quotas: Arc<Quotas>,
        rest: Arc<RestCounters>,
        refusals: Arc<Refusals>,
    ) -> Metrics {
        let requests = Arc::default();
        let http = Arc::default();
        let source = Source {
            shard_stats: Arc::clone(&shards.shard_stats),
            limiter: Arc::clone(&shards.limiter),
            views,
            store,
            backplane,
            quotas,
            rest,
            refusals,
            requests: Arc::clone(&requests),
            http: Arc::clone(&http),
        };
        let mut registry = Registry::with_prefix("throng");
        registry.register_collector(Box::new(source));
        Metrics { http, registry, requests }
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

impl Source {
    /// The sum over all shards.
    fn sum(&self, values: impl Fn(&ShardStats) -> Vec<u64>) -> Vec<u64> {
        let mut sum = Vec::new();
        for stats in self.shard_stats.iter() {
            let values = values(stats);
            sum.resize(values.len(), 0);
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += value;
            }
        }
        sum
    }

    fn process(&self) -> ProcessGauges {
        let pipes =
            |stats: &Arc<ShardStats>| stats.value("pipes").expect("the loop counts its WebSockets");
        let websockets = self.shard_stats.iter().map(pipes).sum();
        let health = &self.store.options().health;
        let is_up = |name| u64::from(health.state(name) == Some(State::Ok));
        ProcessGauges {
            users_online: self.views.users() as u64,
            store_queue_depth: self.store.commit_queue_depth() as u64,
            connections_max: self.limiter.connections_max().into(),
            connections_websocket: websockets,
            connections_http: u64::from(self.limiter.connections()).saturating_sub(websockets),
            quotas_displaced: self.quotas.displaced(),
            ready: u64::from(health.is_ready()),
            dependency_up_store: is_up("store"),
            dependency_up_disk: is_up("disk"),
            dependency_up_lock: is_up("lock"),
            dependency_up_shards: is_up("shards"),
            dependency_up_redis: is_up("redis"),
            build_info: 1,
        }
    }

    fn write_requests(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metric = descriptor(e, &HTTP_REQUESTS)?;
        for ((route, status), count) in requests.iter() {
            let labels = [("route", route.clone()), ("status", status.to_string())];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        PAGE.iter().try_for_each(|part| (part.write)(self, part.families, &mut encoder))
    }
}

/// Writes the families of one table, with a value for each of its series.
fn table(e: &mut DescriptorEncoder<'_>, families: &[Family], values: &[u64]) -> fmt::Result {
    let mut values = values.iter().copied();
    for family in families {
        let Series::Fixed(series) = family.series else { continue };
        let mut metric = descriptor(e, family)?;
        for labels in series {
            let value = values.next().expect("a value for each series");
            if labels.is_empty() {
                write_value(family.kind, value, metric)?;
                break;
            }
            write_value(family.kind, value, metric.encode_family(labels)?)?;
        }
    }
    Ok(())
}

fn descriptor<'e>(
    e: &'e mut DescriptorEncoder<'_>,
    family: &Family,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    e.encode_descriptor(family.name, family.help, None, kind)
}

fn write_value(kind: Kind, value: u64, metric: MetricEncoder<'_>) -> fmt::Result {
    match kind {
        Kind::Counter => ConstCounter::new(value).encode(metric),
        Kind::Gauge | Kind::Histogram => ConstGauge::new(as_gauge(value)).encode(metric),
    }
}

fn histogram(
    e: &mut DescriptorEncoder<'_>,
    family: &Family,
    latency: &LatencyHistogram,
) -> fmt::Result {
    let bounds = LATENCY_BUCKETS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets()).collect();
    let sum_s = latency.sum_us() as f64 / 1e6;
    let mut metric = descriptor(e, family)?;
    metric.encode_histogram::<NoLabelSet>(sum_s, latency.count(), &buckets, None)
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

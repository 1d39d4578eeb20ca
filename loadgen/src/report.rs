//! The result of a run, as written by `--json`. The README documents every field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock_check::ClockOffset;
use crate::order::Mismatch;
use crate::samples::{METRICS, Metric, Samples, Sparse, sparse};
use crate::scenario::{Protocol, Scenario};
use crate::slo::Outcome;
use crate::stats::Counters;

pub const SCHEMA: &str = "throng-loadgen/1";

/// What stopped a run whose server went away.
pub const SERVER_CLOSED: &str = "server closed every connection";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Percentiles {
    #[must_use]
    pub fn of(samples: &Samples, metric: Metric) -> Self {
        let histogram = samples.of(metric);
        let at = |quantile| histogram.value_at_quantile(quantile) as f64;
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            min: histogram.min() as f64,
            mean: (histogram.mean() * 10.0).round() / 10.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64,
        }
    }
}

/// What the server process used; present with `--server-pid`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    pub cpu_us_per_delivery: Option<f64>,
    /// Growth of resident memory from before the first connection to after the last join, per client.
    pub rss_per_connection_bytes: Option<f64>,
    pub rss_bytes: Option<u64>,
    /// Share of one core over the measured time.
    pub cpu_share: Option<f64>,
    /// How fast resident memory grew over the measured time: the slope of a line fitted to one reading a
    /// second, ten at least.
    #[serde(default)]
    pub rss_slope_bytes_per_s: Option<f64>,
    /// The standard error of that slope.
    #[serde(default)]
    pub rss_slope_error_bytes_per_s: Option<f64>,
    /// CPU spent from the first connection until all have joined and rosters are right, per client.
    pub cpu_us_per_connect: Option<f64>,
    /// Growth of the server's own delivery counter over the run; present with `--server-metrics`.
    pub counted_deliveries: Option<u64>,
}

/// The generator's own load over the measured time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    pub threads: Vec<ThreadLoad>,
    pub cpu_us_per_delivery: f64,
    pub reads: u64,
    pub bytes_per_read: f64,
    /// Deliveries per second that all threads together can take in full reads from a loopback socket: the median
    /// of five readings of one thread before the run, times the threads.
    #[serde(default)]
    pub ceiling_deliveries_per_s: Option<f64>,
    /// Half the range of these readings, as a share of their median.
    #[serde(default)]
    pub ceiling_spread: Option<f64>,
    /// The busiest second's deliveries as a share of that.
    #[serde(default)]
    pub ceiling_share: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadLoad {
    /// Share of the time on a core.
    pub busy: f64,
    /// Share of the time runnable without a core.
    pub starved: f64,
    /// Share of the time on a core from the first connection to the last join.
    #[serde(default)]
    pub connecting: f64,
}

/// One second of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    pub second: u64,
    pub phase: String,
    pub published: u64,
    pub delivered: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

/// One repetition of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    pub run_id: String,
    pub finished_unix_s: u64,
    pub void_reasons: Vec<String>,
}

/// A figure over the repetitions of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// In the order of the repetitions.
    pub values: Vec<f64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub schema: String,
    /// Different for every run.
    pub run_id: String,
    /// The runs that were merged into this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Seconds since 1970 when the first message was due; 0: none ever was.
    pub started_unix_s: f64,
    /// With `--start-at`: when it was to be due, by how much that was past when all clients had joined,
    /// and how far this machine's clock was from the target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at_unix_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_start_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
    pub version: String,
    pub name: String,
    /// Seconds since 1970 at the end of the run.
    pub finished_unix_s: u64,
    pub machine: String,
    pub scenario: Scenario,
    /// Why the numbers cannot be trusted; empty: they can.
    pub void_reasons: Vec<String>,
    pub void: bool,
    pub stopped_by: String,
    pub clients: u64,
    pub joined: u64,
    pub connects_per_s: f64,
    pub measured_s: f64,
    pub publishes_per_s: f64,
    pub deliveries_per_s: f64,
    /// `delivered / expected`; none when nothing was owed.
    pub completeness: Option<f64>,
    #[serde(flatten)]
    pub counters: Counters,
    /// The events file names rosters: without any the run is void.
    pub has_rosters: bool,
    /// The first violations of the order of each room.
    #[serde(default)]
    pub order_mismatches: Vec<Mismatch>,
    pub errors: BTreeMap<String, u64>,
    /// Delivery latency; the others are in `latencies_us`.
    pub latency_us: Percentiles,
    pub latencies_us: BTreeMap<String, Percentiles>,
    pub server: Server,
    pub generator: Generator,
    pub slo: Vec<Outcome>,
    /// With `--repeat`: the runs that this report adds up, and every figure over them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repetitions: Vec<Repetition>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Spread>,
    pub seconds: Vec<Second>,
    /// `[[µs, count], …]` per metric: enough to merge runs and to draw them.
    pub histograms: BTreeMap<String, Sparse>,
}

impl Report {
    /// Fills in what follows from the samples.
    pub fn set_samples(&mut self, samples: &Samples) {
        self.latency_us = Percentiles::of(samples, Metric::Delivery);
        for (metric, name) in METRICS {
            if !samples.of(metric).is_empty() {
                self.latencies_us.insert(name.to_owned(), Percentiles::of(samples, metric));
                self.histograms.insert(name.to_owned(), sparse(samples.of(metric)));
            }
        }
    }

    /// The samples, rebuilt from the stored buckets.
    #[must_use]
    pub fn samples(&self) -> Samples {
        let mut samples = Samples::default();
        for (metric, name) in METRICS {
            if let Some(buckets) = self.histograms.get(name) {
                samples.add(&[(metric, buckets.clone())]);
            }
        }
        samples
    }

    pub fn set_completeness(&mut self) {
        let Counters { delivered, expected, .. } = self.counters;
        self.completeness = (expected > 0).then(|| delivered as f64 / expected as f64);
    }

    /// Acks that were asked for and never came, or came after the run.
    #[must_use]
    pub fn unacked(&self) -> u64 {
        if !self.scenario.load.acks || self.scenario.protocol == Protocol::Raw {
            return 0;
        }
        let Counters { published, acked, refused, .. } = self.counters;
        published.saturating_sub(acked + refused)
    }

    /// A number by its SLO name: `delivery.p99`, `completeness`, `errors`, `server.cpu_us_per_delivery`, ….
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        if let Some((histogram, figure)) = name.split_once('.') {
            if let Some(percentiles) = self.latencies_us.get(histogram) {
                return field(percentiles, figure);
            }
            return match histogram {
                "latency_us" if self.latency_us.count > 0 => field(&self.latency_us, figure),
                "server" => field(&self.server, figure),
                "generator" => field(&self.generator, figure),
                _ => None,
            };
        }
        if name == "completeness" {
            return self.completeness;
        }
        if name == "errors" {
            return Some(self.errors.values().sum::<u64>() as f64);
        }
        let own = [
            ("deliveries_per_s", self.deliveries_per_s),
            ("publishes_per_s", self.publishes_per_s),
            ("connects_per_s", self.connects_per_s),
            ("joined", self.joined as f64),
        ];
        own.iter()
            .find_map(|(own, value)| (*own == name).then_some(*value))
            .or_else(|| field(&self.counters, name))
    }
}

fn field(of: &impl Serialize, name: &str) -> Option<f64> {
    serde_json::to_value(of).ok()?.get(name)?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    #[test]
    fn every_field_that_is_a_number_is_a_figure_and_every_figure_is_a_field() {
        let keys = |of: &dyn Fn() -> serde_json::Value| -> Vec<String> {
            let serde_json::Value::Object(fields) = of() else { unreachable!("a struct") };
            fields.into_iter().map(|(key, _)| key).filter(|key| key != "threads").collect()
        };
        let value = |of: serde_json::Result<serde_json::Value>| of.unwrap();
        let of_server = keys(&|| value(serde_json::to_value(Server::default())));
        let of_generator = keys(&|| value(serde_json::to_value(Generator::default())));
        let of_latency = keys(&|| value(serde_json::to_value(Percentiles::default())));
        for (found, known) in [
            (of_server, &figures::OF_SERVER[..]),
            (of_generator, &figures::OF_GENERATOR),
            (of_latency, &figures::OF_LATENCY),
        ] {
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            assert_eq!(
                sorted(found),
                sorted(known.iter().map(|name| (*name).to_owned()).collect())
            );
        }
        let report = Report { completeness: Some(1.0), ..Report::default() };
        for name in figures::OF_RUN.iter().chain(Counters::NAMES) {
            assert!(report.metric(name).is_some(), "{name}");
        }
    }

    #[test]
    fn metrics_are_found_by_their_slo_names() {
        let mut samples = Samples::default();
        for us in 1..=100 {
            samples.record_ns(Metric::Ack, us * 1_000);
        }
        let mut report = Report::default();
        report.set_samples(&samples);
        report.counters.out_of_order = 7;
        report.errors.insert("closed".into(), 2);
        report.server.cpu_us_per_delivery = Some(0.11);
        assert_eq!(report.metric("ack.p50"), Some(50.0));
        assert_eq!(report.metric("out_of_order"), Some(7.0));
        assert_eq!(report.metric("errors"), Some(2.0));
        assert_eq!(report.metric("server.cpu_us_per_delivery"), Some(0.11));
        assert_eq!(report.metric("delivery.p99"), None);
        assert_eq!(report.metric("nonsense"), None);
    }
}

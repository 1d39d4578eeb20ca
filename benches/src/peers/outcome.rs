//! Repetitions and their medians.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use throng_loadgen::report::Report;
use throng_loadgen::scenario::Mode;

use crate::median::median;
use crate::target::Target;

pub const SCHEMA: &str = "throng-peers/2";

/// A number of a run that is published.
pub const FIGURES: [&str; 11] = [
    "deliveries_per_s",
    "latency_us.p50",
    "latency_us.p99",
    "latency_us.max",
    "completeness",
    "server.cpu_us_per_delivery",
    "server.rss_per_connection_bytes",
    "server.cpu_us_per_connect",
    "connects_per_s",
    "generator.cpu_us_per_delivery",
    "bytes_per_frame",
];

/// Figures that a saturated generator does not distort: it slows a closed loop down, and the server's
/// CPU time is still divided by what was delivered in it.
const UNMOVED_BY_SATURATION: [&str; 5] = [
    "completeness",
    "server.cpu_us_per_delivery",
    "server.rss_per_connection_bytes",
    "server.cpu_us_per_connect",
    "bytes_per_frame",
];

const SATURATED: &str = "generator_saturated";
/// A generator that was on its core for more of the connecting time set the pace itself.
const CONNECTING_MAX: f64 = 0.97;

/// One repetition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub figures: BTreeMap<String, f64>,
    /// Messages were due at fixed times, independent of earlier messages.
    #[serde(default)]
    pub is_open_loop: bool,
    pub generator_busy: f64,
    /// Busy while the clients connected.
    #[serde(default)]
    pub generator_connecting: f64,
    pub void_reasons: Vec<String>,
    pub errors: BTreeMap<String, u64>,
    /// The server's own count, where it has one, agrees with what was delivered.
    pub counts_agree: Option<bool>,
}

impl Run {
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let counters = &report.counters;
        let bytes_per_frame = counters.bytes_in as f64 / counters.frames_in.max(1) as f64;
        let value = |name: &str| match name {
            "bytes_per_frame" => Some(bytes_per_frame).filter(|_| counters.delivered > 0),
            _ => report.metric(name),
        };
        let figures = FIGURES.iter().filter_map(|name| {
            Some(((*name).to_owned(), value(name)?)).filter(|(_, value)| value.is_finite())
        });
        let threads = || report.generator.threads.iter();
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        Self {
            figures: figures.collect(),
            is_open_loop: report.scenario.load.mode == Mode::Open,
            generator_busy: most(&mut threads().map(|thread| thread.busy)),
            generator_connecting: most(&mut threads().map(|thread| thread.connecting)),
            void_reasons: report.void_reasons.clone(),
            errors: report.errors.clone(),
            counts_agree: report
                .server
                .counted_deliveries
                .map(|counted| counted == counters.delivered + counters.edge + counters.duplicated),
        }
    }
}

/// How far a figure can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    Valid,
    /// The generator was full, and that can only have made the figure worse: it holds a rate down,
    /// and in an open loop its own queue is part of every latency.
    Bound,
    Void,
}

fn is_latency(figure: &str) -> bool {
    figure.starts_with("latency_us.")
}

impl Run {
    /// How far `figure` of this run can be trusted.
    #[must_use]
    pub fn trust(&self, figure: &str) -> Trust {
        if figure == "connects_per_s" && self.generator_connecting > CONNECTING_MAX {
            return Trust::Bound;
        }
        if self.void_reasons.is_empty() {
            return Trust::Valid;
        }
        let is_saturated_only = self.void_reasons.iter().all(|why| why.starts_with(SATURATED));
        match figure {
            _ if !is_saturated_only => Trust::Void,
            "deliveries_per_s" => Trust::Bound,
            _ if self.is_open_loop && is_latency(figure) => Trust::Bound,
            _ if UNMOVED_BY_SATURATION.contains(&figure) => Trust::Valid,
            _ => Trust::Void,
        }
    }
}

/// All repetitions of one cell on one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    pub cell: String,
    pub server: String,
    pub is_socket_io: bool,
    pub runs: Vec<Run>,
    /// Why there are no runs, or fewer than there should be.
    pub failures: Vec<String>,
}

/// Median with the extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    /// That of the most trusted repetitions; the others are left out.
    pub trust: Trust,
}

impl Spread {
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.trust == Trust::Void
    }

    /// What stands before the number: that the server may do better.
    #[must_use]
    pub fn sign(&self, figure: &str) -> &'static str {
        match self.trust {
            Trust::Bound if is_latency(figure) => "≤ ",
            Trust::Bound => "≥ ",
            Trust::Valid | Trust::Void => "",
        }
    }
}

impl Entry {
    /// The spread over the valid repetitions; if there are none, over those that bound the figure,
    /// or else over the void ones.
    #[must_use]
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        let trust = self.runs.iter().map(|run| run.trust(figure)).min()?;
        let mut values: Vec<f64> = self
            .runs
            .iter()
            .filter(|run| run.trust(figure) == trust)
            .filter_map(|run| run.figures.get(figure).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        Some(Spread { median: median(&values)?, low, high, trust })
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub schema: String,
    pub date: String,
    pub machine: String,
    pub command: String,
    pub repetitions: u32,
    pub duration_s: f64,
    pub warmup_s: f64,
    pub versions: BTreeMap<String, String>,
    pub targets: Vec<Target>,
    pub entries: Vec<Entry>,
}

impl Results {
    #[must_use]
    pub fn entry(&self, cell: &str, server: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.cell == cell && entry.server == server)
    }

    /// In the order first met.
    #[must_use]
    pub fn cells(&self) -> Vec<&str> {
        distinct(self.entries.iter().map(|entry| entry.cell.as_str()))
    }

    #[must_use]
    pub fn servers(&self) -> Vec<&str> {
        distinct(self.entries.iter().map(|entry| entry.server.as_str()))
    }
}

fn distinct<'t>(names: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: f64, void: bool) -> Run {
        Run {
            figures: BTreeMap::from([("deliveries_per_s".to_owned(), value)]),
            void_reasons: if void { vec!["generator_starved".into()] } else { Vec::new() },
            ..Run::default()
        }
    }

    #[test]
    fn void_repetitions_do_not_count_unless_there_is_nothing_else() {
        let mut entry = Entry {
            runs: vec![run(1.0, false), run(9.0, true), run(3.0, false)],
            ..Entry::default()
        };
        let want = Spread { median: 2.0, low: 1.0, high: 3.0, trust: Trust::Valid };
        assert_eq!(entry.spread("deliveries_per_s"), Some(want));
        entry.runs.retain(|run| !run.void_reasons.is_empty());
        let want = Spread { median: 9.0, low: 9.0, high: 9.0, trust: Trust::Void };
        assert_eq!(entry.spread("deliveries_per_s"), Some(want));
        assert_eq!(entry.spread("latency_us.p99"), None);
    }

    #[test]
    fn a_saturated_generator_bounds_a_rate_and_leaves_the_cpu_alone() {
        let saturated =
            Run { void_reasons: vec!["generator_saturated: x".into()], ..Run::default() };
        assert_eq!(saturated.trust("deliveries_per_s"), Trust::Bound);
        assert_eq!(saturated.trust("server.cpu_us_per_delivery"), Trust::Valid);
        assert_eq!(saturated.trust("latency_us.p99"), Trust::Void);
        let open = Run { is_open_loop: true, ..saturated.clone() };
        assert_eq!(open.trust("latency_us.p99"), Trust::Bound);
        let bound = Spread { median: 1.0, low: 1.0, high: 1.0, trust: Trust::Bound };
        assert_eq!((bound.sign("latency_us.p99"), bound.sign("deliveries_per_s")), ("≤ ", "≥ "));
        let mut starved = saturated;
        starved.void_reasons.push("generator_starved: x".into());
        assert_eq!(starved.trust("server.cpu_us_per_delivery"), Trust::Void);
    }
}

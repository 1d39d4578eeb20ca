//! Repetitions and their medians.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use throng_loadgen::report::Report;

pub const SCHEMA: &str = "throng-peers/1";

/// A number of a run that is published.
pub const FIGURES: [&str; 10] = [
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
];

/// One repetition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub figures: BTreeMap<String, f64>,
    pub generator_busy: f64,
    pub void_reasons: Vec<String>,
    pub errors: BTreeMap<String, u64>,
    /// The server's own count, where it has one, agrees with what was delivered.
    pub counts_agree: Option<bool>,
}

impl Run {
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let figures = FIGURES.iter().filter_map(|name| {
            Some(((*name).to_owned(), report.metric(name)?)).filter(|(_, value)| value.is_finite())
        });
        let busy = report.generator.threads.iter().map(|thread| thread.busy);
        let counters = &report.counters;
        Self {
            figures: figures.collect(),
            generator_busy: busy.fold(0.0, f64::max),
            void_reasons: report.void_reasons.clone(),
            errors: report.errors.clone(),
            counts_agree: report
                .server
                .counted_deliveries
                .map(|counted| counted == counters.delivered + counters.edge + counters.duplicated),
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
    /// Every repetition was void.
    pub is_void: bool,
}

impl Entry {
    /// The spread over the repetitions that stand, or over the void ones if none does.
    #[must_use]
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        let is_void = self.is_void();
        let counts = |run: &&Run| is_void || run.void_reasons.is_empty();
        let mut values: Vec<f64> = self
            .runs
            .iter()
            .filter(counts)
            .filter_map(|run| run.figures.get(figure).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, low, high, is_void })
    }

    #[must_use]
    pub fn is_void(&self) -> bool {
        self.runs.iter().all(|run| !run.void_reasons.is_empty())
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
        let want = Spread { median: 2.0, low: 1.0, high: 3.0, is_void: false };
        assert_eq!(entry.spread("deliveries_per_s"), Some(want));
        entry.runs.retain(|run| !run.void_reasons.is_empty());
        let want = Spread { median: 9.0, low: 9.0, high: 9.0, is_void: true };
        assert_eq!(entry.spread("deliveries_per_s"), Some(want));
        assert_eq!(entry.spread("latency_us.p99"), None);
    }
}

//! Several runs of one scenario after each other, as one report: counts and samples of all of them, and
//! each figure's median and spread.

use std::collections::BTreeMap;

use anyhow::Context as _;

use crate::evidence;
use crate::figures;
use crate::merge::add_up;
use crate::report::{Repetition, Report, Server, Spread};

/// One report of all repetitions. A single one stays as it is.
///
/// Counters and histograms are sums, rates are those of the whole measured time, figures of the server
/// are medians. The service levels are judged on these.
///
/// # Errors
/// There is no report.
pub fn pool(mut reports: Vec<Report>) -> anyhow::Result<Report> {
    if reports.len() == 1 {
        return reports.pop().context("one report");
    }
    let mut whole = add_up(&reports, "repetition")?;
    let last = reports.last().context("no report")?;
    whole.run_id = last.run_id.clone();
    whole.parts = Vec::new();
    whole.stopped_by = last.stopped_by.clone();
    whole.clients = last.clients;
    whole.joined = reports.iter().map(|report| report.joined).min().unwrap_or(0);
    whole.measured_s = reports.iter().map(|report| report.measured_s).sum();
    let rate = |count: u64| count as f64 / whole.measured_s.max(1e-9);
    let rates = (rate(whole.counters.measured_delivered), rate(whole.counters.measured_published));
    (whole.deliveries_per_s, whole.publishes_per_s) = rates;
    whole.figures = spreads(&reports);
    let median = |name: &str| whole.figures.get(name).map(|figure| figure.median);
    whole.connects_per_s = median("connects_per_s").unwrap_or(0.0);
    whole.generator.cpu_us_per_delivery = median("generator.cpu_us_per_delivery").unwrap_or(0.0);
    let ceiling = median("generator.ceiling_deliveries_per_s");
    whole.generator.ceiling_deliveries_per_s = ceiling;
    whole.generator.threads = mean_threads(&reports);
    whole.server = median_server(&whole.figures);
    whole.seconds = Vec::new();
    let mut offset = 0;
    for report in &reports {
        let shifted = report.seconds.iter().cloned().map(|mut second| {
            second.second += offset;
            second
        });
        whole.seconds.extend(shifted);
        offset = whole.seconds.last().map_or(0, |second| second.second + 1);
    }
    whole.repetitions = reports
        .iter()
        .map(|report| Repetition {
            run_id: report.run_id.clone(),
            finished_unix_s: report.finished_unix_s,
            void_reasons: report.void_reasons.clone(),
        })
        .collect();
    evidence::judge(&mut whole);
    Ok(whole)
}

fn spreads(reports: &[Report]) -> BTreeMap<String, Spread> {
    let mut spreads = BTreeMap::new();
    for name in figures::names() {
        let values: Option<Vec<f64>> = reports.iter().map(|report| report.metric(&name)).collect();
        if let Some(values) = values {
            spreads.insert(name, spread(values));
        }
    }
    spreads
}

fn spread(values: Vec<f64>) -> Spread {
    let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick).unwrap_or(0.0);
    Spread { median: median(&values), min: fold(f64::min), max: fold(f64::max), values }
}

/// The middle value, or the mean of the two in the middle; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => 0.0,
        (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (middle, _) => sorted[middle],
    }
}

fn mean_threads(reports: &[Report]) -> Vec<crate::report::ThreadLoad> {
    let count = reports.len() as f64;
    let mut mean = reports.last().map_or_else(Vec::new, |last| last.generator.threads.clone());
    for (index, thread) in mean.iter_mut().enumerate() {
        let of = |get: fn(&crate::report::ThreadLoad) -> f64| {
            reports.iter().filter_map(|r| r.generator.threads.get(index)).map(get).sum::<f64>()
                / count
        };
        thread.busy = of(|thread| thread.busy);
        thread.starved = of(|thread| thread.starved);
        thread.connecting = of(|thread| thread.connecting);
    }
    mean
}

fn median_server(figures: &BTreeMap<String, Spread>) -> Server {
    let median = |name: &str| figures.get(&format!("server.{name}")).map(|figure| figure.median);
    Server {
        cpu_us_per_delivery: median("cpu_us_per_delivery"),
        rss_per_connection_bytes: median("rss_per_connection_bytes"),
        rss_bytes: median("rss_bytes").map(|bytes| bytes as u64),
        rss_slope_bytes_per_s: median("rss_slope_bytes_per_s"),
        rss_slope_error_bytes_per_s: median("rss_slope_error_bytes_per_s"),
        cpu_share: median("cpu_share"),
        cpu_us_per_connect: median("cpu_us_per_connect"),
        counted_deliveries: median("counted_deliveries").map(|count| count as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SCHEMA;
    use crate::samples::{Metric, Samples};

    fn run(id: &str, delivered: u64, us: u64) -> Report {
        let mut samples = Samples::default();
        samples.record_ns(Metric::Delivery, us * 1_000);
        let mut report = Report { schema: SCHEMA.into(), run_id: id.into(), ..Report::default() };
        report.measured_s = 2.0;
        report.deliveries_per_s = delivered as f64 / 2.0;
        report.counters.measured_delivered = delivered;
        report.counters.delivered = delivered;
        report.counters.expected = 100;
        report.clients = 7;
        report.set_samples(&samples);
        report.set_completeness();
        report
    }

    #[test]
    fn counts_add_up_and_each_figure_has_its_spread() {
        let runs = vec![run("a", 100, 10), run("b", 98, 90), run("c", 100, 20)];
        let whole = pool(runs).unwrap();
        assert_eq!((whole.counters.delivered, whole.clients), (298, 7));
        assert!((whole.deliveries_per_s - 298.0 / 6.0).abs() < 1e-9);
        let p99 = &whole.figures["delivery.p99"];
        assert_eq!((p99.median, p99.min, p99.max), (20.0, 10.0, 90.0));
        assert_eq!(p99.values, [10.0, 90.0, 20.0]);
        assert_eq!(whole.latency_us.max, 90.0);
        let ids: Vec<_> = whole.repetitions.iter().map(|one| one.run_id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert!(pool(Vec::new()).is_err());
    }
}

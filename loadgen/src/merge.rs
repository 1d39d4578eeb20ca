//! Several generator processes, one result: counts add up, buckets add up, percentiles are taken anew.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};

use crate::evidence;
use crate::report::{Report, SCHEMA, Second};
use crate::samples::{METRICS, Samples};
use crate::scenario::{NOT_OF_THE_LOAD, OF_ONE_PART, differences};

/// Merges reports of processes that ran at the same time against the same server.
///
/// Rates add up. Void reasons and errors are collected. Per-second percentiles cannot be merged from
/// percentiles; the worst of the parts is taken.
///
/// # Errors
/// There is nothing to merge, or what there is are not the parts of one run: a run twice, different
/// scenarios (unless `are_different`), other times, repetitions, another schema.
pub fn merge(reports: &[Report], are_different: bool) -> anyhow::Result<Report> {
    check_parts(reports, are_different)?;
    add_up(reports, "part")
}

fn check_parts(reports: &[Report], are_different: bool) -> anyhow::Result<()> {
    ensure!(!reports.is_empty(), "nothing to merge");
    let mut seen = BTreeSet::new();
    for (index, report) in reports.iter().enumerate() {
        ensure!(
            report.repetitions.is_empty(),
            "part {index} has repetitions, which cannot be merged"
        );
        for id in runs(report) {
            ensure!(
                seen.insert(id.clone()),
                "part {index} is or holds run {id}, which is there already"
            );
        }
        let is_same = |other: &Report| {
            runs(report).next().is_none()
                && (other.finished_unix_s, &other.counters, &other.histograms)
                    == (report.finished_unix_s, &report.counters, &report.histograms)
        };
        if let Some(other) = reports[..index].iter().position(is_same) {
            bail!("part {index} is the same run as part {other}");
        }
        let ignored = [&NOT_OF_THE_LOAD[..], &OF_ONE_PART].concat();
        let differ = differences(&reports[0].scenario, &report.scenario, &ignored);
        ensure!(
            are_different || differ.is_empty(),
            "part {index} has another scenario than part 0: {} (--different-scenarios: merge them anyway)",
            differ.join(", ")
        );
        for (other, earlier) in reports[..index].iter().enumerate() {
            check_clocks(earlier, report).with_context(|| format!("parts {other} and {index}"))?;
        }
        if let Some(other) = reports[..index].iter().position(|other| are_apart(report, other)) {
            bail!(
                "part {index} and part {other} did not run at the same time: their rates do not add up"
            );
        }
    }
    Ok(())
}

/// Clocks of machines of one schedule may differ by so much, beyond what the measurement leaves open.
const CLOCKS_MS_MAX: f64 = 50.0;

/// The machines of one schedule must have meant the same moment.
fn check_clocks(a: &Report, b: &Report) -> anyhow::Result<()> {
    ensure!(
        a.start_at_unix_s == b.start_at_unix_s,
        "their --start-at differ: {:?} and {:?}",
        a.start_at_unix_s,
        b.start_at_unix_s
    );
    if let (Some(a), Some(b)) = (&a.clock, &b.clock) {
        let apart_ms = (a.offset_ms - b.offset_ms).abs();
        let allowed_ms = CLOCKS_MS_MAX + a.uncertainty_ms + b.uncertainty_ms;
        ensure!(
            apart_ms <= allowed_ms,
            "their clocks are {apart_ms:.0} ms apart, {allowed_ms:.0} ms are allowed"
        );
    }
    Ok(())
}

/// The runs that a report is about; none: it is of a version that did not number them.
fn runs(report: &Report) -> impl Iterator<Item = &String> {
    let own = report.parts.is_empty() && !report.run_id.is_empty();
    report.parts.iter().chain(own.then_some(&report.run_id))
}

/// One ended before the other began.
fn are_apart(a: &Report, b: &Report) -> bool {
    let span = |report: &Report| {
        (report.started_unix_s, report.started_unix_s + report.scenario.total_s())
    };
    let ((a_from, a_to), (b_from, b_to)) = (span(a), span(b));
    a_from > 0.0 && b_from > 0.0 && (a_to < b_from || b_to < a_from)
}

/// The sums of reports, each of which is called a `name` where one of them is at fault.
///
/// # Errors
/// There is no report, or one of another schema.
pub fn add_up(reports: &[Report], name: &str) -> anyhow::Result<Report> {
    ensure!(!reports.is_empty(), "nothing to add up");
    ensure!(reports.iter().all(|report| report.schema == SCHEMA), "reports of another schema");
    let mut merged = Report {
        schema: SCHEMA.into(),
        version: reports[0].version.clone(),
        run_id: reports[0].run_id.clone(),
        parts: reports.iter().flat_map(runs).cloned().collect(),
        started_unix_s: reports[0].started_unix_s,
        start_at_unix_s: reports[0].start_at_unix_s,
        name: reports[0].name.clone(),
        machine: reports[0].machine.clone(),
        scenario: reports[0].scenario.clone(),
        stopped_by: reports[0].stopped_by.clone(),
        ..Report::default()
    };
    let mut samples = Samples::default();
    for (index, report) in reports.iter().enumerate() {
        merged.finished_unix_s = merged.finished_unix_s.max(report.finished_unix_s);
        merged.clients += report.clients;
        merged.joined += report.joined;
        merged.connects_per_s += report.connects_per_s;
        merged.measured_s = merged.measured_s.max(report.measured_s);
        merged.publishes_per_s += report.publishes_per_s;
        merged.deliveries_per_s += report.deliveries_per_s;
        merged.counters.add(&report.counters);
        merged.has_rosters |= report.has_rosters;
        for (kind, count) in &report.errors {
            *merged.errors.entry(kind.clone()).or_insert(0) += count;
        }
        merged.order_mismatches.extend(report.order_mismatches.iter().cloned());
        let part = report.samples();
        for (metric, _) in METRICS {
            samples.of_mut(metric).add(part.of(metric))?;
        }
        merged.generator.threads.extend(report.generator.threads.iter().cloned());
        merged.generator.reads += report.generator.reads;
        merged
            .void_reasons
            .extend(report.void_reasons.iter().map(|reason| format!("{reason} ({name} {index})")));
        merge_seconds(&mut merged.seconds, &report.seconds);
        merge_server(&mut merged, report);
    }
    let delivered = merged.counters.measured_delivered.max(1) as f64;
    let busy_s: f64 = merged.generator.threads.iter().map(|t| t.busy * merged.measured_s).sum();
    merged.generator.cpu_us_per_delivery = busy_s * 1e6 / delivered;
    merged.generator.ceiling_deliveries_per_s =
        reports.iter().map(|report| report.generator.ceiling_deliveries_per_s).sum();
    merged.generator.ceiling_spread =
        reports.iter().map(|report| report.generator.ceiling_spread).fold(None, most);
    merged.generator.ceiling_share =
        reports.iter().map(|report| report.generator.ceiling_share).fold(None, most);
    merged.generator.bytes_per_read =
        merged.counters.bytes_in as f64 / merged.counters.reads.max(1) as f64;
    if let Some(share) = merged.server.cpu_share {
        merged.server.cpu_us_per_delivery = Some(share * merged.measured_s * 1e6 / delivered);
    }
    merged.set_samples(&samples);
    merged.set_completeness();
    merged.void = !merged.void_reasons.is_empty();
    evidence::judge(&mut merged);
    Ok(merged)
}

/// All parts measured the same server process, so its readings are not added up.
fn merge_server(merged: &mut Report, part: &Report) {
    let server = &mut merged.server;
    server.cpu_share = most(server.cpu_share, part.server.cpu_share);
    server.rss_bytes = server.rss_bytes.max(part.server.rss_bytes);
    server.counted_deliveries = server.counted_deliveries.max(part.server.counted_deliveries);
}

fn most(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    }
}

fn merge_seconds(merged: &mut Vec<Second>, part: &[Second]) {
    for second in part {
        match merged.iter_mut().find(|other| other.second == second.second) {
            Some(other) => {
                other.published += second.published;
                other.delivered += second.delivered;
                other.p50_us = other.p50_us.max(second.p50_us);
                other.p99_us = other.p99_us.max(second.p99_us);
                other.max_us = other.max_us.max(second.max_us);
            }
            None => merged.push(second.clone()),
        }
    }
    merged.sort_by_key(|second| second.second);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock_check::ClockOffset;
    use crate::samples::Metric;

    fn part(latencies_us: std::ops::Range<u64>, void: bool) -> Report {
        let mut samples = Samples::default();
        latencies_us.for_each(|us| samples.record_ns(Metric::Delivery, us * 1_000));
        let mut report =
            Report { schema: SCHEMA.into(), deliveries_per_s: 1e3, ..Report::default() };
        report.counters.expected = 10;
        report.counters.delivered = 9;
        report.counters.missing = 1;
        report.errors.insert("closed".into(), 1);
        report.set_samples(&samples);
        if void {
            report.void_reasons.push("generator_starved".into());
        }
        report.void = void;
        report
    }

    #[test]
    fn percentiles_come_from_the_buckets_not_from_percentiles() {
        let merged = merge(&[part(1..1_000, false), part(1_000..1_001, false)], false).unwrap();
        assert_eq!(merged.latency_us.count, 1_000);
        assert_eq!(merged.latency_us.p50, 500.0);
        assert_eq!(merged.latency_us.max, 1_000.0);
        assert_eq!(merged.counters.delivered, 18);
        assert_eq!(merged.completeness, Some(0.9));
        assert_eq!(merged.deliveries_per_s, 2e3);
        assert_eq!(merged.errors["closed"], 2);
        assert!(!merged.void);
    }

    #[test]
    fn one_void_part_voids_the_whole() {
        let merged = merge(&[part(1..10, false), part(1..20, true)], false).unwrap();
        assert!(merged.void);
        assert_eq!(merged.void_reasons, ["generator_starved (part 1)"]);
        assert!(merge(&[], false).is_err());
    }

    #[track_caller]
    fn check_refused(change: impl Fn(&mut Report), want: &str) {
        let mut parts = [part(1..10, false), part(1..20, false)];
        parts[0].run_id = "a".into();
        parts[1].run_id = "b".into();
        merge(&parts, false).unwrap();
        change(&mut parts[1]);
        let why = merge(&parts, false).unwrap_err().to_string();
        assert!(why.contains(want), "{why}");
    }

    #[test]
    fn what_is_not_the_parts_of_one_run_is_refused() {
        check_refused(|b| b.run_id = "a".into(), "run a, which is there already");
        check_refused(|b| b.parts = vec!["c".into(), "a".into()], "run a, which is there already");
        check_refused(|b| b.scenario.clients = 3, "another scenario than part 0: clients (100, 3)");
        check_refused(|b| b.repetitions = vec![Default::default()], "has repetitions");
        check_refused(|b| b.schema = "x".into(), "another schema");
        check_refused(|b| b.start_at_unix_s = Some(5.0), "parts 0 and 1");
        let mut apart = [part(1..10, false), part(1..20, false)];
        (apart[0].started_unix_s, apart[1].started_unix_s) = (1e9, 1e9 + 30.0);
        assert!(merge(&apart, false).unwrap_err().to_string().contains("at the same time"));
        let old = [part(1..10, false), part(1..10, false)];
        assert!(merge(&old, false).unwrap_err().to_string().contains("same run as part 0"));
    }

    #[test]
    fn machines_whose_clocks_differ_are_no_parts_of_one_schedule() {
        let mut parts = [part(1..10, false), part(1..20, false)];
        let offset = |offset_ms| Some(ClockOffset { offset_ms, uncertainty_ms: 10.0 });
        (parts[0].clock, parts[1].clock) = (offset(3.0), offset(60.0));
        merge(&parts, false).unwrap();
        parts[1].clock = offset(80.0);
        let why = format!("{:#}", merge(&parts, false).unwrap_err());
        assert_eq!(why, "parts 0 and 1: their clocks are 77 ms apart, 70 ms are allowed");
    }

    #[test]
    fn different_scenarios_merge_if_that_is_meant_and_others_by_seed_and_cores() {
        let mut parts = [part(1..10, false), part(1..20, false)];
        parts[1].scenario.seed = 2;
        parts[1].scenario.cores = vec![3];
        merge(&parts, false).unwrap();
        parts[1].scenario.clients = 1;
        assert_eq!(merge(&parts, true).unwrap().counters.delivered, 18);
    }
}

//! The summary printed at the end of a run.

use std::fmt::Write as _;

use crate::hints;
use crate::report::Report;
use crate::table::{Table, number, percent, time};

/// From this share of its ceiling on, the generator may be what is measured.
const NEAR_CEILING: f64 = 0.5;

#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut out);
    out
}

/// The most important figures, for one of several runs.
#[must_use]
pub fn line(report: &Report) -> String {
    let void = if report.void { ", VOID" } else { "" };
    format!(
        "{:.0} delivered/s, p50 {}, p99 {}, {} complete, {} order violations{void}\n",
        report.deliveries_per_s,
        time(report.latency_us.p50),
        time(report.latency_us.p99),
        percent(report.completeness),
        report.counters.order_violations
    )
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let counters = &report.counters;
    writeln!(out, "{} — {}", report.name, report.machine)?;
    writeln!(
        out,
        "stopped by {} after {:.1} s measured; {} of {} clients joined at {:.0}/s",
        report.stopped_by, report.measured_s, report.joined, report.clients, report.connects_per_s
    )?;
    writeln!(
        out,
        "rates       {:.1} published/s, {:.0} delivered/s",
        report.publishes_per_s, report.deliveries_per_s
    )?;
    writeln!(
        out,
        "delivered   {} of {} expected ({}), {} published",
        counters.delivered,
        counters.expected,
        report
            .completeness
            .map_or("no delivery was owed".to_owned(), |_| percent(report.completeness)),
        counters.published
    )?;
    let faults = [
        ("missing", counters.missing),
        ("without ack", report.unacked()),
        ("duplicated", counters.duplicated),
        ("corrupted", counters.corrupted),
        ("out of order", counters.out_of_order),
        ("order violations", counters.order_violations),
        ("late", counters.late),
        ("outside membership", counters.outside_membership),
        ("never published", counters.unknown),
        ("foreign", counters.foreign),
        ("refused", counters.refused),
        ("timed out", counters.timed_out),
        ("disconnects", counters.disconnects),
        ("connect failures", counters.connect_failures),
        ("absent at the end", counters.absent),
        ("members with a wrong roster or none", counters.unconverged),
    ];
    let faults: Vec<_> = faults.iter().filter(|(_, count)| *count > 0).collect();
    if !faults.is_empty() {
        let list: Vec<_> = faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(out, "faults      {}", list.join(", "))?;
    }
    if counters.order_compared > 0 {
        writeln!(
            out,
            "order       {} violations among {} messages of rooms with several publishers",
            counters.order_violations, counters.order_compared
        )?;
    }
    for mismatch in report.order_mismatches.iter().take(5) {
        let client = mismatch.client.map_or(String::new(), |client| format!(", client {client}"));
        writeln!(
            out,
            "order       room {} at {}: {} before {} (publisher/number) for {} members{client}",
            mismatch.room, mismatch.position, mismatch.first, mismatch.then, mismatch.members
        )?;
    }
    for (kind, count) in &report.errors {
        writeln!(out, "error       {count} × {kind}")?;
    }
    for hint in hints::of(&report.errors) {
        writeln!(out, "hint        {hint}")?;
    }
    let mut latencies = Table::new(["latency", "p50", "p90", "p99", "p99.9", "max", "count"]);
    for (name, p) in &report.latencies_us {
        let times = [p.p50, p.p90, p.p99, p.p999, p.max].map(time);
        latencies.row([name.clone()].into_iter().chain(times).chain([p.count.to_string()]));
    }
    if !latencies.is_empty() {
        out.push_str(&latencies.text());
    }
    if !report.figures.is_empty() {
        let mut spreads = Table::new(["figure", "median", "min", "max", "runs"]);
        for name in
            ["deliveries_per_s", "delivery.p50", "delivery.p99", "server.cpu_us_per_delivery"]
        {
            let Some(figure) = report.figures.get(name) else { continue };
            let shown = [figure.median, figure.min, figure.max].map(number);
            let runs = figure.values.len().to_string();
            spreads.row([name.to_owned()].into_iter().chain(shown).chain([runs]));
        }
        out.push_str(&spreads.text());
    }
    let server = &report.server;
    if let Some(cpu) = server.cpu_us_per_delivery {
        let share = server.cpu_share.unwrap_or(0.0) * 100.0;
        writeln!(out, "server      {cpu:.3} µs CPU per delivery, {share:.0} % of a core")?;
    }
    if let Some(rss) = server.rss_per_connection_bytes {
        writeln!(out, "server      {rss:.0} bytes RSS per connection")?;
    }
    if let Some(slope) = server.rss_slope_bytes_per_s {
        let error = server.rss_slope_error_bytes_per_s.unwrap_or(0.0);
        writeln!(out, "server      RSS grew by {slope:.0} ± {error:.0} bytes/s")?;
    }
    if let Some(counted) = server.counted_deliveries {
        writeln!(out, "server      counted {counted} deliveries itself")?;
    }
    let threads = report.generator.threads.iter().map(|thread| {
        format!("{:.0} % busy, {:.1} % starved", thread.busy * 100.0, thread.starved * 100.0)
    });
    writeln!(
        out,
        "generator   {}; {:.3} µs CPU per delivery",
        threads.collect::<Vec<_>>().join("; "),
        report.generator.cpu_us_per_delivery
    )?;
    if let Some(ceiling) = report.generator.ceiling_deliveries_per_s {
        let share = report.generator.ceiling_share.unwrap_or(0.0);
        let spread = report.generator.ceiling_spread.unwrap_or(0.0) * 100.0;
        let near = if share >= NEAR_CEILING { ": NEAR ITS CEILING" } else { "" };
        writeln!(
            out,
            "generator   its ceiling is {} deliveries/s ± {spread:.0} % in full reads; the busiest second had {:.0} % of it{near}",
            number(ceiling),
            share * 100.0
        )?;
    }
    for outcome in &report.slo {
        let value = outcome.value.map(|value| format!("is {value}"));
        let value = value.or_else(|| outcome.why.clone()).unwrap_or_default();
        let word = if outcome.met { "met" } else { "MISSED" };
        writeln!(out, "slo         {word}: {} ({value})", outcome.slo)?;
    }
    for reason in &report.void_reasons {
        writeln!(out, "VOID        {reason}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_near_the_ceiling_of_the_generator_says_so() {
        let mut report = Report::default();
        report.generator.ceiling_deliveries_per_s = Some(2e6);
        for (share, is_near) in [(0.49, false), (0.5, true)] {
            report.generator.ceiling_share = Some(share);
            let text = text(&report);
            assert!(text.contains("its ceiling is 2.00 M deliveries/s"), "{text}");
            assert_eq!(text.contains("NEAR ITS CEILING"), is_near, "{text}");
        }
    }
}

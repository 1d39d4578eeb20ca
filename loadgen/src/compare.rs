//! Two runs compared, with a threshold for what is a regression.

use crate::report::Report;
use crate::table::Table;

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    Less,
    More,
}

/// (SLO name, title, better, whether a change for the worse is a regression).
const ROWS: [(&str, &str, Better, bool); 17] = [
    ("deliveries_per_s", "deliveries/s", Better::More, true),
    ("publishes_per_s", "publishes/s", Better::More, false),
    ("completeness", "completeness", Better::More, true),
    ("delivery.p50", "delivery p50 µs", Better::Less, true),
    ("delivery.p90", "delivery p90 µs", Better::Less, false),
    ("delivery.p99", "delivery p99 µs", Better::Less, true),
    ("delivery.p999", "delivery p99.9 µs", Better::Less, false),
    ("delivery.max", "delivery max µs", Better::Less, false),
    ("ack.p99", "ack p99 µs", Better::Less, false),
    ("handshake.p99", "handshake p99 µs", Better::Less, false),
    ("join.p99", "join p99 µs", Better::Less, false),
    ("convergence.p99", "convergence p99 µs", Better::Less, false),
    ("server.cpu_us_per_delivery", "server CPU µs/delivery", Better::Less, true),
    ("server.rss_per_connection_bytes", "server RSS/connection B", Better::Less, true),
    ("duplicated", "duplicated", Better::Less, true),
    ("out_of_order", "out of order", Better::Less, true),
    ("order_violations", "order violations", Better::Less, true),
];

pub struct Comparison {
    pub table: String,
    /// Titles of what got worse by more than the threshold.
    pub regressions: Vec<String>,
}

/// Compares `b` with its baseline `a`; `threshold` is a share, such as 0.1.
#[must_use]
pub fn compare(a: &Report, b: &Report, threshold: f64) -> Comparison {
    let mut table = Table::new(["", &clip(&a.name), &clip(&b.name), "change", ""]);
    let mut regressions = Vec::new();
    for (name, title, better, is_judged) in ROWS {
        let (Some(before), Some(after)) = (a.metric(name), b.metric(name)) else { continue };
        let change = relative(before, after);
        let worse = match better {
            Better::Less => change,
            Better::More => -change,
        };
        // Anything below 1 in completeness, or above 0 in faults, is worse whatever the threshold.
        let is_exact =
            matches!(name, "completeness" | "duplicated" | "out_of_order" | "order_violations");
        let is_worse = is_judged && (worse > threshold || is_exact && worse > 0.0);
        let change = format!("{:+.1}%", change * 100.0);
        let mark = if is_worse { "worse" } else { "" };
        table.row([title, &figure(before), &figure(after), &change, mark]);
        if is_worse {
            regressions.push(title.to_owned());
        }
    }
    let mut table = table.text();
    for (side, report) in [("A", a), ("B", b)] {
        for reason in &report.void_reasons {
            table += &format!("{side} is VOID: {reason}\n");
        }
    }
    Comparison { table, regressions }
}

fn clip(name: &str) -> String {
    name.chars().take(14).collect()
}

fn relative(before: f64, after: f64) -> f64 {
    if before == after {
        0.0
    } else if before == 0.0 {
        after.signum()
    } else {
        (after - before) / before
    }
}

fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.3}M", value / 1e6),
        size if size >= 1e3 => format!("{value:.0}"),
        size if size >= 10.0 || size.fract() == 0.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Metric, Samples};

    fn report(rate: f64, p99_us: u64) -> Report {
        let mut samples = Samples::default();
        samples.record_ns(Metric::Delivery, p99_us * 1_000);
        let mut report = Report { deliveries_per_s: rate, ..Report::default() };
        report.set_samples(&samples);
        report.counters.expected = 100;
        report.counters.delivered = 100;
        report.set_completeness();
        report
    }

    #[test]
    fn equal_runs_have_no_regressions() {
        assert!(compare(&report(1e6, 500), &report(1e6, 500), 0.0).regressions.is_empty());
    }

    #[test]
    fn a_change_counts_only_beyond_the_threshold_and_for_the_worse() {
        let base = report(1e6, 500);
        assert!(compare(&base, &report(0.95e6, 520), 0.1).regressions.is_empty());
        assert!(compare(&base, &report(2e6, 100), 0.1).regressions.is_empty());
        let worse = compare(&base, &report(0.8e6, 500), 0.1);
        assert_eq!(worse.regressions, ["deliveries/s"]);
        assert!(worse.table.contains("-20.0%  worse"), "{}", worse.table);
    }

    #[test]
    fn one_lost_message_is_a_regression_at_any_threshold() {
        let mut lossy = report(1e6, 500);
        lossy.counters.delivered = 99;
        lossy.set_completeness();
        assert_eq!(compare(&report(1e6, 500), &lossy, 0.5).regressions, ["completeness"]);
    }
}

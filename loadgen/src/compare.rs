//! Two runs compared: what changed, by how much, whether that is more than noise, and what decides.

use anyhow::ensure;

use crate::repetitions::median;
use crate::report::Report;
use crate::scenario::{NOT_OF_THE_LOAD, differences};
use crate::table::Table;
use crate::wilcoxon::{p_larger, p_least};

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    Less,
    More,
}

/// What a figure is compared for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A change for the worse, beyond the threshold and beyond noise, is a regression.
    Decides,
    /// Any change for the worse is a regression: a fault is no noise.
    Exact,
    Shown,
}

const ROWS: [(&str, &str, Better, Role); 18] = [
    ("deliveries_per_s", "deliveries/s", Better::More, Role::Decides),
    ("publishes_per_s", "publishes/s", Better::More, Role::Shown),
    ("completeness", "completeness", Better::More, Role::Exact),
    ("delivery.p50", "delivery p50 µs", Better::Less, Role::Decides),
    ("delivery.p90", "delivery p90 µs", Better::Less, Role::Shown),
    ("delivery.p99", "delivery p99 µs", Better::Less, Role::Decides),
    ("delivery.p999", "delivery p99.9 µs", Better::Less, Role::Shown),
    ("delivery.max", "delivery max µs", Better::Less, Role::Shown),
    ("ack.p99", "ack p99 µs", Better::Less, Role::Shown),
    ("handshake.p99", "handshake p99 µs", Better::Less, Role::Shown),
    ("join.p99", "join p99 µs", Better::Less, Role::Shown),
    ("convergence.p99", "convergence p99 µs", Better::Less, Role::Shown),
    ("server.cpu_us_per_delivery", "server CPU µs/delivery", Better::Less, Role::Decides),
    ("server.rss_per_connection_bytes", "server RSS/connection B", Better::Less, Role::Decides),
    ("server.rss_slope_bytes_per_s", "server RSS slope B/s", Better::Less, Role::Shown),
    ("duplicated", "duplicated", Better::Less, Role::Exact),
    ("out_of_order", "out of order", Better::Less, Role::Exact),
    ("order_violations", "order violations", Better::Less, Role::Exact),
];

/// A change that chance brings about more often than this is noise: a twentieth, shared by the five figures
/// that decide.
const P_MAX: f64 = 0.01;

pub struct Comparison {
    pub table: String,
    /// Titles of what got worse by more than the threshold and more than noise.
    pub regressions: Vec<String>,
}

/// Compares `b` with its baseline `a`; `threshold` is a share, such as 0.1.
///
/// # Errors
/// The scenarios differ, unless that is meant.
pub fn compare(
    a: &Report,
    b: &Report,
    threshold: f64,
    are_different: bool,
) -> anyhow::Result<Comparison> {
    let differ = differences(&a.scenario, &b.scenario, &NOT_OF_THE_LOAD);
    ensure!(
        are_different || differ.is_empty(),
        "the scenarios differ: {} (--different-scenarios: compare them anyway)",
        differ.join(", ")
    );
    let head = ["", &clip(&a.name), &clip(&b.name), "change", "", "noise", "p", "decides"];
    let mut table = Table::new(head);
    let mut regressions = Vec::new();
    let mut deciding = Vec::new();
    for (name, title, better, role) in ROWS {
        let (Some(before), Some(after)) = (values(a, name, role), values(b, name, role)) else {
            continue;
        };
        let change = Change::new(&before, &after, better);
        let is_worse = match role {
            Role::Exact => change.worse > 0.0,
            Role::Decides | Role::Shown => change.worse > threshold && change.is_more_than_noise(),
        };
        let mark = match (is_worse, role) {
            (true, Role::Shown) => "worse, not decisive",
            (true, _) => "worse",
            (false, Role::Decides | Role::Shown) if change.worse > threshold => "within noise",
            _ => "",
        };
        let decides = if role == Role::Shown { "" } else { "yes" };
        table.row([
            title.to_owned(),
            figure(median(&before)),
            figure(median(&after)),
            format!("{:+.1}%", change.relative * 100.0),
            mark.to_owned(),
            change.noise.map_or("?".into(), |noise| format!("±{:.1}%", noise * 100.0)),
            change.p.map_or("–".into(), |p| format!("{p:.3}")),
            decides.to_owned(),
        ]);
        if role != Role::Shown {
            deciding.push(title);
        }
        if is_worse && role != Role::Shown {
            regressions.push(title.to_owned());
        }
    }
    let mut table = table.text();
    table += &explanation(a, b, threshold, &deciding, &regressions);
    for difference in differ {
        table += &format!("The scenarios differ: {difference}\n");
    }
    for (side, report) in [("A", a), ("B", b)] {
        for reason in &report.void_reasons {
            table += &format!("{side} is VOID: {reason}\n");
        }
    }
    Ok(Comparison { table, regressions })
}

fn explanation(
    a: &Report,
    b: &Report,
    threshold: f64,
    deciding: &[&str],
    regressions: &[String],
) -> String {
    let counts = (a.repetitions.len().max(1), b.repetitions.len().max(1));
    let percent = threshold * 100.0;
    let rule = match counts {
        (1, _) | (_, 1) => format!(
            "Noise is not known ({} and {} runs): more than {percent} % decides alone. `run --repeat 5` measures it.",
            counts.0, counts.1
        ),
        (n, m) if p_least(n, m) > P_MAX => format!(
            "{n} and {m} runs are too few for a rank test: more than {percent} %, more than the noise, and no \
             value of one side within those of the other decides."
        ),
        (n, m) => format!(
            "{n} and {m} runs: more than {percent} % of the median, more than the noise, and a rank test \
             with p ≤ {P_MAX} decide."
        ),
    };
    let outcome = match regressions {
        [] => "Nothing that decides got worse".to_owned(),
        worse => format!("Got worse: {}", worse.join(", ")),
    };
    format!("{rule}\nDeciding: {}.\n{outcome}.\n", deciding.join(", "))
}

/// One value per repetition; what any fault decides is one value of all of them.
fn values(report: &Report, name: &str, role: Role) -> Option<Vec<f64>> {
    match report.figures.get(name).filter(|_| role != Role::Exact) {
        Some(spread) => Some(spread.values.clone()),
        None => Some(vec![report.metric(name)?]),
    }
}

struct Change {
    /// Of the medians, as a share of the baseline's.
    relative: f64,
    /// The same, positive if it is for the worse.
    worse: f64,
    /// Half the range of the values of the noisier side, as a share of its median.
    noise: Option<f64>,
    /// How often chance brings about such ranks or worse ones.
    p: Option<f64>,
    /// There are enough repetitions for that to mean something.
    can_be_ranked: bool,
    /// All values of one side are worse than all of the other.
    is_apart: bool,
}

impl Change {
    fn new(before: &[f64], after: &[f64], better: Better) -> Self {
        let relative = relative(median(before), median(after));
        let sign = if better == Better::Less { 1.0 } else { -1.0 };
        let losses = |values: &[f64]| values.iter().map(|v| v * sign).collect::<Vec<f64>>();
        let (a, b) = (losses(before), losses(after));
        let has_many = before.len() > 1 && after.len() > 1;
        Self {
            relative,
            worse: relative * sign,
            noise: has_many.then(|| half_range(before).max(half_range(after))),
            p: has_many.then(|| p_larger(&a, &b)),
            can_be_ranked: p_least(a.len(), b.len()) <= P_MAX,
            is_apart: most(&a, f64::max) < most(&b, f64::min),
        }
    }

    fn is_more_than_noise(&self) -> bool {
        let (Some(noise), Some(p)) = (self.noise, self.p) else { return true };
        let is_ranked_worse = if self.can_be_ranked { p <= P_MAX } else { self.is_apart };
        self.worse > noise && is_ranked_worse
    }
}

fn most(values: &[f64], pick: fn(f64, f64) -> f64) -> f64 {
    values.iter().copied().reduce(pick).unwrap_or(0.0)
}

fn half_range(values: &[f64]) -> f64 {
    let range = most(values, f64::max) - most(values, f64::min);
    let middle = median(values).abs();
    if range == 0.0 { 0.0 } else { range / 2.0 / middle.max(1e-12) }
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
        (after - before) / before.abs()
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
    use crate::report::{Repetition, Spread};
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

    fn repeated(p99_us: &[f64]) -> Report {
        let mut report = report(1e6, 500);
        let spread = Spread { values: p99_us.to_vec(), ..Spread::default() };
        report.figures.insert("delivery.p99".into(), spread);
        report.repetitions = vec![Repetition::default(); p99_us.len()];
        report
    }

    fn judged(a: &Report, b: &Report, threshold: f64) -> Comparison {
        compare(a, b, threshold, false).unwrap()
    }

    #[test]
    fn equal_runs_have_no_regressions() {
        assert!(judged(&report(1e6, 500), &report(1e6, 500), 0.0).regressions.is_empty());
    }

    #[test]
    fn a_change_counts_only_beyond_the_threshold_and_for_the_worse() {
        let base = report(1e6, 500);
        assert!(judged(&base, &report(0.95e6, 520), 0.1).regressions.is_empty());
        assert!(judged(&base, &report(2e6, 100), 0.1).regressions.is_empty());
        let worse = judged(&base, &report(0.8e6, 500), 0.1);
        assert_eq!(worse.regressions, ["deliveries/s"]);
        assert!(worse.table.contains("-20.0%  worse"), "{}", worse.table);
        assert!(worse.table.contains("Noise is not known (1 and 1 runs)"), "{}", worse.table);
    }

    #[test]
    fn one_lost_message_is_a_regression_at_any_threshold() {
        let mut lossy = report(1e6, 500);
        lossy.counters.delivered = 99;
        lossy.set_completeness();
        assert_eq!(judged(&report(1e6, 500), &lossy, 0.5).regressions, ["completeness"]);
    }

    #[test]
    fn what_repetitions_show_to_be_noise_is_no_regression() {
        let base = repeated(&[100.0, 300.0, 200.0, 150.0, 260.0]);
        let noisy = judged(&base, &repeated(&[250.0, 290.0, 120.0, 310.0, 240.0]), 0.1);
        assert!(noisy.regressions.is_empty(), "{}", noisy.table);
        assert!(noisy.table.contains("within noise"), "{}", noisy.table);
        let worse = judged(&base, &repeated(&[400.0, 320.0, 390.0, 500.0, 350.0]), 0.1);
        assert_eq!(worse.regressions, ["delivery p99 µs"]);
        assert!(worse.table.contains("0.004"), "{}", worse.table);
        assert!(worse.table.contains("Got worse: delivery p99 µs."), "{}", worse.table);
    }

    #[test]
    fn two_repetitions_decide_only_if_they_lie_apart() {
        let base = repeated(&[100.0, 130.0]);
        assert!(judged(&base, &repeated(&[125.0, 200.0]), 0.1).regressions.is_empty());
        let worse = judged(&base, &repeated(&[140.0, 200.0]), 0.1);
        assert_eq!(worse.regressions, ["delivery p99 µs"], "{}", worse.table);
    }

    #[test]
    fn a_change_within_the_noise_is_none_even_if_all_values_are_apart() {
        let base = repeated(&[5.0, 7.0, 9.0]);
        let noisy = judged(&base, &repeated(&[10.0, 28.0, 190.0]), 0.1);
        assert!(noisy.regressions.is_empty(), "{}", noisy.table);
        assert!(noisy.table.contains("within noise"), "{}", noisy.table);
    }

    #[test]
    fn different_scenarios_are_compared_only_if_that_is_meant() {
        let (a, mut b) = (report(1e6, 500), report(1e6, 500));
        b.scenario.clients = 9;
        let why = compare(&a, &b, 0.1, false).err().unwrap().to_string();
        assert!(why.contains("clients (100, 9)"), "{why}");
        assert!(compare(&a, &b, 0.1, true).unwrap().table.contains("clients (100, 9)"));
    }
}

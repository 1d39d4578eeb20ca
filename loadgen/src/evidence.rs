//! What a service level can be judged on. A figure that is as good as it can be because nothing came meets
//! none, and what never came counts as never.

use crate::report::Report;
use crate::scenario::Mode;
use crate::slo::Slo;

/// Holds a report against the service levels of its scenario.
pub fn judge(report: &mut Report) {
    let outcome = |slo: &Slo| slo.judge(figure(report, slo.metric()));
    report.slo = report.scenario.slo.iter().map(outcome).collect();
}

/// A figure to be held against a bound.
///
/// # Errors
/// It says nothing about this run; the text says why.
pub fn figure(report: &Report, name: &str) -> Result<f64, String> {
    let Some(value) = report.metric(name) else { return Err(absence(name)) };
    if let Some((seen, what)) = basis(report, name)
        && seen == 0
        && value == 0.0
    {
        return Err(format!("{what}: 0 says nothing"));
    }
    match lost_quantile(report, name) {
        Some(never) => Err(format!("{never} never came, and are among them")),
        None => Ok(value),
    }
}

fn absence(name: &str) -> String {
    match name.split_once('.') {
        Some(("server" | "generator", _)) => "it was not measured".to_owned(),
        Some((latency, _)) => format!("there is no sample of {latency}"),
        None => "no delivery was owed".to_owned(),
    }
}

/// Of how many things the figure is a count, a share or a rate; none: it is a count of what came.
fn basis(report: &Report, name: &str) -> Option<(u64, &'static str)> {
    let counters = &report.counters;
    Some(match name {
        "missing" | "under_way" => (counters.expected, "no delivery was owed"),
        "duplicated" | "corrupted" | "out_of_order" | "order_violations" | "late" | "edge"
        | "outside_membership" | "refused_delivered" | "unknown" | "foreign"
        | "clock_backwards" => (counters.delivered, "nothing was delivered"),
        "deliveries_per_s" | "generator.cpu_us_per_delivery" | "generator.ceiling_share" => {
            (counters.measured_delivered, "nothing was delivered in the measured time")
        }
        "publishes_per_s" => (counters.measured_published, "nothing was published"),
        "skipped" | "publishers_lost" => {
            (counters.published + counters.skipped, "nothing was published")
        }
        "timed_out" => {
            let is_closed = report.scenario.load.mode == Mode::Closed;
            (if is_closed { counters.published } else { 0 }, "no closed loop published")
        }
        "refused" => (counters.acked + counters.refused, "no message was answered"),
        "errors" | "connect_failures" | "disconnects" | "absent" | "joined" | "connects_per_s" => {
            (counters.connects, "nobody connected")
        }
        "unconverged" | "without_roster" => {
            (samples(report, "convergence"), "no roster was compared")
        }
        "roster_bytes_max" => (counters.rosters, "no roster came"),
        "generator.bytes_per_read" => (counters.reads, "nothing was read"),
        _ => return None,
    })
}

fn samples(report: &Report, latency: &str) -> u64 {
    report.latencies_us.get(latency).map_or(0, |latency| latency.count)
}

/// How many never came, if so many of them that a quantile lies among them: its time is not known.
fn lost_quantile(report: &Report, name: &str) -> Option<u64> {
    let (part, figure) = name.split_once('.')?;
    let counters = &report.counters;
    let never = match part {
        "delivery" | "latency_us" => counters.missing,
        "ack" => report.unacked(),
        "convergence" => counters.unconverged,
        "connect" | "handshake" | "join" | "entry" | "return" => {
            counters.connect_failures + counters.absent
        }
        _ => return None,
    };
    let quantile = match figure {
        "p50" => 0.5,
        "p90" => 0.9,
        "p99" => 0.99,
        "p999" => 0.999,
        "mean" | "max" => 1.0,
        _ => return None,
    };
    let came = report.metric(&format!("{part}.count")).unwrap_or(0.0);
    (never as f64 > (1.0 - quantile) * (came + never as f64)).then_some(never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;
    use crate::samples::{Metric, Samples};

    /// Counts of what happened: 0 is what it says.
    const COUNTS: [&str; 20] = [
        "published",
        "expected",
        "delivered",
        "order_compared",
        "acked",
        "measured_delivered",
        "measured_published",
        "connects",
        "reconnects",
        "leaves",
        "joins",
        "rosters",
        "bytes_in",
        "bytes_out",
        "frames_in",
        "reads",
        "generator.reads",
        "generator.ceiling_deliveries_per_s",
        "server.rss_bytes",
        "server.counted_deliveries",
    ];

    fn is_met(report: &Report, slo: &str) -> bool {
        let slo: Slo = slo.parse().expect("an SLO");
        slo.judge(figure(report, slo.metric())).met
    }

    #[test]
    fn a_run_in_which_nothing_came_meets_no_service_level() {
        let mut report = Report::default();
        report.set_samples(&Samples::default());
        report.set_completeness();
        for name in figures::names().iter().filter(|name| !COUNTS.contains(&name.as_str())) {
            for slo in ["=0", "<1", "<=0", ">=0", "=1", ">0"] {
                assert!(!is_met(&report, &format!("{name}{slo}")), "{name}{slo}");
            }
        }
        for name in COUNTS {
            assert!(figures::check(name).is_ok() && basis(&report, name).is_none(), "{name}");
        }
    }

    #[test]
    fn faults_that_were_seen_are_judged_though_nothing_else_came() {
        let mut report = Report::default();
        report.counters.corrupted = 3;
        assert!(is_met(&report, "corrupted<=3") && !is_met(&report, "corrupted<3"));
    }

    #[test]
    fn a_quantile_among_what_never_came_meets_none() {
        let mut samples = Samples::default();
        let metrics = [
            (Metric::Delivery, 900),
            (Metric::Ack, 90),
            (Metric::Convergence, 90),
            (Metric::Entry, 98),
        ];
        for (metric, count) in metrics {
            (0..count).for_each(|_| samples.record_ns(metric, 5_000_000));
        }
        let mut report = Report::default();
        report.set_samples(&samples);
        report.counters.missing = 95;
        (report.counters.published, report.counters.acked) = (100, 95);
        report.counters.unconverged = 10;
        (report.counters.connect_failures, report.counters.absent) = (1, 1);
        // Of 995 deliveries 95 never came, of 95 acks 5, of 100 views 10, of 100 entries 2.
        for (slo, want) in [
            ("delivery.p99<100ms", false),
            ("delivery.p90<100ms", true),
            ("latency_us.p99<100ms", false),
            ("delivery.max<1s", false),
            ("ack.p99<100ms", false),
            ("ack.p90<1s", true),
            ("convergence.p99<1s", false),
            ("convergence.p50<1s", true),
            ("entry.p99<1s", false),
            ("entry.p90<1s", true),
            ("entry.max<1s", false),
        ] {
            assert_eq!(is_met(&report, slo), want, "{slo}");
        }
        report.scenario.load.acks = false;
        assert_eq!(report.unacked(), 0);
    }
}

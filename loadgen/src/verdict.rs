//! Why the numbers of a run cannot be trusted, and the exit codes.

use crate::outputs::NamedTwice;
use crate::report::{Report, SERVER_CLOSED};
use crate::scenario::Mode;

pub const EXIT_OK: u8 = 0;
pub const EXIT_ERROR: u8 = 1;
pub const EXIT_USAGE: u8 = 2;
pub const EXIT_VOID: u8 = 3;
pub const EXIT_SLO: u8 = 4;
pub const EXIT_REGRESSION: u8 = 5;

/// For `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  the run is valid, all SLOs are met
  1  no report: an error in a scenario, a target, a registration or a file
  2  wrong command line (one file twice, too), or wrong events file
  3  void: the numbers cannot be trusted (also `compare` and `merge` with a void run)
  4  an SLO is missed
  5  `compare`: worse than the threshold, and not by noise";

/// Why the run is void; empty if it is not.
#[must_use]
pub fn void_reasons(report: &Report) -> Vec<String> {
    let scenario = &report.scenario;
    let bounds = &scenario.distrust;
    let counters = &report.counters;
    let mut reasons = Vec::new();
    for (thread, load) in report.generator.threads.iter().enumerate() {
        if load.busy > bounds.busy_max {
            let busy = load.busy * 100.0;
            reasons.push(format!(
                "generator_saturated: thread {thread} was on its core {busy:.0} % of the time"
            ));
        }
        if load.starved > bounds.starved_max {
            let starved = load.starved * 100.0;
            reasons.push(format!(
                "generator_starved: thread {thread} waited for a core {starved:.0} % of the time"
            ));
        }
    }
    let lag_p99_ms = report.latencies_us.get("lag").map_or(0.0, |lag| lag.p99 / 1e3);
    if scenario.load.mode == Mode::Open && lag_p99_ms > bounds.lag_p99_max_ms {
        reasons.push(format!("behind_schedule: 1 % of the messages left {lag_p99_ms:.1} ms late"));
    }
    if counters.skipped > 0 {
        reasons.push(format!(
            "publisher_offline: {} due messages had no connected publisher",
            counters.skipped
        ));
    }
    if counters.publishers_lost > 0 {
        reasons.push(format!(
            "publisher_offline: the server ended the connections of {} publishers, and they did not come back",
            counters.publishers_lost
        ));
    }
    if counters.unknown > 0 || counters.delivered > counters.expected {
        reasons.push(format!(
            "delivery_exceeded_expectation: {} of {} expected, {} never published",
            counters.delivered, counters.expected, counters.unknown
        ));
    }
    if counters.refused_delivered > 0 {
        reasons.push(format!(
            "refused_delivered: {} deliveries of messages that the server had refused",
            counters.refused_delivered
        ));
    }
    if report.stopped_by == SERVER_CLOSED {
        reasons.push(format!(
            "ended_early: the server closed every connection after {:.1} s of the measured time",
            report.measured_s
        ));
    }
    if counters.clock_backwards > 0 {
        reasons.push(format!(
            "clock_backwards: {} deliveries before they were due",
            counters.clock_backwards
        ));
    }
    if counters.published == 0 && expects_messages(report) {
        reasons.push("nothing_published: no message left the generator".into());
    }
    if counters.published > 0 && counters.expected == 0 {
        reasons.push(format!(
            "nothing_expected: no member was owed a delivery of any of {} messages",
            counters.published
        ));
    }
    if counters.expected > 0 && counters.delivered == 0 {
        reasons.push(format!(
            "nothing_delivered: none of {} expected deliveries came in a form that is known",
            counters.expected
        ));
    }
    let answered = counters.acked + counters.refused;
    if report.unacked() > 0 && answered == 0 {
        reasons.push(format!(
            "nothing_acked: none of {} messages was answered (--no-acks, if the server answers none)",
            counters.published
        ));
    }
    if report.has_rosters && counters.has_no_roster() {
        reasons.push(format!(
            "nothing_of_rosters: the events file names `roster`, and none that fits came to {} members",
            counters.without_roster
        ));
    }
    if let Some(late_s) = report.late_start_s {
        reasons.push(format!("late_start: clients had joined {late_s:.1} s after --start-at"));
    }
    let unjoined = 1.0 - report.joined as f64 / report.clients.max(1) as f64;
    if unjoined > bounds.unjoined_max {
        reasons.push(format!(
            "clients_missing: {} of {} clients joined",
            report.joined, report.clients
        ));
    }
    reasons
}

/// Idle and connect runs have no publishers, on purpose.
fn expects_messages(report: &Report) -> bool {
    report.scenario.publishers > 0
}

/// The exit code of what prevents a report.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    let is_usage = error.is::<throng_events::Error>() || error.is::<NamedTwice>();
    if is_usage { EXIT_USAGE } else { EXIT_ERROR }
}

#[must_use]
pub fn exit_code(report: &Report) -> u8 {
    if report.void {
        EXIT_VOID
    } else if report.slo.iter().any(|outcome| !outcome.met) {
        EXIT_SLO
    } else {
        EXIT_OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Percentiles, ThreadLoad};

    fn sound() -> Report {
        let mut report = Report { clients: 10, joined: 10, ..Report::default() };
        report.counters.published = 100;
        report.counters.acked = 100;
        report.counters.expected = 1_000;
        report.counters.delivered = 1_000;
        report.generator.threads.push(ThreadLoad {
            busy: 0.5,
            starved: 0.01,
            ..ThreadLoad::default()
        });
        report
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Report), want: &str) {
        let mut report = sound();
        change(&mut report);
        let reasons = void_reasons(&report);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].starts_with(want), "{reasons:?}");
    }

    #[test]
    fn a_sound_run_is_believed_and_loss_alone_does_not_void_it() {
        assert!(void_reasons(&sound()).is_empty());
        let mut lossy = sound();
        lossy.counters.delivered = 900;
        lossy.counters.missing = 100;
        assert!(void_reasons(&lossy).is_empty());
    }

    #[test]
    fn every_reason_voids() {
        check(|r| r.generator.threads[0].busy = 0.99, "generator_saturated");
        check(|r| r.generator.threads[0].starved = 0.2, "generator_starved");
        check(|r| r.counters.unknown = 1, "delivery_exceeded_expectation");
        check(|r| r.counters.delivered = 1_001, "delivery_exceeded_expectation");
        check(|r| r.counters.clock_backwards = 1, "clock_backwards");
        check(|r| r.counters.published = 0, "nothing_published");
        check(|r| r.counters.skipped = 1, "publisher_offline");
        check(|r| r.joined = 9, "clients_missing");
        check(|r| r.counters.publishers_lost = 1, "publisher_offline");
        check(|r| r.counters.refused_delivered = 1, "refused_delivered");
        check(|r| r.stopped_by = SERVER_CLOSED.into(), "ended_early");
        check(|r| (r.counters.expected, r.counters.delivered) = (0, 0), "nothing_expected");
        check(|r| r.counters.acked = 0, "nothing_acked");
        let no_roster = |r: &mut Report| {
            r.has_rosters = true;
            (r.counters.unconverged, r.counters.without_roster) = (10, 10);
        };
        check(no_roster, "nothing_of_rosters");
        check(|r| r.late_start_s = Some(0.5), "late_start");
        let late = Percentiles { p99: 20_000.0, ..Percentiles::default() };
        check(|r| r.latencies_us.extend([("lag".into(), late.clone())]), "behind_schedule");
    }

    #[test]
    fn acks_that_were_not_asked_for_and_rosters_that_came_void_nothing() {
        let mut report = sound();
        report.counters.acked = 0;
        report.scenario.load.acks = false;
        assert!(void_reasons(&report).is_empty());
        report.has_rosters = true;
        (report.counters.unconverged, report.counters.without_roster) = (10, 9);
        assert!(void_reasons(&report).is_empty());
    }

    #[test]
    fn a_run_without_a_delivery_is_void() {
        let mut report = sound();
        report.counters.delivered = 0;
        let reasons = void_reasons(&report);
        assert!(
            reasons.iter().any(|reason| reason.starts_with("nothing_delivered")),
            "{reasons:?}"
        );
    }
}

//! Phases: the accounts must close whatever happens to the clients meanwhile.

mod support;

use support::server::{self, Options};
use support::{LENIENT, Outcome, run};

fn phased(clients: u32, phases: &str) -> Outcome {
    let (_server, url) = server::start(Options::default());
    let scenario = format!(
        "clients = {clients}\npublishers = 2\nwarmup_s = 0.1\n{phases}\n[load]\nrate = 100.0\n{LENIENT}"
    );
    run(&url, &scenario, &[])
}

#[track_caller]
fn check_accounts(outcome: &Outcome) {
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert_eq!(outcome.number("missing"), 0.0, "{text}");
    assert_eq!(outcome.number("expected"), outcome.number("delivered"), "{text}");
    for fault in [
        "duplicated",
        "out_of_order",
        "order_violations",
        "unknown",
        "outside_membership",
        "unconverged",
    ] {
        assert_eq!(outcome.number(fault), 0.0, "{fault}\n{text}");
    }
    assert_eq!(outcome.report["errors"], serde_json::json!({}), "{text}");
}

#[test]
fn a_ramp_and_a_spike_publish_the_area_under_the_rate() {
    let outcome = phased(
        6,
        "[[phases]]\nkind = 'ramp'\nduration_s = 1.0\nrate_from = 0.0\n\
         [[phases]]\nkind = 'spike'\nduration_s = 0.5\nfactor = 4.0\n\
         [[phases]]\nduration_s = 0.5\n",
    );
    check_accounts(&outcome);
    assert_eq!(outcome.number("published"), 50.0 + 200.0 + 50.0, "{}", outcome.summary);
    assert_eq!(outcome.number("expected"), 1_800.0);
}

#[test]
fn churn_leaves_and_joins_without_a_gap_in_between() {
    let outcome = phased(8, "[[phases]]\nkind = 'churn'\nduration_s = 1.5\nper_s = 40.0\n");
    check_accounts(&outcome);
    // A client that is not back yet is skipped: on a busy machine there are fewer than 60.
    assert!(outcome.number("leaves") >= 5.0, "{}", outcome.summary);
    assert_eq!(outcome.number("joins"), outcome.number("leaves") + 8.0);
    // Two publishers stay for all 150 messages; the others miss some, and are not owed them.
    let expected = outcome.number("expected");
    assert!((300.0..1_200.0).contains(&expected), "{expected}");
}

#[test]
fn a_reconnect_storm_brings_all_clients_back() {
    let outcome = phased(
        10,
        "[[phases]]\nduration_s = 0.4\n\
         [[phases]]\nkind = 'reconnect'\nduration_s = 1.5\nfraction = 1.0\nover_s = 0.3\n",
    );
    check_accounts(&outcome);
    assert_eq!(outcome.number("reconnects"), 8.0, "{}", outcome.summary);
    assert_eq!(outcome.number("joins"), 18.0, "{}", outcome.summary);
    assert_eq!(outcome.number("disconnects"), 0.0);
    assert_eq!(outcome.number("latencies_us.handshake.count"), 18.0);
}

#[test]
fn late_comers_are_waited_for() {
    let outcome = phased(
        10,
        "[[phases]]\nduration_s = 0.4\n\
         [[phases]]\nkind = 'reconnect'\nduration_s = 0.2\nfraction = 1.0\nover_s = 2.0\n",
    );
    check_accounts(&outcome);
    assert_eq!(outcome.number("joins"), 18.0, "{}", outcome.summary);
    assert_eq!(outcome.number("absent"), 0.0);
}

#[test]
fn clients_not_back_at_the_end_are_reported() {
    let (_server, url) = server::start(Options::default());
    let scenario = format!(
        "clients = 10\npublishers = 2\nwarmup_s = 0.1\ndrain_s = 0.1\n\
         [[phases]]\nduration_s = 0.4\n\
         [[phases]]\nkind = 'reconnect'\nduration_s = 0.2\nfraction = 1.0\nover_s = 1e6\n\
         [load]\nrate = 100.0\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    assert_eq!(outcome.number("absent"), 8.0, "{}", outcome.summary);
    assert_eq!(outcome.report["errors"]["not back at the end: Offline"], 8);
}

#[test]
fn slow_readers_get_everything_late() {
    let outcome = phased(
        6,
        "late_after_ms = 200\n[[phases]]\nkind = 'slow'\nduration_s = 1.0\nfraction = 0.5\n\
         bytes_per_s = 0\n[[phases]]\nduration_s = 0.3\n",
    );
    check_accounts(&outcome);
    assert!(outcome.number("late") >= 100.0, "{}", outcome.summary);
    assert!(outcome.number("latency_us.max") >= 700_000.0, "{}", outcome.summary);
}

#[test]
fn late_clients_are_owed_only_later_messages() {
    let outcome = phased(4, "[[phases]]\nkind = 'ramp'\nduration_s = 1.0\nclients = 12\n");
    check_accounts(&outcome);
    assert_eq!(outcome.number("joins"), 12.0, "{}", outcome.summary);
    let expected = outcome.number("expected");
    assert!((400.0..1_200.0).contains(&expected), "{expected}");
}

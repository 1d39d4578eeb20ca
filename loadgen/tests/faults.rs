//! A server that is spoiled in one known way must be reported as exactly that.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::proxy::{self, Fault};
use support::server::{self, Options};
use support::{LENIENT, Outcome, run};
use throng_kit::Program;

/// 10 clients × 100 messages through a proxy with `fault`.
#[track_caller]
fn spoiled(fault: Fault, extra: &str) -> Outcome {
    let (_server, url) = server::start(Options::default());
    let (url, wire) = proxy::start_counting(&url, fault);
    let scenario = format!(
        "clients = 10\nduration_s = 1.0\nwarmup_s = 0.01\n{extra}\n[load]\nrate = 100.0\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &["--slo", "completeness=1", "--slo", "duplicated=0"]);
    let sent = wire.deliveries.load(Ordering::Relaxed);
    assert_eq!(sent, 1_000, "what the server sent is not what the fault was to be tried on");
    outcome
}

#[track_caller]
fn check(outcome: &Outcome, missing: f64, duplicated: f64, out_of_order: f64, code: i32) {
    let text = &outcome.summary;
    assert_eq!(outcome.number("published"), 100.0, "{text}");
    assert_eq!(outcome.number("expected"), 1_000.0, "{text}");
    assert_eq!(outcome.number("missing"), missing, "{text}");
    assert_eq!(outcome.number("delivered"), 1_000.0 - missing, "{text}");
    assert_eq!(outcome.number("duplicated"), duplicated, "{text}");
    assert_eq!(outcome.number("out_of_order"), out_of_order, "{text}");
    assert_eq!(outcome.report["void"], false, "{text}");
    assert_eq!(outcome.code, code, "{text}");
}

#[test]
fn the_wire_and_the_servers_metrics_say_the_same() {
    let (_server, url) = server::start(Options::default());
    let metrics = format!("{url}/metrics");
    let (url, wire) = proxy::start_counting(&url, Fault::None);
    let scenario = format!(
        "clients = 12\npublishers = 3\nduration_s = 1.0\nwarmup_s = 0.1\npayload = 'uniform:64-900'\n\
         server_metrics = '{metrics}'\nserver_deliveries_metric = 'small_deliveries_total'\n\
         [load]\nrate = 150.0\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert_eq!(outcome.number("expected"), 12.0 * 150.0, "{text}");
    assert_eq!(outcome.number("delivered"), 12.0 * 150.0, "{text}");
    assert_eq!(outcome.number("server.counted_deliveries"), 12.0 * 150.0, "{text}");
    let counted = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed) as f64;
    assert_eq!(counted(&wire.deliveries), 12.0 * 150.0, "{text}");
    // The proxy may have taken a heartbeat from the server that came after the generator's end.
    let heartbeats = counted(&wire.frames) - outcome.number("frames_in");
    let bytes = counted(&wire.bytes) - outcome.number("bytes_in");
    assert!(heartbeats >= 0.0 && bytes >= 0.0, "{heartbeats} frames, {bytes} bytes\n{text}");
    assert!(heartbeats <= 24.0 && bytes <= heartbeats * 100.0, "{heartbeats} {bytes}\n{text}");
}

#[test]
fn loss_is_reported_as_loss() {
    // Every 10th of each client's 100 deliveries, the last one included.
    let outcome = spoiled(Fault::Lose(10), "drain_s = 4.0");
    check(&outcome, 100.0, 0.0, 0.0, 4);
    assert_eq!(outcome.number("completeness"), 0.9);
}

#[test]
fn texts_that_come_altered_are_reported_as_corrupted_and_as_missing() {
    // Every 10th of each client's 100 deliveries: ten.
    let outcome = spoiled(Fault::Alter(10), "drain_s = 3.0");
    check(&outcome, 100.0, 0.0, 0.0, 4);
    assert_eq!(outcome.number("corrupted"), 100.0, "{}", outcome.summary);
    assert!(outcome.summary.contains("100 corrupted"), "{}", outcome.summary);
    let (_server, url) = server::start(Options::default());
    let url = proxy::start(&url, Fault::Alter(10));
    for (payload, code) in [("'128'", 4), ("'uniform:44-70000'", 4)] {
        let scenario = format!(
            "clients = 2\nduration_s = 1.0\nwarmup_s = 0.01\npayload = {payload}\ndrain_s = 1.0\n[load]\nrate = 60.0\n{LENIENT}"
        );
        let outcome = run(&url, &scenario, &["--slo", "corrupted=0", "--slo", "missing<=100"]);
        assert_eq!(outcome.code, code, "{}", outcome.summary);
        assert!(outcome.summary.contains("MISSED: corrupted=0 (is 12)"), "{}", outcome.summary);
        assert!(outcome.summary.contains("met: missing<=100"), "{}", outcome.summary);
    }
}

#[test]
fn duplicates_are_reported_as_duplicates() {
    check(&spoiled(Fault::Duplicate(20), ""), 0.0, 50.0, 0.0, 4);
}

#[test]
fn reordering_is_reported_as_reordering() {
    // One in 30 changes places with its successor: three per client.
    check(&spoiled(Fault::Swap(30), ""), 0.0, 0.0, 30.0, 0);
}

/// Ten clients, of which one is behind a proxy that spoils its deliveries; five publishers
/// take turns, so that two messages in a row are of different ones.
fn spoiled_for_one(fault: Fault) -> Outcome {
    let (_server, url) = server::start(Options::default());
    let through_proxy = proxy::start(&url, fault);
    let straight = format!("'{url}', ").repeat(9);
    let scenario = format!(
        "targets = [{straight}'{through_proxy}']\nclients = 10\npublishers = 5\nduration_s = 2.0\n\
         warmup_s = 0.01\ndrain_s = 5.0\n[load]\nrate = 50.0\n{LENIENT}"
    );
    run("", &scenario, &["--slo", "order_violations=0"])
}

#[test]
fn messages_of_two_publishers_that_one_member_receives_the_other_way_round_are_order_violations() {
    let outcome = spoiled_for_one(Fault::Swap(30));
    let text = &outcome.summary;
    assert_eq!(outcome.number("missing"), 0.0, "{text}");
    assert_eq!(outcome.number("out_of_order"), 0.0, "{text}");
    assert_eq!(outcome.number("order_violations"), 3.0, "{text}");
    assert_eq!(outcome.number("order_compared"), 100.0, "{text}");
    let mismatches = outcome.report["order_mismatches"].as_array().unwrap();
    assert_eq!(mismatches.len(), 3, "{text}");
    assert!(mismatches.iter().all(|one| one["room"] == 1 && one["members"] == 1), "{text}");
    assert!(text.contains("order       3 violations among 100 messages"), "{text}");
    assert_eq!(outcome.code, 4, "{text}");
}

#[test]
fn what_one_member_misses_is_no_order_violation() {
    let outcome = spoiled_for_one(Fault::Lose(10));
    let text = &outcome.summary;
    assert_eq!(outcome.number("missing"), 10.0, "{text}");
    assert_eq!(outcome.number("order_violations"), 0.0, "{text}");
    assert_eq!(outcome.number("order_compared"), 100.0, "{text}");
}

#[test]
fn a_slow_path_shows_in_every_percentile() {
    let outcome = spoiled(Fault::Delay(Duration::from_millis(60)), "late_after_ms = 50");
    check(&outcome, 0.0, 0.0, 0.0, 0);
    assert!(outcome.number("latency_us.min") >= 60_000.0, "{}", outcome.summary);
    assert_eq!(outcome.number("late"), 1_000.0);
    assert!(outcome.number("latencies_us.ack.min") >= 60_000.0);
}

#[test]
fn a_stall_counts_for_every_message_that_was_due_in_it() {
    // A closed loop would send one message into the stall and report one slow delivery.
    let outcome = spoiled(Fault::Pause(20, Duration::from_millis(400)), "late_after_ms = 100");
    check(&outcome, 0.0, 0.0, 0.0, 0);
    let late = outcome.number("late");
    // 300 ms at 100/s for each of 10 clients.
    assert!(late >= 280.0, "{late} late\n{}", outcome.summary);
    assert!(outcome.number("latency_us.max") >= 390_000.0);
    assert!(outcome.number("latency_us.p90") >= 200_000.0);
}

#[test]
fn what_is_published_while_a_cut_member_is_away_is_owed() {
    let (_server, url) = server::start(Options::default());
    let through_proxy = proxy::start(&url, Fault::Cut(10));
    // Clients take the targets in turn; the one publisher is client 6, straight at the server.
    let scenario = format!(
        "targets = ['{url}', '{through_proxy}']\nclients = 12\nduration_s = 0.5\nwarmup_s = 0.01\ndrain_s = 8.0\n\
         [load]\nrate = 100.0\n{LENIENT}"
    );
    let outcome = run("", &scenario, &[]);
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert_eq!(outcome.number("disconnects"), 6.0, "{text}");
    assert_eq!(outcome.report["errors"]["closed: end of stream"], 6, "{text}");
    assert_eq!(outcome.number("delivered"), 6.0 * 50.0 + 6.0 * 9.0, "{text}");
    assert_eq!(outcome.number("missing"), 6.0 * 41.0, "{text}");
    assert_eq!(outcome.number("publishers_lost"), 0.0, "{text}");
}

#[test]
fn a_server_that_is_not_there_voids_the_run() {
    // Bound and dropped: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let outcome = run(&format!("http://127.0.0.1:{port}"), "clients = 3\nduration_s = 2.0\n", &[]);
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    assert_eq!(outcome.report["stopped_by"], "no client could join");
    let reasons = outcome.report["void_reasons"].to_string();
    assert!(reasons.contains("nothing_published") && reasons.contains("clients_missing"));
    assert_eq!(outcome.number("connect_failures"), 3.0);
}

#[test]
fn a_starved_generator_voids_its_own_run() {
    let (_server, url) = server::start(Options::default());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                throng_loadgen::thread::pin(0).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let scenario = "protocol = 'raw'\nclients = 50\npublishers = 5\nduration_s = 1.5\n\
                        warmup_s = 0.3\ncores = [0]\n[load]\nmode = 'closed'\noutstanding = 8\n";
        let outcome = support::run_as(Some((Program::Nice, &["-n", "19"])), &url, scenario, &[]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome
    });
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    let reasons = outcome.report["void_reasons"].to_string();
    assert!(reasons.contains("generator_starved"), "{}", outcome.summary);
    assert_eq!(outcome.report["void"], true);
}

//! Whole runs against a small server: what is counted must agree with the server's own count.

mod support;

use std::sync::atomic::Ordering;

use support::server::{self, Options};
use support::{LENIENT, run};
use throng_kit::{Process, Signal, TIMEOUT};

#[track_caller]
fn check_complete(outcome: &support::Outcome, server: &server::Server) {
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert!(outcome.number("published") > 0.0, "{text}");
    assert_eq!(outcome.number("expected"), outcome.number("delivered"), "{text}");
    assert_eq!(outcome.number("completeness"), 1.0, "{text}");
    for fault in [
        "missing",
        "duplicated",
        "out_of_order",
        "order_violations",
        "unknown",
        "outside_membership",
    ] {
        assert_eq!(outcome.number(fault), 0.0, "{fault}\n{text}");
    }
    assert_eq!(outcome.report["errors"], serde_json::json!({}), "{text}");
    let counted = server.deliveries.load(Ordering::Relaxed) as f64;
    assert_eq!(outcome.number("delivered") + outcome.number("edge"), counted, "{text}");
    assert_eq!(outcome.number("published"), server.published.load(Ordering::Relaxed) as f64);
}

#[test]
fn raw_open_loop_counts_what_the_server_counts() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "protocol = 'raw'\nclients = 20\npublishers = 3\nduration_s = 1.5\nwarmup_s = 0.3\n\
         [load]\nrate = 100.0\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    check_complete(&outcome, &server);
    assert_eq!(outcome.number("published"), 150.0);
    assert_eq!(outcome.number("expected"), 3_000.0);
    assert_eq!(outcome.report["stopped_by"], "duration");
    assert!(outcome.number("latency_us.p99") >= outcome.number("latency_us.p50"));
    // Every message is in one of the seconds.
    let published = |second: usize| outcome.report["seconds"][second]["published"].as_u64();
    let all: u64 = (0..9).filter_map(published).sum();
    assert_eq!(all, 150, "{}", outcome.report["seconds"]);
    // Only what was due after the warm-up has a latency.
    let sampled = outcome.number("latency_us.count");
    assert!((2_300.0..=2_440.0).contains(&sampled), "{sampled}");
}

#[test]
fn chat_with_poisson_arrivals_and_acks_over_several_rooms_and_threads() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "clients = 24\nrooms = 3\npublishers = 6\nthreads = 2\nduration_s = 1.5\nwarmup_s = 0.3\n\
         payload = 'uniform:64-2000'\nseed = 5\n[load]\nrate = 120.0\narrivals = 'poisson'\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    check_complete(&outcome, &server);
    assert_eq!(outcome.number("acked"), outcome.number("published"));
    assert!(outcome.number("latencies_us.ack.count") > 0.0);
    assert!(outcome.number("latencies_us.join.count") == 24.0);
    assert!(outcome.number("latencies_us.convergence.count") >= 24.0);
    assert_eq!(outcome.number("unconverged"), 0.0);
}

#[test]
fn engine_io_3_clients_keep_themselves_alive() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "protocol = 'eio3'\nclients = 6\nduration_s = 1.2\nwarmup_s = 0.2\n[load]\nrate = 50.0\n{LENIENT}"
    );
    check_complete(&run(&url, &scenario, &[]), &server);
}

#[test]
fn the_closed_loop_keeps_its_messages_in_flight() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "clients = 8\npublishers = 2\nduration_s = 1.2\nwarmup_s = 0.2\n\
         [load]\nmode = 'closed'\noutstanding = 3\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    check_complete(&outcome, &server);
    assert!(outcome.number("published") > 12.0, "{}", outcome.summary);
}

#[test]
fn a_member_of_several_rooms_is_owed_the_messages_of_each() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "clients = 9\nrooms = 3\nrooms_per_client = 2\npublishers = 3\nduration_s = 1.0\n\
         warmup_s = 0.2\n[load]\nrate = 60.0\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    check_complete(&outcome, &server);
    assert_eq!(outcome.number("expected"), outcome.number("published") * 6.0);
}

#[test]
fn refused_messages_are_not_expected() {
    let (server, url) = server::start(Options { refuse_every: 4, ..Options::default() });
    let scenario =
        format!("clients = 5\nduration_s = 1.0\nwarmup_s = 0.2\n[load]\nrate = 80.0\n{LENIENT}");
    let outcome = run(&url, &scenario, &[]);
    assert_eq!(outcome.number("refused"), 20.0, "{}", outcome.summary);
    assert_eq!(outcome.number("expected"), 60.0 * 5.0, "{}", outcome.summary);
    assert_eq!(outcome.number("missing"), 0.0, "{}", outcome.summary);
    assert_eq!(outcome.report["errors"]["refused: message busy"], 20);
    assert_eq!(server.deliveries.load(Ordering::Relaxed), 300);
}

#[test]
fn polling_clients_get_the_same_over_http() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "transport = 'polling'\nclients = 6\npublishers = 2\nduration_s = 1.0\nwarmup_s = 0.2\n\
         [load]\nrate = 60.0\n{LENIENT}"
    );
    check_complete(&run(&url, &scenario, &[]), &server);
    assert!(server.polls.load(Ordering::Relaxed) > 12);
}

#[test]
fn upgrading_clients_start_with_polling_and_go_on_with_websocket() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "transport = 'upgrade'\nclients = 6\npublishers = 2\nduration_s = 1.0\nwarmup_s = 0.2\n\
         [load]\nrate = 60.0\n{LENIENT}"
    );
    check_complete(&run(&url, &scenario, &[]), &server);
    assert_eq!(server.upgrades.load(Ordering::Relaxed), 6);
}

#[test]
fn clients_come_from_the_addresses_of_the_scenario() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "protocol = 'raw'\nclients = 6\nduration_s = 0.5\nwarmup_s = 0.1\n\
         sources = ['127.0.0.2', '127.0.0.3', '127.0.0.4']\n{LENIENT}"
    );
    check_complete(&run(&url, &scenario, &[]), &server);
    let sources: Vec<_> = server.sources.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
}

#[test]
fn two_generators_in_one_room_judge_their_own_messages() {
    let (server, url) = server::start(Options::default());
    let scenario = format!(
        "protocol = 'raw'\nclients = 5\nduration_s = 1.5\nwarmup_s = 0.1\n[load]\nrate = 40.0\n{LENIENT}"
    );
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| run(&url, &scenario, &[]))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for outcome in &outcomes {
        assert_eq!(outcome.code, 0, "{}", outcome.summary);
        assert_eq!(outcome.number("published"), 60.0);
        assert_eq!(outcome.number("delivered"), 300.0, "{}", outcome.summary);
        assert!(outcome.number("foreign") > 0.0, "{}", outcome.summary);
    }
    assert_eq!(server.published.load(Ordering::Relaxed), 120);
}

#[test]
fn an_interrupt_ends_the_run_with_a_report() {
    let (server, url) = server::start(Options::default());
    let json = support::scratch().join("report.json");
    let mut tool = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
    tool.args(["run", "--target", &url, "--protocol", "raw", "--clients", "3", "--duration", "60"]);
    tool.args(["--rate", "50", "--quiet", "--json", json.to_str().unwrap()]);
    let mut tool = Process::start(&tool).unwrap();
    let enough = || server.published.load(Ordering::Relaxed) >= 20;
    tool.wait_until(TIMEOUT, enough).unwrap();
    tool.signal(Signal::INT);
    tool.wait(TIMEOUT);
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report["stopped_by"], "interrupt");
    assert!(report["published"].as_u64().unwrap() >= 20);
    assert_eq!(report["missing"], 0);
}

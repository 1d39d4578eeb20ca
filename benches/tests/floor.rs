//! The floor program must be a faithful broadcaster, or comparing with it means nothing.

use std::net::TcpListener;

use throng_benches::floor::{self, Sending};
use throng_loadgen::run::{Options, run};
use throng_loadgen::scenario::{Distrust, Load, Mode, Protocol, Scenario};

fn check(sending: Sending) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    // Serves until the test process ends.
    std::thread::spawn(move || floor::serve(&listener, sending));
    let scenario = Scenario {
        targets: vec![target],
        protocol: Protocol::Raw,
        clients: 30,
        publishers: 4,
        load: Load { mode: Mode::Closed, outstanding: 4, ..Load::default() },
        duration_s: 1.0,
        warmup_s: 0.2,
        distrust: Distrust { busy_max: 2.0, starved_max: 2.0, ..Distrust::default() },
        ..Scenario::default()
    };
    let report = run(scenario, &Options::default()).unwrap();
    assert!(!report.void, "{:?}", report.void_reasons);
    assert!(report.counters.published > 100, "{}", report.counters.published);
    assert_eq!(report.counters.expected, report.counters.published * 30);
    assert_eq!(report.counters.delivered, report.counters.expected);
    assert_eq!(report.counters.duplicated + report.counters.out_of_order, 0);
}

#[test]
fn one_send_per_message_reaches_all_clients_once() {
    check(Sending::PerMessage);
}

#[test]
fn one_send_per_turn_reaches_all_clients_once() {
    check(Sending::PerTurn);
}

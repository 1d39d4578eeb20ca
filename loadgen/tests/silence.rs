//! A server that stops answering is named in words, within `connect.timeout_ms`.

mod support;

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use support::{Outcome, run};
use tungstenite::{Message, WebSocket};

const TIMEOUT_MS: u64 = 1_500;
/// What a busy machine may add to a timeout.
const SLACK: Duration = Duration::from_secs(10);

/// A WebSocket server that sends each of `packets` when the client has sent as many texts as it holds,
/// and nothing after them.
fn mute_after(packets: &'static [(usize, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || speak(tungstenite::accept(stream).ok()?, packets));
        }
    });
    url
}

fn speak(mut socket: WebSocket<TcpStream>, packets: &[(usize, &str)]) -> Option<()> {
    let mut texts = 0;
    for (after, packet) in packets {
        while texts < *after {
            texts += usize::from(socket.read().ok()?.is_text());
        }
        socket.send(Message::text(*packet)).ok()?;
    }
    while socket.read().is_ok() {}
    Some(())
}

#[track_caller]
fn check_named(url: &str, scenario: &str, what: &str) -> Outcome {
    let scenario = format!(
        "clients = 3\nduration_s = 2.0\n{scenario}\n[connect]\ntimeout_ms = {TIMEOUT_MS}\n"
    );
    let started = Instant::now();
    let outcome = run(url, &scenario, &[]);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(TIMEOUT_MS) + SLACK, "{took:?}\n{}", outcome.summary);
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    assert_eq!(outcome.report["stopped_by"], "no client could join");
    let error = format!("timeout: {what} was not answered within {TIMEOUT_MS} ms");
    assert_eq!(outcome.report["errors"], serde_json::json!({ error: 3 }), "{}", outcome.summary);
    outcome
}

#[test]
fn an_upgrade_that_is_never_answered() {
    // Connections wait in the queue of the listener.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    check_named(&url, "", "the WebSocket upgrade");
    check_named(&url, "transport = 'polling'", "the Engine.IO handshake");
    check_named(&url, "transport = 'upgrade'", "the Engine.IO handshake");
    check_named(&url, "protocol = 'raw'", "the WebSocket upgrade");
}

#[test]
fn a_connection_that_is_never_accepted() {
    // The queue of one place is full: the kernel drops what comes after.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    check_named(&format!("http://{address}"), "", "the TCP connection");
}

#[test]
fn a_handshake_that_is_never_answered() {
    check_named(&mute_after(&[]), "", "the Engine.IO handshake");
}

#[test]
fn a_connect_that_is_never_answered() {
    let packets = &[(0, r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#)];
    check_named(&mute_after(packets), "", "the Socket.IO CONNECT");
}

#[test]
fn a_join_that_is_never_answered() {
    let packets = &[
        (0, r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#),
        (1, r#"40{"sid":"p"}"#),
    ];
    let outcome = check_named(&mute_after(packets), "", "the join of a room");
    assert_eq!(outcome.number("connect_failures"), 3.0, "{}", outcome.summary);
}

#[test]
fn more_clients_than_slots_end_as_soon() {
    let scenario = "threads = 2\n[load]\nrate = 1.0\n";
    let scenario = format!(
        "clients = 40\nduration_s = 2.0\n{scenario}[connect]\ntimeout_ms = {TIMEOUT_MS}\nconcurrency = 4\n"
    );
    let started = Instant::now();
    let outcome = run(&mute_after(&[]), &scenario, &[]);
    assert!(started.elapsed() < Duration::from_millis(TIMEOUT_MS) + SLACK);
    assert_eq!(outcome.report["stopped_by"], "no client could join", "{}", outcome.summary);
}

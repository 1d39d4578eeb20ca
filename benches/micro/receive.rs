//! The generator's receive path: what one delivery costs the generator, without the kernel's share. At 4 M
//! deliveries/s on one core there are 250 ns for everything.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use divan::Bencher;
use divan::counter::ItemsCount;
use throng_loadgen::body;
use throng_loadgen::clock::now_ns;
use throng_loadgen::credentials::Credentials;
use throng_loadgen::dialect::Dialect;
use throng_loadgen::frame;
use throng_loadgen::plan::Plan;
use throng_loadgen::scenario::{Protocol, Scenario};
use throng_loadgen::session::{Local, Session, State, Turn};
use throng_loadgen::shared::Shared;
use throng_loadgen::stamp::Stamp;
use tungstenite::handshake::derive_accept_key;

fn main() {
    divan::main();
}

const RUN: u16 = 0xbeef;
const PUBLISHERS: u16 = 16;

fn shared(protocol: Protocol, clients: usize) -> Shared {
    let scenario =
        Scenario { protocol, clients, publishers: usize::from(PUBLISHERS), ..Scenario::default() };
    let plan = Plan::new(&scenario, usize::MAX);
    let dialect = Dialect::new(&scenario).expect("no file is read");
    let shared = Shared::new(scenario, Vec::new(), plan, (dialect, Credentials::default()), RUN);
    shared.times.measure_ns.store(1, Ordering::Relaxed);
    shared.times.end_ns.store(u64::MAX, Ordering::Relaxed);
    shared
}

/// A client that has just joined.
fn joined(shared: &Shared, local: &mut Local, client: usize) -> Session {
    let mut session = Session::new(shared, shared.plan.seats[client].clone());
    session.state = State::ExpectUpgrade;
    session.accept = derive_accept_key(b"k");
    let mut bytes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        session.accept
    )
    .into_bytes();
    if shared.scenario.protocol == Protocol::Eio4 {
        for packet in ["0{\"pingInterval\":25000}", "40{\"sid\":\"s\"}", "430[{\"ok\":true}]"] {
            frame::put_unmasked(&mut bytes, frame::TEXT, packet.as_bytes());
        }
    }
    let mut turn = Turn::new(shared, local, now_ns());
    let used = session.consume(&mut turn, &bytes).expect("a handshake");
    assert_eq!((used, session.state), (bytes.len(), State::Joined));
    session
}

/// 64 messages, four of each publisher, as one read would bring them.
fn batch(protocol: Protocol, first: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for k in 0..64u32 {
        let mut text = [0; 128];
        let publisher = (k % u32::from(PUBLISHERS)) as u16;
        let n = first + k / u32::from(PUBLISHERS);
        let stamp = Stamp { run: RUN, room: 0, publisher, n, intended_ns: now_ns(), size: 0 };
        body::write(stamp, &mut text);
        let text = std::str::from_utf8(&text).expect("a stamp is text");
        let payload = match protocol {
            Protocol::Raw => text.to_owned(),
            _ => format!(
                "42[\"message\",{{\"userid\":\"u{publisher}\",\"username\":\"user{publisher}\",\"src\":\"/avatars/1.svg\",\"msg\":\"{text}\",\"img\":\"\",\"roomid\":1,\"time\":\"2026-01-01T00:00:00.000Z\",\"id\":{n},\"seq\":{n}}}]"
            ),
        };
        frame::put_unmasked(&mut bytes, frame::TEXT, payload.as_bytes());
    }
    bytes
}

/// 1000 clients each take the same batch; items are deliveries.
fn receive(bencher: Bencher<'_, '_>, protocol: Protocol) {
    const CLIENTS: usize = 1000;
    let shared = shared(protocol, CLIENTS);
    let mut local = Local::default();
    let mut sessions: Vec<_> =
        (0..CLIENTS).map(|client| joined(&shared, &mut local, client)).collect();
    let mut first = 0;
    bencher
        .counter(ItemsCount::new(64 * CLIENTS))
        .with_inputs(|| {
            let bytes = batch(protocol, first);
            first += 4;
            bytes
        })
        .bench_local_refs(|bytes| {
            for session in &mut sessions {
                let mut turn = Turn::new(&shared, &mut local, now_ns());
                let used = session.consume(&mut turn, bytes).expect("deliveries");
                assert_eq!(used, bytes.len());
            }
        });
    let counters = &local.stats.counters;
    assert_eq!(counters.delivered, u64::from(first) * 16 * CLIENTS as u64);
    assert_eq!(counters.duplicated + counters.out_of_order + counters.foreign, 0);
}

#[divan::bench]
fn coalesced_raw(bencher: Bencher<'_, '_>) {
    receive(bencher, Protocol::Raw);
}

#[divan::bench]
fn coalesced_socketio(bencher: Bencher<'_, '_>) {
    receive(bencher, Protocol::Eio4);
}

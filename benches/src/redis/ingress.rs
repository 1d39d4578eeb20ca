//! A program publishes broadcasts in the format of socket.io's emitters, at one rate after the
//! other; a member counts what arrives at its socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rmpv::Value;

use super::member::Member;
use super::{COLUMNS, Lab, Series};
use crate::result::Part;
use crate::target::Target;
use crate::users::users;

const RATES: [usize; 7] = [50_000, 100_000, 150_000, 200_000, 300_000, 400_000, 600_000];
const TICK: Duration = Duration::from_millis(2);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Share of the rate that the publisher must keep.
const KEPT: f64 = 0.97;
const HIGHEST: &str = "highest rate at which all arrived, events/s";

pub(super) fn part() -> Part {
    let text = format!(
        "Events with a text of 128 characters for one room, pipelined, through Redis and a node of \
         one shard to a member's socket, for two seconds at one rate after the other ({} to {} \
         thousand/s) until some do not arrive, or Redis does not take them as fast.",
        RATES[0] / 1000,
        RATES[RATES.len() - 1] / 1000
    );
    Part { name: "ingress".into(), ..Part::new("Events of other programs", text, &COLUMNS) }
}

pub(super) fn targets(series: &Series) -> Vec<Target> {
    let highest = series.median(HIGHEST);
    let what = "events of other programs through Redis to a socket";
    highest.map(|rate| Target::at_least(what, rate, 100_000.0, "/s")).into_iter().collect()
}

pub(super) fn run(lab: &Lab, repetition: u32, series: &mut Series) -> anyhow::Result<()> {
    let room = 1_000 + repetition;
    let token = users(&lab.node, 1)?.remove(0);
    let arrivals = Member::enter(&lab.node, &token, room)?.listen("notice");
    let mut stream = TcpStream::connect(lab.redis.trim_start_matches("redis://"))?;
    let mut answers = stream.try_clone()?;
    thread::spawn(move || while answers.read(&mut [0; 1 << 16]).is_ok_and(|read| read > 0) {});
    let publish = publication(room);
    // Until the member has entered.
    let deadline = Instant::now() + TIMEOUT;
    while arrivals.recv_timeout(Duration::from_millis(50)).is_err() {
        ensure!(Instant::now() < deadline, "nothing arrives");
        stream.write_all(&publish)?;
    }
    while arrivals.recv_timeout(Duration::from_millis(500)).is_ok() {}
    let step = Duration::from_millis(if lab.is_trial { 200 } else { 2_000 });
    let mut highest = 0.0;
    let mut share = 1.0;
    for rate in RATES {
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < step {
            // Behind its schedule it sends more at once, so the rate is kept if Redis can.
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as usize;
            stream.write_all(&publish.repeat(due - sent))?;
            sent = due;
            thread::sleep(TICK);
        }
        let offered = sent as f64 / begun.elapsed().as_secs_f64();
        let mut arrived = 0;
        while arrivals.recv_timeout(Duration::from_secs(1)).is_ok() {
            arrived += 1;
        }
        share = f64::from(arrived) / sent as f64;
        eprintln!("offered {offered:.0}/s: {:.1} % of {sent}", share * 100.0);
        if arrived as usize != sent || offered < rate as f64 * KEPT {
            break;
        }
        highest = offered;
    }
    series.add(HIGHEST, highest);
    series.add("arrived at the rate above it, or at the last, %", share * 100.0);
    Ok(())
}

/// `PUBLISH`, as the wire has it, of what `@socket.io/redis-emitter` would send.
fn publication(room: u32) -> Vec<u8> {
    let name = format!("room{room}");
    let map = |pairs: Vec<(&str, Value)>| {
        Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    };
    let data = Value::Array(vec!["notice".into(), map(vec![("text", "x".repeat(128).into())])]);
    let packet = map(vec![("type", 2.into()), ("data", data), ("nsp", "/".into())]);
    let rooms = Value::Array(vec![name.as_str().into()]);
    let options =
        map(vec![("rooms", rooms), ("except", Value::Array(vec![])), ("flags", map(vec![]))]);
    let mut payload = Vec::new();
    let broadcast = Value::Array(vec!["emitter".into(), packet, options]);
    rmpv::encode::write_value(&mut payload, &broadcast).expect("memory takes it");
    let mut command = redis::cmd("PUBLISH");
    command.arg(format!("socket.io#/#{name}#")).arg(payload);
    command.get_packed_command()
}

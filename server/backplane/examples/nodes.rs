//! What Redis costs between sockets: `cargo xtask bench redis` starts the nodes and runs it.
//!
//! `nodes latency NODE NODE`: somebody on the first node talks, one message after the other, and is
//! heard there and on the other. `nodes ingress NODE REDIS`: a program publishes broadcasts in the
//! format of socket.io's emitters, pipelined, at one rate after the other; a member counts what
//! arrives at his socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_backplane::adapter::encode;
use tungstenite::{Message, WebSocket};

const ROOM: u32 = 1;
const WARM_UP: usize = 500;
const MESSAGES: usize = 5_000;
const TICK: Duration = Duration::from_millis(2);
const STEP: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);

type Session = WebSocket<TcpStream>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["latency", here, there] => latency(here, there),
        ["ingress", node, redis] => ingress(node, redis),
        _ => panic!("latency NODE NODE, or ingress NODE REDIS"),
    }
}

/// A new user's session in the room. `host`: `127.0.0.1:port`.
fn enter(node: &str, name: &str) -> Session {
    let host = node.trim_start_matches("http://");
    let body = json!({ "name": format!("{name}@example.com"), "password": "correct horse" });
    let mut stream = TcpStream::connect(host).expect("the node listens");
    let body = body.to_string();
    write!(
        stream,
        "POST /api/register HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, json) = answer.split_once("\r\n\r\n").expect("a body");
    let json: Value = serde_json::from_str(json).expect("JSON");
    let token = json["user"]["api_token"].as_str().expect("a token");

    let stream = TcpStream::connect(host).expect("the node listens");
    stream.set_nodelay(true).expect("a socket");
    let url = format!("ws://{host}/socket.io/?EIO=4&transport=websocket");
    let (mut session, _) = tungstenite::client(url, stream).expect("a WebSocket");
    session.send(Message::text(format!(r#"40{{"token":"{token}"}}"#))).expect("a socket");
    session
        .send(Message::text(format!(r#"420["room",{{"roomid":{ROOM},"presence":"count"}}]"#)))
        .expect("a socket");
    while !text(&mut session).starts_with("430[") {}
    session
}

/// The next text; pings are answered.
fn text(session: &mut Session) -> String {
    loop {
        let Message::Text(text) = session.read().expect("the session goes on") else { continue };
        if text.as_str() != "2" {
            return text.as_str().to_owned();
        }
        session.send(Message::text("3")).expect("a socket");
    }
}

/// When each event of this name arrived.
fn listen(mut session: Session, event: &'static str) -> Receiver<Instant> {
    let (heard, hears) = channel();
    thread::spawn(move || {
        let prefix = format!(r#"42["{event}""#);
        loop {
            if text(&mut session).starts_with(&prefix) && heard.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    hears
}

fn latency(here: &str, there: &str) {
    let publisher = enter(here, "publisher");
    let mut stream = publisher.get_ref().try_clone().expect("a socket");
    // What it hears itself is read so that its socket does not fill up.
    let _own = listen(publisher, "message");
    let beside = listen(enter(here, "beside"), "message");
    let beyond = listen(enter(there, "beyond"), "message");
    let (mut on_here, mut on_there, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let padding = "x".repeat(128);
    for index in 0..WARM_UP + MESSAGES {
        let begun = Instant::now();
        let said = format!(r#"42["message",{{"roomid":{ROOM},"msg":"{padding}"}}]"#);
        stream.write_all(&masked(&said)).expect("a socket");
        let heard = |listener: &Receiver<Instant>| {
            let at = listener.recv_timeout(PATIENCE).expect("every message is heard");
            u64::try_from(at.duration_since(begun).as_micros()).expect("it is short")
        };
        let (near, far) = (heard(&beside), heard(&beyond));
        if index >= WARM_UP {
            on_here.push(near);
            on_there.push(far);
            added.push(far.saturating_sub(near));
        }
    }
    for (name, times) in
        [("same node", &mut on_here), ("other node", &mut on_there), ("added", &mut added)]
    {
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 1000];
        println!(
            "latency   {name:<10} p50 {:>5} us, p99 {:>5} us, p99.9 {:>5} us",
            at(500),
            at(990),
            at(999)
        );
    }
}

/// A text frame of a client, with a mask that changes nothing.
fn masked(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("it is short").to_be_bytes();
    [&[0x81, 0x80 | 126][..], &length, &[0; 4], text.as_bytes()].concat()
}

fn ingress(node: &str, redis: &str) {
    let heard = listen(enter(node, "listener"), "news");
    let host = redis.trim_start_matches("redis://");
    let mut stream = TcpStream::connect(host).expect("Redis listens");
    let mut answers = stream.try_clone().expect("a socket");
    thread::spawn(move || while answers.read(&mut [0; 1 << 16]).is_ok_and(|read| read > 0) {});
    let event = ["news".into(), json!({ "text": "x".repeat(128) })];
    let payload = encode("emittr", &event, "room1");
    let channel = "socket.io#/#room1#";
    let mut publish =
        format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), payload.len())
            .into_bytes();
    publish.extend(&payload);
    publish.extend(b"\r\n");
    // Until the node has subscribed to the room's channel.
    let deadline = Instant::now() + PATIENCE;
    while heard.recv_timeout(Duration::from_millis(50)).is_err() {
        assert!(Instant::now() < deadline, "nothing arrives");
        stream.write_all(&publish).expect("Redis reads");
    }
    while heard.recv_timeout(Duration::from_millis(500)).is_ok() {}
    for rate in [25_000, 50_000, 75_000, 100_000, 125_000, 150_000, 200_000_usize] {
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < STEP {
            // Behind its schedule it sends more at once, so the rate is kept if Redis can.
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as usize;
            stream.write_all(&publish.repeat(due - sent)).expect("Redis reads");
            sent = due;
            thread::sleep(TICK);
        }
        let offered = sent as f64 / begun.elapsed().as_secs_f64();
        let mut arrived = 0;
        let mut last = begun;
        while let Ok(at) = heard.recv_timeout(Duration::from_secs(1)) {
            arrived += 1;
            last = at;
        }
        let share = 100.0 * f64::from(arrived) / sent as f64;
        let rate = f64::from(arrived) / last.duration_since(begun).as_secs_f64();
        println!(
            "ingress   offered {offered:>7.0}/s: {rate:>7.0}/s at the socket, {share:>5.1} % of {sent}"
        );
    }
}

//! `examples/rooms.rs` as its clients see it: real WebSockets and polling, on all shards of the machine;
//! and what an application may set in `Options`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use throng_engine::rooms::{Event, Handler, Rooms, Settings, Socket};
use throng_kit::{Process, Signal, http, own};
use throng_runtime::{Options, StartError, axum, serve};
use tungstenite::{Message, WebSocket};

/// Clients of one test. The kernel spreads them over the shards.
const CLIENTS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(30);
const LISTENING: &str = "listening on http://";

struct Example {
    process: Process,
    addr: SocketAddr,
}

impl Example {
    /// Cargo builds examples before tests, into the folder next to theirs.
    fn path() -> PathBuf {
        let test = std::env::current_exe().expect("a test has a path");
        let built = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
        built.join("examples/rooms")
    }

    fn start() -> Example {
        Example::with(&[])
    }

    fn with(args: &[&str]) -> Example {
        let mut command = own(Example::path());
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        let mut process = Process::start(&command).expect("the example is built");
        let addr =
            process.wait_for_line(TIMEOUT, |line| line.strip_prefix(LISTENING)?.parse().ok());
        Example { addr: addr.expect("it says where it listens"), process }
    }
}

struct Client {
    socket: WebSocket<TcpStream>,
    id: String,
    next_ack: u64,
    /// Events that arrived before an ack.
    heard: Vec<Value>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Client {
        let stream = http::connect(addr);
        stream.set_read_timeout(Some(TIMEOUT)).expect("it is a socket");
        let url = format!("ws://{addr}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, stream).expect("the handshake is accepted");
        let mut client = Client { socket, id: String::new(), next_ack: 0, heard: Vec::new() };
        assert!(client.read().starts_with("0{"), "the open packet");
        client.send("40");
        let connected = client.read();
        let connected: Value =
            serde_json::from_str(connected.strip_prefix("40").expect("CONNECT")).expect("JSON");
        client.id = connected["sid"].as_str().expect("a socket id").to_owned();
        client
    }

    fn send(&mut self, packet: &str) {
        self.socket.send(Message::text(packet)).expect("the server reads");
    }

    /// The next packet; pings are answered.
    fn read(&mut self) -> String {
        loop {
            let message = self.socket.read().expect("a packet");
            match message.to_text().expect("text") {
                "2" => self.send("3"),
                packet => return packet.to_owned(),
            }
        }
    }

    /// Sends an event and returns the argument of its ack.
    fn ask(&mut self, name: &str, arg: Value) -> Value {
        let ack = self.next_ack;
        self.next_ack += 1;
        self.send(&format!("42{ack}{}", json!([name, arg])));
        loop {
            let packet = self.read();
            if let Some(args) = packet.strip_prefix(&format!("43{ack}")) {
                let args: Vec<Value> = serde_json::from_str(args).expect("an array");
                return args.into_iter().next().expect("an argument");
            }
            self.keep(&packet);
        }
    }

    fn keep(&mut self, packet: &str) {
        let event = packet.strip_prefix("42").expect("an event");
        self.heard.push(serde_json::from_str(event).expect("an array"));
    }

    /// The next event.
    fn hear(&mut self) -> Value {
        if self.heard.is_empty() {
            let packet = self.read();
            self.keep(&packet);
        }
        self.heard.remove(0)
    }

    /// Its own room passes everything that the server has sent to it before: nothing else came.
    fn hears_nothing(&mut self) {
        let room = format!("only {}", self.id);
        assert_eq!(self.ask("join", json!(room)), json!({ "ok": true }));
        assert_eq!(self.hear(), json!(["joined", { "room": room, "id": self.id }]));
        assert_eq!(self.ask("leave", json!(room)), json!({ "ok": true }));
        assert!(self.heard.is_empty(), "{:?}", self.heard);
    }
}

#[test]
fn members_hear_joins_messages_and_leaves_and_others_hear_nothing() {
    let example = Example::start();
    let mut members: Vec<Client> = Vec::new();
    let mut others: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(example.addr)).collect();
    assert_eq!(others[0].ask("join", json!("elsewhere")), json!({ "ok": true }));
    let joined = json!(["joined", { "room": "elsewhere", "id": others[0].id }]);
    assert_eq!(others[0].hear(), joined);

    for _ in 0..CLIENTS {
        let mut newest = Client::connect(example.addr);
        assert_eq!(newest.ask("join", json!("lobby")), json!({ "ok": true }));
        members.push(newest);
        let joined = json!(["joined", { "room": "lobby", "id": members.last().expect("one").id }]);
        for member in &mut members {
            assert_eq!(member.hear(), joined);
        }
    }
    for speaker in 0..CLIENTS {
        let said = json!({ "room": "lobby", "text": format!("from {speaker}") });
        assert_eq!(members[speaker].ask("say", said), json!({ "ok": true }));
        let id = members[speaker].id.clone();
        let said = json!({ "room": "lobby", "id": id, "text": format!("from {speaker}") });
        for member in &mut members {
            assert_eq!(member.hear(), json!(["said", said]));
        }
    }
    let refused = others[1].ask("say", json!({ "room": "lobby", "text": "from outside" }));
    assert_eq!(refused, json!({ "ok": false }));

    // One leaves, one disconnects, one vanishes; each time the rest are notified.
    let mut left = members.remove(0);
    assert_eq!(left.ask("leave", json!("lobby")), json!({ "ok": true }));
    expect_left(&mut members, &left.id);
    left.hears_nothing();
    let mut disconnected = members.remove(0);
    disconnected.send("41");
    expect_left(&mut members, &disconnected.id);
    let vanished = members.remove(0);
    let id = vanished.id.clone();
    drop(vanished);
    expect_left(&mut members, &id);

    for client in members.iter_mut().chain(&mut others) {
        client.hears_nothing();
    }
}

fn expect_left(members: &mut [Client], id: &str) {
    for member in members {
        assert_eq!(member.hear(), json!(["left", { "room": "lobby", "id": id }]));
    }
}

#[test]
fn requests_that_change_nothing_are_acked() {
    let example = Example::start();
    let mut client = Client::connect(example.addr);
    assert_eq!(client.ask("leave", json!("lobby")), json!({ "ok": false }));
    assert_eq!(client.ask("join", json!("lobby")), json!({ "ok": true }));
    assert_eq!(client.hear()[0], "joined");
    assert_eq!(client.ask("join", json!("lobby")), json!({ "ok": true }), "it is in the room");
    assert_eq!(client.ask("dance", json!("lobby")), json!({ "ok": false }));
    assert_eq!(client.ask("join", json!({ "room": 1 })), json!({ "ok": false }));
    client.hears_nothing();
}

#[test]
fn polling_opens_a_session_and_the_signal_stops_the_server() {
    let mut example = Example::start();
    let answer = http::get(example.addr, "/socket.io/?EIO=4&transport=polling");
    assert_eq!(answer.status, 200);
    let body = answer.text();
    let open: Value = serde_json::from_str(body.strip_prefix('0').expect("open")).expect("JSON");
    assert_eq!(open["sid"].as_str().map(str::len), Some(20));
    assert_eq!(open["upgrades"], json!(["websocket"]));
    let old = http::get(example.addr, "/socket.io/?EIO=3&transport=polling");
    assert_eq!(
        (old.status, old.json()["code"].clone()),
        (400, json!(5)),
        "it would give away its id"
    );
    assert_eq!(http::get(example.addr, "/").status, 404, "there are no other routes");

    let mut client = Client::connect(example.addr);
    example.process.signal(Signal::TERM);
    assert!(matches!(client.socket.read(), Ok(Message::Close(_))), "a close frame comes first");
    drop(client);
    assert!(example.process.wait(TIMEOUT).success());
}

#[test]
fn a_server_without_shards_does_not_start() {
    let mut example = own(Example::path());
    example.args(["--listen", "127.0.0.1:0", "--shards", "0"]);
    let mut process = Process::start(&example).expect("the example is built");
    assert_eq!(process.wait(TIMEOUT).code(), Some(64));

    let options = Options { shards: 0, ..Options::new(ANY) };
    let error =
        serve::<Rooms<Silent>>(options, Settings::new(Silent), |_| {}).expect_err("0 shards");
    assert!(matches!(error, StartError::NoShards), "{error}");
}

#[test]
fn a_client_reaches_members_on_the_only_shard() {
    let example = Example::with(&["--shards", "1"]);
    let mut client = Client::connect(example.addr);
    assert_eq!(client.ask("join", json!("lobby")), json!({ "ok": true }));
    assert_eq!(client.hear(), json!(["joined", { "room": "lobby", "id": client.id }]));
}

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Clone)]
struct Silent;

impl Handler for Silent {
    fn event(&mut self, _: &mut Socket<'_>, _: Event<'_>) {}
}

#[test]
fn options_add_routes_origins_and_engine_io_3() {
    let mut options = Options { shards: 1, ..Options::new(ANY) };
    options.router = axum::Router::new().route("/health", axum::routing::get(|| async { "fine" }));
    options.policy.allowed_origins.push("https://app.example".into());
    options.policy.allow_eio3 = true;
    let (listening, addr) = std::sync::mpsc::channel();
    // It serves until the process of the test ends.
    std::thread::spawn(move || {
        let listening = move |addr| listening.send(addr).expect("the test waits");
        serve::<Rooms<Silent>>(options, Settings::new(Silent), listening)
    });
    let addr = addr.recv_timeout(TIMEOUT).expect("it serves");
    let health = http::get(addr, "/health");
    assert_eq!((health.status, health.text()), (200, "fine".to_owned()));
    for (eio, origin, status) in [
        (4, "https://app.example", 200),
        (4, "https://other.example", 403),
        (3, "https://app.example", 200),
    ] {
        let request = format!(
            "GET /socket.io/?EIO={eio}&transport=polling HTTP/1.1\r\nHost: a\r\n\
             Origin: {origin}\r\nConnection: close\r\n\r\n"
        );
        let answer = http::send(addr, request.as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{eio}, {origin}");
    }
}

//! A chat session over a raw WebSocket, for tests that must control every frame.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;
use crate::ws::Ws;

/// A server that needs longer for an answer has lost the request. Shorter than a heartbeat, which would
/// otherwise keep a wait alive for ever.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A registered user.
#[derive(Clone, Debug)]
pub struct User {
    pub id: u64,
    pub email: String,
    pub token: String,
}

/// Registers a new user.
#[track_caller]
pub fn register(address: SocketAddr, prefix: &str) -> User {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let email = format!("{prefix}{}x{serial}@example.com", std::process::id());
    let body = json!({ "name": email, "password": "secret-123" });
    let answer = http::post_json(address, "/api/register", &body).json();
    assert_eq!(answer["errno"], 0, "{answer}");
    let user = &answer["user"];
    User {
        id: user["id"].as_u64().expect("a user has an id"),
        email,
        token: user["api_token"].as_str().expect("a user has a token").to_owned(),
    }
}

/// A Socket.IO session on a raw WebSocket.
pub struct Session {
    pub ws: Ws,
    acks: u64,
    /// Packets that came while an acknowledgement was awaited.
    aside: VecDeque<String>,
}

impl Session {
    /// Opens an Engine.IO 4 session and connects to the main namespace.
    #[track_caller]
    pub fn open(address: SocketAddr, user: Option<&User>) -> Session {
        let mut ws = Ws::open(address, "/socket.io/?EIO=4&transport=websocket");
        assert!(ws.packet().is_some_and(|packet| packet.starts_with("0{")), "an open packet");
        let connect = match user {
            Some(user) => format!("40{}", json!({ "api_token": user.token })),
            None => "40".to_owned(),
        };
        ws.text(&connect);
        ws.packet_with("40{\"sid\":");
        Session { ws, acks: 0, aside: VecDeque::new() }
    }

    /// Sends an event without an acknowledgement.
    pub fn emit(&mut self, event: &str, payload: &Value) {
        self.ws.text(&format!("42{}", json!([event, payload])));
    }

    /// Sends an event with an acknowledgement id and returns the id.
    pub fn post(&mut self, event: &str, payload: &Value) -> u64 {
        self.acks += 1;
        self.ws.text(&format!("42{}{}", self.acks, json!([event, payload])));
        self.acks
    }

    /// Sends an event and waits for its acknowledgement; events in between are kept.
    #[track_caller]
    pub fn ask(&mut self, event: &str, payload: &Value) -> Value {
        let id = self.post(event, payload);
        let prefix = format!("43{id}[");
        let packet = self.read_to(&prefix);
        let args: Value = serde_json::from_str(&packet[prefix.len() - 1..]).expect("JSON");
        args[0].clone()
    }

    /// The next event of that name: its arguments; others stay for later.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Vec<Value> {
        let prefix = format!("42[\"{name}\"");
        let at = self.aside.iter().position(|packet| packet.starts_with(&prefix));
        let packet =
            at.and_then(|at| self.aside.remove(at)).unwrap_or_else(|| self.read_to(&prefix));
        let mut args: Vec<Value> = serde_json::from_str(&packet[2..]).expect("JSON");
        args.remove(0);
        args
    }

    /// Reads up to the packet that begins with `prefix`; the others are kept.
    #[track_caller]
    fn read_to(&mut self, prefix: &str) -> String {
        let end = Instant::now() + ANSWER_WITHIN;
        while Instant::now() < end {
            let packet = self.ws.packet().unwrap_or_else(|| panic!("closed before {prefix}"));
            if packet.starts_with(prefix) {
                return packet;
            }
            self.aside.push_back(packet);
        }
        panic!("no {prefix} in {ANSWER_WITHIN:?}; came: {:#?}", self.aside);
    }

    /// Forgets what came aside.
    pub fn forget(&mut self) {
        self.aside.clear();
    }

    #[track_caller]
    pub fn join(&mut self, room: u64) -> Value {
        let answer = self.ask("room", &json!({ "roomid": room }));
        assert_eq!(answer["ok"], true, "{answer}");
        answer
    }

    #[track_caller]
    pub fn say(&mut self, room: u64, text: &str) -> Value {
        self.ask("message", &json!({ "roomid": room, "msg": text, "img": "" }))
    }
}

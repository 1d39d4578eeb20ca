//! A chat between two `rust_socketio` clients: login, join, messages both ways, leaving.
//!
//! usage: rust-client URL TRANSPORT ROOM TOKEN_A EMAIL_A TOKEN_B EMAIL_B

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Event, Payload, TransportType};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(10);
const TEXT: &str = "from rust: 你好 😀 ü☃ \"q\" \\";

struct Person {
    email: String,
    client: Client,
    events: Receiver<(String, Vec<Value>)>,
}

impl Person {
    fn connect(url: &str, transport: &str, token: &str, email: &str) -> Self {
        let (send, events) = channel();
        let transport = match transport {
            "websocket" => TransportType::Websocket,
            "polling" => TransportType::Polling,
            _ => TransportType::Any,
        };
        let client = ClientBuilder::new(url)
            .transport_type(transport)
            .reconnect(false)
            .auth(json!({ "api_token": token }))
            .on_any(move |event, payload, _| {
                let name = match event {
                    Event::Custom(name) => name,
                    Event::Message => "message".to_owned(),
                    _ => return,
                };
                if let Payload::Text(values) = payload {
                    // The receiver is gone only when the program ends.
                    let _ = send.send((name, values));
                }
            })
            .connect()
            .expect("connects");
        Person { email: email.to_owned(), client, events }
    }

    /// The first event of that name that passes `test`; others are skipped.
    fn next(&self, name: &str, test: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let end = Instant::now() + WAIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let (event, args) = self
                .events
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("{}: no event {name} in time", self.email));
            if event == name && test(&args) {
                return args;
            }
        }
    }

    fn ask(&self, name: &str, payload: Value) -> Value {
        let (send, answer) = channel();
        let on_ack = move |payload: Payload, _: _| {
            if let Payload::Text(values) = payload {
                // The asker may have given up waiting.
                let _ = send.send(values);
            }
        };
        self.client.emit_with_ack(name, payload, WAIT, on_ack).expect("emits");
        let values = answer.recv_timeout(WAIT).unwrap_or_else(|_| panic!("no ack of {name}"));
        // The acknowledgement's arguments arrive as one list.
        match values.first() {
            Some(Value::Array(args)) => args.first().cloned().unwrap_or_default(),
            Some(value) => value.clone(),
            None => Value::Null,
        }
    }
}

fn online(args: &[Value]) -> Option<u64> {
    args.get(1)?.get("online")?.as_u64()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, transport, room, token_a, email_a, token_b, email_b] = &args[..] else {
        panic!("usage: rust-client URL TRANSPORT ROOM TOKEN_A EMAIL_A TOKEN_B EMAIL_B");
    };
    let room: u64 = room.parse().expect("ROOM is a number");
    let anna = Person::connect(url, transport, token_a, email_a);
    let boris = Person::connect(url, transport, token_b, email_b);

    let welcome = anna.ask("login", json!({ "name": anna.email }));
    assert_eq!(welcome["ok"], true, "login: {welcome}");
    anna.next("count", |args| args[0]["room1"].is_u64());

    let joined = anna.ask("room", json!({ "roomid": room }));
    assert_eq!((&joined["ok"], &joined["online"]), (&json!(true), &json!(1)), "{joined}");
    boris.client.emit("room", json!({ "roomid": room.to_string() })).expect("emits");
    let roster = anna.next("room", |args| online(args) == Some(2));
    assert_eq!(roster[0].as_object().map(serde_json::Map::len), Some(2), "{roster:?}");

    let sent = anna.ask("message", json!({ "roomid": room, "msg": TEXT, "img": "" }));
    assert_eq!(sent["ok"], true, "message: {sent}");
    let heard = boris.next("message", |_| true);
    assert_eq!(heard[0]["msg"], TEXT);
    assert_eq!(heard[0]["seq"], sent["seq"]);
    assert_ne!(heard[0]["userid"], anna.email.as_str());
    let echo = anna.next("message", |_| true);
    assert_eq!(echo[0]["userid"], anna.email.as_str());
    boris
        .client
        .emit("message", json!({ "roomid": room, "msg": "and back", "img": "" }))
        .expect("emits");
    assert_eq!(anna.next("message", |_| true)[0]["msg"], "and back");

    let refused = anna.ask("message", json!({ "roomid": room, "msg": "", "img": "" }));
    assert_eq!(refused["code"], "invalid_argument", "{refused}");

    assert_eq!(boris.ask("roomout", json!({ "roomid": room }))["ok"], true);
    anna.next("roomout", |args| online(args) == Some(1));
    assert_eq!(boris.ask("room", json!({ "roomid": room }))["ok"], true);
    anna.next("room", |args| online(args) == Some(2));
    boris.client.disconnect().expect("disconnects");
    anna.next("roomout", |args| online(args) == Some(1));
    anna.client.disconnect().expect("disconnects");
    println!("ok");
}

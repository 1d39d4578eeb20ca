//! Small servers of other protocols, written from their public documentation.

use std::collections::{BTreeMap, HashMap};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Phoenix,
    Centrifugo,
    /// The application `key` with the secret `secret`.
    Pusher,
    /// Socket.IO with the events of `ROOMS`.
    Rooms,
}

pub const ROOMS: &str = r#"
join    = ["enter", "{room}"]
leave   = ["exit", "{room}"]
message = ["talk", { room = "{room}", body = "{text}" }]
refused = [{ ok = false }]
heard   = ["talked", { room = "{room}", who = "{member}", body = "{text}" }]
roster  = ["people", { room = "{room}", people = [{ id = "{member}" }] }]
"#;

/// How often a server wants to know that a client is there.
const HEARTBEAT: Duration = Duration::from_millis(100);

pub struct Hub {
    kind: Kind,
    rooms: Mutex<HashMap<String, BTreeMap<u64, Sender<String>>>>,
    next: AtomicU64,
    pub published: AtomicU64,
    pub deliveries: AtomicU64,
    pub pongs: AtomicU64,
    /// Paths of the upgrades, and payloads of greetings and joins.
    pub shown: Mutex<Vec<String>>,
    /// Rooms that nobody may join.
    closed: &'static str,
}

/// Starts a server; rooms whose names begin with `closed` are refused.
pub fn start(kind: Kind, closed: &'static str) -> (Arc<Hub>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let hub = Arc::new(Hub {
        kind,
        rooms: Mutex::default(),
        next: AtomicU64::new(1),
        published: AtomicU64::new(0),
        deliveries: AtomicU64::new(0),
        pongs: AtomicU64::new(0),
        shown: Mutex::default(),
        closed,
    });
    let serving = Arc::clone(&hub);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let hub = Arc::clone(&serving);
            std::thread::spawn(move || serve(hub, stream));
        }
    });
    (hub, url)
}

fn serve(hub: Arc<Hub>, stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's own type")]
    let note = |request: &Request, response: Response| {
        path = request.uri().to_string();
        Ok(response)
    };
    let mut socket = tungstenite::accept_hdr(stream, note).ok()?;
    hub.shown.lock().unwrap().push(path);
    let (out, queued) = channel();
    let id = hub.next.fetch_add(1, Ordering::Relaxed);
    let writer = WebSocket::from_raw_socket(socket.get_ref().try_clone().ok()?, Role::Server, None);
    let writing = Arc::clone(&hub);
    std::thread::spawn(move || write(&writing, writer, &queued));
    let mut client = Client { hub, id, out, joined: BTreeMap::new(), is_greeted: false };
    client.open();
    while let Ok(Message::Text(text)) = socket.read() {
        if client.text(&text).is_none() {
            break;
        }
    }
    let _ = socket.get_ref().shutdown(std::net::Shutdown::Both);
    let joined: Vec<String> = client.joined.keys().cloned().collect();
    joined.iter().for_each(|room| client.leave(room));
    Some(())
}

/// What waits leaves together where the protocol allows that; a heartbeat when nothing does.
fn write(hub: &Hub, mut socket: WebSocket<TcpStream>, queued: &Receiver<String>) -> Option<()> {
    loop {
        let packet = match queued.recv_timeout(HEARTBEAT) {
            Ok(packet) if hub.kind == Kind::Centrifugo => {
                let more: Vec<String> = queued.try_iter().collect();
                [vec![packet], more].concat().join("\n")
            }
            Ok(packet) => packet,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => match hub.kind {
                Kind::Centrifugo => "{}".to_owned(),
                Kind::Pusher => r#"{"event":"pusher:ping","data":{}}"#.to_owned(),
                Kind::Rooms => "2".to_owned(),
                Kind::Phoenix => continue,
            },
        };
        socket.send(Message::text(packet)).ok()?;
    }
}

struct Client {
    hub: Arc<Hub>,
    id: u64,
    out: Sender<String>,
    /// Rooms, and what the client calls its stay there.
    joined: BTreeMap<String, String>,
    is_greeted: bool,
}

impl Client {
    fn send(&self, packet: impl ToString) {
        let _ = self.out.send(packet.to_string());
    }

    fn open(&mut self) {
        match self.hub.kind {
            Kind::Pusher => {
                let data = json!({ "socket_id": format!("{}.1", self.id), "activity_timeout": 120 });
                let data = data.to_string();
                self.send(json!({ "event": "pusher:connection_established", "data": data }));
            }
            Kind::Rooms => self.send(
                r#"0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
            ),
            Kind::Phoenix | Kind::Centrifugo => {}
        }
    }

    fn may_join(&self, room: &str) -> bool {
        self.hub.closed.is_empty() || !room.starts_with(self.hub.closed)
    }

    fn join(&mut self, room: &str, reference: &str) {
        let mut rooms = self.hub.rooms.lock().unwrap();
        rooms.entry(room.to_owned()).or_default().insert(self.id, self.out.clone());
        self.joined.insert(room.to_owned(), reference.to_owned());
    }

    fn leave(&mut self, room: &str) {
        self.hub.rooms.lock().unwrap().get_mut(room).map(|members| members.remove(&self.id));
        self.joined.remove(room);
        self.people(room);
    }

    /// Sends to all members, or to all but this one.
    fn broadcast(&self, room: &str, packet: &Value, prefix: &str, to_self: bool) {
        self.hub.published.fetch_add(1, Ordering::Relaxed);
        let rooms = self.hub.rooms.lock().unwrap();
        for (id, member) in rooms.get(room).into_iter().flatten() {
            if to_self || *id != self.id {
                self.hub.deliveries.fetch_add(1, Ordering::Relaxed);
                let _ = member.send(format!("{prefix}{packet}"));
            }
        }
    }

    fn people(&self, room: &str) {
        if self.hub.kind == Kind::Rooms {
            let rooms = self.hub.rooms.lock().unwrap();
            let Some(members) = rooms.get(room) else { return };
            let people: Vec<Value> =
                members.keys().map(|id| json!({ "id": format!("s{id}") })).collect();
            let event = json!(["people", { "room": room, "people": people, "more": 1 }]);
            members.values().for_each(|member| drop(member.send(format!("42{event}"))));
        }
    }

    fn text(&mut self, text: &str) -> Option<()> {
        match self.hub.kind {
            Kind::Phoenix => self.phoenix(&serde_json::from_str(text).ok()?),
            Kind::Centrifugo => {
                text.lines().try_for_each(|line| self.centrifugo(&serde_json::from_str(line).ok()?))
            }
            Kind::Pusher => self.pusher(&serde_json::from_str(text).ok()?),
            Kind::Rooms => self.socketio(text),
        }
    }

    fn phoenix(&mut self, packet: &Value) -> Option<()> {
        let [join_ref, reference, topic, event, payload] = packet.as_array()?.as_slice() else {
            return None;
        };
        let (topic, event) = (topic.as_str()?, event.as_str()?);
        let reply = |status: &str, response: Value| json!([join_ref, reference, topic, "phx_reply", { "status": status, "response": response }]);
        if topic == "phoenix" && event == "heartbeat" {
            self.hub.pongs.fetch_add(1, Ordering::Relaxed);
            self.send(reply("ok", json!({})));
            return Some(());
        }
        if event == "phx_join" {
            self.hub.shown.lock().unwrap().push(payload.to_string());
            if !self.may_join(topic) {
                self.send(reply("error", json!({ "reason": "unauthorized" })));
                return Some(());
            }
            self.join(topic, join_ref.as_str()?);
            self.send(reply("ok", json!({})));
            return Some(());
        }
        // What bears the reference of another stay is answered like what nobody has joined.
        if self.joined.get(topic).map(String::as_str) != join_ref.as_str() {
            self.send(reply("error", json!({ "reason": "unmatched topic" })));
            return Some(());
        }
        if event == "phx_leave" {
            self.leave(topic);
            self.send(reply("ok", json!({})));
            self.send(json!([join_ref, join_ref, topic, "phx_close", {}]));
            return Some(());
        }
        self.broadcast(topic, &json!([null, null, topic, event, payload]), "", true);
        if !reference.is_null() {
            self.send(reply("ok", json!({})));
        }
        Some(())
    }

    fn centrifugo(&mut self, command: &Value) -> Option<()> {
        if command == &json!({}) {
            self.hub.pongs.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
        let id = &command["id"];
        if let Some(connect) = command.get("connect") {
            self.hub.shown.lock().unwrap().push(connect.to_string());
            self.is_greeted = true;
            let connected = json!({ "client": format!("c{}", self.id), "version": "6", "ping": 25, "pong": true });
            self.send(json!({ "id": id, "connect": connected }));
            return Some(());
        }
        // Whatever comes before connect ends the connection.
        if !self.is_greeted {
            return None;
        }
        if let Some(subscribe) = command.get("subscribe") {
            let room = subscribe["channel"].as_str()?;
            if self.may_join(room) {
                self.join(room, "");
                self.send(json!({ "id": id, "subscribe": {} }));
            } else {
                self.send(
                    json!({ "id": id, "error": { "code": 103, "message": "permission denied" } }),
                );
            }
        } else if let Some(unsubscribe) = command.get("unsubscribe") {
            self.leave(unsubscribe["channel"].as_str()?);
            self.send(json!({ "id": id, "unsubscribe": {} }));
        } else {
            let publish = command.get("publish")?;
            let room = publish["channel"].as_str()?;
            let push = json!({ "push": { "channel": room, "pub": { "data": publish["data"], "offset": 1 } } });
            self.broadcast(room, &push, "", true);
            if !id.is_null() {
                self.send(json!({ "id": id, "publish": {} }));
            }
        }
        Some(())
    }

    fn pusher(&mut self, packet: &Value) -> Option<()> {
        let event = packet["event"].as_str()?;
        if event == "pusher:pong" {
            self.hub.pongs.fetch_add(1, Ordering::Relaxed);
        } else if event == "pusher:subscribe" {
            let data = &packet["data"];
            let room = data["channel"].as_str()?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
            let signed = format!("{}.1:{room}", self.id);
            let signature = data["auth"].as_str()?.strip_prefix("key:")?.to_owned();
            let bytes: Vec<u8> = (0..signature.len() / 2)
                .map(|at| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            if hmac::verify(&key, signed.as_bytes(), &bytes).is_ok() && self.may_join(room) {
                self.join(room, "");
                self.send(json!({ "event": "pusher_internal:subscription_succeeded", "channel": room, "data": "{}" }));
            } else {
                let data = json!({ "type": "AuthError", "error": "forbidden", "status": 403 });
                self.send(
                    json!({ "event": "pusher:subscription_error", "channel": room, "data": data }),
                );
            }
        } else if event.starts_with("client-") {
            let room = packet["channel"].as_str()?;
            if self.joined.contains_key(room) && room.starts_with("private-") {
                let packet = json!({ "event": event, "channel": room, "data": packet["data"] });
                self.broadcast(room, &packet, "", false);
            }
        }
        Some(())
    }

    fn socketio(&mut self, text: &str) -> Option<()> {
        if text == "3" {
            self.hub.pongs.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
        if let Some(payload) = text.strip_prefix("40") {
            self.hub.shown.lock().unwrap().push(payload.to_owned());
            self.send(
                json!({ "sid": format!("s{}", self.id) }).to_string().replacen('{', "40{", 1),
            );
            return Some(());
        }
        let rest = text.strip_prefix("42")?;
        let (id, event) = rest.split_at(rest.find('[')?);
        let event: Value = serde_json::from_str(event).ok()?;
        let room = event[1].as_str().or_else(|| event[1]["room"].as_str())?.to_owned();
        let mut is_ok = true;
        match event[0].as_str()? {
            "enter" if self.may_join(&room) => {
                self.join(&room, "");
                self.people(&room);
            }
            "exit" => self.leave(&room),
            "talk" if self.joined.contains_key(&room) => {
                let said = json!({ "room": room, "who": format!("s{}", self.id), "body": event[1]["body"], "at": 1 });
                self.broadcast(&room, &json!(["talked", said]), "42", true);
            }
            _ => is_ok = false,
        }
        if !id.is_empty() {
            let answer = json!([{ "ok": is_ok, "code": if is_ok { "" } else { "closed" } }]);
            self.send(format!("43{id}{answer}"));
        }
        Some(())
    }
}

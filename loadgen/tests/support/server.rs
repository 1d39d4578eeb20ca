//! A thread-per-connection broadcast server: plain WebSocket, or just enough chat over Socket.IO.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

type Members = HashMap<u64, Sender<Vec<u8>>>;

#[derive(Default)]
pub struct Server {
    rooms: Mutex<HashMap<String, Members>>,
    next: AtomicU64,
    /// Messages handed to members: the independent count.
    pub deliveries: AtomicU64,
    pub published: AtomicU64,
    /// Every so many publishes one is refused (0: never).
    refuse_every: u64,
    polling: Mutex<HashMap<String, Arc<Mutex<Option<Polling>>>>>,
    pub polls: AtomicU64,
    pub upgrades: AtomicU64,
    /// Addresses connections came from.
    pub sources: Mutex<BTreeSet<IpAddr>>,
}

#[derive(Clone, Copy, Default)]
pub struct Options {
    pub refuse_every: u64,
}

/// Starts a server on a free port; returns it with its URL.
pub fn start(options: Options) -> (Arc<Server>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(Server { refuse_every: options.refuse_every, ..Server::default() });
    let serving = Arc::clone(&server);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&serving);
            std::thread::spawn(move || server.serve(stream));
        }
    });
    (server, url)
}

/// A session that polls, until it upgrades.
struct Polling {
    conversation: Conversation,
    queued: Receiver<Vec<u8>>,
}

impl Server {
    fn serve(self: &Arc<Self>, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        self.sources.lock().unwrap().insert(stream.peer_addr().ok()?.ip());
        loop {
            let head = read_head(&mut stream)?;
            let path = head.split(' ').nth(1)?.to_owned();
            let sid = path.split("&sid=").nth(1).map(str::to_owned);
            if let Some(key) = header(&head, "sec-websocket-key") {
                let accept = derive_accept_key(key.as_bytes());
                write!(
                    stream,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .ok()?;
                return match sid {
                    Some(sid) => self.upgraded(stream, &sid),
                    None => self.websocket(stream, path),
                };
            }
            let length = header(&head, "content-length").and_then(|len| len.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).ok()?;
            let answer = match sid {
                None if path == "/metrics" => self.metrics(),
                None => self.handshake(path),
                Some(sid) if head.starts_with("GET") => self.poll(&sid)?,
                Some(sid) => self.posted(&sid, &body)?,
            };
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
                .ok()?;
        }
    }

    fn conversation(self: &Arc<Self>, path: String) -> (Conversation, Receiver<Vec<u8>>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (out, queued) = channel();
        let joined = BTreeSet::new();
        (Conversation { server: Arc::clone(self), id, out, path, joined }, queued)
    }

    fn websocket(self: &Arc<Self>, stream: TcpStream, path: String) -> Option<()> {
        let (mut conversation, queued) = self.conversation(path);
        conversation.open();
        talk(stream, conversation, queued)
    }

    fn handshake(self: &Arc<Self>, path: String) -> String {
        let (conversation, queued) = self.conversation(path);
        let sid = format!("p{}", conversation.id);
        let polling = Arc::new(Mutex::new(Some(Polling { conversation, queued })));
        self.polling.lock().unwrap().insert(sid.clone(), polling);
        format!("0{{\"sid\":\"{sid}\",\"pingInterval\":25000}}")
    }

    fn metrics(&self) -> String {
        let deliveries = self.deliveries.load(Ordering::Relaxed);
        format!("# TYPE small_deliveries_total counter\nsmall_deliveries_total {deliveries}\n")
    }

    fn session(&self, sid: &str) -> Option<Arc<Mutex<Option<Polling>>>> {
        self.polling.lock().unwrap().get(sid).cloned()
    }

    /// Everything queued, joined; a `6` after a while without anything.
    fn poll(&self, sid: &str) -> Option<String> {
        let session = self.session(sid)?;
        for _ in 0..1000 {
            let packets: Vec<Vec<u8>> =
                session.lock().unwrap().as_ref()?.queued.try_iter().collect();
            if !packets.is_empty() {
                self.polls.fetch_add(1, Ordering::Relaxed);
                return String::from_utf8(packets.join(&0x1e)).ok();
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Some("6".into())
    }

    fn posted(&self, sid: &str, body: &[u8]) -> Option<String> {
        let session = self.session(sid)?;
        let mut session = session.lock().unwrap();
        for packet in std::str::from_utf8(body).ok()?.split('\u{1e}') {
            session.as_mut()?.conversation.text(packet)?;
        }
        Some("ok".into())
    }

    fn upgraded(&self, mut stream: TcpStream, sid: &str) -> Option<()> {
        let session = self.session(sid)?.lock().unwrap().take()?;
        if read_frame(&mut stream)?.1 != "2probe" {
            return None;
        }
        stream.write_all(&frame(b"3probe")).ok()?;
        if read_frame(&mut stream)?.1 != "5" {
            return None;
        }
        self.upgrades.fetch_add(1, Ordering::Relaxed);
        talk(stream, session.conversation, session.queued)
    }
}

fn talk(
    mut stream: TcpStream,
    mut conversation: Conversation,
    queued: Receiver<Vec<u8>>,
) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    std::thread::spawn(move || {
        while let Ok(packet) = queued.recv() {
            if writer.write_all(&frame(&packet)).is_err() {
                break;
            }
        }
    });
    while let Some((opcode, text)) = read_frame(&mut stream) {
        if opcode == 8 || conversation.text(&text).is_none() {
            break;
        }
    }
    for room in std::mem::take(&mut conversation.joined) {
        conversation.leave(&room);
    }
    Some(())
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
}

struct Conversation {
    server: Arc<Server>,
    id: u64,
    out: Sender<Vec<u8>>,
    path: String,
    joined: BTreeSet<String>,
}

impl Conversation {
    fn is_chat(&self) -> bool {
        self.path.contains("EIO=")
    }

    fn say(&self, text: &str) {
        let _ = self.out.send(text.as_bytes().to_vec());
    }

    fn open(&mut self) {
        if !self.is_chat() {
            self.join(self.path.clone());
            return;
        }
        self.say(r#"0{"sid":"s","upgrades":[],"pingInterval":200,"pingTimeout":20000,"maxPayload":1000000}"#);
        if self.path.contains("EIO=3") {
            self.say("40");
        } else {
            // A first ping at once: a client that does not answer would show as an error below.
            self.say("2");
        }
    }

    fn join(&mut self, room: String) {
        let mut rooms = self.server.rooms.lock().unwrap();
        rooms.entry(room.clone()).or_default().insert(self.id, self.out.clone());
        self.joined.insert(room);
    }

    fn leave(&mut self, room: &str) {
        if let Some(members) = self.server.rooms.lock().unwrap().get_mut(room) {
            members.remove(&self.id);
        }
        self.joined.remove(room);
    }

    fn text(&mut self, text: &str) -> Option<()> {
        if !self.is_chat() {
            self.publish(&self.path.clone(), text);
            return Some(());
        }
        if text == "2" {
            self.say("3");
        } else if text == "3" {
        } else if text.starts_with("40") {
            self.say(r#"40{"sid":"p"}"#);
        } else {
            self.event(text.strip_prefix("42")?)?;
        }
        Some(())
    }

    fn publish(&self, room: &str, text: &str) {
        self.server.published.fetch_add(1, Ordering::Relaxed);
        let rooms = self.server.rooms.lock().unwrap();
        let members = rooms.get(room).map_or(0, |members| broadcast(members, text));
        self.server.deliveries.fetch_add(members as u64, Ordering::Relaxed);
    }

    fn event(&mut self, packet: &str) -> Option<()> {
        let digits = packet.find('[')?;
        let (id, json) = packet.split_at(digits);
        let event: Value = serde_json::from_str(json).ok()?;
        let room = event[1]["roomid"].to_string();
        let answer = match event[0].as_str()? {
            "room" => {
                self.join(room.clone());
                self.roster("room", &room);
                json!({ "ok": true })
            }
            "roomout" => {
                self.leave(&room);
                self.roster("roomout", &room);
                json!({ "ok": true })
            }
            "message" => {
                let before = self.server.published.load(Ordering::Relaxed);
                let refuse = self.server.refuse_every;
                if refuse > 0 && before % refuse == refuse - 1 {
                    self.server.published.fetch_add(1, Ordering::Relaxed);
                    json!({ "ok": false, "code": "busy" })
                } else {
                    let out = json!(["message", { "userid": "u1", "msg": event[1]["msg"] }]);
                    self.publish(&room, &format!("42{out}"));
                    json!({ "ok": true })
                }
            }
            _ => return None,
        };
        if !id.is_empty() {
            self.say(&format!("43{id}[{answer}]"));
        }
        Some(())
    }

    /// Counts and tells under one lock: of two rosters the later one must be heard last.
    fn roster(&self, event: &str, room: &str) {
        let rooms = self.server.rooms.lock().unwrap();
        let Some(members) = rooms.get(room) else { return };
        let room_number: u32 = room.parse().unwrap_or(0);
        let online = members.len();
        let meta = json!([event, {}, { "room": room_number, "seq": 0, "online": online }]);
        broadcast(members, &format!("42{meta}"));
    }
}

fn broadcast(members: &Members, text: &str) -> usize {
    members.values().for_each(|member| drop(member.send(text.as_bytes().to_vec())));
    members.len()
}

pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn read_frame(stream: &mut TcpStream) -> Option<(u8, String)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let len = match head[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len).ok()?;
            usize::from(u16::from_be_bytes(len))
        }
        127 => return None,
        len => usize::from(len),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).ok()?;
    payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= mask[i % 4]);
    Some((head[0] & 15, String::from_utf8(payload).ok()?))
}

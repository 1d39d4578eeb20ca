//! A thread-per-connection broadcast server: plain WebSocket, or just enough chat over Socket.IO.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Message, Role, WebSocket};

type Members = HashMap<u64, Sender<String>>;

#[derive(Default)]
pub struct Server {
    rooms: Mutex<HashMap<String, Members>>,
    next: AtomicU64,
    /// Messages handed to members: the independent count.
    pub deliveries: AtomicU64,
    pub published: AtomicU64,
    /// Every so many publishes one is refused (0: never).
    refuse_every: u64,
    accounts_at_once: u32,
    polling: Mutex<HashMap<String, Arc<Mutex<Option<Polling>>>>>,
    pub polls: AtomicU64,
    pub upgrades: AtomicU64,
    /// Heads of the requests of clients, and what they sent along with CONNECT.
    pub shown: Mutex<Vec<String>>,
    /// Accounts of Throng's API, if the server has it.
    pub accounts: Option<Mutex<Accounts>>,
    /// Addresses connections came from.
    pub sources: Mutex<BTreeSet<IpAddr>>,
}

/// Accounts: each has the token `token-NAME`.
#[derive(Default)]
pub struct Accounts {
    names: BTreeSet<String>,
    /// Registrations and logins until the next is answered with 429.
    pub left: u32,
    pub refused: u32,
    pub logins: u32,
}

#[derive(Clone, Copy, Default)]
pub struct Options {
    pub refuse_every: u64,
    /// Throng's API is there, joins need a token, and of registrations and logins so many pass between two
    /// answers with 429.
    pub accounts_at_once: u32,
}

/// Starts a server on a free port; returns it with its URL.
pub fn start(options: Options) -> (Arc<Server>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let at_once = options.accounts_at_once;
    let accounts = || Mutex::new(Accounts { left: at_once, ..Accounts::default() });
    let server = Arc::new(Server {
        refuse_every: options.refuse_every,
        accounts_at_once: at_once,
        accounts: (at_once > 0).then(accounts),
        ..Server::default()
    });
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
    queued: Receiver<String>,
}

impl Server {
    fn serve(self: &Arc<Self>, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        self.sources.lock().unwrap().insert(stream.peer_addr().ok()?.ip());
        loop {
            let head = read_head(&mut stream)?;
            self.shown.lock().unwrap().push(head.clone());
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
            if path.starts_with("/api/") {
                self.api(&mut stream, &head, &body)?;
                continue;
            }
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

    fn api(&self, stream: &mut TcpStream, head: &str, body: &[u8]) -> Option<()> {
        let Some(accounts) = &self.accounts else { return answer(stream, "404 Not Found", "{}") };
        let mut accounts = accounts.lock().unwrap();
        if head.starts_with("GET /api/rooms ") {
            return match header(head, "authorization") {
                None => answer(stream, "401 Unauthorized", r#"{"message":"Unauthenticated."}"#),
                Some(_) => answer(stream, "200 OK", r#"{"errno":0,"rooms":[{"id":7},{"id":9}]}"#),
            };
        }
        if accounts.left == 0 {
            accounts.left = self.accounts_at_once;
            accounts.refused += 1;
            return answer(stream, "429 Too Many Requests\r\nRetry-After: 1", "{}");
        }
        accounts.left -= 1;
        let body: Value = serde_json::from_slice(body).ok()?;
        let name = body["name"].as_str()?.to_owned();
        let is_new = accounts.names.insert(name.clone());
        let is_login = head.starts_with("POST /api/login ");
        accounts.logins += u32::from(is_login);
        if is_new == is_login {
            return answer(stream, "200 OK", r#"{"errno":1,"message":"taken, or unknown"}"#);
        }
        let user = json!({ "errno": 0, "user": { "api_token": format!("token-{name}") } });
        answer(stream, "200 OK", &user.to_string())
    }

    fn conversation(self: &Arc<Self>, path: String) -> (Conversation, Receiver<String>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (out, queued) = channel();
        let joined = BTreeSet::new();
        let server = Arc::clone(self);
        (Conversation { server, id, out, path, joined, is_known: false }, queued)
    }

    fn websocket(self: &Arc<Self>, stream: TcpStream, path: String) -> Option<()> {
        let (mut conversation, queued) = self.conversation(path);
        conversation.open();
        talk(WebSocket::from_raw_socket(stream, Role::Server, None), conversation, queued)
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
            let packets: Vec<String> =
                session.lock().unwrap().as_ref()?.queued.try_iter().collect();
            if !packets.is_empty() {
                self.polls.fetch_add(1, Ordering::Relaxed);
                return Some(packets.join("\u{1e}"));
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

    fn upgraded(&self, stream: TcpStream, sid: &str) -> Option<()> {
        let session = self.session(sid)?.lock().unwrap().take()?;
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        if read_text(&mut socket)? != "2probe" {
            return None;
        }
        socket.send(Message::text("3probe")).ok()?;
        if read_text(&mut socket)? != "5" {
            return None;
        }
        self.upgrades.fetch_add(1, Ordering::Relaxed);
        talk(socket, session.conversation, session.queued)
    }
}

/// Reads on this thread and writes on another: each has the socket in a value of its own.
fn talk(
    mut socket: WebSocket<TcpStream>,
    mut conversation: Conversation,
    queued: Receiver<String>,
) -> Option<()> {
    let stream = socket.get_ref().try_clone().ok()?;
    let mut writer = WebSocket::from_raw_socket(stream, Role::Server, None);
    std::thread::spawn(move || {
        while let Ok(packet) = queued.recv() {
            if writer.send(Message::text(packet)).is_err() {
                break;
            }
        }
    });
    while read_text(&mut socket).and_then(|text| conversation.text(&text)).is_some() {}
    for room in std::mem::take(&mut conversation.joined) {
        conversation.leave(&room);
    }
    Some(())
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) -> Option<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
}

struct Conversation {
    server: Arc<Server>,
    id: u64,
    out: Sender<String>,
    path: String,
    joined: BTreeSet<String>,
    is_known: bool,
}

impl Conversation {
    fn is_chat(&self) -> bool {
        self.path.contains("EIO=")
    }

    fn send(&self, text: &str) {
        let _ = self.out.send(text.to_owned());
    }

    fn open(&mut self) {
        if !self.is_chat() {
            self.join(self.path.clone());
            return;
        }
        self.send(r#"0{"sid":"s","upgrades":[],"pingInterval":200,"pingTimeout":20000,"maxPayload":1000000}"#);
        if self.path.contains("EIO=3") {
            self.send("40");
        } else {
            // A first ping at once: a client that does not answer would show as an error below.
            self.send("2");
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
            self.send("3");
        } else if text == "3" {
        } else if let Some(payload) = text.strip_prefix("40") {
            self.is_known = payload.contains("\"token-");
            self.server.shown.lock().unwrap().push(payload.to_owned());
            self.send(r#"40{"sid":"p"}"#);
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
            "room" if self.server.accounts.is_some() && !self.is_known => {
                json!({ "ok": false, "code": "unauthenticated" })
            }
            "room" if self.server.accounts.is_some() && room != "7" && room != "9" => {
                json!({ "ok": false, "code": "unknown_room" })
            }
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
            self.send(&format!("43{id}[{answer}]"));
        }
        Some(())
    }

    /// Counts and broadcasts under one lock: of two rosters the later one must arrive last.
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
    members.values().for_each(|member| drop(member.send(text.to_owned())));
    members.len()
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

/// The next text; none when the connection is over.
fn read_text(socket: &mut WebSocket<TcpStream>) -> Option<String> {
    match socket.read().ok()? {
        Message::Text(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

//! A Socket.IO client with a reader thread: it answers heartbeats, keeps everything it received
//! in order, and lets the test wait for what it expects.

use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Trouble;
use super::http::{Connection, Request, Response, percent_encode};
use super::target::Target;
use super::transcript::Log;
use super::websocket::RawSocket;
use crate::codec::engine::{self, Data, Frame, Kind, Packet, Protocol};
use crate::codec::payload::{self, Body};
use crate::codec::socket as sio;

/// How often a reader looks up from its socket, for heartbeats and for orders to stop.
const READER_TURN: Duration = Duration::from_millis(20);
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// A poll without an answer for so long is held by the server.
const HELD: Duration = Duration::from_millis(100);
const CUT_WAIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Websocket,
    Polling,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Websocket => "websocket",
            Transport::Polling => "polling",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub protocol: Protocol,
    pub transport: Transport,
    /// `api_token` of the handshake's query.
    pub token: Option<String>,
    /// `Authorization: Bearer` of the handshake.
    pub bearer: Option<String>,
    /// Payload of the Socket.IO CONNECT packet; protocol 4 only.
    pub auth: Option<Value>,
    pub headers: Vec<(String, String)>,
    /// Whether the client sends CONNECT by itself; protocol 4 only.
    pub connects: bool,
}

impl Options {
    pub fn new(protocol: Protocol, transport: Transport) -> Options {
        Options {
            protocol,
            transport,
            token: None,
            bearer: None,
            auth: None,
            headers: Vec::new(),
            connects: true,
        }
    }
}

/// The server's handshake.
#[derive(Clone, Debug, Default)]
pub struct Open {
    pub sid: String,
    pub upgrades: Vec<String>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub max_payload: Option<u64>,
    pub raw: Value,
}

impl Open {
    pub fn parse(text: &str) -> Result<Open, Trouble> {
        let raw: Value = serde_json::from_str(text)
            .map_err(|why| Trouble::Protocol(format!("the open packet is not JSON: {why}")))?;
        let millis = |key: &str| raw[key].as_u64().map(Duration::from_millis);
        let (Some(sid), Some(ping_interval), Some(ping_timeout), Some(upgrades)) = (
            raw["sid"].as_str(),
            millis("pingInterval"),
            millis("pingTimeout"),
            raw["upgrades"].as_array(),
        ) else {
            return Err(Trouble::Protocol(format!("the open packet lacks a field: {text}")));
        };
        Ok(Open {
            sid: sid.to_owned(),
            upgrades: upgrades.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            ping_interval,
            ping_timeout,
            max_payload: raw["maxPayload"].as_u64(),
            raw: raw.clone(),
        })
    }
}

/// One Socket.IO event as it came.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Instant,
    pub name: String,
    pub args: Vec<Value>,
    /// The id the server wants acknowledged, if any.
    pub id: Option<u64>,
}

impl Event {
    pub fn arg(&self, index: usize) -> &Value {
        self.args.get(index).unwrap_or(&Value::Null)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// WebSocket close code, or the status that ended polling; 1006 for a bare end of stream.
    pub code: u16,
    pub why: String,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    connected: Option<sio::Packet>,
    events: Vec<Event>,
    acks: Vec<(u64, Value, Instant)>,
    others: Vec<sio::Packet>,
    engine: Vec<(Kind, String)>,
    binaries: Vec<Vec<u8>>,
    ending: Option<Ending>,
    /// Events before this index were consumed by a wait.
    cursor: usize,
    next_id: u64,
    polling_paused: bool,
    poll_in_flight: bool,
}

struct Wire {
    socket: Option<RawSocket>,
    post: Option<Connection>,
}

struct Shared {
    target: Target,
    options: Options,
    log: Log,
    state: Mutex<State>,
    wake: Condvar,
    wire: Mutex<Wire>,
    control: Mutex<Control>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Orders {
    #[default]
    Run,
    /// Drop the connection of the next poll that is held: between two polls there is nothing that a
    /// server could notice.
    Cut,
    /// Neither read nor answer: a peer that is silent or gone without a word.
    Mute,
    Stop,
}

#[derive(Default)]
struct Control {
    orders: Orders,
}

pub struct Socket {
    shared: Arc<Shared>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Socket {
    /// Opens the Engine.IO session and, unless told otherwise, the Socket.IO connection.
    pub fn connect(target: &Target, options: Options, log: &Log) -> Result<Socket, Trouble> {
        let connects = options.connects || options.protocol == Protocol::Eio3;
        let shared = Arc::new(Shared {
            target: target.clone(),
            log: log.clone(),
            state: Mutex::default(),
            wake: Condvar::new(),
            wire: Mutex::new(Wire { socket: None, post: None }),
            control: Mutex::default(),
            options,
        });
        let mut socket = Socket { shared: shared.clone(), reader: None };
        let path = shared.path(None);
        let bearer = shared.options.bearer.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers: Vec<(&str, &str)> =
            shared.options.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        if let Some(bearer) = &bearer {
            headers.push(("Authorization", bearer));
        }
        match shared.options.transport {
            Transport::Websocket => {
                let raw = RawSocket::open_with(target, &path, &headers, log)?;
                shared.wire().socket = Some(raw.writer()?);
                let thread_shared = shared.clone();
                socket.reader = Some(thread::spawn(move || read_websocket(&thread_shared, raw)));
            }
            Transport::Polling => {
                let mut connection = Connection::open(target, log)?;
                let request = Request { method: "GET", path: &path, headers: &headers, body: &[] };
                let response = connection.exchange(&request, CONNECT_WAIT)?;
                if response.status != 200 {
                    return Err(Trouble::Refused(response));
                }
                shared.take_payload(&response)?;
                let thread_shared = shared.clone();
                socket.reader =
                    Some(thread::spawn(move || read_polling(&thread_shared, connection)));
            }
        }
        socket.wait_for(CONNECT_WAIT, "the open packet", |state| state.open.clone())?;
        if connects {
            if shared.options.protocol == Protocol::Eio4 {
                let packet = sio::Packet::new(sio::Kind::Connect, shared.options.auth.clone());
                socket.send_packet(&packet)?;
            }
            let answer = socket.wait_for(CONNECT_WAIT, "the CONNECT packet", |state| {
                let refused = state.others.iter().find(|p| p.kind == sio::Kind::ConnectError);
                state.connected.clone().or_else(|| refused.cloned())
            })?;
            if answer.kind != sio::Kind::Connect {
                return Err(Trouble::Protocol(format!("CONNECT was refused: {answer:?}")));
            }
        }
        Ok(socket)
    }

    pub fn open(&self) -> Open {
        self.shared.state().open.clone().unwrap_or_default()
    }

    /// The Socket.IO id: from the CONNECT answer, or the engine's sid in protocol 3.
    pub fn id(&self) -> String {
        let state = self.shared.state();
        let given = state.connected.as_ref().and_then(|packet| packet.data.as_ref());
        match given.and_then(|data| data["sid"].as_str()) {
            Some(id) => id.to_owned(),
            None => state.open.as_ref().map(|open| open.sid.clone()).unwrap_or_default(),
        }
    }

    pub fn protocol(&self) -> Protocol {
        self.shared.options.protocol
    }

    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    pub fn emit(&self, name: &str, args: &[Value]) -> Result<(), Trouble> {
        self.send_packet(&sio::Packet::event(name, args))
    }

    /// Emits with a fresh acknowledgement id and returns the id.
    pub fn emit_with_id(&self, name: &str, args: &[Value]) -> Result<u64, Trouble> {
        let id = {
            let mut state = self.shared.state();
            state.next_id += 1;
            state.next_id - 1
        };
        self.send_packet(&sio::Packet::event(name, args).with_id(id))?;
        Ok(id)
    }

    /// Emits and waits for the first argument of the acknowledgement.
    pub fn ask(&self, name: &str, args: &[Value], wait: Duration) -> Result<Value, Trouble> {
        let id = self.emit_with_id(name, args)?;
        self.wait_ack(id, wait)
    }

    pub fn wait_ack(&self, id: u64, wait: Duration) -> Result<Value, Trouble> {
        self.wait_for(wait, &format!("the acknowledgement {id}"), |state| {
            let found = state.acks.iter().find(|(got, ..)| *got == id)?;
            Some(found.1.get(0).cloned().unwrap_or(Value::Null))
        })
    }

    pub fn acks(&self) -> Vec<(u64, Value, Instant)> {
        self.shared.state().acks.clone()
    }

    pub fn send_packet(&self, packet: &sio::Packet) -> Result<(), Trouble> {
        self.send_engine(&Packet::message(sio::encode(packet)))
    }

    pub fn send_engine(&self, packet: &Packet) -> Result<(), Trouble> {
        self.shared.send(packet)
    }

    /// Text as one WebSocket message, or as the body of one POST.
    pub fn send_text(&self, text: &str) -> Result<(), Trouble> {
        let mut wire = self.shared.wire();
        match &mut wire.socket {
            Some(socket) => socket.send(text),
            None => self.shared.post(&mut wire, text.as_bytes()).map(|_| ()),
        }
    }

    /// Waits for the next unconsumed event that `wanted` accepts; earlier ones count as consumed.
    pub fn wait_event(
        &self,
        wait: Duration,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, Trouble> {
        self.wait_for(wait, what, |state| {
            let from = state.cursor;
            let at = from + state.events[from..].iter().position(&wanted)?;
            state.cursor = at + 1;
            Some(state.events[at].clone())
        })
    }

    /// All events so far, consumed or not.
    pub fn events(&self) -> Vec<Event> {
        self.shared.state().events.clone()
    }

    pub fn event_count(&self) -> usize {
        self.shared.state().events.len()
    }

    pub fn events_since(&self, index: usize) -> Vec<Event> {
        self.shared.state().events[index..].to_vec()
    }

    /// Marks everything received so far as consumed.
    pub fn skip(&self) {
        let mut state = self.shared.state();
        state.cursor = state.events.len();
    }

    /// Packets that are neither events, acknowledgements nor the CONNECT answer for `/`.
    pub fn wait_packet(
        &self,
        wait: Duration,
        what: &str,
        wanted: impl Fn(&sio::Packet) -> bool,
    ) -> Result<sio::Packet, Trouble> {
        self.wait_for(wait, what, |state| state.others.iter().find(|p| wanted(p)).cloned())
    }

    pub fn wait_engine(&self, wait: Duration, kind: Kind) -> Result<String, Trouble> {
        self.wait_for(wait, &format!("a {kind:?} packet"), |state| {
            let at = state.engine.iter().position(|(got, _)| *got == kind)?;
            Some(state.engine.remove(at).1)
        })
    }

    pub fn binaries(&self) -> Vec<Vec<u8>> {
        self.shared.state().binaries.clone()
    }

    pub fn ending(&self) -> Option<Ending> {
        self.shared.state().ending.clone()
    }

    pub fn is_open(&self) -> bool {
        self.ending().is_none()
    }

    pub fn wait_end(&self, wait: Duration) -> Option<Ending> {
        let deadline = Instant::now() + wait;
        let mut state = self.shared.state();
        loop {
            if state.ending.is_some() {
                return state.ending.clone();
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.shared.wait(state, left);
        }
    }

    /// Moves a polling session to a WebSocket, as a browser does: probe, pause, upgrade.
    pub fn upgrade(&mut self) -> Result<(), Trouble> {
        let shared = self.shared.clone();
        let sid = self.open().sid;
        let mut raw = RawSocket::open(&shared.target, &shared.websocket_path(&sid), &shared.log)?;
        raw.send("2probe")?;
        let answer = raw.receive_text(CONNECT_WAIT)?;
        if answer != "3probe" {
            return Err(Trouble::Protocol(format!("the probe was answered with {answer:?}")));
        }
        self.shared.state().polling_paused = true;
        self.wait_for(CONNECT_WAIT, "the end of the pending poll", |state| {
            (!state.poll_in_flight).then_some(())
        })?;
        // The reader of the poll has stopped; from here on this WebSocket is the transport.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let mut wire = self.shared.wire();
        raw.send("5")?;
        wire.socket = Some(raw.writer()?);
        wire.post = None;
        drop(wire);
        self.reader = Some(thread::spawn(move || read_websocket(&shared, raw)));
        Ok(())
    }

    /// Says goodbye properly: Socket.IO disconnect, then the end of the transport.
    pub fn close(&self) {
        let _ = self.send_packet(&sio::Packet::new(sio::Kind::Disconnect, None));
        let mut wire = self.shared.wire();
        match &mut wire.socket {
            Some(socket) => socket.close(),
            None => {
                let body = match self.protocol() {
                    Protocol::Eio4 => "1",
                    Protocol::Eio3 => "1:1",
                };
                let _ = self.shared.post(&mut wire, body.as_bytes());
            }
        }
        drop(wire);
        self.order(Orders::Stop);
    }

    /// Ends the TCP connection with FIN and no farewell.
    pub fn hang_up(&self) {
        let wire = self.shared.wire();
        let polls = wire.socket.is_none();
        if let Some(socket) = &wire.socket {
            socket.hang_up();
        }
        drop(wire);
        if polls {
            self.order(Orders::Cut);
            self.wait_end(CUT_WAIT);
        }
        self.order(Orders::Stop);
    }

    /// Ends the TCP connection with RST; a poll just with FIN.
    pub fn reset(&mut self) {
        let mut wire = self.shared.wire();
        let polls = wire.socket.is_none();
        if let Some(socket) = &wire.socket {
            socket.arm_reset();
        }
        wire.socket = None;
        wire.post = None;
        drop(wire);
        if polls {
            self.order(Orders::Cut);
            self.wait_end(CUT_WAIT);
        }
        self.order(Orders::Stop);
        self.join();
    }

    /// Stops reading and answering but keeps the connection: a half-open peer.
    pub fn mute(&self) {
        self.shared.log.note("falls silent");
        self.order(Orders::Mute);
    }

    pub fn unmute(&self) {
        self.order(Orders::Run);
    }

    fn order(&self, orders: Orders) {
        self.shared.control().orders = orders;
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    fn wait_for<T>(
        &self,
        wait: Duration,
        what: &str,
        mut found: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Trouble> {
        let deadline = Instant::now() + wait;
        let mut state = self.shared.state();
        loop {
            if let Some(value) = found(&mut state) {
                return Ok(value);
            }
            if let Some(ending) = &state.ending {
                return Err(Trouble::Closed(format!(
                    "{} {} while waiting for {what}",
                    ending.code, ending.why
                )));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Trouble::Timeout(what.to_owned()));
            }
            state = self.shared.wait(state, left);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.order(Orders::Stop);
        let wire = self.shared.wire();
        if let Some(socket) = &wire.socket {
            socket.hang_up();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().expect("no thread panics while it holds the wire")
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().expect("no thread panics while it holds the orders")
    }

    fn orders(&self) -> Orders {
        self.control().orders
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        self.wake.wait_timeout(state, left).expect("no thread panics while it holds the state").0
    }

    fn path(&self, sid: Option<&str>) -> String {
        let options = &self.options;
        let mut path = format!(
            "{}?EIO={}&transport={}",
            self.target.engine_path,
            options.protocol.number(),
            options.transport.name()
        );
        if let Some(token) = &options.token {
            path.push_str(&format!("&api_token={}", percent_encode(token)));
        }
        if let Some(sid) = sid {
            path.push_str(&format!("&sid={}", percent_encode(sid)));
        }
        path
    }

    fn websocket_path(&self, sid: &str) -> String {
        self.path(Some(sid)).replace("transport=polling", "transport=websocket")
    }

    fn sid(&self) -> String {
        self.state().open.as_ref().map(|open| open.sid.clone()).unwrap_or_default()
    }

    fn end(&self, code: u16, why: impl Into<String>) {
        let mut state = self.state();
        let why = why.into();
        self.log.note(format!("ended: {code} {why}"));
        state.ending.get_or_insert(Ending { code, why });
        self.wake.notify_all();
    }

    fn send(&self, packet: &Packet) -> Result<(), Trouble> {
        let mut wire = self.wire();
        if let Some(socket) = &mut wire.socket {
            return socket.send_frame(&engine::encode(self.options.protocol, packet));
        }
        let body = payload::encode_text(self.options.protocol, std::slice::from_ref(packet));
        self.post(&mut wire, body.as_bytes()).map(|_| ())
    }

    fn post(&self, wire: &mut Wire, body: &[u8]) -> Result<Response, Trouble> {
        let path = self.path(Some(&self.sid()));
        let reused = wire.post.is_some();
        let mut response = self.post_once(wire, &path, body);
        // A server may close an idle connection at any time: that is no answer to this request.
        if reused && matches!(response, Err(Trouble::Closed(_))) {
            wire.post = None;
            response = self.post_once(wire, &path, body);
        }
        let closes = response
            .as_ref()
            .is_ok_and(|r| r.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")));
        if response.is_err() || closes {
            wire.post = None;
        }
        let response = response?;
        if response.status == 200 {
            Ok(response)
        } else {
            Err(Trouble::Closed(format!("POST answered {} {}", response.status, response.text())))
        }
    }

    fn post_once(&self, wire: &mut Wire, path: &str, body: &[u8]) -> Result<Response, Trouble> {
        let connection = match &mut wire.post {
            Some(connection) => connection,
            empty => empty.insert(Connection::open(&self.target, &self.log)?),
        };
        connection.exchange(&Request::post(path, body), CONNECT_WAIT)
    }

    fn take_payload(&self, response: &Response) -> Result<(), Trouble> {
        let body = if response.has_type("application/octet-stream") {
            Body::Octets(response.body.clone())
        } else {
            let text = std::str::from_utf8(&response.body)
                .map_err(|_| Trouble::Protocol("a text payload that is not UTF-8".into()))?;
            Body::Text(text.to_owned())
        };
        let packets = payload::decode(self.options.protocol, &body)
            .map_err(|why| Trouble::Protocol(why.to_string()))?;
        for packet in packets {
            self.take(packet)?;
        }
        Ok(())
    }

    /// Handles one packet of the server.
    fn take(&self, packet: Packet) -> Result<(), Trouble> {
        let text = match packet.data {
            Data::Text(text) => text,
            Data::Binary(bytes) => {
                self.state().binaries.push(bytes);
                self.wake.notify_all();
                return Ok(());
            }
        };
        if packet.kind == Kind::Ping && self.options.protocol == Protocol::Eio4 {
            self.send(&Packet::text(Kind::Pong, text.clone()))?;
        }
        let mut state = self.state();
        match packet.kind {
            Kind::Open => state.open = Some(Open::parse(&text)?),
            Kind::Message => {
                let packet =
                    sio::decode(&text).map_err(|why| Trouble::Protocol(why.to_string()))?;
                state.take(packet);
            }
            Kind::Close => {
                state.ending.get_or_insert(Ending { code: 1, why: "close packet".into() });
            }
            kind => state.engine.push((kind, text)),
        }
        self.wake.notify_all();
        Ok(())
    }
}

impl State {
    fn take(&mut self, packet: sio::Packet) {
        let at = Instant::now();
        match packet.kind {
            sio::Kind::Connect if packet.namespace == "/" && self.connected.is_none() => {
                self.connected = Some(packet);
            }
            sio::Kind::Event => {
                if let Some((name, args)) = packet.as_event() {
                    let (name, args) = (name.to_owned(), args.to_vec());
                    self.events.push(Event { at, name, args, id: packet.id });
                }
            }
            sio::Kind::Ack if packet.namespace == "/" => {
                let id = packet.id.unwrap_or(u64::MAX);
                self.acks.push((id, packet.data.unwrap_or(Value::Null), at));
            }
            _ => self.others.push(packet),
        }
    }
}

fn read_websocket(shared: &Shared, mut raw: RawSocket) {
    let mut pinged = Instant::now();
    loop {
        match shared.orders() {
            Orders::Run | Orders::Cut => {}
            Orders::Mute => {
                thread::sleep(READER_TURN);
                continue;
            }
            Orders::Stop => return shared.end(0, "closed by this client"),
        }
        if let Some(due) = ping_due(shared, pinged) {
            pinged = due;
            if shared.send(&Packet::text(Kind::Ping, "")).is_err() {
                return shared.end(1006, "cannot send a ping");
            }
        }
        let taken = match raw.receive(READER_TURN) {
            Ok(frame) => take_frame(shared, &frame),
            Err(Trouble::Timeout(_)) => Ok(()),
            Err(Trouble::Closed(why)) => {
                let (code, why) = match raw.closed() {
                    Some(close) => (close.code, close.reason.clone()),
                    None => (1006, why),
                };
                return shared.end(code, why);
            }
            Err(other) => Err(other),
        };
        if let Err(why) = taken {
            return shared.end(1006, why.to_string());
        }
    }
}

fn take_frame(shared: &Shared, frame: &Frame) -> Result<(), Trouble> {
    let packet = engine::decode(shared.options.protocol, frame)
        .map_err(|why| Trouble::Protocol(why.to_string()))?;
    shared.take(packet)
}

/// In protocol 3 the client pings: the moment of this ping, if one is due.
fn ping_due(shared: &Shared, pinged: Instant) -> Option<Instant> {
    if shared.options.protocol != Protocol::Eio3 {
        return None;
    }
    let interval = shared.state().open.as_ref()?.ping_interval;
    // A third early: a busy machine must not make an honest client late.
    let early = interval.mul_f64(0.66).min(Duration::from_secs(20));
    (pinged.elapsed() >= early).then(Instant::now)
}

fn read_polling(shared: &Shared, connection: Connection) {
    let mut connection = Some(connection);
    let mut pinged = Instant::now();
    let path = shared.path(Some(&shared.sid()));
    loop {
        match shared.orders() {
            Orders::Run | Orders::Cut => {}
            Orders::Mute => {
                thread::sleep(READER_TURN);
                continue;
            }
            Orders::Stop => return shared.end(0, "closed by this client"),
        }
        {
            let mut state = shared.state();
            if state.polling_paused || state.ending.is_some() {
                return;
            }
            state.poll_in_flight = true;
        }
        shared.wake.notify_all();
        let outcome = poll_once(shared, &mut connection, &path, &mut pinged);
        shared.state().poll_in_flight = false;
        shared.wake.notify_all();
        match outcome {
            Ok(true) => {}
            Ok(false) => return shared.end(0, "closed by this client"),
            Err(Trouble::Refused(response)) => {
                return shared.end(response.status, response.text());
            }
            Err(why) => return shared.end(1006, why.to_string()),
        }
    }
}

/// Ends TCP under a held poll; `false` once it is done. An answer that was on the way comes all the
/// same, and then the server knows nothing of the end: the next poll has to be cut.
fn cut(shared: &Shared, mut connection: Connection) -> Result<bool, Trouble> {
    shared.log.note("FIN");
    let _ = connection.stream().shutdown(Shutdown::Write);
    match connection.receive(CUT_WAIT / 2) {
        Ok(response) if response.status == 200 => shared.take_payload(&response).map(|()| true),
        _ => Ok(false),
    }
}

/// One poll; `false` when the client was told to stop meanwhile.
fn poll_once(
    shared: &Shared,
    slot: &mut Option<Connection>,
    path: &str,
    pinged: &mut Instant,
) -> Result<bool, Trouble> {
    let mut connection = match slot.take() {
        Some(connection) => connection,
        None => Connection::open(&shared.target, &shared.log)?,
    };
    connection.send(&Request::get(path))?;
    let sent = Instant::now();
    loop {
        match shared.orders() {
            Orders::Run => {}
            Orders::Cut if sent.elapsed() > HELD => return cut(shared, connection),
            Orders::Cut => {}
            Orders::Mute => {
                thread::sleep(READER_TURN);
                continue;
            }
            Orders::Stop => return Ok(false),
        }
        if let Some(due) = ping_due(shared, *pinged) {
            *pinged = due;
            shared.send(&Packet::text(Kind::Ping, ""))?;
        }
        match connection.receive(READER_TURN) {
            Ok(response) if response.status == 200 => {
                let closes =
                    response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
                if !closes {
                    *slot = Some(connection);
                }
                shared.take_payload(&response)?;
                return Ok(true);
            }
            Ok(response) => return Err(Trouble::Refused(response)),
            Err(Trouble::Timeout(_)) => {}
            Err(other) => return Err(other),
        }
    }
}

//! A Socket.IO session with a reader thread: it answers heartbeats, keeps everything it received
//! in order, and lets the test wait for what it expects.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use throng_codec::engine::{Data, Kind, Packet, Protocol};
use throng_codec::socket as sio;

use super::ClientError;
use super::http::{Connection, Request};
use super::open::Open;
use super::options::{Options, Transport};
use super::poller::close_body;
use super::readers::{CUT_WAIT, read_polling, read_websocket};
use super::shared::{Orders, Shared, Wire};
use super::state::{Ending, Event, Sent, State};
use super::target::Target;
use super::transcript::Log;
use super::websocket::RawSocket;

pub struct Socket {
    shared: Arc<Shared>,
    reader: Option<thread::JoinHandle<()>>,
    /// Takes the session when this handle is dropped.
    kept: Option<Arc<Kept>>,
}

/// Sessions that stay open when their handles are dropped, until this is.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Socket>>);

impl Kept {
    pub fn close(&self) {
        self.0.lock().expect("no thread panics while it adds a session").clear();
    }
}

impl Socket {
    /// Opens the Engine.IO session and, if `options.connects`, the Socket.IO connection.
    pub fn connect(target: &Target, options: Options, log: &Log) -> Result<Socket, ClientError> {
        let connects = options.connects || options.protocol == Protocol::Eio3;
        let shared = Arc::new(Shared {
            target: target.clone(),
            log: log.clone(),
            state: Mutex::default(),
            wake: Condvar::new(),
            wire: Mutex::new(Wire { socket: None, post: None }),
            orders: Mutex::default(),
            options,
        });
        let mut socket = Socket { shared: shared.clone(), reader: None, kept: None };
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
                let response = connection.exchange(&request, target.answer_wait)?;
                // A page of something else is no payload, and is best named as what it is.
                if response.status != 200 || response.has_type("text/html") {
                    return Err(ClientError::Refused(response));
                }
                shared.take_payload(&response)?;
                let thread_shared = shared.clone();
                socket.reader =
                    Some(thread::spawn(move || read_polling(&thread_shared, connection)));
            }
        }
        socket.wait_for(target.answer_wait, "the open packet", |state| state.open.clone())?;
        if connects {
            if shared.options.protocol == Protocol::Eio4 {
                let packet = sio::Packet::new(sio::Kind::Connect, shared.options.auth.clone());
                socket.send_packet(&packet)?;
            }
            let answer = socket.wait_for(target.answer_wait, "the CONNECT packet", |state| {
                let refused = state.others.iter().find(|p| p.kind == sio::Kind::ConnectError);
                state.connected.clone().or_else(|| refused.cloned())
            })?;
            if answer.kind != sio::Kind::Connect {
                return Err(ClientError::Protocol(format!(
                    "CONNECT was refused: {}",
                    sio::encode(&answer)
                )));
            }
        }
        Ok(socket)
    }

    /// The session stays open when this handle is dropped, unless it was ended.
    pub fn keep(&mut self, kept: &Arc<Kept>) {
        self.kept = Some(kept.clone());
    }

    /// What the session has received stays here when it is over.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    pub fn open(&self) -> Open {
        self.shared.state().open.clone().unwrap_or_default()
    }

    pub fn id(&self) -> String {
        self.shared.state().id()
    }

    pub fn protocol(&self) -> Protocol {
        self.shared.options.protocol
    }

    /// That it connected with.
    pub fn transport(&self) -> Transport {
        self.shared.options.transport
    }

    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    pub fn emit(&self, name: &str, args: &[Value]) -> Result<(), ClientError> {
        self.send_event(name, args, None)
    }

    fn send_event(&self, name: &str, args: &[Value], id: Option<u64>) -> Result<(), ClientError> {
        let sent = Sent { at: Instant::now(), name: name.to_owned(), args: args.to_vec(), id };
        self.shared.state().sent.push(sent);
        let packet = sio::Packet::event(name, args);
        let packet = match id {
            Some(id) => packet.with_id(id),
            None => packet,
        };
        self.shared.send(&Packet::message(sio::encode(&packet)))
    }

    /// Emits with a fresh acknowledgement id and returns the id.
    pub fn emit_with_id(&self, name: &str, args: &[Value]) -> Result<u64, ClientError> {
        let id = {
            let mut state = self.shared.state();
            state.next_id += 1;
            state.next_id - 1
        };
        self.send_event(name, args, Some(id))?;
        Ok(id)
    }

    /// Emits and waits for the first argument of the acknowledgement.
    pub fn ask(&self, name: &str, args: &[Value], wait: Duration) -> Result<Value, ClientError> {
        let id = self.emit_with_id(name, args)?;
        self.wait_ack(id, wait)
    }

    pub fn wait_ack(&self, id: u64, wait: Duration) -> Result<Value, ClientError> {
        self.wait_for(wait, &format!("the acknowledgement {id}"), |state| {
            let found = state.ack(id)?;
            Some(found.1.get(0).cloned().unwrap_or(Value::Null))
        })
    }

    /// The arguments of the acknowledgement.
    pub fn wait_ack_args(&self, id: u64, wait: Duration) -> Result<Vec<Value>, ClientError> {
        self.wait_for(wait, &format!("the acknowledgement {id}"), |state| {
            let found = state.ack(id)?;
            Some(found.1.as_array().cloned().unwrap_or_default())
        })
    }

    pub fn acks(&self) -> Vec<(u64, Value, Instant)> {
        self.shared.state().acks.clone()
    }

    pub fn send_packet(&self, packet: &sio::Packet) -> Result<(), ClientError> {
        self.send_engine(&Packet::message(sio::encode(packet)))
    }

    /// Text as an Engine.IO message.
    pub fn send_message(&self, text: impl Into<String>) -> Result<(), ClientError> {
        self.send_engine(&Packet::message(text))
    }

    /// A binary event: its text, then its attachments.
    pub fn send_binary(&self, head: &str, attachments: &[&[u8]]) -> Result<(), ClientError> {
        self.send_message(head)?;
        attachments.iter().try_for_each(|bytes| self.send_engine(&Packet::binary(*bytes)))
    }

    pub fn send_engine(&self, packet: &Packet) -> Result<(), ClientError> {
        self.shared.state().sent_raw |=
            matches!(&packet.data, Data::Text(text) if text.starts_with(['2', '5']));
        self.shared.send(packet)
    }

    /// Text as one WebSocket message, or as the body of one POST.
    pub fn send_text(&self, text: &str) -> Result<(), ClientError> {
        self.shared.state().sent_raw = true;
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
    ) -> Result<Event, ClientError> {
        self.wait_for(wait, what, |state| {
            let from = state.cursor;
            let at = from + state.events[from..].iter().position(&wanted)?;
            state.cursor = at + 1;
            Some(state.events[at].clone())
        })
    }

    /// Waits until `found` finds something in all events so far, consumed or not.
    pub fn wait_events<T>(
        &self,
        wait: Duration,
        what: &str,
        found: impl Fn(&[Event]) -> Option<T>,
    ) -> Result<T, ClientError> {
        self.wait_for(wait, what, |state| found(&state.events))
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
    ) -> Result<sio::Packet, ClientError> {
        self.wait_for(wait, what, |state| state.others.iter().find(|p| wanted(p)).cloned())
    }

    /// The packets that `wait_packet` looks at.
    pub fn others(&self) -> Vec<sio::Packet> {
        self.shared.state().others.clone()
    }

    pub fn wait_engine(&self, wait: Duration, kind: Kind) -> Result<String, ClientError> {
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
        let state = self.shared.state();
        let open = |state: &mut State| state.ending.is_none();
        self.shared.wait_while(state, wait, open).ending.clone()
    }

    /// Moves a polling session to a WebSocket, as a browser does: probe, pause, upgrade.
    pub fn upgrade(&mut self) -> Result<(), ClientError> {
        let shared = self.shared.clone();
        let sid = self.open().sid;
        let mut raw = RawSocket::open(&shared.target, &shared.websocket_path(&sid), &shared.log)?;
        raw.send("2probe")?;
        let answer = raw.receive_text(shared.target.answer_wait)?;
        if answer != "3probe" {
            return Err(ClientError::Protocol(format!("the probe was answered with {answer:?}")));
        }
        self.shared.state().polling_paused = true;
        self.wait_for(shared.target.answer_wait, "the end of the pending poll", |state| {
            (!state.poll_in_flight).then_some(())
        })?;
        // The reader of the poll has stopped; from here on this WebSocket is the transport.
        self.join();
        let mut wire = self.shared.wire();
        raw.send("5")?;
        wire.socket = Some(raw.writer()?);
        wire.post = None;
        drop(wire);
        self.reader = Some(thread::spawn(move || read_websocket(&shared, raw)));
        Ok(())
    }

    /// Socket.IO DISCONNECT; the transport stays open.
    pub fn disconnect(&self) -> Result<(), ClientError> {
        self.shared.state().has_disconnected = true;
        self.send_packet(&sio::Packet::new(sio::Kind::Disconnect, None))
    }

    /// Ends the session in one of the ways that cases are about.
    pub fn end_by(&mut self, way: &str) -> Result<(), ClientError> {
        match way {
            "41" => self.disconnect()?,
            "close" => self.close(),
            "FIN" => self.hang_up(),
            "RST" => self.reset(),
            other => panic!("{other} is no way to end"),
        }
        Ok(())
    }

    /// Closes in order: Socket.IO disconnect, then the end of the transport.
    pub fn close(&self) {
        let _ = self.disconnect();
        self.close_transport();
    }

    /// Closes the WebSocket in order, or sends the close packet of polling, and nothing of Socket.IO.
    pub fn close_transport(&self) {
        let mut wire = self.shared.wire();
        match &mut wire.socket {
            Some(socket) => socket.close(),
            None => {
                let body = close_body(self.protocol());
                let _ = self.shared.post(&mut wire, body.as_bytes());
            }
        }
        drop(wire);
        self.shared.order(Orders::Stop);
    }

    /// Ends the TCP connection with FIN, without disconnect or close packet.
    pub fn hang_up(&self) {
        self.cut(|wire| wire.socket.as_ref().map(RawSocket::hang_up));
    }

    /// Ends the TCP connection with RST; a poll just with FIN.
    pub fn reset(&mut self) {
        self.cut(|wire| {
            wire.post = None;
            wire.socket.take().map(|socket| socket.arm_reset())
        });
        self.join();
    }

    /// Ends the WebSocket, or the next held poll if `end` finds no WebSocket.
    fn cut(&self, end: impl FnOnce(&mut Wire) -> Option<()>) {
        let polls = end(&mut self.shared.wire()).is_none();
        if polls {
            self.shared.order(Orders::Cut);
            self.wait_end(CUT_WAIT);
        }
        self.shared.order(Orders::Stop);
    }

    /// Stops reading and answering but keeps the connection: a half-open peer.
    pub fn mute(&self) {
        self.shared.log.note("stops reading and writing");
        self.shared.order(Orders::Mute);
    }

    pub fn unmute(&self) {
        self.shared.order(Orders::Run);
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
    ) -> Result<T, ClientError> {
        let mut value = None;
        let state = self.shared.wait_while(self.shared.state(), wait, |state| {
            value = found(state);
            value.is_none() && state.ending.is_none()
        });
        match (value, &state.ending) {
            (Some(value), _) => Ok(value),
            (None, Some(Ending { code, why })) => {
                Err(ClientError::Closed(format!("{code} {why} while waiting for {what}")))
            }
            (None, None) => Err(ClientError::Timeout(format!(
                "{what} not within {wait:?}; {}",
                state.waiting()
            ))),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take()
            && self.shared.orders() == Orders::Run
            && self.is_open()
        {
            let socket =
                Socket { shared: self.shared.clone(), reader: self.reader.take(), kept: None };
            return kept.0.lock().expect("no thread panics while it adds a session").push(socket);
        }
        self.shared.order(Orders::Stop);
        let mut wire = self.shared.wire();
        if let Some(socket) = &wire.socket {
            return socket.hang_up();
        }
        // A polling session would stay in its room until its heartbeat fails.
        let is_over = self.ending().is_some_and(|ending| ending.code != 0);
        if !is_over && self.shared.state().open.is_some() {
            let body = close_body(self.protocol());
            let _ = self.shared.post(&mut wire, body.as_bytes());
        }
    }
}

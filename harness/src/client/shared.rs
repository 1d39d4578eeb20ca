//! What a session's handle and its reader thread share: the connection and what arrived on it.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use throng_codec::engine::{self, Data, Kind, Packet, Protocol};
use throng_codec::payload;
use throng_codec::socket as sio;

use super::ClientError;
use super::http::{Connection, Request, Response, percent_encode};
use super::open::Open;
use super::options::Options;
use super::poller::packets_of;
use super::state::{Ending, State};
use super::target::Target;
use super::transcript::Log;
use super::websocket::RawSocket;

pub struct Wire {
    pub socket: Option<RawSocket>,
    pub post: Option<Connection>,
}

pub struct Shared {
    pub target: Target,
    pub options: Options,
    pub log: Log,
    pub state: Mutex<State>,
    pub wake: Condvar,
    pub wire: Mutex<Wire>,
    pub orders: Mutex<Orders>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Orders {
    #[default]
    Run,
    /// Drop the connection of the next held poll: between two polls a server cannot detect the end.
    Cut,
    /// Neither read nor answer, but keep the connection.
    Mute,
    Stop,
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    pub fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().expect("no thread panics while it holds the wire")
    }

    pub fn orders(&self) -> Orders {
        *self.orders.lock().expect("no thread panics while it holds the orders")
    }

    pub fn order(&self, orders: Orders) {
        *self.orders.lock().expect("no thread panics while it holds the orders") = orders;
    }

    /// Waits until `holds` no longer does, at most this long.
    pub fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        wait: Duration,
        holds: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.wake.wait_timeout_while(state, wait, holds);
        waited.expect("no thread panics while it holds the state").0
    }

    pub fn path(&self, sid: Option<&str>) -> String {
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
        for (name, value) in &options.query {
            path.push_str(&format!("&{}={}", percent_encode(name), percent_encode(value)));
        }
        if let Some(sid) = sid {
            path.push_str(&format!("&sid={}", percent_encode(sid)));
        }
        path
    }

    pub fn websocket_path(&self, sid: &str) -> String {
        self.path(Some(sid)).replace("transport=polling", "transport=websocket")
    }

    pub fn sid(&self) -> String {
        self.state().open.as_ref().map(|open| open.sid.clone()).unwrap_or_default()
    }

    pub fn end(&self, code: u16, why: impl Into<String>) {
        let mut state = self.state();
        let why = why.into();
        self.log.note(format!("ended: {code} {why}"));
        state.ending.get_or_insert(Ending { code, why });
        self.wake.notify_all();
    }

    pub fn send(&self, packet: &Packet) -> Result<(), ClientError> {
        let mut wire = self.wire();
        if let Some(socket) = &mut wire.socket {
            return socket.send_frame(&engine::encode(self.options.protocol, packet));
        }
        let body = payload::encode_text(self.options.protocol, std::slice::from_ref(packet));
        self.post(&mut wire, body.as_bytes()).map(|_| ())
    }

    pub fn post(&self, wire: &mut Wire, body: &[u8]) -> Result<Response, ClientError> {
        let path = self.path(Some(&self.sid()));
        let reused = wire.post.is_some();
        let mut response = self.post_once(wire, &path, body);
        // A server may close an idle connection at any time: that does not answer this request.
        if reused && matches!(response, Err(ClientError::Closed(_))) {
            wire.post = None;
            response = self.post_once(wire, &path, body);
        }
        if !response.as_ref().is_ok_and(|response| !response.closes()) {
            wire.post = None;
        }
        let response = response?;
        if response.status == 200 {
            return Ok(response);
        }
        let why = format!("POST answered {} {}", response.status, response.text());
        Err(ClientError::Closed(why))
    }

    pub fn post_once(
        &self,
        wire: &mut Wire,
        path: &str,
        body: &[u8],
    ) -> Result<Response, ClientError> {
        let connection = match &mut wire.post {
            Some(connection) => connection,
            empty => empty.insert(Connection::open(&self.target, &self.log)?),
        };
        connection.exchange(&Request::post(path, body), self.target.answer_wait)
    }

    pub fn take_payload(&self, response: &Response) -> Result<(), ClientError> {
        let packets = packets_of(self.options.protocol, response)?;
        packets.into_iter().try_for_each(|packet| self.take(packet))
    }

    /// Handles one packet of the server.
    pub fn take(&self, packet: Packet) -> Result<(), ClientError> {
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
                state.is_root_named |= text.get(1..).is_some_and(|rest| rest.starts_with("/,"));
                let packet = sio::decode(&text)?;
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

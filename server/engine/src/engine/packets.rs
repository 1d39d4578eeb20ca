//! Packets of a session, whatever transport brought them.

use bytes::Bytes;
use throng_wire::eio::{self, Kind, Version};
use throng_wire::sio;

use super::placeholders;
use super::session::{Assembly, Beat, Connection};
use super::{CloseReason, Engine, SessionEvent};
use crate::canary::{Canary, is_armed};
use crate::engine_request::Endpoint;
use crate::handshake_refusal::HandshakeRefusal;
use crate::ids::{SessionId, SocketId};
use crate::long_packets::Shortened;
use crate::now::Now;

/// The decoder lets no event without data pass (`Fault::DataMissing`).
const HAS_DATA: &str = "the decoder has checked that an event has data";

impl Engine {
    pub(super) fn packet(&mut self, id: SessionId, packet: eio::Packet<'_>) {
        let now = self.now;
        let interval_ms = u64::from(self.settings.ping_interval_ms);
        let timeout_ms = u64::from(self.settings.ping_timeout_ms);
        let session = self.live_mut(id);
        let version = session.version;
        if version == Version::V3 {
            // Any packet is a sign of life.
            session.deadline = now.plus_ms(interval_ms + timeout_ms);
        }
        match (packet.kind, version) {
            (Kind::Message, _) => self.message(id, packet.data),
            (Kind::Ping, Version::V3) => {
                let eio::Data::Text(text) = packet.data else {
                    return self.end(id, CloseReason::ParseError);
                };
                let mut pong = String::with_capacity(text.len() + 1);
                eio::put_pong(&mut pong, text);
                self.emit(id, &pong);
            }
            (Kind::Pong, Version::V4) => {
                session.beat = Beat::SendPing;
                session.deadline = now.plus_ms(interval_ms);
                let due = session.next_due();
                if due < session.timer_at {
                    self.arm(id, due);
                }
            }
            (Kind::Close, _) => self.end(id, CloseReason::TransportClose),
            // A transport that is not probing has no use for these (EIO-17).
            (Kind::Open | Kind::Upgrade | Kind::Noop, _) => {}
            // Heartbeats in the wrong direction.
            (Kind::Ping | Kind::Pong, _) => self.end(id, CloseReason::ParseError),
        }
    }

    fn message(&mut self, id: SessionId, data: eio::Data<'_>) {
        let session = self.live_mut(id);
        session.messages_in += 1;
        match (session.endpoint, data) {
            (Endpoint::SocketIo, eio::Data::Text(text)) => self.socket_io(id, text),
            (Endpoint::SocketIo, eio::Data::Binary(bytes)) => self.attachment(id, &bytes),
            (Endpoint::EngineIo | Endpoint::RawEcho, eio::Data::Text(text)) => {
                self.session_events
                    .push_back(SessionEvent::Text { session: id, text: text.into() });
            }
            (Endpoint::EngineIo | Endpoint::RawEcho, eio::Data::Binary(bytes)) => {
                let bytes = Bytes::copy_from_slice(&bytes);
                self.session_events.push_back(SessionEvent::Binary { session: id, bytes });
            }
        }
    }

    fn socket_io(&mut self, id: SessionId, text: &str) {
        let limits = sio::Limits {
            depth_max: self.settings.json_depth_max,
            values_max: self.settings.json_values_max,
            attachments_max: self.settings.attachments_max,
        };
        let shortened = match &self.traits.long_packets {
            Some(long) => long.shorten(text),
            None => Some(Shortened { packet: text.into(), omitted: None }),
        };
        // Long acks mean nothing, as short ones do not.
        let Some(Shortened { packet: text, omitted }) = shortened else {
            if !text.starts_with('3') {
                self.end(id, CloseReason::ParseError);
            }
            return;
        };
        let Ok((packet, event)) = sio::decode_with_event(&text, &limits) else {
            return self.end(id, CloseReason::ParseError);
        };
        let session = self.live(id);
        if session.assembly.is_some() {
            // Attachments of the packet before this one are missing.
            return self.end(id, CloseReason::ParseError);
        }
        let version = session.version;
        let namespace = self.traits.namespaces.iter().position(|name| *name == packet.namespace);
        let Some(namespace) = namespace.map(|index| index as u8) else {
            if packet.kind == sio::Kind::Connect {
                let mut answer = String::new();
                let message = "Invalid namespace";
                sio::put_connect_error(&mut answer, version, packet.namespace, message);
                let peer = session.peer;
                self.refused.push((peer, HandshakeRefusal::Namespace));
                return self.emit(id, &answer);
            }
            if packet.kind == sio::Kind::Disconnect {
                return; // Leaving where one is not changes nothing (SIO-65).
            }
            // Upstream closes a client that sends to a namespace it never connected to.
            return self.end(id, CloseReason::ParseError);
        };
        match packet.kind {
            sio::Kind::Connect => {
                if session.is_connected(namespace) {
                    // An Engine.IO 3 client was connected without asking and may still ask
                    // (SIO-21).
                    if version == Version::V4 {
                        self.end(id, CloseReason::ParseError);
                    }
                    return;
                }
                self.connect_namespace(id, namespace, packet.data.map(Box::from));
            }
            // Leaving twice changes nothing (SIO-65).
            sio::Kind::Disconnect if !session.is_connected(namespace) => {}
            // It was on its way when the client was disconnected.
            _ if !session.is_connected(namespace) && session.was_disconnected => {
                self.counters.stale_packets += 1;
            }
            _ if !session.is_connected(namespace) => self.end(id, CloseReason::ParseError),
            sio::Kind::Disconnect => {
                self.disconnect_namespace(id, namespace);
                self.session_events.push_back(SessionEvent::Disconnected { session: id });
            }
            sio::Kind::Event => {
                let data = packet.data.expect(HAS_DATA);
                let before = data.as_ptr().addr() - text.as_ptr().addr();
                let omitted = omitted.map(|omitted| omitted.behind(before));
                let buffer = self.event_buffers.take();
                let data = sio::EventData::new(data, &event.expect(HAS_DATA), buffer);
                self.counters.events_in += 1;
                self.session_events.push_back(SessionEvent::Event {
                    session: id,
                    namespace,
                    ack: packet.ack,
                    data,
                    is_binary: false,
                    attachments: Vec::new(),
                    omitted,
                });
            }
            sio::Kind::BinaryEvent => {
                let data = packet.data.expect(HAS_DATA);
                if !placeholders::are_valid(data, packet.attachments) {
                    return self.end(id, CloseReason::ParseError);
                }
                self.set_unfinished(id, 0);
                let assembly = Assembly {
                    namespace,
                    ack: packet.ack,
                    data: sio::EventData::new(data, &event.expect(HAS_DATA), String::new()),
                    omitted,
                    missing: packet.attachments,
                    attachments: Vec::new(),
                    bytes: 0,
                };
                self.assemble(id, assembly);
            }
            // The server asks for no acks, so an answer to one means nothing; upstream ignores it.
            sio::Kind::Ack | sio::Kind::BinaryAck => {}
            sio::Kind::ConnectError => self.end(id, CloseReason::ParseError),
        }
    }

    fn attachment(&mut self, id: SessionId, bytes: &[u8]) {
        let takes_attachments = self.traits.takes_attachments;
        let max_payload = self.payload_max(self.live(id).trust());
        let session = self.live_mut(id);
        let Some(mut assembly) = session.assembly.take() else {
            return self.end(id, CloseReason::Protocol(1003));
        };
        assembly.bytes += bytes.len();
        if assembly.bytes > max_payload {
            return self.end(id, self.too_large(id));
        }
        if takes_attachments {
            assembly.attachments.push(Bytes::copy_from_slice(bytes));
        }
        assembly.missing -= 1;
        self.assemble(id, *assembly);
    }

    fn assemble(&mut self, id: SessionId, assembly: Assembly) {
        if assembly.missing > 0 {
            self.live_mut(id).assembly = Some(Box::new(assembly));
            return;
        }
        let Assembly { namespace, ack, data, omitted, attachments, .. } = assembly;
        self.counters.events_in += 1;
        self.session_events.push_back(SessionEvent::Event {
            session: id,
            namespace,
            ack,
            data,
            is_binary: true,
            attachments,
            omitted,
        });
    }

    /// Disconnects a client from a namespace: it reports `io server disconnect`, after everything that
    /// was sent to it before. A WebSocket is closed behind that. A client that polls reads it with its
    /// next poll and closes by itself; if it does not, its session ends after the connect timeout.
    pub fn disconnect(&mut self, id: SessionId, namespace: u8) {
        if !self.session(id).is_some_and(|session| session.is_connected(namespace)) {
            return; // It has left, or ended, before.
        }
        let mut packet = String::new();
        sio::put_disconnect(&mut packet, self.traits.namespaces[usize::from(namespace)]);
        self.emit(id, &packet);
        if self.live(id).pipe().is_some() {
            return self.end(id, CloseReason::ServerDisconnect);
        }
        self.disconnect_namespace(id, namespace);
        let session = self.live_mut(id);
        session.has_left = false;
        session.was_disconnected = true;
        self.session_events.push_back(SessionEvent::Disconnected { session: id });
    }

    /// A client that has left its last namespace closes, or connects again in time (SIO-63).
    fn disconnect_namespace(&mut self, id: SessionId, namespace: u8) {
        let connect_by = self.now.plus_ms(u64::from(self.settings.connect_timeout_ms));
        let session = self.live_mut(id);
        session.connected &= !(1 << namespace);
        session.connections.retain(|connection| connection.namespace != namespace);
        if session.connected > 0 {
            return;
        }
        session.has_left = true;
        session.connect_by = connect_by;
        if connect_by < session.timer_at && !is_armed(Canary::NoConnectTimer) {
            self.arm(id, connect_by);
        }
    }

    /// Confirms to a client that it is connected to a namespace, as `socket_id`, unless it has left or ended
    /// since it asked. Only for applications with [`crate::App::ADMITS`].
    pub fn admit(&mut self, id: SessionId, namespace: u8, socket_id: SocketId) {
        if self.take_asked(id, namespace, socket_id) {
            self.live_mut(id).connect_by = Now(u64::MAX);
            self.answer_connect(id, namespace, socket_id);
        }
    }

    /// Refuses a client that asks to connect a namespace as `socket_id`, with a message for its
    /// `connect_error`, unless it has left or ended since. It may ask again until the connect timeout,
    /// which asking does not extend. Only for applications with [`crate::App::ADMITS`].
    pub fn refuse(&mut self, id: SessionId, namespace: u8, socket_id: SocketId, message: &str) {
        if !self.take_asked(id, namespace, socket_id) {
            return;
        }
        let session = self.live(id);
        let name = self.traits.namespaces[usize::from(namespace)];
        let mut answer = String::new();
        sio::put_connect_error(&mut answer, session.version, name, message);
        self.emit(id, &answer);
        let session = self.live_mut(id);
        let connect_by = session.connect_by;
        session.was_disconnected = true;
        self.disconnect_namespace(id, namespace);
        let session = self.live_mut(id);
        session.has_left = false;
        session.connect_by = session.connect_by.min(connect_by);
    }

    /// Whether the client still waits for this answer; it does so no more.
    fn take_asked(&mut self, id: SessionId, namespace: u8, socket_id: SocketId) -> bool {
        let Some(session) = self.session_mut(id) else { return false };
        let mut connections = session.connections.iter_mut();
        let asked = connections.find(|it| it.namespace == namespace && it.id == socket_id);
        asked.is_some_and(|connection| std::mem::take(&mut connection.is_asked))
    }

    fn answer_connect(&mut self, id: SessionId, namespace: u8, socket_id: SocketId) {
        // Engine.IO 3 clients take the Engine.IO sid for their socket id (SIO-13). The application
        // does not get that: it authorises polling requests.
        let is_sent = self.live(id).version == Version::V4;
        let sent = is_sent.then(|| socket_id.to_string());
        let name = self.traits.namespaces[usize::from(namespace)];
        let mut answer = String::with_capacity(64);
        sio::put_connect(&mut answer, name, sent.as_deref());
        self.emit(id, &answer);
    }

    /// Marks the namespace connected, and answers the client unless the application does.
    pub(super) fn connect_namespace(
        &mut self,
        id: SessionId,
        namespace: u8,
        auth: Option<Box<str>>,
    ) {
        let socket_id = SocketId::new(id, self.random_bytes());
        let admits = self.traits.admits;
        let session = self.live_mut(id);
        session.connected |= 1 << namespace;
        session.has_left = false;
        session.was_disconnected = false;
        session.connections.push(Connection { namespace, id: socket_id, is_asked: admits });
        if !admits {
            session.connect_by = Now(u64::MAX);
            self.answer_connect(id, namespace, socket_id);
        }
        let connected = SessionEvent::Connected { session: id, namespace, id: socket_id, auth };
        self.session_events.push_back(connected);
    }
}

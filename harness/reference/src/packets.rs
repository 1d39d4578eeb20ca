//! From Engine.IO packets to Socket.IO packets to events.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_codec::Malformed;
use throng_codec::engine::{Data, Kind, Packet, Protocol};
use throng_codec::socket as sio;

use crate::defect::Defect;
use crate::world::World;

const NAMESPACE_CHARS_MAX: usize = 256;
/// Largest event without an image.
const EVENT_BYTES_MAX: usize = 65_536;
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

enum Broken {
    Packet,
    Binary,
}

impl World {
    /// Handles one Engine.IO packet of a session, or its decoding error.
    pub fn handle(&mut self, sid: &str, packet: Result<Packet, Malformed>) {
        let outcome = match packet {
            Ok(packet) => self.handle_engine(sid, packet),
            Err(_) => Err(Broken::Packet),
        };
        match outcome {
            Ok(()) => {}
            Err(Broken::Packet) => self.end_session(sid, 1008, "parse_error"),
            Err(Broken::Binary) => self.end_session(sid, 1003, "parse_error"),
        }
    }

    fn handle_engine(&mut self, sid: &str, packet: Packet) -> Result<(), Broken> {
        let now = Instant::now();
        let ping_interval = self.options.ping_interval;
        let Some(session) = self.sessions.get_mut(sid) else {
            return Ok(());
        };
        let name = match packet.kind {
            Kind::Close => "in:eio:close",
            Kind::Ping => "in:eio:ping",
            Kind::Pong => "in:eio:pong",
            Kind::Open | Kind::Upgrade | Kind::Noop => "in:eio:other",
            Kind::Message if matches!(packet.data, Data::Binary(_)) => "in:eio:binary",
            Kind::Message => "in:eio:message",
        };
        if self.options.rule.as_ref().is_some_and(|rule| rule.ignores(name)) {
            return Ok(());
        }
        session.last_packet_at = now;
        match (packet.kind, packet.data) {
            (Kind::Close, _) => {
                self.end_session(sid, 1000, "client_disconnect");
                Ok(())
            }
            (Kind::Ping, Data::Text(data)) if session.protocol == Protocol::Eio3 => {
                session.pipe.push(Packet::text(Kind::Pong, data));
                Ok(())
            }
            (Kind::Pong, _) if session.protocol == Protocol::Eio4 => {
                if session.pong_due.take().is_some() {
                    session.ping_due = now + ping_interval;
                }
                Ok(())
            }
            (Kind::Ping | Kind::Pong, _) => Err(Broken::Packet),
            (Kind::Open | Kind::Upgrade | Kind::Noop, _) => Ok(()),
            (Kind::Message, Data::Text(text)) => self.handle_text(sid, &text),
            (Kind::Message, Data::Binary(_)) => self.handle_attachment(sid),
        }
    }

    fn handle_text(&mut self, sid: &str, text: &str) -> Result<(), Broken> {
        let ignores_malformed = self.has(Defect::MalformedIgnored);
        let takes_binary = self.has(Defect::BinaryDelivered);
        let attachments_max = self.options.attachments_max;
        let Some(session) = self.sessions.get_mut(sid) else {
            return Ok(());
        };
        if session.awaiting.is_some() {
            return Err(Broken::Packet);
        }
        let packet = match sio::decode(text) {
            Ok(packet) => packet,
            Err(_) if ignores_malformed => return Ok(()),
            Err(_) => return Err(Broken::Packet),
        };
        let name = match packet.kind {
            sio::Kind::Connect if packet.namespace != "/" => "in:sio:connect-elsewhere",
            sio::Kind::Connect => "in:sio:connect",
            sio::Kind::Disconnect => "in:sio:disconnect",
            sio::Kind::Event => "in:sio:event",
            sio::Kind::BinaryEvent | sio::Kind::BinaryAck => "in:sio:binary",
            sio::Kind::Ack | sio::Kind::ConnectError => "in:sio:ack",
        };
        if self.options.rule.as_ref().is_some_and(|rule| rule.ignores(name)) {
            return Ok(());
        }
        let is_eio4 = session.protocol == Protocol::Eio4;
        if packet.namespace != "/" {
            match packet.kind {
                sio::Kind::Connect => self.refuse_namespace(sid, &packet.namespace, is_eio4),
                sio::Kind::Disconnect => {}
                _ if is_eio4 => return Err(Broken::Packet),
                _ => {}
            }
            return Ok(());
        }
        if packet.kind == sio::Kind::Connect {
            if session.connected && is_eio4 {
                return Err(Broken::Packet);
            }
            if is_eio4 {
                self.connect(sid, packet.data.as_ref());
            }
            return Ok(());
        }
        if !session.connected {
            // After its DISCONNECT a client is ignored; before its CONNECT an event is an error.
            return if session.was_connected { Ok(()) } else { Err(Broken::Packet) };
        }
        match packet.kind {
            sio::Kind::Disconnect => {
                self.leave_all(sid);
                let connect_timeout = self.options.connect_timeout;
                if let Some(session) = self.sessions.get_mut(sid) {
                    session.connected = false;
                    session.connect_due =
                        Some(Instant::now() + connect_timeout.max(Duration::from_secs(2)));
                }
            }
            sio::Kind::BinaryEvent | sio::Kind::BinaryAck => {
                if packet.attachments > attachments_max || !placeholders_fit(&packet) {
                    return Err(Broken::Packet);
                }
                if takes_binary {
                    self.dispatch(sid, &packet, text.len());
                } else if packet.attachments == 0 {
                    self.refuse_binary(sid, &packet);
                } else {
                    let left = packet.attachments;
                    session.awaiting = Some((packet, left));
                }
            }
            sio::Kind::Event => self.dispatch(sid, &packet, text.len()),
            sio::Kind::Ack | sio::Kind::ConnectError | sio::Kind::Connect => {}
        }
        Ok(())
    }

    fn handle_attachment(&mut self, sid: &str) -> Result<(), Broken> {
        let takes_binary = self.has(Defect::BinaryDelivered);
        let Some(session) = self.sessions.get_mut(sid) else {
            return Ok(());
        };
        match session.awaiting.take() {
            Some((packet, left)) if left > 1 => session.awaiting = Some((packet, left - 1)),
            Some((packet, _)) => self.refuse_binary(sid, &packet),
            None if takes_binary => {}
            None => return Err(Broken::Binary),
        }
        Ok(())
    }

    fn connect(&mut self, sid: &str, payload: Option<&Value>) {
        let Some(session) = self.sessions.get_mut(sid) else {
            return;
        };
        session.connected = true;
        session.was_connected = true;
        session.connect_due = None;
        let answer = json!({ "sid": session.socket_id });
        self.send(sid, &sio::Packet::new(sio::Kind::Connect, Some(answer)));
        if let Some(payload) = payload {
            let token = payload.get("api_token").or_else(|| payload.get("token"));
            if let Some(token) = token.and_then(Value::as_str) {
                self.take_token(sid, token);
            }
        }
        self.greet(sid);
    }

    fn refuse_namespace(&mut self, sid: &str, namespace: &str, is_eio4: bool) {
        let name: String = namespace.chars().take(NAMESPACE_CHARS_MAX).collect();
        let text = "Invalid namespace";
        let data = if is_eio4 { json!({ "message": text }) } else { json!(text) };
        let packet = sio::Packet::new(sio::Kind::ConnectError, Some(data)).in_namespace(&name);
        // Sent whether or not `/` is connected.
        self.push(sid, Packet::message(sio::encode(&packet)));
    }

    fn refuse_binary(&mut self, sid: &str, packet: &sio::Packet) {
        if packet.kind == sio::Kind::BinaryEvent {
            let name = packet.as_event().map(|(name, _)| name).unwrap_or("").to_owned();
            self.refuse(
                sid,
                &name,
                packet.id,
                "binary_unsupported",
                "Binary data is not supported",
            );
        }
    }

    fn dispatch(&mut self, sid: &str, packet: &sio::Packet, bytes: usize) {
        let Some((name, args)) = packet.as_event() else {
            return self.refuse(sid, "", packet.id, "unknown_event", "There is no such event");
        };
        if RESERVED.contains(&name) {
            return self.refuse(sid, name, packet.id, "unknown_event", "There is no such event");
        }
        let has_image =
            args.first().is_some_and(|data| data["img"].as_str().is_some_and(|i| !i.is_empty()));
        if !has_image && bytes > EVENT_BYTES_MAX {
            return self.refuse(sid, name, packet.id, "too_large", "The event is too large");
        }
        self.event(sid, name, args.first(), packet.id);
    }

    /// Answers a refused event (ERR-1, ERR-2).
    pub fn refuse(&mut self, sid: &str, event: &str, id: Option<u64>, code: &str, message: &str) {
        if self.has(Defect::RefusalHoldsAll) {
            thread::sleep(Duration::from_millis(2));
        }
        if let Some(id) = id {
            self.ack(sid, id, json!({ "ok": false, "code": code, "message": message }));
            if !self.has(Defect::AckAndErrorEvent) {
                return;
            }
        }
        if self.has(Defect::SilentErrors) {
            return;
        }
        let event: String = event.chars().take(64).collect();
        self.emit(
            sid,
            "chat_error",
            &[json!({ "event": event, "code": code, "message": message })],
        );
    }

    pub fn ack(&mut self, sid: &str, id: u64, answer: Value) {
        let twice = self.has(Defect::AckTwice);
        let wrong = self.has(Defect::WrongAckId);
        let Some(session) = self.sessions.get_mut(sid) else {
            return;
        };
        session.acks += 1;
        let again = twice && session.acks.is_multiple_of(7);
        let id = if wrong { id & 0xffff_ffff } else { id };
        let name = match answer["code"].as_str() {
            Some(code) => format!("refused:{code}"),
            None => format!("ack:{}", self.acting),
        };
        let packet = sio::Packet::new(sio::Kind::Ack, Some(json!([answer]))).with_id(id);
        let packet = Packet::message(sio::encode(&packet));
        self.send_as(Some(&name), sid, &packet);
        if again {
            self.send_as(Some(&name), sid, &packet);
        }
    }
}

/// Every placeholder names an attachment of this packet.
fn placeholders_fit(packet: &sio::Packet) -> bool {
    fn fits(value: &Value, attachments: u64) -> bool {
        match value {
            Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
                map.get("num").and_then(Value::as_u64).is_some_and(|num| num < attachments)
            }
            Value::Object(map) => map.values().all(|value| fits(value, attachments)),
            Value::Array(items) => items.iter().all(|value| fits(value, attachments)),
            _ => true,
        }
    }
    packet.data.as_ref().is_none_or(|data| fits(data, packet.attachments))
}

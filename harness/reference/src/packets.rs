//! From Engine.IO packets to Socket.IO packets to events.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_codec::Malformed;
use throng_codec::engine::{Data, Kind, Packet, Protocol};
use throng_codec::socket as sio;

use crate::defect::Defect;
use crate::world::{World, random_id};

const NAMESPACE_CHARS_MAX: usize = 256;
/// Largest event without an image.
const EVENT_BYTES_MAX: usize = 65_536;
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

enum Broken {
    /// No Engine.IO packet.
    Malformed,
    Packet,
    Binary,
}

impl World {
    /// Whether pings and pongs of the wrong direction are taken.
    pub fn takes_any_direction(&self) -> bool {
        self.has(Defect::ClientPingTaken) || self.has(Defect::Eio3PongTaken)
    }

    /// Handles one Engine.IO packet of a session, or its decoding error.
    pub fn handle(&mut self, sid: &str, packet: Result<Packet, Malformed>) {
        let outcome = match packet {
            Ok(packet) => self.handle_engine(sid, packet),
            Err(_) => Err(Broken::Malformed),
        };
        match outcome {
            Ok(()) => {}
            Err(Broken::Malformed) if self.has(Defect::EngineMalformedIgnored) => {}
            Err(Broken::Packet | Broken::Malformed) => {
                self.end_session(sid, 1008, "parse_error");
            }
            Err(Broken::Binary) => self.end_session(sid, 1003, "parse_error"),
        }
    }

    fn handle_engine(&mut self, sid: &str, packet: Packet) -> Result<(), Broken> {
        let now = Instant::now();
        let ping_interval = match self.has(Defect::PingEarly) {
            true => self.options.ping_interval / 2,
            false => self.options.ping_interval,
        };
        let only_pings = self.has(Defect::OnlyPingsAreLife);
        let breaks_attachments = self.has(Defect::HeartbeatIsAttachment);
        let pings_taken = self.has(Defect::ClientPingTaken);
        let pongs_taken = self.has(Defect::Eio3PongTaken);
        let unasked_closes = self.has(Defect::UnaskedPongCloses);
        let empty_pongs = self.has(Defect::Eio3PongEmpty);
        let noop_closes = self.has(Defect::OpenFromClientCloses);
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
        if !only_pings || packet.kind == Kind::Ping {
            session.last_packet_at = now;
        }
        let is_heartbeat = matches!(packet.kind, Kind::Ping | Kind::Pong);
        if is_heartbeat && session.awaiting.is_some() && breaks_attachments {
            return Err(Broken::Packet);
        }
        match (packet.kind, packet.data) {
            (Kind::Ping, _) if pings_taken && session.protocol == Protocol::Eio4 => {
                session.pipe.push(Packet::text(Kind::Pong, ""));
                Ok(())
            }
            (Kind::Pong, _) if pongs_taken && session.protocol == Protocol::Eio3 => Ok(()),
            (Kind::Pong, _) if unasked_closes && session.pong_due.is_none() => Err(Broken::Packet),
            (Kind::Close, _) => {
                self.end_session(sid, 1000, "client_disconnect");
                Ok(())
            }
            (Kind::Ping, Data::Text(data)) if session.protocol == Protocol::Eio3 => {
                let data = if empty_pongs { String::new() } else { data };
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
            (Kind::Open | Kind::Upgrade | Kind::Noop, _) if noop_closes => Err(Broken::Packet),
            (Kind::Open | Kind::Upgrade | Kind::Noop, _) => Ok(()),
            (Kind::Message, Data::Text(text)) => self.handle_text(sid, &text),
            (Kind::Message, Data::Binary(_)) => self.handle_attachment(sid),
        }
    }

    fn handle_text(&mut self, sid: &str, text: &str) -> Result<(), Broken> {
        let ignores_malformed = self.has(Defect::MalformedIgnored);
        let takes_binary = self.has(Defect::BinaryDelivered);
        let attachments_max = self.options.attachments_max;
        let takes_any_placeholder = self.has(Defect::PlaceholdersUnchecked);
        let ignores_interruption = self.has(Defect::InterruptionIgnored);
        let ignores_early = self.has(Defect::EventBeforeConnectIgnored);
        let acts_early = self.has(Defect::EventBeforeConnectActs);
        let acts_after = self.has(Defect::DisconnectedActs);
        let ignores_elsewhere = self.has(Defect::ElsewhereIgnored);
        let acts_elsewhere = self.has(Defect::ElsewhereActs);
        let waits_elsewhere = self.has(Defect::ElsewhereWaits);
        let eio3_connect_closes = self.has(Defect::Eio3ConnectCloses);
        let ack_closes = self.has(Defect::AckFromClientCloses);
        let second_connects =
            self.has(Defect::SecondConnectNewId) || self.has(Defect::SecondConnectLeaves);
        let is_refused =
            self.has(Defect::NamespaceQueryKept) && text.starts_with("0/") && text.contains('?')
                || self.has(Defect::DepthLimited) && depth_of(text) > 16
                || self.has(Defect::ValuesLimited) && text.matches(',').count() > 1_000;
        if is_refused {
            return Err(Broken::Packet);
        }
        let limits_acks = self.has(Defect::AckIdsLimited);
        let leaves_elsewhere = self.has(Defect::DisconnectElsewhereEnds);
        let Some(session) = self.sessions.get_mut(sid) else {
            return Ok(());
        };
        if session.awaiting.is_some() {
            if ignores_interruption {
                return Ok(());
            }
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
        if packet.id.is_some_and(|id| id > u64::from(u32::MAX)) && limits_acks {
            return Err(Broken::Packet);
        }
        let acts_here = acts_elsewhere && packet.kind == sio::Kind::Event;
        if packet.namespace != "/" && !acts_here {
            match packet.kind {
                sio::Kind::Disconnect if leaves_elsewhere => self.leave_all(sid),
                _ if ignores_elsewhere && packet.kind != sio::Kind::Connect => {}
                sio::Kind::Connect => self.refuse_namespace(sid, &packet.namespace, is_eio4),
                sio::Kind::Disconnect => {}
                sio::Kind::BinaryEvent if waits_elsewhere && packet.attachments > 0 => {
                    let left = packet.attachments;
                    session.awaiting = Some((packet, left));
                }
                _ if is_eio4 => return Err(Broken::Packet),
                _ => {}
            }
            return Ok(());
        }
        if packet.kind == sio::Kind::Connect {
            if !is_eio4 && eio3_connect_closes {
                return Err(Broken::Packet);
            }
            if session.connected && is_eio4 && second_connects {
                if self.has(Defect::SecondConnectLeaves) {
                    self.leave_all(sid);
                } else if let Some(session) = self.sessions.get_mut(sid) {
                    session.socket_id = random_id();
                }
                self.connect(sid, None);
                return Ok(());
            }
            if session.connected && is_eio4 {
                return Err(Broken::Packet);
            }
            if is_eio4 {
                self.connect(sid, packet.data.as_ref());
            }
            return Ok(());
        }
        let is_let = acts_after && session.was_connected || acts_early && !session.was_connected;
        if !(session.connected || is_let && packet.kind == sio::Kind::Event) {
            // After its DISCONNECT a client is ignored; before its CONNECT an event is an error.
            return if session.was_connected || ignores_early {
                Ok(())
            } else {
                Err(Broken::Packet)
            };
        }
        match packet.kind {
            sio::Kind::Disconnect => {
                self.leave_all(sid);
                if self.has(Defect::DisconnectClosesAtOnce) {
                    self.end_session(sid, 1000, "client_disconnect");
                    return Ok(());
                }
                if self.has(Defect::DisconnectAnswered) {
                    self.send(sid, &sio::Packet::new(sio::Kind::Disconnect, None));
                }
                let connect_timeout = self.options.connect_timeout;
                if let Some(session) = self.sessions.get_mut(sid) {
                    session.connected = false;
                    session.connect_due =
                        Some(Instant::now() + connect_timeout.max(Duration::from_secs(2)));
                }
            }
            sio::Kind::BinaryEvent | sio::Kind::BinaryAck => {
                let fits = takes_any_placeholder || placeholders_fit(&packet);
                if packet.attachments > attachments_max || !fits {
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
            sio::Kind::Ack if ack_closes => return Err(Broken::Packet),
            sio::Kind::Ack | sio::Kind::ConnectError | sio::Kind::Connect => {}
        }
        Ok(())
    }

    fn handle_attachment(&mut self, sid: &str) -> Result<(), Broken> {
        let takes_binary =
            self.has(Defect::BinaryDelivered) || self.has(Defect::StrayBinaryIgnored);
        let loses_fourth = self.has(Defect::FourthAttachmentLost);
        let Some(session) = self.sessions.get_mut(sid) else {
            return Ok(());
        };
        match session.awaiting.take() {
            Some((packet, left)) if loses_fourth && packet.attachments > 3 => {
                session.awaiting = Some((packet, left));
            }
            Some((packet, left)) if left > 1 => session.awaiting = Some((packet, left - 1)),
            Some((packet, _)) => self.refuse_binary(sid, &packet),
            None if takes_binary => {}
            None => return Err(Broken::Binary),
        }
        Ok(())
    }

    fn connect(&mut self, sid: &str, payload: Option<&Value>) {
        let token = payload.and_then(|payload| payload["api_token"].as_str());
        let is_unknown = token.is_some_and(|token| !self.tokens.contains_key(token));
        if is_unknown && self.has(Defect::BadConnectTokenRefused) {
            let why = json!({ "message": "Who are you?" });
            let packet = sio::Packet::new(sio::Kind::ConnectError, Some(why));
            return self.push(sid, Packet::message(sio::encode(&packet)));
        }
        let payload = payload.filter(|_| !self.has(Defect::ConnectTokenIgnored));
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
        if self.has(Defect::OtherNamespaceEnds) {
            return self.end_session(sid, 1008, "parse_error");
        }
        let most = match self.has(Defect::LongNamespaceEchoed) {
            true => usize::MAX,
            false => NAMESPACE_CHARS_MAX,
        };
        let name: String = namespace.chars().take(most).collect();
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
        if name == "disconnect" && self.has(Defect::ReservedActs) {
            self.leave_all(sid);
        }
        if args.len() > 1 && self.has(Defect::MoreArgumentsRefused) {
            return self.refuse(sid, name, packet.id, "invalid_argument", "One argument is enough");
        }
        if RESERVED.contains(&name) {
            return self.refuse(sid, name, packet.id, "unknown_event", "There is no such event");
        }
        let has_image =
            args.first().is_some_and(|data| data["img"].as_str().is_some_and(|i| !i.is_empty()));
        let is_lifted = self.has(Defect::EventBytesLifted);
        if !has_image && bytes > EVENT_BYTES_MAX && !is_lifted {
            return self.refuse(sid, name, packet.id, "too_large", "The event is too large");
        }
        self.event(sid, name, args.first(), packet.id);
    }

    /// Answers a refused event (ERR-1, ERR-2).
    pub fn refuse(&mut self, sid: &str, event: &str, id: Option<u64>, code: &str, message: &str) {
        let quoting = format!("{message}: {event}");
        let message = if self.has(Defect::MessageQuotes) { &quoting } else { message };
        if self.has(Defect::RefusedEventActs) {
            self.leave_all(sid);
        }
        if self.has(Defect::RefusedEvent1008)
            || code == "rate_limited" && self.has(Defect::LimitCloses)
        {
            return self.end_session(sid, 1008, "parse_error");
        }
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
        let most = if self.has(Defect::LongNameEchoed) { usize::MAX } else { 64 };
        let event: String = event.chars().take(most).collect();
        self.emit(
            sid,
            "chat_error",
            &[json!({ "event": event, "code": code, "message": message })],
        );
    }

    pub fn ack(&mut self, sid: &str, id: u64, answer: Value) {
        let twice = self.has(Defect::AckTwice);
        let wrong = self.has(Defect::WrongAckId);
        let silent_again = self.has(Defect::UsedAckIdSilent);
        let is_signed = self.has(Defect::AckIdSigned);
        let is_rounded = self.has(Defect::AckIdRounded);
        if self.has(Defect::AckIdAboveSilent) && id > u64::from(u32::MAX) {
            return;
        }
        let Some(session) = self.sessions.get_mut(sid) else {
            return;
        };
        if !session.acked.insert(id) && silent_again {
            return;
        }
        session.acks += 1;
        let again = twice && session.acks.is_multiple_of(7);
        let id = if wrong { id & 0xffff_ffff } else { id };
        let id = if is_signed { id & 0x7fff_ffff } else { id };
        let id = if is_rounded { round_24(id) } else { id };
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

/// A number as 24 bits hold it.
pub fn round_24(number: u64) -> u64 {
    number as f32 as u64
}

/// How deep the brackets of a text are, those in strings too.
fn depth_of(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
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

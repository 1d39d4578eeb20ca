//! The automatic part of every client: transports, heartbeats, CONNECT, upgrades. What users do is in
//! `steps`.

use throng_codec::engine::{self, Frame as EngineFrame, Packet, Protocol};
use throng_codec::payload;
use throng_engine::{Answer, EngineRequest, Method, PipeEnd, PollId, Transport};
use throng_world::{Message, Reader, Received, text};

use crate::scenario::{Shows, TransportUse};
use crate::session::{Carrier, Phase, Polling, Session, Upgrade};
use crate::world::{HttpInput, PollKind, World};

impl World {
    /// A new session of the tab; what it had before is forgotten.
    pub fn connect(&mut self, tab: usize) {
        let profile = self.tabs[tab].profile;
        let number = self.sessions.len();
        let shard = self.reachable(profile.shard);
        let mut session = Session::new(number, tab, shard, profile.protocol);
        session.place = self.place_of(shard);
        session.is_exclusive = match self.scenario.settings.exclusive {
            throng_chat::settings::Exclusive::Always => true,
            throng_chat::settings::Exclusive::Never => false,
            throng_chat::settings::Exclusive::Legacy => profile.protocol == Protocol::Eio3,
        };
        let token = self.tabs[tab].token.clone();
        if profile.shows != Shows::FirstEvent {
            session.user = None;
            session.shown.insert(profile.user);
            if profile.shows == Shows::Handshake {
                session.tokens.insert(token.clone());
            }
        }
        self.sessions.push(session);
        self.tabs[tab].session = Some(number);
        let is_pipe = profile.way == TransportUse::WebSocket;
        let transport = if is_pipe { Transport::Websocket } else { Transport::Polling };
        let mut request = self.request(number, transport);
        if profile.shows == Shows::Handshake {
            request.token = Some(token.into());
        }
        self.facts.trace.line(|| format!("  tab {tab} opens s{number}: {profile:?}"));
        if is_pipe {
            let slot = self.open_pipe(shard, number, request);
            self.sessions[number].carrier = Carrier::Pipe(slot);
        } else {
            let poll = self.http(number, PollKind::Handshake, request, Vec::new());
            self.sessions[number].carrier =
                Carrier::Polling(Polling { get: Some(poll), post: None, outgoing: Vec::new() });
        }
    }

    /// Everything that a client program does by itself.
    pub fn autopilot(&mut self) {
        for tab in 0..self.tabs.len() {
            let Some(index) = self.tabs[tab].session else { continue };
            self.drive(index, tab);
        }
    }

    fn drive(&mut self, index: usize, tab: usize) {
        let now = self.now.0;
        let profile = self.tabs[tab].profile;
        let session = &mut self.sessions[index];
        if !session.is_live() {
            return;
        }
        if session.protocol == Protocol::Eio4 && !session.has_asked_connect {
            session.has_asked_connect = true;
            let auth = match profile.shows {
                Shows::Connect => {
                    session.tokens.insert(self.tabs[tab].token.clone());
                    format!(r#"0{{"token":"{}"}}"#, self.tabs[tab].token)
                }
                Shows::Handshake | Shows::FirstEvent => "0".to_owned(),
            };
            session.send(Packet::message(auth));
        }
        if session.protocol == Protocol::Eio3 && session.ping_at <= now && !session.holds_pongs {
            let interval = u64::from(self.scenario.settings.engine.ping_interval_ms) * 1_000_000;
            session.ping_at = now + interval;
            session.send(Packet::text(engine::Kind::Ping, ""));
        }
        match &session.carrier {
            Carrier::Pipe(slot) => {
                let slot = *slot;
                let pipe = &mut self.nodes[session.shard].pipes[slot];
                pipe.up.append(&mut session.wire);
            }
            Carrier::Polling(_) => self.drive_polling(index, profile.way),
        }
    }

    fn drive_polling(&mut self, index: usize, way: TransportUse) {
        let session = &mut self.sessions[index];
        let Carrier::Polling(polling) = &session.carrier else { return };
        let is_idle = polling.get.is_none() && polling.post.is_none();
        match session.upgrade {
            Upgrade::Draining(slot) if is_idle => return self.finish_upgrade(index, slot),
            Upgrade::Draining(_) => return,
            Upgrade::No | Upgrade::Probing(_) => {}
        }
        if way == TransportUse::Upgrading && session.upgrade == Upgrade::No && session.is_connected
        {
            let shard = session.shard;
            let request = self.request(index, Transport::Websocket);
            let slot = self.open_pipe(shard, index, request);
            let session = &mut self.sessions[index];
            session.upgrade = Upgrade::Probing(slot);
            session.probe = Reader::default();
            self.nodes[shard].pipes[slot].up.extend(text("2probe"));
        }
        let session = &mut self.sessions[index];
        let protocol = session.protocol;
        let Carrier::Polling(polling) = &mut session.carrier else { return };
        let wants_get = polling.get.is_none() && !session.is_not_receiving;
        let outgoing =
            if polling.post.is_none() { std::mem::take(&mut polling.outgoing) } else { Vec::new() };
        if wants_get {
            let request = self.request(index, Transport::Polling);
            let poll = self.http(index, PollKind::Get, request, Vec::new());
            self.polling(index, |polling| polling.get = Some(poll));
        }
        if !outgoing.is_empty() {
            let body = payload::encode_text(protocol, &outgoing).into_bytes();
            let request =
                EngineRequest { method: Method::Post, ..self.request(index, Transport::Polling) };
            let poll = self.http(index, PollKind::Post, request, body);
            self.polling(index, |polling| polling.post = Some(poll));
        }
    }

    fn polling(&mut self, index: usize, change: impl FnOnce(&mut Polling)) {
        if let Carrier::Polling(polling) = &mut self.sessions[index].carrier {
            change(polling);
        }
    }

    fn finish_upgrade(&mut self, index: usize, slot: usize) {
        let session = &mut self.sessions[index];
        let shard = session.shard;
        let pipe = &mut self.nodes[shard].pipes[slot];
        if pipe.is_shut || pipe.end.is_some() || pipe.session != Some(index) {
            // The server closed the new transport; the old one goes on.
            session.upgrade = Upgrade::No;
            self.tabs[self.sessions[index].tab].profile.way = TransportUse::Polling;
            return;
        }
        pipe.up.extend(text("5"));
        pipe.is_probe = false;
        let old = std::mem::replace(&mut session.carrier, Carrier::Pipe(slot));
        session.upgrade = Upgrade::No;
        session.reader = std::mem::take(&mut session.probe);
        if let Carrier::Polling(polling) = old {
            for packet in polling.outgoing {
                session.send(packet);
            }
        }
        self.facts.mark("upgrade_finished");
        self.facts.trace.line(|| format!("  s{index} moved to its WebSocket"));
    }

    // ---- what comes back ----------------------------------------------------------------------

    pub fn answered(&mut self, poll: PollId, answer: &Answer) {
        let Some((index, kind)) = self.polls.remove(&poll) else {
            if !self.gone.contains(&poll) {
                self.facts
                    .fail("answer-once", format!("no request waits for {poll:?}: {answer:?}"));
            }
            return;
        };
        self.facts.trace.number(u64::from(answer.status));
        let session = &mut self.sessions[index];
        match (&mut session.carrier, kind) {
            (Carrier::Polling(polling), PollKind::Get | PollKind::Handshake) => polling.get = None,
            (Carrier::Polling(polling), PollKind::Post) => polling.post = None,
            _ => {}
        }
        if session.is_half_open || session.phase == Phase::Closed || kind == PollKind::Invalid {
            return;
        }
        if answer.status != 200 {
            let body = String::from_utf8_lossy(&answer.whole()).into_owned();
            self.facts.trace.line(|| format!("  s{index} <- HTTP {}: {body}", answer.status));
            session.close();
            return self.drop_probe(index);
        }
        if kind == PollKind::Post {
            if &answer.whole()[..] != b"ok" {
                self.facts.fail("well-formed", format!("a POST is answered {answer:?}"));
            }
            return;
        }
        let text = String::from_utf8_lossy(&answer.whole()).into_owned();
        let protocol = session.protocol;
        match payload::decode_body_text(protocol, &text) {
            Ok(packets) => {
                for packet in packets {
                    if let EngineFrame::Text(text) = engine::encode(protocol, &packet) {
                        self.sessions[index].receive(&text, self.now.0, &mut self.facts);
                    }
                }
                if self.sessions[index].phase == Phase::Closed {
                    self.drop_probe(index);
                }
            }
            Err(why) => self.facts.fail("well-formed", format!("poll {text:?}: {why}")),
        }
    }

    /// The client takes what is in its socket.
    pub fn read_pipe(&mut self, shard: usize, slot: usize) {
        let pipe = &mut self.nodes[shard].pipes[slot];
        let Some(index) = pipe.session.filter(|_| pipe.end.is_none()) else {
            // The client has closed its side.
            pipe.down.clear();
            if pipe.is_shut {
                pipe.end.get_or_insert(PipeEnd::Eof);
                pipe.up.clear();
            }
            return;
        };
        let bytes = std::mem::take(&mut pipe.down);
        let (is_probe, is_shut) = (pipe.is_probe, pipe.is_shut);
        let session = &mut self.sessions[index];
        if session.is_half_open {
            return;
        }
        if is_probe {
            session.probe.push(&bytes);
            self.read_probe(index, shard, slot);
        } else {
            session.reader.push(&bytes);
            self.read_session(index);
        }
        if is_shut {
            self.server_closed(Some(index), is_probe, shard, slot);
        }
    }

    fn read_session(&mut self, index: usize) {
        let now = self.now.0;
        while !self.has_failed() {
            let session = &mut self.sessions[index];
            match session.reader.receive() {
                Ok(None) => return,
                Ok(Some(Received::Refused(answer))) => {
                    self.facts.trace.line(|| format!("  s{index} <- {answer}"));
                    return session.close();
                }
                Ok(Some(Received::Message(Message::Text(text)))) => {
                    session.receive(&text, now, &mut self.facts);
                }
                Ok(Some(Received::Message(Message::Close(close)))) => {
                    self.facts.trace.line(|| format!("  s{index} <- {close:?}"));
                    session.close();
                    if !session.reader.is_empty() {
                        let text = format!("s{index}: bytes behind the close frame");
                        self.facts.fail("closed-session", text);
                    }
                    return;
                }
                Ok(Some(Received::Message(Message::Pong(_)))) => {}
                other => return self.facts.fail("well-formed", format!("s{index}: {other:?}")),
            }
        }
    }

    fn read_probe(&mut self, index: usize, shard: usize, slot: usize) {
        loop {
            let session = &mut self.sessions[index];
            match session.probe.receive() {
                Ok(None) => return,
                Ok(Some(Received::Refused(_))) => return self.drop_probe(index),
                Ok(Some(Received::Message(Message::Text(text)))) if text == "3probe" => {
                    if session.upgrade == Upgrade::Probing(slot) {
                        session.upgrade = Upgrade::Draining(slot);
                    }
                }
                Ok(Some(Received::Message(Message::Close(_)))) => {
                    self.nodes[shard].pipes[slot].end = Some(PipeEnd::Eof);
                    return self.drop_probe(index);
                }
                other => {
                    let text = format!("s{index}: {other:?} on a transport under probe");
                    return self.facts.fail("upgrade", text);
                }
            }
        }
    }

    /// The WebSocket that was to take over is no more.
    pub fn drop_probe(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if let Upgrade::Probing(slot) | Upgrade::Draining(slot) = session.upgrade {
            session.upgrade = Upgrade::No;
            let pipe = &mut self.nodes[session.shard].pipes[slot];
            if pipe.session == Some(index) && pipe.end.is_none() {
                pipe.end = Some(PipeEnd::Eof);
                pipe.up.clear();
            }
            self.tabs[session.tab].profile.way = TransportUse::Polling;
        }
    }

    /// The server ended a pipe; the client hangs up.
    pub fn server_closed(
        &mut self,
        session: Option<usize>,
        is_probe: bool,
        shard: usize,
        slot: usize,
    ) {
        let pipe = &mut self.nodes[shard].pipes[slot];
        if pipe.end.is_none() {
            pipe.end = Some(PipeEnd::Eof);
            pipe.up.clear();
        }
        let Some(index) = session else { return };
        if is_probe {
            return self.drop_probe(index);
        }
        if self.sessions[index].phase != Phase::Closed {
            self.sessions[index].close();
        }
    }

    // ---- the client's own end -----------------------------------------------------------------

    /// The connection ends from the client's side, however it stands.
    pub fn hang_up(&mut self, index: usize, end: PipeEnd) {
        self.facts.trace.line(|| format!("  s{index} hangs up: {end:?}"));
        self.drop_probe(index);
        let session = &mut self.sessions[index];
        session.close();
        let shard = session.shard;
        match &mut session.carrier {
            Carrier::Pipe(slot) => {
                let pipe = &mut self.nodes[shard].pipes[*slot];
                if pipe.session == Some(index) {
                    pipe.end = Some(end);
                    pipe.down.clear();
                    if end == PipeEnd::Failed {
                        pipe.up.clear();
                    }
                }
            }
            Carrier::Polling(polling) => {
                for poll in [polling.get.take(), polling.post.take()].into_iter().flatten() {
                    self.polls.remove(&poll);
                    self.gone.insert(poll);
                    self.nodes[shard].http_inputs.push_back(HttpInput::HttpGone(poll));
                }
            }
        }
    }

    /// The peer vanishes: nothing arrives in either direction, and neither side is notified.
    pub fn vanish(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        session.is_half_open = true;
        session.wire.clear();
        if let Upgrade::Probing(slot) | Upgrade::Draining(slot) = session.upgrade {
            self.nodes[session.shard].pipes[slot].up.clear();
        }
        if let Carrier::Pipe(slot) = session.carrier {
            self.nodes[session.shard].pipes[slot].up.clear();
        }
    }
}

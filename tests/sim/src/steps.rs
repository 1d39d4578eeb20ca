//! One step of the safety phase: a turn, something a person does, a little time, or a fault.

use throng_cluster::Event;
use throng_codec::engine::Packet;
use throng_codec::socket;
use throng_engine::{EngineRequest, Method, PipeEnd, Transport};
use throng_world::{masked, text};

use crate::entropy::Draw;
use crate::scenario::{Fault, Mode};
use crate::session::{Carrier, Kind, Standing, Upgrade};
use crate::world::{HttpInput, PollKind, World};

impl World {
    pub fn step(&mut self, draw: &mut Draw<'_>) {
        self.now = self.now.plus_ns(20_000);
        for node in &mut self.nodes {
            node.stalled = node.stalled.saturating_sub(1);
        }
        self.run_backplane_fully();
        match draw.byte() {
            0..=104 => self.some_turn(draw),
            105..=204 => self.a_user_acts(draw),
            205..=222 => {
                let replies = self.store.serve(draw);
                self.reply(replies);
            }
            223..=232 => self.time_passes(draw),
            _ if self.backplane.is_some() && draw.chance(110) => self.cluster_fails(draw),
            _ => self.something_fails(draw),
        }
        self.autopilot();
    }

    fn some_turn(&mut self, draw: &mut Draw<'_>) {
        let index = draw.below(self.nodes.len());
        if self.nodes[index].stalled == 0 {
            self.facts.trace.line(|| format!("shard {index} takes a turn"));
            self.turn(index, Some(draw));
        }
    }

    fn time_passes(&mut self, draw: &mut Draw<'_>) {
        let by = u64::from(draw.byte());
        let next = self.next_due().unwrap_or(self.now);
        let soon = self.now.plus_ms(by);
        // Without jumps no deadline is missed.
        self.now = self.now.max(if by > 200 { next } else { soon.min(next.max(self.now)) });
        let now = self.now;
        self.facts.trace.line(|| format!("it is {} ms", now.0 / 1_000_000));
    }

    // ---- people -------------------------------------------------------------------------------

    fn a_user_acts(&mut self, draw: &mut Draw<'_>) {
        let tab = draw.below(self.tabs.len());
        let Some(index) = self.tabs[tab].session.filter(|s| self.sessions[*s].is_live()) else {
            let is_gone = self.tabs[tab].session.is_none_or(|index| {
                let session = &self.sessions[index];
                session.is_half_open || session.phase == crate::session::Phase::Closed
            });
            if is_gone {
                self.connect(tab);
            }
            return;
        };
        if !self.sessions[index].is_connected {
            return;
        }
        self.facts.trace.line(|| format!("tab {tab} (s{index}) acts"));
        let count = if self.scenario.has(Fault::Pipelining) && draw.chance(64) {
            2 + draw.below(if self.scenario.has(Fault::TightLanes) { 20 } else { 4 })
        } else {
            1
        };
        for _ in 0..count {
            if self.sessions[index].can_speak() {
                self.act(index, tab, draw);
            }
        }
    }

    fn act(&mut self, index: usize, tab: usize, draw: &mut Draw<'_>) {
        let room = 1 + draw.below(self.scenario.rooms_named as usize) as u32;
        let is_member = {
            let session = &self.sessions[index];
            session.standing(room, session.ops.len()) != Standing::Out
        };
        let profile = self.tabs[tab].profile;
        let token = self.tabs[tab].token.clone();
        let pipelines = self.scenario.has(Fault::Pipelining);
        let session = &mut self.sessions[index];
        if session.pending() > 0 && !pipelines && draw.chance(200) {
            return;
        }
        if session.user == Some(None) {
            // Anonymous: the first event shows the token.
            let shown = Some((profile.user, &*token));
            return session.ask(Kind::Login, 0, shown, false, &mut self.facts);
        }
        let facts = &mut self.facts;
        match draw.byte() {
            choice @ 0..=119
                if is_member
                    && choice % 8 == 5
                    && let Some(Some(user)) = session.user
                    && let Some(tag) = facts.repeatable(room, user) =>
            {
                session.repeat(tag, choice == 5, facts);
            }
            choice @ 0..=119 if is_member => {
                let padding = if choice % 4 == 3 { 150 } else { 0 };
                session.publish(room, choice % 16 == 1, choice % 16 == 2, padding, facts);
            }
            0..=169 => {
                let mode = match draw.byte() {
                    0..=199 => profile.mode,
                    200..=255 => draw.pick(&Mode::ALL),
                };
                session.ask(Kind::Join(mode), room, None, draw.chance(16), facts);
            }
            170..=199 => session.ask(Kind::Leave, room, None, draw.chance(16), facts),
            200..=219 => session.ask(Kind::Login, 0, None, false, facts),
            220..=223 => {
                let kind = Kind::Invalid(draw.byte());
                session.ask(kind, room, None, draw.chance(64), facts);
            }
            // From outside of the room, or inside: it does not know.
            224..=231 => session.publish(room, false, false, 0, facts),
            232..=236 => {
                session.send(Packet::message(socket::encode(&socket::Packet::new(
                    socket::Kind::Disconnect,
                    None,
                ))));
                session.note(Kind::Disconnect);
                session.connect_again();
                facts.trace.line(|| "  and says 41, 40".to_owned());
            }
            237..=241 => {
                // Some close the session first, as Socket.IO clients do.
                if draw.chance(100) {
                    session.send(Packet::message("1"));
                    session.note(Kind::Disconnect);
                    self.autopilot();
                    return self.hang_up(index, PipeEnd::Eof);
                }
                let end = if draw.chance(128) { PipeEnd::Failed } else { PipeEnd::Eof };
                self.hang_up(index, end);
            }
            242..=245 => {
                // The page reloads.
                self.hang_up(index, PipeEnd::Eof);
                self.connect(tab);
            }
            246..=249 => {
                let card = self.store.rename(profile.user);
                let node = self.node_of(self.sessions[index].shard);
                for shard in self.shards_of(node) {
                    self.nodes[shard].http_inputs.push_back(HttpInput::UserChanged(card.clone()));
                }
                self.step_process(node, Event::UserChanged(card));
            }
            _ if self.scenario.has(Fault::Rebind) => {
                let other = draw.below(self.tabs.len());
                let (user, token) = (self.tabs[other].profile.user, self.tabs[other].token.clone());
                let kind = if draw.chance(100) { Kind::Join(profile.mode) } else { Kind::Login };
                let room = if kind == Kind::Login { 0 } else { room };
                let session = &mut self.sessions[index];
                session.ask(kind, room, Some((user, &token)), false, &mut self.facts);
            }
            _ => {}
        }
    }

    // ---- faults -------------------------------------------------------------------------------

    fn something_fails(&mut self, draw: &mut Draw<'_>) {
        let fault = draw.pick(&Fault::ALL);
        if !self.scenario.has(fault) {
            return;
        }
        self.facts.trace.line(|| format!("fault {fault:?}"));
        let tab = draw.below(self.tabs.len());
        let live = self.tabs[tab].session.filter(|s| self.sessions[*s].is_live());
        match fault {
            Fault::ShardStall => {
                let index = draw.below(self.nodes.len());
                self.nodes[index].stalled = 5 + draw.below(120) as u32;
            }
            Fault::ClockJump => {
                let by = [100, 1_000, 3_000, 9_000][draw.below(4)];
                self.now = self.now.plus_ms(by);
            }
            Fault::StoreSlow => self.store.is_slow = !draw.chance(64),
            Fault::StoreDown => self.store.data.is_down = !draw.chance(128),
            Fault::ReconnectStorm => self.storm(draw),
            Fault::Revoked => self.revoke(tab),
            _ => {
                let Some(index) = live else { return };
                self.session_fails(fault, index, tab, draw);
            }
        }
        self.facts.mark("faults");
    }

    fn session_fails(&mut self, fault: Fault, index: usize, tab: usize, draw: &mut Draw<'_>) {
        match fault {
            Fault::HalfOpen => self.vanish(index),
            Fault::StoppedReader => self.set_not_receiving(index, draw.chance(176)),
            Fault::AbruptClose => {
                let end = if draw.chance(128) { PipeEnd::Eof } else { PipeEnd::Failed };
                self.hang_up(index, end);
            }
            Fault::Malformed => self.malformed(index, draw),
            Fault::LatePong => {
                let session = &mut self.sessions[index];
                session.holds_pongs = !session.holds_pongs;
                if !session.holds_pongs {
                    self.release_pongs(index);
                }
            }
            Fault::BrokenUpgrade => self.break_upgrade(index, tab, draw),
            _ => {}
        }
    }

    pub fn set_not_receiving(&mut self, index: usize, is_not_receiving: bool) {
        let session = &mut self.sessions[index];
        session.is_not_receiving = is_not_receiving;
        let shard = session.shard;
        if is_not_receiving {
            return;
        }
        let mut slots = Vec::new();
        if let Carrier::Pipe(slot) = session.carrier {
            slots.push(slot);
        }
        if let Upgrade::Probing(slot) | Upgrade::Draining(slot) = session.upgrade {
            slots.push(slot);
        }
        for slot in slots {
            let pipe = &mut self.nodes[shard].pipes[slot];
            if pipe.session == Some(index) {
                pipe.is_writable = true;
                self.read_pipe(shard, slot);
            }
        }
    }

    pub fn release_pongs(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        session.holds_pongs = false;
        for _ in 0..std::mem::take(&mut session.pings_held) {
            session.send(Packet::text(throng_codec::engine::Kind::Pong, ""));
        }
    }

    fn storm(&mut self, draw: &mut Draw<'_>) {
        for tab in 0..self.tabs.len() {
            let live = self.tabs[tab].session.filter(|s| self.sessions[*s].is_live());
            if let Some(index) = live {
                let end = if draw.chance(128) { PipeEnd::Eof } else { PipeEnd::Failed };
                self.hang_up(index, end);
                self.connect(tab);
            }
        }
    }

    /// The user of the tab logs out: the token dies, and a new one is issued for later.
    fn revoke(&mut self, tab: usize) {
        let user = self.tabs[tab].profile.user;
        let token = std::mem::replace(&mut self.tabs[tab].token, self.store.issue(user));
        let hash = self.store.revoke(&token);
        for session in &mut self.sessions {
            if session.is_live() && session.shown.contains(&user) {
                session.note(Kind::Revoked);
            }
        }
        self.revoked.insert(token);
        let node = self.node_of(self.reachable(self.tabs[tab].profile.shard));
        for shard in self.shards_of(node) {
            self.nodes[shard].http_inputs.push_back(HttpInput::Revoked(hash));
        }
        self.step_process(node, Event::Revoked(hash));
    }

    fn malformed(&mut self, index: usize, draw: &mut Draw<'_>) {
        let rubbish: &[&[u8]] = &[
            b"\x81\x05hello",
            b"\xff\xff\xff\xff",
            &masked(0x81, b"4"),
            &masked(0x81, b"42[\"room\""),
            &masked(0x81, b"9"),
            &masked(0x81, b"\xff\xfe"),
            &masked(0x82, b"\x04\x00"),
            &masked(0x88, &[3, 232]),
            &masked(0x81, b"41"),
            &masked(0x81, b"1"),
            &masked(0x81, &[b'a'; 20_000]),
            &masked(0x89, b"are you there"),
        ];
        let bytes = rubbish[draw.below(rubbish.len())];
        match &self.sessions[index].carrier {
            Carrier::Pipe(_) => {
                let session = &mut self.sessions[index];
                if bytes.ends_with(&masked(0x81, b"41")[2..]) {
                    session.note(Kind::Disconnect);
                }
                session.wire.extend(bytes);
            }
            Carrier::Polling(_) => self.rubbish_post(index, bytes.to_vec()),
        }
    }

    fn rubbish_post(&mut self, index: usize, body: Vec<u8>) {
        let request =
            EngineRequest { method: Method::Post, ..self.request(index, Transport::Polling) };
        self.http(index, PollKind::Invalid, request, body);
    }

    /// Breaks off an upgrade, or breaks the rules of polling.
    fn break_upgrade(&mut self, index: usize, tab: usize, draw: &mut Draw<'_>) {
        let session = &self.sessions[index];
        match (&session.carrier, &session.upgrade) {
            (Carrier::Polling(_), Upgrade::Probing(_) | Upgrade::Draining(_)) => {
                self.drop_probe(index);
                self.tabs[tab].profile.way = crate::scenario::TransportUse::Upgrading;
            }
            // A second poll: the session is lost by it.
            (Carrier::Polling(polling), Upgrade::No)
                if polling.get.is_some() && draw.chance(64) =>
            {
                let request = self.request(index, Transport::Polling);
                self.http(index, PollKind::Invalid, request, Vec::new());
            }
            (Carrier::Polling(_), Upgrade::No) => {
                self.tabs[tab].profile.way = crate::scenario::TransportUse::Upgrading;
            }
            // A second WebSocket for a session that has one.
            (Carrier::Pipe(_), _) => {
                let shard = session.shard;
                let request = self.request(index, Transport::Websocket);
                let slot = self.open_pipe(shard, index, request);
                let pipe = &mut self.nodes[shard].pipes[slot];
                pipe.up.extend(text("2probe"));
                pipe.up.extend(text("5"));
                // What arrives there is not read.
                pipe.session = None;
            }
        }
    }
}

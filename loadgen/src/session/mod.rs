//! One client's conversation as a state machine: bytes in, bytes queued out, accounts kept. No I/O.

mod broker;
mod membership;
mod requests;
mod socketio;
mod text;
mod turn;
mod websocket;

use std::sync::atomic::Ordering;

use crate::body;
use crate::dialect::{Ask, Dialect, Form};
use crate::ended::Ended;
use crate::frame;
use crate::packets::{self, Opened};
use crate::plan::Seat;
use crate::publisher::Publisher;
use crate::samples::Metric;
use crate::scenario::{Completion, Mode, Protocol};
use crate::shared::Shared;
use crate::stats::Stats;

use membership::{Membership, Stage};
use requests::{Asked, Pending, Requests};
use text::{number_after, text_after};

pub use turn::{Local, Turn};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Without a connection, or on its way to one.
    Offline,
    ExpectUpgrade,
    /// Upgrading from polling: the probe is out.
    ExpectProbe,
    ExpectOpen,
    ExpectConnect,
    ExpectJoin,
    Joined,
}

impl State {
    /// What the server has to answer for the client to go on.
    #[must_use]
    pub fn awaited(self) -> &'static str {
        match self {
            Self::Offline => "the TCP connection",
            Self::ExpectUpgrade => "the WebSocket upgrade",
            Self::ExpectProbe => "the probe of the upgrade",
            Self::ExpectOpen => "the Engine.IO handshake",
            Self::ExpectConnect => "the greeting",
            Self::ExpectJoin => "the join of a room",
            Self::Joined => "the leave of a room",
        }
    }
}

pub struct Session {
    pub seat: Seat,
    pub state: State,
    pub started_ns: u64,
    /// Since when the client is on its way into its rooms; none once it is there.
    pub on_the_way_ns: Option<u64>,
    /// When the client was due to come, until it has arrived.
    pub due_ns: Option<u64>,
    /// It was here before.
    pub is_back: bool,
    pub asked_ns: u64,
    /// Expected `Sec-WebSocket-Accept`.
    pub accept: String,
    /// Client frames not yet handed to the socket.
    pub out: Vec<u8>,
    /// The rest of a read that ended within a frame.
    pub carry: Vec<u8>,
    pub publisher: Option<Box<Publisher>>,
    /// Engine.IO 3 and others: the client pings.
    pub ping_interval_ns: u64,
    ping: &'static str,
    pub ping_due_ns: u64,
    /// Join again as soon as a leave is answered.
    pub is_returning: bool,
    /// Leave or shutdown was ours.
    pub is_parting: bool,
    /// Packets are queued as a payload to POST, not as frames.
    pub is_polling: bool,
    is_eio3: bool,
    /// Upgrading: what the polling handshake brought, acted upon once the probe is answered.
    pub opened_by_polling: Option<Box<Opened>>,
    fragment: Vec<u8>,
    /// What the server calls this connection.
    member: String,
    /// The messages of a publisher.
    form: Form,
    /// Events file: the name of the event that was found to be a message.
    heard: Vec<u8>,
    heard_count: u32,
    memberships: Vec<Membership>,
    requests: Requests,
    mask: u32,
}

impl Session {
    #[must_use]
    pub fn new(shared: &Shared, seat: Seat) -> Self {
        // It publishes into its first room.
        let mute = seat.publisher.filter(|_| !shared.scenario.has_echo());
        let rooms = seat.rooms.iter().enumerate();
        let memberships = rooms
            .map(|(index, room)| Membership::new(*room, mute.filter(|_| index == 0)))
            .collect();
        let publisher =
            seat.publisher.map(|index| Box::new(Publisher::new(shared, seat.rooms[0], index)));
        Self {
            mask: seat.client.wrapping_mul(0x9e37_79b9) | 1,
            seat,
            state: State::Offline,
            started_ns: 0,
            on_the_way_ns: None,
            due_ns: None,
            is_back: false,
            asked_ns: 0,
            accept: String::new(),
            out: Vec::new(),
            carry: Vec::new(),
            publisher,
            ping_interval_ns: 0,
            ping: "2",
            ping_due_ns: u64::MAX,
            is_returning: false,
            is_parting: false,
            is_polling: false,
            is_eio3: shared.scenario.protocol == Protocol::Eio3,
            opened_by_polling: None,
            fragment: Vec::new(),
            member: String::new(),
            form: Form::default(),
            heard: Vec::new(),
            heard_count: 0,
            memberships,
            requests: match shared.dialect {
                // 1 is the number of a greeting.
                Dialect::Broker(_) => Requests::from(2),
                Dialect::Chat | Dialect::Rooms(_) | Dialect::Raw => Requests::default(),
            },
        }
    }

    /// One whole message: an Engine.IO packet, or a raw text.
    #[inline]
    pub fn text(&mut self, turn: &mut Turn<'_>, payload: &[u8]) -> Result<(), Ended> {
        const MESSAGE: &[u8] = b"42[\"message\",";
        match &turn.shared.dialect {
            Dialect::Chat if payload.starts_with(MESSAGE) => self.delivery(turn, payload),
            Dialect::Raw => self.delivery(turn, payload),
            Dialect::Chat | Dialect::Rooms(_) => return self.packet(turn, payload),
            Dialect::Broker(broker) => return self.parts(turn, &**broker, payload),
        }
        Ok(())
    }

    #[inline]
    fn delivery(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        let local = &mut *turn.local;
        let Some((at, stamp)) = local.locator.find(payload) else {
            local.count_illegible(payload);
            return;
        };
        let counters = &mut local.stats.counters;
        if stamp.run != turn.shared.run {
            counters.foreign += 1;
            return;
        }
        if !body::is_intact(payload, at, &stamp, turn.shared.dialect.has_text_alone()) {
            counters.corrupted += 1;
            return;
        }
        let Some(membership) = self.memberships.iter_mut().find(|m| m.room == stamp.room) else {
            counters.outside_membership += 1;
            return;
        };
        if !membership.deliver(turn.shared, counters, &stamp) {
            return;
        }
        if turn.measured.contains(turn.now_ns) {
            counters.measured_delivered += 1;
        }
        let latency_ns = match turn.now_ns.checked_sub(stamp.intended_ns) {
            Some(latency_ns) => latency_ns,
            None => {
                counters.clock_backwards += 1;
                0
            }
        };
        if latency_ns > turn.shared.scenario.late_after_ms * 1_000_000 {
            counters.late += 1;
        }
        if turn.measured.contains(stamp.intended_ns) {
            local.stats.samples.record_delivery_ns(latency_ns);
        }
        if let Some(publisher) = &mut self.publisher
            && publisher.index == stamp.publisher
            && publisher.room == stamp.room
            && turn.shared.scenario.load.completion == Completion::Own
        {
            publisher.complete(stamp.n);
        }
    }

    fn probed(&mut self, turn: &mut Turn<'_>) {
        self.send_text(b"5");
        if let Some(opened) = self.opened_by_polling.take() {
            self.opened_with(turn, &opened);
        }
    }

    /// The polling handshake is done, and the session goes on over polling or the upgraded socket.
    pub fn opened_with(&mut self, turn: &mut Turn<'_>, opened: &Opened) {
        self.opened(turn, &opened.json);
        if opened.is_connected {
            self.connected(turn);
        }
    }

    /// The Engine.IO open packet.
    fn opened(&mut self, turn: &mut Turn<'_>, json: &[u8]) {
        let interval_ms = number_after(json, b"\"pingInterval\":").unwrap_or(25_000);
        self.ping_interval_ns = u64::from(interval_ms) * 1_000_000;
        self.state = State::ExpectConnect;
        self.member = text_after(json, b"\"sid\":\"");
        if turn.shared.scenario.protocol == Protocol::Eio4 {
            let mut packet = String::from("40");
            packet.push_str(&turn.shared.credentials.connect_payload(&self.seat));
            self.send_text(packet.as_bytes());
        } else {
            self.ping_due_ns = turn.now_ns + self.ping_interval_ns;
        }
    }

    fn connected(&mut self, turn: &mut Turn<'_>) {
        turn.local.stats.samples.record_ns(Metric::Handshake, turn.now_ns - self.asked_ns);
        self.state = State::ExpectJoin;
        self.prepare(turn);
        if self.memberships.is_empty() {
            self.arrived(turn);
        }
        for index in 0..self.memberships.len() {
            self.join(turn, index);
        }
    }

    /// Makes the form of this publisher's messages: what the server calls the client is known now.
    fn prepare(&mut self, turn: &Turn<'_>) {
        if self.publisher.is_some() {
            let has_ack = self.has_acks(turn.shared);
            self.form =
                self.ask(turn.shared, 0, (0, ""), |ask| turn.shared.dialect.message(ask, has_ack));
        }
    }

    fn has_acks(&self, shared: &Shared) -> bool {
        shared.scenario.load.acks && !matches!(shared.dialect, Dialect::Raw)
    }

    fn arrived(&mut self, turn: &mut Turn<'_>) {
        self.state = State::Joined;
        self.on_the_way_ns = None;
        let stats = &mut turn.local.stats;
        stats.arrived += 1;
        stats.last_join_ns = turn.now_ns;
        if let Some(due_ns) = self.due_ns.take() {
            let metric = if self.is_back { Metric::Return } else { Metric::Entry };
            stats.samples.record_ns(metric, turn.now_ns.saturating_sub(due_ns));
        }
        self.is_back = true;
    }

    fn join(&mut self, turn: &Turn<'_>, index: usize) {
        let shared = turn.shared;
        self.memberships[index].stage = Stage::Joining;
        let id = self.requests.ask(turn.now_ns, Asked::Join(index));
        // Engine.IO 3 has no CONNECT payload to carry the token.
        let token = shared.credentials.token(&self.seat).filter(|_| self.is_eio3);
        let payload = shared.credentials.connect_payload(&self.seat);
        let packet = self.ask(shared, index, (id, &payload), |ask| {
            shared.dialect.join(ask, shared.scenario.presence, token)
        });
        self.send_text(packet.as_bytes());
    }

    /// What a request about a room of this client is about.
    fn ask<T>(
        &self,
        shared: &Shared,
        index: usize,
        (id, payload): (u32, &str),
        make: impl FnOnce(&Ask<'_>) -> T,
    ) -> T {
        let membership = &self.memberships[index];
        let room = &shared.room_name(membership.room);
        let room_number = membership.room_number(shared);
        make(&Ask { id, room, room_number, member: &self.member, payload })
    }

    /// Leaves every room joined, to join again once the server answered.
    pub fn leave_and_return(&mut self, turn: &Turn<'_>) {
        for index in 0..self.memberships.len() {
            if self.memberships[index].stage != Stage::In {
                continue;
            }
            let id = self.requests.next_id();
            let packet =
                self.ask(turn.shared, index, (id, ""), |ask| turn.shared.dialect.leave(ask));
            let Some(packet) = packet else { continue };
            self.requests.ask(turn.now_ns, Asked::Leave(index));
            self.is_returning = true;
            self.on_the_way_ns = Some(turn.now_ns);
            self.memberships[index].start_leaving(turn.shared);
            self.send_text(packet.as_bytes());
        }
    }

    /// Who the client is among those in a room: of Throng users are present, elsewhere connections.
    fn present(&self, shared: &Shared) -> u32 {
        match shared.dialect {
            Dialect::Chat => self.seat.user,
            Dialect::Rooms(_) | Dialect::Raw | Dialect::Broker(_) => self.seat.client,
        }
    }

    /// The join of a room is answered.
    fn entered(&mut self, turn: &mut Turn<'_>, index: usize) {
        let present = self.present(turn.shared);
        self.memberships[index].enter(turn, present, self.seat.client);
        if self.memberships.iter().all(|m| m.stage == Stage::In) {
            self.arrived(turn);
        }
    }

    /// It is due and not yet in all its rooms.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        self.due_ns.is_some() || self.is_returning || self.state == State::ExpectJoin
    }

    /// Deliveries still owed to this client.
    #[must_use]
    pub fn owed(&self, shared: &Shared) -> u64 {
        self.memberships.iter().map(|membership| membership.owed(shared)).sum()
    }

    /// In how many of its rooms it has a wrong view of who is there; 0 where the server sends no rosters.
    /// At rest `stats` has them counted.
    pub fn wrong_views(&mut self, shared: &Shared, mut stats: Option<&mut Stats>) -> u64 {
        self.read_rosters(shared);
        let mut wrong = 0;
        for membership in &mut self.memberships {
            let Some(view) = membership.view(shared) else { continue };
            wrong += u64::from(!view.is_right);
            if let Some(stats) = &mut stats {
                membership.count(&view, stats);
            }
        }
        wrong
    }

    /// The run is over.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        let is_lost = self.memberships.iter().any(|membership| membership.is_lost());
        turn.local.stats.counters.publishers_lost += u64::from(is_lost && self.publisher.is_some());
        self.memberships.iter_mut().for_each(|membership| membership.settle(turn));
        self.state = State::Offline;
    }

    /// The connection is lost.
    pub fn cut_off(&mut self, turn: &mut Turn<'_>) {
        let was_asked = std::mem::take(&mut self.is_parting);
        let present = self.present(turn.shared);
        for membership in &mut self.memberships {
            membership.cut_off(turn, present, was_asked);
        }
        turn.local.stats.arrived -= u64::from(self.state == State::Joined);
        self.state = State::Offline;
        self.on_the_way_ns = None;
        self.is_returning = false;
        self.requests.clear();
        self.carry = Vec::new();
        self.fragment = Vec::new();
        self.out.clear();
        self.ping_due_ns = u64::MAX;
        if let Some(publisher) = &mut self.publisher {
            publisher.forget();
        }
    }

    /// A request is answered; `refused`: why it was not granted.
    fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        pending: &Pending,
        refused: Option<String>,
    ) -> Result<(), Ended> {
        match pending.asked {
            Asked::Join(index) => {
                if let Some(why) = refused {
                    return Err(Ended::Refused(format!("join {why}")));
                }
                let waited_ns = turn.now_ns - pending.since_ns;
                turn.local.stats.samples.record_ns(Metric::Join, waited_ns);
                self.entered(turn, index);
            }
            Asked::Leave(index) => {
                turn.local.stats.counters.leaves += 1;
                let present = self.present(turn.shared);
                self.memberships[index].leave(turn, present);
                if self.is_returning && self.memberships.iter().all(|m| m.stage == Stage::Out) {
                    self.is_returning = false;
                    self.state = State::ExpectJoin;
                    self.on_the_way_ns = Some(turn.now_ns);
                    turn.local.stats.arrived -= 1;
                    for index in 0..self.memberships.len() {
                        self.join(turn, index);
                    }
                }
            }
            Asked::Publish(n) => self.publish_answered(turn, pending, n, refused),
        }
        Ok(())
    }

    fn publish_answered(
        &mut self,
        turn: &mut Turn<'_>,
        pending: &Pending,
        n: u32,
        refused: Option<String>,
    ) {
        let Some(publisher) = &mut self.publisher else { return };
        let room = &turn.shared.rooms[usize::from(publisher.room)];
        let stats = &mut turn.local.stats;
        let is_ok = refused.is_none();
        if let Some(why) = refused {
            stats.counters.refused += 1;
            stats.error(&format!("refused: message {why}"));
            room.refuse(publisher.index, n);
        } else {
            stats.counters.acked += 1;
            let acked = &room.acked[usize::from(publisher.index)];
            if acked.load(Ordering::Relaxed) == n {
                acked.store(n + 1, Ordering::Release);
            }
            if turn.measured.contains(pending.since_ns) {
                let waited_ns = turn.now_ns.saturating_sub(pending.since_ns);
                stats.samples.record_ns(Metric::Ack, waited_ns);
            }
        }
        if !is_ok || turn.shared.scenario.load.completion == Completion::Ack {
            publisher.complete(n);
        }
    }

    /// Sends one message due at `intended_ns`. The caller flushes.
    pub fn publish(&mut self, turn: &mut Turn<'_>, intended_ns: u64) {
        let is_measured = turn.measured.contains(intended_ns);
        let stats = &mut turn.local.stats;
        let Some(publisher) = &mut self.publisher else { return };
        if self.state != State::Joined {
            stats.counters.skipped += 1;
            return;
        }
        if is_measured {
            stats.counters.measured_published += 1;
            let late_ns = turn.now_ns.saturating_sub(intended_ns);
            stats.samples.record_ns(Metric::Lag, late_ns);
        }
        stats.counters.published += 1;
        let load = &turn.shared.scenario.load;
        let ack = load.acks && !matches!(turn.shared.dialect, Dialect::Raw);
        let id = ack.then_some(self.requests.next_id());
        let n =
            publisher.write(turn.shared, intended_ns, (&self.form, id), &mut turn.local.scratch);
        if load.mode == Mode::Closed {
            publisher.begin(n, turn.now_ns);
        }
        if ack {
            self.requests.ask(intended_ns, Asked::Publish(n));
        }
        let text = std::mem::take(&mut turn.local.scratch);
        self.send_text(&text);
        turn.local.scratch = text;
    }

    /// Queues one Engine.IO packet or raw text.
    pub fn send_text(&mut self, text: &[u8]) {
        if self.is_polling {
            let protocol = if self.is_eio3 { Protocol::Eio3 } else { Protocol::Eio4 };
            packets::put(protocol, &mut self.out, text);
            return;
        }
        let mask = self.next_mask();
        frame::put(&mut self.out, frame::TEXT, mask, text);
    }

    /// Where the client keeps the connection alive.
    pub fn ping_if_due(&mut self, now_ns: u64) {
        if self.ping_due_ns <= now_ns {
            self.ping_due_ns = now_ns + self.ping_interval_ns;
            self.send_text(self.ping.as_bytes());
        }
    }

    fn next_mask(&mut self) -> u32 {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.mask
    }
}

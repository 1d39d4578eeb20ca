//! One client's conversation as a state machine: bytes in, bytes queued out, accounts kept. No I/O.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use memchr::memmem;

use crate::frame::{self, Head};
use crate::ledger::{Ledger, Seen};
use crate::plan::Seat;
use crate::polling::{self, Opened};
use crate::publisher::Publisher;
use crate::samples::Metric;
use crate::scenario::{Completion, Mode, Presence, Protocol};
use crate::shared::Shared;
use crate::stamp::Locator;
use crate::stats::Stats;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Offline,
    ExpectUpgrade,
    /// Upgrading from polling: the probe is out.
    ExpectProbe,
    ExpectOpen,
    ExpectConnect,
    ExpectJoin,
    Joined,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Eof,
    Reset,
    Close(u16),
    EngineClose,
    Malformed(&'static str),
    /// The server said no: HTTP status, CONNECT error, refused join.
    Refused(String),
}

impl Ended {
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Eof => "closed: end of stream".into(),
            Self::Reset => "closed: reset".into(),
            Self::Close(code) => format!("closed: {code}"),
            Self::EngineClose => "closed: engine".into(),
            Self::Malformed(what) => format!("malformed: {what}"),
            Self::Refused(what) => format!("refused: {what}"),
        }
    }
}

/// What a thread's clients share while bytes are handled.
#[derive(Default)]
pub struct Local {
    pub stats: Stats,
    pub locator: Locator,
    pub scratch: Vec<u8>,
}

/// One batch of work: the clock is read once per batch.
pub struct Turn<'t> {
    pub shared: &'t Shared,
    pub local: &'t mut Local,
    pub now_ns: u64,
    pub measure_ns: u64,
    pub end_ns: u64,
}

impl<'t> Turn<'t> {
    pub fn new(shared: &'t Shared, local: &'t mut Local, now_ns: u64) -> Self {
        let known = |at: u64| if at == 0 { u64::MAX } else { at };
        let measure_ns = known(shared.times.measure_ns.load(Ordering::Relaxed));
        let end_ns = known(shared.times.end_ns.load(Ordering::Relaxed));
        Self { shared, local, now_ns, measure_ns, end_ns }
    }

    #[inline]
    fn is_measured(&self, at_ns: u64) -> bool {
        at_ns >= self.measure_ns && at_ns <= self.end_ns
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Out,
    Joining,
    In,
    Leaving,
}

struct Membership {
    room: u16,
    member: Member,
    ledger: Ledger,
    /// When the join was answered.
    entered_ns: u64,
    /// Leaving: messages acknowledged before the leave was sent must still have come.
    owed_until: Vec<u32>,
    /// Users online by the last roster, and when that number last changed.
    online: Option<(u32, u64)>,
}

enum Asked {
    Join(usize),
    Leave(usize),
    Publish(u32),
}

struct Pending {
    id: u32,
    asked: Asked,
    since_ns: u64,
}

pub struct Session {
    pub seat: Seat,
    pub state: State,
    pub started_ns: u64,
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
    /// Engine.IO 3: the client pings.
    pub ping_interval_ns: u64,
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
    memberships: Vec<Membership>,
    pending: VecDeque<Pending>,
    next_ack: u32,
    mask: u32,
}

impl Session {
    #[must_use]
    pub fn new(shared: &Shared, seat: Seat) -> Self {
        let memberships = seat
            .rooms
            .iter()
            .map(|room| Membership {
                room: *room,
                member: Member::Out,
                ledger: Ledger::default(),
                entered_ns: 0,
                owed_until: Vec::new(),
                online: None,
            })
            .collect();
        let publisher =
            seat.publisher.map(|index| Box::new(Publisher::new(shared, seat.rooms[0], index)));
        Self {
            mask: seat.client.wrapping_mul(0x9e37_79b9) | 1,
            seat,
            state: State::Offline,
            started_ns: 0,
            due_ns: None,
            is_back: false,
            asked_ns: 0,
            accept: String::new(),
            out: Vec::new(),
            carry: Vec::new(),
            publisher,
            ping_interval_ns: 0,
            ping_due_ns: u64::MAX,
            is_returning: false,
            is_parting: false,
            is_polling: false,
            is_eio3: shared.scenario.protocol == Protocol::Eio3,
            opened_by_polling: None,
            fragment: Vec::new(),
            memberships,
            pending: VecDeque::new(),
            next_ack: 0,
        }
    }

    /// Handles the bytes of one read; returns how many were used up.
    ///
    /// # Errors
    /// The conversation is over.
    #[inline]
    pub fn consume(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<usize, Ended> {
        let mut at = 0;
        if self.state == State::ExpectUpgrade {
            match self.upgrade(turn, bytes)? {
                Some(used) => at = used,
                None => return Ok(0),
            }
        }
        loop {
            match frame::head(&bytes[at..]) {
                Head::Frame { fin: true, opcode: frame::TEXT, header, len } => {
                    turn.local.stats.counters.frames_in += 1;
                    let start = at + header;
                    self.text(turn, &bytes[start..start + len])?;
                    at = start + len;
                }
                Head::Frame { fin, opcode, header, len } => {
                    turn.local.stats.counters.frames_in += 1;
                    let start = at + header;
                    self.other(turn, fin, opcode, &bytes[start..start + len])?;
                    at = start + len;
                }
                Head::Partial { .. } => return Ok(at),
                Head::Malformed(what) => return Err(Ended::Malformed(what)),
            }
        }
    }

    #[cold]
    fn other(
        &mut self,
        turn: &mut Turn<'_>,
        fin: bool,
        opcode: u8,
        payload: &[u8],
    ) -> Result<(), Ended> {
        match opcode {
            frame::PING => {
                let mask = self.next_mask();
                frame::put(&mut self.out, frame::PONG, mask, payload);
            }
            frame::PONG => {}
            frame::CLOSE => {
                let code =
                    payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                return Err(Ended::Close(code));
            }
            frame::TEXT | frame::BINARY | frame::CONTINUATION => {
                if opcode != frame::CONTINUATION {
                    self.fragment.clear();
                }
                self.fragment.extend_from_slice(payload);
                if self.fragment.len() > frame::PAYLOAD_MAX {
                    return Err(Ended::Malformed("message too long"));
                }
                if fin {
                    let message = std::mem::take(&mut self.fragment);
                    self.text(turn, &message)?;
                }
            }
            _ => return Err(Ended::Malformed("unknown opcode")),
        }
        Ok(())
    }

    /// One whole message: an Engine.IO packet, or a raw text.
    #[inline]
    pub fn text(&mut self, turn: &mut Turn<'_>, payload: &[u8]) -> Result<(), Ended> {
        const MESSAGE: &[u8] = b"42[\"message\",";
        if turn.shared.scenario.protocol == Protocol::Raw || payload.starts_with(MESSAGE) {
            self.delivery(turn, payload);
            return Ok(());
        }
        self.packet(turn, payload)
    }

    #[inline]
    fn delivery(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        let local = &mut *turn.local;
        let Some(stamp) = local.locator.find(payload) else {
            local.stats.counters.foreign += 1;
            return;
        };
        let counters = &mut local.stats.counters;
        if stamp.run != turn.shared.run {
            counters.foreign += 1;
            return;
        }
        let Some(membership) = self.memberships.iter_mut().find(|m| m.room == stamp.room) else {
            counters.outside_membership += 1;
            return;
        };
        let seen = match membership.member {
            Member::In | Member::Leaving => membership.ledger.see(stamp.publisher, stamp.n),
            Member::Joining => Seen::Edge,
            Member::Out => {
                counters.outside_membership += 1;
                return;
            }
        };
        match seen {
            Seen::InOrder | Seen::Gap => counters.delivered += 1,
            Seen::OutOfOrder => {
                counters.delivered += 1;
                counters.out_of_order += 1;
            }
            Seen::Duplicate => {
                counters.duplicated += 1;
                return;
            }
            Seen::Edge => {
                counters.edge += 1;
                return;
            }
            Seen::Unknown => {
                counters.unknown += 1;
                return;
            }
        }
        if turn.now_ns >= turn.measure_ns && turn.now_ns <= turn.end_ns {
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
        if stamp.intended_ns >= turn.measure_ns && stamp.intended_ns <= turn.end_ns {
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

    #[cold]
    fn packet(&mut self, turn: &mut Turn<'_>, payload: &[u8]) -> Result<(), Ended> {
        match payload {
            [b'4', b'2', rest @ ..] => self.event(turn, rest),
            [b'4', b'3', rest @ ..] => return self.ack(turn, rest),
            [b'2', ..] => self.send_text(b"3"),
            b"3probe" if self.state == State::ExpectProbe => self.probed(turn),
            [b'3', ..] => {}
            [b'0', rest @ ..] if self.state == State::ExpectOpen => self.opened(turn, rest),
            [b'4', b'0', ..] if self.state <= State::ExpectConnect => self.connected(turn),
            [b'4', b'4', rest @ ..] => {
                let reason = String::from_utf8_lossy(&rest[..rest.len().min(80)]).into_owned();
                return Err(Ended::Refused(format!("connect {reason}")));
            }
            [b'4', b'1', ..] | [b'1', ..] => return Err(Ended::EngineClose),
            [b'6', ..] => {}
            _ => turn.local.stats.error("unexpected packet"),
        }
        Ok(())
    }

    /// The HTTP answer to the upgrade request.
    fn upgrade(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) -> Result<Option<usize>, Ended> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > 16_384 {
                Err(Ended::Malformed("endless response head"))
            } else {
                Ok(None)
            };
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let status = head.split(' ').nth(1).unwrap_or("none");
        if status != "101" {
            return Err(Ended::Refused(format!("http {status}")));
        }
        let accept =
            head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
                name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim())
            });
        if accept != Some(self.accept.as_str()) {
            return Err(Ended::Malformed("wrong Sec-WebSocket-Accept"));
        }
        self.accept = String::new();
        if turn.shared.scenario.protocol == Protocol::Raw {
            turn.local.stats.samples.record_ns(Metric::Handshake, turn.now_ns - self.asked_ns);
            for index in 0..self.memberships.len() {
                self.entered(turn, index);
            }
        } else if self.opened_by_polling.is_some() {
            self.state = State::ExpectProbe;
            self.send_text(b"2probe");
        } else {
            self.state = State::ExpectOpen;
        }
        Ok(Some(end + 4))
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
        if turn.shared.scenario.protocol == Protocol::Eio4 {
            let mut packet = String::from("40");
            if let Some(token) = turn.shared.tokens.get(self.seat.user as usize) {
                packet.push_str("{\"api_token\":\"");
                packet.push_str(token);
                packet.push_str("\"}");
            }
            self.send_text(packet.as_bytes());
        } else {
            self.ping_due_ns = turn.now_ns + self.ping_interval_ns;
        }
    }

    fn connected(&mut self, turn: &mut Turn<'_>) {
        turn.local.stats.samples.record_ns(Metric::Handshake, turn.now_ns - self.asked_ns);
        self.state = State::ExpectJoin;
        if self.memberships.is_empty() {
            self.arrived(turn);
        }
        for index in 0..self.memberships.len() {
            self.join(turn, index);
        }
    }

    fn arrived(&mut self, turn: &mut Turn<'_>) {
        self.state = State::Joined;
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
        let room = shared.scenario.first_room + u32::from(self.memberships[index].room);
        let presence = match shared.scenario.presence {
            Presence::Full => "",
            Presence::Delta => ",\"presence\":\"delta\"",
            Presence::Count => ",\"presence\":\"count\"",
        };
        // Engine.IO 3 has no CONNECT payload to carry the token.
        let token = match shared.tokens.get(self.seat.user as usize) {
            Some(token) if shared.scenario.protocol == Protocol::Eio3 => {
                format!(",\"api_token\":\"{token}\"")
            }
            _ => String::new(),
        };
        self.memberships[index].member = Member::Joining;
        let id = self.ask(turn.now_ns, Asked::Join(index));
        let packet = format!("42{id}[\"room\",{{\"roomid\":{room}{presence}{token}}}]");
        self.send_text(packet.as_bytes());
    }

    /// Leaves every room joined, to join again once the server answered.
    pub fn leave_and_return(&mut self, turn: &Turn<'_>) {
        self.is_returning = true;
        for index in 0..self.memberships.len() {
            if self.memberships[index].member != Member::In {
                continue;
            }
            let room_index = usize::from(self.memberships[index].room);
            let room = turn.shared.scenario.first_room + room_index as u32;
            let acked = &turn.shared.rooms[room_index].acked;
            self.memberships[index].member = Member::Leaving;
            self.memberships[index].owed_until =
                acked.iter().map(|n| n.load(Ordering::Acquire)).collect();
            let id = self.ask(turn.now_ns, Asked::Leave(index));
            let packet = format!("42{id}[\"roomout\",{{\"roomid\":{room}}}]");
            self.send_text(packet.as_bytes());
        }
    }

    fn ask(&mut self, now_ns: u64, asked: Asked) -> u32 {
        let id = self.next_ack;
        self.next_ack = self.next_ack.wrapping_add(1);
        self.pending.push_back(Pending { id, asked, since_ns: now_ns });
        id
    }

    /// The membership begins: everything published from now on is owed.
    fn entered(&mut self, turn: &mut Turn<'_>, index: usize) {
        let membership = &mut self.memberships[index];
        let room = &turn.shared.rooms[usize::from(membership.room)];
        membership.member = Member::In;
        membership.ledger = Ledger::open(room.counts());
        membership.entered_ns = turn.now_ns;
        room.enter(self.seat.user, turn.now_ns);
        turn.local.stats.counters.joins += 1;
        if self.memberships.iter().all(|m| m.member == Member::In) {
            self.arrived(turn);
        }
    }

    /// The membership ends; what was owed up to `owed_until` is settled.
    fn left(&mut self, turn: &mut Turn<'_>, index: usize, owed_until: &[u32]) {
        let membership = &mut self.memberships[index];
        let room = &turn.shared.rooms[usize::from(membership.room)];
        let published = room.counts();
        let refused = room.refused();
        let counters = &mut turn.local.stats.counters;
        for publisher in 0..membership.ledger.publishers() {
            let at = usize::from(publisher);
            let refused = refused.get(&publisher).map_or(&[][..], Vec::as_slice);
            let until = owed_until.get(at).copied().unwrap_or(0);
            let tally = membership.ledger.close(publisher, until, refused);
            counters.expected += tally.expected;
            counters.missing += tally.missing;
            let seen = membership.ledger.next(publisher);
            counters.unknown += u64::from(seen.saturating_sub(published[at]));
        }
        membership.ledger = Ledger::default();
        membership.member = Member::Out;
        membership.online = None;
    }

    /// One session of this user less is in the room.
    fn absent(&self, turn: &Turn<'_>, index: usize) {
        let room = &turn.shared.rooms[usize::from(self.memberships[index].room)];
        room.leave(self.seat.user, turn.now_ns);
    }

    /// It is due and not yet in all its rooms.
    #[must_use]
    pub fn is_arriving(&self) -> bool {
        self.due_ns.is_some() || self.is_returning || self.state == State::ExpectJoin
    }

    /// Deliveries still owed to this client.
    #[must_use]
    pub fn owed(&self, shared: &Shared) -> u64 {
        let mut owed = 0;
        for membership in self.memberships.iter().filter(|m| m.member == Member::In) {
            let room = &shared.rooms[usize::from(membership.room)];
            let refused = room.refused();
            for publisher in 0..membership.ledger.publishers() {
                let end = room.published[usize::from(publisher)].load(Ordering::Acquire);
                let refused = refused.get(&publisher).map_or(&[][..], Vec::as_slice);
                owed += membership.ledger.close(publisher, end, refused).missing;
            }
        }
        owed
    }

    /// What each membership knows of who is there: `(right, when the view last changed, when the
    /// room did)`. Nothing where the server sends no rosters at all.
    pub fn views(&self, shared: &Shared) -> impl Iterator<Item = (bool, u64, u64)> {
        let has_rosters = shared.has_rosters.load(Ordering::Relaxed);
        self.memberships.iter().filter(|m| m.member == Member::In).filter_map(move |membership| {
            let room = &shared.rooms[usize::from(membership.room)];
            let Some((online, at_ns)) = membership.online else {
                return has_rosters.then_some((false, 0, 0));
            };
            // A further session of somebody who is there already changes nothing but itself.
            let changed_ns = room.changed_ns.load(Ordering::Acquire).max(membership.entered_ns);
            Some((online == room.online.load(Ordering::Acquire), at_ns, changed_ns))
        })
    }

    /// The run is over: everything published was owed. Nobody leaves, since other threads still
    /// compare their rosters with who is there.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.memberships.len() {
            if matches!(self.memberships[index].member, Member::In | Member::Leaving) {
                let room = usize::from(self.memberships[index].room);
                let owed_until = match self.memberships[index].member {
                    Member::In => turn.shared.rooms[room].counts(),
                    _ => std::mem::take(&mut self.memberships[index].owed_until),
                };
                self.left(turn, index, &owed_until);
            }
        }
        self.state = State::Offline;
    }

    /// The connection is gone: only what had already come counts as owed.
    pub fn cut_off(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.memberships.len() {
            if matches!(self.memberships[index].member, Member::In | Member::Leaving) {
                self.left(turn, index, &[]);
                self.absent(turn, index);
            }
            self.memberships[index].member = Member::Out;
        }
        turn.local.stats.arrived -= u64::from(self.state == State::Joined);
        self.state = State::Offline;
        self.pending.clear();
        self.carry = Vec::new();
        self.fragment = Vec::new();
        self.out.clear();
        self.ping_due_ns = u64::MAX;
        if let Some(publisher) = &mut self.publisher {
            publisher.forget();
        }
    }

    fn ack(&mut self, turn: &mut Turn<'_>, payload: &[u8]) -> Result<(), Ended> {
        let digits = payload.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id = std::str::from_utf8(&payload[..digits]).ok().and_then(|id| id.parse::<u32>().ok());
        let Some(at) = self.pending.iter().position(|p| Some(p.id) == id) else {
            turn.local.stats.error("unexpected ack");
            return Ok(());
        };
        let Some(pending) = self.pending.remove(at) else { return Ok(()) };
        let answer = &payload[digits..];
        let is_ok = memmem::find(answer, b"\"ok\":false").is_none();
        match pending.asked {
            Asked::Join(index) => {
                if !is_ok {
                    return Err(Ended::Refused(format!("join {}", code_of(answer))));
                }
                let waited_ns = turn.now_ns - pending.since_ns;
                turn.local.stats.samples.record_ns(Metric::Join, waited_ns);
                self.entered(turn, index);
            }
            Asked::Leave(index) => {
                turn.local.stats.counters.leaves += 1;
                let owed_until = std::mem::take(&mut self.memberships[index].owed_until);
                self.left(turn, index, &owed_until);
                self.absent(turn, index);
                if self.is_returning && self.memberships.iter().all(|m| m.member == Member::Out) {
                    self.is_returning = false;
                    self.state = State::ExpectJoin;
                    turn.local.stats.arrived -= 1;
                    for index in 0..self.memberships.len() {
                        self.join(turn, index);
                    }
                }
            }
            Asked::Publish(n) => self.publish_answered(turn, &pending, n, is_ok, answer),
        }
        Ok(())
    }

    fn publish_answered(
        &mut self,
        turn: &mut Turn<'_>,
        pending: &Pending,
        n: u32,
        is_ok: bool,
        answer: &[u8],
    ) {
        let Some(publisher) = &mut self.publisher else { return };
        let room = &turn.shared.rooms[usize::from(publisher.room)];
        let stats = &mut turn.local.stats;
        if is_ok {
            stats.counters.acked += 1;
            let acked = &room.acked[usize::from(publisher.index)];
            if acked.load(Ordering::Relaxed) == n {
                acked.store(n + 1, Ordering::Release);
            }
            let measured = pending.since_ns >= turn.measure_ns && pending.since_ns <= turn.end_ns;
            if measured {
                let waited_ns = turn.now_ns.saturating_sub(pending.since_ns);
                stats.samples.record_ns(Metric::Ack, waited_ns);
            }
        } else {
            stats.counters.refused += 1;
            stats.error(&format!("refused: message {}", code_of(answer)));
            room.refuse(publisher.index, n);
        }
        if !is_ok || turn.shared.scenario.load.completion == Completion::Ack {
            publisher.complete(n);
        }
    }

    fn event(&mut self, turn: &mut Turn<'_>, payload: &[u8]) {
        let starts = |name: &[u8]| payload.starts_with(name);
        if starts(b"[\"room\"") || starts(b"[\"roomout\"") || starts(b"[\"presence\"") {
            let counters = &mut turn.local.stats.counters;
            counters.rosters += 1;
            counters.roster_bytes_max = counters.roster_bytes_max.max(payload.len() as u64);
            self.roster(turn.now_ns, turn.shared, payload);
        } else if starts(b"[\"chat_error\"") {
            let code = code_of(payload);
            turn.local.stats.error(&format!("chat_error {code}"));
        } else if starts(b"[\"login\"") {
            turn.local.stats.error("login demanded");
        } else if memmem::find(payload, crate::stamp::MAGIC).is_some() {
            // A message under another event name, or with white space: still a delivery.
            self.delivery(turn, payload);
        }
    }

    /// Only the numbers of the second argument are read: a roster of thousands is not parsed.
    fn roster(&mut self, now_ns: u64, shared: &Shared, payload: &[u8]) {
        let number = |key: &[u8]| {
            memmem::rfind(payload, key).and_then(|at| leading_number(&payload[at + key.len()..]))
        };
        let Some(online) = number(b"\"online\":") else { return };
        let Some(room) = number(b"\"room\":") else { return };
        let Some(room) = room.checked_sub(shared.scenario.first_room) else { return };
        let mine = self.memberships.iter_mut().find(|m| u32::from(m.room) == room);
        if let Some(membership) = mine
            && membership.online.is_none_or(|(before, _)| before != online)
        {
            membership.online = Some((online, now_ns));
            shared.has_rosters.store(true, Ordering::Relaxed);
        }
    }

    /// Sends one message due at `intended_ns`. The caller flushes.
    pub fn publish(&mut self, turn: &mut Turn<'_>, intended_ns: u64) {
        let is_measured = turn.is_measured(intended_ns);
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
        let ack = load.acks && turn.shared.scenario.protocol != Protocol::Raw;
        let id = ack.then_some(self.next_ack);
        let n = publisher.write(turn.shared, intended_ns, id, &mut turn.local.scratch);
        if load.mode == Mode::Closed {
            publisher.begin(n, turn.now_ns);
        }
        if ack {
            self.ask(intended_ns, Asked::Publish(n));
        }
        let text = std::mem::take(&mut turn.local.scratch);
        self.send_text(&text);
        turn.local.scratch = text;
    }

    /// Queues one Engine.IO packet or raw text.
    pub fn send_text(&mut self, text: &[u8]) {
        if self.is_polling {
            let protocol = if self.is_eio3 { Protocol::Eio3 } else { Protocol::Eio4 };
            polling::put(protocol, &mut self.out, text);
            return;
        }
        let mask = self.next_mask();
        frame::put(&mut self.out, frame::TEXT, mask, text);
    }

    /// Engine.IO 3: the client keeps the connection alive.
    pub fn ping_if_due(&mut self, now_ns: u64) {
        if self.ping_due_ns <= now_ns {
            self.ping_due_ns = now_ns + self.ping_interval_ns;
            self.send_text(b"2");
        }
    }

    fn next_mask(&mut self) -> u32 {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.mask
    }
}

/// The `code` of a refusal.
fn code_of(answer: &[u8]) -> String {
    let text = memmem::find(answer, b"\"code\":\"").map(|at| &answer[at + 8..]);
    text.map_or_else(
        || "without a code".to_owned(),
        |text| text.iter().take(40).take_while(|b| **b != b'"').map(|b| char::from(*b)).collect(),
    )
}

fn leading_number(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}

fn number_after(bytes: &[u8], key: &[u8]) -> Option<u32> {
    memmem::find(bytes, key).and_then(|at| leading_number(&bytes[at + key.len()..]))
}

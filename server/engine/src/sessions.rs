//! Engine.IO and Socket.IO sessions of one shard: bytes in, [`SessionEvent`]s out.
//!
//! ```text
//!  upgrade, bytes ──► pipe.rs ──┐
//!                               ├──► packets.rs ──► SessionEvent ──► application
//!  GET, POST ──────► polling.rs ┘
//! ```
//!
//! The engine knows nothing of rooms or users. An application (chat, or the echo of the
//! conformance binary) reads the session events and answers through `emit`.

mod account;
mod addresses;
mod bodies;
mod booking;
mod check;
mod eviction;
mod handshake;
mod packets;
mod pipe;
mod placeholders;
mod poll_queue;
mod polling;
mod session;
mod work;

use std::net::IpAddr;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use throng_wire::{eio, ws};
use ws::{Data, OpCode};

pub use account::Trust;
pub use handshake::{Admission, judge};
pub(crate) use pipe::Read;
pub(crate) use session::Carrier;
pub use session::{CloseReason, Session};

use crate::canary::{Canary, is_armed};
use crate::counters::Counters;
use crate::ids::{PipeId, PollId, SessionId, ShardId, SocketId};
use crate::long_packets::{LongPackets, Omitted};
use crate::now::Now;
use crate::outbox::{Bounds, Outbox};
use crate::request::Answer;
use crate::settings::{Seed, Settings};
use crate::timers::{Timer, Timers};
use account::{Budgets, Held};
use addresses::Addresses;
use pipe::Pipe;
use session::Beat;

/// What the engine reports to the application. Owned, so that handling one may change anything.
pub enum SessionEvent {
    /// An Engine.IO session exists.
    Opened {
        /// The session.
        session: SessionId,
        /// The client's address.
        peer: IpAddr,
        /// Came with the handshake: `api_token` of its query, or a Bearer token.
        token: Option<Box<str>>,
    },
    /// A namespace was connected; with [`crate::App::ADMITS`], the client has no answer yet.
    Connected {
        /// The session.
        session: SessionId,
        /// Index in [`crate::App::NAMESPACES`].
        namespace: u8,
        /// The public id of the client there.
        id: SocketId,
        /// The raw JSON of the CONNECT payload.
        auth: Option<Box<str>>,
    },
    /// The client sent an event.
    Event {
        /// The session.
        session: SessionId,
        /// Index in [`crate::App::NAMESPACES`].
        namespace: u8,
        /// The client waits for an answer under this id.
        ack: Option<u64>,
        /// The raw JSON array of the event, name first; checked by `throng_wire::sio::decode`.
        data: Box<str>,
        /// It came as a binary event.
        is_binary: bool,
        /// As many as it has placeholders for.
        attachments: Vec<Bytes>,
        /// What `data` lacks, because it was too long to be parsed.
        omitted: Option<Omitted>,
    },
    /// The client left a namespace but keeps the session.
    Disconnected {
        /// The session.
        session: SessionId,
    },
    /// An Engine.IO message on an endpoint without Socket.IO.
    Text {
        /// The session.
        session: SessionId,
        /// The message.
        text: Box<str>,
    },
    /// A binary Engine.IO message on an endpoint without Socket.IO.
    Binary {
        /// The session.
        session: SessionId,
        /// The message.
        bytes: Bytes,
    },
    /// The session moved from polling to a WebSocket.
    Moved {
        /// The session.
        session: SessionId,
    },
    /// The session is over.
    Ended {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
        /// Its last state.
        state: Box<Session>,
    },
}

/// A ping that goes out so much later than it was due is late.
const PING_LATE_NS: u64 = 100_000_000;
/// A turn that comes so much later than a deadline was held up by the machine.
const LATE_NS_MIN: u64 = 1_000_000_000;

#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

/// What the engine must know of its application; see the constants of [`crate::App`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    pub(crate) namespaces: &'static [&'static str],
    pub(crate) identifies: bool,
    pub(crate) takes_attachments: bool,
    pub(crate) admits: bool,
    pub(crate) long_packets: Option<LongPackets>,
}

/// The sessions of one shard, and the bytes that wait for their clients.
pub struct Engine {
    pub(crate) settings: Settings,
    shard: ShardId,
    pub(crate) now: Now,
    pub(crate) unix_ms_at_zero: i64,
    /// Until then nobody is late: the shard itself was.
    late_until: Now,
    pub(crate) outbox: Outbox,
    /// What the engine counts.
    pub counters: Counters,
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: u32,
    pipes: Vec<Pipe>,
    timers: Timers,
    random: ChaCha12Rng,
    session_events: std::collections::VecDeque<SessionEvent>,
    /// Polling sessions whose parked poll may be answerable.
    ready_polls: Vec<SessionId>,
    /// The session of each last poll, parked or answered.
    polls: std::collections::BTreeMap<PollId, SessionId>,
    /// The session of each POST whose body is arriving.
    bodies: std::collections::BTreeMap<PollId, SessionId>,
    /// Polling sessions over their outbound bound, to be ended at the end of the turn.
    slow: Vec<SessionId>,
    budgets: Budgets,
    held_anonymous: Held,
    held_identified: Held,
    addresses: Addresses,
    traits: Traits,
    answers: Vec<(PollId, Answer)>,
    closes: Vec<PipeId>,
    resumes: Vec<PipeId>,
    /// Sessions that have used up their work rate in this turn.
    owing: Vec<SessionId>,
    /// Sessions whose POST came in this turn.
    posts: Vec<SessionId>,
    scratch: Vec<u8>,
    is_stopping: bool,
}

impl Engine {
    pub(crate) fn new(
        settings: Settings,
        shard: ShardId,
        shards: u8,
        seed: &Seed,
        traits: Traits,
    ) -> Engine {
        let (anonymous, identified) =
            (settings.anonymous.outbound_bytes_max, settings.outbound_bytes_max);
        Engine {
            budgets: Budgets::new(&settings, shards),
            outbox: Outbox::new(Bounds::new(anonymous, identified, pipe::ECHO_OUTBOUND_MAX)),
            settings,
            shard,
            now: Now::default(),
            unix_ms_at_zero: seed.started_unix_ms,
            late_until: Now::default(),
            counters: Counters::default(),
            traits,
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            pipes: Vec::new(),
            timers: Timers::default(),
            random: ChaCha12Rng::from_seed(seed.random),
            session_events: std::collections::VecDeque::new(),
            ready_polls: Vec::new(),
            polls: std::collections::BTreeMap::new(),
            bodies: std::collections::BTreeMap::new(),
            slow: Vec::new(),
            held_anonymous: Held::default(),
            held_identified: Held::default(),
            addresses: Addresses::default(),
            answers: Vec::new(),
            closes: Vec::new(),
            resumes: Vec::new(),
            owing: Vec::new(),
            posts: Vec::new(),
            scratch: Vec::new(),
            is_stopping: false,
        }
    }

    pub(crate) fn next_session_event(&mut self) -> Option<SessionEvent> {
        self.session_events.pop_front()
    }

    pub(crate) fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// The time of this turn.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The wall clock of this turn, in ms since 1970 (UTC).
    pub fn unix_ms(&self) -> i64 {
        self.unix_ms_at_zero.saturating_add((self.now.0 / 1_000_000).cast_signed())
    }

    /// The shard whose sessions these are.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Queues whole WebSocket frames for one pipe.
    pub fn push_frames(&mut self, pipe: PipeId, frames: &[u8]) {
        self.outbox.push(pipe, frames);
    }

    /// The session, while it lives.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        let slot = self.slots.get(id.slot() as usize)?;
        slot.session.as_deref().filter(|session| session.id == id)
    }

    /// The live sessions, in the order of their slots.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_deref())
    }

    pub(crate) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        slot.session.as_deref_mut().filter(|session| session.id == id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.settings.sessions_per_shard_max.min(SessionId::SLOTS_MAX)
    }

    fn insert(&mut self, make: impl FnOnce(SessionId, [u8; 11]) -> Session) -> SessionId {
        let random = self.random_bytes();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let id = SessionId::new(self.shard, slot, entry.generation);
        let session = make(id, random);
        *session.gauge(&mut self.counters) += 1;
        *session.opened_counter(&mut self.counters) += 1;
        let due = session.next_due();
        entry.session = Some(Box::new(session));
        self.live += 1;
        self.arm(id, due);
        id
    }

    /// A session that its caller knows to live.
    fn live(&self, id: SessionId) -> &Session {
        self.session(id).expect("its pipe or its request was looked at in this call")
    }

    /// As [`Engine::live`].
    fn live_mut(&mut self, id: SessionId) -> &mut Session {
        self.session_mut(id).expect("its pipe or its request was looked at in this call")
    }

    /// Makes sure that a timer fires at `deadline` or before.
    fn arm(&mut self, id: SessionId, deadline: Now) {
        let fires = self.timers.schedule(deadline, Timer::Session(id));
        self.live_mut(id).timer_at = fires;
    }

    // ---- output -------------------------------------------------------------------------------
    //
    // Output for a session that has ended is dropped: the application learns of the end when it
    // handles `SessionEvent::Ended`, and what it does before that comes too late by design.

    /// Sends one Engine.IO text packet, type digit included.
    pub fn emit(&mut self, id: SessionId, packet: &str) {
        let Some(session) = self.session_mut(id) else { return };
        match &session.carrier {
            Carrier::Pipe(pipe) => {
                let pipe = *pipe;
                let mut frame = std::mem::take(&mut self.scratch);
                frame.clear();
                ws::put_header(&mut frame, OpCode::Data(Data::Text), packet.len());
                frame.extend_from_slice(packet.as_bytes());
                self.outbox.push(pipe, &frame);
                self.scratch = frame;
            }
            Carrier::Polling(_) => {
                let packet = Bytes::copy_from_slice(packet.as_bytes());
                self.queue_for_poll(id, eio::payload::Out::Text(packet));
            }
        }
    }

    /// Sends one Engine.IO text message, without Socket.IO.
    pub fn emit_message(&mut self, id: SessionId, text: &str) {
        let mut packet = String::with_capacity(text.len() + 1);
        eio::put_message(&mut packet, text);
        self.emit(id, &packet);
    }

    /// As [`Engine::emit`], if the session is connected to `/`: before CONNECT and after DISCONNECT
    /// nothing of the namespace reaches the client (SIO-15, SIO-64).
    pub fn emit_event(&mut self, id: SessionId, packet: &str) {
        if self.session(id).is_some_and(|session| session.is_connected(0)) {
            self.emit(id, packet);
        }
    }

    /// Sends one binary Engine.IO message, without Socket.IO.
    pub fn emit_binary(&mut self, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.session_mut(id) else { return };
        let version = session.version;
        match &session.carrier {
            Carrier::Pipe(pipe) => {
                let pipe = *pipe;
                let mut frame = Vec::with_capacity(bytes.len() + 11);
                let prefix: &[u8] = if version == eio::Version::V3 { &[4] } else { &[] };
                ws::put_header(&mut frame, OpCode::Data(Data::Binary), prefix.len() + bytes.len());
                frame.extend_from_slice(prefix);
                frame.extend_from_slice(bytes);
                self.outbox.push(pipe, &frame);
            }
            Carrier::Polling(_) => {
                let bytes = Bytes::copy_from_slice(bytes);
                self.queue_for_poll(id, eio::payload::Out::Binary(bytes));
            }
        }
    }

    /// Sends a ready WebSocket frame that many sessions share.
    pub fn emit_frame(&mut self, id: SessionId, frame: &Bytes) {
        let Some(session) = self.session(id) else { return };
        match &session.carrier {
            Carrier::Pipe(pipe) => {
                self.outbox.push_shared(*pipe, frame);
            }
            Carrier::Polling(_) => {
                let payload = frame.slice_ref(ws::payload_of(frame));
                self.queue_for_poll(id, eio::payload::Out::Text(payload));
            }
        }
    }

    /// Bytes waiting for a client.
    pub fn queued(&mut self, id: SessionId) -> usize {
        match self.session(id).map(|session| &session.carrier) {
            Some(Carrier::Pipe(pipe)) => {
                let pipe = *pipe;
                self.outbox.queued(pipe)
            }
            Some(Carrier::Polling(polling)) => polling.bytes,
            None => 0,
        }
    }

    // ---- end ----------------------------------------------------------------------------------

    /// Ends a session. The client is sent the reason, as far as its transport can carry it, and the
    /// application gets [`SessionEvent::Ended`].
    pub fn end(&mut self, id: SessionId, reason: CloseReason) {
        if self.session(id).is_none() {
            return; // A session ends once, for the first reason that is found.
        }
        let session = self.slots[id.slot() as usize].session.take();
        let mut session = session.expect("it was found above");
        let reason = match reason {
            CloseReason::TransportClose if session.has_left => CloseReason::ClientDisconnect,
            other => other,
        };
        self.free.push(id.slot());
        self.live -= 1;
        *session.gauge(&mut self.counters) -= 1;
        *reason.counter(&mut self.counters) += 1;
        let account = &session.account;
        let (inbound, address) = (account.held_in(), session.address.take());
        if !is_armed(Canary::KeepAccount) {
            self.held_mut(account.trust).inbound -= inbound;
        }
        if let Some(address) = address {
            self.addresses.remove(address);
        }
        if matches!(reason, CloseReason::SlowConsumer | CloseReason::Limit) {
            self.counters.evictions += 1;
        }
        if let Some(probe) = session.probe.take() {
            self.close_pipe(probe, reason.close_code(), reason.name());
        }
        match &mut session.carrier {
            Carrier::Pipe(pipe) => {
                let pipe = *pipe;
                if reason == CloseReason::SlowConsumer {
                    // What is queued will not be read in time; the frame under way must be whole.
                    self.outbox.cut(pipe);
                }
                self.close_pipe(pipe, reason.close_code(), reason.name());
            }
            Carrier::Polling(polling) => {
                self.held_mut(session.account.trust).polled -= polling.bytes;
                self.end_polling(polling, session.version, reason);
            }
        }
        self.session_events.push_back(SessionEvent::Ended { session: id, reason, state: session });
    }

    /// Moves what the turn produced for the runtime into `effects`, and answers polls that have
    /// something to carry.
    pub(crate) fn finish_turn(
        &mut self,
        answers: &mut Vec<(PollId, Answer)>,
        closes: &mut Vec<PipeId>,
        resumes: &mut Vec<PipeId>,
    ) {
        self.answer_polls();
        self.answer_posts();
        self.pause_owing();
        answers.append(&mut self.answers);
        closes.append(&mut self.closes);
        resumes.append(&mut self.resumes);
    }

    /// Fires what is due.
    pub(crate) fn run_timers(&mut self) {
        while let Some(bucket) = self.timers.due(self.now) {
            for timer in bucket {
                match timer {
                    Timer::Session(id) => self.session_timer(id),
                    Timer::Probe(pipe) => self.probe_timer(pipe),
                    Timer::Closing(pipe) => self.closing_timer(pipe),
                    Timer::Resume(pipe) => self.resume(pipe),
                    Timer::LateAnswer(id) => self.answer_post(id),
                }
            }
        }
    }

    fn session_timer(&mut self, id: SessionId) {
        let now = self.now;
        // Timers are never removed early, so the session may have ended.
        let Some(session) = self.session(id) else { return };
        if session.timer_at > now {
            return; // A younger timer took over.
        }
        let due = session.next_due();
        if due > now {
            return self.arm(id, due);
        }
        self.heartbeat(id);
    }

    /// The session's deadline has passed.
    fn heartbeat(&mut self, id: SessionId) {
        let now = self.now;
        let (ping_timeout_ms, late_until) =
            (u64::from(self.settings.ping_timeout_ms), self.late_until);
        let session = self.live_mut(id);
        if now < late_until {
            session.postpone(now, late_until);
        }
        if session.is_connect_overdue(now) {
            return self.end(id, CloseReason::ConnectTimeout);
        }
        if session.account.finish_by <= now {
            self.time_out_body(id);
            return self.end(id, CloseReason::Limit);
        }
        if session.account.identify_by <= now {
            return self.end(id, CloseReason::Limit);
        }
        if session.deadline > now {
            let due = session.next_due();
            return self.arm(id, due);
        }
        match session.beat {
            Beat::SendPing => {
                // The client has its whole time from when it is asked. A tick late is in time: the
                // official suite looks at the very moment.
                let is_late = now.since(session.deadline) > PING_LATE_NS;
                let asked = if is_late { now } else { session.deadline };
                let deadline = asked.plus_ms(ping_timeout_ms);
                session.beat = Beat::AwaitPong;
                session.deadline = deadline;
                let due = session.next_due();
                self.arm(id, due);
                self.emit(id, "2");
            }
            Beat::AwaitPong | Beat::AwaitPing => self.end(id, CloseReason::PingTimeout),
        }
    }

    /// Ends the session if its deadline passed, even though no timer fired yet. True if it lives.
    fn is_alive(&mut self, id: SessionId) -> bool {
        let now = self.now;
        while let Some(session) = self.session(id) {
            if session.next_due() > now {
                return true;
            }
            self.heartbeat(id);
        }
        false
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.timers.next()
    }

    /// A turn begins. When a deadline is long past, the process was paused: what clients sent in
    /// time may lie unread, so all of them get the time that the shard took for itself.
    pub(crate) fn begin(&mut self, now: Now) {
        self.now = now;
        let due = self.timers.next().unwrap_or(now);
        let late_ns = now.since(due);
        if late_ns > LATE_NS_MIN {
            let most_ns = u64::from(self.settings.ping_timeout_ms) * 1_000_000;
            self.late_until = now.plus_ns(late_ns.min(most_ns));
            self.counters.late_turns += 1;
        }
    }

    /// Closes every session; new ones are refused from here on.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
        for slot in 0..self.slots.len() {
            if let Some(id) = self.slots[slot].session.as_ref().map(|session| session.id) {
                self.end(id, CloseReason::ServerStop);
            }
        }
    }
}

//! Engine.IO and Socket.IO sessions of one shard: bytes in, [`SessionEvent`]s out.
//!
//! ```text
//!  upgrade, bytes ──► pipe.rs ──┐
//!                               ├──► packets.rs ──► SessionEvent ──► application
//!  GET, POST ──────► polling.rs ┘                   output.rs ◄─────────┘
//! ```
//!
//! The engine knows nothing of rooms or users. An application, such as
//! [`crate::rooms::Rooms`], reads the session events and answers through `emit`.

mod account;
mod addresses;
mod anonymous_polling;
mod bodies;
mod booking;
mod check;
mod ending;
mod event_buffers;
mod eviction;
mod handshake;
mod heartbeat;
mod held;
mod output;
mod owners;
mod packets;
mod pipe;
mod placeholders;
mod poll_queue;
mod polling;
mod session;
mod session_event;
mod shard_budgets;
mod trust;
mod work;

use std::collections::VecDeque;
use std::net::IpAddr;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

pub use handshake::{Admission, judge};
pub use owners::Owner;
pub(crate) use pipe::Read;
pub(crate) use session::Carrier;
pub use session::{CloseReason, Session};
pub use session_event::SessionEvent;
pub use trust::Trust;

use crate::counters::Counters;
use crate::effects::Effects;
use crate::engine_request::Answer;
use crate::handshake_refusal::HandshakeRefusal;
use crate::ids::{PipeId, PollId, SessionId, ShardId};
use crate::items::Items;
use crate::long_packets::LongPackets;
use crate::now::{Now, Sent};
use crate::outbox::{Bounds, Outbox};
use crate::settings::{Seed, Settings};
use crate::timers::{Timer, Timers};
use addresses::Addresses;
use event_buffers::EventBuffers;
use held::HeldBytes;
use owners::Owners;
use pipe::Pipe;
use shard_budgets::ShardBudgets;
use work::WorkRates;

/// A turn that comes so much later than a deadline was held up by the machine.
const LATE_NS_MIN: u64 = 1_000_000_000;

#[derive(Default)]
struct SessionSlot {
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
    unix_ms: i64,
    /// Until then nobody is late: the shard itself was.
    late_until: Now,
    /// Its last turn before that.
    late_since: Now,
    pub(crate) outbox: Outbox,
    /// What the engine counts.
    pub counters: Counters,
    slots: Vec<SessionSlot>,
    free: Vec<u32>,
    live: u32,
    pipes: Vec<Pipe>,
    timers: Timers,
    random: ChaCha12Rng,
    session_events: VecDeque<SessionEvent>,
    /// Polling sessions whose parked poll may be answerable.
    ready_polls: Vec<SessionId>,
    /// The session of each last poll, parked or answered.
    polls: std::collections::BTreeMap<PollId, SessionId>,
    /// The session of each POST whose body is arriving.
    bodies: std::collections::BTreeMap<PollId, SessionId>,
    /// Polling sessions over an outbound bound, to be ended at the end of the turn, and its setting.
    slow: Vec<(SessionId, &'static str)>,
    budgets: ShardBudgets,
    work_rates: WorkRates,
    held_anonymous: HeldBytes,
    held_identified: HeldBytes,
    addresses: Addresses,
    /// In the order in which they came.
    anonymous_polling: VecDeque<SessionId>,
    owners: Owners,
    traits: Traits,
    answers: Vec<(PollId, Answer)>,
    closes: Vec<PipeId>,
    resumes: Vec<PipeId>,
    refused: Vec<(IpAddr, HandshakeRefusal)>,
    /// Sessions that have used up their work rate in this turn.
    owing: Vec<SessionId>,
    /// Sessions whose POST came in this turn.
    posts: Vec<SessionId>,
    scratch: Vec<u8>,
    event_buffers: EventBuffers,
    /// Places of members that a fan-out hands over; between two of them only its memory.
    pub(crate) apart: Vec<u32>,
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
            budgets: ShardBudgets::new(&settings, shards),
            work_rates: WorkRates::new(&settings),
            outbox: Outbox::new(Bounds::new(anonymous, identified, pipe::ECHO_OUTBOUND_MAX)),
            settings,
            shard,
            now: Now::default(),
            unix_ms: 0,
            late_until: Now::default(),
            late_since: Now::default(),
            counters: Counters::default(),
            traits,
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            pipes: Vec::new(),
            timers: Timers::default(),
            random: ChaCha12Rng::from_seed(seed.random),
            session_events: VecDeque::new(),
            ready_polls: Vec::new(),
            polls: std::collections::BTreeMap::new(),
            bodies: std::collections::BTreeMap::new(),
            slow: Vec::new(),
            held_anonymous: HeldBytes::default(),
            held_identified: HeldBytes::default(),
            addresses: Addresses::default(),
            anonymous_polling: VecDeque::new(),
            owners: Owners::default(),
            answers: Vec::new(),
            closes: Vec::new(),
            resumes: Vec::new(),
            refused: Vec::new(),
            owing: Vec::new(),
            posts: Vec::new(),
            scratch: Vec::new(),
            event_buffers: EventBuffers::default(),
            apart: Vec::new(),
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

    /// When what is read in this turn was sent: now, or while the shard itself was paused.
    pub fn sent(&self) -> Sent {
        let since = if self.now < self.late_until { self.late_since } else { self.now };
        Sent { since, now: self.now }
    }

    /// The wall clock of this turn, in ms since 1970 (UTC).
    pub fn unix_ms(&self) -> i64 {
        self.unix_ms
    }

    /// The shard whose sessions these are.
    pub fn shard(&self) -> ShardId {
        self.shard
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
            self.slots.push(SessionSlot::default());
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

    /// Moves what the turn produced for the runtime into `effects`, and answers polls that have
    /// something to carry.
    pub(crate) fn finish_turn<A: Items>(&mut self, effects: &mut Effects<A>) {
        self.answer_polls();
        self.answer_posts();
        self.pause_owing();
        effects.answers.append(&mut self.answers);
        effects.closes.append(&mut self.closes);
        self.hand_on_resumes(effects);
        effects.refused.append(&mut self.refused);
    }

    pub(crate) fn hand_on_resumes<A: Items>(&mut self, effects: &mut Effects<A>) {
        effects.resumes.append(&mut self.resumes);
    }

    /// Fires what is due.
    pub(crate) fn run_timers(&mut self) {
        while let Some(due) = self.timers.due(self.now) {
            for timer in due {
                match timer {
                    Timer::Session(id) => self.session_timer(id),
                    Timer::Probe(pipe) => self.probe_timer(pipe),
                    Timer::Closing(pipe) => self.closing_timer(pipe),
                    Timer::Resume(pipe) => self.resume(pipe),
                    Timer::LateAnswer(id) => self.answer_post(id),
                    Timer::Owner(owner) => self.owners.forget(owner, self.now),
                }
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.timers.next()
    }

    /// A turn begins. When a deadline is long past, the process was paused: what clients sent in
    /// time may lie unread, so all of them get the time that the shard took for itself.
    pub(crate) fn begin(&mut self, now: Now, unix_ms: i64) {
        let before = self.now;
        self.now = now;
        self.unix_ms = unix_ms;
        let due = self.timers.next().unwrap_or(now);
        let late_ns = now.since(due);
        if late_ns > LATE_NS_MIN {
            let most_ns = u64::from(self.settings.ping_timeout_ms) * 1_000_000;
            self.late_until = now.plus_ns(late_ns.min(most_ns));
            self.late_since = before;
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

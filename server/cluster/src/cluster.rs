//! One step: what happened is noted, then whatever can be ordered is ordered.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::cluster::{ClusterInput, Signal};
use throng_core::{Now, RoomId, Seq, UserId};

use crate::entry::encode_unnumbered;
use crate::event::{Effects, Event, Note};
use crate::fdmap::{self, FdMap};
use crate::health::Health;
use crate::keys::Keys;
use crate::lease::{Lease, Phase};
use crate::loading::Loading;
use crate::numbering::Numbering;
use crate::order::{Order, OrderId};
use crate::peers::{Peers, Registry};
use crate::presence::{self, Presence};
use crate::reading::Reading;
use crate::settings::{Seed, Settings};
use crate::status::{Counters, Status};
use crate::sweep::Sweeps;
use crate::telling::{Telling, Told};

mod drive;
mod log;
mod outcome;

/// Peers whose rooms are asked for, and cards of users, at a time.
const PEERS_AT_ONCE: usize = 2;
const CARDS_AT_ONCE: usize = 4;
/// Rooms whose height is remembered. Forgetting costs tips that tell nothing new.
const HEIGHTS_MAX: usize = 1 << 20;
/// Between two looks at the registry that others ask for.
const POKE_MS: u64 = 50;

/// What an order under way is for.
enum Purpose {
    Claim {
        sent: Now,
    },
    Renew {
        sent: Now,
    },
    Release,
    /// The record, without and with `ready`.
    Record,
    Ready,
    Registry,
    Leases(Registry),
    Write {
        presence: Vec<presence::Moved>,
        map: Vec<fdmap::Moved>,
    },
    Append(Told),
    Tails,
    Read,
    PeerRooms {
        process: String,
        incarnation: String,
    },
    Load(RoomId),
    Sweep {
        is_sql: bool,
    },
    Tips,
    Card(UserId),
    Number {
        ticket: u64,
        room: RoomId,
        count: u32,
    },
}

/// Of which kinds an order is under way.
#[derive(Default)]
struct Busy {
    lease: bool,
    write: bool,
    append: bool,
    read: bool,
    registry: bool,
    tips: bool,
    peers: usize,
    cards: usize,
}

pub struct Cluster {
    settings: Settings,
    keys: Keys,
    seed: Seed,
    lease: Lease,
    health: Health,
    presence: Presence,
    map: FdMap,
    telling: Telling,
    reading: Reading,
    registry: Registry,
    peers: Peers,
    loading: Loading,
    sweeps: Sweeps,
    numbering: Numbering,
    under_way: BTreeMap<OrderId, Purpose>,
    busy: Busy,
    next_order: u64,
    /// The id to try first.
    first_id: u16,
    /// The next look at the registry, and the last.
    registry_at: Now,
    looked_at: Now,
    beat_at: Now,
    tips_asked_at: Now,
    /// Something may have been missed: read the tips once, and all presence.
    are_tips_due: bool,
    is_resync_due: bool,
    /// How far each room is known to have come.
    heights: BTreeMap<RoomId, Seq>,
    /// Users of other nodes whose card has changed.
    cards: BTreeSet<UserId>,
    is_stopping: bool,
    is_released: bool,
    lag_ms: u64,
    deadline: Option<Now>,
    counters: Counters,
}

impl Cluster {
    /// Everything begins with the first step.
    pub fn new(settings: Settings, seed: Seed) -> Cluster {
        let process = data_encoding::HEXLOWER.encode(&seed.random[..8]);
        let first_id = u16::from_le_bytes([seed.random[8], seed.random[9]]) % 1024;
        Cluster {
            keys: Keys::new(&settings),
            seed,
            lease: Lease::new(process),
            health: Health::default(),
            presence: Presence::default(),
            map: FdMap::default(),
            telling: Telling::default(),
            reading: Reading::default(),
            registry: Registry::default(),
            peers: Peers::default(),
            loading: Loading::default(),
            sweeps: Sweeps::new(settings.lease_ms),
            numbering: Numbering::default(),
            under_way: BTreeMap::new(),
            busy: Busy::default(),
            next_order: 0,
            first_id,
            registry_at: Now::default(),
            looked_at: Now::default(),
            beat_at: Now::default(),
            tips_asked_at: Now::default(),
            are_tips_due: false,
            is_resync_due: false,
            heights: BTreeMap::new(),
            cards: BTreeSet::new(),
            is_stopping: false,
            is_released: false,
            lag_ms: 0,
            deadline: None,
            counters: Counters::default(),
            settings,
        }
    }

    /// The name of this process, whatever its incarnations. The store files under it who is
    /// reading, so that others can settle that when it has died.
    pub fn process(&self) -> &str {
        self.lease.process()
    }

    pub fn step(&mut self, now: Now, event: Event, effects: &mut Effects) {
        match event {
            Event::Signal(signal) => self.signal(now, signal),
            Event::UserChanged(card) => {
                self.telling.changed(card.id, &self.settings, &mut self.counters);
            }
            Event::Revoked(token) => {
                self.telling.revoked(token, &self.settings, &mut self.counters);
            }
            Event::Publish { room, batch } => self.publish(room, &batch, effects),
            Event::Outcome { order, outcome } => self.outcome(now, order, outcome, effects),
            Event::Tick => {}
            Event::Stop => self.is_stopping = true,
        }
        self.drive(now, effects);
    }

    /// When [`Event::Tick`] is due even if nothing happens.
    pub fn next_deadline(&self) -> Option<Now> {
        self.deadline
    }

    /// All that is to be said before the process ends has been said.
    pub fn is_stopped(&self) -> bool {
        self.lease.phase == Phase::Over
    }

    pub fn status(&self) -> Status {
        Status {
            is_up: self.health.is_up(),
            since: self.health.since(),
            why: self.health.why(),
            node: self.lease.is_held().then_some(self.lease.id),
            incarnation: self.lease.incarnation.clone(),
            is_announced: self.lease.is_announced(),
            peers: u32::try_from(self.peers.known.len()).unwrap_or(u32::MAX),
            lag_ms: self.lag_ms,
            dirty_presence: self.presence.due() as u64,
            dirty_map: self.map.due() as u64,
            untold: (self.presence.untold() + self.telling.waiting()) as u64,
            backlog_bytes: self.telling.backlog_bytes() as u64,
            loading: (self.loading.len() + self.peers.unread.len()) as u64,
            sweeping: self.sweeps.len() as u64,
            counters: self.counters,
        }
    }

    fn signal(&mut self, now: Now, signal: Signal) {
        match signal {
            Signal::Present { room, user, is_present, seq } => {
                self.presence.set(room, user, is_present, seq);
            }
            Signal::Connection { conn, state } => {
                let unix_ms = self.unix_ms(now);
                self.map.set(conn, state.as_ref(), unix_ms);
            }
            Signal::Committed { room, messages } => {
                if let Some(last) = messages.last() {
                    self.rise(room, last.seq);
                }
                // What Redis has numbered it has logged.
                if self.settings.ephemeral {
                    return;
                }
                let is_possible = self.may_append(now);
                let (settings, counters) = (&self.settings, &mut self.counters);
                self.telling.committed(room, messages, is_possible, settings, counters);
            }
        }
    }

    fn publish(&mut self, room: RoomId, batch: &Batch, effects: &mut Effects) {
        if self.numbering.len() >= self.settings.numbering_max || self.health.is_broken() {
            self.counters.numbering_full += u64::from(!self.health.is_broken());
            return effects.numbered.push((room, None));
        }
        let ticket = self.numbering.begin(room);
        let partition = self.keys.partition(room);
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let order = Order::Number {
            counters: self.keys.counters(partition),
            stream: self.keys.log(partition),
            room,
            at_least: self.heights.get(&room).copied().unwrap_or_default(),
            count,
            maxlen: self.settings.log_maxlen,
            fields: encode_unnumbered(&self.lease.incarnation, ticket, room, batch),
        };
        self.order(Purpose::Number { ticket, room, count }, order, effects);
    }

    /// There is the room, and it has come so far. False when that was known.
    fn rise(&mut self, room: RoomId, seq: Seq) -> bool {
        if self.heights.len() >= HEIGHTS_MAX {
            self.heights.clear();
        }
        let known = self.heights.get(&room).copied();
        let is_news = known.is_none_or(|height| height < seq);
        if is_news {
            self.heights.insert(room, seq);
        }
        is_news
    }

    /// A room has come so far, as SQL or another node says.
    fn tip(&mut self, room: RoomId, seq: Seq, effects: &mut Effects) {
        if self.rise(room, seq) {
            effects.inputs.push(ClusterInput::Tip { room, seq });
        }
    }

    fn order(&mut self, purpose: Purpose, order: Order, effects: &mut Effects) {
        let id = OrderId(self.next_order);
        self.next_order += 1;
        self.counters.orders += 1;
        if let Order::Write { writes } = &order {
            self.counters.writes += writes.len() as u64;
        }
        self.under_way.insert(id, purpose);
        effects.orders.push((id, order));
    }

    fn unix_ms(&self, now: Now) -> u64 {
        self.seed.started_unix_ms + now.0 / 1_000_000
    }

    /// How often the lease is renewed, the registry read and a beat told.
    fn beat_ms(&self) -> u64 {
        (self.settings.lease_ms / 8).max(1)
    }

    /// The incarnation has ended. What it has written is swept, by this node and by others.
    fn lapse(&mut self, now: Now, why: &'static str, effects: &mut Effects) {
        if !self.lease.is_held() {
            return;
        }
        let incarnation = self.lease.incarnation.clone();
        self.sweeps.add(&incarnation, self.lease.id, now, now);
        self.telling.collapse();
        self.counters.leases_lost += 1;
        self.health.troubled_at = Some(now);
        self.is_resync_due = true;
        self.lease.phase = Phase::Ending;
        self.first_id = (self.lease.id + 1) % 1024;
        effects.notes.push(Note::Lapsed { incarnation, why });
    }

    /// Something was missed: everything is read again.
    fn resync(&mut self, why: &'static str, effects: &mut Effects) {
        self.counters.resyncs += 1;
        self.peers.unread = self.peers.known.keys().cloned().collect();
        self.are_tips_due = true;
        self.map.bind_all_again();
        effects.inputs.push(ClusterInput::Resync);
        effects.notes.push(Note::Resync { why });
    }
}

type Batch = [(throng_core::NewMessage, std::sync::Arc<throng_core::input::UserCard>)];

//! One step: the event updates the state, then every order that is possible is issued.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::cluster::{ClusterInput, Signal};
use throng_chat::{RoomId, Seq, UserId};
use throng_engine::Now;

use crate::awaited_numbers::AwaitedNumbers;
use crate::entry::{encode_unnumbered, unnumbered_fields};
use crate::event::{Effects, Event, Note, PublishId};
use crate::fdmap::{self, FdMap};
use crate::health::Health;
use crate::keys::Keys;
use crate::lease::{Lease, Phase};
use crate::loading::Loading;
use crate::log_reader::LogReader;
use crate::log_writer::{AppendBatch, LogWriter};
use crate::order::{NumberFault, Order, OrderId, UnnumberedMessage};
use crate::peers::{Peers, Registry};
use crate::presence::{self, Presence};
use crate::settings::{Seed, Settings};
use crate::status::{Counters, Status};
use crate::sweep::Sweeps;

mod check;
mod drive;
mod log;
mod outcome;

/// Bounds of concurrent orders: peers whose rooms are requested, and user cards.
const PEERS_AT_ONCE: usize = 2;
const CARDS_AT_ONCE: usize = 4;
/// Rooms whose height is remembered. Forgetting one costs a redundant tip.
const HEIGHTS_MAX: usize = 1 << 20;
/// How long Redis knows that a message was numbered (`ephemeral`).
///
/// Spec: CHAT-95.
const CID_TTL_MS: u64 = 10 * 60 * 1000;
/// Least time between two reads of the registry that peers ask for.
const REGISTRY_READ_GAP_MS: u64 = 50;

/// The purpose of an order in flight.
enum Purpose {
    Claim {
        sent: Now,
    },
    Renew {
        sent: Now,
    },
    Release,
    /// Writes the registry record, without and with `ready`.
    Record,
    Ready,
    Registry,
    Leases(Registry),
    Write {
        presence: Vec<presence::StartedWrite>,
        map: Vec<fdmap::StartedWrite>,
    },
    Append(AppendBatch),
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
        publish_id: PublishId,
        room: RoomId,
        count: u64,
    },
}

/// The kinds of which an order is in flight.
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
    log_writer: LogWriter,
    log_reader: LogReader,
    registry: Registry,
    peers: Peers,
    loading: Loading,
    sweeps: Sweeps,
    awaited_numbers: AwaitedNumbers,
    in_flight: BTreeMap<OrderId, Purpose>,
    busy: Busy,
    next_order: u64,
    /// The node id to try first.
    first_id: u16,
    /// When the registry is read next, and when it was read last.
    registry_due_at: Now,
    registry_read_at: Now,
    beat_at: Now,
    tips_asked_at: Now,
    /// Something may have been missed: read the tips once, and all presence again.
    are_tips_due: bool,
    is_resync_due: bool,
    /// The last known seq of each room.
    heights: BTreeMap<RoomId, Seq>,
    /// Users who changed on other nodes and whose cards must be read.
    cards: BTreeSet<UserId>,
    is_stopping: bool,
    is_released: bool,
    lag_ms: u64,
    deadline: Option<Now>,
    counters: Counters,
}

impl Cluster {
    /// A node that has done nothing yet; the first step issues the first orders.
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
            log_writer: LogWriter::default(),
            log_reader: LogReader::default(),
            registry: Registry::default(),
            peers: Peers::default(),
            loading: Loading::default(),
            sweeps: Sweeps::new(settings.lease_ms),
            awaited_numbers: AwaitedNumbers::default(),
            in_flight: BTreeMap::new(),
            busy: Busy::default(),
            next_order: 0,
            first_id,
            registry_due_at: Now::default(),
            registry_read_at: Now::default(),
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

    /// The name of this process, the same through all its incarnations. The store records under it
    /// who is reading, so that other nodes can raise their read marks when the process has died.
    pub fn process(&self) -> &str {
        self.lease.process()
    }

    /// Handles one event and adds to `effects` what must be done. `now` never decreases.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Effects) {
        match event {
            Event::Signal(signal) => self.signal(now, signal),
            Event::UserChanged(card) => {
                self.log_writer.user_changed(card.id, &self.settings, &mut self.counters);
            }
            Event::Revoked(token) => {
                self.log_writer.token_revoked(token, &self.settings, &mut self.counters);
            }
            Event::Publish { id, room, batch } => self.publish(id, room, &batch, effects),
            Event::Outcome { order, outcome } => self.outcome(now, order, outcome, effects),
            Event::Tick => {}
            Event::Stop => self.is_stopping = true,
        }
        self.drive(now, effects);
    }

    /// When [`Event::Tick`] is due if nothing happens before.
    pub fn next_deadline(&self) -> Option<Now> {
        self.deadline
    }

    /// Everything that must be sent before the process ends was sent.
    pub fn is_stopped(&self) -> bool {
        self.lease.phase == Phase::Over
    }

    /// What `/ready` and `/metrics` show.
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
            unlogged: (self.presence.unlogged() + self.log_writer.queued()) as u64,
            backlog_bytes: self.log_writer.backlog_bytes() as u64,
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
            Signal::Chosen { room, user, choice } => {
                let (settings, counters) = (&self.settings, &mut self.counters);
                self.log_writer.chosen(room, user, choice, settings, counters);
            }
            Signal::Session { session, state } => {
                let unix_ms = self.unix_ms(now);
                self.map.set(session, state.as_ref(), unix_ms);
            }
            Signal::Committed { room, messages } => {
                if let Some(last) = messages.last() {
                    self.raise_height(room, last.seq);
                }
                // Redis logged these messages when it numbered them.
                if self.settings.ephemeral {
                    return;
                }
                let is_possible = self.may_append(now);
                let (settings, counters) = (&self.settings, &mut self.counters);
                self.log_writer.messages_committed(room, messages, is_possible, settings, counters);
            }
        }
    }

    fn publish(
        &mut self,
        publish_id: PublishId,
        room: RoomId,
        batch: &Batch,
        effects: &mut Effects,
    ) {
        if self.awaited_numbers.len() >= self.settings.numbering_max || self.health.is_broken() {
            self.counters.numbering_full += u64::from(!self.health.is_broken());
            return effects.numbered.push((publish_id, Err(NumberFault::Refused)));
        }
        self.awaited_numbers.begin(publish_id, batch.len());
        let partition = self.keys.partition(room);
        let count = batch.len() as u64;
        let messages = batch.iter().map(|(message, card)| UnnumberedMessage {
            json: encode_unnumbered(message, card),
            cid_key: message.cid.as_ref().map(|cid| self.keys.cid(room, message.user, cid)),
        });
        let order = Order::Number {
            counters: self.keys.counters(partition),
            stream: self.keys.log(partition),
            answer_key: self.keys.answer(partition, self.process(), publish_id),
            room,
            at_least: self.heights.get(&room).copied().unwrap_or_default(),
            maxlen: self.settings.log_maxlen,
            fields: unnumbered_fields(&self.lease.incarnation, publish_id.0),
            messages: messages.collect(),
            cid_ttl_ms: CID_TTL_MS,
        };
        self.order(Purpose::Number { publish_id, room, count }, order, effects);
    }

    /// The room exists and its last seq is at least `seq`. False when that was known.
    fn raise_height(&mut self, room: RoomId, seq: Seq) -> bool {
        if self.heights.len() >= HEIGHTS_MAX {
            self.heights.clear();
        }
        let known = self.heights.get(&room).copied();
        let is_new = known.is_none_or(|height| height < seq);
        if is_new {
            self.heights.insert(room, seq);
        }
        is_new
    }

    /// SQL or another node says that the room has messages up to `seq`.
    fn learn_tip(&mut self, room: RoomId, seq: Seq, effects: &mut Effects) {
        if self.raise_height(room, seq) {
            effects.inputs.push(ClusterInput::Tip { room, seq });
        }
    }

    fn order(&mut self, purpose: Purpose, order: Order, effects: &mut Effects) {
        let id = OrderId(self.next_order);
        self.next_order += 1;
        if let Order::Write { writes } = &order {
            self.counters.writes += writes.len() as u64;
        }
        self.in_flight.insert(id, purpose);
        effects.orders.push((id, order));
    }

    fn unix_ms(&self, now: Now) -> u64 {
        self.seed.started_unix_ms + now.0 / 1_000_000
    }

    /// How often the lease is renewed, the registry is read and a heartbeat is logged.
    fn beat_ms(&self) -> u64 {
        (self.settings.lease_ms / 8).max(1)
    }

    /// The incarnation has ended. This node and others sweep what it wrote.
    fn lapse(&mut self, now: Now, why: &'static str, effects: &mut Effects) {
        if !self.lease.is_held() {
            return;
        }
        let incarnation = self.lease.incarnation.clone();
        self.sweeps.add(&incarnation, self.lease.id, now, now);
        self.log_writer.collapse_to_tips();
        self.counters.leases_lost += 1;
        self.health.last_broken_at = Some(now);
        self.is_resync_due = true;
        self.lease.phase = Phase::Ending;
        self.first_id = (self.lease.id + 1) % 1024;
        effects.notes.push(Note::Lapsed { incarnation, why });
    }

    /// Something may have been missed: everything is read again.
    fn resync(&mut self, why: &'static str, effects: &mut Effects) {
        self.counters.resyncs += 1;
        self.peers.unread = self.peers.known.keys().cloned().collect();
        self.are_tips_due = true;
        self.map.bind_all_again();
        effects.inputs.push(ClusterInput::Resync);
        effects.notes.push(Note::Resync { why });
    }
}

type Batch = [(throng_chat::NewMessage, std::sync::Arc<throng_chat::UserCard>)];

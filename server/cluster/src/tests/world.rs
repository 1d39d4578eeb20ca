//! Several nodes, a Redis, a database and users in virtual time.

mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;
use throng_chat::cluster::{ClusterInput, NodeIx, SessionState, Signal, StoredMessage};
use throng_chat::{Choice, RoomId, Seq, UserId};
use throng_engine::{Now, SessionId};

use crate::entry::process_of;
use crate::model::{Mode, Server};
use crate::order::{Failure, NumberFault, Numbers, Order, OrderId, Outcome};
use crate::tests::cards::card;
use crate::{Cluster, Effects, Event, Note, PublishId, Seed, Settings, Status};

pub type Facts = BTreeSet<(RoomId, UserId)>;

pub struct Node {
    pub cluster: Cluster,
    effects: Effects,
    /// Sessions: their user and rooms, and when they began.
    pub sessions: BTreeMap<SessionId, (SessionState, Now)>,
    /// The presence of other nodes that the shards were given.
    pub views: BTreeMap<NodeIx, Facts>,
    /// The highest seq each room is known to have.
    pub heard: BTreeMap<RoomId, Seq>,
    pub messages: Vec<(RoomId, StoredMessage)>,
    pub choices: BTreeMap<(RoomId, UserId), Choice>,
    pub revoked: usize,
    pub changed: Vec<UserId>,
    pub numbered: Vec<(PublishId, Result<Numbers, NumberFault>)>,
    pub tips: usize,
    pub announced: usize,
    pub gone: usize,
    pub notes: Vec<Note>,
    /// SIGSTOP: outcomes are queued.
    is_asleep: bool,
    waiting: Vec<(OrderId, Result<Outcome, Failure>)>,
    in_flight: BTreeMap<OrderId, &'static str>,
    pub in_flight_max: usize,
    /// The shards take no inputs.
    pub is_deaf: bool,
}

#[derive(Default)]
pub struct Sql {
    pub tips: BTreeMap<RoomId, Seq>,
    pub marks_raised: BTreeSet<String>,
    pub is_down: bool,
}

pub struct World {
    pub now: Now,
    pub redis: Server,
    pub sql: Sql,
    pub nodes: Vec<Option<Node>>,
    pub settings: Settings,
    started: u64,
    /// The id that every node tries first, instead of one of its own.
    pub first_id: Option<u16>,
    next_session: u32,
    pub steps: u64,
}

const UNIX_MS: u64 = 1_760_000_000_000;

impl World {
    pub fn new(seed: u64) -> World {
        let settings = Settings { log_streams: 2, log_maxlen: 200, ..Settings::default() };
        let mut redis = Server::new(seed);
        redis.redis.started_unix_ms = UNIX_MS;
        World {
            now: Now(0),
            redis,
            sql: Sql::default(),
            nodes: Vec::new(),
            settings,
            started: seed << 16,
            first_id: None,
            next_session: 0,
            steps: 0,
        }
    }

    pub fn with_nodes(seed: u64, nodes: usize) -> World {
        let mut world = World::new(seed);
        for _ in 0..nodes {
            world.start();
        }
        world.run(1_000);
        world
    }

    pub fn start(&mut self) -> usize {
        self.started += 1;
        let mut random = [7; 16];
        random[..8].copy_from_slice(&self.started.to_le_bytes());
        // Different ids: when Redis has lost the registry, only chance keeps them apart.
        let id = self.first_id.unwrap_or((self.started * 37 % 1024) as u16);
        random[8..10].copy_from_slice(&id.to_le_bytes());
        let seed = Seed { random, started_unix_ms: UNIX_MS };
        let node = Node {
            cluster: Cluster::new(self.settings.clone(), seed),
            effects: Effects::default(),
            sessions: BTreeMap::new(),
            views: BTreeMap::new(),
            // A node that starts reads the rooms from SQL.
            heard: self.sql.tips.clone(),
            messages: Vec::new(),
            choices: BTreeMap::new(),
            revoked: 0,
            changed: Vec::new(),
            numbered: Vec::new(),
            tips: 0,
            announced: 0,
            gone: 0,
            notes: Vec::new(),
            is_asleep: false,
            waiting: Vec::new(),
            in_flight: BTreeMap::new(),
            in_flight_max: 0,
            is_deaf: false,
        };
        self.nodes.push(Some(node));
        let index = self.nodes.len() - 1;
        self.step(index, Event::Tick);
        index
    }

    pub fn node(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("the node lives")
    }

    pub fn status(&mut self, index: usize) -> Status {
        self.node(index).cluster.status()
    }

    /// The node knows the last message of every room.
    pub fn has_heard(&self, index: usize) -> bool {
        self.nodes[index].as_ref().is_some_and(|node| node.heard == self.sql.tips)
    }

    // ---- users --------------------------------------------------------------------------------

    pub fn enter(&mut self, node: usize, user: u32, rooms: &[u32]) -> SessionId {
        self.next_session += 1;
        let session = SessionId(u64::from(self.next_session));
        self.move_to(node, session, user, rooms);
        session
    }

    /// The session belongs to the user and is in these rooms.
    pub fn move_to(&mut self, node: usize, session: SessionId, user: u32, rooms: &[u32]) {
        let rooms: SmallVec<[RoomId; 2]> = rooms.iter().map(|room| RoomId(*room)).collect();
        let state = SessionState { user: UserId(user), rooms };
        self.set(node, session, Some(state));
    }

    pub fn leave(&mut self, node: usize, session: SessionId) {
        self.set(node, session, None);
    }

    fn set(&mut self, index: usize, session: SessionId, state: Option<SessionState>) {
        let now = self.now;
        let before = self.truth(index);
        let node = self.node(index);
        match state.clone() {
            Some(state) => {
                let since = node.sessions.get(&session).map_or(now, |(_, since)| *since);
                node.sessions.insert(session, (state, since));
            }
            None => {
                node.sessions.remove(&session);
            }
        }
        let after = self.truth(index);
        self.step(index, Event::Signal(Signal::Session { session, state }));
        let seq = |world: &World, room| world.sql.tips.get(&room).copied().unwrap_or_default();
        for (room, user) in before.symmetric_difference(&after) {
            let is_present = after.contains(&(*room, *user));
            let seq = seq(self, *room);
            let (room, user) = (*room, card(user.0));
            self.step(index, Event::Signal(Signal::Present { room, user, is_present, seq }));
        }
    }

    /// The database numbers a message of the node.
    pub fn say(&mut self, index: usize, room: u32, text: &str) -> Seq {
        let room = RoomId(room);
        let tip = self.sql.tips.entry(room).or_default();
        tip.0 += 1;
        let seq = *tip;
        let message = StoredMessage {
            seq,
            id: i64::try_from(seq.0).expect("small"),
            author: card(1),
            msg: text.into(),
            img: Box::default(),
            time: Box::default(),
        };
        self.node(index).heard.insert(room, seq);
        let messages: Arc<[StoredMessage]> = Arc::new([message]);
        self.step(index, Event::Signal(Signal::Committed { room, messages }));
        seq
    }

    /// The users in each room on the node.
    pub fn truth(&self, index: usize) -> Facts {
        let Some(node) = &self.nodes[index] else { return Facts::new() };
        let each = node.sessions.values();
        each.flat_map(|(state, _)| state.rooms.iter().map(|room| (*room, state.user))).collect()
    }

    // ---- faults -------------------------------------------------------------------------------

    pub fn kill(&mut self, index: usize) {
        self.nodes[index] = None;
    }

    pub fn sleep(&mut self, index: usize) {
        self.node(index).is_asleep = true;
    }

    pub fn is_asleep(&self, index: usize) -> bool {
        self.nodes[index].as_ref().is_some_and(|node| node.is_asleep)
    }

    pub fn wake(&mut self, index: usize) {
        self.node(index).is_asleep = false;
        for (order, outcome) in std::mem::take(&mut self.node(index).waiting) {
            self.step(index, Event::Outcome { order, outcome });
        }
        self.step(index, Event::Tick);
    }

    pub fn mode(&mut self, mode: Mode) {
        self.redis.set_mode(self.now, mode);
    }

    // ---- time ---------------------------------------------------------------------------------

    pub fn run(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            for (client, order, outcome) in self.redis.run(self.now) {
                self.answer(client as usize, order, outcome);
            }
            for index in 0..self.nodes.len() {
                let is_due = self.deadline(index).is_some_and(|at| at <= self.now);
                if is_due {
                    self.step(index, Event::Tick);
                    let next = self.deadline(index);
                    assert!(
                        next.is_none_or(|at| at > self.now),
                        "node {index} requests the tick that it just had: {:?} {:?}",
                        self.status(index),
                        self.node(index).in_flight,
                    );
                }
            }
        }
        self.now = end;
    }

    fn deadline(&self, index: usize) -> Option<Now> {
        let node = self.nodes[index].as_ref().filter(|node| !node.is_asleep)?;
        node.cluster.next_deadline()
    }

    fn next_at(&self) -> Option<Now> {
        let nodes = (0..self.nodes.len()).filter_map(|index| self.deadline(index));
        nodes.chain(self.redis.next_at()).min()
    }

    fn answer(&mut self, index: usize, order: OrderId, outcome: Result<Outcome, Failure>) {
        let Some(Some(node)) = self.nodes.get_mut(index) else { return };
        if node.is_asleep {
            node.waiting.push((order, outcome));
        } else {
            self.step(index, Event::Outcome { order, outcome });
        }
    }

    pub fn step(&mut self, index: usize, event: Event) {
        let now = self.now;
        self.steps += 1;
        let steps = self.steps;
        let node = self.node(index);
        if let Event::Outcome { order, .. } = &event {
            node.in_flight.remove(order);
        }
        node.cluster.step(now, event, &mut node.effects);
        // A check costs time in proportion to the state: with many users it is made less often.
        let every = 1 + node.sessions.len() as u64 / 64;
        if steps.is_multiple_of(every)
            && let Err(fault) = node.cluster.check()
        {
            panic!("node {index}: {fault}");
        }
        node.run_shards();
        let orders = std::mem::take(&mut node.effects.orders);
        for (id, order) in orders {
            let node = self.node(index);
            node.in_flight.insert(id, order.name());
            node.in_flight_max = node.in_flight_max.max(node.in_flight.len());
            if order.is_sql() {
                let outcome = self.sql.run(&order);
                self.step(index, Event::Outcome { order: id, outcome });
            } else {
                let client = u32::try_from(index).expect("few");
                self.redis.give(now, client, id, order);
            }
        }
    }
}

impl Sql {
    fn run(&mut self, order: &Order) -> Result<Outcome, Failure> {
        if self.is_down {
            return Err(Failure::Broken { why: "sql" });
        }
        Ok(match order {
            Order::Tips => {
                Outcome::Tips(self.tips.iter().map(|(room, seq)| (*room, *seq)).collect())
            }
            Order::Card { user } => Outcome::Card(Some(card(user.0))),
            Order::RaiseMarks { process } => {
                self.marks_raised.insert(process.clone());
                Outcome::Done
            }
            other => panic!("{} is not for SQL", other.name()),
        })
    }

    pub fn has_raised_marks(&self, incarnation: &str) -> bool {
        self.marks_raised.contains(process_of(incarnation))
    }
}

impl Node {
    pub fn inputs_waiting(&self) -> usize {
        self.effects.for_shards()
    }

    /// The shards handle their inputs.
    fn run_shards(&mut self) {
        self.notes.append(&mut self.effects.notes);
        self.numbered.append(&mut self.effects.numbered);
        if self.is_deaf {
            return;
        }
        self.revoked += self.effects.revoked.drain(..).count();
        self.changed.extend(self.effects.changed.drain(..).map(|card| card.id));
        for input in self.effects.inputs.drain(..) {
            match input {
                ClusterInput::Messages { room, messages } => {
                    for message in messages {
                        let heard = self.heard.entry(room).or_default();
                        *heard = (*heard).max(message.seq);
                        self.messages.push((room, message));
                    }
                }
                ClusterInput::Tip { room, seq } => {
                    self.tips += 1;
                    let heard = self.heard.entry(room).or_default();
                    *heard = (*heard).max(seq);
                }
                ClusterInput::Present { room, node, joined, left } => {
                    let view = self.views.entry(node).or_default();
                    view.extend(joined.iter().map(|card| (room, card.id)));
                    for (user, _) in left {
                        view.remove(&(room, user));
                    }
                }
                ClusterInput::NodePresence { room, node, users } => {
                    let view = self.views.entry(node).or_default();
                    view.retain(|(of, _)| *of != room);
                    view.extend(users.iter().map(|card| (room, card.id)));
                }
                ClusterInput::NodeGone { node } => {
                    self.gone += 1;
                    self.views.remove(&node);
                }
                ClusterInput::Announce => self.announced += 1,
                ClusterInput::Chosen { room, choices } => {
                    self.choices.extend(choices.into_iter().map(|(user, it)| ((room, user), it)));
                }
                ClusterInput::Read { .. } | ClusterInput::Resync | ClusterInput::Emit(_) => {}
            }
        }
    }
}

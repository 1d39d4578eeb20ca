//! Several nodes: the state machine of each, the model Redis between them, and what fails there.

use std::collections::{BTreeMap, VecDeque};

use throng_chat::cluster::{ClusterInput, Signal, home_of};
use throng_chat::{Appended, NewMessage, Reply, RoomId, Seq, StoreDown};
use throng_cluster::model::{Mode, Server};
use throng_cluster::{Cluster, Effects, Event, Failure, Order, OrderId, Outcome, Seed, Settings};
use throng_engine::{Now, ShardId};

use crate::canary::Canary;
use crate::entropy::Draw;
use crate::world::{Desk, Node, World};

/// A lease this short lapses within a run.
const LEASE_MS: u64 = 4_000;
/// By then every node reads the logs.
const STARTED_MS: u64 = 2_000;
/// Wall clock at the start.
const UNIX_MS: u64 = 1_760_000_000_000;

/// What may go wrong between nodes, one switch each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers of Redis take up to half a second.
    RedisSlow,
    /// Connections are refused for a while.
    RedisGone,
    /// It comes back with nothing in it.
    RedisEmptied,
    /// It takes commands and does them much later.
    RedisPaused,
    /// It has no memory for writes.
    RedisFull,
    /// A node does nothing for longer than its lease, and goes on.
    NodeAsleep,
    /// A node is killed; a new process takes its place later.
    NodeKilled,
    /// One node does not reach Redis, and the others do.
    NodeCut,
}

impl Fault {
    pub const ALL: [Fault; 8] = [
        Fault::RedisSlow,
        Fault::RedisGone,
        Fault::RedisEmptied,
        Fault::RedisPaused,
        Fault::RedisFull,
        Fault::NodeAsleep,
        Fault::NodeKilled,
        Fault::NodeCut,
    ];
}

/// One process beside its shards.
pub struct Process {
    pub cluster: Cluster,
    /// As Redis knows it: no other process has had it.
    number: u32,
    effects: Effects,
    /// Killed, and not yet replaced.
    pub is_dead: bool,
    pub is_asleep: bool,
    /// Shards that wait for numbers, and for how many, in the order of asking.
    askers: BTreeMap<RoomId, VecDeque<(usize, u64)>>,
    /// What came while it slept.
    waiting: Vec<(OrderId, Result<Outcome, Failure>)>,
}

/// Everything between the nodes; there is none of it around a node alone.
pub struct Backplane {
    pub redis: Server,
    pub processes: Vec<Process>,
    is_ephemeral: bool,
    /// What the database has answered and is on its way, in the order of arrival.
    answers: VecDeque<(Now, u32, OrderId, Result<Outcome, Failure>)>,
    started: u64,
    /// For canaries that strike once in a while.
    strikes: u64,
    /// Redis has forgotten what it had.
    pub was_emptied: bool,
    pub was_killed: bool,
}

impl World {
    pub fn start_backplane(&mut self) {
        let nodes = usize::from(self.scenario.nodes);
        if nodes == 1 {
            return;
        }
        let mut backplane = Backplane {
            redis: Server::new(u64::from(self.scenario.redis_seed)),
            processes: Vec::new(),
            is_ephemeral: self.scenario.settings.ephemeral,
            answers: VecDeque::new(),
            started: 0,
            strikes: 0,
            was_emptied: false,
            was_killed: false,
        };
        for _ in 0..nodes {
            let process = backplane.start();
            backplane.processes.push(process);
        }
        self.backplane = Some(backplane);
        self.name_processes();
        for node in 0..nodes {
            self.tell_process(node, Event::Tick);
        }
        if self.scenario.settings.ephemeral {
            self.facts.is_unavailable_doubtful = true;
            // A node that comes to rooms that keep nothing does not know how far they are.
            self.advance(STARTED_MS);
        }
    }

    /// The store files under the name of the process who is reading.
    fn name_processes(&mut self) {
        let Some(backplane) = &self.backplane else { return };
        let shards = usize::from(self.scenario.shards);
        let names = backplane.processes.iter().map(|process| process.cluster.process().to_owned());
        self.store.processes = names.flat_map(|name| vec![name; shards]).collect();
    }

    pub fn node_of(&self, shard: usize) -> usize {
        shard / usize::from(self.scenario.shards)
    }

    pub fn shards_of(&self, node: usize) -> std::ops::Range<usize> {
        let shards = usize::from(self.scenario.shards);
        node * shards..(node + 1) * shards
    }

    /// Whether the node of the shard does anything now.
    pub fn is_awake(&self, shard: usize) -> bool {
        let Some(backplane) = &self.backplane else { return true };
        let process = &backplane.processes[self.node_of(shard)];
        !(process.is_dead || process.is_asleep)
    }

    /// The shard that a client reaches who wants this one.
    pub fn reachable(&self, shard: usize) -> usize {
        let Some(backplane) = &self.backplane else { return shard };
        let total = self.nodes.len();
        let step = usize::from(self.scenario.shards);
        let candidates = (0..backplane.processes.len()).map(|n| (shard + n * step) % total);
        let is_dead = |shard: &usize| backplane.processes[self.node_of(*shard)].is_dead;
        candidates.into_iter().find(|shard| !is_dead(shard)).unwrap_or(shard)
    }

    /// Tells processes apart.
    pub fn place_of(&self, shard: usize) -> u64 {
        let Some(backplane) = &self.backplane else { return 0 };
        u64::from(backplane.processes[self.node_of(shard)].number)
    }

    // ---- what passes ----------------------------------------------------------------------------

    pub fn signalled(&mut self, shard: usize, signals: Vec<Signal>) {
        let node = self.node_of(shard);
        for signal in signals {
            self.facts.trace.line(|| format!("  node {node} > {signal:?}"));
            if !self.is_spoiled_signal(&signal) {
                self.tell_process(node, Event::Signal(signal));
            }
        }
    }

    fn is_spoiled_signal(&mut self, signal: &Signal) -> bool {
        match (self.canary, signal) {
            (Some(Canary::KeepPresent), Signal::Present { .. }) => self.strikes(5),
            (Some(Canary::KeepConnection), Signal::Connection { state: None, .. }) => true,
            _ => false,
        }
    }

    fn is_spoiled_input(&mut self, input: &ClusterInput) -> bool {
        match (self.canary, input) {
            (Some(Canary::DropPresent), ClusterInput::Present { .. })
            | (
                Some(Canary::DropMessages),
                ClusterInput::Messages { .. } | ClusterInput::Tip { .. },
            ) => self.strikes(3),
            (Some(Canary::DropNodeGone), ClusterInput::NodeGone { .. }) => true,
            _ => false,
        }
    }

    fn strikes(&mut self, every: u64) -> bool {
        let Some(backplane) = &mut self.backplane else { return false };
        backplane.strikes += 1;
        backplane.strikes.is_multiple_of(every)
    }

    /// The process hears of something, and what it wants done is done.
    pub fn tell_process(&mut self, node: usize, event: Event) {
        self.tell_process_at(self.now, node, event);
    }

    fn tell_process_at(&mut self, now: Now, node: usize, event: Event) {
        let Some(backplane) = &mut self.backplane else { return };
        let process = &mut backplane.processes[node];
        if process.is_dead {
            return;
        }
        let number = process.number;
        process.cluster.step(now, event, &mut process.effects);
        let effects = std::mem::take(&mut process.effects);
        if cfg!(debug_assertions)
            && let Err(fault) = process.cluster.check()
        {
            self.facts.fail("invariant", format!("node {node}: {fault}"));
        }
        for (id, order) in effects.orders {
            if order.is_sql() {
                let outcome = self.ask_store(&order);
                if let Some(backplane) = &mut self.backplane {
                    backplane.answers.push_back((now.plus_ms(1), number, id, outcome));
                }
            } else if let Some(backplane) = &mut self.backplane {
                backplane.redis.give(now, number, id, order);
            }
        }
        for note in effects.notes {
            self.facts.trace.line(|| format!("  node {node}: {note:?}"));
        }
        for input in effects.inputs {
            self.facts.trace.line(|| format!("  node {node} < {input:?}"));
            if !self.is_spoiled_input(&input) {
                self.hand(node, &input);
            }
        }
        for (room, first) in effects.numbered {
            self.numbered(node, room, first);
        }
        let shards = self.shards_of(node);
        for token in effects.revoked {
            for shard in &mut self.nodes[shards.clone()] {
                shard.desk.push_back(Desk::Revoked(token));
            }
        }
        for card in effects.changed {
            for shard in &mut self.nodes[shards.clone()] {
                shard.desk.push_back(Desk::UserChanged(card.clone()));
            }
        }
    }

    /// Rooms that keep nothing are numbered by Redis.
    pub fn number(&mut self, shard: usize, room: RoomId, batch: Vec<NewMessage>) {
        let node = self.node_of(shard);
        let count = batch.len() as u64;
        let cards =
            batch.into_iter().map(|message| Some((self.store.card(message.user)?, message)));
        let batch: Option<Vec<_>> = cards.map(|one| one.map(|(card, row)| (row, card))).collect();
        match (batch, &mut self.backplane) {
            (Some(batch), Some(backplane)) if !self.store.is_down => {
                let askers = &mut backplane.processes[node].askers;
                askers.entry(room).or_default().push_back((shard, count));
                self.tell_process(node, Event::Publish { room, batch });
            }
            _ => self.nodes[shard]
                .replies
                .push_back(Reply::Appended { room, outcome: Err(StoreDown) }),
        }
    }

    fn numbered(&mut self, node: usize, room: RoomId, first: Option<Seq>) {
        let Some(backplane) = &mut self.backplane else { return };
        let askers = backplane.processes[node].askers.get_mut(&room);
        let Some((shard, count)) = askers.and_then(VecDeque::pop_front) else {
            return self.facts.fail("liveness", format!("nobody asked for numbers of {room:?}"));
        };
        let outcome = first.ok_or(StoreDown).map(|first_seq| {
            let ids = (first_seq.0..first_seq.0 + count).map(|seq| seq as i64).collect();
            Appended { first_seq, ids }
        });
        self.nodes[shard].replies.push_back(Reply::Appended { room, outcome });
    }

    /// Gives the input to the shards that must hear it.
    fn hand(&mut self, node: usize, input: &ClusterInput) {
        let shards = self.shards_of(node);
        let placement = Node::placement(node);
        let home = input.room().map(|room| home_of(placement, room, self.scenario.shards));
        for (index, shard) in self.nodes[shards].iter_mut().enumerate() {
            if home.is_none_or(|home| home == ShardId(index as u8)) {
                shard.cluster.push_back(input.clone());
            }
        }
    }

    fn ask_store(&mut self, order: &Order) -> Result<Outcome, Failure> {
        if self.store.is_down {
            return Err(Failure::Broken { why: "sql" });
        }
        Ok(match order {
            Order::Tips => {
                let infos = self.store.infos();
                Outcome::Tips(infos.into_iter().map(|info| (info.id, info.last_seq)).collect())
            }
            Order::Card { user } => Outcome::Card(self.store.card(*user)),
            Order::Settle { process } => {
                self.store.settle(process);
                Outcome::Done
            }
            other => unreachable!("{} is not for SQL", other.name()),
        })
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Lets Redis and the processes do what is due until `until`, but no longer than until a shard
    /// has something to hear. Returns how far it came.
    pub fn run_backplane(&mut self, until: Now) -> Now {
        let mut steps = 0;
        while let Some(at) = self.next_of_backplane().filter(|at| *at <= until) {
            let Some(backplane) = &mut self.backplane else { break };
            for (client, order, outcome) in backplane.redis.run(at) {
                self.answer(at, client, order, outcome);
            }
            self.take_answers(at);
            for node in 0..usize::from(self.scenario.nodes) {
                if self.tick_of(node).is_some_and(|due| due <= at) {
                    self.tell_process_at(at, node, Event::Tick);
                }
            }
            steps += 1;
            if steps > 200_000 {
                self.facts.fail("liveness", "the processes never come to rest".into());
                break;
            }
            if self.nodes.iter().any(Node::has_news) {
                return at.min(until);
            }
        }
        until
    }

    /// The same up to now, whatever shards have to hear.
    pub fn run_backplane_fully(&mut self) {
        while self.next_of_backplane().is_some_and(|at| at <= self.now) && !self.has_failed() {
            self.run_backplane(self.now);
        }
    }

    fn take_answers(&mut self, at: Now) {
        while let Some(backplane) = &mut self.backplane
            && backplane.answers.front().is_some_and(|(due, ..)| *due <= at)
            && let Some((_, client, order, outcome)) = backplane.answers.pop_front()
        {
            self.answer(at, client, order, outcome);
        }
    }

    fn tick_of(&self, node: usize) -> Option<Now> {
        let process = &self.backplane.as_ref()?.processes[node];
        let sleeps = process.is_dead || process.is_asleep;
        process.cluster.next_deadline().filter(|_| !sleeps)
    }

    fn next_of_backplane(&self) -> Option<Now> {
        let backplane = self.backplane.as_ref()?;
        let ticks = (0..backplane.processes.len()).filter_map(|node| self.tick_of(node));
        let answers = backplane.answers.front().map(|(due, ..)| *due);
        ticks.chain(backplane.redis.next_at()).chain(answers).min()
    }

    fn answer(&mut self, at: Now, client: u32, order: OrderId, outcome: Result<Outcome, Failure>) {
        let Some(backplane) = &mut self.backplane else { return };
        // What an earlier process asked is nothing to the present one.
        let place = backplane.processes.iter().position(|process| process.number == client);
        let Some(node) = place else { return };
        if backplane.processes[node].is_asleep {
            backplane.processes[node].waiting.push((order, outcome));
        } else {
            self.tell_process_at(at, node, Event::Outcome { order, outcome });
        }
    }

    // ---- faults ---------------------------------------------------------------------------------

    pub fn cluster_fails(&mut self, draw: &mut Draw<'_>) {
        let fault = draw.pick(&Fault::ALL);
        let node = draw.below(usize::from(self.scenario.nodes));
        let is_end = draw.chance(128);
        if !self.scenario.has_of_cluster(fault) {
            return;
        }
        self.facts.trace.line(|| format!("fault {fault:?} of node {node}, end {is_end}"));
        let now = self.now;
        let Some(backplane) = &mut self.backplane else { return };
        let redis = &mut backplane.redis;
        match fault {
            Fault::RedisSlow => redis.latency_ms = if is_end { (0, 2) } else { (0, 500) },
            Fault::RedisGone if is_end => redis.set_mode(now, Mode::Up),
            Fault::RedisGone => redis.set_mode(now, Mode::Down),
            Fault::RedisEmptied => {
                redis.set_mode(now, Mode::Down);
                redis.redis.clear();
                redis.set_mode(now, Mode::Up);
                backplane.was_emptied = true;
            }
            Fault::RedisPaused if is_end => redis.set_mode(now, Mode::Up),
            Fault::RedisPaused => redis.set_mode(now, Mode::Paused),
            Fault::RedisFull => redis.redis.is_full = !is_end,
            Fault::NodeCut if is_end => {
                redis.mend(backplane.processes[node].number);
            }
            Fault::NodeCut => redis.cut(backplane.processes[node].number),
            Fault::NodeAsleep if is_end => self.wake(node),
            Fault::NodeAsleep => backplane.processes[node].is_asleep = true,
            Fault::NodeKilled if is_end => self.replace(node),
            Fault::NodeKilled => self.kill(node),
        }
        self.facts.mark(fault.name());
    }

    /// Everything between the nodes works again.
    pub fn heal_backplane(&mut self) {
        let now = self.now;
        let nodes = usize::from(self.scenario.nodes);
        let Some(backplane) = &mut self.backplane else { return };
        backplane.redis.redis.is_full = false;
        backplane.redis.latency_ms = (0, 2);
        if backplane.redis.mode() != Mode::Up {
            backplane.redis.set_mode(now, Mode::Up);
        }
        for node in 0..nodes {
            if let Some(backplane) = &mut self.backplane {
                backplane.redis.mend(backplane.processes[node].number);
            }
            self.wake(node);
            self.replace(node);
        }
    }

    fn wake(&mut self, node: usize) {
        let Some(backplane) = &mut self.backplane else { return };
        let process = &mut backplane.processes[node];
        if !std::mem::take(&mut process.is_asleep) {
            return;
        }
        for (order, outcome) in std::mem::take(&mut process.waiting) {
            self.tell_process(node, Event::Outcome { order, outcome });
        }
        self.tell_process(node, Event::Tick);
    }

    /// `kill -9`: its clients lose their connections, what it asked of others may still happen.
    fn kill(&mut self, node: usize) {
        let shards = self.shards_of(node);
        let Some(backplane) = &mut self.backplane else { return };
        let others = backplane.processes.iter().enumerate();
        let is_last = !others.into_iter().any(|(other, p)| other != node && !p.is_dead);
        let process = &mut backplane.processes[node];
        if is_last || process.is_dead {
            return;
        }
        process.is_dead = true;
        process.is_asleep = false;
        backplane.was_killed = true;
        self.shaken.extend(self.store.forget(&shards));
        self.lanes.clear(shards.clone());
        for index in 0..self.sessions.len() {
            if shards.contains(&self.sessions[index].shard) {
                self.shaken.extend(self.sessions[index].shown.iter().copied());
                self.sessions[index].close();
            }
        }
        self.polls.retain(|_, (session, _)| !shards.contains(&self.sessions[*session].shard));
        for shard in shards {
            self.replace_shard(shard);
        }
    }

    /// A new process takes the dead one's place.
    fn replace(&mut self, node: usize) {
        let Some(backplane) = &mut self.backplane else { return };
        if !backplane.processes[node].is_dead {
            return;
        }
        let process = backplane.start();
        backplane.processes[node] = process;
        self.name_processes();
        for shard in self.shards_of(node) {
            self.replace_shard(shard);
        }
        self.tell_process(node, Event::Tick);
    }
}

impl Backplane {
    fn start(&mut self) -> Process {
        self.started += 1;
        let mut random = [7; 16];
        random[..8].copy_from_slice(&self.started.to_le_bytes());
        let settings = Settings {
            log_streams: 2,
            // What keeps nothing must not be trimmed under those who sleep.
            log_maxlen: if self.is_ephemeral { 100_000 } else { 40 },
            ephemeral: self.is_ephemeral,
            lease_ms: LEASE_MS,
            outage_poll_ms: 200,
            ..Settings::default()
        };
        Process {
            number: self.started as u32,
            cluster: Cluster::new(settings, Seed { random, started_unix_ms: UNIX_MS }),
            effects: Effects::default(),
            is_dead: false,
            is_asleep: false,
            askers: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::RedisSlow => "redis_slow",
            Fault::RedisGone => "redis_gone",
            Fault::RedisEmptied => "redis_emptied",
            Fault::RedisPaused => "redis_paused",
            Fault::RedisFull => "redis_full",
            Fault::NodeAsleep => "node_asleep",
            Fault::NodeKilled => "node_killed",
            Fault::NodeCut => "node_cut",
        }
    }
}

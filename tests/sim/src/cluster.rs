//! What several nodes do: signals and inputs, numbers, time, and faults between them.

use std::collections::VecDeque;

use throng_chat::cluster::{ClusterInput, Signal};
use throng_chat::store::Repeat;
use throng_chat::{AppendFault, Appended, NewMessage, Reply, RoomId, Seq};
use throng_cluster::model::{Mode, Server};
use throng_cluster::{Event, Failure, NumberFault, Numbers, Order, OrderId, Outcome, PublishId};
use throng_engine::{Keyed, Now, ShardId, home_of};

use crate::backplane::{Asker, Backplane};
use crate::canary::Canary;
use crate::entropy::Draw;
use crate::scenario::ClusterFault;
use crate::world::{HttpInput, Node, World};

/// By then every node reads the logs.
const STARTED_MS: u64 = 2_000;

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
            self.step_process(node, Event::Tick);
        }
        if self.scenario.settings.ephemeral {
            self.facts.is_unavailable_doubtful = true;
            // A node that joins does not know the last numbers of rooms that store nothing.
            self.advance(STARTED_MS);
        }
    }

    /// The store files users that are reading under the name of the process.
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

    /// The shard that a client reaches when it wants this one.
    pub fn reachable(&self, shard: usize) -> usize {
        let Some(backplane) = &self.backplane else { return shard };
        let total = self.nodes.len();
        let step = usize::from(self.scenario.shards);
        let candidates = (0..backplane.processes.len()).map(|n| (shard + n * step) % total);
        let is_dead = |shard: &usize| backplane.processes[self.node_of(*shard)].is_dead;
        candidates.into_iter().find(|shard| !is_dead(shard)).unwrap_or(shard)
    }

    /// Distinguishes processes.
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
                self.step_process(node, Event::Signal(signal));
            }
        }
    }

    fn is_spoiled_signal(&mut self, signal: &Signal) -> bool {
        match (self.canary, signal) {
            (Some(Canary::KeepPresent), Signal::Present { .. }) => self.strikes(5),
            (Some(Canary::KeepConnection), Signal::Session { state: None, .. }) => true,
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

    /// Steps a process, and carries out its effects.
    pub fn step_process(&mut self, node: usize, event: Event) {
        self.step_process_at(self.now, node, event);
    }

    fn step_process_at(&mut self, now: Now, node: usize, event: Event) {
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
                self.deliver_input(node, &input);
            }
        }
        for (id, numbers) in effects.numbered {
            self.numbered(node, id, numbers);
        }
        let shards = self.shards_of(node);
        for token in effects.revoked {
            for shard in &mut self.nodes[shards.clone()] {
                shard.http_inputs.push_back(HttpInput::Revoked(token));
            }
        }
        for card in effects.changed {
            for shard in &mut self.nodes[shards.clone()] {
                shard.http_inputs.push_back(HttpInput::UserChanged(card.clone()));
            }
        }
    }

    /// Rooms that keep nothing are numbered by Redis.
    pub fn number(&mut self, shard: usize, room: RoomId, batch: Vec<NewMessage>) {
        let node = self.node_of(shard);
        let count = batch.len() as u64;
        let users = &self.store.data;
        let signed = |row: NewMessage| {
            let author = users.user(row.user).clone();
            (row, author)
        };
        let batch = batch.into_iter().map(signed).collect();
        match &mut self.backplane {
            Some(backplane) if !self.store.data.is_down => {
                let process = &mut backplane.processes[node];
                process.publishes += 1;
                let id = PublishId(process.publishes);
                process.askers.insert(id, Asker { shard, room, count });
                self.step_process(node, Event::Publish { id, room, batch });
            }
            _ => self.nodes[shard]
                .replies
                .push_back(Reply::Appended { room, outcome: Err(AppendFault::StoreDown) }),
        }
    }

    fn numbered(&mut self, node: usize, id: PublishId, numbers: Result<Numbers, NumberFault>) {
        let Some(backplane) = &mut self.backplane else { return };
        let Some(asker) = backplane.processes[node].askers.remove(&id) else {
            return self.facts.fail("liveness", format!("no shard waits for numbers of {id:?}"));
        };
        let Asker { shard, room, count } = asker;
        let outcome = match numbers {
            Ok(Numbers { first, repeats }) => {
                let new = count - repeats.len() as u64;
                let id = |seq| throng_cluster::message_id(room, seq).expect("it was counted to");
                let repeat = |(index, seq)| Repeat { index, seq, id: id(seq), first: None };
                Ok(Appended {
                    first_seq: first,
                    ids: (first.0..first.0 + new).map(|seq| id(Seq(seq))).collect(),
                    repeats: repeats.into_iter().map(repeat).collect(),
                })
            }
            Err(NumberFault::Refused) => Err(AppendFault::StoreDown),
            Err(NumberFault::Unknown) => Err(AppendFault::Unknown),
        };
        self.nodes[shard].replies.push_back(Reply::Appended { room, outcome });
    }

    /// Gives the input to the shards that it concerns.
    fn deliver_input(&mut self, node: usize, input: &ClusterInput) {
        let shards = self.shards_of(node);
        let keyed = Keyed::new(Node::placement(node));
        let home = input.room().map(|room| home_of(&keyed, room, self.scenario.shards));
        for (index, shard) in self.nodes[shards].iter_mut().enumerate() {
            if home.is_none_or(|home| home == ShardId(index as u8)) {
                shard.cluster.push_back(input.clone());
            }
        }
    }

    fn ask_store(&mut self, order: &Order) -> Result<Outcome, Failure> {
        if self.store.data.is_down {
            return Err(Failure::Broken { why: "sql" });
        }
        Ok(match order {
            Order::Tips => {
                let infos = self.store.data.infos();
                Outcome::Tips(infos.into_iter().map(|info| (info.id, info.last_seq)).collect())
            }
            Order::Card { user } => {
                Outcome::Card(self.store.data.users.get(user.0 as usize - 1).cloned())
            }
            Order::RaiseMarks { process } => {
                self.store.raise_marks(process);
                Outcome::Done
            }
            other => unreachable!("{} is not for SQL", other.name()),
        })
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Runs Redis and the processes up to `until`, or until a shard has an input. Returns the time
    /// reached.
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
                    self.step_process_at(at, node, Event::Tick);
                }
            }
            steps += 1;
            if steps > 200_000 {
                self.facts.fail("liveness", "the processes never come to rest".into());
                break;
            }
            if self.nodes.iter().any(Node::has_outside_input) {
                return at.min(until);
            }
        }
        until
    }

    /// The same up to now, whatever inputs shards have.
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
        // An answer to an earlier process is dropped.
        let place = backplane.processes.iter().position(|process| process.number == client);
        let Some(node) = place else { return };
        if backplane.processes[node].is_asleep {
            backplane.processes[node].waiting.push((order, outcome));
        } else {
            self.step_process_at(at, node, Event::Outcome { order, outcome });
        }
    }

    // ---- faults ---------------------------------------------------------------------------------

    pub fn cluster_fails(&mut self, draw: &mut Draw<'_>) {
        let fault = draw.pick(&ClusterFault::ALL);
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
            ClusterFault::RedisSlow => redis.latency_ms = if is_end { (0, 2) } else { (0, 500) },
            ClusterFault::RedisGone if is_end => redis.set_mode(now, Mode::Up),
            ClusterFault::RedisGone => redis.set_mode(now, Mode::Down),
            ClusterFault::RedisEmptied => {
                redis.set_mode(now, Mode::Down);
                redis.redis.clear();
                redis.set_mode(now, Mode::Up);
                backplane.was_emptied = true;
            }
            ClusterFault::RedisPaused if is_end => redis.set_mode(now, Mode::Up),
            ClusterFault::RedisPaused => redis.set_mode(now, Mode::Paused),
            ClusterFault::RedisFull => redis.redis.is_full = !is_end,
            ClusterFault::NodeCut if is_end => {
                redis.mend(backplane.processes[node].number);
            }
            ClusterFault::NodeCut => redis.cut(backplane.processes[node].number),
            ClusterFault::NodeAsleep if is_end => self.wake(node),
            ClusterFault::NodeAsleep => backplane.processes[node].is_asleep = true,
            ClusterFault::NodeKilled if is_end => self.replace(node),
            ClusterFault::NodeKilled => self.kill(node),
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
            self.step_process(node, Event::Outcome { order, outcome });
        }
        self.step_process(node, Event::Tick);
    }

    /// `kill -9`: its clients lose their connections; its orders may still be carried out.
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
        self.users_in_doubt.extend(self.store.forget(&shards));
        self.lanes.clear(shards.clone());
        for index in 0..self.sessions.len() {
            if shards.contains(&self.sessions[index].shard) {
                self.users_in_doubt.extend(self.sessions[index].shown.iter().copied());
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
        self.step_process(node, Event::Tick);
    }
}

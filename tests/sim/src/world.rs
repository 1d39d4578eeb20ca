//! N real shards on one thread, with the mesh, the store, the network and the clock as models.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use throng_chat::cluster::ClusterInput;
use throng_chat::{Command, Effects, Input, LogLine, Reply, RoomInfo, Shard, TokenHash};
use throng_chat::{Notice, Start, UserCard};
use throng_codec::engine::Protocol;
use throng_engine::{
    Accept, Body, Eio, EngineRequest, Now, PipeEnd, PipeId, Place, PollId, Seed, ShardId, Transport,
};
use throng_world::send;

use crate::backplane::Backplane;
use crate::canary::Canary;
use crate::entropy::Draw;
use crate::facts::Facts;
use crate::lanes::Lanes;
use crate::scenario::{Fault, Profile, Scenario};
use crate::session::Session;
use crate::store::Store;
use crate::trace::Trace;

/// Bytes that the socket of a client that does not read still takes.
const SOCKET_BYTES: usize = 2048;

pub struct Node {
    pub shard: Shard,
    /// WebSocket handshakes that the shard has not taken.
    pub handshakes: VecDeque<(PipeId, EngineRequest)>,
    pub http_inputs: VecDeque<HttpInput>,
    pub replies: VecDeque<Reply>,
    /// Inputs from other nodes.
    pub cluster: VecDeque<ClusterInput>,
    /// Pipes that wait to be offered to their sockets.
    pub dirty: VecDeque<PipeId>,
    pub pipes: Vec<Pipe>,
    /// Steps without a turn.
    pub stalled: u32,
    /// Commands without an answer.
    pub unanswered: u32,
}

/// Inputs of the HTTP thread, and of the REST API on it.
pub enum HttpInput {
    Http(PollId, EngineRequest, Vec<u8>),
    HttpGone(PollId),
    Revoked(TokenHash),
    UserChanged(std::sync::Arc<UserCard>),
    Stop,
}

#[derive(Default)]
pub struct Pipe {
    pub generation: u32,
    /// Not free for another connection.
    pub is_taken: bool,
    /// The shard was given its handshake, and not yet its end.
    pub is_open: bool,
    pub session: Option<usize>,
    pub is_probe: bool,
    /// Bytes on their way to the server.
    pub up: VecDeque<u8>,
    /// Bytes in the socket that the client has not read.
    pub down: Vec<u8>,
    /// The client's side is over.
    pub end: Option<PipeEnd>,
    /// The server's side is over.
    pub is_shut: bool,
    pub is_writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollKind {
    Handshake,
    Get,
    Post,
    /// Sent to break the rules; the answer is not checked.
    Invalid,
}

pub struct Tab {
    pub profile: Profile,
    pub session: Option<usize>,
    pub token: String,
}

pub struct World {
    pub scenario: Scenario,
    pub nodes: Vec<Node>,
    pub lanes: Lanes,
    pub store: Store,
    pub sessions: Vec<Session>,
    pub tabs: Vec<Tab>,
    pub facts: Facts,
    pub now: Now,
    pub polls: BTreeMap<PollId, (usize, PollKind)>,
    pub gone: BTreeSet<PollId>,
    next_poll: u64,
    pub canary: Option<Canary>,
    flushes: u64,
    last_answer: Option<throng_engine::Answer>,
    /// Tokens that are no longer valid.
    pub revoked: BTreeSet<String>,
    pub turns: u64,
    pub backplane: Option<Backplane>,
    /// Users of a node that was killed: their read marks may be lost (UNR-14).
    pub users_in_doubt: BTreeSet<u32>,
}

impl World {
    pub fn new(scenario: Scenario, trace: Trace, canary: Option<Canary>) -> World {
        let mut store =
            Store::new(scenario.users, scenario.rooms, scenario.rooms_to_create, canary);
        let rooms = store.data.infos();
        let all = usize::from(scenario.nodes) * usize::from(scenario.shards);
        let nodes = (0..all).map(|index| Node::new(&scenario, index, &rooms)).collect();
        let tabs = scenario
            .tabs
            .iter()
            .map(|profile| Tab {
                profile: *profile,
                session: None,
                token: store.issue(profile.user),
            })
            .collect();
        let (groups, group) = (usize::from(scenario.nodes), usize::from(scenario.shards));
        let mut world = World {
            nodes,
            lanes: Lanes::new(groups, group, scenario.lane_max, canary),
            store,
            sessions: Vec::new(),
            tabs,
            facts: Facts { trace, ..Facts::default() },
            now: Now(1_000_000_000),
            polls: BTreeMap::new(),
            gone: BTreeSet::new(),
            next_poll: 0,
            canary,
            flushes: 0,
            last_answer: None,
            revoked: BTreeSet::new(),
            turns: 0,
            backplane: None,
            users_in_doubt: BTreeSet::new(),
            scenario,
        };
        world.start_backplane();
        world
    }

    /// The shard of a new process.
    pub fn replace_shard(&mut self, index: usize) {
        let rooms = self.store.data.infos();
        self.nodes[index] = Node::new(&self.scenario, index, &rooms);
    }

    pub fn has_failed(&self) -> bool {
        self.facts.violation.is_some()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.nodes.iter().map(|node| throng_world::counter(&node.shard, name)).sum()
    }

    // ---- the network --------------------------------------------------------------------------

    /// A new connection to a shard; returns the index of its pipe.
    pub fn open_pipe(&mut self, shard: usize, session: usize, request: EngineRequest) -> usize {
        let node = &mut self.nodes[shard];
        let slot = node.pipes.iter().position(|pipe| !pipe.is_taken).unwrap_or_else(|| {
            node.pipes.push(Pipe::default());
            node.pipes.len() - 1
        });
        let generation = node.pipes[slot].generation + 1;
        let is_probe = request.sid.is_some();
        node.pipes[slot] = Pipe {
            generation,
            session: Some(session),
            is_probe,
            is_taken: true,
            ..Pipe::default()
        };
        node.handshakes.push_back((PipeId { slot: slot as u32, generation }, request));
        slot
    }

    pub fn request(&self, session: usize, transport: Transport) -> EngineRequest {
        let session = &self.sessions[session];
        let eio = if session.protocol == Protocol::Eio3 { Eio::V3 } else { Eio::V4 };
        let sid = session.sid.as_deref().map(Into::into);
        EngineRequest { sid, ..throng_world::request(transport, eio) }
    }

    pub fn http(
        &mut self,
        session: usize,
        kind: PollKind,
        request: EngineRequest,
        body: Vec<u8>,
    ) -> PollId {
        self.next_poll += 1;
        let poll = PollId(self.next_poll);
        self.polls.insert(poll, (session, kind));
        let shard = self.sessions[session].shard;
        self.nodes[shard].http_inputs.push_back(HttpInput::Http(poll, request, body));
        poll
    }

    // ---- one turn of a shard ------------------------------------------------------------------

    /// True if anything moved.
    pub fn turn(&mut self, index: usize, mut draw: Option<&mut Draw<'_>>) -> bool {
        if self.canary == Some(Canary::ForgetDeadlines) && !self.has_input(index) {
            return false;
        }
        if !self.is_awake(index) {
            return false;
        }
        self.turns += 1;
        let commands = self.scenario.commands_max.saturating_sub(self.nodes[index].unanswered);
        let slots = self.lanes.free_slots(index, commands, self.scenario.signals_max);
        let mut effects = Effects::default();
        let mut is_moving = false;
        let splits = self.scenario.has(Fault::SplitBytes);
        let lags = self.scenario.has(Fault::ShardStall);
        let shards = usize::from(self.scenario.shards);
        let first = index - index % shards;
        let node = &mut self.nodes[index];
        let is_due = node.shard.next_deadline().is_some_and(|at| at <= self.now);
        let unix_ms = (self.now.0 / 1_000_000).cast_signed();
        node.shard.begin(self.now, unix_ms, &slots);

        for slot in 0..node.pipes.len() {
            let pipe = &mut node.pipes[slot];
            let id = PipeId { slot: slot as u32, generation: pipe.generation };
            if std::mem::take(&mut pipe.is_writable) {
                node.shard.outbox().writable(id);
            }
            let is_over = match pipe.end {
                Some(PipeEnd::Failed) => true,
                Some(PipeEnd::Eof) => pipe.up.is_empty(),
                None => false,
            };
            if pipe.is_open && is_over {
                is_moving = true;
                pipe.is_open = false;
                pipe.is_taken = false;
                pipe.session = None;
                let end = pipe.end.unwrap_or(PipeEnd::Eof);
                node.shard.step(Input::PipeClosed { pipe: id, end }, &mut effects);
            }
        }
        while let Some(reply) = node.replies.pop_front() {
            is_moving = true;
            node.unanswered -= 1;
            node.shard.step(Input::Reply(reply), &mut effects);
        }
        for from in 0..shards {
            let mut left = match &mut draw {
                Some(draw) if lags => match draw.byte() {
                    0..=175 => usize::MAX,
                    more => usize::from(more - 176) / 10,
                },
                _ => usize::MAX,
            };
            while left > 0
                && let Some(delivery) = self.lanes.pop_delivery(first + from, index)
            {
                left -= 1;
                is_moving = true;
                let from = ShardId(from as u8);
                node.shard.step(Input::Delivery { from, delivery }, &mut effects);
            }
        }
        for from in 0..shards {
            while node.shard.takes_requests()
                && let Some(request) = self.lanes.pop_request(first + from, index)
            {
                is_moving = true;
                let from = ShardId(from as u8);
                node.shard.step(Input::Request { from, request }, &mut effects);
            }
        }
        while node.shard.takes_requests()
            && let Some(input) = node.cluster.pop_front()
        {
            is_moving = true;
            node.shard.step(Input::Notice(Notice::Cluster(input)), &mut effects);
        }
        while let Some((pipe, request)) = node.handshakes.pop_front() {
            is_moving = true;
            node.pipes[pipe.slot as usize].is_open = true;
            let accept = Accept::Write { key: "key".into(), protocol: None };
            node.shard.step(Input::Upgrade { pipe, accept, request }, &mut effects);
        }
        for slot in 0..node.pipes.len() {
            let pipe = &mut node.pipes[slot];
            if !pipe.is_open || pipe.up.is_empty() {
                continue;
            }
            is_moving = true;
            let count = match &mut draw {
                Some(draw) if splits => (1 + draw.below(64)).min(pipe.up.len()),
                _ => pipe.up.len(),
            };
            let mut bytes: Vec<u8> = pipe.up.drain(..count).collect();
            let id = PipeId { slot: slot as u32, generation: pipe.generation };
            node.shard.step(Input::Bytes { pipe: id, bytes: &mut bytes }, &mut effects);
        }
        while let Some(input) = node.http_inputs.pop_front() {
            is_moving = true;
            let input = match input {
                HttpInput::Http(poll, request, body) => {
                    Input::Http { poll, request, body: Body::Whole(body) }
                }
                HttpInput::HttpGone(poll) => Input::HttpGone { poll },
                HttpInput::Revoked(token) => Input::Notice(Notice::Revoked(token)),
                HttpInput::UserChanged(card) => Input::Notice(Notice::UserChanged(card)),
                HttpInput::Stop => Input::Stop,
            };
            node.shard.step(input, &mut effects);
        }
        node.shard.settle(&mut effects);
        // A turn in which nothing came and nothing was due has changed nothing.
        let has_changed = is_moving || is_due;
        if has_changed && catch_unwind(AssertUnwindSafe(|| node.shard.check())).is_err() {
            let text = crate::run::take_panic();
            self.facts.fail("invariant", text);
        }
        is_moving |= self.apply(index, effects);
        // A turn may end before it has come to all pipes that have something to send.
        let most = match &mut draw {
            Some(draw) if splits => draw.below(24).checked_sub(12).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        is_moving | self.flush(index, most)
    }

    fn is_numbered_by_redis(&self) -> bool {
        self.scenario.settings.ephemeral && self.backplane.is_some()
    }

    fn has_input(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        let pipes = node.pipes.iter();
        self.lanes.waits_for(index)
            || !(node.cluster.is_empty() && node.dirty.is_empty())
            || !(node.handshakes.is_empty()
                && node.http_inputs.is_empty()
                && node.replies.is_empty())
            || pipes.into_iter().any(|p| p.is_open && (!p.up.is_empty() || p.end.is_some()))
    }

    fn apply(&mut self, index: usize, effects: Effects) -> bool {
        let is_moving = !(effects.requests.is_empty()
            && effects.deliveries.is_empty()
            && effects.commands.is_empty()
            && effects.answers.is_empty()
            && effects.signals.is_empty()
            && effects.closes.is_empty());
        let first = index - index % usize::from(self.scenario.shards);
        if effects.signals.len() > self.scenario.signals_max as usize {
            self.facts.fail("bounds", format!("shard {index} signals more than fits"));
        }
        self.signalled(index, effects.signals);
        for line in &effects.logs {
            if let LogLine::Ended { session, reason, .. } = line {
                self.lanes.ended.insert(*session);
                self.facts.mark(reason);
            }
        }
        for (to, request) in effects.requests {
            let number = self.lanes.held() as u64;
            self.facts.trace.number(number);
            self.facts.trace.line(|| format!("  lane {index}>{} {request:?}", to.0));
            if let Err(text) = self.lanes.push_request(index, first + usize::from(to.0), request) {
                self.facts.fail("bounds", text);
            }
        }
        for (to, delivery) in effects.deliveries {
            let number = self.lanes.held() as u64;
            self.facts.trace.number(number);
            self.facts.trace.line(|| format!("  lane {index}>{} {}", to.0, brief(&delivery)));
            if let Err(text) = self.lanes.push_delivery(index, first + usize::from(to.0), delivery)
            {
                self.facts.fail("bounds", text);
            }
        }
        for command in effects.commands {
            self.facts.trace.line(|| format!("  store {index}> {command:?}"));
            if let Command::Append { batch, .. } = &command {
                self.facts.trace.number(batch.len() as u64);
            }
            self.nodes[index].unanswered += 1;
            if self.nodes[index].unanswered > self.scenario.commands_max {
                self.facts.fail("bounds", format!("shard {index} has too many commands out"));
            }
            match command {
                Command::Append { room, batch, .. } if self.is_numbered_by_redis() => {
                    self.number(index, room, batch);
                }
                command => self.store.take(index, command),
            }
        }
        for (poll, answer) in effects.answers {
            let answer = match self.canary {
                Some(Canary::StaleAnswer) if answer.status == 200 && poll.0.is_multiple_of(5) => {
                    self.last_answer.clone().unwrap_or(answer)
                }
                _ => answer,
            };
            self.last_answer = Some(answer.clone());
            self.answered(poll, &answer);
        }
        for pipe in effects.closes {
            let entry = &mut self.nodes[index].pipes[pipe.slot as usize];
            if entry.generation == pipe.generation && entry.is_open {
                entry.end = Some(PipeEnd::Failed);
                entry.is_shut = true;
                let session = entry.session;
                let is_probe = entry.is_probe;
                self.server_closed(session, is_probe, index, pipe.slot as usize);
            }
        }
        is_moving
    }

    fn flush(&mut self, index: usize, most: usize) -> bool {
        let node = &mut self.nodes[index];
        node.shard.outbox().take_dirty(&mut node.dirty);
        let count = most.min(node.dirty.len());
        let offered: Vec<PipeId> = node.dirty.drain(..count).collect();
        let mut is_moving = !node.dirty.is_empty();
        for pipe in offered {
            is_moving |= self.flush_pipe(index, pipe);
        }
        is_moving
    }

    fn flush_pipe(&mut self, index: usize, pipe: PipeId) -> bool {
        let slot = pipe.slot as usize;
        let node = &mut self.nodes[index];
        let entry = &mut node.pipes[slot];
        let mut bytes = Vec::new();
        if !entry.is_open || entry.generation != pipe.generation {
            send(node.shard.outbox(), pipe, usize::MAX, &mut bytes);
            if !bytes.is_empty() {
                let text = format!("{} bytes for a closed pipe of shard {index}", bytes.len());
                self.facts.fail("closed-session", text);
            }
            return false;
        }
        let is_not_receiving = entry
            .session
            .is_some_and(|s| self.sessions[s].is_not_receiving || self.sessions[s].is_half_open);
        let space = if is_not_receiving {
            SOCKET_BYTES.saturating_sub(entry.down.len())
        } else {
            usize::MAX
        };
        entry.is_shut |= send(node.shard.outbox(), pipe, space, &mut bytes);
        let is_moving = !bytes.is_empty();
        self.flushes += u64::from(is_moving);
        let is_lost = self.canary == Some(Canary::DropBytes) && self.flushes.is_multiple_of(40);
        if !is_lost {
            entry.down.append(&mut bytes);
        }
        if !is_not_receiving {
            self.read_pipe(index, slot);
        }
        is_moving
    }

    /// Turns until nothing moves at this moment.
    pub fn quiesce(&mut self) {
        for _ in 0..3_000 {
            if self.has_failed() {
                return;
            }
            let mut is_moving = false;
            self.autopilot();
            for index in 0..self.nodes.len() {
                is_moving |= self.turn(index, None);
                self.autopilot();
            }
            let replies = self.store.serve_all();
            is_moving |= !replies.is_empty();
            self.reply(replies);
            self.run_backplane(self.now);
            let awake = (0..self.nodes.len()).filter(|index| self.is_awake(*index));
            is_moving |= awake.into_iter().any(|index| self.nodes[index].has_outside_input());
            if !is_moving {
                return;
            }
        }
        self.facts.fail("liveness", "the shards never become idle".into());
    }

    pub fn reply(&mut self, replies: Vec<(usize, Reply)>) {
        for (shard, reply) in replies {
            self.nodes[shard].replies.push_back(reply);
        }
    }

    /// The next deadline of a shard or a client.
    pub fn next_due(&self) -> Option<Now> {
        let awake = (0..self.nodes.len()).filter(|index| self.is_awake(*index));
        let shards = awake.filter_map(|index| self.nodes[index].shard.next_deadline());
        let pings = self.sessions.iter().filter(|s| s.is_live() && !s.holds_pongs);
        shards.chain(pings.map(|s| Now(s.ping_at))).filter(|at| at.0 != u64::MAX).min()
    }

    /// Lets time pass with everything at work, stopping at every deadline on the way.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        let mut stops = 0;
        while !self.has_failed() {
            self.quiesce();
            let due = self.next_due().filter(|at| *at < end);
            let until = due.unwrap_or(end);
            let reached = self.run_backplane(until);
            if reached < until {
                // A shard has an input before that.
                self.now = self.now.max(reached);
                continue;
            }
            let Some(at) = due else { break };
            self.now = at.max(self.now.plus_ns(100_000));
            stops += 1;
            if stops > 20_000 {
                self.facts.fail("liveness", format!("deadlines never end, at {at:?}"));
            }
        }
        self.now = self.now.max(end);
        self.quiesce();
    }
}

impl Node {
    fn new(scenario: &Scenario, index: usize, rooms: &[RoomInfo]) -> Node {
        let shards = usize::from(scenario.shards);
        let shard = ShardId((index % shards) as u8);
        let start = Start::new(scenario.settings.clone(), rooms.into());
        let placement = Node::placement(index / shards);
        let seed = Seed { placement, random: [index as u8; 32] };
        let place = Place { shard, shards: scenario.shards, seed };
        Node {
            shard: throng_chat::shard(&start, &place),
            handshakes: VecDeque::new(),
            http_inputs: VecDeque::new(),
            replies: VecDeque::new(),
            cluster: VecDeque::new(),
            dirty: VecDeque::new(),
            pipes: Vec::new(),
            stalled: 0,
            unanswered: 0,
        }
    }

    /// An input from outside of the shards waits.
    pub fn has_outside_input(&self) -> bool {
        !(self.cluster.is_empty() && self.http_inputs.is_empty() && self.replies.is_empty())
    }

    /// Each process draws its own.
    pub fn placement(node: usize) -> [u8; 16] {
        [7 + node as u8; 16]
    }
}

/// A delivery in few words: frames are long.
fn brief(delivery: &throng_chat::lane::Delivery) -> String {
    use throng_chat::lane::Delivery;
    match delivery {
        Delivery::FanOut { room, messages } => {
            let seqs: Vec<u64> = messages.seqs().map(|seq| seq.0).collect();
            format!("FanOut {room:?} {seqs:?}")
        }
        Delivery::Roster { room, presence_mode, .. } => {
            format!("Roster {room:?} {presence_mode:?}")
        }
        Delivery::MemberRoster { room, sessions, .. } => {
            format!("MemberRoster {room:?} {sessions:?}")
        }
        other => format!("{other:?}"),
    }
}

//! Shards, their clients and their clock.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use throng_engine::{
    Accept, Answer, App, Body, CounterTable as _, Effects, EngineRequest, Input, Now, PipeEnd,
    PipeId, Place, PollId, Seed, Settings, Shard, ShardId,
};

use crate::client::{Client, Message, Reader, Received, send, text};
use crate::lanes::Lanes;

/// A body that is on its way, and its length if the client has announced it.
pub struct Arriving(pub Option<u64>);

/// Keys the homes of rooms.
pub const PLACEMENT: [u8; 16] = [7; 16];
/// After that time a shard looks again at lanes that had no free slot.
const FULL_LANE_RETRY_NS: u64 = 250_000;

/// Carries out the commands of the shards.
pub trait Store<A: App> {
    /// Whether commands wait.
    fn is_paused(&self) -> bool {
        false
    }

    fn serve(&mut self, command: A::Command) -> A::Reply;
}

/// The store of an application that has no commands.
impl<A: App<Command = Infallible>> Store<A> for () {
    fn serve(&mut self, command: Infallible) -> A::Reply {
        match command {}
    }
}

/// N shards of an application, and everything around them.
pub struct World<A: App, S> {
    pub now: Now,
    unix_ms_at_zero: i64,
    pub store: S,
    /// Commands that the store has not carried out, by shard.
    pub commands: VecDeque<(usize, A::Command)>,
    /// Free slots for commands in each turn.
    pub commands_max: u32,
    /// Free slots for signals in each turn.
    pub signals_max: u32,
    /// The invariants of the application hold after each step, and not only after a turn.
    pub checks_steps: bool,
    /// Asserts all invariants after each turn, in debug builds: costs a look at everything.
    pub checks_turns: bool,
    /// Lines of the log are kept for [`World::take_logs`].
    pub keeps_logs: bool,
    /// Turns taken by all shards together.
    pub turns: u64,
    /// Effects of all shards together.
    pub effects: u64,
    signals: Vec<A::Signal>,
    logs: Vec<A::Log>,
    nodes: Vec<Node<A>>,
    lanes: Lanes<A>,
    answers: BTreeMap<PollId, Answer>,
    polls: u64,
}

struct Node<A: App> {
    shard: Shard<A>,
    /// What other threads may read.
    view: A::View,
    replies: VecDeque<A::Reply>,
    /// New connections.
    upgrades: VecDeque<(PipeId, EngineRequest)>,
    pipes: Vec<Pipe>,
    /// What the HTTP thread and others report.
    inbox: VecDeque<Report<A>>,
    /// The last turn left requests, whose fan-out might not fit.
    is_stalled: bool,
    /// The last turn left a deadline due: what it is for waits for free slots.
    is_overdue: bool,
}

struct Pipe {
    id: PipeId,
    /// Bytes that the shard has not read.
    up: Vec<u8>,
    /// The client's side is over; the shard has not read that yet.
    end: Option<PipeEnd>,
    /// The shard knows of the end, and does not mention the pipe again.
    is_over: bool,
    /// Bytes that the client has not read.
    down: Reader,
    /// Bytes that the client's socket took.
    taken: u64,
    is_writable: bool,
    /// Bytes that the client's socket takes until the client reads on.
    space: usize,
    /// The server's side is over.
    is_shut: bool,
    /// The shard does not want its bytes now.
    is_paused: bool,
}

impl<A: App, S: Store<A>> World<A, S> {
    /// Shards of one process. Their lanes hold `lane_max` items each.
    pub fn start(
        shards: u8,
        lane_max: u32,
        settings: &Settings,
        app: &A::Settings,
        store: S,
    ) -> World<A, S> {
        let node = |index| {
            let seed = Seed { placement: PLACEMENT, random: [index; 32] };
            let place = Place { shard: ShardId(index), shards, seed };
            Node {
                shard: Shard::new(settings, app, &place),
                view: A::View::default(),
                replies: VecDeque::new(),
                upgrades: VecDeque::new(),
                pipes: Vec::new(),
                inbox: VecDeque::new(),
                is_stalled: false,
                is_overdue: false,
            }
        };
        World {
            now: Now(1_000_000_000),
            unix_ms_at_zero: 0,
            store,
            commands: VecDeque::new(),
            commands_max: lane_max,
            signals_max: 0,
            checks_steps: false,
            checks_turns: true,
            keeps_logs: false,
            turns: 0,
            effects: 0,
            signals: Vec::new(),
            logs: Vec::new(),
            nodes: (0..shards).map(node).collect(),
            lanes: Lanes::new(usize::from(shards), lane_max as usize),
            answers: BTreeMap::new(),
            polls: 0,
        }
    }

    // ---- clients ------------------------------------------------------------------------------

    /// Opens a WebSocket, and lets everything settle.
    pub fn upgrade(&mut self, shard: usize, request: EngineRequest) -> Client {
        let node = &mut self.nodes[shard];
        let pipe = PipeId { slot: node.pipes.len() as u32, generation: 1 };
        node.pipes.push(Pipe {
            id: pipe,
            up: Vec::new(),
            end: None,
            is_over: false,
            down: Reader::default(),
            taken: 0,
            is_writable: false,
            space: usize::MAX,
            is_shut: false,
            is_paused: false,
        });
        node.upgrades.push_back((pipe, request));
        self.run();
        Client { shard, pipe }
    }

    /// Sends one text message, and lets everything settle.
    pub fn send(&mut self, client: Client, message: &str) {
        self.send_quietly(client, message);
        self.run();
    }

    /// Sends one text message.
    pub fn send_quietly(&mut self, client: Client, message: &str) {
        self.send_bytes(client, &text(message));
    }

    pub fn send_bytes(&mut self, client: Client, bytes: &[u8]) {
        self.pipe_mut(client).up.extend_from_slice(bytes);
    }

    /// Ends the client's side, and lets everything settle.
    pub fn close(&mut self, client: Client, end: PipeEnd) {
        self.close_quietly(client, end);
        self.run();
    }

    pub fn close_quietly(&mut self, client: Client, end: PipeEnd) {
        self.pipe_mut(client).end = Some(end);
    }

    /// The client stops (or resumes) reading.
    pub fn stop_reading(&mut self, client: Client, is_full: bool) {
        self.read(client, if is_full { 0 } else { usize::MAX });
    }

    /// The client reads so many more bytes, and lets everything settle.
    pub fn read(&mut self, client: Client, bytes: usize) {
        let pipe = self.pipe_mut(client);
        pipe.is_writable = bytes > 0;
        pipe.space = bytes;
        self.run();
    }

    /// The messages received since the last call. A close frame reads as `close:CODE`, a refused
    /// handshake as its HTTP answer.
    pub fn take(&mut self, client: Client) -> Vec<String> {
        let received = std::iter::from_fn(|| self.receive(client));
        let text = |received| match received {
            Received::Refused(answer) => answer,
            Received::Message(Message::Text(text)) => text,
            Received::Message(Message::Close(Some(close))) => format!("close:{}", close.code),
            Received::Message(other) => panic!("unexpected {other:?}"),
        };
        received.map(text).collect()
    }

    /// The next of what was received.
    pub fn receive(&mut self, client: Client) -> Option<Received> {
        self.pipe_mut(client).down.receive().expect("the server keeps to RFC 6455")
    }

    /// Bytes that the client's socket took, ever.
    pub fn taken(&self, client: Client) -> u64 {
        self.pipe(client).taken
    }

    /// Bytes of the client that its shard has not read.
    pub fn unread(&self, client: Client) -> usize {
        self.pipe(client).up.len()
    }

    pub fn is_shut(&self, client: Client) -> bool {
        self.pipe(client).is_shut
    }

    /// Sends an HTTP request with this body, or with one that is on its way, and lets everything
    /// settle.
    pub fn http(
        &mut self,
        shard: usize,
        request: EngineRequest,
        body: Result<&str, Arriving>,
    ) -> PollId {
        self.polls += 1;
        let poll = PollId(self.polls);
        let body = match body {
            Ok(text) => Body::Whole(text.as_bytes().to_vec()),
            Err(Arriving(announced)) => Body::Arriving { announced },
        };
        self.report(shard, Input::Http { poll, request, body });
        poll
    }

    /// Sends a piece of a body that is on its way.
    pub fn http_body(&mut self, shard: usize, poll: PollId, bytes: &[u8], is_last: bool) {
        let bytes = bytes.to_vec();
        self.nodes[shard].inbox.push_back(Report::Body { poll, bytes, is_last });
        self.run();
    }

    /// The client closes the connection of an unanswered request.
    pub fn http_gone(&mut self, shard: usize, poll: PollId) {
        self.report(shard, Input::HttpGone { poll });
    }

    /// The answer to an HTTP request, if there is one yet.
    pub fn answer(&mut self, poll: PollId) -> Option<(u16, String)> {
        let answer = self.answers.remove(&poll)?;
        Some((answer.status, String::from_utf8_lossy(&answer.whole()).into_owned()))
    }

    // ---- other threads ------------------------------------------------------------------------

    /// Another thread reports something to a shard; everything settles.
    pub fn report(&mut self, shard: usize, input: Input<'static, A>) {
        self.nodes[shard].inbox.push_back(Report::Input(input));
        self.run();
    }

    /// The same to those of all shards that it is for.
    pub fn report_to(
        &mut self,
        is_for: impl Fn(ShardId) -> bool,
        input: impl Fn() -> Input<'static, A>,
    ) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if is_for(ShardId(index as u8)) {
                node.inbox.push_back(Report::Input(input()));
            }
        }
        self.run();
    }

    /// The server stops.
    pub fn stop(&mut self) {
        self.report_to(|_| true, || Input::Stop);
    }

    /// What was signalled since the last call.
    pub fn take_signals(&mut self) -> Vec<A::Signal> {
        std::mem::take(&mut self.signals)
    }

    /// What was logged since the last call, if it is kept.
    pub fn take_logs(&mut self) -> Vec<A::Log> {
        std::mem::take(&mut self.logs)
    }

    /// The machine's wall clock is set, to what it shows at time zero.
    pub fn set_wall_clock(&mut self, unix_ms_at_zero: i64) {
        self.unix_ms_at_zero = unix_ms_at_zero;
    }

    // ---- what shards know ---------------------------------------------------------------------

    pub fn shards(&self) -> impl Iterator<Item = &Shard<A>> {
        self.nodes.iter().map(|node| &node.shard)
    }

    /// Whether the client's pipe is read before those of others.
    pub fn is_preferred(&self, client: Client) -> bool {
        self.nodes[client.shard].shard.is_preferred(client.pipe)
    }

    /// The shard alone, to go on without a world around it.
    pub fn into_shard(mut self, index: usize) -> Shard<A> {
        self.nodes.swap_remove(index).shard
    }

    /// Whether no item waits in a lane.
    pub fn is_drained(&self) -> bool {
        self.lanes.is_empty()
    }

    /// What other threads may read of each shard.
    pub fn views(&self) -> impl Iterator<Item = &A::View> {
        self.nodes.iter().map(|node| &node.view)
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.shards().map(|shard| counter(shard, name)).sum()
    }

    pub fn next_deadline(&self) -> Option<Now> {
        self.shards().filter_map(Shard::next_deadline).min()
    }

    // ---- time and turns -----------------------------------------------------------------------

    /// Lets time pass, stopping at every deadline on the way.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            self.run();
            // A deadline that is still due after its turn waits for a free slot in a lane.
            let later = self.now.plus_ns(FULL_LANE_RETRY_NS);
            let due = self.next_deadline().map(|at| if at <= self.now { later } else { at });
            match due.filter(|at| *at < end) {
                Some(at) => self.now = at,
                None => break,
            }
        }
        self.now = end;
        self.run();
    }

    /// Lets everything settle at this moment. Shards take the turns that the runtime would give
    /// them: for an input, for a deadline, and again while they wait for free slots of lanes.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            let mut is_moving = false;
            for index in 0..self.nodes.len() {
                if self.is_ready(index) {
                    is_moving = true;
                    self.turn(index);
                }
            }
            is_moving |= self.serve_store();
            if !is_moving {
                for index in 0..self.nodes.len() {
                    is_moving |= self.is_retrying(index) && self.turn(index);
                }
            }
            if !is_moving {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// Whether the runtime would give the shard a turn now.
    fn is_ready(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.has_input()
            || self.lanes.has_deliveries(index)
            || (self.lanes.has_requests(index) && !node.is_stalled)
            || (node.is_due(self.now) && !node.is_overdue)
    }

    /// Whether the runtime would give the shard a turn a little later, however the lanes stand then.
    fn is_retrying(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.is_stalled || node.is_overdue || self.lanes.is_nearly_full(index)
    }

    /// One turn of one shard, in the order of the runtime's. True if it took or gave anything.
    pub fn turn(&mut self, index: usize) -> bool {
        let slots = self.lanes.free_slots(index, self.commands_max, self.signals_max);
        let Node { shard, replies, upgrades, pipes, inbox, .. } = &mut self.nodes[index];
        let mut effects = Effects::default();
        let mut steps = 0;
        self.turns += 1;
        let mut step = |shard: &mut Shard<A>, input: Input<'_, A>| {
            steps += 1;
            shard.step(input, &mut effects);
            if self.checks_steps {
                shard.check();
            }
        };
        let unix_ms = self.unix_ms_at_zero + (self.now.0 / 1_000_000).cast_signed();
        shard.begin(self.now, unix_ms, &slots);
        for pipe in pipes.iter_mut().filter(|pipe| pipe.is_writable) {
            shard.outbox().writable(pipe.id);
            pipe.is_writable = false;
        }
        for reply in replies.drain(..) {
            step(shard, Input::Reply(reply));
        }
        while let Some(delivery) = self.lanes.next_delivery(index) {
            step(shard, delivery);
        }
        while shard.takes_requests()
            && let Some(request) = self.lanes.next_request(index)
        {
            step(shard, request);
        }
        for (pipe, request) in upgrades.drain(..) {
            let accept = Accept::Write { key: "key".into(), protocol: None };
            step(shard, Input::Upgrade { pipe, accept, request });
        }
        for pipe in pipes.iter_mut().filter(|pipe| pipe.has_input()) {
            pipe.is_paused = !pipe.up.is_empty() && !shard.reads(pipe.id);
            let up = if pipe.is_paused { Vec::new() } else { std::mem::take(&mut pipe.up) };
            let bytes = &mut { up }[..];
            if !bytes.is_empty() {
                step(shard, Input::Bytes { pipe: pipe.id, bytes });
            }
            if let Some(end) = pipe.end.take() {
                pipe.is_over = true;
                step(shard, Input::PipeClosed { pipe: pipe.id, end });
            }
        }
        for report in inbox.drain(..) {
            match report {
                Report::Input(input) => step(shard, input),
                Report::Body { poll, bytes, is_last } => {
                    step(shard, Input::Body { poll, bytes: &bytes, is_last });
                }
            }
        }
        shard.settle(&mut effects);
        if cfg!(debug_assertions) && self.checks_turns {
            shard.check();
        }
        let mut is_moving = steps > 0;
        is_moving |= self.apply(index, effects);
        is_moving |= self.flush(index);
        let node = &mut self.nodes[index];
        node.is_stalled = self.lanes.has_requests(index);
        node.is_overdue = node.is_due(self.now);
        is_moving
    }

    fn apply(&mut self, index: usize, mut effects: Effects<A>) -> bool {
        self.effects += count(&effects);
        let mut is_moving = self.lanes.push(index, &mut effects);
        is_moving |= !(effects.answers.is_empty()
            && effects.commands.is_empty()
            && effects.signals.is_empty()
            && effects.closes.is_empty());
        self.nodes[index].view.extend(effects.changes);
        self.answers.extend(effects.answers);
        self.commands.extend(effects.commands.into_iter().map(|command| (index, command)));
        assert!(effects.signals.len() <= self.signals_max as usize, "more signals than fit");
        self.signals.extend(effects.signals);
        if self.keeps_logs {
            self.logs.extend(effects.logs);
        }
        for pipe in effects.resumes {
            self.nodes[index].pipes[pipe.slot as usize].is_paused = false;
        }
        for pipe in effects.closes {
            let pipe = &mut self.nodes[index].pipes[pipe.slot as usize];
            pipe.is_shut = true;
            if !pipe.is_over {
                pipe.end = Some(PipeEnd::Failed);
            }
        }
        is_moving
    }

    fn flush(&mut self, index: usize) -> bool {
        let node = &mut self.nodes[index];
        let mut dirty = Vec::new();
        node.shard.outbox().take_dirty(&mut dirty);
        for id in &dirty {
            let pipe = &mut node.pipes[id.slot as usize];
            let mut bytes = Vec::new();
            pipe.is_shut |= send(node.shard.outbox(), *id, pipe.space, &mut bytes);
            if pipe.space < usize::MAX {
                pipe.space -= bytes.len();
            }
            pipe.taken += bytes.len() as u64;
            pipe.down.push(&bytes);
        }
        !dirty.is_empty()
    }

    /// A store that is paused carries out one command all the same.
    pub fn serve_one(&mut self) {
        let (index, command) = self.commands.pop_front().expect("a command waits");
        self.nodes[index].replies.push_back(self.store.serve(command));
        self.run();
    }

    fn serve_store(&mut self) -> bool {
        if self.store.is_paused() || self.commands.is_empty() {
            return false;
        }
        for (index, command) in self.commands.drain(..) {
            self.nodes[index].replies.push_back(self.store.serve(command));
        }
        true
    }

    fn pipe(&self, client: Client) -> &Pipe {
        &self.nodes[client.shard].pipes[client.pipe.slot as usize]
    }

    fn pipe_mut(&mut self, client: Client) -> &mut Pipe {
        &mut self.nodes[client.shard].pipes[client.pipe.slot as usize]
    }
}

fn count<A: App>(effects: &Effects<A>) -> u64 {
    let lanes = effects.requests.len() + effects.deliveries.len();
    let threads = effects.commands.len() + effects.signals.len() + effects.changes.len();
    let sockets = effects.answers.len() + effects.closes.len() + effects.resumes.len();
    (lanes + threads + sockets + effects.logs.len()) as u64
}

/// The value of the counter, of the engine or the application.
/// What waits for a shard.
enum Report<A: App> {
    Input(Input<'static, A>),
    /// A piece of a body.
    Body {
        poll: PollId,
        bytes: Vec<u8>,
        is_last: bool,
    },
}

pub fn counter<A: App>(shard: &Shard<A>, name: &str) -> u64 {
    let (engine, app) = (&shard.engine().counters, shard.app().counters());
    engine.value(name).or_else(|| app.value(name)).expect("a counter of this name")
}

impl<A: App> Node<A> {
    fn has_input(&self) -> bool {
        !(self.replies.is_empty() && self.upgrades.is_empty() && self.inbox.is_empty())
            || self.pipes.iter().any(Pipe::has_input)
    }

    fn is_due(&self, now: Now) -> bool {
        self.shard.next_deadline().is_some_and(|at| at <= now)
    }
}

impl Pipe {
    fn has_input(&self) -> bool {
        let has_bytes = !self.is_paused && !self.up.is_empty();
        !self.is_over && (has_bytes || self.end.is_some() || self.is_writable)
    }
}

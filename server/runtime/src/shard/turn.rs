//! The loop of a shard: one turn after the other, and the wait between them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use throng_engine::{
    Answer, App, Effects, LaneSlots, Now, PipeEnd, PipeId, PollId, Shard, ShardId,
};
use throng_mesh::{LaneEnds, Receiver};
use tokio::sync::oneshot;

use super::alarm::Alarm;
use super::connections::Connections;
use super::readiness::{Group, Readiness, Source};
use super::{Plan, ShardConfig};
use crate::clock::unix_ms;
use crate::link::ShardChannels;
use crate::rare_warning::RareWarning;
use crate::stats::{RuntimeCounters, ShardStats};

/// The runtime's part of [`throng_engine::LANE_RETRY_MS`]: next look at lanes without the free slots
/// that pending deliveries or a request's fan-out need. A peer that empties them does not ring.
const FULL_LANE_RETRY_NS: u64 = 250_000;

pub(super) struct Worker<A: App> {
    pub(super) id: ShardId,
    pub(super) config: ShardConfig,
    pub(super) now: Now,

    pub(super) shard: Shard<A>,
    pub(super) effects: Effects<A>,
    pub(super) slots: LaneSlots,

    pub(super) connections: Connections,
    /// Connections whose request has probably come, and which are not watched yet.
    pub(super) new_heads: VecDeque<PipeId>,
    /// Pipes to read, of sessions whose users are known. Those that a turn leaves are first in the next one.
    pub(super) identified: VecDeque<PipeId>,
    /// Other pipes to read.
    pub(super) anonymous: VecDeque<PipeId>,
    /// Pipes that are to be closed, in their order: the kernel takes its time for each that was not read.
    pub(super) to_close: VecDeque<PipeId>,
    /// Pipes closed since the last turn; the engine learns of them in the next one.
    pub(super) ended_pipes: Vec<(PipeId, PipeEnd)>,
    /// Pipes that have bytes to send, in the order of their sends.
    pub(super) dirty: VecDeque<PipeId>,
    /// Those for which many large frames wait.
    pub(super) dirty_long: VecDeque<PipeId>,
    /// Those whose users are not known.
    pub(super) dirty_anonymous: VecDeque<PipeId>,
    /// Pipes that have bytes since the last flush; between two of them only its memory.
    pub(super) newly_dirty: Vec<PipeId>,
    /// Pipes whose sending side is shut, and when to close them.
    pub(super) closing: VecDeque<(Now, PipeId)>,
    pub(super) flush_at: Option<Now>,
    pub(super) buffer: Box<[u8]>,
    /// Bytes read in this turn.
    pub(super) read_bytes: usize,

    pub(super) listener: Option<TcpListener>,
    pub(super) is_accept_ready: bool,
    pub(super) accept_paused_until: Option<Now>,
    pub(super) accept_warning: RareWarning,

    pub(super) lane_ends: LaneEnds<A::Request, A::Delivery>,
    pub(super) next_peer: usize,
    /// Requests wait: their fan-out might not fit the delivery lanes.
    pub(super) is_stalled: bool,
    pub(super) channels: ShardChannels<A>,
    pub(super) polls: HashMap<PollId, oneshot::Sender<Answer>>,
    pub(super) commands_unanswered: usize,

    pub(super) readiness: Readiness,
    alarm: Alarm,

    pub(super) counters: RuntimeCounters,
    stats: Arc<ShardStats>,
    pub(super) view: Arc<Mutex<A::View>>,
    pub(super) is_stopping: bool,
    pub(super) is_ending: bool,
}

impl<A: App> Worker<A> {
    /// Runs until [`crate::link::ToShard::Exit`].
    pub(super) async fn run(plan: Plan<A>, shard: Shard<A>) -> io::Result<()> {
        let mut worker = Worker::new(plan, shard)?;
        while !worker.is_ending {
            worker.turn();
            worker.park().await;
        }
        Ok(())
    }

    fn new(plan: Plan<A>, shard: Shard<A>) -> io::Result<Worker<A>> {
        let readiness = Readiness::new(plan.config.tuning.pipes_per_turn as usize)?;
        let alarm = Alarm::new()?;
        readiness.add(&*plan.lane_ends.bell, Source::Bell)?;
        readiness.add(&alarm, Source::Alarm)?;
        let mut worker = Worker {
            id: plan.id,
            now: plan.config.clock.now(),
            shard,
            effects: Effects::default(),
            slots: LaneSlots::default(),
            connections: Connections::default(),
            new_heads: VecDeque::new(),
            identified: VecDeque::new(),
            anonymous: VecDeque::new(),
            to_close: VecDeque::new(),
            ended_pipes: Vec::new(),
            dirty: VecDeque::new(),
            dirty_long: VecDeque::new(),
            dirty_anonymous: VecDeque::new(),
            newly_dirty: Vec::new(),
            closing: VecDeque::new(),
            flush_at: None,
            buffer: vec![0; plan.config.tuning.read_bytes_max].into(),
            read_bytes: 0,
            listener: Some(plan.listener),
            is_accept_ready: false,
            accept_paused_until: None,
            accept_warning: RareWarning::default(),
            lane_ends: plan.lane_ends,
            next_peer: 0,
            is_stalled: false,
            channels: plan.channels,
            polls: HashMap::new(),
            commands_unanswered: 0,
            readiness,
            alarm,
            counters: RuntimeCounters::default(),
            stats: plan.stats,
            view: plan.view,
            is_stopping: false,
            is_ending: false,
            config: plan.config,
        };
        worker.watch_listener()?;
        Ok(worker)
    }

    fn turn(&mut self) {
        self.now = self.config.clock.now();
        self.measure_lanes();
        self.shard.begin(self.now, unix_ms().cast_signed(), &self.slots);

        self.end_overdue_closing();
        self.report_gone();
        self.sort_ready();
        self.take_replies();
        self.take_deliveries();
        self.take_requests();
        self.drop_overdue_heads();
        self.accept(self.now);
        // Bytes before the inbox: a client may send its upgrade packet on the WebSocket and the next
        // request over HTTP, and the request must find the session upgraded.
        self.read_ready();
        self.take_inbox();
        self.shard.settle(&mut self.effects);

        self.apply();
        self.close_some();
        self.flush();
        self.publish();
    }

    fn sort_ready(&mut self) {
        // What was found before is read first: the kernel would report it again in the same order, and
        // always the same pipes would be left.
        if !self.identified.is_empty() || !self.readiness.look() {
            return;
        }
        let (mut broken, mut regrouped) = (Vec::new(), Vec::new());
        for ready in self.readiness.take(self.anonymous.is_empty()) {
            match ready.source {
                Source::Listener => self.is_accept_ready = true,
                Source::Bell => self.lane_ends.bell.clear(),
                Source::Alarm => self.alarm.clear(),
                Source::Anonymous => {} // What is ready in it was found too.
                Source::Pipe(pipe) => {
                    if ready.is_writable {
                        self.shard.outbox().writable(pipe);
                    }
                    if ready.is_broken {
                        broken.push(pipe);
                    }
                    let is_preferred = self.shard.is_preferred(pipe);
                    if is_preferred != (ready.group == Group::Identified) {
                        regrouped.push(pipe);
                    }
                    if ready.is_readable && is_preferred {
                        self.identified.push_back(pipe);
                    } else if ready.is_readable {
                        self.anonymous.push_back(pipe);
                    }
                }
            }
        }
        for pipe in regrouped {
            self.regroup(pipe);
        }
        for pipe in broken {
            self.note_broken(pipe);
        }
    }

    fn publish(&mut self) {
        let depth = |lens: &mut dyn Iterator<Item = usize>| lens.sum::<usize>() as u64;
        self.counters.turns += 1;
        self.counters.pipes = u64::from(self.connections.pipe_count());
        self.counters.heads = u64::from(self.connections.head_count());
        self.counters.lane_depth_request =
            depth(&mut self.lane_ends.requests_in.iter().map(Receiver::len));
        self.counters.lane_depth_delivery =
            depth(&mut self.lane_ends.deliveries_in.iter().map(Receiver::len));
        self.counters.lane_depth_store = self.commands_unanswered as u64;
        let is_quiet = self.is_stopping
            && self.connections.pipe_count() == 0
            && self.polls.is_empty()
            && self.ended_pipes.is_empty()
            && self.commands_unanswered == 0
            && self.lane_ends.is_idle();
        let (engine, app) = (&self.shard.engine().counters, self.shard.app().counters());
        self.stats.publish(engine, app, &self.counters, is_quiet);
    }

    /// Sleeps until something is ready or due, unless there is work left.
    async fn park(&mut self) {
        let can_accept = self.is_accept_ready && self.accept_paused_until.is_none();
        let has_work = !self.new_heads.is_empty()
            || !self.identified.is_empty()
            || !self.anonymous.is_empty()
            || (self.has_dirty() && self.flush_at.is_none())
            || !self.ended_pipes.is_empty()
            || !self.to_close.is_empty()
            || self.is_ending
            || (can_accept && self.listener.is_some());
        // A busy shard does not park, so its peers make no system call to wake it.
        if has_work || self.readiness.look() {
            return;
        }
        if let Some(deadline) = self.next_deadline() {
            // A deadline that is still due after the turn waits for a free slot in a lane.
            let is_blocked = deadline <= self.now;
            let deadline = if is_blocked { self.now.plus_ns(FULL_LANE_RETRY_NS) } else { deadline };
            self.alarm.set(&self.config.clock, deadline);
        }
        let is_asleep = self.lane_ends.bell.park(|| {
            let is_idle = self.lane_ends.deliveries_in.iter().all(Receiver::is_empty)
                && (self.is_stalled || self.lane_ends.requests_in.iter().all(Receiver::is_empty));
            is_idle && self.channels.inbox.is_empty() && self.channels.replies.is_empty()
        });
        if is_asleep {
            self.readiness.sleep().await;
            self.lane_ends.bell.wake();
        }
    }

    fn next_deadline(&self) -> Option<Now> {
        let is_lane_nearly_full = self.is_stalled
            || self
                .lane_ends
                .requests_out
                .iter()
                .any(|lane| lane.free_slots() < lane.capacity() / 4)
            || self
                .lane_ends
                .deliveries_out
                .iter()
                .any(|lane| lane.free_slots() < lane.capacity() / 4);
        [
            self.shard.next_deadline(),
            self.connections.next_deadline(),
            self.flush_at,
            self.closing.front().map(|(due, _)| *due),
            self.accept_paused_until,
            is_lane_nearly_full.then(|| self.now.plus_ns(FULL_LANE_RETRY_NS)),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

//! The loop of the backplane: passes events to the state machine and carries out its effects.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use throng_chat::RoomId;
use throng_chat::Seq;
use throng_chat::cluster::{ClusterInput, Emit, Signal};
use throng_cluster::{Cluster, Effects, Event, Failure, Note, OrderId, Outcome};
use throng_redis::egress::Egress;
use throng_redis::orders::{Database, Executor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::inputs::Inputs;
use super::stats::RedisStats;
use super::{News, notes};
use throng_chat::Notice;
use throng_runtime::clock::Clock;
use throng_runtime::link::ToShard;

/// Signals, or events of other programs, taken at a time.
const ROUND_MAX: usize = 256;
/// Inputs in the queue for shards. At this many, no signals and events are taken.
const INPUTS_MAX: usize = 4096;
/// How old the published stats may be.
const SHOW_EVERY: Duration = Duration::from_millis(50);

pub(super) struct Actor<D> {
    cluster: Cluster,
    effects: Effects,
    executor: Arc<Executor<D>>,
    inputs: Inputs,
    egress: Option<Egress>,
    /// Publishers that wait for numbers, per room in the order of their requests.
    numbering: HashMap<RoomId, VecDeque<oneshot::Sender<Option<Seq>>>>,
    stats: Arc<RedisStats>,
    clock: Clock,
    is_stopping: bool,
}

impl<D: Database> Actor<D> {
    pub fn new(
        cluster: Cluster,
        executor: Executor<D>,
        inputs: Inputs,
        egress: Option<Egress>,
        stats: Arc<RedisStats>,
        clock: Clock,
    ) -> Actor<D> {
        Actor {
            cluster,
            effects: Effects::default(),
            executor: Arc::new(executor),
            inputs,
            egress,
            numbering: HashMap::new(),
            stats,
            clock,
            is_stopping: false,
        }
    }

    /// Runs until the machine has finished after [`News::Stop`].
    pub async fn run(
        mut self,
        mut signals: Vec<mpsc::Receiver<Signal>>,
        mut news: mpsc::Receiver<News>,
        mut emits: mpsc::Receiver<Arc<Emit>>,
    ) {
        let mut orders = JoinSet::new();
        let mut some_signals = Vec::new();
        let mut show_at = Instant::now();
        self.step(Event::Tick);
        loop {
            while self.apply(&mut orders) {}
            let now = Instant::now();
            if now >= show_at {
                self.stats.show(self.cluster.status());
                show_at = now + SHOW_EVERY;
            }
            if self.cluster.is_stopped() {
                return;
            }
            let deadline = self.cluster.next_deadline().map(|at| self.clock.instant(at).into());
            let wake_at = deadline.map_or(show_at, |at: Instant| at.min(show_at));
            let has_room = self.inputs.len() < INPUTS_MAX;
            tokio::select! {
                Some(done) = orders.join_next(), if !orders.is_empty() => {
                    let (order, outcome) = done.expect("orders do not panic and are not aborted");
                    self.step(Event::Outcome { order, outcome });
                }
                () = some(&mut signals, &mut some_signals), if has_room => {
                    for signal in some_signals.drain(..) {
                        self.signal(signal);
                    }
                }
                Some(item) = news.recv() => self.news(item),
                Some(emit) = emits.recv(), if has_room => {
                    self.inputs.push(ClusterInput::Emit(emit));
                    for _ in 1..ROUND_MAX {
                        let Ok(emit) = emits.try_recv() else { break };
                        self.inputs.push(ClusterInput::Emit(emit));
                    }
                }
                () = self.inputs.until_free_slot(), if !self.inputs.is_empty() => {}
                () = sleep_until(wake_at) => {
                    if deadline.is_some_and(|at| at <= Instant::now()) {
                        self.step(Event::Tick);
                    }
                }
            }
        }
    }

    fn step(&mut self, event: Event) {
        self.cluster.step(self.clock.now(), event, &mut self.effects);
    }

    fn signal(&mut self, signal: Signal) {
        if let (Signal::Committed { room, messages }, Some(egress)) = (&signal, &self.egress) {
            egress.publish(*room, messages);
        }
        self.step(Event::Signal(signal));
    }

    fn news(&mut self, news: News) {
        let event = match news {
            News::UserChanged(card) => Event::UserChanged(card),
            News::Revoked(token) => Event::Revoked(token),
            News::Publish { room, batch, first } => {
                self.numbering.entry(room).or_default().push_back(first);
                Event::Publish { room, batch }
            }
            News::Stop => {
                self.is_stopping = true;
                Event::Stop
            }
        };
        self.step(event);
    }

    /// Applies the effects, and starts the orders. True if inputs were taken, so that the machine was
    /// stepped and may have more effects.
    fn apply(&mut self, orders: &mut JoinSet<(OrderId, Result<Outcome, Failure>)>) -> bool {
        for (id, order) in self.effects.orders.drain(..) {
            let executor = Arc::clone(&self.executor);
            orders.spawn(async move { (id, executor.execute(order).await) });
        }
        for note in self.effects.notes.drain(..) {
            // A node that stops loses Redis by design; that is not logged.
            if !(self.is_stopping && matches!(note, Note::Down { .. })) {
                notes::write(note);
            }
        }
        for (room, first) in self.effects.numbered.drain(..) {
            let Some(waiting) = self.numbering.get_mut(&room) else { continue };
            if let Some(asker) = waiting.pop_front() {
                // The publisher may have stopped waiting.
                let _ = asker.send(first);
            }
            if waiting.is_empty() {
                self.numbering.remove(&room);
            }
        }
        for token in self.effects.revoked.drain(..) {
            self.inputs.push_all(|| ToShard::Notice(Notice::Revoked(token)));
        }
        for card in self.effects.changed.drain(..) {
            self.inputs.push_all(|| ToShard::Notice(Notice::UserChanged(Arc::clone(&card))));
        }
        // The machine stops reading when inputs pile up here, so the rest stays in its effects.
        let free = INPUTS_MAX.saturating_sub(self.inputs.len());
        let taken = self.effects.inputs.len().min(free);
        for input in self.effects.inputs.drain(..taken) {
            self.inputs.push(input);
        }
        self.inputs.hand_on();
        if taken > 0 {
            self.step(Event::Tick);
        }
        taken > 0
    }
}

/// Waits for signals of any shard and takes some of each. Never completes when all shards have ended.
async fn some(signals: &mut [mpsc::Receiver<Signal>], taken: &mut Vec<Signal>) {
    std::future::poll_fn(|cx| {
        for lane in signals.iter_mut() {
            // A closed channel is ready without an item.
            let _ = lane.poll_recv_many(cx, taken, ROUND_MAX);
        }
        if taken.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

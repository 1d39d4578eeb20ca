//! The loop: events go into the cluster's state machine, and its effects are carried out.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use throng_chat::Notice;
use throng_chat::cluster::{ClusterInput, Emit, Signal};
use throng_cluster::{
    Cluster, Effects, Event, Failure, Note, NumberFault, Numbers, OrderId, Outcome, PublishId,
};
use throng_redis::egress::Egress;
use throng_redis::orders::{Database, Executor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::inputs::Inputs;
use super::stats::RedisStats;
use super::{NodeChange, log};
use throng_runtime::clock::Clock;
use throng_runtime::link::ToShard;

/// Signals and events taken at once.
const TAKEN_MAX: usize = 256;
/// Inputs that wait for shards; above it no signals and events are taken.
const INPUTS_MAX: usize = 4096;
/// Between two publications of the stats.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

pub(super) struct Actor<D> {
    cluster: Cluster,
    effects: Effects,
    executor: Arc<Executor<D>>,
    inputs: Inputs,
    egress: Option<Egress>,
    /// Where the numbers of publishes go.
    numbering: HashMap<PublishId, oneshot::Sender<Result<Numbers, NumberFault>>>,
    last_publish: PublishId,
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
            last_publish: PublishId(0),
            stats,
            clock,
            is_stopping: false,
        }
    }

    /// Runs until the state machine has stopped, after [`NodeChange::Stop`].
    pub async fn run(
        mut self,
        mut signals: Vec<mpsc::Receiver<Signal>>,
        mut changes: mpsc::Receiver<NodeChange>,
        mut emits: mpsc::Receiver<Arc<Emit>>,
    ) {
        let mut orders = JoinSet::new();
        let mut some_signals = Vec::new();
        let mut publish_at = Instant::now();
        self.step(Event::Tick);
        loop {
            while self.apply(&mut orders) {}
            let now = Instant::now();
            if now >= publish_at {
                self.stats.publish(self.cluster.status());
                publish_at = now + PUBLISH_EVERY;
            }
            if self.cluster.is_stopped() {
                return;
            }
            let deadline = self.cluster.next_deadline().map(|at| self.clock.instant(at).into());
            let wake_at = deadline.map_or(publish_at, |at: Instant| at.min(publish_at));
            let has_space = self.inputs.len() < INPUTS_MAX;
            tokio::select! {
                Some(done) = orders.join_next(), if !orders.is_empty() => {
                    let (order, outcome) = done.expect("orders do not panic and are not aborted");
                    self.step(Event::Outcome { order, outcome });
                }
                () = take_signals(&mut signals, &mut some_signals), if has_space => {
                    for signal in some_signals.drain(..) {
                        self.signal(signal);
                    }
                }
                Some(change) = changes.recv() => self.change(change),
                Some(emit) = emits.recv(), if has_space => {
                    self.inputs.push(ClusterInput::Emit(emit));
                    for _ in 1..TAKEN_MAX {
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

    fn change(&mut self, change: NodeChange) {
        let event = match change {
            NodeChange::UserChanged(card) => Event::UserChanged(card),
            NodeChange::Revoked(token) => Event::Revoked(token),
            NodeChange::Publish { room, batch, numbers } => {
                let id = PublishId(self.last_publish.0 + 1);
                self.last_publish = id;
                self.numbering.insert(id, numbers);
                Event::Publish { id, room, batch }
            }
            NodeChange::Stop => {
                self.is_stopping = true;
                Event::Stop
            }
        };
        self.step(event);
    }

    /// Carries out or starts the effects. True when the state machine was stepped again and may have
    /// more.
    fn apply(&mut self, orders: &mut JoinSet<(OrderId, Result<Outcome, Failure>)>) -> bool {
        for (id, order) in self.effects.orders.drain(..) {
            let executor = Arc::clone(&self.executor);
            orders.spawn(async move { (id, executor.execute(order).await) });
        }
        for note in self.effects.notes.drain(..) {
            // A node that leaves drops its connection to Redis: that is not worth a line.
            if !(self.is_stopping && matches!(note, Note::Down { .. })) {
                log::write(note);
            }
        }
        for (id, numbers) in self.effects.numbered.drain(..) {
            let sender = self.numbering.remove(&id).expect("each publish is answered once");
            // The shard may have ended.
            let _ = sender.send(numbers);
        }
        // The state machine reads no more while these are left here, so what does not fit stays.
        let free = INPUTS_MAX.saturating_sub(self.inputs.len());
        let revoked = self.effects.revoked.len().min(free);
        for token in self.effects.revoked.drain(..revoked) {
            self.inputs.push_all(|| ToShard::Notice(Notice::Revoked(token)));
        }
        let changed = self.effects.changed.len().min(free);
        for card in self.effects.changed.drain(..changed) {
            self.inputs.push_all(|| ToShard::Notice(Notice::UserChanged(Arc::clone(&card))));
        }
        let inputs = self.effects.inputs.len().min(free);
        for input in self.effects.inputs.drain(..inputs) {
            self.inputs.push(input);
        }
        self.inputs.send_waiting();
        let taken = revoked + changed + inputs;
        if taken > 0 {
            self.step(Event::Tick);
        }
        taken > 0
    }
}

/// Waits for signals of any shard and takes some of each. Pending when all shards have ended.
async fn take_signals(signals: &mut [mpsc::Receiver<Signal>], taken: &mut Vec<Signal>) {
    std::future::poll_fn(|cx| {
        for lane in signals.iter_mut() {
            // A closed channel is ready with nothing.
            let _ = lane.poll_recv_many(cx, taken, TAKEN_MAX);
        }
        if taken.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

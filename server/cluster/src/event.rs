//! The input and the output of [`crate::Cluster::step`].

use std::sync::Arc;

use throng_chat::UserCard;
use throng_chat::cluster::{ClusterInput, Signal};
use throng_chat::{NewMessage, RoomId, TokenHash};

use crate::order::{Failure, NumberFault, Numbers, Order, OrderId, Outcome};

/// Names a publish of this process while it waits for its number, and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// The input of one step.
pub enum Event {
    /// A shard reports a change. Never refused; the state it changes bounds the memory.
    Signal(Signal),
    /// A user of this node changed name or avatar (REST).
    UserChanged(Arc<UserCard>),
    /// A token was revoked on this node (REST).
    Revoked(TokenHash),
    /// A shard needs numbers where there is no SQL log. Answered by [`Effects::numbered`] with the same
    /// `id`, which no other publish of this process has.
    Publish { id: PublishId, room: RoomId, batch: Vec<(NewMessage, Arc<UserCard>)> },
    /// The outcome of an order, exactly one per order.
    Outcome { order: OrderId, outcome: Result<Outcome, Failure> },
    /// [`crate::Cluster::next_deadline`] has passed, or the backplane took inputs.
    Tick,
    /// The server stops: this node announces its end, sweeps itself and releases the lease. Then
    /// [`crate::Cluster::is_stopped`] is true.
    Stop,
}

/// The output of a step. The backplane keeps it from step to step, takes what it can handle and leaves
/// the rest.
#[derive(Default)]
pub struct Effects {
    /// To execute.
    pub orders: Vec<(OrderId, Order)>,
    /// For the shards. While `Settings::inputs_max` or more wait here and in the next two, nothing is
    /// read.
    pub inputs: Vec<ClusterInput>,
    /// Tokens revoked on other nodes: [`throng_chat::Notice::Revoked`] on every shard.
    pub revoked: Vec<TokenHash>,
    /// Users changed on other nodes: [`throng_chat::Notice::UserChanged`] on every shard.
    pub changed: Vec<Arc<UserCard>>,
    /// One per [`Event::Publish`].
    pub numbered: Vec<(PublishId, Result<Numbers, NumberFault>)>,
    /// Log lines for the operator.
    pub notes: Vec<Note>,
}

impl Effects {
    /// What waits for the shards.
    pub(crate) fn for_shards(&self) -> usize {
        self.inputs.len() + self.revoked.len() + self.changed.len()
    }
}

/// One log line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// This node holds a lease and is recorded in the registry.
    Joined { node: u16, incarnation: String },
    /// All state that other nodes need is in Redis.
    Announced { incarnation: String, took_ms: u64 },
    /// The incarnation ended: its lease was lost, or the connection broke.
    Lapsed { incarnation: String, why: &'static str },
    /// Redis cannot be used; this node polls the database instead.
    Down { why: &'static str },
    /// Redis can be used again.
    Up { after_ms: u64 },
    /// Another node was adopted.
    PeerJoined { incarnation: String },
    /// Another node is dead or has stopped.
    PeerGone { incarnation: String },
    /// Everything that a dead incarnation left behind is removed.
    Swept { incarnation: String },
    /// Something may have been missed and is read again.
    Resync { why: &'static str },
}

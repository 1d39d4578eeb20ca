//! What happens to the machine, and what it makes happen.

use std::sync::Arc;

use throng_core::cluster::{ClusterInput, Signal};
use throng_core::input::UserCard;
use throng_core::{NewMessage, RoomId, Seq, TokenHash};

use crate::order::{Failure, Order, OrderId, Outcome};

pub enum Event {
    /// A shard tells. Never refused; see [`crate::Settings`] for what bounds it.
    Signal(Signal),
    /// A user of this node changed name or avatar (REST).
    UserChanged(Arc<UserCard>),
    /// A token was revoked on this node (REST).
    Revoked(TokenHash),
    /// A shard wants numbers where there is no SQL log. Answered by [`Effects::numbered`].
    Publish { room: RoomId, batch: Vec<(NewMessage, Arc<UserCard>)> },
    /// Exactly one per order.
    Outcome { order: OrderId, outcome: Result<Outcome, Failure> },
    /// [`crate::Cluster::next_deadline`] has passed, or inputs have been taken.
    Tick,
    /// The server stops: tell the others, give the lease back. Ends with
    /// [`crate::Cluster::is_stopped`].
    Stop,
}

/// Kept by the shell from step to step: it takes what it can use and leaves the rest.
#[derive(Default)]
pub struct Effects {
    pub orders: Vec<(OrderId, Order)>,
    /// For shards. While more than `Settings::inputs_max` wait here nothing is read.
    pub inputs: Vec<ClusterInput>,
    /// Tokens revoked on other nodes: [`throng_core::Input::Revoked`] on every shard.
    pub revoked: Vec<TokenHash>,
    /// Users changed on other nodes: [`throng_core::Input::UserChanged`] on every shard.
    pub changed: Vec<Arc<UserCard>>,
    /// One per [`Event::Publish`]: the first number, or `None` when there is none to be had.
    pub numbered: Vec<(RoomId, Option<Seq>)>,
    /// Stories for the operator.
    pub notes: Vec<Note>,
}

/// One line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// This node holds a lease and is known to the others under this name.
    Joined {
        node: u16,
        incarnation: String,
    },
    /// All that others must know is in Redis.
    Announced {
        incarnation: String,
        took_ms: u64,
    },
    /// The incarnation ended: its lease was lost, or the connection broke.
    Lapsed {
        incarnation: String,
        why: &'static str,
    },
    /// Redis cannot be used; every other node polls the database meanwhile.
    Down {
        why: &'static str,
    },
    Up {
        after_ms: u64,
    },
    PeerJoined {
        incarnation: String,
    },
    PeerGone {
        incarnation: String,
    },
    /// What a dead incarnation left behind is gone.
    Swept {
        incarnation: String,
    },
    /// Something was missed and is read again.
    Resync {
        why: &'static str,
    },
}

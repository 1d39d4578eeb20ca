//! Everything a shard can ask for. Plain data: printable, comparable, countable.

use std::net::IpAddr;

use crate::engine_request::Answer;
use crate::handshake_refusal::HandshakeRefusal;
use crate::ids::{PipeId, PollId, ShardId};
use crate::items::Items;

/// Filled by [`crate::Shard::step`] and [`crate::Shard::settle`], drained by the caller once per
/// turn.
pub struct Effects<A: Items> {
    /// For the homes on other shards.
    pub requests: Vec<(ShardId, A::Request)>,
    /// For the edges on other shards.
    pub deliveries: Vec<(ShardId, A::Delivery)>,
    /// Each is answered by exactly one [`Items::Reply`].
    pub commands: Vec<A::Command>,
    /// For other nodes.
    pub signals: Vec<A::Signal>,
    /// Answers to requests of the polling transport.
    pub answers: Vec<(PollId, Answer)>,
    /// Pipes to shut down now; what the outbox still holds for them is dropped.
    pub closes: Vec<PipeId>,
    /// Pipes to read again, after [`crate::Shard::reads`] has said no, or for whom [`crate::Shard::is_preferred`] says
    /// yes now.
    pub resumes: Vec<PipeId>,
    /// Clients that did not get in.
    pub refused: Vec<(IpAddr, HandshakeRefusal)>,
    /// Lines for the operator.
    pub logs: Vec<A::Log>,
    /// Changes of the state that other threads may read, in order.
    pub changes: Vec<A::Change>,
}

impl<A: Items> Default for Effects<A> {
    fn default() -> Effects<A> {
        Effects {
            requests: Vec::new(),
            deliveries: Vec::new(),
            commands: Vec::new(),
            signals: Vec::new(),
            answers: Vec::new(),
            closes: Vec::new(),
            resumes: Vec::new(),
            refused: Vec::new(),
            logs: Vec::new(),
            changes: Vec::new(),
        }
    }
}

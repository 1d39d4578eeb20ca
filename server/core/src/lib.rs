//! The pure core of a Throng server: sessions, rooms, presence and unread as state machines.
//!
//! One [`Shard`] is everything one thread knows. It takes [`Input`]s and fills [`Effects`]; it has
//! no clock, socket, thread, log, global or random map. Time and seeds are arguments, so a test or
//! a simulation runs the same text as production.
//!
//! ```text
//!  bytes, requests, replies ──► Logic::step ──► Effects: lanes, store commands, answers, closes
//!                               Logic::settle    Outbox:  bytes to send, per pipe
//! ```
//!
//! Read in this order: [`input`], [`effect`], [`outbox`], `engine` (Engine.IO and Socket.IO
//! sessions), `edge` (local members), `home` (rooms this shard owns), [`shard`].
#![forbid(unsafe_code)]

pub mod cluster;
pub mod counters;
pub mod effect;
pub mod ids;
pub mod input;
pub mod now;
pub mod outbox;
pub mod settings;

mod engine;
mod timers;

mod chat;
pub mod conformance;
pub mod shard;

pub use cluster::{ClusterInput, ConnState, NodeIx, Signal, StoredMessage};
pub use counters::Counters;
pub use effect::{Answer, Command, Effects, LaneSlots, LogLine, NewMessage};
pub use ids::{PipeId, PollId, RoomId, Seq, SessionId, ShardId, Sid, TokenHash, UserId};
pub use input::{
    Appended, BodyFault, Eio, Endpoint, EngineRequest, Input, Method, PipeEnd, Reply, StoreDown,
    Transport,
};
pub use now::Now;
pub use outbox::{Flushed, Outbox};
pub use settings::{RoomInfo, Seed, Settings};
pub use shard::Shard;

/// What runs on a shard: the chat server, or the echo application of the `conformance` binary.
///
/// A turn of the shell is `begin`, any number of `step`s, one `settle`, then applying the effects
/// and flushing the [`Outbox`].
pub trait Logic {
    /// Starts a turn. `room` says how many items each lane can still take; the logic never emits
    /// more than that.
    fn begin(&mut self, now: Now, room: &LaneSlots);
    fn step(&mut self, input: Input<'_>, effects: &mut Effects);
    /// Ends a turn: timers, coalesced rosters and counts, leaves owed to other shards.
    fn settle(&mut self, effects: &mut Effects);
    /// Whether one more [`Input::Request`] fits: its worst-case fan-out must have lane room.
    fn takes_requests(&self) -> bool;
    /// Whether the request names a session that lives here.
    fn knows(&self, request: &EngineRequest) -> bool;
    /// When `settle` must run next even if nothing happens.
    fn next_deadline(&self) -> Option<Now>;
    fn outbox(&mut self) -> &mut Outbox;
    fn counters(&self) -> &Counters;
}

/// What travels between shards; opaque to the shell.
pub mod lane {
    pub use crate::chat::lane::{Delivery, Request};
}

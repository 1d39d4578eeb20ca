//! One node of a cluster as a pure state machine: leases, what is mirrored in Redis, what is read
//! from it, and how all of it comes right again after a fault.
//!
//! Like the core it has no clock, socket, thread, log, global or random map, and no Redis either:
//! it is told what happened and says what to do. The shell executes; a simulation runs the same
//! text against a model.
//!
//! ```text
//!  signals of shards, outcomes ──► Cluster::step ──► Effects: orders (Redis, SQL), inputs (shards)
//! ```
//!
//! Read in this order: [`event`] and [`order`] (the boundary), [`keys`] (what Redis holds),
//! [`entry`] (what the logs hold), [`cluster`] (one step).
//!
//! # What holds
//!
//! - **A name dies once.** A node is known by its *incarnation*. When the lease is lost, or the
//!   connection to Redis breaks and what had been written may be lost, the incarnation ends, and
//!   the process takes a new one under another id. All fields and fds of an incarnation are its
//!   own, so what a dead one left, or still writes late, can be removed by anybody at any time.
//! - **Owned before written.** What must vanish with a node stands in a set of its incarnation
//!   before it stands anywhere else.
//! - **State, not queues.** What is to be written or told is derived from what is so. A slow Redis
//!   costs memory bounded by the users and connections of this node.
//! - **Written before told.** An entry about presence follows the write it tells of, so whoever
//!   reads the hash after a place in the log misses nothing.
#![forbid(unsafe_code)]

pub mod entry;
pub mod event;
pub mod keys;
pub mod order;
pub mod settings;
pub mod status;

pub mod cluster;

#[cfg(any(test, feature = "model"))]
pub mod model;

mod fdmap;
mod health;
mod lease;
mod loading;
mod numbering;
mod peers;
mod presence;
mod reading;
mod stage;
mod sweep;
mod telling;

pub use cluster::Cluster;
pub use event::{Effects, Event, Note};
pub use order::{
    Append, EntryId, Failure, Fd, Fields, Order, OrderId, Outcome, StreamEntries, Write,
};
pub use settings::{Seed, Settings};
pub use status::{Counters, Status};

#[cfg(test)]
mod tests;

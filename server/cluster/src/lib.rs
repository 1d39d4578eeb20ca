//! One node of a cluster as a pure state machine: its lease, the presence and connections that it
//! mirrors in Redis, the logs that it reads and writes, and the recovery after a fault.
//!
//! Like the core it has no clock, socket, thread, log, global or random map, and no Redis either:
//! its input says what happened, its output says what to do. The backplane executes the output; the
//! simulation runs the same code against a model.
//!
//! ```text
//!  signals of shards, outcomes ──► Cluster::step ──► Effects: orders (Redis, SQL), inputs (shards)
//! ```
//!
//! # Map
//!
//! | module | content |
//! |---|---|
//! | [`event`], [`order`] | the boundary: input, effects, orders to Redis and SQL and their outcomes |
//! | [`settings`], [`status`] | what the operator sets; what `/ready` and `/metrics` show |
//! | [`keys`], [`entry`] | the keys in Redis; the entries of the logs |
//! | [`cluster`] | one step: handle the event, then issue every order that is possible |
//! | `lease`, `health` | the life of an incarnation; whether Redis works |
//! | `presence`, `fdmap`, `stage` | the two mirrors of this node's state in Redis |
//! | `log_writer`, `log_reader`, `sequence` | entries to append; positions read; missing entries |
//! | `peers`, `loading`, `sweep` | other nodes: registry, presence, removal of dead ones |
//! | `awaited_numbers` | message numbers from Redis where no SQL log gives them |
//! | `model` | a Redis of plain maps for tests and the simulation (feature `model`) |
//!
//! Read in this order: [`event`], [`order`], [`keys`], [`entry`], [`cluster`].
//!
//! # Invariants
//!
//! - **An incarnation ends once.** A node is known by its *incarnation*. When the lease is lost, or
//!   the connection to Redis breaks and writes may be lost, the incarnation ends, and the process
//!   takes a new one with another id. No two incarnations share a field or an fd, so any node can
//!   remove the fields of a dead one at any time, even those that arrive late.
//! - **Owned before written.** State that must vanish with a node is in a set of its incarnation
//!   before it is anywhere else.
//! - **State, not queues.** What to write and to log is derived from the current state. A slow Redis
//!   costs memory bounded by the users and connections of this node.
//! - **Written before logged.** A presence entry is appended after the write it describes, so a
//!   node that reads the hash after a position in the log misses nothing.
//!
//! [`Cluster::check`] verifies the internal indexes; tests and the simulation call it after each
//! step.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

/// Returns the formatted text as the error of a `check` unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

pub mod entry;
pub mod event;
pub mod keys;
pub mod order;
pub mod settings;
pub mod status;

pub mod cluster;

#[cfg(any(test, feature = "model"))]
pub mod model;

mod awaited_numbers;
mod fdmap;
mod health;
mod lease;
mod loading;
mod log_reader;
mod log_writer;
mod peers;
mod presence;
mod sequence;

mod stage;
mod sweep;

pub use awaited_numbers::message_id;
pub use cluster::Cluster;
pub use event::{Effects, Event, Note, PublishId};
pub use order::{
    Append, EntryId, Failure, Fd, Fields, NumberFault, Numbers, Order, OrderId, Outcome,
    StreamEntries, UnnumberedMessage, Write,
};
pub use settings::{Seed, Settings};
pub use status::{Counters, Status};

#[cfg(test)]
mod tests;

//! Lock-free lanes between shards, and the protocol that lets a shard sleep.
//!
//! Between each ordered pair of shards run two bounded lanes, one for requests and one for
//! deliveries: a delivery is always handled without sending, so deliveries always drain and no
//! cycle of full lanes can block. Each shard owns one [`Bell`]: a peer that pushed rings it, and
//! the ring costs a system call only when the owner is parked.
//!
//! This crate knows nothing of chat. Read [`bell`] first; `model.rs` explores it with loom:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p throng-mesh --release
//! ```
#![cfg_attr(not(loom), forbid(unsafe_code))]

pub mod bell;
pub mod lane;
pub mod mesh;

mod ring;
mod signal;
mod sync;

pub use bell::Bell;
pub use lane::{Receiver, Sender, lane};
pub use mesh::{Capacity, LaneEnds, mesh};

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

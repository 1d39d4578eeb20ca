//! Lock-free lanes between shards, and the protocol that lets a shard sleep.
//!
//! Two bounded lanes connect each ordered pair of shards: one for requests, one for deliveries. A
//! delivery is always handled without sending anything, so deliveries always drain and no cycle of
//! full lanes can block. Each shard owns one [`Bell`]. A peer rings it after pushing; ringing costs
//! a system call only while the owner is parked.
//!
//! # Map
//!
//! | module | content |
//! |---|---|
//! | [`bell`] | parking and waking one shard |
//! | [`lane`](mod@lane) | one bounded queue from one shard to another |
//! | [`mesh`](mod@mesh) | the lanes between all shards of a process |
//! | `ring`, `signal`, `sync` | the real parts (`rtrb`, an eventfd, `std`), or their loom models |
//!
//! Read [`bell`] first. This crate knows nothing about what the items mean.
//!
//! # Example
//!
//! Two shards; the first sends a request, the second receives it.
//!
//! ```
//! use throng_mesh::{Capacity, mesh};
//!
//! let capacity = Capacity { request_lane_max: 4, delivery_lane_max: 4 };
//! let mut ends = mesh::<&str, u32>(2, capacity)?;
//!
//! ends[0].requests_out[1].push("join").expect("the lane has free slots");
//! assert_eq!(ends[0].requests_out[1].free_slots(), 3);
//! // One ring per batch wakes the receivers.
//! ends[0].ring();
//!
//! // The receiver does not park while anything waits for it.
//! let second = &ends[1];
//! assert!(!second.bell.park(|| second.is_idle()));
//! assert_eq!(ends[1].requests_in[0].pop(), Some("join"));
//! assert!(ends[1].is_idle());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Proof
//!
//! `model.rs` explores every interleaving of the bell and the lanes with loom:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p throng-mesh --release
//! ```
#![cfg_attr(not(loom), forbid(unsafe_code))]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
#![warn(missing_docs)]

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

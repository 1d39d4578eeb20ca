//! Runs an application of [`throng_engine`]: one thread per core, each with its own sockets, and one
//! thread for HTTP.
//!
//! ```text
//!            ┌── shard-0 ── monoio ── Shard<A> ──┐
//!  clients ──┤── shard-1 ── monoio ── Shard<A> ──┤── http ── tokio ── long-polling, other routes
//!            └── shard-N ── monoio ── Shard<A> ──┘
//! ```
//!
//! A shard serves WebSockets itself and hands every other connection to the HTTP thread. No rule of
//! an application lives here.
//!
//! [`serve()`] is all that a simple application needs; `examples/rooms.rs` is one. A server with a
//! store or routes of its own calls the parts in this order:
//!
//! 1. [`launch::Launch::start`] binds the address and starts the shards.
//! 2. [`http::start`] serves what is not a WebSocket.
//! 3. [`lifetime::wait_until_started`] and [`launch::Shards::watch`], then
//!    [`lifetime::StopSignals`].
//! 4. [`stop::stop`] ends sessions, threads and workers, in that order.
//!
//! Settings are a value, [`Options`]; errors are [`StartError`], with an exit status for each.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
#![warn(missing_docs)]

pub mod clock;
pub mod defaults;
pub mod descriptors;
pub mod error;
pub mod http;
pub mod launch;
pub mod lifetime;
pub mod limiter;
pub mod link;
pub mod listen;
pub mod per_client;
pub mod policy;
pub mod rare_warning;
pub mod refusals;
mod serve;
pub mod shard;
pub mod stats;
pub mod stop;
mod watchdog;

/// For [`Options::router`], in the version that the server uses.
pub use axum;
pub use error::StartError;
pub use serve::{Options, serve};

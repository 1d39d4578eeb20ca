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
//! [`serve`] is all that a simple application needs; [`launch::Launch`], [`http::start`] and
//! [`stop::stop`] are its parts.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod error;
pub mod http;
pub mod launch;
pub mod lifetime;
pub mod limiter;
pub mod link;
mod listen;
pub mod request;
mod serve;
pub mod shard;
pub mod stats;
pub mod stop;

pub use error::StartError;
pub use serve::{Options, serve};

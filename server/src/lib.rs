//! The shell of a Throng server: threads, sockets, clocks and settings around the pure core.
//!
//! ```text
//!            ┌── shard-0 ── monoio ── core ──┐
//!  clients ──┤── shard-1 ── monoio ── core ──┤── http ── tokio ── REST, polling, store, metrics
//!            └── shard-N ── monoio ── core ──┘
//! ```
//!
//! A shard serves WebSockets itself and hands every other connection to the HTTP thread. No chat
//! rule lives in this crate.
#![forbid(unsafe_code)]

pub mod backplane;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod import;
pub mod launch;
pub mod limiter;
pub mod link;
pub mod listen;
pub mod log;
pub mod request;
pub mod serve;
pub mod shard;
pub mod start;
pub mod stats;
pub mod stop;

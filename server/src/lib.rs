//! The `throng` server: settings, start and stop, and what the chat on the shards uses: the store, the
//! REST API, other nodes, metrics and logs.
//!
//! ```text
//!  shards (throng-runtime, throng-chat) ── commands ──► store_worker ──► store (SQL)
//!                                       ── signals ───► backplane ─────► Redis
//!                                       ── logs ──────► session_log
//! ```
//!
//! No chat rule lives in this crate.
#![forbid(unsafe_code)]

pub mod backplane;
pub mod cli;
pub mod config;
pub mod import;
pub mod log;
pub mod metrics;
mod presence;
mod rows;
pub mod serve;
mod session_log;
pub mod start;
mod store_thread;
pub mod store_worker;
pub mod terminal;

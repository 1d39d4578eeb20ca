//! The shell from outside: real processes, real sockets, no chat.

mod bounds;
mod handover;
mod import;
mod lifetime;
mod metrics;
mod process;
mod redis;
#[path = "../../redis/tests/redis/server.rs"]
#[allow(dead_code, reason = "the backplane's own tests use the rest")]
mod redis_server;

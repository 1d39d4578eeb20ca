//! The binary from outside: real processes, real sockets, no chat.

mod bodies;
mod bounds;
mod handover;
mod hung;
mod import;
mod lifetime;
mod metrics;
mod output;
mod process;
mod proxies;
mod redis;
mod refusals;
mod storage;

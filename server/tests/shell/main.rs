//! The shell from outside: real processes, real sockets, no chat.

mod bounds;
mod handover;
mod lifetime;
mod metrics;
mod process;

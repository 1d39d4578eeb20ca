//! The bytes on the wire and nothing else: WebSocket frames (RFC 6455, server side), Engine.IO 3 and 4
//! packets and payloads, Socket.IO packets of protocol 4 and 5, and the request head of a connection.
//!
//! Everything here is pure: no I/O, no clock, no state besides a WebSocket decoder's unfinished
//! message. Whatever a peer sends ends in a value or in a [`Fault`], never in a panic.

#![forbid(unsafe_code)]

pub mod eio;
pub mod http;
pub mod sio;
pub mod ws;

mod fault;
mod json;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod vectors;

pub use fault::Fault;

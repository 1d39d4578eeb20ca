//! A world for shards: N real shards of any application on one thread. Lanes, clients, the store and
//! the clock around them are models that only the test moves.
//!
//! A shard takes a turn when the runtime would give it one, and no other: see [`World::run`]. Clients
//! use the harness's codec, which shares no code with the server.
#![forbid(unsafe_code)]

#[cfg(feature = "chat")]
pub mod chat;
mod client;
mod lanes;
mod world;

pub use client::{Client, Message, Reader, Received, masked, request, send, text};
pub use lanes::Lanes;
pub use world::{Arriving, Store, World, counter};

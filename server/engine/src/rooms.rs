//! Rooms: who is in them on this shard, the fan-out to them, and a ready-made application.
//!
//! [`Members`] is the list that a fan-out walks; an application with rooms of its own kind (the
//! chat) keeps one for each. [`Rooms`] is the application for all others: rooms are strings, join,
//! leave and broadcast work on any number of shards, and a [`Handler`] says what events mean.

mod edge;
mod handler;
mod home;
mod members;
mod server;
mod settings;

pub use edge::{RoomDelivery, RoomRequest};
pub use handler::{Ack, Event, Handler, Room, Socket};
pub use members::{Member, Members};
pub use server::Rooms;
pub use settings::{Counters, Settings};

//! Rooms: who is in them on this shard, the fan-out to them, and a ready-made application.
//!
//! [`Members`] is the list that a fan-out walks; an application with rooms of its own kind (the
//! chat) keeps one for each. [`Rooms`] is the application for all others: rooms are strings, join,
//! leave and broadcast work on any number of shards, and a [`Handler`] says what events mean.

mod edge;
mod handler;
mod home;
mod io;
mod items;
mod members;
mod packets;
mod server;
mod settings;
mod socket;
mod state;

pub use edge::JoinError;
pub use handler::{Event, Handler};
pub use io::{Io, IoRoom, IoSocket};
pub use items::{Ack, Direct, RoomDelivery, RoomRequest};
pub use members::{Member, Members};
pub use packets::is_reserved;
pub use server::Rooms;
pub use settings::{Counters, Settings};
pub use socket::{Room, Socket};
pub use state::{RoomHome, RoomState};

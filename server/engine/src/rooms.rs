//! Rooms: who is in them on this shard, the fan-out to them, and a ready-made application.
//!
//! [`Members`] is the list that a fan-out walks, and [`Memberships`] the rooms of one session; an
//! application with rooms of its own kind keeps one for each. [`Rooms`] is the application for all
//! others: rooms are strings, join, leave and broadcast work on any number of shards, and a [`Handler`]
//! says what events mean.
//!
//! | Socket.IO | here |
//! |---|---|
//! | `io.use((socket, next) => …)`, `socket.handshake.auth` | [`Handler::admits`], [`Auth`] |
//! | `socket.emit`, `socket.join`, `socket.leave` | [`Socket::emit`], [`Room::join`], [`Room::leave`] |
//! | `await socket.join(room)` and a call of `ack` | [`Room::join`], then [`Room::ack_is_in`] |
//! | `io.to(room).emit` | [`Room::emit`], [`IoRoom::emit`] |
//! | `socket.to(room).emit` | [`Room::emit_to_others`] |
//! | `io.to(id).emit` | [`IoSocket::emit`] |
//! | `io.in(room).socketsLeave`, `.disconnectSockets` | [`IoRoom::remove_all`], [`IoRoom::disconnect_all`] |
//! | `io.in(id).socketsLeave`, `.disconnectSockets` | [`IoSocket::leave`], [`IoSocket::disconnect`] |
//! | `io.in(room).fetchSockets` | [`RoomHome::members`], in a [`RoomState`] |
//!
//! # State of a room
//!
//! A handler runs on the shard of its client, so it knows no room as a whole. What is kept for a room
//! is a [`RoomState`] at the room's home, the second parameter of [`Rooms`]. It may refuse and remove
//! members, sends those who join what they need, and answers messages that handlers send:
//!
//! ```
//! use throng_engine::SocketId;
//! use throng_engine::rooms::{Ack, Event, Handler, RoomHome, RoomState, Rooms, Socket};
//!
//! /// What was said in a room.
//! #[derive(Default)]
//! struct Said(Vec<String>);
//!
//! impl RoomState for Said {
//!     type Message = String;
//!
//!     fn joined(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
//!         room.emit_to(id, "history", &self.0);
//!         room.emit_except(id, "joined", id);
//!     }
//!
//!     fn message(&mut self, room: &mut RoomHome<'_>, from: SocketId, text: String, ack: Ack) {
//!         let is_member = room.has(from);
//!         if is_member && self.0.len() < 100 {
//!             room.emit("said", &text);
//!             self.0.push(text);
//!         }
//!         room.ack(from, ack, is_member);
//!     }
//! }
//!
//! #[derive(Clone)]
//! struct Lobby;
//!
//! impl Handler<String> for Lobby {
//!     fn event(&mut self, socket: &mut Socket<'_, String>, event: Event<'_>) {
//!         match (event.name(), event.args::<(String, String)>()) {
//!             ("enter", Ok((room, _))) => {
//!                 if let Err(why) = socket.room(&room).join() {
//!                     socket.emit("not_entered", why.to_string());
//!                 }
//!                 // The room may refuse the client: its answer waits for that.
//!                 socket.room(&room).ack_is_in(event.ack(), |is_in| is_in);
//!             }
//!             ("say", Ok((room, text))) => socket.room(&room).send(text, event.ack()),
//!             _ => socket.ack(event.ack(), false),
//!         }
//!     }
//! }
//!
//! type App = Rooms<Lobby, Said>;
//! ```
//!
//! # Order
//!
//! - What one client does with one room takes effect in the order in which its handler calls do it.
//! - A room has one order for all its members: that in which joins, leaves, events and messages reach
//!   its home. It is not always the order in which handlers of different shards ran. What a
//!   [`RoomState`] sends stands behind what caused it and before what comes next.
//! - What is done to one client by its id ([`IoSocket`]) is in order with what the same shard does to
//!   that client, and with nothing else.
//!
//! # Bounds
//!
//! [`Settings`] has them all, and [`Counters`] what is kept and what was refused.

mod edge;
mod handler;
mod home;
mod io;
mod items;
mod kept_member;
mod members;
mod memberships;
mod outgoing;
mod packets;
mod room_home;
mod server;
mod settings;
mod socket;
mod state;

pub use edge::JoinError;
pub use handler::{Auth, Event, Handler};
pub use io::{Io, IoRoom, IoSocket};
pub use items::{Ack, Direct, RoomDelivery, RoomRequest};
pub use members::{Member, Members};
pub use memberships::{Membership, MembershipId, Memberships};
pub use packets::is_reserved;
pub use room_home::RoomHome;
pub use server::Rooms;
pub use settings::{Counters, Settings};
pub use socket::{Room, Socket};
pub use state::RoomState;

//! The engine of a Socket.IO room server, as pure state machines: sessions of Engine.IO 3 and 4,
//! Socket.IO namespaces, acks, rooms and fan-out, on any number of shards.
//!
//! One [`Shard`] is everything one thread knows. It takes [`Input`]s and fills [`Effects`]; it has
//! no clock, socket, thread, log, global or random map. Time and seeds are arguments, so a test or
//! a simulation runs the same text as production.
//!
//! ```text
//!  bytes, requests, replies ──► Shard::step ──► Effects: lanes, commands, answers, closes
//!                               Shard::settle   Outbox:  bytes to send, per pipe
//!                                   │
//!                               Engine (sessions) ── SessionEvent ──► App (edge, home)
//! ```
//!
//! What events mean is the business of an application: an [`App`], or, where named rooms and
//! broadcasts are enough, a [`rooms::Handler`]:
//!
//! ```
//! use throng_engine::rooms::{Event, Handler, Rooms, Socket};
//!
//! /// `say(room, text, ack)`: every member of the room receives `said`.
//! #[derive(Clone)]
//! struct Lobby;
//!
//! impl Handler for Lobby {
//!     fn connected(&mut self, socket: &mut Socket<'_>) {
//!         socket.room("lobby").join().expect("it is in no room yet");
//!     }
//!
//!     fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
//!         match (event.name(), event.args::<(String, String)>()) {
//!             ("say", Ok((room, text))) => {
//!                 socket.room(&room).emit("said", &text);
//!                 socket.room(&room).ack(event.ack(), true);
//!             }
//!             _ => socket.ack(event.ack(), false),
//!         }
//!     }
//! }
//!
//! type App = Rooms<Lobby>;
//! # use throng_engine::{App as _, Place, Seed, Settings, Shard, ShardId};
//! # let seed = Seed { placement: [0; 16], random: [0; 32] };
//! # let place = Place { shard: ShardId(0), shards: 1, seed };
//! let settings = throng_engine::rooms::Settings::new(Lobby);
//! let shard = Shard::<App>::new(&Settings::default(), &settings, &place);
//! assert_eq!(shard.next_deadline(), None, "nothing is due before the first connection");
//! ```
//!
//! Read in this order: [`App`], [`Input`], [`Effects`], [`Engine`], [`rooms`], [`Shard`],
//! [`Outbox`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
#![warn(missing_docs)]
// The simulation runs all shards of a world on one thread, so that is what a canary is armed for.
#![cfg_attr(all(feature = "canary", debug_assertions), allow(clippy::disallowed_macros))]

mod app;
mod bucket;
#[doc(hidden)]
pub mod canary;
mod counters;
mod effects;
mod engine;
mod engine_request;
mod handshake_refusal;
mod ids;
mod input;
mod items;
mod lane_slots;
mod lanes;
mod long_packets;
mod maps;
mod now;
mod outbox;
mod rate;
pub mod rooms;
mod settings;
mod shard;
mod timers;

pub use app::{App, Cx, Place};
pub use bucket::Bucket;
pub use counters::Counters;
pub use effects::Effects;
pub use engine::{Admission, CloseReason, Engine, Owner, Session, SessionEvent, Trust, judge};
pub use engine_request::{Accept, Answer, Body, Eio, Endpoint, EngineRequest, Method, Transport};
pub use handshake_refusal::HandshakeRefusal;
pub use ids::{PipeId, PollId, SessionId, ShardId, Sid, SocketId};
pub use input::{Input, PipeEnd};
pub use items::Items;
pub use lane_slots::LaneSlots;
pub use lanes::{Full, LANE_RETRY_MS, Lanes};
pub use long_packets::{LongPackets, Omitted};
pub use maps::{Keyed, Map, home_of};
pub use now::{Now, Sent};
pub use outbox::{Flushed, Outbox, Span};
pub use rate::Rate;
pub use settings::{AnonymousLimits, Seed, Settings};
pub use shard::Shard;
pub use throng_tables::metrics;
pub use throng_tables::metrics::Table as CounterTable;

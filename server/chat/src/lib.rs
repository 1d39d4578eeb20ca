//! The chat: identity, rooms, presence, messages and unread counts, as an application of
//! [`throng_engine`].
//!
//! ```text
//!  clients ── SessionEvent ──► edge ── Request ──► home ── Command ──► store
//!          ◄─────── frames ─── edge ◄─ Delivery ── home ◄── Reply ───
//!                                │                  │ ◄── ClusterInput ── other nodes
//!                                └──── Signal ──────┴──────────────────►
//! ```
//!
//! [`Chat`] is the application; `edge` holds the members that a shard serves, `home` the rooms it
//! owns. Both are pure: no clock, socket, thread, log, global or random map.
//!
//! Read in this order: [`lane`], [`store`], [`cluster`], then `edge`, `home` and their submodules.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
// The simulation runs all shards of a world on one thread, so that is what a canary is armed for.
#![cfg_attr(all(feature = "canary", debug_assertions), allow(clippy::disallowed_macros))]

mod app;
#[doc(hidden)]
pub mod canary;
mod choice;
mod client_event;
pub mod cluster;
mod counters;
mod edge;
mod field;
mod frames;
mod home;
mod ids;
mod image;
pub mod invalid_tokens;
pub mod lane;
mod numbering;
mod presence;
pub mod quota;
mod refusal;
mod report;
mod room_info;
mod roster;
pub mod settings;
pub mod store;
mod throttle;
pub mod user;

pub use app::{Chat, Notice, Start, shard};
pub use choice::Choice;
pub use cluster::{ClusterInput, NodeIx, SessionState, Signal, StoredMessage};
pub use counters::Counters;
pub use ids::{Cid, LoadId, RoomId, Seq, TokenHash, UserId};
pub use image::{DataUrl, ImageFault};
pub use invalid_tokens::{ClientBucket, InvalidTokens};
pub use numbering::Numbering;
pub use presence::{Presence, PresenceChange};
pub use quota::{Exceeded, Quotas};
pub use refusal::Refusal;
pub use report::LogLine;
pub use room_info::RoomInfo;
pub use settings::Settings;
pub use store::{AppendFault, Appended, Command, NewMessage, Reply, SavedImage, StoreDown};
pub use user::UserCard;

/// One shard of the chat.
pub type Shard = throng_engine::Shard<Chat>;
/// What can happen to it.
pub type Input<'a> = throng_engine::Input<'a, Chat>;
/// What it asks for.
pub type Effects = throng_engine::Effects<Chat>;

pub(crate) type Lanes = throng_engine::Lanes<Chat>;

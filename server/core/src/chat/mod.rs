//! The chat application: identity, rooms, presence, messages, unread.
//!
//! [`edge`] holds the members this shard serves, [`home`] the rooms it owns; they speak only in
//! [`lane`] items, also when both are the same shard.

mod bucket;
pub(crate) mod edge;
mod event;
mod frames;
pub(crate) mod home;
pub mod lane;
pub(crate) mod lanes;
pub(crate) mod maps;
mod refusal;
mod roster;
mod throttle;

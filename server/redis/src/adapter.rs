//! What the classic Redis adapter of Socket.IO publishes, and what we publish for it.
//!
//! A broadcast is one msgpack array, `[uid, packet, options]`, on a channel named after its room.
//! Reading is lenient, since every emitter in every language is a little different; writing is
//! exact, since the adapter of Node decodes outside any `try`.

mod broadcast;
mod channels;
mod json;

pub use broadcast::{Broadcast, Malformed, encode, is_from};
pub use channels::{Channels, Scope};

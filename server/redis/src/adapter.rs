//! The format of Socket.IO's classic Redis adapter.
//!
//! A broadcast is one msgpack array, `[uid, packet, options]`, on a channel named after its room.
//! Reading is lenient, because the emitters of other languages differ slightly; writing is exact,
//! because Node's adapter decodes outside any `try`.

mod broadcast;
mod channels;
mod json;

pub use broadcast::{Broadcast, Malformed, encode, is_from};
pub use channels::{Channels, Scope};

/// The publisher id of every Throng server. They ignore each other's publications, because they
/// read each other's messages in the log.
pub const UID: &str = "throng";

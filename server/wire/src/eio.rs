//! Engine.IO protocol 3 and 4: packets, polling payloads, the handshake and its query.

mod open;
mod packet;
pub mod payload;
mod query;

pub use open::Open;
pub use packet::{Data, Kind, Packet, decode_binary, decode_text, put_message, put_pong};
pub use query::{Query, query};

pub use crate::Fault;

/// The Engine.IO protocol of a session: the `EIO` parameter of its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `EIO=3`: socket.io-client 2 and older.
    V3,
    /// `EIO=4`: socket.io-client 3 and newer.
    V4,
}

#[cfg(test)]
mod tests;

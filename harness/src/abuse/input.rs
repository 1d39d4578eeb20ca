//! What one case sends: a row of the tables in `cases/abuse.rs`.

use std::time::Duration;

use throng_codec::engine::Protocol;

use crate::client::target::Target;

/// How far a connection goes by the rules before it begins to abuse the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Only TCP.
    Tcp,
    /// A WebSocket, its open packet read.
    Websocket,
    /// A WebSocket with its Socket.IO connection, of a client without a user.
    Connected,
    /// A polling session with its Socket.IO connection, and a new connection for its requests.
    Polling,
    /// A polling session that has probed a WebSocket, which is the connection.
    Probing,
}

/// When the bytes of the input are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// Again and again, as fast as the server takes them.
    Flood,
    /// Once; the connection stays open.
    Once,
    /// Once, then these bytes now and then, so that the connection does not look idle.
    Drip(&'static [u8]),
    /// Once, and after this time the connection is reset and replaced by a new one.
    Reopen(Duration),
}

/// What the bytes of an input may depend on.
pub struct Scene<'a> {
    pub target: &'a Target,
    pub protocol: Protocol,
    /// That of the connection's session; empty if it has none.
    pub sid: &'a str,
    /// Differs each time.
    pub serial: u64,
    /// LIM-1 of the target.
    pub max_payload: usize,
    /// The e-mail address of a user who exists.
    pub email: &'a str,
}

/// The bytes of one input.
#[derive(Clone, Copy)]
pub enum Bytes {
    /// Made once for all connections.
    Same(fn(&Scene<'_>) -> Vec<u8>),
    /// Made anew each time.
    Fresh(fn(&Scene<'_>) -> Vec<u8>),
}

#[derive(Clone, Copy)]
pub struct Input {
    pub opening: Opening,
    pub rhythm: Rhythm,
    pub bytes: Bytes,
    /// The answers are read.
    pub reads: bool,
    /// Connections that come from the same address, where the machine has several: that of a loopback.
    pub per_address: u32,
}

/// So many that a limit per address does not hide what is behind it.
const PER_ADDRESS: u32 = 512;

impl Input {
    pub const fn new(opening: Opening, rhythm: Rhythm, bytes: Bytes) -> Input {
        Input { opening, rhythm, bytes, reads: false, per_address: PER_ADDRESS }
    }

    pub const fn that_reads(self) -> Input {
        Input { reads: true, ..self }
    }

    /// Every connection has an address of its own.
    pub const fn spread(self) -> Input {
        Input { per_address: 1, ..self }
    }
}

//! Connections on their way from one thread to another.

use std::net::TcpStream;

use throng_engine::{Accept, EngineRequest, Sid};
use throng_wire::http::Peer;
use tokio::sync::mpsc;

use crate::limiter::Permit;

/// A WebSocket connection on its way to the shard that owns its session.
pub struct Upgraded {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// Its place in the count of connections.
    pub permit: Permit,
    /// Whether the `101` answer is still to be sent.
    pub accept: Accept,
    /// The handshake.
    pub request: EngineRequest,
    /// Bytes that were read behind the handshake.
    pub leftover: Vec<u8>,
}

/// A connection on its way from a shard to the HTTP thread.
pub struct Handover {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// Bytes that were read from it.
    pub prefix: Vec<u8>,
    /// Its other end.
    pub peer: Peer,
    /// Its place in the count of connections.
    pub permit: Permit,
    /// Its first request names a session whose user is known.
    pub is_identified: bool,
    /// The session that it names, if another shard has it.
    pub elsewhere: Option<Sid>,
}

impl Handover {
    /// A connection of which nothing was read.
    pub(crate) fn unread(stream: TcpStream, peer: Peer, permit: Permit) -> Handover {
        let (prefix, is_identified, elsewhere) = (Vec::new(), false, None);
        Handover { stream, prefix, peer, permit, is_identified, elsewhere }
    }
}

/// What shards hand over to the HTTP thread.
pub struct Handovers {
    /// Connections that are not WebSockets.
    pub connections: mpsc::Receiver<Handover>,
    /// Connections that were answered before all they sent was read; they are counted no more.
    pub refused: mpsc::Receiver<TcpStream>,
}

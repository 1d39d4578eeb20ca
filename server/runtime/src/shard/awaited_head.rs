//! A connection whose request head is awaited.

use std::net::TcpStream;

use throng_wire::http::Peer;

use crate::limiter::Permit;

/// A connection that has not said yet what it is for.
pub(super) struct AwaitedHead {
    pub(super) stream: TcpStream,
    /// Whether its readiness is reported: once the first read came too early.
    pub(super) is_watched: bool,
    /// Bytes that arrived so far.
    pub(super) bytes: Vec<u8>,
    pub(super) peer: Peer,
    /// A PROXY header comes before the request.
    pub(super) awaits_proxy_header: bool,
    pub(super) permit: Permit,
}

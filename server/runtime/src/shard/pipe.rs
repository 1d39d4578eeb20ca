//! A WebSocket byte stream.

use std::net::TcpStream;

use super::readiness::{Group, Interest};
use crate::limiter::Permit;

/// A connection that has become a WebSocket.
pub(super) struct Pipe {
    pub(super) stream: TcpStream,
    pub(super) interest: Interest,
    /// Which set it is watched in.
    pub(super) group: Group,
    /// Its sending side is shut: so many more bytes are read and dropped.
    pub(super) dropped_max: Option<usize>,
    /// Given back when the stream is closed.
    _permit: Permit,
}

impl Pipe {
    pub(super) fn new(stream: TcpStream, permit: Permit) -> Pipe {
        Pipe {
            stream,
            interest: Interest::READ,
            group: Group::Anonymous,
            dropped_max: None,
            _permit: permit,
        }
    }
}

//! The four ways to speak to a server: protocol and transport.

use std::fmt;

use throng_codec::engine::Protocol;

use crate::client::options::Transport;

/// How a case speaks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Combo {
    pub protocol: Protocol,
    pub transport: Transport,
}

impl fmt::Display for Combo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.protocol.name(), self.transport.name())
    }
}

const fn combo(protocol: Protocol, transport: Transport) -> Combo {
    Combo { protocol, transport }
}

pub const E3P: Combo = combo(Protocol::Eio3, Transport::Polling);
pub const E3W: Combo = combo(Protocol::Eio3, Transport::Websocket);
pub const E4P: Combo = combo(Protocol::Eio4, Transport::Polling);
pub const E4W: Combo = combo(Protocol::Eio4, Transport::Websocket);

pub const ONLY_E3P: &[Combo] = &[E3P];
pub const ONLY_E3W: &[Combo] = &[E3W];
pub const ONLY_E4P: &[Combo] = &[E4P];
pub const ONLY_E4W: &[Combo] = &[E4W];

/// For a case that is not about one kind of session: it runs once, whatever is selected.
pub const NONE: &[Combo] = &[];
pub const EVERY: &[Combo] = &[E4W, E4P, E3W, E3P];
pub const EIO4: &[Combo] = &[E4W, E4P];
pub const EIO3: &[Combo] = &[E3W, E3P];
pub const POLLING: &[Combo] = &[E4P, E3P];
pub const WEBSOCKET: &[Combo] = &[E4W, E3W];

//! What happens to a session.

use std::net::IpAddr;

use bytes::Bytes;
use throng_wire::sio::EventData;

use super::session::{CloseReason, Session};
use crate::ids::{SessionId, SocketId};
use crate::long_packets::Omitted;

/// What the engine reports to the application. Owned, so that handling one may change anything.
pub enum SessionEvent {
    /// An Engine.IO session exists.
    Opened {
        /// The session.
        session: SessionId,
        /// The client's address.
        peer: IpAddr,
        /// Came with the handshake, in its query or as a Bearer token.
        token: Option<Box<str>>,
    },
    /// A namespace was connected; with [`crate::App::ADMITS`], the client has no answer yet.
    Connected {
        /// The session.
        session: SessionId,
        /// Index in [`crate::App::NAMESPACES`].
        namespace: u8,
        /// The public id of the client there.
        id: SocketId,
        /// The raw JSON of the CONNECT payload.
        auth: Option<Box<str>>,
    },
    /// The client sent an event.
    Event {
        /// The session.
        session: SessionId,
        /// Index in [`crate::App::NAMESPACES`].
        namespace: u8,
        /// The client waits for an answer under this id.
        ack: Option<u64>,
        /// What the client sent; checked by `throng_wire::sio::decode`.
        data: EventData,
        /// It came as a binary event.
        is_binary: bool,
        /// As many as it has placeholders for.
        attachments: Vec<Bytes>,
        /// What `data` lacks, because it was too long to be parsed.
        omitted: Option<Omitted>,
    },
    /// The client left a namespace but keeps the session.
    Disconnected {
        /// The session.
        session: SessionId,
    },
    /// An Engine.IO message on an endpoint without Socket.IO.
    Text {
        /// The session.
        session: SessionId,
        /// The message.
        text: Box<str>,
    },
    /// A binary Engine.IO message on an endpoint without Socket.IO.
    Binary {
        /// The session.
        session: SessionId,
        /// The message.
        bytes: Bytes,
    },
    /// The session moved from polling to a WebSocket.
    Moved {
        /// The session.
        session: SessionId,
    },
    /// The session is over.
    Ended {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
        /// Its last state.
        state: Box<Session>,
    },
}

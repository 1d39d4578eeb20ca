//! Requests of the Engine.IO transports, parsed but not judged, and the answers.

use std::net::IpAddr;

use bytes::Bytes;

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it; empty for a GET.
    Whole(Vec<u8>),
    /// It follows piece by piece, as [`crate::Input::Body`].
    Arriving {
        /// Its bytes, if the client has announced how many.
        announced: Option<u64>,
    },
}

/// How the `101` answer is written.
pub enum Accept {
    /// The core writes it.
    Write {
        /// The value of `Sec-WebSocket-Accept`.
        key: Box<str>,
        /// The subprotocol that was offered first.
        protocol: Option<Box<str>>,
    },
    /// It has been written already: the HTTP thread held the connection.
    Done,
}

/// One Engine.IO HTTP request, parsed but not judged.
#[derive(Clone, Debug)]
pub struct EngineRequest {
    /// What its path names.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: Method,
    /// `transport` of the query.
    pub transport: Transport,
    /// `EIO` of the query.
    pub eio: Eio,
    /// `sid` of the query: the session that the request belongs to.
    pub sid: Option<Box<str>>,
    /// EIO3 `b64`: the client cannot read binary polling bodies.
    pub b64: bool,
    /// EIO3 `j`: answer as JSONP with this index.
    pub jsonp: Option<u32>,
    /// Of the query, or of `Authorization: Bearer`; judged by the application.
    pub token: Option<Box<str>>,
    /// Whether the `Origin` header is absent, same-origin or allowed.
    pub origin_allowed: bool,
    /// The POST body is `application/octet-stream` (EIO3 binary payload).
    pub octet_stream: bool,
    /// The client's address.
    pub peer: IpAddr,
}

/// What is served at the request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Socket.IO on Engine.IO.
    SocketIo,
    /// Engine.IO messages without Socket.IO on top (`conformance` only).
    EngineIo,
    /// Plain WebSocket echo (`conformance` only).
    RawEcho,
}

/// The methods that the transports know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A handshake or a poll.
    Get,
    /// Packets of the client.
    Post,
    /// Refused.
    Other,
}

/// The transport that the query names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    Websocket,
    /// Missing or anything else.
    Unknown,
}

/// The Engine.IO protocol that the query names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eio {
    /// `EIO=3`.
    V3,
    /// `EIO=4`.
    V4,
    /// Missing or anything else.
    Unsupported,
}

/// An HTTP answer of the polling transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The body, in parts.
    pub body: Vec<Bytes>,
    /// It is of a session whose user is known.
    pub is_identified: bool,
}

impl Answer {
    /// The body in one piece.
    pub fn whole(&self) -> Bytes {
        self.body.concat().into()
    }
}

//! Why a client does not get in.

use throng_wire::http::EngineError;

/// Why a request that opens or joins a session, or a CONNECT, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeRefusal {
    /// `transport` is missing or unknown.
    Transport,
    /// The `Origin` is not accepted.
    Origin,
    /// No session with this `sid` is open.
    UnknownSid,
    /// A handshake that is not a GET.
    Method,
    /// `EIO` is missing, or of a version that is not served.
    ProtocolVersion,
    /// The request is not of the transport that it names, or that its session uses.
    WrongTransport,
    /// The method is not one of a session.
    BadRequest,
    /// The fields of RFC 6455 are missing, or not those of version 13.
    WebsocketFields,
    /// The process holds as many sessions as it may.
    ServerFull,
    /// The client has as many sessions without a known user as it may.
    ClientFull,
    /// The client has as many connections as it may.
    ConnectionsPerIp,
    /// The server is stopping.
    Stopping,
    /// A CONNECT to a namespace that the application does not have.
    Namespace,
}

impl HandshakeRefusal {
    /// Its word in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            HandshakeRefusal::Transport => "transport",
            HandshakeRefusal::Origin => "origin",
            HandshakeRefusal::UnknownSid => "unknown_sid",
            HandshakeRefusal::Method => "method",
            HandshakeRefusal::ProtocolVersion => "protocol_version",
            HandshakeRefusal::WrongTransport => "wrong_transport",
            HandshakeRefusal::BadRequest => "bad_request",
            HandshakeRefusal::WebsocketFields => "websocket_fields",
            HandshakeRefusal::ServerFull => "server_full",
            HandshakeRefusal::ClientFull => "client_full",
            HandshakeRefusal::ConnectionsPerIp => "connections_per_ip",
            HandshakeRefusal::Stopping => "stopping",
            HandshakeRefusal::Namespace => "namespace",
        }
    }

    /// The error of the reference server; `None` where it has none.
    fn error(self) -> Option<EngineError> {
        match self {
            HandshakeRefusal::Transport => Some(EngineError::TransportUnknown),
            HandshakeRefusal::Origin => Some(EngineError::Forbidden),
            HandshakeRefusal::UnknownSid => Some(EngineError::SessionUnknown),
            HandshakeRefusal::Method => Some(EngineError::BadHandshakeMethod),
            HandshakeRefusal::ProtocolVersion => Some(EngineError::UnsupportedVersion),
            HandshakeRefusal::WrongTransport
            | HandshakeRefusal::BadRequest
            | HandshakeRefusal::WebsocketFields
            | HandshakeRefusal::Namespace => Some(EngineError::BadRequest),
            HandshakeRefusal::ServerFull
            | HandshakeRefusal::ClientFull
            | HandshakeRefusal::ConnectionsPerIp
            | HandshakeRefusal::Stopping => None,
        }
    }

    /// The HTTP status of the answer. Spec: TRN-11 to TRN-19, LIM-13.
    pub fn status(self) -> u16 {
        self.error().map_or(503, EngineError::status)
    }

    /// The JSON body of the answer. Spec: TRN-11 to TRN-19.
    pub fn json(self) -> &'static str {
        self.error().map_or(r#"{"code":6,"message":"Server is full"}"#, EngineError::json)
    }
}

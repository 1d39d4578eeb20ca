//! How a client connects.

use serde_json::Value;
use throng_codec::engine::Protocol;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Websocket,
    Polling,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Websocket => "websocket",
            Transport::Polling => "polling",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub protocol: Protocol,
    pub transport: Transport,
    /// `api_token` of the handshake's query.
    pub token: Option<String>,
    /// More parameters of the handshake's query.
    pub query: Vec<(String, String)>,
    /// `Authorization: Bearer` of the handshake.
    pub bearer: Option<String>,
    /// Payload of the Socket.IO CONNECT packet; protocol 4 only.
    pub auth: Option<Value>,
    pub headers: Vec<(String, String)>,
    /// Whether the client sends CONNECT by itself; protocol 4 only.
    pub connects: bool,
}

impl Options {
    pub fn new(protocol: Protocol, transport: Transport) -> Options {
        Options {
            protocol,
            transport,
            token: None,
            query: Vec::new(),
            bearer: None,
            auth: None,
            headers: Vec::new(),
            connects: true,
        }
    }
}

//! WebSocket, Engine.IO and Socket.IO, written from the protocol texts for plainness, not for speed.
//!
//! The harness's client and the reference server share this codec and nothing else; the codec is held
//! to the vectors of `protocol-spec`. It shares nothing with the server of this repository: when the
//! two disagree, the written protocol decides.
//!
//! | module | what it encodes and decodes |
//! |---|---|
//! | [`websocket`] | frames and messages of RFC 6455, of either side, and the accept key |
//! | [`engine`] | Engine.IO packets, protocol 3 and 4 |
//! | [`payload`] | several Engine.IO packets in one HTTP body |
//! | [`socket`] | Socket.IO packets, protocol 4 and 5 |
//!
//! Everything works on bytes and strings in memory: no socket, clock or thread.
#![forbid(unsafe_code)]

pub mod engine;
pub mod payload;
pub mod socket;
pub mod websocket;

/// Why bytes are not a packet, in words for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

pub(crate) fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

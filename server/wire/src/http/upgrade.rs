//! A request to go on as WebSocket, and the rules of RFC 6455 for it.

use data_encoding::BASE64;

use crate::ws::accept_key;

/// What else an answer 426 says (RFC 9110 §15.5.22, RFC 6455 §4.4).
pub const UPGRADE_REQUIRED: [(&str, &str); 2] =
    [("Sec-WebSocket-Version", VERSION), ("Upgrade", "websocket")];
const VERSION: &str = "13";

/// A request to go on as WebSocket. Spec: TRN-50 to TRN-52.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// `Sec-WebSocket-Key`, if it is one: base64 of 16 bytes.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Version` is 13.
    pub is_version_13: bool,
    /// The first of the subprotocols that are offered (TRN-100).
    pub protocol: Option<&'a str>,
}

impl<'a> Upgrade<'a> {
    /// From the values of `Sec-WebSocket-Version`, `-Key` and `-Protocol`.
    pub fn new(
        version: Option<&str>,
        key: Option<&'a str>,
        protocols: Option<&'a str>,
    ) -> Upgrade<'a> {
        Upgrade {
            key: key.filter(|key| is_key(key)),
            is_version_13: version == Some(VERSION),
            protocol: protocols.and_then(first_protocol),
        }
    }

    /// The value of `Sec-WebSocket-Accept`. The engine judges what is not in RFC 6455.
    ///
    /// # Errors
    /// The status with which the handshake is refused: 426 for another version, with the fields of
    /// [`UPGRADE_REQUIRED`], and 400 without a key.
    pub fn accept(&self) -> Result<String, u16> {
        if !self.is_version_13 {
            return Err(426);
        }
        self.key.map(accept_key).ok_or(400)
    }
}

/// The first of the subprotocols that are offered. A browser closes the connection if none of those it
/// offered comes back.
fn first_protocol(offered: &str) -> Option<&str> {
    let first = offered.split(',').next()?.trim_matches([' ', '\t']);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!first.is_empty() && first.bytes().all(is_token)).then_some(first)
}

fn is_key(key: &str) -> bool {
    BASE64.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16)
}

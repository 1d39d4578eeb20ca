use std::borrow::Cow;

use data_encoding::BASE64;

use super::Version;
use crate::Fault;

/// Packet types; on the wire the digits `0` to `6` in this order. Spec: EIO-10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The server's handshake.
    Open,
    /// The end of the transport.
    Close,
    /// Asks for a pong; `probe` as its data belongs to an upgrade.
    Ping,
    /// Answers a ping with the same data.
    Pong,
    /// Data of the layer above: a Socket.IO packet or an attachment.
    Message,
    /// The client goes on over the probed transport.
    Upgrade,
    /// Ends a poll without data.
    Noop,
}

/// What a packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// UTF-8 without the packet type.
    Text(&'a str),
    /// Borrowed from a binary frame, or decoded from base64.
    Binary(Cow<'a, [u8]>),
}

/// One Engine.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: Kind,
    /// What follows the type; empty text where nothing does.
    pub data: Data<'a>,
}

impl Kind {
    /// The digit that stands for this type in text.
    pub fn digit(self) -> char {
        char::from(b'0' + self as u8)
    }

    fn from_number(number: u8) -> Result<Kind, Fault> {
        Ok(match number {
            0 => Kind::Open,
            1 => Kind::Close,
            2 => Kind::Ping,
            3 => Kind::Pong,
            4 => Kind::Message,
            5 => Kind::Upgrade,
            6 => Kind::Noop,
            _ => return Err(Fault::PacketTypeUnknown),
        })
    }

    fn from_digit(digit: u8) -> Result<Kind, Fault> {
        Kind::from_number(digit.wrapping_sub(b'0'))
    }
}

/// Appends a text message packet, `4text`. Spec: EIO-10.
pub fn put_message(out: &mut String, text: &str) {
    out.push(Kind::Message.digit());
    out.push_str(text);
}

/// Appends the answer to a ping with data, `3text`. Spec: EIO-60, EIO-70.
pub fn put_pong(out: &mut String, text: &str) {
    out.push(Kind::Pong.digit());
    out.push_str(text);
}

/// Decodes one text frame, or one element of a text payload. Base64 begins with `b`; only
/// Engine.IO 3 puts the packet type behind it.
///
/// # Errors
/// [`Fault::PacketEmpty`], [`Fault::PacketTypeUnknown`] or [`Fault::Base64Invalid`].
///
/// Spec: EIO-10, EIO-11, EIO-32, EIO-38.
pub fn decode_text(version: Version, text: &str) -> Result<Packet<'_>, Fault> {
    let first = *text.as_bytes().first().ok_or(Fault::PacketEmpty)?;
    if first != b'b' {
        return Ok(Packet { kind: Kind::from_digit(first)?, data: Data::Text(&text[1..]) });
    }
    let (kind, base64) = match version {
        Version::V3 => {
            let digit = *text.as_bytes().get(1).ok_or(Fault::PacketEmpty)?;
            (Kind::from_digit(digit)?, &text.as_bytes()[2..])
        }
        Version::V4 => (Kind::Message, &text.as_bytes()[1..]),
    };
    let data = BASE64.decode(base64).map_err(|_| Fault::Base64Invalid)?;
    Ok(Packet { kind, data: Data::Binary(Cow::Owned(data)) })
}

/// Decodes one binary frame. Engine.IO 3 begins it with the packet type as a number; in Engine.IO 4
/// it is always a message.
///
/// # Errors
/// [`Fault::PacketEmpty`] or [`Fault::PacketTypeUnknown`], on Engine.IO 3 only.
///
/// Spec: EIO-14 to EIO-16.
pub fn decode_binary(version: Version, bytes: &[u8]) -> Result<Packet<'_>, Fault> {
    let (kind, data) = match (version, bytes) {
        (Version::V4, data) => (Kind::Message, data),
        (Version::V3, [kind, data @ ..]) => (Kind::from_number(*kind)?, data),
        (Version::V3, []) => return Err(Fault::PacketEmpty),
    };
    Ok(Packet { kind, data: Data::Binary(Cow::Borrowed(data)) })
}

//! Engine.IO packets, protocol 3 and 4.

use super::{Malformed, malformed};
use data_encoding::BASE64;
use serde::Serialize;

/// The Engine.IO protocol revision a connection speaks (`EIO` in the query).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Eio3,
    Eio4,
}

impl Protocol {
    pub fn number(self) -> u8 {
        match self {
            Protocol::Eio3 => 3,
            Protocol::Eio4 => 4,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Protocol::Eio3 => "eio3",
            Protocol::Eio4 => "eio4",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Open,
    Close,
    Ping,
    Pong,
    Message,
    Upgrade,
    Noop,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Open, Kind::Close, Kind::Ping, Kind::Pong, Kind::Message, Kind::Upgrade, Kind::Noop];

    pub fn digit(self) -> char {
        char::from(b'0' + self as u8)
    }

    fn from_index(index: u32) -> Option<Kind> {
        Kind::ALL.get(index as usize).copied()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Text(String),
    Binary(Vec<u8>),
}

impl Data {
    pub fn bytes(&self) -> usize {
        match self {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub kind: Kind,
    pub data: Data,
}

impl Packet {
    pub fn text(kind: Kind, data: impl Into<String>) -> Packet {
        Packet { kind, data: Data::Text(data.into()) }
    }

    pub fn message(data: impl Into<String>) -> Packet {
        Packet::text(Kind::Message, data)
    }

    pub fn binary(data: impl Into<Vec<u8>>) -> Packet {
        Packet { kind: Kind::Message, data: Data::Binary(data.into()) }
    }
}

/// What travels in one WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

/// Encodes one packet as one WebSocket message.
pub fn encode(protocol: Protocol, packet: &Packet) -> Frame {
    match (&packet.data, protocol) {
        (Data::Text(text), _) => Frame::Text(format!("{}{text}", packet.kind.digit())),
        (Data::Binary(bytes), Protocol::Eio4) => Frame::Binary(bytes.clone()),
        (Data::Binary(bytes), Protocol::Eio3) => {
            let mut out = vec![packet.kind as u8];
            out.extend_from_slice(bytes);
            Frame::Binary(out)
        }
    }
}

pub fn decode(protocol: Protocol, frame: &Frame) -> Result<Packet, Malformed> {
    match frame {
        // A client without binary messages sends base64 on WebSocket too.
        Frame::Text(text) if protocol == Protocol::Eio3 && text.starts_with('b') => {
            decode_base64(protocol, &text[1..])
        }
        Frame::Text(text) => decode_text(text),
        Frame::Binary(bytes) => decode_binary(protocol, bytes),
    }
}

/// Decodes the text form of a packet: a digit and its data.
pub fn decode_text(text: &str) -> Result<Packet, Malformed> {
    let Some(first) = text.chars().next() else {
        return malformed("an empty packet");
    };
    let Some(kind) = first.to_digit(10).and_then(Kind::from_index) else {
        return malformed(format!("no packet type {first:?}"));
    };
    Ok(Packet::text(kind, &text[first.len_utf8()..]))
}

/// Decodes a binary WebSocket message: in protocol 3 the first byte is the packet type.
pub fn decode_binary(protocol: Protocol, bytes: &[u8]) -> Result<Packet, Malformed> {
    if protocol == Protocol::Eio4 {
        return Ok(Packet::binary(bytes));
    }
    let Some((&first, rest)) = bytes.split_first() else {
        return malformed("an empty binary packet");
    };
    let Some(kind) = Kind::from_index(u32::from(first)) else {
        return malformed(format!("no packet type {first}"));
    };
    Ok(Packet { kind, data: Data::Binary(rest.to_vec()) })
}

/// The text a payload uses for binary data: `b` and base64, in protocol 3 with the packet type
/// between them.
pub(super) fn encode_base64(protocol: Protocol, packet: &Packet, bytes: &[u8]) -> String {
    match protocol {
        Protocol::Eio4 => format!("b{}", BASE64.encode(bytes)),
        Protocol::Eio3 => format!("b{}{}", packet.kind.digit(), BASE64.encode(bytes)),
    }
}

pub(super) fn decode_base64(protocol: Protocol, text: &str) -> Result<Packet, Malformed> {
    let (kind, encoded) = match protocol {
        Protocol::Eio4 => (Kind::Message, text),
        Protocol::Eio3 => {
            let head = decode_text(text)?;
            (head.kind, &text[1..])
        }
    };
    match BASE64.decode(encoded.as_bytes()) {
        Ok(bytes) => Ok(Packet { kind, data: Data::Binary(bytes) }),
        Err(why) => malformed(format!("bad base64: {why}")),
    }
}

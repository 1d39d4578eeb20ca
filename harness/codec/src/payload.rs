//! Payloads: several packets in one HTTP body.

use super::engine::{
    Data, Packet, Protocol, decode_base64, decode_binary, decode_text, encode_base64,
};
use super::{Malformed, malformed};

const RECORD_SEPARATOR: char = '\u{1e}';

/// A body as it travels, with the form its content type announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Text(String),
    Octets(Vec<u8>),
}

/// The text form. Protocol 4 joins packets with U+001E; protocol 3 writes `<length>:<packet>`,
/// the length in UTF-16 code units.
pub fn encode_text(protocol: Protocol, packets: &[Packet]) -> String {
    let parts = packets.iter().map(|packet| match &packet.data {
        Data::Text(text) => format!("{}{text}", packet.kind.digit()),
        Data::Binary(bytes) => encode_base64(protocol, packet, bytes),
    });
    match protocol {
        Protocol::Eio4 => parts.collect::<Vec<_>>().join("\u{1e}"),
        Protocol::Eio3 => parts.map(|part| format!("{}:{part}", utf16_len(&part))).collect(),
    }
}

pub fn decode(protocol: Protocol, body: &Body) -> Result<Vec<Packet>, Malformed> {
    match body {
        Body::Text(text) => decode_body_text(protocol, text),
        Body::Octets(bytes) => decode_octets(protocol, bytes),
    }
}

pub fn decode_body_text(protocol: Protocol, text: &str) -> Result<Vec<Packet>, Malformed> {
    if text.is_empty() {
        return malformed("an empty payload");
    }
    match protocol {
        Protocol::Eio4 => {
            text.split(RECORD_SEPARATOR).map(|part| decode_part(protocol, part)).collect()
        }
        Protocol::Eio3 => decode_counted(text),
    }
}

fn decode_part(protocol: Protocol, part: &str) -> Result<Packet, Malformed> {
    match part.strip_prefix('b') {
        Some(encoded) => decode_base64(protocol, encoded),
        None => decode_text(part),
    }
}

fn decode_counted(mut text: &str) -> Result<Vec<Packet>, Malformed> {
    let mut packets = Vec::new();
    while !text.is_empty() {
        let Some((digits, rest)) = text.split_once(':') else {
            return malformed("a length without a colon");
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let Some(units) = digits.parse::<usize>().ok().filter(|_| plain) else {
            return malformed(format!("bad length {digits:?}"));
        };
        let Some(end) = byte_index_of_utf16(rest, units) else {
            return malformed(format!("length {units} runs past the end of the payload"));
        };
        packets.push(decode_part(Protocol::Eio3, &rest[..end])?);
        text = &rest[end..];
    }
    Ok(packets)
}

pub fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn byte_index_of_utf16(text: &str, units: usize) -> Option<usize> {
    let mut seen = 0;
    for (index, character) in text.char_indices() {
        if seen == units {
            return Some(index);
        }
        seen += character.len_utf16();
    }
    (seen == units).then_some(text.len())
}

/// The binary form of protocol 3: per packet a marker (0 text, 1 binary), the decimal digits of
/// the length as bytes 0 to 9, 255, and the packet. Text lengths count bytes here.
pub fn encode_octets(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        let (marker, bytes) = match &packet.data {
            Data::Text(text) => (0, format!("{}{text}", packet.kind.digit()).into_bytes()),
            Data::Binary(data) => {
                let mut bytes = vec![packet.kind as u8];
                bytes.extend_from_slice(data);
                (1, bytes)
            }
        };
        out.push(marker);
        out.extend(bytes.len().to_string().bytes().map(|digit| digit - b'0'));
        out.push(255);
        out.extend_from_slice(&bytes);
    }
    out
}

fn decode_octets(protocol: Protocol, mut bytes: &[u8]) -> Result<Vec<Packet>, Malformed> {
    if protocol == Protocol::Eio4 {
        return malformed("protocol 4 has no binary payload");
    }
    let mut packets = Vec::new();
    while let Some((&marker, rest)) = bytes.split_first() {
        let Some(end) = rest.iter().position(|&byte| byte == 255) else {
            return malformed("a binary payload without the length's end");
        };
        let mut length = 0usize;
        for &digit in &rest[..end] {
            if digit > 9 || length > 100_000_000 {
                return malformed("a bad length in a binary payload");
            }
            length = length * 10 + usize::from(digit);
        }
        let Some(packet) = rest.get(end + 1..end + 1 + length) else {
            return malformed("a binary payload shorter than it says");
        };
        packets.push(match marker {
            0 => match std::str::from_utf8(packet) {
                Ok(text) => decode_text(text)?,
                Err(_) => return malformed("text that is not UTF-8"),
            },
            1 => decode_binary(protocol, packet)?,
            other => return malformed(format!("no packet marker {other}")),
        });
        bytes = &rest[end + 1 + length..];
    }
    if packets.is_empty() { malformed("an empty payload") } else { Ok(packets) }
}

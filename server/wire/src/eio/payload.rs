//! Polling bodies: several packets in one HTTP request or answer.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64;

use super::Version;
use super::packet::{Packet, decode_binary, decode_text};
use crate::Fault;
use crate::json;

/// Between the packets of an Engine.IO 4 payload.
const SEPARATOR: char = '\u{1e}';
/// Ends the length of a packet in Engine.IO 3's binary form.
const LENGTH_END: u8 = 0xFF;
/// Digits of a length that can still be one: no payload reaches 10 GB.
const LENGTH_DIGITS_MAX: usize = 10;

/// A packet of so many bytes is not copied into the answer.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// What a body's content type says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `text/plain` and anything else.
    Text,
    /// `application/octet-stream`; Engine.IO 3 only.
    Binary,
}

/// One queued packet of a polling session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// The text of a packet, type included: `42[…]`. UTF-8.
    Text(Bytes),
    /// The data of a binary message.
    Binary(Bytes),
}

/// Decodes the body of a POST: one packet or more.
///
/// # Errors
/// A fault in any packet is a fault of the whole body; so is more than `packets_max` packets.
///
/// Spec: EIO-30 to EIO-33, EIO-36 to EIO-38.
pub fn decode(
    version: Version,
    form: Form,
    body: &[u8],
    packets_max: usize,
) -> Result<Vec<Packet<'_>>, Fault> {
    if body.is_empty() {
        return Err(Fault::PayloadEmpty);
    }
    let mut packets = Vec::new();
    let mut push = |packet| {
        if packets.len() == packets_max {
            return Err(Fault::PayloadTooManyPackets);
        }
        packets.push(packet);
        Ok(())
    };
    match (version, form) {
        // Engine.IO 4 has no other form, whatever the content type says (TRN-42).
        (Version::V4, _) => {
            for element in utf8(body)?.split(SEPARATOR) {
                push(decode_text(version, element)?)?;
            }
        }
        (Version::V3, Form::Text) => {
            let mut rest = utf8(body)?;
            while !rest.is_empty() {
                let (element, after) = split_text(rest)?;
                rest = after;
                push(decode_text(version, element)?)?;
            }
        }
        (Version::V3, Form::Binary) => {
            let mut rest = body;
            while !rest.is_empty() {
                let (is_binary, element, after) = split_binary(rest)?;
                rest = after;
                push(if is_binary {
                    decode_binary(version, element)?
                } else {
                    decode_text(version, utf8(element)?)?
                })?;
            }
        }
    }
    Ok(packets)
}

/// The body of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// In order. Long packets are those that were queued, not copies: a thousand sessions that wait for one picture
    /// hold it once.
    pub parts: Vec<Bytes>,
    /// It is `application/octet-stream` (Engine.IO 3 with binary content for a client that did not ask for base64)
    /// instead of text.
    pub is_binary: bool,
}

impl Encoded {
    /// The body in one piece.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        match &self.parts[..] {
            [only] => only.clone(),
            parts => parts.concat().into(),
        }
    }
}

#[derive(Default)]
struct Writer {
    parts: Vec<Bytes>,
    last: Vec<u8>,
}

impl Writer {
    fn put(&mut self, packet: &Bytes) {
        if packet.len() < SHARED_BYTES_MIN {
            return self.last.extend_from_slice(packet);
        }
        self.end_part();
        self.parts.push(packet.clone());
    }

    fn end_part(&mut self) {
        if !self.last.is_empty() {
            self.parts.push(std::mem::take(&mut self.last).into());
        }
    }
}

/// Encodes the answer to a poll.
///
/// Spec: EIO-30 to EIO-35.
pub fn encode(version: Version, b64: bool, packets: &[Out]) -> Encoded {
    let has_binary = packets.iter().any(|packet| matches!(packet, Out::Binary(_)));
    let is_binary = version == Version::V3 && has_binary && !b64;
    let mut body = Writer::default();
    for (i, packet) in packets.iter().enumerate() {
        match (version, packet) {
            (Version::V4, packet) => {
                if i > 0 {
                    body.last.push(SEPARATOR as u8);
                }
                match packet {
                    Out::Text(text) => body.put(text),
                    Out::Binary(data) => {
                        body.last.push(b'b');
                        body.last.extend_from_slice(BASE64.encode(data).as_bytes());
                    }
                }
            }
            (Version::V3, Out::Text(text)) if is_binary => {
                put_binary_head(&mut body.last, 0, text.len());
                body.put(text);
            }
            (Version::V3, Out::Binary(data)) if is_binary => {
                put_binary_head(&mut body.last, 1, 1 + data.len());
                body.last.push(4);
                body.put(data);
            }
            (Version::V3, Out::Text(text)) => {
                put_length(&mut body.last, utf16_len(text));
                body.put(text);
            }
            (Version::V3, Out::Binary(data)) => {
                let base64 = BASE64.encode(data);
                put_length(&mut body.last, 2 + base64.len());
                body.last.extend_from_slice(b"b4");
                body.last.extend_from_slice(base64.as_bytes());
            }
        }
    }
    body.end_part();
    Encoded { parts: body.parts, is_binary }
}

/// Wraps a text payload as the JSONP call `___eio[index]("…");`. Spec: TRN-70, TRN-71.
pub fn jsonp(index: u32, body: &str) -> String {
    let mut out = format!("___eio[{index}](");
    json::put_str(&mut out, body);
    out.push_str(");");
    // Line ends for JavaScript before 2019, though not for JSON.
    if out.contains(['\u{2028}', '\u{2029}']) {
        out = out.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    }
    out
}

/// The payload in the form field `d` of a JSONP POST.
///
/// A browser's form turns line ends into CR LF, so the client sends them as `\n`, and a `\n` that was
/// in the text as `\\n`.
///
/// # Errors
/// The form has no field `d`.
///
/// Spec: TRN-72.
pub fn jsonp_body(form: &[u8]) -> Result<String, Fault> {
    let data: Cow<'_, str> = form_urlencoded::parse(form)
        .find_map(|(name, value)| (name == "d").then_some(value))
        .ok_or(Fault::JsonpDataMissing)?;
    let mut out = String::with_capacity(data.len());
    let mut slashes = 0;
    for c in data.chars() {
        match (c, slashes) {
            ('n', 1) => {
                out.pop();
                out.push('\n');
            }
            ('n', 2..) => {
                out.pop();
                out.push('n');
            }
            _ => out.push(c),
        }
        slashes = if c == '\\' { slashes + 1 } else { 0 };
    }
    Ok(out)
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::PayloadNotUtf8)
}

/// `<length>:<packet>…`, the length in UTF-16 code units, as JavaScript counts.
fn split_text(text: &str) -> Result<(&str, &str), Fault> {
    let (length, rest) = text.split_once(':').ok_or(Fault::PayloadLengthInvalid)?;
    let length = parse_length(length.bytes().map(|digit| digit.wrapping_sub(b'0')))?;
    if rest.as_bytes().get(..length).is_some_and(<[u8]>::is_ascii) {
        return Ok(rest.split_at(length));
    }
    let mut units = 0;
    for (at, c) in rest.char_indices() {
        if units >= length {
            // A length that ends inside a surrogate pair is nobody's.
            return if units == length {
                Ok(rest.split_at(at))
            } else {
                Err(Fault::PayloadLengthInvalid)
            };
        }
        units += c.len_utf16();
    }
    if units == length { Ok((rest, "")) } else { Err(Fault::PayloadLengthInvalid) }
}

/// One element of the binary form: kind, length as one byte per decimal digit, 0xFF, packet; the
/// length in bytes.
fn split_binary(bytes: &[u8]) -> Result<(bool, &[u8], &[u8]), Fault> {
    let (kind, rest) = bytes.split_first().ok_or(Fault::PayloadLengthInvalid)?;
    let is_binary = match kind {
        0 => false,
        1 => true,
        _ => return Err(Fault::PayloadElementUnknown),
    };
    let end = rest
        .iter()
        .take(LENGTH_DIGITS_MAX + 1)
        .position(|&b| b == LENGTH_END)
        .ok_or(Fault::PayloadLengthInvalid)?;
    let length = parse_length(rest[..end].iter().copied())?;
    let (element, after) =
        rest[end + 1..].split_at_checked(length).ok_or(Fault::PayloadLengthInvalid)?;
    Ok((is_binary, element, after))
}

fn parse_length(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, Fault> {
    if digits.len() == 0 || digits.len() > LENGTH_DIGITS_MAX {
        return Err(Fault::PayloadLengthInvalid);
    }
    let mut length = 0u64;
    for digit in digits {
        if digit > 9 {
            return Err(Fault::PayloadLengthInvalid);
        }
        length = length * 10 + u64::from(digit);
    }
    usize::try_from(length).map_err(|_| Fault::PayloadLengthInvalid)
}

fn put_length(body: &mut Vec<u8>, length: usize) {
    body.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    body.push(b':');
}

fn put_binary_head(body: &mut Vec<u8>, kind: u8, length: usize) {
    body.push(kind);
    body.extend(itoa::Buffer::new().format(length).bytes().map(|digit| digit - b'0'));
    body.push(LENGTH_END);
}

/// UTF-16 code units of UTF-8 text: one per character, two where UTF-8 needs four bytes.
fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|&b| usize::from(b & 0xC0 != 0x80) + usize::from(b >= 0xF0)).sum()
}

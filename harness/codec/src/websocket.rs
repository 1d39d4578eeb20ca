//! WebSocket frames and messages (RFC 6455), for the client and the server side.

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// Most frames of one message (LIM-29).
const FRAGMENTS_MAX: u32 = 131_072;
/// The FIN bit of a frame's first byte.
pub const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Whether frames are masked: those of a client are, those of a server are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    Client,
    Server,
}

/// A fixed key: masking protects proxies, which the harness does not use.
const MASK_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Encodes one frame. `first` holds FIN, the reserved bits and the opcode, valid or not.
pub fn frame(first: u8, payload: &[u8], mask: Mask) -> Vec<u8> {
    let mask_bit = if mask == Mask::Client { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(mask_bit | length as u8),
        length @ 126..=65_535 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    match mask {
        Mask::Server => out.extend_from_slice(payload),
        Mask::Client => {
            out.extend_from_slice(&MASK_KEY);
            out.extend(masked(payload, MASK_KEY));
        }
    }
    out
}

/// Masks or unmasks a payload, a word at a time: tests without optimisation send megabytes.
fn masked(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let word = u64::from_ne_bytes(std::array::from_fn(|at| key[at % 4]));
    let (words, rest) = payload.as_chunks::<8>();
    let mut out = Vec::with_capacity(payload.len());
    for bytes in words {
        out.extend_from_slice(&(u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes());
    }
    out.extend(rest.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A close frame with a code and a reason.
pub fn close_frame(code: u16, reason: &str, mask: Mask) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame(FIN | CLOSE, &payload, mask)
}

/// The `Sec-WebSocket-Accept` of a `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    BASE64.encode(&digest)
}

/// What a peer's close frame contains; it may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

/// One whole message, or a control frame between the frames of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<Close>),
}

impl Message {
    /// Bytes of its payload.
    pub fn bytes(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
            Message::Close(close) => close.as_ref().map_or(0, |close| 2 + close.reason.len()),
        }
    }
}

/// A violated rule, by its close code: 1002, 1007 or 1009.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub u16);

const PROTOCOL_ERROR: Fault = Fault(1002);
const BAD_TEXT: Fault = Fault(1007);
const TOO_LARGE: Fault = Fault(1009);

/// Decodes the bytes of one direction of a connection, in pieces of any size.
pub struct Decoder {
    /// Which frames to accept; `None` accepts both kinds.
    mask: Option<Mask>,
    message_bytes_max: usize,
    buffer: Vec<u8>,
    message: Option<(u8, Vec<u8>)>,
    fragments: u32,
}

impl Decoder {
    pub fn new(mask: Option<Mask>, message_bytes_max: usize) -> Decoder {
        Decoder { mask, message_bytes_max, buffer: Vec::new(), message: None, fragments: 0 }
    }

    /// Changes the size of messages that are accepted from now on.
    pub fn limit(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Takes bytes as they come from the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether all bytes were part of whole messages.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.message.is_none()
    }

    /// The next message; `None` when more bytes are needed. After a fault the stream has no meaning.
    pub fn next_message(&mut self) -> Result<Option<Message>, Fault> {
        while let Some((first, payload)) = self.frame()? {
            let (is_last, opcode) = (first & FIN != 0, first & 0x0f);
            match (opcode, &mut self.message) {
                (CLOSE, _) => return close(&payload).map(|close| Some(Message::Close(close))),
                (PING, _) => return Ok(Some(Message::Ping(payload))),
                (PONG, _) => return Ok(Some(Message::Pong(payload))),
                (CONTINUATION, Some((_, data))) => data.extend_from_slice(&payload),
                (CONTINUATION, None) | (TEXT | BINARY, Some(_)) => return Err(PROTOCOL_ERROR),
                (_, slot) => *slot = Some((opcode, payload)),
            }
            self.fragments = if opcode == CONTINUATION { self.fragments + 1 } else { 1 };
            let bytes = self.message.as_ref().map_or(0, |(_, data)| data.len());
            if bytes > self.message_bytes_max || self.fragments > FRAGMENTS_MAX {
                return Err(TOO_LARGE);
            }
            if let Some((kind, data)) = self.message.take_if(|_| is_last) {
                return match kind {
                    BINARY => Ok(Some(Message::Binary(data))),
                    _ => match String::from_utf8(data) {
                        Ok(text) => Ok(Some(Message::Text(text))),
                        Err(_) => Err(BAD_TEXT),
                    },
                };
            }
        }
        Ok(None)
    }

    /// The next frame: its first byte and its payload, unmasked.
    fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, Fault> {
        let Some((&[first, second], rest)) = self.buffer.split_first_chunk() else {
            return Ok(None);
        };
        let (opcode, is_masked) = (first & 0x0f, second & 0x80 != 0);
        let short = second & 0x7f;
        let is_control = opcode >= CLOSE;
        let is_known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let mask_fits = self.mask.is_none_or(|mask| is_masked == (mask == Mask::Client));
        if first & RESERVED_BITS != 0 || !is_known || !mask_fits {
            return Err(PROTOCOL_ERROR);
        }
        if is_control && (first & FIN == 0 || short > 125) {
            return Err(PROTOCOL_ERROR);
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        // Refused by its announcement: the payload may never come.
        if length > self.message_bytes_max as u64 {
            return Err(TOO_LARGE);
        }
        let (key, rest) = match rest.split_first_chunk() {
            _ if !is_masked => (None, rest),
            Some((key, rest)) => (Some(*key), rest),
            None => return Ok(None),
        };
        let Some(payload) = rest.get(..length as usize) else {
            return Ok(None);
        };
        let payload = match key {
            None => payload.to_vec(),
            Some(key) => masked(payload, key),
        };
        let end = self.buffer.len() - rest.len() + length as usize;
        self.buffer.drain(..end);
        Ok(Some((first, payload)))
    }
}

fn close(payload: &[u8]) -> Result<Option<Close>, Fault> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(PROTOCOL_ERROR);
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(PROTOCOL_ERROR);
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some(Close { code, reason: reason.to_owned() })),
        Err(_) => Err(BAD_TEXT),
    }
}

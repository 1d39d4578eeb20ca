use super::{Control, Data, OpCode};
use bytes::Bytes;

/// A close frame's payload is a control payload (125 bytes) that begins with the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Appends the header of one whole, unmasked frame of `len` payload bytes.
pub fn put_header(out: &mut Vec<u8>, opcode: OpCode, len: usize) {
    let (header, size) = header(opcode, len);
    out.extend_from_slice(&header[..size]);
}

/// A header, and how long it is. RFC 6455 §5.2.
fn header(opcode: OpCode, len: usize) -> ([u8; HEADER_ROOM], usize) {
    let mut header = [0; HEADER_ROOM];
    header[0] = 0x80 | u8::from(opcode);
    let size = match len {
        0..=125 => {
            header[1] = len as u8;
            2
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    (header, size)
}

/// What most frames have for a header.
const HEADER_GUESS: usize = 4;

/// Begins a text frame behind what is in `out`, for a caller that writes the text itself; returns where it begins, for
/// [`end_text_frame`].
#[inline]
pub fn begin_text_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_GUESS]);
    start
}

/// Ends the text frame that begins at `start`. `apart`: so many bytes more belong to it, which are sent behind it.
pub fn end_text_frame(out: &mut Vec<u8>, start: usize, apart: usize) {
    let text = start + HEADER_GUESS..out.len();
    let (header, size) = header(OpCode::Data(Data::Text), text.len() + apart);
    if size != HEADER_GUESS {
        let end = start + size + text.len();
        out.resize(out.len().max(end), 0);
        out.copy_within(text, start + size);
        out.truncate(end);
    }
    out[start..start + size].copy_from_slice(&header[..size]);
}

/// One whole, unmasked text frame.
pub fn text_frame(payload: &str) -> Bytes {
    frame(OpCode::Data(Data::Text), payload.as_bytes())
}

/// Bytes that [`text_frame_in_place`] writes a header into.
pub const HEADER_ROOM: usize = 10;

/// One whole, unmasked text frame of what comes behind the first [`HEADER_ROOM`] bytes, which is not copied.
///
/// # Panics
/// When there are fewer.
pub fn text_frame_in_place(packet: String) -> Bytes {
    let mut frame = packet.into_bytes();
    let (header, size) = header(OpCode::Data(Data::Text), frame.len() - HEADER_ROOM);
    let begin = HEADER_ROOM - size;
    frame[begin..HEADER_ROOM].copy_from_slice(&header[..size]);
    Bytes::from(frame).slice(begin..)
}

/// One whole, unmasked binary frame.
pub fn binary_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Data(Data::Binary), payload)
}

/// A ping. `payload`: at most 125 bytes; what is longer is cut.
pub fn ping_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Ping), &payload[..payload.len().min(125)])
}

/// A pong. `payload`: that of the ping it answers, at most 125 bytes; what is longer is cut.
pub fn pong_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Control(Control::Pong), &payload[..payload.len().min(125)])
}

/// A close frame. `reason` is cut at a character boundary to what a close frame can hold.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    frame(OpCode::Control(Control::Close), &payload)
}

/// The payload of one whole, unmasked frame made by this module.
pub fn payload_of(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header_bytes..).unwrap_or_default()
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(10 + payload.len());
    put_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    Bytes::from(out)
}

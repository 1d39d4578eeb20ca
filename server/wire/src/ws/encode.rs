use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;

use super::{Control, Data, OpCode};

/// A close frame's payload is a control payload (125 bytes) that begins with the code.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Appends the header of one whole, unmasked frame of `len` payload bytes.
pub fn put_header(out: &mut Vec<u8>, opcode: OpCode, len: usize) {
    FrameHeader { opcode, ..FrameHeader::default() }
        .format(len as u64, out)
        .expect("writing to a Vec cannot fail");
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
    let mut header = Vec::with_capacity(HEADER_ROOM);
    put_header(&mut header, OpCode::Data(Data::Text), frame.len() - HEADER_ROOM);
    let begin = HEADER_ROOM - header.len();
    frame[begin..HEADER_ROOM].copy_from_slice(&header);
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

//! The server's side of RFC 6455: reads masked client frames, writes unmasked ones.
//!
//! No extension is ever negotiated, so the reserved bits must be zero. Spec: TRN-50 to TRN-59.

mod boundary;
mod encode;
mod frame;
mod read;

pub use boundary::frame_at;
pub use encode::{
    HEADER_ROOM, begin_text_frame, binary_frame, close_frame, end_text_frame, payload_of,
    ping_frame, pong_frame, put_header, text_frame, text_frame_in_place,
};
pub use read::{Decoder, Limits, Message};
pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

pub use crate::Fault;

/// The `Sec-WebSocket-Accept` value that answers a client's `Sec-WebSocket-Key`.
pub fn accept_key(sec_websocket_key: &str) -> String {
    tungstenite::handshake::derive_accept_key(sec_websocket_key.as_bytes())
}

/// Whether a peer may send this code in a close frame: what RFC 6455 §7.4 and the IANA registry
/// allow. tungstenite does not know 1014 (bad gateway), registered later.
fn is_sendable(code: u16) -> bool {
    code == 1014 || CloseCode::from(code).is_allowed()
}

#[cfg(test)]
mod tests;

//! What a client sends and receives, and the socket in between.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};

pub use throng_codec::websocket::Message;
use throng_codec::websocket::{Decoder, FIN, Fault, Mask, TEXT, frame};
use throng_engine::{Eio, Endpoint, EngineRequest, Flushed, Method, Outbox, PipeId, Transport};

/// Pieces offered in one send.
const PIECES_MAX: usize = 8;

/// A WebSocket client: which shard, which pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub shard: usize,
    pub pipe: PipeId,
}

/// A handshake or poll from an allowed origin, without session and token.
pub fn request(transport: Transport, eio: Eio) -> EngineRequest {
    EngineRequest {
        endpoint: Endpoint::SocketIo,
        method: Method::Get,
        transport,
        eio,
        sid: None,
        b64: false,
        jsonp: None,
        token: None,
        origin_allowed: true,
        octet_stream: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// A client's frame. `first` holds FIN, the reserved bits and the opcode, valid or not.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Mask::Client)
}

/// A client's text message in one frame.
pub fn text(payload: &str) -> Vec<u8> {
    masked(FIN | TEXT, payload.as_bytes())
}

/// Sends what the pipe has to a socket that takes `space` bytes, and appends what it took to `down`.
/// True if the pipe is to be shut down.
pub fn send(outbox: &mut Outbox, pipe: PipeId, mut space: usize, down: &mut Vec<u8>) -> bool {
    loop {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = outbox.slices(pipe, &mut pieces, usize::MAX);
        let offered: usize = pieces[..count].iter().map(|piece| piece.len()).sum();
        let taken = offered.min(space);
        let bytes = pieces[..count].iter().flat_map(|piece| piece.iter());
        down.extend(bytes.take(taken));
        space -= taken;
        match outbox.sent(pipe, taken) {
            Flushed::Empty => return false,
            // The socket accepted everything, and there are more pieces.
            Flushed::More if taken == offered => outbox.writable(pipe),
            Flushed::More => return false,
            Flushed::Close => return true,
        }
    }
}

/// What a client reads off its pipe.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// The whole HTTP answer to a handshake that was refused.
    Refused(String),
    Message(Message),
}

/// The client's side of a pipe: the HTTP answer, then messages, from bytes in pieces of any size.
pub struct Reader {
    /// The answer as far as it has arrived; `None` once it was a `101`.
    answer: Option<Vec<u8>>,
    messages: Decoder,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { answer: Some(Vec::new()), messages: Decoder::new(Some(Mask::Server), usize::MAX) }
    }
}

impl Reader {
    pub fn push(&mut self, bytes: &[u8]) {
        let Some(answer) = &mut self.answer else { return self.messages.push(bytes) };
        answer.extend_from_slice(bytes);
        if !answer.starts_with(b"HTTP/1.1 101 ") {
            return;
        }
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            self.messages.push(&answer[end + 4..]);
            self.answer = None;
        }
    }

    /// The next message; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The server broke RFC 6455.
    pub fn receive(&mut self) -> Result<Option<Received>, Fault> {
        let Some(answer) = &mut self.answer else {
            return Ok(self.messages.next_message()?.map(Received::Message));
        };
        let is_whole = answer.windows(4).any(|four| four == b"\r\n\r\n");
        let answer = is_whole.then(|| std::mem::take(answer));
        Ok(answer.map(|bytes| Received::Refused(String::from_utf8_lossy(&bytes).into_owned())))
    }

    /// Whether all bytes were read.
    pub fn is_empty(&self) -> bool {
        self.answer.as_ref().is_none_or(Vec::is_empty) && self.messages.is_empty()
    }
}

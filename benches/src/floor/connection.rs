//! One connection of the floor program: upgrade, unmask, write.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use throng_loadgen::frame::{self, Head};
use tungstenite::handshake::derive_accept_key;

pub struct Connection {
    pub stream: TcpStream,
    pub is_watched: bool,
    is_open: bool,
    carry: Vec<u8>,
    pending: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        let (carry, pending) = (Vec::new(), Vec::new());
        Self { stream, is_watched: false, is_open: false, carry, pending }
    }

    pub fn is_full(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads once; appends the text messages, ready to be sent, to `frames`. False: it is over.
    pub fn read(&mut self, buffer: &mut [u8], frames: &mut Vec<u8>) -> bool {
        let read = match self.stream.read(buffer) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        self.carry.extend_from_slice(&buffer[..read]);
        if !self.is_open && !self.upgrade() {
            return true;
        }
        let mut at = 0;
        while let Some((used, opcode)) = take_frame(&mut self.carry[at..], frames) {
            if opcode == frame::CLOSE {
                return false;
            }
            at += used;
        }
        self.carry.drain(..at);
        true
    }

    fn upgrade(&mut self) -> bool {
        let Some(end) = self.carry.windows(4).position(|window| window == b"\r\n\r\n") else {
            return false;
        };
        let head = String::from_utf8_lossy(&self.carry[..end]).into_owned();
        let key = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        });
        let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.carry.drain(..end + 4);
        self.is_open = true;
        self.send_now(answer.as_bytes());
        true
    }

    /// Sends what fits at once and keeps the rest.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.is_open {
            self.send_now(bytes);
        }
    }

    fn send_now(&mut self, bytes: &[u8]) {
        if self.is_full() {
            self.pending.extend_from_slice(bytes);
            return;
        }
        // A broken connection shows itself at the next read.
        let sent = self.stream.write(bytes).unwrap_or(0);
        self.pending.extend_from_slice(&bytes[sent..]);
    }

    /// Writes what was kept. False: it is over.
    pub fn flush(&mut self) -> bool {
        if self.is_full() {
            match self.stream.write(&self.pending) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// Takes one client frame from `bytes`; appends it to `frames` as a server's frame if it is text.
fn take_frame(bytes: &mut [u8], frames: &mut Vec<u8>) -> Option<(usize, u8)> {
    match frame::client_head(bytes) {
        Head::Frame { opcode, header, len, .. } => {
            let (head, payload) = bytes[..header + len].split_at_mut(header);
            if opcode == frame::TEXT {
                let mask = [head[header - 4], head[header - 3], head[header - 2], head[header - 1]];
                frame::apply_mask(mask, payload);
                frame::put_unmasked(frames, opcode, payload);
            }
            Some((header + len, opcode))
        }
        Head::Partial { .. } => None,
        Head::Malformed(_) => Some((0, frame::CLOSE)),
    }
}

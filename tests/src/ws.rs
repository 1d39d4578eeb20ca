//! A WebSocket client that sends exactly the frames it is told to, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame: its code (1005 if it had none) and reason.
    Close(u16, String),
    /// Without one: the connection was closed or reset.
    Dropped,
}

impl End {
    pub fn code(&self) -> u16 {
        match self {
            End::Close(code, _) => *code,
            End::Dropped => 1006,
        }
    }
}

pub struct Ws {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// The bytes of one masked frame.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_with((if fin { 0x80 } else { 0 }) | opcode, payload)
}

/// The same with any first byte, reserved bits included.
pub fn frame_with(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).expect("below 126")),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(len).expect("below 65536").to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason);
    payload
}

/// The opening request for `path`.
pub fn upgrade_request(address: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

impl Ws {
    /// Opens a WebSocket and checks the server's half of the handshake.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Ws {
        let mut stream = http::connect(address);
        stream.write_all(upgrade_request(address, path).as_bytes()).expect("the server reads");
        let mut ws = Ws { stream, unread: Vec::new() };
        let head = loop {
            if let Some(end) = ws.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = ws.unread.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut ws.unread, rest))
                    .expect("a text head");
            }
            assert!(
                ws.fill() > 0,
                "closed during the handshake: {:?}",
                String::from_utf8_lossy(&ws.unread)
            );
        };
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let accept = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
        assert!(head.to_ascii_lowercase().contains(accept), "{head}");
        ws
    }

    fn fill(&mut self) -> usize {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                count
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Sends any bytes; an error means the server has closed already, which reading will tell.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.send_raw(&frame(true, opcode, payload));
    }

    pub fn text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// The next frame, or `None` when the connection is over.
    #[track_caller]
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if self.fill() == 0 {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let [first, second, rest @ ..] = &self.unread[..] else { return None };
        assert!(second & 0x80 == 0, "a server never masks");
        assert!(first & 0x70 == 0, "no extension was agreed on");
        let (size, len) = match second & 0x7f {
            126 => (2, usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?))),
            127 => (8, usize::try_from(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)).ok()?),
            short => (0, usize::from(short)),
        };
        let payload = rest.get(size..size + len)?.to_vec();
        let frame = Frame { fin: first & 0x80 != 0, opcode: first & 0x0f, payload };
        self.unread.drain(..2 + size + len);
        Some(frame)
    }

    /// The next whole message, control frames skipped and pings answered.
    #[track_caller]
    pub fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut whole: Option<(u8, Vec<u8>)> = None;
        while let Some(frame) = self.frame() {
            match frame.opcode {
                PING => self.send(PONG, &frame.payload),
                PONG => {}
                CLOSE => return None,
                CONTINUATION => whole.as_mut().expect("a first frame").1.extend(frame.payload),
                opcode => whole = Some((opcode, frame.payload)),
            }
            if frame.fin && frame.opcode < CLOSE {
                return whole;
            }
        }
        None
    }

    /// The next text message that is not an Engine.IO ping; pings are answered.
    #[track_caller]
    pub fn packet(&mut self) -> Option<String> {
        loop {
            let (opcode, payload) = self.message()?;
            assert_eq!(opcode, TEXT, "a text message");
            match String::from_utf8(payload).expect("text is UTF-8").as_str() {
                "2" => self.text("3"),
                text => return Some(text.to_owned()),
            }
        }
    }

    /// Skips packets until one contains `part`.
    #[track_caller]
    pub fn packet_with(&mut self, part: &str) -> String {
        loop {
            let packet = self.packet().unwrap_or_else(|| panic!("closed before {part}"));
            if packet.contains(part) {
                return packet;
            }
        }
    }

    /// Reads to the end of the connection and tells how it ended.
    #[track_caller]
    pub fn end(&mut self) -> End {
        while let Some(frame) = self.frame() {
            if frame.opcode != CLOSE {
                continue;
            }
            let code = frame.payload.get(..2).and_then(|code| code.try_into().ok());
            let reason = frame.payload.get(2..).unwrap_or_default().to_vec();
            let reason = String::from_utf8(reason).expect("a reason is UTF-8");
            return End::Close(code.map_or(1005, u16::from_be_bytes), reason);
        }
        End::Dropped
    }

    /// How long reading waits before it fails.
    pub fn patience(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a timeout is valid");
    }
}

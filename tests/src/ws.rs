//! A WebSocket client that sends exactly the given frames, valid or not. The codec is `tungstenite`'s.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::Error;
use tungstenite::protocol::frame::{self, FrameHeader, FrameSocket};

use crate::http;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

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

pub struct Ws(FrameSocket<TcpStream>);

/// The bytes of one masked frame.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_with((if fin { 0x80 } else { 0 }) | opcode, payload)
}

/// The same with any first byte, reserved bits and opcodes included.
pub fn frame_with(first: u8, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        rsv2: first & 0x20 != 0,
        rsv3: first & 0x10 != 0,
        opcode: (first & 0x0f).into(),
        mask: Some([0x37, 0xfa, 0x21, 0x3d]),
    };
    let mut bytes = Vec::new();
    let frame = frame::Frame::from_payload(header, payload.to_vec().into());
    frame.format(&mut bytes).expect("a vector takes everything");
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
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let count = stream.read(&mut byte).expect("an answer");
            assert!(count > 0, "closed during the handshake: {}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a text head");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let accept = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
        assert!(head.to_ascii_lowercase().contains(accept), "{head}");
        Ws(FrameSocket::new(stream))
    }

    /// Sends any bytes; an error means that the server has closed already, which reading shows.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
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
        let frame = match self.0.read(None) {
            Ok(frame) => frame?,
            Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no answer: {error}"),
        };
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = frame.header().clone();
        assert!(mask.is_none(), "a server never masks");
        assert!(!(rsv1 || rsv2 || rsv3), "no extension was agreed on");
        Some(Frame { fin: is_final, opcode: opcode.into(), payload: frame.payload().to_vec() })
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

    /// Reads to the end of the connection and returns how it ended.
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
    pub fn set_timeout(&mut self, limit: Duration) {
        self.0.get_ref().set_read_timeout(Some(limit)).expect("a timeout is valid");
    }
}

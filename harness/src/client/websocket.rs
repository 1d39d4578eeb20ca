//! A WebSocket without threads: for cases that must control every frame.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::Trouble;
use super::http::{Connection, Request};
use super::target::Target;
use super::transcript::Log;
use crate::codec::engine::Frame;

const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// RFC 6455 §1.3 gives this answer for the key above.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a peer's close frame said; 1005 when it carried no code, 1006 when there was no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    pub code: u16,
    pub reason: String,
}

/// A stream whose writes are whole: two threads may answer on it without mixing frames.
pub struct Shared {
    stream: TcpStream,
    first: Vec<u8>,
    writes: Arc<Mutex<()>>,
}

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.first[..count]);
            self.first.drain(..count);
            return Ok(count);
        }
        self.stream.read(buffer)
    }
}

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let _whole = self.writes.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        self.stream.write_all(buffer)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

pub struct RawSocket {
    socket: WebSocket<Shared>,
    log: Log,
    closed: Option<CloseFrame>,
    /// Data of the pongs that came, oldest first.
    pub pongs: Vec<Vec<u8>>,
}

impl RawSocket {
    /// Opens a WebSocket at `path` (with query).
    pub fn open(target: &Target, path: &str, log: &Log) -> Result<RawSocket, Trouble> {
        RawSocket::open_with(target, path, &[], log)
    }

    pub fn open_with(
        target: &Target,
        path: &str,
        extra: &[(&str, &str)],
        log: &Log,
    ) -> Result<RawSocket, Trouble> {
        let mut connection = Connection::open(target, log)?;
        let mut headers = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        headers.extend_from_slice(extra);
        let request = Request { method: "GET", path, headers: &headers, body: &[] };
        let response = connection.exchange(&request, HANDSHAKE_WAIT)?;
        if response.status != 101 {
            return Err(Trouble::Refused(response));
        }
        if response.header("sec-websocket-accept") != Some(ACCEPT) {
            return Err(Trouble::Protocol("wrong Sec-WebSocket-Accept".into()));
        }
        let (stream, first) = connection.into_parts();
        let shared = Shared { stream, first, writes: Arc::new(Mutex::new(())) };
        let config = WebSocketConfig::default().max_message_size(Some(64 << 20));
        let socket = WebSocket::from_raw_socket(shared, Role::Client, Some(config));
        Ok(RawSocket { socket, log: log.clone(), closed: None, pongs: Vec::new() })
    }

    /// A second handle that only writes, for a thread other than the reader.
    pub fn writer(&self) -> Result<RawSocket, Trouble> {
        let from = self.socket.get_ref();
        let stream = from.stream.try_clone().map_err(|why| Trouble::Closed(why.to_string()))?;
        let shared = Shared { stream, first: Vec::new(), writes: from.writes.clone() };
        let socket = WebSocket::from_raw_socket(shared, Role::Client, None);
        Ok(RawSocket { socket, log: self.log.clone(), closed: None, pongs: Vec::new() })
    }

    pub fn send(&mut self, text: &str) -> Result<(), Trouble> {
        self.send_frame(&Frame::Text(text.to_owned()))
    }

    pub fn send_frame(&mut self, frame: &Frame) -> Result<(), Trouble> {
        let message = match frame {
            Frame::Text(text) => {
                self.log.sent(text);
                Message::text(text.clone())
            }
            Frame::Binary(bytes) => {
                self.log.sent(format!("binary, {} bytes: {}", bytes.len(), hex(bytes)));
                Message::binary(bytes.clone())
            }
        };
        self.socket.send(message).map_err(trouble)
    }

    /// A frame built by hand: `first` holds FIN, the reserved bits and the opcode.
    pub fn send_raw(&mut self, first: u8, payload: &[u8], masked: bool) -> Result<(), Trouble> {
        let kind = if masked { "masked" } else { "unmasked" };
        self.log
            .sent(format!("raw {kind} frame {first:#04x}: {}", String::from_utf8_lossy(payload)));
        let bytes = raw_frame(first, payload, masked);
        self.send_bytes(&bytes)
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let shared = self.socket.get_mut();
        shared.write_all(bytes).map_err(|why| Trouble::Closed(why.to_string()))
    }

    /// The next data message; pings are answered on the way.
    pub fn receive(&mut self, wait: Duration) -> Result<Frame, Trouble> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Trouble::Timeout("no frame".into()));
            }
            let stream = &self.socket.get_ref().stream;
            stream.set_read_timeout(Some(left)).map_err(|why| Trouble::Closed(why.to_string()))?;
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    self.log.received(text.as_str());
                    return Ok(Frame::Text(text.as_str().to_owned()));
                }
                Ok(Message::Binary(bytes)) => {
                    self.log.received(format!("binary, {} bytes: {}", bytes.len(), hex(&bytes)));
                    return Ok(Frame::Binary(bytes.to_vec()));
                }
                Ok(Message::Close(frame)) => {
                    let close = match frame {
                        Some(frame) => CloseFrame {
                            code: frame.code.into(),
                            reason: frame.reason.as_str().to_owned(),
                        },
                        None => CloseFrame { code: 1005, reason: String::new() },
                    };
                    self.log.received(format!("close {} {}", close.code, close.reason));
                    let why = format!("close frame {} {}", close.code, close.reason);
                    self.closed = Some(close);
                    return Err(Trouble::Closed(why));
                }
                Ok(Message::Pong(data)) => self.pongs.push(data.to_vec()),
                Ok(_) => {}
                Err(tungstenite::Error::Io(why)) if why.kind() == ErrorKind::WouldBlock => {
                    return Err(Trouble::Timeout("no frame".into()));
                }
                Err(why) => {
                    if self.closed.is_none() {
                        self.log.note(format!("connection ended: {why}"));
                        self.closed = Some(CloseFrame { code: 1006, reason: why.to_string() });
                    }
                    return Err(trouble(why));
                }
            }
        }
    }

    pub fn receive_text(&mut self, wait: Duration) -> Result<String, Trouble> {
        match self.receive(wait)? {
            Frame::Text(text) => Ok(text),
            Frame::Binary(bytes) => {
                Err(Trouble::Protocol(format!("a binary message of {} bytes", bytes.len())))
            }
        }
    }

    /// Reads until the peer closes; `None` if it does not within `wait`.
    pub fn wait_close(&mut self, wait: Duration) -> Option<CloseFrame> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left) {
                Ok(_) => {}
                Err(Trouble::Timeout(_)) => return None,
                Err(_) => return self.closed.clone(),
            }
        }
    }

    pub fn closed(&self) -> Option<&CloseFrame> {
        self.closed.as_ref()
    }

    /// A close frame with code 1000.
    pub fn close(&mut self) {
        self.log.sent("close 1000");
        // A peer that is gone needs no farewell.
        let _ = self.send_bytes(&raw_frame(0x88, &1000u16.to_be_bytes(), true));
    }

    /// FIN without a close frame.
    pub fn hang_up(&self) {
        self.log.sent("FIN");
        let _ = self.socket.get_ref().stream.shutdown(Shutdown::Both);
    }

    /// Arms the socket so that dropping the last handle sends RST.
    pub fn arm_reset(&self) {
        self.log.sent("RST");
        let socket = socket2::SockRef::from(&self.socket.get_ref().stream);
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}

pub fn raw_frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
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
    if masked {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        out.extend_from_slice(&key);
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        out.extend_from_slice(payload);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    let mut out = data_encoding::HEXLOWER.encode(&bytes[..bytes.len().min(48)]);
    if bytes.len() > 48 {
        out.push('…');
    }
    out
}

fn trouble(why: tungstenite::Error) -> Trouble {
    use tungstenite::Error;
    match why {
        Error::ConnectionClosed | Error::AlreadyClosed => Trouble::Closed("closed".into()),
        Error::Io(why) if why.kind() == ErrorKind::WouldBlock => {
            Trouble::Timeout("the peer takes no more bytes".into())
        }
        Error::Io(why) => Trouble::Closed(why.to_string()),
        Error::Protocol(why @ tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            Trouble::Closed(why.to_string())
        }
        other => Trouble::Protocol(other.to_string()),
    }
}

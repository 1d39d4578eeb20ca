//! A WebSocket without threads: for cases that must control every frame.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use throng_codec::engine::Frame;
use throng_codec::websocket::{
    BINARY, Close, Decoder, FIN, Fault, Mask, Message, PONG, TEXT, accept_key, close_frame, frame,
};

use super::ClientError;
use super::http::{Connection, Request, Response, read_some};
use super::target::Target;
use super::transcript::Log;

const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// The key of the examples in RFC 6455.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The headers of a valid upgrade.
pub const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

/// What ended the connection: 1005 for a close frame without a code, 1006 for none at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloseFrame {
    pub code: u16,
    pub reason: String,
}

pub struct RawSocket {
    stream: TcpStream,
    decoder: Decoder,
    /// Held while a frame is written: two threads may write on one stream.
    writes: Arc<Mutex<()>>,
    log: Log,
    closed: Option<CloseFrame>,
    /// Data of the received pongs, oldest first.
    pub pongs: Vec<Vec<u8>>,
}

impl RawSocket {
    /// Opens a WebSocket at `path` (with query).
    pub fn open(target: &Target, path: &str, log: &Log) -> Result<RawSocket, ClientError> {
        RawSocket::open_with(target, path, &[], log)
    }

    pub fn open_with(
        target: &Target,
        path: &str,
        extra: &[(&str, &str)],
        log: &Log,
    ) -> Result<RawSocket, ClientError> {
        let (connection, response) = upgrade(target, path, extra, log)?;
        if response.status != 101 {
            return Err(ClientError::Refused(response));
        }
        if response.header("sec-websocket-accept") != Some(&accept_key(KEY)) {
            return Err(ClientError::Protocol("wrong Sec-WebSocket-Accept".into()));
        }
        let (stream, first) = connection.into_parts();
        let mut socket = RawSocket::new(stream, Arc::default(), log);
        socket.decoder.push(&first);
        Ok(socket)
    }

    /// A second handle that only writes, for a thread other than the reader.
    pub fn writer(&self) -> Result<RawSocket, ClientError> {
        Ok(RawSocket::new(self.stream.try_clone()?, self.writes.clone(), &self.log))
    }

    /// The connection, for a client that goes on by hand.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn new(stream: TcpStream, writes: Arc<Mutex<()>>, log: &Log) -> RawSocket {
        let decoder = Decoder::new(Some(Mask::Server), MESSAGE_BYTES_MAX);
        RawSocket { stream, decoder, writes, log: log.clone(), closed: None, pongs: Vec::new() }
    }

    pub fn send(&mut self, text: &str) -> Result<(), ClientError> {
        self.send_frame(&Frame::Text(text.to_owned()))
    }

    pub fn send_frame(&mut self, message: &Frame) -> Result<(), ClientError> {
        let (opcode, payload) = match message {
            Frame::Text(text) => {
                self.log.sent(text);
                (TEXT, text.as_bytes())
            }
            Frame::Binary(bytes) => {
                self.log.sent(binary(bytes));
                (BINARY, bytes.as_slice())
            }
        };
        self.send_bytes(&frame(FIN | opcode, payload, Mask::Client))
    }

    /// A frame built by hand: `first` holds FIN, the reserved bits and the opcode.
    pub fn send_raw(&mut self, first: u8, payload: &[u8]) -> Result<(), ClientError> {
        self.log.sent(format!("raw frame {first:#04x}: {}", String::from_utf8_lossy(payload)));
        self.send_bytes(&frame(first, payload, Mask::Client))
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let _whole = self.writes.lock().expect("no thread panics while it writes a frame");
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next data message; pings are answered on the way.
    pub fn receive(&mut self, wait: Duration) -> Result<Frame, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            match self.decoder.next_message() {
                Ok(Some(Message::Text(text))) => {
                    self.log.received(&text);
                    return Ok(Frame::Text(text));
                }
                Ok(Some(Message::Binary(bytes))) => {
                    self.log.received(binary(&bytes));
                    return Ok(Frame::Binary(bytes));
                }
                Ok(Some(Message::Close(close))) => return Err(self.answer_close(close)),
                Ok(Some(Message::Pong(data))) => self.pongs.push(data),
                Ok(Some(Message::Ping(data))) => {
                    self.send_bytes(&frame(FIN | PONG, &data, Mask::Client))?;
                }
                Ok(None) => self.fill(deadline)?,
                Err(Fault(code)) => {
                    let why = format!("the server sent a bad frame: close code {code}");
                    self.ended(&why);
                    return Err(ClientError::Protocol(why));
                }
            }
        }
    }

    fn answer_close(&mut self, close: Option<Close>) -> ClientError {
        let (code, reason) = close.map_or((1005, String::new()), |c| (c.code, c.reason));
        let why = format!("close frame {code} {reason}");
        self.log.received(&why);
        self.closed = Some(CloseFrame { code, reason });
        // The server may have closed the connection already.
        let code = if code == 1005 { 1000 } else { code };
        let _ = self.send_bytes(&close_frame(code, "", Mask::Client));
        ClientError::Closed(why)
    }

    /// Reads the available bytes, or waits for some.
    fn fill(&mut self, deadline: Instant) -> Result<(), ClientError> {
        let read = read_some(&mut self.stream, deadline, "no frame");
        if let Err(ClientError::Closed(why)) = &read {
            self.ended(why);
        }
        self.decoder.push(&read?);
        Ok(())
    }

    fn ended(&mut self, why: &str) {
        if self.closed.is_none() {
            self.log.note(format!("connection ended: {why}"));
            self.closed = Some(CloseFrame { code: 1006, reason: why.to_owned() });
        }
    }

    pub fn receive_text(&mut self, wait: Duration) -> Result<String, ClientError> {
        match self.receive(wait)? {
            Frame::Text(text) => Ok(text),
            Frame::Binary(bytes) => {
                Err(ClientError::Protocol(format!("a binary message of {} bytes", bytes.len())))
            }
        }
    }

    /// Reads text messages until one is `wanted`.
    pub fn receive_where(
        &mut self,
        wait: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            let text = self.receive_text(deadline.saturating_duration_since(Instant::now()))?;
            if wanted(&text) {
                return Ok(text);
            }
        }
    }

    /// Reads until the peer closes; `None` if it does not within `wait`.
    pub fn wait_close(&mut self, wait: Duration) -> Option<CloseFrame> {
        let deadline = Instant::now() + wait;
        while self.closed.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(ClientError::Timeout(_)) = self.receive(left) {
                return None;
            }
        }
        self.closed.clone()
    }

    pub fn closed(&self) -> Option<&CloseFrame> {
        self.closed.as_ref()
    }

    /// A close frame with code 1000.
    pub fn close(&mut self) {
        self.log.sent("close 1000");
        // The server may have closed the connection already.
        let _ = self.send_bytes(&close_frame(1000, "", Mask::Client));
    }

    /// FIN without a close frame.
    pub fn hang_up(&self) {
        self.log.sent("FIN");
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Arms the socket so that dropping the last handle sends RST.
    pub fn arm_reset(&self) {
        self.log.sent("RST");
        let socket = socket2::SockRef::from(&self.stream);
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}

/// Requests an upgrade at `path`: the connection, and the answer to the request.
pub fn upgrade(
    target: &Target,
    path: &str,
    extra: &[(&str, &str)],
    log: &Log,
) -> Result<(Connection, Response), ClientError> {
    let mut connection = Connection::open(target, log)?;
    let headers = [&UPGRADE, extra].concat();
    let request = Request { method: "GET", path, headers: &headers, body: &[] };
    let response = connection.exchange(&request, target.answer_wait)?;
    Ok((connection, response))
}

fn binary(bytes: &[u8]) -> String {
    format!("binary, {} bytes: {}", bytes.len(), hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = data_encoding::HEXLOWER.encode(&bytes[..bytes.len().min(48)]);
    if bytes.len() > 48 {
        out.push('…');
    }
    out
}

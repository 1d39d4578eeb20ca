//! The server side of a WebSocket: messages in, frames out.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use throng_codec::websocket::{self, Decoder, FIN, Mask, Message, PONG, TEXT};

/// Why there is no next message.
pub enum Fault {
    /// A rule was violated that requires this close code.
    Close(u16),
    /// The connection ended or failed.
    Gone,
    /// Nothing came within the socket's read timeout.
    Quiet,
}

/// The writing half, shared by the reader (pongs, close) and the writer thread.
#[derive(Clone)]
pub struct Writer(Arc<Mutex<TcpStream>>, Mask);

impl Writer {
    /// `masks`: as only clients may.
    pub fn new(stream: TcpStream, masks: bool) -> Writer {
        Writer(Arc::new(Mutex::new(stream)), if masks { Mask::Client } else { Mask::Server })
    }

    pub fn write(&self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.write_bytes(&websocket::frame(FIN | opcode, payload, self.1))
    }

    pub fn text(&self, text: &str) -> io::Result<()> {
        self.write(TEXT, text.as_bytes())
    }

    pub fn pong(&self, payload: &[u8]) {
        // A failed write is seen by the reader, as the end of the stream.
        let _ = self.write(PONG, payload);
    }

    pub fn close(&self, code: u16, reason: &str) {
        // The peer may be gone already.
        let _ = self.write_bytes(&websocket::close_frame(code, reason, Mask::Server));
    }

    fn write_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        stream.write_all(bytes)
    }
}

pub struct Reader<R> {
    stream: R,
    /// `None` after a fault: what follows is read and dropped, so that the peer can read our close.
    decoder: Option<Decoder>,
    /// A message in fragments is a fault.
    pub refuses_fragments: bool,
}

impl<R: Read> Reader<R> {
    /// `mask`: the frames to accept. A server accepts masked ones only.
    pub fn new(stream: R, message_bytes_max: usize, mask: Option<Mask>) -> Reader<R> {
        let decoder = Some(Decoder::new(mask, message_bytes_max));
        Reader { stream, decoder, refuses_fragments: false }
    }

    /// Changes the size of messages that are accepted from now on.
    pub fn limit(&mut self, message_bytes_max: usize) {
        if let Some(decoder) = &mut self.decoder {
            decoder.limit(message_bytes_max);
        }
    }

    pub fn get_ref(&self) -> &R {
        &self.stream
    }

    pub fn next(&mut self) -> Result<Message, Fault> {
        loop {
            match self.decoder.as_mut().map(Decoder::next_message) {
                Some(Ok(Some(message))) => return Ok(message),
                Some(Err(websocket::Fault(code))) => {
                    self.decoder = None;
                    return Err(Fault::Close(code));
                }
                Some(Ok(None)) | None => {}
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Fault::Gone),
                Ok(_) if self.refuses_fragments && chunk[0] & FIN == 0 => {
                    self.decoder = None;
                    return Err(Fault::Close(1002));
                }
                Ok(count) => match &mut self.decoder {
                    Some(decoder) => decoder.push(&chunk[..count]),
                    // The caller decides for how long.
                    None => return Err(Fault::Quiet),
                },
                Err(why) => match why.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(Fault::Quiet);
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(Fault::Gone),
                },
            }
        }
    }
}

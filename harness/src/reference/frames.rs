//! The server side of RFC 6455, one frame at a time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

const FRAGMENTS_MAX: u32 = 1_024;

pub enum Incoming {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// The peer closes; the code to answer with.
    Close(u16),
}

pub enum Fault {
    /// The rule broken asks for this close code.
    Close(u16),
    /// The connection ended or failed.
    Gone,
    /// Nothing came within the socket's read timeout, between two frames.
    Quiet,
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Fault {
        Fault::Gone
    }
}

/// The writing half, shared by the reader (pongs, close) and the writer thread.
#[derive(Clone)]
pub struct Writer(Arc<Mutex<TcpStream>>);

impl Writer {
    pub fn new(stream: TcpStream) -> Writer {
        Writer(Arc::new(Mutex::new(stream)))
    }

    pub fn write(&self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut out = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => out.push(length as u8),
            length @ 126..=65_535 => {
                out.push(126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
        let mut stream = self.0.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        stream.write_all(&out)
    }

    pub fn text(&self, text: &str) -> io::Result<()> {
        self.write(1, text.as_bytes())
    }

    pub fn close(&self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        // The peer may be gone already; then nobody is left to tell.
        let _ = self.write(8, &payload);
    }
}

pub struct Reader<R> {
    stream: R,
    max: usize,
    /// Accept unmasked frames, which no server may.
    lax: bool,
    message: Option<(u8, Vec<u8>)>,
    fragments: u32,
}

impl<R: Read> Reader<R> {
    pub fn new(stream: R, max: usize, lax: bool) -> Reader<R> {
        Reader { stream, max, lax, message: None, fragments: 0 }
    }

    pub fn get_ref(&self) -> &R {
        &self.stream
    }

    pub fn next(&mut self) -> Result<Incoming, Fault> {
        loop {
            let (first, payload) = self.frame()?;
            let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
            match opcode {
                0 => match &mut self.message {
                    Some((_, data)) => data.extend_from_slice(&payload),
                    None => return Err(Fault::Close(1002)),
                },
                1 | 2 if self.message.is_some() => {
                    return Err(Fault::Close(1002));
                }
                1 | 2 => self.message = Some((opcode, payload)),
                8 => return Ok(Incoming::Close(close_code(&payload)?)),
                9 => return Ok(Incoming::Ping(payload)),
                _ => continue,
            }
            self.fragments = if opcode == 0 { self.fragments + 1 } else { 1 };
            let too_long = self.message.as_ref().is_some_and(|(_, data)| data.len() > self.max);
            if too_long || self.fragments > FRAGMENTS_MAX {
                return Err(Fault::Close(1009));
            }
            if let (true, Some((kind, data))) = (fin, self.message.take_if(|_| fin)) {
                return match kind {
                    2 => Ok(Incoming::Binary(data)),
                    _ => match String::from_utf8(data) {
                        Ok(text) => Ok(Incoming::Text(text)),
                        Err(_) => Err(Fault::Close(1007)),
                    },
                };
            }
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), Fault> {
        let mut first = [0; 1];
        match self.stream.read(&mut first) {
            Ok(0) => return Err(Fault::Gone),
            Ok(_) => {}
            Err(why) if is_quiet(&why) => return Err(Fault::Quiet),
            Err(_) => return Err(Fault::Gone),
        }
        let mut second = [0; 1];
        self.fill(&mut second)?;
        let (first, second) = (first[0], second[0]);
        let opcode = first & 0x0f;
        if first & 0x70 != 0 {
            return Err(Fault::Close(1002));
        }
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err(Fault::Close(1002));
        }
        let masked = second & 0x80 != 0;
        if !masked && !self.lax {
            return Err(Fault::Close(1002));
        }
        let mut length = u64::from(second & 0x7f);
        if opcode >= 8 && (first & 0x80 == 0 || length > 125) {
            return Err(Fault::Close(1002));
        }
        if length == 126 {
            let mut bytes = [0; 2];
            self.fill(&mut bytes)?;
            length = u64::from(u16::from_be_bytes(bytes));
        } else if length == 127 {
            let mut bytes = [0; 8];
            self.fill(&mut bytes)?;
            length = u64::from_be_bytes(bytes);
        }
        if length > self.max as u64 {
            return Err(Fault::Close(1009));
        }
        let mut key = [0; 4];
        if masked {
            self.fill(&mut key)?;
        }
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        for (byte, mask) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= mask;
        }
        Ok((first, payload))
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Fault> {
        while !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Gone),
                Ok(count) => buffer = &mut buffer[count..],
                Err(why) if is_quiet(&why) || why.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Fault::Gone),
            }
        }
        Ok(())
    }
}

fn is_quiet(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn close_code(payload: &[u8]) -> Result<u16, Fault> {
    if payload.is_empty() {
        return Ok(1000);
    }
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Err(Fault::Close(1002));
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::Close(1002));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault::Close(1007));
    }
    Ok(code)
}

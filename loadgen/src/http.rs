//! One keep-alive HTTP/1.1 connection, sealed or not, for long-polling.

use memchr::memmem;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::TcpStream;

use crate::ended::Ended;
use crate::frame::PAYLOAD_MAX;
use crate::tls::Tls;

/// The longest head of a response.
const HEAD_MAX: usize = 64 << 10;

pub struct Http {
    stream: TcpStream,
    tls: Option<Tls>,
    /// The lines of each request's head after the first.
    headers: String,
    kept: Vec<u8>,
}

struct Head {
    status: u16,
    len: Option<usize>,
    is_chunked: bool,
}

impl Http {
    #[must_use]
    pub fn new(stream: TcpStream, tls: Option<Tls>, headers: String) -> Self {
        Self { stream, tls, headers, kept: Vec::new() }
    }

    /// Sends one request and reads its response.
    ///
    /// # Errors
    /// The connection is lost, or the status is not 200: either ends the session.
    pub async fn exchange(&mut self, path: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, Ended> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = format!("{method} {path} HTTP/1.1\r\n{}", self.headers);
        if let Some(body) = &body {
            request.push_str("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: ");
            request.push_str(&body.len().to_string());
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend(body.into_iter().flatten());
        self.write(bytes).await?;
        let head = loop {
            if let Some(end) = memmem::find(&self.kept, b"\r\n\r\n") {
                let head = parse(&self.kept[..end])?;
                self.kept.drain(..end + 4);
                break head;
            }
            bound(self.kept.len(), HEAD_MAX, "endless response head")?;
            self.more().await?;
        };
        let body = self.body(&head).await?;
        match head.status {
            200 => Ok(body),
            status => Err(Ended::Refused(format!("http {status}"))),
        }
    }

    async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Ended> {
        if !head.is_chunked {
            return self.take(head.len.unwrap_or(0)).await;
        }
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = memmem::find(&self.kept, b"\r\n") {
                    break end;
                }
                bound(self.kept.len(), HEAD_MAX, "endless chunk size")?;
                self.more().await?;
            };
            let size = String::from_utf8_lossy(&self.kept[..line]).into_owned();
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| Ended::Malformed("chunk size"))?;
            self.kept.drain(..line + 2);
            bound(body.len().saturating_add(size), PAYLOAD_MAX, "body too long")?;
            body.extend(self.take(size).await?);
            self.take(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn take(&mut self, len: usize) -> Result<Vec<u8>, Ended> {
        bound(len, PAYLOAD_MAX, "body too long")?;
        while self.kept.len() < len {
            self.more().await?;
        }
        Ok(self.kept.drain(..len).collect())
    }

    async fn more(&mut self) -> Result<(), Ended> {
        let (read, buffer) = self.stream.read(Vec::with_capacity(16_384)).await;
        match (read, &mut self.tls) {
            (Ok(0), _) => Err(Ended::Eof),
            (Ok(_), None) => {
                self.kept.extend_from_slice(&buffer);
                Ok(())
            }
            (Ok(_), Some(tls)) => {
                let is_over = tls.open(&buffer, &mut self.kept)?;
                // What a handshake answers, and the request that waits behind it.
                self.write(Vec::new()).await?;
                if is_over && self.kept.is_empty() { Err(Ended::Eof) } else { Ok(()) }
            }
            (Err(_), _) => Err(Ended::Reset),
        }
    }

    async fn write(&mut self, mut bytes: Vec<u8>) -> Result<(), Ended> {
        if let Some(tls) = &mut self.tls {
            bytes = std::mem::take(tls.seal(&mut bytes));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.stream.write_all(bytes).await.0.map(drop).map_err(|_| Ended::Reset)
    }
}

fn bound(len: usize, most: usize, what: &'static str) -> Result<(), Ended> {
    if len > most { Err(Ended::Malformed(what)) } else { Ok(()) }
}

fn parse(head: &[u8]) -> Result<Head, Ended> {
    let text = String::from_utf8_lossy(head);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut head = Head {
        status: status.ok_or(Ended::Malformed("status line"))?,
        len: None,
        is_chunked: false,
    };
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.len = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.is_chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    Ok(head)
}

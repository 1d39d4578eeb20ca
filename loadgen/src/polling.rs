//! Long-polling: a GET that waits, POSTs beside it, and the start of an upgrade.

use std::rc::Rc;

use memchr::memmem;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::TcpStream;

use crate::client::Client;
use crate::clock::now_ns;
use crate::scenario::Protocol;
use crate::session::{Ended, Turn};
use crate::target::Target;
use crate::thread::Context;

/// One keep-alive HTTP connection.
pub struct Http {
    stream: TcpStream,
    authority: String,
    kept: Vec<u8>,
}

struct Head {
    status: u16,
    len: Option<usize>,
    is_chunked: bool,
}

impl Http {
    #[must_use]
    pub fn new(stream: TcpStream, target: &Target) -> Self {
        Self { stream, authority: target.authority.clone(), kept: Vec::new() }
    }

    /// Sends one request and reads its answer; any status but 200 ends the session.
    pub async fn exchange(&mut self, path: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, Ended> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        if let Some(body) = &body {
            request.push_str("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: ");
            request.push_str(&body.len().to_string());
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend(body.into_iter().flatten());
        self.stream.write_all(bytes).await.0.map_err(|_| Ended::Reset)?;
        let head = loop {
            if let Some(end) = memmem::find(&self.kept, b"\r\n\r\n") {
                let head = parse(&self.kept[..end])?;
                self.kept.drain(..end + 4);
                break head;
            }
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
                self.more().await?;
            };
            let size = String::from_utf8_lossy(&self.kept[..line]).into_owned();
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| Ended::Malformed("chunk size"))?;
            self.kept.drain(..line + 2);
            body.extend(self.take(size).await?);
            self.take(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn take(&mut self, len: usize) -> Result<Vec<u8>, Ended> {
        if len > crate::frame::PAYLOAD_MAX {
            return Err(Ended::Malformed("body too long"));
        }
        while self.kept.len() < len {
            self.more().await?;
        }
        Ok(self.kept.drain(..len).collect())
    }

    async fn more(&mut self) -> Result<(), Ended> {
        let (read, buffer) = self.stream.read(Vec::with_capacity(16_384)).await;
        match read {
            Ok(0) => Err(Ended::Eof),
            Ok(_) => {
                self.kept.extend_from_slice(&buffer);
                Ok(())
            }
            Err(_) => Err(Ended::Reset),
        }
    }
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

/// The packets of a payload.
pub fn packets(protocol: Protocol, body: &[u8]) -> Result<Vec<&[u8]>, Ended> {
    if protocol != Protocol::Eio3 {
        return Ok(body.split(|byte| *byte == 0x1e).filter(|packet| !packet.is_empty()).collect());
    }
    let mut packets = Vec::new();
    let mut rest = std::str::from_utf8(body).map_err(|_| Ended::Malformed("payload"))?;
    while !rest.is_empty() {
        let (len, tail) = rest.split_once(':').ok_or(Ended::Malformed("payload length"))?;
        let units: usize = len.parse().map_err(|_| Ended::Malformed("payload length"))?;
        // Engine.IO 3 counts UTF-16 code units.
        let mut left = units;
        let mut end = 0;
        for letter in tail.chars() {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(letter.len_utf16());
            end += letter.len_utf8();
        }
        packets.push(&tail.as_bytes()[..end]);
        rest = &tail[end..];
    }
    Ok(packets)
}

/// Appends one packet to a payload.
pub fn put(protocol: Protocol, out: &mut Vec<u8>, packet: &[u8]) {
    if protocol == Protocol::Eio3 {
        // What a generator sends is ASCII: one code unit per byte.
        out.extend_from_slice(packet.len().to_string().as_bytes());
        out.push(b':');
    } else if !out.is_empty() {
        out.push(0x1e);
    }
    out.extend_from_slice(packet);
}

/// What the first GET brought.
pub struct Opened {
    pub sid: String,
    /// JSON of the open packet.
    pub json: Vec<u8>,
    /// Engine.IO 3: the Socket.IO CONNECT came along.
    pub is_connected: bool,
}

/// The handshake GET.
pub async fn open(http: &mut Http, protocol: Protocol, path: &str) -> Result<Opened, Ended> {
    let body = http.exchange(path, None).await?;
    let packets = packets(protocol, &body)?;
    let json = packets.first().and_then(|packet| packet.strip_prefix(b"0"));
    let json = json.ok_or(Ended::Malformed("no open packet"))?;
    let sid = memmem::find(json, b"\"sid\":\"").map(|at| &json[at + 7..]);
    let sid = sid.and_then(|text| text.split(|byte| *byte == b'"').next());
    let sid = sid.ok_or(Ended::Malformed("no sid"))?;
    Ok(Opened {
        sid: String::from_utf8_lossy(sid).into_owned(),
        json: json.to_vec(),
        is_connected: packets.iter().any(|packet| packet.starts_with(b"40")),
    })
}

/// Polls until the session ends.
pub async fn talk(
    context: &Rc<Context>,
    client: &Rc<Client>,
    mut http: Http,
    path: &str,
) -> Result<std::convert::Infallible, Ended> {
    let protocol = context.shared.scenario.protocol;
    loop {
        let body = http.exchange(path, None).await?;
        {
            let mut local = context.local.borrow_mut();
            local.stats.counters.bytes_in += body.len() as u64;
            local.stats.counters.reads += 1;
            let mut turn = Turn::new(&context.shared, &mut local, now_ns());
            let mut session = client.session.borrow_mut();
            for packet in packets(protocol, &body)? {
                turn.local.stats.counters.frames_in += 1;
                session.text(&mut turn, packet)?;
            }
        }
        client.after_read(context);
    }
}

/// POSTs what is queued until nothing is.
pub async fn post(context: Rc<Context>, client: Rc<Client>) {
    loop {
        let poster = client.poster.take();
        let Some((mut http, path)) = poster else { return };
        let body = std::mem::take(&mut client.session.borrow_mut().out);
        if body.is_empty() {
            *client.poster.borrow_mut() = Some((http, path));
            return;
        }
        let sent = body.len() as u64;
        if http.exchange(&path, Some(body)).await.is_err() {
            // The poll ends as well, and tells why.
            client.cut();
            return;
        }
        context.local.borrow_mut().stats.counters.bytes_out += sent;
        // A client that reconnected meanwhile has a new one.
        client.poster.borrow_mut().get_or_insert((http, path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_split_as_they_were_put_together() {
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            let mut body = Vec::new();
            put(protocol, &mut body, b"40");
            put(protocol, &mut body, b"42[\"a\"]");
            assert_eq!(packets(protocol, &body).unwrap(), [&b"40"[..], b"42[\"a\"]"]);
        }
    }

    #[test]
    fn engine_io_3_lengths_count_utf16_units() {
        let body = "5:4ü☃😀2:40".as_bytes();
        assert_eq!(packets(Protocol::Eio3, body).unwrap(), ["4ü☃😀".as_bytes(), b"40"]);
        assert!(packets(Protocol::Eio3, b"x:40").is_err());
    }
}

//! The server side of HTTP/1.1, as far as the protocol needs it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a client may send behind the answer that ends its connection, and for how long.
const DROPPED_BYTES_MAX: u64 = 64 << 20;
const LINGER: Duration = Duration::from_secs(5);
const BODY_WAIT: Duration = Duration::from_secs(10);
const BYTES_PER_S_MIN: u64 = 4096;
const SPIN: Duration = Duration::from_micros(200);

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body_length: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
            && self
                .header("connection")
                .is_some_and(|value| value.to_ascii_lowercase().contains("upgrade"))
    }

    /// Whether the `Origin` is absent, or names this host.
    pub fn is_from(&self, host: Option<&str>) -> bool {
        let origin = self.header("origin");
        origin.is_none_or(|origin| origin.split_once("://").map(|(_, rest)| rest) == host)
    }

    pub fn is_type(&self, mime: &str) -> bool {
        self.header("content-type").is_some_and(|v| v.to_ascii_lowercase().starts_with(mime))
    }
}

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Response { status, headers, body: body.into() }
    }

    pub fn json(status: u16, value: &Value) -> Response {
        Response::new(status, "application/json", value.to_string())
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A number among the members of a JSON body, or in its `data`.
    pub fn member(&self, name: &str) -> Option<u64> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body[name].as_u64().or_else(|| body["data"][name].as_u64())
    }

    pub fn errno(&self) -> Option<u64> {
        self.member("errno")
    }

    pub fn closes(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("connection") && value == "close")
    }

    pub fn write(&self, mut stream: &TcpStream, with_body: bool) -> io::Result<()> {
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.status != 101 && self.status != 204 {
            out.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        out.push_str("\r\n");
        let mut bytes = out.into_bytes();
        if with_body {
            bytes.extend_from_slice(&self.body);
        }
        stream.write_all(&bytes)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

/// Reads a request head; `None` at the end of the stream. With `spins` the stream does not block, and
/// is looked at all the time.
pub fn read_head(
    reader: &mut BufReader<TcpStream>,
    is_bounded: bool,
    spins: bool,
) -> io::Result<Option<Request>> {
    let most = if is_bounded { HEAD_BYTES_MAX } else { usize::MAX };
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let read = reader.by_ref().take(most as u64).read_until(b'\n', &mut head);
        if spins && read.as_ref().is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock) {
            thread::sleep(SPIN);
            continue;
        }
        let count = read?;
        if count == 0 {
            return Ok(None);
        }
        let line = &head[before..];
        if line == b"\r\n" || line == b"\n" {
            if before == 0 {
                head.clear();
                continue;
            }
            break;
        }
        if head.len() > most {
            return Err(io::Error::other("request head too large"));
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or("").split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Err(io::Error::other("bad request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    Ok(Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: parse_form(query),
        headers,
        body_length: length,
    }))
}

/// Ends the server's side behind an answer that came early, and drops what the client still sends: if
/// the connection were closed at once, the answer might be lost.
pub fn linger(reader: &mut BufReader<TcpStream>) -> io::Result<()> {
    reader.get_ref().shutdown(Shutdown::Write)?;
    reader.get_ref().set_read_timeout(Some(LINGER))?;
    // The client may close in any way.
    let _ = io::copy(&mut reader.by_ref().take(DROPPED_BYTES_MAX), &mut io::sink());
    Ok(())
}

/// Reads the body, or nothing and `None` if it is longer than `max`.
pub fn read_body(
    reader: &mut BufReader<TcpStream>,
    length: usize,
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    if length > max {
        // Read and dropped, so that the client can read the refusal.
        let mut left = reader.by_ref().take(length.min(64 << 20) as u64);
        io::copy(&mut left, &mut io::sink())?;
        return Ok(None);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

/// The body, unless it comes too slowly: within 10 s, and one more for each 4 KiB of it.
pub fn read_in_time(
    reader: &mut BufReader<TcpStream>,
    length: usize,
) -> io::Result<Option<Vec<u8>>> {
    let begun = Instant::now();
    let mut body = Vec::new();
    while body.len() < length {
        let earned = Duration::from_millis(body.len() as u64 * 1000 / BYTES_PER_S_MIN);
        let left = (BODY_WAIT + earned).saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        reader.get_ref().set_read_timeout(Some(left))?;
        match reader.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                let count = bytes.len().min(length - body.len());
                body.extend_from_slice(&bytes[..count]);
                reader.consume(count);
            }
            Err(why)
                if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(why) => return Err(why),
        }
    }
    reader.get_ref().set_read_timeout(None)?;
    Ok(Some(body))
}

pub fn parse_form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name), percent_decode(value))
        })
        .collect()
}

pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], pair.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parts of a multipart form: name, file name, content.
pub fn parse_multipart(content_type: &str, body: &[u8]) -> Vec<(String, Option<String>, Vec<u8>)> {
    let Some(boundary) = content_type.split("boundary=").nth(1) else {
        return Vec::new();
    };
    let marker = format!("--{}", boundary.trim_matches('"'));
    let mut parts = Vec::new();
    for chunk in split(body, marker.as_bytes()).into_iter().skip(1) {
        let Some(end) = position(chunk, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&chunk[..end]).into_owned();
        let content = &chunk[end + 4..];
        let content = content.strip_suffix(b"\r\n").unwrap_or(content);
        let attribute = |name: &str| {
            let start = head.find(&format!("{name}=\""))? + name.len() + 2;
            head[start..].split('"').next().map(str::to_owned)
        };
        if let Some(name) = attribute(" name") {
            parts.push((name, attribute("filename"), content.to_vec()));
        }
    }
    parts
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn split<'a>(mut body: &'a [u8], marker: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = position(body, marker) {
        parts.push(&body[..at]);
        body = &body[at + marker.len()..];
    }
    parts.push(body);
    parts
}

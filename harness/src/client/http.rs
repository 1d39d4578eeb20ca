//! HTTP/1.1 by hand: a conformance client must be able to send invalid requests.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ClientError;
use super::target::Target;
use super::transcript::{Answered, Log};

/// An answer that goes on beyond this does not end.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, `null` when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn has_type(&self, mime: &str) -> bool {
        self.header("content-type")
            .is_some_and(|value| value.to_ascii_lowercase().starts_with(mime))
    }

    /// The header fields in a line, for reports.
    pub fn named_headers(&self) -> String {
        let fields = self.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        format!("[{}]", fields.collect::<Vec<_>>().join(", "))
    }

    /// The server closes the connection after this answer.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Names and values.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    pub headers: Headers<'a>,
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Request<'a> {
        Request { method: "GET", path, headers: &[], body: &[] }
    }

    pub fn post(path: &'a str, body: &'a [u8]) -> Request<'a> {
        let headers = &[("Content-Type", "text/plain;charset=UTF-8")];
        Request { method: "POST", path, headers, body }
    }

    fn encode(&self, authority: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {authority}\r\n", self.method, self.path);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let names_length =
            self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !names_length && (!self.body.is_empty() || !matches!(self.method, "GET" | "HEAD")) {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body);
        bytes
    }
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the current answer that were taken from the buffer.
    taken: Vec<u8>,
    authority: String,
    log: Log,
}

impl Connection {
    pub fn open(target: &Target, log: &Log) -> Result<Connection, ClientError> {
        let stream = target.dial()?;
        let authority = target.authority.clone();
        let (buffer, taken) = (Vec::new(), Vec::new());
        Ok(Connection { stream, buffer, taken, authority, log: log.clone() })
    }

    pub fn exchange(
        &mut self,
        request: &Request<'_>,
        wait: Duration,
    ) -> Result<Response, ClientError> {
        self.send(request)?;
        let response = self.receive(wait)?;
        let is_of_api =
            ["/api/", "/health", "/ready"].iter().any(|at| request.path.starts_with(at));
        if is_of_api {
            self.log.answered(Answered {
                method: request.method.to_owned(),
                path: request.path.to_owned(),
                status: response.status,
                is_json_typed: response.has_type("application/json"),
                body: response.json(),
            });
        }
        Ok(response)
    }

    pub fn send(&mut self, request: &Request<'_>) -> Result<(), ClientError> {
        let shown = String::from_utf8_lossy(request.body);
        self.log.sent(format!("{} {} {shown}", request.method, request.path));
        Ok(self.stream.write_all(&request.encode(&self.authority))?)
    }

    /// Raw bytes, for requests no encoder would produce.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.log.sent(String::from_utf8_lossy(bytes));
        Ok(self.stream.write_all(bytes)?)
    }

    /// As [`Connection::send_bytes`], without a place in the transcript.
    pub fn send_quietly(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.stream.write_all(bytes)?)
    }

    pub fn receive(&mut self, wait: Duration) -> Result<Response, ClientError> {
        let deadline = Instant::now() + wait;
        self.taken.clear();
        let response = self.read_response(deadline).map_err(|error| {
            // Part of an answer has arrived: the next wait starts from its beginning.
            let rest = std::mem::take(&mut self.buffer);
            self.buffer = std::mem::take(&mut self.taken);
            self.buffer.extend(rest);
            match error {
                ClientError::Timeout(why) => ClientError::Timeout(self.with_what_came(why)),
                ClientError::Closed(why) => ClientError::Closed(self.with_what_came(why)),
                other => other,
            }
        });
        let response = response?;
        self.log.received(format!("HTTP {} {}", response.status, response.text()));
        Ok(response)
    }

    /// Whether the server closes the connection within `wait`.
    pub fn is_closed_within(&mut self, wait: Duration) -> bool {
        matches!(self.fill(Instant::now() + wait), Err(ClientError::Closed(_)))
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// The reason why an answer is not whole, with its beginning.
    fn with_what_came(&self, why: String) -> String {
        if self.buffer.is_empty() {
            return why;
        }
        let beginning = quoted(&self.buffer);
        format!("{why}; what came, {} bytes, begins with {beginning}", self.buffer.len())
    }

    fn read_response(&mut self, deadline: Instant) -> Result<Response, ClientError> {
        let (status, headers) = loop {
            let head = self.read_head(deadline)?;
            // 100 Continue announces the real answer.
            if head.0 != 100 {
                break head;
            }
        };
        let mut response = Response { status, headers, body: Vec::new() };
        let chunked = response
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        if status == 101 || status == 204 || status == 304 {
            return Ok(response);
        }
        if chunked {
            response.body = self.read_chunks(deadline)?;
        } else if let Some(length) = response.header("content-length") {
            let length = length
                .trim()
                .parse()
                .map_err(|_| ClientError::Protocol("bad Content-Length".into()))?;
            response.body = self.take(length, deadline)?;
        } else {
            loop {
                match self.fill(deadline) {
                    Ok(()) => {}
                    Err(ClientError::Closed(_)) => break,
                    Err(other) => return Err(other),
                }
            }
            response.body = std::mem::take(&mut self.buffer);
        }
        Ok(response)
    }

    fn read_head(
        &mut self,
        deadline: Instant,
    ) -> Result<(u16, Vec<(String, String)>), ClientError> {
        let head = self.take_until(b"\r\n\r\n", deadline)?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| no_status(&head))?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Ok((status, headers))
    }

    fn read_chunks(&mut self, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        loop {
            let line = self.take_until(b"\r\n", deadline)?;
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(text.trim().split(';').next().unwrap_or(""), 16)
                .map_err(|_| ClientError::Protocol("bad chunk size".into()))?;
            if size > ANSWER_BYTES_MAX - body.len().min(ANSWER_BYTES_MAX) {
                return Err(too_long());
            }
            let chunk = self.take(size + 2, deadline)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Takes the bytes up to the end of `mark`.
    fn take_until(&mut self, mark: &[u8], deadline: Instant) -> Result<Vec<u8>, ClientError> {
        loop {
            if is_tls_alert(&self.buffer) {
                return Err(ClientError::Protocol("the port speaks TLS".into()));
            }
            if let Some(at) = find(&self.buffer, mark) {
                return self.take(at + mark.len(), deadline);
            }
            self.fill(deadline)?;
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        while self.buffer.len() < length {
            self.fill(deadline)?;
        }
        let rest = self.buffer.split_off(length);
        let taken = std::mem::replace(&mut self.buffer, rest);
        self.taken.extend_from_slice(&taken);
        Ok(taken)
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), ClientError> {
        self.buffer.extend(read_some(&mut self.stream, deadline, "no HTTP answer")?);
        if self.buffer.len() > ANSWER_BYTES_MAX { Err(too_long()) } else { Ok(()) }
    }
}

/// The bytes that are there, or the next ones that come before the deadline.
pub(super) fn read_some(
    stream: &mut TcpStream,
    deadline: Instant,
    missing: &str,
) -> Result<Vec<u8>, ClientError> {
    let timeout = || ClientError::Timeout(missing.to_owned());
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(timeout());
    }
    stream.set_read_timeout(Some(left))?;
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk) {
        Ok(0) => Err(ClientError::Closed("end of stream".into())),
        Ok(count) => Ok(chunk[..count].to_vec()),
        Err(why) => match why.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(timeout()),
            ErrorKind::Interrupted => Ok(Vec::new()),
            _ => Err(why.into()),
        },
    }
}

/// One request on a connection of its own.
pub fn fetch(
    target: &Target,
    log: &Log,
    request: &Request<'_>,
    wait: Duration,
) -> Result<Response, ClientError> {
    if target.has_given_users && makes_users(request) {
        let what = format!("needs {} {}, and users are given", request.method, request.path);
        return Err(ClientError::Withheld(what));
    }
    Connection::open(target, log)?.exchange(request, wait)
}

/// Whether the request registers a user, logs one in, or ends a token.
fn makes_users(request: &Request<'_>) -> bool {
    const PATHS: [&str; 3] = ["/api/register", "/api/login", "/api/logout"];
    let path = request.path.split('?').next().unwrap_or("");
    request.method == "POST" && PATHS.contains(&path)
}

fn too_long() -> ClientError {
    ClientError::Protocol(format!("an answer of more than {} MiB", ANSWER_BYTES_MAX >> 20))
}

/// An alert record of TLS: what a port for HTTPS answers to plain HTTP.
fn is_tls_alert(bytes: &[u8]) -> bool {
    bytes.starts_with(&[21, 3])
}

fn no_status(head: &str) -> ClientError {
    let line = head.lines().next().unwrap_or("");
    ClientError::Protocol(format!("no HTTP: the answer begins with {}", quoted(line.as_bytes())))
}

/// The beginning of what came, for a report.
fn quoted(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 60;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * CHARS_MAX)]);
    format!("{:?}", text.chars().take(CHARS_MAX).collect::<String>())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

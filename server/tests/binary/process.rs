//! A server process and plain clients for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use throng_kit::Signal;
use throng_kit::server::Plan;
use tungstenite::{Message, WebSocket};

/// Far above anything a working server needs, so that a hang fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub struct Server(throng_kit::server::Server);

impl Server {
    /// The echo server with these flags.
    pub fn conformance(flags: &[&str]) -> Server {
        Server(Plan::echo().args(flags).start())
    }

    /// The chat server with these flags and settings in the environment.
    pub fn throng(flags: &[&str], settings: &[(&str, &str)]) -> Server {
        let plan = Plan::shipped().args(flags);
        let plan = settings.iter().fold(plan, |plan, (name, value)| plan.env(name, value));
        Server(plan.start())
    }

    pub fn data_dir(&self) -> PathBuf {
        self.0.data_dir()
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.0.address).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("it is TCP");
        stream
    }

    pub fn websocket(&self, path_and_query: &str) -> WebSocket<TcpStream> {
        websocket_on(self.connect(), path_and_query).expect("the handshake is accepted")
    }

    /// Sends a request and reads until the server closes.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("it takes a request");
        read_all(&mut stream)
    }

    pub fn get(&self, path_and_query: &str) -> String {
        self.ask(&format!("GET {path_and_query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    pub fn post(&self, path_and_query: &str, body: &str) -> String {
        self.ask(&format!(
            "POST {path_and_query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Registers a user; returns a token.
    pub fn register(&self, name: &str) -> String {
        let body = format!(r#"{{"name":"{name}@example.org","password":"secret-123"}}"#);
        let answer = self.ask(&format!(
            "POST /api/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let (_, rest) = answer.split_once(r#""api_token":""#).expect("a token");
        rest[..60].to_owned()
    }

    pub fn terminate(&self) {
        self.0.signal(Signal::TERM);
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait(TIMEOUT)
    }

    /// Stops it, and answers those lines of its whole log that contain `words`.
    pub fn stop_and_find(&mut self, words: &str) -> Vec<String> {
        self.terminate();
        self.wait();
        let mut log = self.log();
        log.retain(|line| line.contains(words));
        log
    }
}

impl Deref for Server {
    type Target = throng_kit::Process;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// What comes until the server closes; a reset ends it as well.
pub fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads one HTTP answer with a `Content-Length` off a connection that stays open.
pub fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a whole head");
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).expect("heads are text");
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0_usize);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a whole body");
    head + &String::from_utf8_lossy(&body)
}

pub fn websocket_on(
    stream: TcpStream,
    path_and_query: &str,
) -> Result<WebSocket<TcpStream>, String> {
    let url = format!("ws://x{path_and_query}");
    match tungstenite::client(url, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(error.to_string()),
    }
}

pub fn read_text(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        match socket.read().expect("a frame") {
            Message::Text(text) => return text.as_str().to_owned(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("expected text, got {other:?}"),
        }
    }
}

/// The sid in an open packet.
pub fn sid_of(open: &str) -> String {
    let (_, rest) = open.split_once(r#""sid":""#).unwrap_or_else(|| panic!("no sid in {open:?}"));
    rest.split('"').next().expect("a split has a first part").to_owned()
}

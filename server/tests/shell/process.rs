//! A server process and plain clients for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

/// Far above anything a working server needs, so that a hang fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    process: Child,
    pub addr: SocketAddr,
    _data_dir: Option<tempfile::TempDir>,
}

impl Server {
    /// The echo server with these flags.
    pub fn conformance(flags: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        command.args(["--listen", "127.0.0.1:0"]).args(flags);
        Server::start(command, None)
    }

    /// The chat server with these flags and settings in the environment.
    pub fn throng(flags: &[&str], settings: &[(&str, &str)]) -> Server {
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir.path());
        command.args(flags).envs(settings.iter().copied());
        Server::start(command, Some(data_dir))
    }

    fn start(mut command: Command, data_dir: Option<tempfile::TempDir>) -> Server {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server can be started");
        let stdout = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it is text");
        let addr = line.trim().rsplit_once("http://").map(|(_, addr)| addr.to_owned());
        let addr = addr.and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("no address in {line:?}"));
        Server { process, addr, _data_dir: data_dir }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
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

    /// Processor time used so far, in clock ticks (usually 10 ms).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))
            .expect("the process is there");
        let (_, rest) = stat.rsplit_once(')').expect("the name is in parentheses");
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("it is a number");
        ticks(11) + ticks(12)
    }

    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        open.expect("the process is there").count()
    }

    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let names = tasks
            .expect("the process is there")
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(status.expect("kill is there").success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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

//! A Redis server of one test, on a port of its own.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

const BASE: [&str; 8] =
    ["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];

pub struct Server {
    pub port: u16,
    args: Vec<String>,
    program: &'static str,
    dir: TempDir,
    child: Child,
}

impl Server {
    pub fn start(args: &[&str]) -> Server {
        Server::with_files(args, &[])
    }

    /// `files` are written next to the server first. `{dir}` stands for their folder, `{port}` for
    /// the server's port.
    pub fn with_files(args: &[&str], files: &[(&str, &str)]) -> Server {
        Server::run(free_port(), "redis-server", &[&BASE, args].concat(), files)
    }

    /// On a port that is known before.
    pub fn start_at(port: u16) -> Server {
        Server::run(port, "redis-server", &BASE, &[])
    }

    pub fn sentinel(config: &str) -> Server {
        let config = format!("port {{port}}\nbind 127.0.0.1\n{config}");
        let files = [("sentinel.conf", &*config)];
        Server::run(free_port(), "redis-sentinel", &["{dir}/sentinel.conf"], &files)
    }

    fn run(port: u16, program: &'static str, args: &[&str], files: &[(&str, &str)]) -> Server {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().to_str().expect("a path");
        let fill = |text: &str| text.replace("{dir}", path).replace("{port}", &port.to_string());
        for (name, text) in files {
            std::fs::write(dir.path().join(name), fill(text)).expect("a file");
        }
        let args: Vec<String> = args.iter().map(|arg| fill(arg)).collect();
        let child = spawn(program, &args, dir.path());
        let server = Server { port, args, program, dir, child };
        server.wait_until_up();
        server
    }

    fn wait_until_up(&self) {
        let deadline = Instant::now() + TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// One command by `redis-cli`; answers what it prints.
    pub fn cli(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(args).output();
        let output = output.expect("redis-cli is installed with the server");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub fn publish(&self, channel: &str, payload: &[u8]) {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string(), "-x", "PUBLISH", channel]);
        let mut cli = cli.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("redis-cli");
        let mut stdin = cli.stdin.take().expect("it is piped");
        stdin.write_all(payload).expect("it takes the payload");
        drop(stdin);
        assert!(cli.wait().expect("it ends").success());
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Started again on the same port, with nothing in it.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.program, &self.args, self.dir.path());
        self.wait_until_up();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(program: &str, args: &[String], dir: &Path) -> Child {
    let log = File::create(dir.join("log")).expect("a log file");
    let mut command = Command::new(program);
    command.args(args).current_dir(dir);
    command.stdout(log).stderr(Stdio::null()).stdin(Stdio::null());
    command.spawn().expect("redis-server is installed: `cargo xtask test` does it")
}

/// Free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Tries until something is there, or fails the test.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! A server process on a free port with its own data directory.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{env, fs, thread};

use crate::{eventually, http};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    pub program: &'static str,
    pub shards: u32,
    pub config: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Plan {
    /// `throng serve` with the configuration as shipped, but for the API throttle: every test comes
    /// from one address.
    pub fn throng(shards: u32) -> Self {
        let config = "[http]\napi_per_minute = 0\n".to_owned();
        Plan { program: "throng", shards, config, args: Vec::new(), env: Vec::new() }
    }

    /// The conformance surface with a heartbeat that does not disturb long cases.
    pub fn conformance() -> Self {
        let args = ["--ping-interval-ms", "25000", "--ping-timeout-ms", "20000"];
        Plan {
            program: "conformance",
            shards: 1,
            config: String::new(),
            args: args.map(str::to_owned).to_vec(),
            env: Vec::new(),
        }
    }

    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    #[track_caller]
    pub fn start(self) -> Server {
        let dir = fresh_dir();
        fs::write(dir.join("throng.toml"), &self.config).expect("the directory is ours");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (child, address) = launch(&self, &dir, 0, &log);
        Server { plan: self, dir, log, child, address }
    }
}

/// A directory nobody else uses.
pub fn fresh_dir() -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("throng-it-{}-{serial}", std::process::id()));
    fs::create_dir_all(&dir).expect("the temporary directory is writable");
    dir
}

/// Path of a server binary: `E2E_BIN_DIR`, else beside the running test.
pub fn binary(name: &str) -> PathBuf {
    let dir = env::var_os("E2E_BIN_DIR").map_or_else(
        || {
            let test = env::current_exe().expect("a test has a path");
            test.parent().and_then(Path::parent).expect("a test lies in target/*/deps").to_owned()
        },
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// Runs `throng` with these arguments to its end.
pub fn throng(args: &[&str]) -> Output {
    Command::new(binary("throng"))
        .args(args)
        .stdin(Stdio::null())
        .current_dir(fresh_dir())
        .output()
        .expect("the server runs")
}

pub struct Server {
    pub plan: Plan,
    pub dir: PathBuf,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    child: Child,
}

fn launch(
    plan: &Plan,
    dir: &Path,
    port: u16,
    log: &Arc<Mutex<Vec<String>>>,
) -> (Child, SocketAddr) {
    let mut command = Command::new(binary(plan.program));
    let listen = format!("127.0.0.1:{port}");
    if plan.program == "throng" {
        command.args(["serve", "--shards", &plan.shards.to_string()]);
        command.arg("--data-dir").arg(dir.join("data"));
        command.arg("--config").arg(dir.join("throng.toml"));
    }
    command.args(["--listen", &listen]).args(&plan.args);
    command.env("RUST_BACKTRACE", "1").envs(plan.env.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the server starts");
    let (ready, when_ready) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let err = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let lines = Arc::clone(log);
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some((_, url)) = line.split_once("listening on http://") {
                // The starter may have given up waiting.
                let _ = ready.send(url.trim().to_owned());
            }
            lines.lock().expect("no writer panics").push(line);
        }
    });
    let lines = Arc::clone(log);
    thread::spawn(move || {
        for line in err.lines().map_while(Result::ok) {
            lines.lock().expect("no writer panics").push(line);
        }
    });
    let address = when_ready.recv_timeout(READY_WITHIN).unwrap_or_else(|_| {
        // It may have ended by itself already.
        let _ = child.kill();
        let lines = log.lock().expect("no writer panics").clone();
        panic!("the server is not ready: {lines:#?}")
    });
    (child, address.parse().expect("the ready line names an address"))
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a signal by name, such as `TERM` or `KILL`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {pid}");
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        eventually("the server ends", within, || self.child.try_wait().expect("our own child"))
    }

    /// Ends the server with a signal and starts it again on the same port and data.
    #[track_caller]
    pub fn restart(&mut self, signal: &str) {
        self.signal(signal);
        self.wait(Duration::from_secs(20));
        let (child, address) = launch(&self.plan, &self.dir, self.address.port(), &self.log);
        self.child = child;
        self.address = address;
    }

    /// Everything it wrote so far, both streams.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no writer panics").clone()
    }

    /// The sum of all samples of a metric whose labels contain `label`; `None` if there is none.
    #[track_caller]
    pub fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let text = http::get(self.address, "/metrics").text();
        let mut total = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.rsplit_once(' ') else { continue };
            let is_it =
                key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            if is_it && key.contains(label) {
                let value: f64 = value.parse().expect("a sample is a number");
                total = Some(total.unwrap_or(0.0) + value);
            }
        }
        total
    }

    /// The process's resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = fs::read_to_string(path).expect("the server runs");
        let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("statm has it");
        pages * 4096
    }

    /// Open file descriptors of the process.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the server runs").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let panics: Vec<String> =
            self.log().into_iter().filter(|line| line.contains("panicked at")).collect();
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
            assert!(panics.is_empty(), "the server panicked: {panics:#?}");
        }
    }
}

//! Throng and the conformance echo as processes, on a free port with a data directory of their own.

use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, thread};

use crate::scratch::Dir;
use crate::{Process, Result, Signal, http, own};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    program: &'static str,
    config: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Plan {
    /// `throng serve` with the configuration as shipped.
    pub fn shipped() -> Self {
        Plan { program: "throng", config: String::new(), args: Vec::new(), env: Vec::new() }
    }

    /// The same without the throttle of the API: every test comes from one address.
    pub fn throng(shards: u32) -> Self {
        Plan::shipped()
            .config("[http]\napi_per_minute = 0\n")
            .args(&["--shards", &shards.to_string()])
    }

    /// The conformance echo with the protocol's default heartbeat.
    pub fn echo() -> Self {
        Plan { program: "conformance", ..Plan::shipped() }
    }

    /// The conformance echo with a heartbeat that does not disturb long cases.
    pub fn conformance() -> Self {
        Plan::echo().args(&["--ping-interval-ms", "25000", "--ping-timeout-ms", "20000"])
    }

    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Adds lines to the configuration file.
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    #[track_caller]
    pub fn start(self) -> Server {
        let dir = Dir::new("server").expect("the temporary directory is writable");
        let path = dir.path();
        fs::write(path.join("throng.toml"), &self.config).expect("the directory is ours");
        let mut process = Process::start(&self.command(path, 0)).expect("the server starts");
        let address = wait_until_ready(&mut process).expect("the server is ready");
        Server { plan: self, process, address, dir }
    }

    fn command(&self, dir: &Path, port: u16) -> Command {
        let mut command = own(binary(self.program));
        if self.program == "throng" {
            command.arg("serve").arg("--data-dir").arg(dir.join("data"));
            command.arg("--config").arg(dir.join("throng.toml"));
        }
        command.args(["--listen", &format!("127.0.0.1:{port}")]).args(&self.args);
        command.env("RUST_BACKTRACE", "1").envs(self.env.iter().cloned());
        command
    }
}

/// A directory that stays when the test ends.
pub fn fresh_dir() -> PathBuf {
    Dir::new("it").expect("the temporary directory is writable").keep()
}

/// Path of a program that this workspace builds: in `E2E_BIN_DIR`, or where this test was built.
#[track_caller]
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

/// Runs `throng` with these arguments to its end, in a new directory.
pub fn throng(args: &[&str]) -> Output {
    let dir = Dir::new("run").expect("the temporary directory is writable");
    let mut command = own(binary("throng"));
    command.args(args).stdin(Stdio::null()).current_dir(dir.path());
    command.output().expect("the server starts")
}

/// A running server; also its [`Process`].
pub struct Server {
    plan: Plan,
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    dir: Dir,
}

/// Waits for the line that says where a server listens.
pub fn wait_until_ready(process: &mut Process) -> Result<SocketAddr> {
    process.wait_for_line(READY_WITHIN, |line| {
        line.split_once("listening on http://")?.1.trim().parse().ok()
    })
}

impl Server {
    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server with a signal and starts it again on the same port and data.
    #[track_caller]
    pub fn restart(&mut self, signal: Signal) {
        self.signal(signal);
        self.wait(READY_WITHIN);
        let command = self.plan.command(self.dir.path(), self.address.port());
        self.process.start_again(None, &command).expect("the server starts");
        self.address = wait_until_ready(&mut self.process).expect("the server is ready");
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
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        if !thread::panicking() {
            let log = self.process.log();
            let panics: Vec<&String> =
                log.iter().filter(|line| line.contains("panicked at")).collect();
            assert!(panics.is_empty(), "the server panicked: {panics:#?}");
        }
    }
}

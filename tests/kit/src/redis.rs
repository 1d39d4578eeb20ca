//! Redis servers and Sentinels.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::scratch::{Dir, spare_port};
use crate::{Process, Program, Result, Signal, TIMEOUT};

const BASE: [&str; 10] = [
    "--port",
    "{port}",
    "--bind",
    "127.0.0.1",
    "--dir",
    "{dir}",
    "--save",
    "",
    "--appendonly",
    "no",
];

/// A Redis that keeps nothing, on a port of its own.
pub struct Redis {
    /// Where it listens, on the loopback.
    pub port: u16,
    command: Command,
    process: Process,
    _dir: Dir,
}

impl Redis {
    /// With these arguments besides; `{dir}` stands for its directory, `{port}` for its port.
    #[track_caller]
    pub fn start(args: &[&str]) -> Redis {
        Redis::with_files(args, &[])
    }

    /// As `start`; `files` (name and text) are written into its directory first.
    #[track_caller]
    pub fn with_files(args: &[&str], files: &[(&str, &str)]) -> Redis {
        let port = spare_port().expect("a free port");
        let args = [&BASE, args].concat();
        Redis::launch(Program::RedisServer, port, &args, files).expect("Redis starts")
    }

    /// On a port that is known before.
    #[track_caller]
    pub fn start_at(port: u16) -> Redis {
        Redis::launch(Program::RedisServer, port, &BASE, &[]).expect("Redis starts")
    }

    /// A Sentinel with that configuration.
    #[track_caller]
    pub fn sentinel(config: &str) -> Redis {
        let port = spare_port().expect("a free port");
        let config = format!("port {{port}}\nbind 127.0.0.1\n{config}");
        let files = [("sentinel.conf", &*config)];
        let args = ["{dir}/sentinel.conf"];
        Redis::launch(Program::RedisSentinel, port, &args, &files).expect("the Sentinel starts")
    }

    /// For those that report errors instead of panicking.
    pub fn try_start() -> Result<Redis> {
        Redis::launch(Program::RedisServer, spare_port()?, &BASE, &[])
    }

    fn launch(program: Program, port: u16, args: &[&str], files: &[(&str, &str)]) -> Result<Redis> {
        let dir = Dir::new("redis")?;
        let path = dir.path().display().to_string();
        let fill = |text: &str| text.replace("{dir}", &path).replace("{port}", &port.to_string());
        for (name, text) in files {
            fs::write(dir.path().join(name), fill(text))?;
        }
        let mut command = program.command();
        command.args(args.iter().map(|arg| fill(arg))).current_dir(dir.path());
        let mut process = Process::start(&command)?;
        wait_until_up(&mut process, port)?;
        Ok(Redis { port, command, process, _dir: dir })
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs one command with `redis-cli`; returns what that prints.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.redis_cli(args).output().expect("redis-cli starts");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Publishes any bytes to a channel.
    pub fn publish(&self, channel: &str, payload: &[u8]) {
        let mut command = self.redis_cli(&["-x", "PUBLISH", channel]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut cli = command.spawn().expect("redis-cli starts");
        let mut stdin = cli.stdin.take().expect("it is piped");
        stdin.write_all(payload).expect("redis-cli reads the payload");
        drop(stdin);
        assert!(cli.wait().expect("it is our child").success());
    }

    fn redis_cli(&self, args: &[&str]) -> Command {
        let mut command = Program::RedisCli.command();
        command.args(["-p", &self.port.to_string()]).args(args);
        command
    }

    /// Stops it without closing a connection.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on after a pause.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port; it is empty.
    #[track_caller]
    pub fn restart(&mut self) {
        let started = self.process.start_again(None, &self.command);
        started.and_then(|()| wait_until_up(&mut self.process, self.port)).expect("Redis starts");
    }
}

/// Joins Redis servers that have `--cluster-enabled` to a cluster.
#[track_caller]
pub fn create_cluster<'a>(nodes: impl IntoIterator<Item = &'a Redis>) {
    let mut create = Program::RedisCli.command();
    create.args(["--cluster", "create"]);
    create.args(nodes.into_iter().map(|node| format!("127.0.0.1:{}", node.port)));
    let output = create.arg("--cluster-yes").output().expect("redis-cli starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn wait_until_up(process: &mut Process, port: u16) -> Result {
    process.wait_until(TIMEOUT, || TcpStream::connect(("127.0.0.1", port)).is_ok())
}

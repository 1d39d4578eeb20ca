//! A server under test: started on its core, killed when dropped.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use throng_kit::Process;
use throng_kit::programs::through;
use throng_kit::scratch::spare_port;

use crate::environment::Places;

/// A command that serves on a port of the loopback and prints `listening on` when it does.
pub struct Program {
    pub name: String,
    pub command: Command,
    pub port: u16,
}

impl Program {
    /// `throng serve` of this workspace, fitted to load tests, with `extra` flags.
    ///
    /// # Errors
    /// There is no free port.
    pub fn throng(places: &Places, extra: &[&str]) -> anyhow::Result<Self> {
        let port = spare_port()?;
        let data = places.scratch.join(format!("throng-{port}"));
        let mut command = throng_kit::own(places.binaries.join("throng"));
        command.args(["serve", "--unlimited", "--ephemeral", "--data-dir"]).arg(data);
        command.args(["--listen", &format!("127.0.0.1:{port}")]).args(extra);
        Ok(Self { name: "throng".into(), command, port })
    }
}

pub struct Server {
    process: Process,
    pub url: String,
}

impl Server {
    /// Starts `program` on one core and waits until it serves.
    ///
    /// # Errors
    /// It does not.
    pub fn start(program: &Program, core: usize) -> anyhow::Result<Self> {
        // taskset replaces itself by the server, so that every thread is born on the core.
        let options = ["-c", &core.to_string()];
        let command = through(throng_kit::Program::Taskset, &options, &program.command);
        let mut process = Process::start(&command)?;
        let is_ready = |line: &str| line.contains("listening on").then_some(());
        process
            .wait_for_line(Duration::from_secs(20), is_ready)
            .with_context(|| format!("{} did not start", program.name))?;
        Ok(Self { process, url: format!("http://127.0.0.1:{}", program.port) })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where Throng's metrics are.
    #[must_use]
    pub fn metrics(&self) -> String {
        format!("{}/metrics", self.url)
    }
}

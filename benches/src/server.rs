//! A server under test: started on its core, killed when dropped.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::environment::Places;

/// A command line that serves on a port of the loopback and prints `listening on` when it does.
pub struct Program {
    pub name: String,
    pub command: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    pub port: u16,
}

impl Program {
    /// `throng serve` of this workspace, fitted to load tests, with `extra` flags.
    ///
    /// # Errors
    /// There is no free port.
    pub fn throng(places: &Places, extra: &[&str]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let data = path(places.scratch.join(format!("throng-{port}")));
        let mut command = vec![path(places.binaries.join("throng"))];
        let listen = format!("127.0.0.1:{port}");
        let flags =
            ["serve", "--unlimited", "--ephemeral", "--listen", &listen, "--data-dir", &data];
        command.extend(flags.iter().chain(extra).map(|flag| (*flag).to_owned()));
        Ok(Self { name: "throng".into(), command, environment: Vec::new(), port })
    }
}

pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// Starts `program` on one core and waits until it serves.
    ///
    /// # Errors
    /// It does not.
    pub fn start(program: &Program, places: &Places, core: usize) -> anyhow::Result<Self> {
        let stderr = places.scratch.join(format!("stderr-{}.txt", program.port));
        // taskset replaces itself by the server, so that every thread starts on the core.
        let mut child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(&program.command)
            .envs(program.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&stderr)?)
            .spawn()
            .context("start taskset")?;
        let stdout = child.stdout.take().context("the server's output")?;
        let server = Self { child, url: format!("http://127.0.0.1:{}", program.port) };
        let (ready, is_ready) = channel();
        // Keeps reading to the end, so that a talkative server never blocks.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains("listening on") {
                    // After the timeout there is no receiver any more.
                    let _ = ready.send(());
                }
            }
        });
        // A server that ends closes its output, which ends the wait as well.
        if is_ready.recv_timeout(Duration::from_secs(20)).is_err() {
            let errors = std::fs::read_to_string(&stderr).unwrap_or_default();
            let last = errors.lines().last().unwrap_or("no output");
            bail!("{} did not start: {}: {last}", program.name, program.command.join(" "));
        }
        Ok(server)
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The URL of Throng's metrics.
    #[must_use]
    pub fn metrics(&self) -> String {
        format!("{}/metrics", self.url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port of the loopback. Another program may take it before the server does; then the server
/// fails to start, and that is reported.
///
/// # Errors
/// There is no free port.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    let port = listener.local_addr()?.port();
    ensure!(port != 0, "no port");
    Ok(port)
}

//! One run: start a server on its core, put the generator on another, read the report.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use throng_loadgen::report::Report;

use crate::cell::Cell;
use crate::peer::{Peer, Places, free_port};

/// How long and where.
#[derive(Clone, Debug)]
pub struct Settings {
    pub duration_s: f64,
    pub warmup_s: f64,
    pub server_core: usize,
    pub generator_cores: Vec<usize>,
}

/// A running server; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died already; what counts is that it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures one cell once.
///
/// # Errors
/// The server does not start, or the generator writes no report.
pub fn measure(
    peer: Peer,
    cell: &Cell,
    places: &Places,
    settings: &Settings,
) -> anyhow::Result<Report> {
    let port = free_port()?;
    let (server, pid) = start(peer, places, settings, port)?;
    let json = places.scratch.join(format!("report-{port}.json"));
    let cores: Vec<_> = settings.generator_cores.iter().map(usize::to_string).collect();
    let threads = settings.generator_cores.len().max(1);
    let mut generator = Command::new(places.binaries.join("throng-loadgen"));
    generator
        .args(["run", "--quiet", "--target", &format!("http://127.0.0.1:{port}")])
        .args(["--name", &format!("{} {}", peer.name(), cell.name())])
        .args(["--server-pid", &pid.to_string(), "--cores", &cores.join(",")])
        .args(["--threads", &threads.to_string()])
        .args(["--duration", &settings.duration_s.to_string()])
        .args(["--warmup", &settings.warmup_s.to_string()])
        .args(cell.flags(peer))
        .arg("--json")
        .arg(&json);
    if peer == Peer::Throng {
        generator.args(["--server-metrics", &format!("http://127.0.0.1:{port}/metrics")]);
    }
    let output = generator.output().context("start throng-loadgen")?;
    drop(server);
    let text = std::fs::read_to_string(&json).with_context(|| {
        format!("no report: {}", String::from_utf8_lossy(&output.stderr).trim())
    })?;
    std::fs::remove_file(&json)?;
    serde_json::from_str(&text).context("report of throng-loadgen")
}

fn start(
    peer: Peer,
    places: &Places,
    settings: &Settings,
    port: u16,
) -> anyhow::Result<(Server, u32)> {
    let command = peer.command(places, port);
    let complaints = places.scratch.join(format!("stderr-{port}.txt"));
    // taskset replaces itself by the server, so that every thread is born on the core.
    let mut child = Command::new("taskset")
        .args(["-c", &settings.server_core.to_string()])
        .args(&command)
        .envs(peer.environment(places))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&complaints)?)
        .spawn()
        .context("start taskset")?;
    let stdout = child.stdout.take().context("the server's output")?;
    let pid = child.id();
    let server = Server(child);
    let (ready, is_ready) = std::sync::mpsc::channel();
    // Keeps reading to the end, so that a talkative server never blocks.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.contains("listening on") {
                // Nobody waits any more once the time is over.
                let _ = ready.send(());
            }
        }
    });
    // A server that ends closes its output, which ends the wait as well.
    if is_ready.recv_timeout(Duration::from_secs(20)).is_err() {
        let said = std::fs::read_to_string(&complaints).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing");
        bail!("{} did not start: {}: {last}", peer.name(), command.join(" "));
    }
    ensure!(pid > 0, "no process");
    Ok((server, pid))
}

//! What nodes share: a Redis and a PostgreSQL of our own, on spare ports or sockets, ended when
//! dropped.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::process::is_root;
use crate::{Failure, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server process with its own directory.
pub struct Service {
    child: Child,
    dir: PathBuf,
    pub url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ending a child that has ended already is the only way these fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A port nobody listens on, below the range of outgoing connections: it stays free while a node
/// that was killed is down.
pub fn spare_port() -> Outcome<u16> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut port = 15_000 + (now.subsec_nanos() % 10_000) as u16;
    for _ in 0..1_000 {
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
        port = if port < 25_000 { port + 1 } else { 15_000 };
    }
    Err(Failure::Failed("no free port from 15000 to 25000".to_owned()))
}

/// A redis-server that keeps nothing.
pub fn redis() -> Outcome<Service> {
    let port = spare_port()?;
    let dir = fresh_dir("redis")?;
    let mut command = as_user(None, "redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(&dir);
    command.arg("--port").arg(port.to_string());
    let child = start(command, &dir)?;
    let service = Service { child, dir, url: format!("redis://127.0.0.1:{port}") };
    answers("redis-server", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(service)
}

/// A PostgreSQL with one database.
pub fn postgres() -> Outcome<Service> {
    let dir = fresh_dir("postgres")?;
    // It refuses to run as root.
    let user = is_root().then_some("postgres");
    if let Some(user) = user {
        crate::process::run("chown", &[user, &dir.to_string_lossy()], ".")?;
    }
    let data = dir.join("data");
    let mut init = as_user(user, &program("initdb"));
    init.args(["-U", "throng", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"]);
    let output = init.arg(&data).output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::Failed(format!("initdb: {told}")));
    }
    let mut command = as_user(user, &program("postgres"));
    command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"]);
    command.arg("-D").arg(&data).arg("-k").arg(&dir);
    let child = start(command, &dir)?;
    let url = format!("postgres://throng@localhost/postgres?host={}", dir.display());
    let service = Service { child, dir: dir.clone(), url };
    answers("postgres", || {
        let mut ask = Command::new(program("pg_isready"));
        ask.arg("-h").arg(&dir).stdout(Stdio::null());
        ask.status().is_ok_and(|status| status.success())
    })?;
    Ok(service)
}

fn fresh_dir(name: &str) -> Outcome<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // A socket's path has to be short, so this is not below `target`.
    let dir = std::env::temp_dir().join(format!("throng-{name}-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Ends with us, whatever happens.
fn as_user(user: Option<&str>, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    command.arg(program).current_dir("/").stdin(Stdio::null());
    command
}

fn start(mut command: Command, dir: &Path) -> Outcome<Child> {
    let log = fs::File::create(dir.join("log"))?;
    let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(child)
}

fn answers(name: &str, is_up: impl Fn() -> bool) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !is_up() {
        if Instant::now() > deadline {
            return Err(Failure::Failed(format!("{name} does not answer")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Debian keeps the programs of PostgreSQL in a folder per version.
fn program(name: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut paths: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    paths.pop().map_or_else(|| name.to_owned(), |path| path.to_string_lossy().into_owned())
}

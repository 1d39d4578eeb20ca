//! Database servers of one test, on a socket in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;

use super::Flavor;

const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Server {
    pub flavor: Flavor,
    dir: TempDir,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Server {
    pub async fn start(flavor: Flavor) -> Server {
        sqlx::any::install_default_drivers();
        let dir = tempfile::tempdir().expect("tempdir");
        give_away(dir.path(), flavor);
        match flavor {
            Flavor::Sqlite => panic!("SQLite has no server"),
            Flavor::Postgres => run(as_owner(flavor, &program("initdb"))
                .arg("-D")
                .arg(dir.path().join("data"))
                .args(["-U", "throng", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"])),
            Flavor::Mariadb => run(as_owner(flavor, &program("mariadb-install-db"))
                .arg("--no-defaults")
                .arg(format!("--datadir={}", dir.path().join("data").display()))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"])),
        }
        let server =
            Server { flavor, dir, process: Mutex::default(), databases: AtomicU32::default() };
        server.resume().await;
        server
    }

    /// Starts the process and waits until it answers.
    pub async fn resume(&self) {
        let dir = self.dir.path();
        let mut command = match self.flavor {
            Flavor::Sqlite => panic!("SQLite has no server"),
            Flavor::Postgres => {
                let mut command = as_owner(self.flavor, &program("postgres"));
                command.arg("-D").arg(dir.join("data")).arg("-k").arg(dir);
                command.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
                command
            }
            Flavor::Mariadb => {
                let mut command = as_owner(self.flavor, &program("mariadbd"));
                command.args(["--no-defaults", "--skip-networking"]);
                // A zone that is neither UTC nor likely to be the machine's.
                command.args(["--default-time-zone=+03:00"]);
                command.args(["--innodb-flush-log-at-trx-commit=2"]);
                for (option, file) in
                    [("datadir", "data"), ("socket", "mysql.sock"), ("pid-file", "mysql.pid")]
                {
                    command.arg(format!("--{option}={}", dir.join(file).display()));
                }
                command
            }
        };
        let log = std::fs::File::create(dir.join("log")).expect("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *self.process.lock().expect("lock") = Some(command.spawn().expect("spawn"));
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match AnyConnection::connect(&self.url("")).await {
                Ok(_) => return,
                Err(error) if Instant::now() > deadline => {
                    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                    panic!("the server does not answer: {error}\n{log}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Kills the process, with its connections open.
    pub fn kill(&self) {
        let Some(mut process) = self.process.lock().expect("lock").take() else { return };
        // PostgreSQL's "immediate" shutdown; its helpers would outlive a SIGKILL for a moment.
        let signal = if self.flavor == Flavor::Postgres { "-QUIT" } else { "-KILL" };
        let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
        let _ = process.wait();
    }

    /// URL of a new, empty database.
    pub async fn new_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Relaxed));
        let mut connection = AnyConnection::connect(&self.url("")).await.expect("connect");
        let sql = format!("CREATE DATABASE {name}");
        connection.execute(AssertSqlSafe(sql)).await.expect("create database");
        self.url(&name)
    }

    /// URL of a database; the empty name is one that always exists.
    fn url(&self, database: &str) -> String {
        self.flavor.url(&self.socket(), database)
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(self.flavor.socket_name())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Flavor {
    pub fn socket_name(self) -> &'static str {
        match self {
            Flavor::Sqlite => panic!("SQLite has no server"),
            Flavor::Postgres => ".s.PGSQL.5432",
            Flavor::Mariadb => "mysql.sock",
        }
    }

    pub fn url(self, socket: &Path, database: &str) -> String {
        match self {
            Flavor::Sqlite => panic!("SQLite has no server"),
            Flavor::Postgres => {
                let database = if database.is_empty() { "postgres" } else { database };
                let dir = socket.parent().expect("a socket lies in a directory").display();
                format!("postgres://throng@localhost/{database}?host={dir}")
            }
            Flavor::Mariadb => {
                let database = if database.is_empty() { "mysql" } else { database };
                format!("mysql://root@localhost/{database}?socket={}", socket.display())
            }
        }
    }

    /// Neither PostgreSQL nor MariaDB runs as root by default.
    fn owner(self) -> &'static str {
        if self == Flavor::Postgres { "postgres" } else { "mysql" }
    }
}

/// The command, run as the server's own user if we are root; it ends when we do.
fn as_owner(flavor: Flavor, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        let user = flavor.owner();
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

fn give_away(dir: &Path, flavor: Flavor) {
    if is_root() {
        run(Command::new("chown").arg(flavor.owner()).arg(dir));
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout == b"0\n"
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
}

/// Debian keeps the programs of PostgreSQL in a folder per version, and those of MariaDB in
/// `sbin`, which is not on every path.
fn program(name: &str) -> PathBuf {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    places.sort();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.push("/usr/sbin".into());
    places
        .into_iter()
        .map(|place| place.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed; `cargo xtask test` installs it"))
}

//! Database servers, each on a socket in a directory of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::user_options;
use crate::scratch::Dir;
use crate::{Failed, Process, Program, Result, Signal, TIMEOUT, process, programs};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A database server; it is slow to make, so tests share one and use a database each.
pub struct Database {
    kind: Kind,
    process: Process,
    dir: Dir,
}

impl Database {
    /// Makes its files and starts it.
    pub fn start(kind: Kind) -> Result<Database> {
        let dir = Dir::new("db")?;
        if process::is_root() {
            let mut chown = Program::Chown.command();
            finish(chown.arg(kind.user()).arg(dir.path()))?;
        }
        finish(&mut kind.install(dir.path()))?;
        let process = Process::start_as(Some(kind.user()), &kind.serve(dir.path()))?;
        let mut database = Database { kind, process, dir };
        database.wait_until_up()?;
        Ok(database)
    }

    /// Starts it again after `kill`.
    pub fn restart(&mut self) -> Result {
        self.kill();
        let command = self.kind.serve(self.dir.path());
        self.process.start_again(Some(self.kind.user()), &command)?;
        self.wait_until_up()
    }

    /// Ends it at once, with no word to its clients.
    pub fn kill(&mut self) {
        // The processes of PostgreSQL that serve connections outlive a SIGKILL for a moment.
        let is_postgres = self.kind == Kind::Postgres;
        self.process.end(if is_postgres { Signal::QUIT } else { Signal::KILL });
    }

    fn wait_until_up(&mut self) -> Result {
        let (kind, socket) = (self.kind, self.socket());
        self.process.wait_until(TIMEOUT, || match kind {
            Kind::MariaDb => UnixStream::connect(&socket).is_ok(),
            Kind::Postgres => {
                let mut ask = Program::PgIsReady.command();
                ask.arg("-h").arg(socket.parent().expect("it lies in a directory"));
                ask.output().is_ok_and(|output| output.status.success())
            }
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(self.kind.socket_name())
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.kind.url(&self.socket(), database)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Kind {
    /// The file name of its socket, which clients derive from the directory.
    pub fn socket_name(self) -> &'static str {
        match self {
            Kind::Postgres => ".s.PGSQL.5432",
            Kind::MariaDb => "mysql.sock",
        }
    }

    /// The URL of a database; the empty name is one that always exists.
    pub fn url(self, socket: &Path, database: &str) -> String {
        match self {
            Kind::Postgres => {
                let database = if database.is_empty() { "postgres" } else { database };
                let dir = socket.parent().expect("a socket lies in a directory").display();
                format!("postgres://throng@localhost/{database}?host={dir}")
            }
            Kind::MariaDb => {
                let database = if database.is_empty() { "mysql" } else { database };
                format!("mysql://root@localhost/{database}?socket={}", socket.display())
            }
        }
    }

    /// Whose process it is: neither may be root.
    fn user(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        }
    }

    fn install(self, dir: &Path) -> Command {
        let data = dir.join("data");
        let mut command = match self {
            Kind::Postgres => {
                let mut command = Program::Initdb.command();
                let options = ["-U", "throng", "--auth=trust", "--no-sync", "-E", "UTF8"];
                command.args(options).args(["--locale=C", "-D"]).arg(data);
                command
            }
            Kind::MariaDb => {
                let mut command = Program::MariaDbInstall.command();
                command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                command.arg("--skip-test-db").arg(format!("--datadir={}", data.display()));
                command.arg(own_temporaries(dir));
                command
            }
        };
        command.current_dir("/");
        programs::through(Program::Setpriv, &user_options(Some(self.user())), &command)
    }

    fn serve(self, dir: &Path) -> Command {
        let mut command = match self {
            Kind::Postgres => {
                let mut command = Program::Postgres.command();
                command.arg("-D").arg(dir.join("data")).arg("-k").arg(dir);
                for setting in ["listen_addresses=", "fsync=off", "max_connections=200"] {
                    command.args(["-c", setting]);
                }
                command
            }
            Kind::MariaDb => {
                let mut command = Program::MariaDbServer.command();
                command.args(["--no-defaults", "--skip-networking"]);
                // Neither the zone of this machine nor UTC, so that a confusion is seen.
                command.args(["--default-time-zone=+03:00", "--innodb-flush-log-at-trx-commit=2"]);
                for (option, file) in
                    [("datadir", "data"), ("socket", "mysql.sock"), ("pid-file", "mysql.pid")]
                {
                    command.arg(format!("--{option}={}", dir.join(file).display()));
                }
                command.arg(own_temporaries(dir));
                command
            }
        };
        command.current_dir("/");
        command
    }
}

/// MariaDB removes, when it starts, the temporary tables that lie where its own do: those of another that
/// runs at the same time as well.
fn own_temporaries(dir: &Path) -> String {
    format!("--tmpdir={}", dir.display())
}

fn finish(command: &mut Command) -> Result {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failed(format!("{command:?}: {}\n{errors}", output.status)))
}

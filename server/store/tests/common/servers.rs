//! Database servers of one test, on a socket in a temporary directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use throng_kit::database::{Database, Kind};

use super::Flavor;

pub struct Server {
    pub flavor: Flavor,
    database: Mutex<Database>,
    databases: AtomicU32,
}

impl Server {
    pub async fn start(flavor: Flavor) -> Server {
        sqlx::any::install_default_drivers();
        let database = Database::start(flavor.kind()).expect("the database server starts");
        Server { flavor, database: Mutex::new(database), databases: AtomicU32::default() }
    }

    /// Starts the process again and waits until it answers.
    pub async fn resume(&self) {
        self.database().restart().expect("the database server starts");
    }

    /// Ends the process with no word to its clients.
    pub fn kill(&self) {
        self.database().kill();
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
        self.database().url(database)
    }

    pub fn socket(&self) -> PathBuf {
        self.database().socket()
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().expect("no user panics")
    }
}

impl Flavor {
    fn kind(self) -> Kind {
        match self {
            Flavor::Sqlite => panic!("SQLite has no server"),
            Flavor::Postgres => Kind::Postgres,
            Flavor::Mariadb => Kind::MariaDb,
        }
    }

    pub fn socket_name(self) -> &'static str {
        self.kind().socket_name()
    }

    pub fn url(self, socket: &Path, database: &str) -> String {
        self.kind().url(socket, database)
    }
}

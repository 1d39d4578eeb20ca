//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use figment::value::Value;

use crate::config::Flags;

const EXIT_CODES: &str = "\
Exit status:
   0  stopped on request
   1  stopped on request, but the store did not finish in time
   2  wrong usage of the command line
  69  io_uring was demanded and is not usable
  70  a shard ended unexpectedly
  71  the address cannot be bound, or the system is out of something
  74  the store cannot be opened
  77  Redis refuses the login, or the user has no right to the keys
  78  the configuration is wrong";

/// A chat-room server for Socket.IO clients, old and new.
#[derive(Parser)]
#[command(name = "throng", version, about, after_help = "Start here: throng serve --help")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the server until SIGTERM or SIGINT.
    ///
    /// Without any flag it listens on 127.0.0.1:8090, keeps its SQLite database and uploaded images
    /// in ./data, and serves the web client, the REST API and Socket.IO (WebSocket and long-polling,
    /// Engine.IO 3 and 4) on that one port. It prints `throng listening on http://ADDR:PORT` on
    /// standard output once it does.
    ///
    /// Every setting comes from, in rising order: built-in default, the file of --config (TOML),
    /// the environment (THRONG_PING_INTERVAL_MS; THRONG_LIMITS__PUBLISH_PER_S for
    /// `limits.publish_per_s`), the flags below. `throng check-config --explain` lists them all.
    #[command(after_long_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Read the configuration as `serve` would, say what is wrong with it, and exit.
    #[command(after_long_help = EXIT_CODES)]
    CheckConfig {
        /// Print every setting with its value, unit, range and origin.
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        serve: ServeArgs,
    },
    /// Take over the users, messages and unread counts of the original application.
    ///
    /// Reads its MySQL or MariaDB database in one snapshot and writes a new store in one
    /// transaction: an import is whole or did not happen. A target that has users, messages or read
    /// marks already is refused, so a second import changes nothing. Stop the server before.
    #[command(after_long_help = IMPORT_HELP)]
    Import(ImportArgs),
}

const IMPORT_HELP: &str = "\
What becomes of it:
  users     keep their ids, names, avatars and passwords (bcrypt; replaced by argon2id at the next
            login). Of two accounts with one e-mail in two spellings the older stays, and gets the
            messages of both.
  tokens    keep working for 30 days; they are stored as hashes.
  messages  are numbered per room, in the order of their ids. One whose author does not exist is
            skipped.
  counts    become read marks: everybody has as many unread messages as before, at most as many as
            the room has. Who has no row has read everything. Of several rows about one user and
            room the first counts, as in the original.
  rooms     appear as `Room <id>`; `rooms.list` names them.
Uploaded images are files: copy the original's storage/app/public to where its URLs are served.

The report on standard output names what was skipped, by reason and row id; it holds no password,
token or message.

Example:
  throng import --from mysql://laravel@127.0.0.1/laravel --dry-run

Exit status:
   0  imported
   2  wrong usage of the command line
  74  the source or the target failed, or the target is not empty; nothing was imported
  78  the configuration is wrong";

const SERVE_HELP: &str = "\
Examples:
  throng serve
      Try it: open http://127.0.0.1:8090 in two browsers.
  throng serve --listen 0.0.0.0:8090 --data-dir /var/lib/throng --log json
      Behind a proxy that ends TLS.
  throng serve --redis redis://127.0.0.1 --database postgres://throng@db/throng
      One of several nodes behind a load balancer.
  throng serve --static-dir ./public
      Serve another front end instead of the embedded one.
  throng serve --unlimited --ephemeral --shards 1
      A load test on this machine.

Exit status:
   0  stopped on request
   1  stopped on request, but the store did not finish in time
   2  wrong usage of the command line
  69  io_uring was demanded and is not usable
  70  a shard ended unexpectedly
  71  the address cannot be bound, or the system is out of something
  74  the store cannot be opened
  77  Redis refuses the login, or the user has no right to the keys
  78  the configuration is wrong";

#[derive(Args, Default)]
pub struct ServeArgs {
    /// Settings in TOML.
    #[arg(long, value_name = "FILE", env = "THRONG_CONFIG", help_heading = "Where")]
    pub config: Option<PathBuf>,
    /// Address to serve; port 0 picks a free one [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Where")]
    listen: Option<SocketAddr>,
    /// Directory of the database and the uploaded images [default: ./data]
    #[arg(long, value_name = "DIR", help_heading = "Where")]
    data_dir: Option<String>,
    /// Database: sqlite://PATH, postgres://USER:PASSWORD@HOST/NAME, or mysql://… for MySQL and
    /// MariaDB; of the last two, the database must exist. A command line is seen by others: put a
    /// password into the file or THRONG_DATABASE [default: throng.db in the data directory]
    #[arg(long, value_name = "URL", help_heading = "Where")]
    database: Option<String>,
    /// Redis, as redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://…, redis+sentinel://HOST,…/SERVICE
    /// or redis+cluster://HOST,…: shares rooms with the other nodes there, and shows who is where
    #[arg(long, value_name = "URL", help_heading = "Where")]
    redis: Option<String>,
    /// Serve this front end instead of the embedded one.
    #[arg(long, value_name = "DIR", help_heading = "Where")]
    static_dir: Option<String>,

    /// Threads that hold connections and rooms [default: the cores]
    #[arg(long, value_name = "N", help_heading = "How")]
    shards: Option<u32>,
    /// How sockets are waited for: auto takes io_uring where it is permitted, else epoll
    /// [default: auto]
    #[arg(long, value_name = "auto|io_uring|legacy", help_heading = "How")]
    io_driver: Option<String>,
    /// Lift rate limits and limits per user and address; loopback only, for load tests.
    #[arg(long, help_heading = "How")]
    unlimited: bool,
    /// Rooms keep no messages; an ack then means accepted.
    #[arg(long, help_heading = "How")]
    ephemeral: bool,
    /// Form of the log on standard error [default: text]
    #[arg(long, value_name = "text|json", help_heading = "How")]
    log: Option<String>,

    /// Time between heartbeats [default: 25000]
    #[arg(long, value_name = "MS", help_heading = "Protocol")]
    ping_interval_ms: Option<u32>,
    /// Time a client has to answer a heartbeat [default: 20000]
    #[arg(long, value_name = "MS", help_heading = "Protocol")]
    ping_timeout_ms: Option<u32>,
    /// Time an Engine.IO 4 client has to connect to a namespace [default: 45000]
    #[arg(long, value_name = "MS", help_heading = "Protocol")]
    connect_timeout_ms: Option<u32>,
    /// Largest message or polling body a client may send [default: 4194304]
    #[arg(long, value_name = "BYTES", help_heading = "Protocol")]
    max_payload: Option<u32>,
}

#[derive(Args)]
pub struct ImportArgs {
    /// The original's database, as mysql://USER:PASSWORD@HOST/NAME. A command line is seen by
    /// others: THRONG_IMPORT_FROM is not.
    #[arg(long, value_name = "URL", env = "THRONG_IMPORT_FROM", hide_env_values = true)]
    pub from: String,
    /// Settings in TOML, for the target.
    #[arg(long, value_name = "FILE", env = "THRONG_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of the target [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Database of the target, as for `throng serve` [default: throng.db in the data directory]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// `timezone` of the original's config/app.php: UTC, Asia/Shanghai, or an offset such as
    /// +08:00. Its times are wall clock times of that zone, to the second.
    #[arg(long, value_name = "ZONE", default_value = "Asia/Shanghai", allow_hyphen_values = true)]
    pub timezone: String,
    /// Read and judge everything, write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

impl ImportArgs {
    /// What was given of the settings, under the names of the file.
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.set("data_dir", self.data_dir.clone());
        flags.set("database", self.database.clone());
        flags
    }
}

impl ServeArgs {
    /// What was given, under the names of the file.
    pub fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        flags.set("listen", self.listen.map(|listen| listen.to_string()));
        flags.set("data_dir", self.data_dir.clone());
        flags.set("database", self.database.clone());
        flags.set("redis.url", self.redis.clone());
        flags.set("static_dir", self.static_dir.clone());
        flags.set("shards", self.shards);
        flags.set("io_driver", self.io_driver.clone());
        flags.set("unlimited", self.unlimited.then(|| Value::from(true)));
        flags.set("ephemeral", self.ephemeral.then(|| Value::from(true)));
        flags.set("log", self.log.clone());
        flags.set("ping_interval_ms", self.ping_interval_ms);
        flags.set("ping_timeout_ms", self.ping_timeout_ms);
        flags.set("connect_timeout_ms", self.connect_timeout_ms);
        flags.set("max_payload", self.max_payload);
        flags
    }
}

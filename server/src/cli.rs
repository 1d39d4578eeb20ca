//! The command line.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use figment::value::Value;
use throng_tables::settings::{Kind, Setting};

use crate::config::{self, Flags, Shown};

const EXIT_CODES: &str = "\
Exit status:
   0  stopped on request
   1  stopped on request, but not everything was written
   2  wrong usage of the command line
  69  io_uring was required and is not usable; or, of check-config alone, Redis cannot be reached
  70  a shard ended unexpectedly
  71  the address cannot be bound, or the system is out of a resource
  74  the store cannot be opened, or another process has it open
  77  Redis rejected the login, or the user has no right to the keys
  78  the configuration is wrong";

/// A chat-room server for Socket.IO clients, old and new.
#[derive(Parser)]
#[command(name = "throng", version, about, after_help = "Start here: throng serve -h")]
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
    /// A setting has one name: `publish_per_s` in the table `[limits]` of the file (TOML) is
    /// --limits-publish-per-s here and THRONG_LIMITS__PUBLISH_PER_S in the environment. A flag wins
    /// over the environment, the environment over the file, the file over the default. -h lists the
    /// flags used most, --help all of them; `throng check-config --explain` prints their values.
    #[command(after_long_help = format!("{SERVE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Serve(ServeArgs),
    /// Check the configuration as `serve` would read it, try to open the database and to log in at
    /// Redis, and exit. Changes nothing, and may run next to the server. What `serve` would refuse is an
    /// error with the same exit status; so is a Redis that cannot be reached (69), without which `serve`
    /// would start all the same. What is allowed but odd is a warning.
    #[command(after_long_help = EXIT_CODES)]
    CheckConfig {
        /// Print every setting with its value, unit, range, origin and description; try nothing.
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
    /// Write the pages settings.md and metrics.md into a directory.
    #[command(hide = true)]
    Docs { dir: PathBuf },
}

const IMPORT_HELP: &str = "\
What becomes of it:
  users     keep their ids, names, avatars and passwords (bcrypt; replaced by argon2id at the next
            login). Of two accounts with one e-mail in two spellings the older stays, and gets the
            messages of both.
  tokens    keep working for 30 days; they are stored as hashes.
  messages  are numbered per room, in the order of their ids. One whose author does not exist is
            skipped.
  counts    become read marks: users have as many unread messages as before, at most as many as the
            room has. A user without a row has read everything. Of several rows about one user and
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

const SERVE_EXAMPLES: &str = "\
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
      A load test on this machine.";

#[derive(Args)]
pub struct ServeArgs {
    /// File of settings in TOML.
    #[arg(long, value_name = "FILE", env = config_variable())]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingFlags,
}

#[derive(Args)]
pub struct ImportArgs {
    /// The original's database, as mysql://USER:PASSWORD@HOST/NAME. The command line is visible to
    /// other users: prefer THRONG_IMPORT_FROM.
    #[arg(long, value_name = "URL", env = "THRONG_IMPORT_FROM", hide_env_values = true)]
    pub from: String,
    /// File of settings in TOML, for the target.
    #[arg(long, value_name = "FILE", env = config_variable())]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub target: TargetFlags,
    /// `timezone` of the original's config/app.php: UTC, Asia/Shanghai, or an offset such as
    /// +08:00. Its times are wall clock times of that zone, to the second.
    #[arg(long, value_name = "ZONE", default_value = "Asia/Shanghai", allow_hyphen_values = true)]
    pub timezone: String,
    /// Read and check everything, write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// An empty variable is none: a container gets one whose value was left out.
fn config_variable() -> Option<&'static str> {
    const NAME: &str = "THRONG_CONFIG";
    std::env::var_os(NAME).is_none_or(|file| !file.is_empty()).then_some(NAME)
}

/// A flag for each setting.
pub struct SettingFlags(pub Flags);

/// The settings that say where data is kept.
pub struct TargetFlags(pub Flags);

struct Flag {
    shown: Shown,
    name: String,
    help: String,
    heading: String,
}

/// Made once, since clap wants its names to live as long as the program.
static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let flags = config::defaults().into_iter().map(|shown| Flag {
        name: shown.setting.flag(),
        help: config::docs::help(&shown),
        heading: match shown.setting.section {
            "" => "Settings".to_owned(),
            section => format!("Settings of [{section}]"),
        },
        shown,
    });
    flags.collect()
});

impl Flag {
    fn is_of_target(&self) -> bool {
        ["data_dir", "database"].contains(&self.shown.key.as_str())
    }

    fn arg(&'static self) -> Arg {
        let Setting { section, kind, unit, .. } = self.shown.setting;
        let arg = Arg::new(self.name.as_str())
            .long(self.name.as_str())
            .help(self.help.as_str())
            .help_heading(self.heading.as_str())
            .value_name(match (kind, *unit) {
                (Kind::Number, "ms") => "MS",
                (Kind::Number, "bytes") => "BYTES",
                (Kind::Number, _) => "N",
                (Kind::Switch, _) => "true|false",
                (Kind::Text, _) => "VALUE",
                (Kind::List, _) => "LIST",
            })
            .value_parser(match kind {
                Kind::Number => number,
                Kind::Switch => switch,
                Kind::Text => text,
                Kind::List => list,
            });
        let arg = match kind {
            Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
            Kind::Number | Kind::Text | Kind::List => arg,
        };
        match self.shown.key.as_str() {
            // The one flag with a second, shorter name.
            "redis.url" => arg.visible_alias("redis"),
            _ => arg.hide_short_help(!section.is_empty()),
        }
    }
}

// The parsers look at the form only; the table judges the value, together with all others.

fn number(text: &str) -> Result<Value, String> {
    text.parse::<i64>().map(Value::from).map_err(|_| "expected a whole number".to_owned())
}

fn switch(text: &str) -> Result<Value, String> {
    text.parse::<bool>().map(Value::from).map_err(|_| "expected true or false".to_owned())
}

fn text(text: &str) -> Result<Value, String> {
    Ok(Value::from(text))
}

fn list(text: &str) -> Result<Value, String> {
    Ok(config::environment::list(text))
}

fn with_flags(command: clap::Command, is_wanted: fn(&Flag) -> bool) -> clap::Command {
    command.args(FLAGS.iter().filter(|flag| is_wanted(flag)).map(Flag::arg))
}

fn found(matches: &ArgMatches, is_wanted: fn(&Flag) -> bool) -> Flags {
    let mut flags = Flags::default();
    for flag in FLAGS.iter().filter(|flag| is_wanted(flag)) {
        if let Some(value) = matches.get_one::<Value>(&flag.name) {
            flags.set(&flag.shown.key, value.clone());
        }
    }
    flags
}

macro_rules! flags {
    ($($flags:ident: $is_wanted:expr;)+) => {$(
        impl Args for $flags {
            fn augment_args(command: clap::Command) -> clap::Command {
                with_flags(command, $is_wanted)
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                with_flags(command, $is_wanted)
            }
        }

        impl FromArgMatches for $flags {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($flags(found(matches, $is_wanted)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    )+};
}

flags! {
    SettingFlags: |_| true;
    TargetFlags: Flag::is_of_target;
}

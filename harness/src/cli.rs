//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use throng_codec::engine::Protocol;
use throng_spec::{Level, Profile};

use crate::abuse::plan::Plan;
use crate::client::options::Transport;
use crate::combo::{Combo, EVERY};
use crate::credentials::Place;
use crate::slo::Slo;

const EXIT_CODES: &str = "\
Exit codes:
  0  the target conforms
  1  a MUST is violated, a case could not be decided, or a case listed as known to fail passes
  2  usage error
  3  the target cannot be reached, or answers no Engine.IO handshake
  4  only SHOULDs are violated, and --strict was given
  5  the target lacks a required capability, or too few results were judged";

#[derive(Parser)]
#[command(
    name = "throng-harness",
    version,
    about = "Tests any server for conformance to the Throng protocol, over real sockets",
    after_help = EXIT_CODES
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the conformance cases and property tests against a server
    #[command(after_help = EXIT_CODES)]
    Run(Box<RunArgs>),
    /// List the cases with their clauses and levels
    List(ListArgs),
    /// Show the clauses of a case, what it does and what it expects
    Explain {
        /// Case id, with or without its combo, or a clause id
        case: String,
    },
    /// Replay a script saved by a property test
    Replay(ReplayArgs),
    /// Measure delivery latency and completeness at a fixed rate
    Latency(LatencyArgs),
    /// Run the cases against servers with one thing wrong each: what fails that passes on a correct one?
    Mutants(MutantsArgs),
    /// Start the reference server, correct or with one thing wrong
    Reference(ReferenceArgs),
    /// Print the completions of a shell
    Completions { shell: Shell },
    /// Write the manual pages, one per command, into a directory
    Man { dir: PathBuf },
}

#[derive(Args)]
pub struct TargetArgs {
    /// Server to test, as http://host:port or https://host:port; several nodes of one server separated by commas. Each
    /// case uses one node in turn; the clients of a property test are spread over all nodes
    #[arg(long, required = true, value_delimiter = ',', value_name = "URL")]
    pub target: Vec<String>,
    /// For https targets: certificates of the authorities to trust, as PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// For https targets: trust any certificate
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Path of the Engine.IO endpoint
    #[arg(long, default_value = "/socket.io/")]
    pub engine_path: String,
    /// How long the target may take to start, in seconds: until then it is tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = parse_soak)]
    pub start_wait: f64,
}

impl TargetArgs {
    pub fn start_wait(&self) -> Duration {
        Duration::from_secs_f64(self.start_wait)
    }
}

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Whose text the target is held to: upstream's (transport, Engine.IO and Socket.IO as the official
    /// texts say; needs no HTTP API and no users), or Throng's, which is more
    #[arg(long, value_enum, default_value_t = ProfileArg::Throng)]
    pub profile: ProfileArg,
    /// With --profile upstream: how the target names joins, leaves, messages and rosters, as TOML (see
    /// the README). Adds the cases events.*
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Use the users of these tokens, one per line, of any kind (JWT, …), instead of registering some. Cases
    /// that need registration or other users are skipped
    #[arg(long, value_name = "FILE", conflicts_with = "login_command")]
    pub tokens: Option<PathBuf>,
    /// Command that prints the token of a user, another one with each call, instead of registering some
    #[arg(long, value_name = "COMMAND")]
    pub login_command: Option<String>,
    /// With --profile upstream: where clients put their token, as query:NAME, auth:NAME (a member of the
    /// payload of CONNECT) or bearer (a header) [default: query:token,auth:token,bearer]
    #[arg(long, value_name = "PLACE", value_delimiter = ',', value_parser = Place::parse)]
    pub token_as: Vec<Place>,
    /// Case ids, id prefixes, clause ids, or patterns with `*`; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub filter: Vec<String>,
    /// Run only cases of this level or stronger
    #[arg(long, value_enum, default_value_t = LevelArg::May)]
    pub level: LevelArg,
    /// Engine.IO version of the sessions under test
    #[arg(long, value_enum, default_value_t = ProtocolArg::Both)]
    pub protocol: ProtocolArg,
    /// Transport of the sessions under test
    #[arg(long, value_enum, default_value_t = TransportArg::Both)]
    pub transport: TransportArg,
    /// Capabilities that the target must have, or files recorded by --record-capabilities; `none` for
    /// none [default: chat, if a selected case is about it]. `eio3` is both eio3/websocket and eio3/polling
    #[arg(long, value_delimiter = ',', value_name = "NAME|FILE")]
    pub require: Vec<String>,
    /// Write the names of the capabilities that the target has, as a file for --require
    #[arg(long, value_name = "FILE")]
    pub record_capabilities: Option<PathBuf>,
    /// Results that must be judged (passed, failed or warned)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_judged: usize,
    /// Seed of the property tests; the same seed makes the same scripts [default: from the clock]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Scripts per property test
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = at_least_one())]
    pub cases: u32,
    /// Run only the i-th of n parts, as i/n
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub shard: Option<(usize, usize)>,
    /// Timeout of a case, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 90,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Number of cases to run in parallel
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one())]
    pub jobs: u32,
    /// Timeout for one answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = parse_seconds)]
    pub wait: f64,
    /// Write a JUnit XML report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a JSON report
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a self-contained HTML report
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// File with cases that are known to fail, one id per line; a listed case that passes fails the run
    #[arg(long, value_name = "FILE")]
    pub known_failing: Option<PathBuf>,
    /// Command that kills and starts nodes. It is called with `down I` or `up I`, where I is the index
    /// of the node in --target, from 0, and must return when that is done. Of several nodes the first
    /// is never killed; a single one must be started with the data it had
    #[arg(long, value_name = "COMMAND")]
    pub node_command: Option<String>,
    /// Time within which the other nodes must detect a dead node, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 12.0, value_parser = parse_seconds)]
    pub lease: f64,
    /// Directory where property tests save shrunk scripts for `replay`
    #[arg(long, value_name = "DIR", default_value = "throng-harness-scripts")]
    pub scripts: PathBuf,
    /// How long the cases about a server at rest leave it alone before they go on, in seconds; 0 skips
    /// them
    #[arg(long, value_name = "SECONDS", default_value_t = 7.0, value_parser = parse_soak)]
    pub soak: f64,
    /// How long the sessions of a case are watched when it has ended, while other cases run, in seconds: what comes late
    /// is judged too; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = parse_soak)]
    pub watch: f64,
    /// How long the target waits for the CONNECT of Socket.IO, in seconds (LIM-6); up to 10 without --slow [default: not
    /// known, and with --slow 45]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub connect_timeout: Option<f64>,
    /// Bound of the answers of a server at rest besides one second each, such as p99=200ms; may be
    /// repeated
    #[arg(long, value_name = "QUANTILE=TIME", value_parser = Slo::parse)]
    pub slo: Vec<Slo>,
    /// Continue after a MUST failed
    #[arg(long)]
    pub keep_going: bool,
    /// Exit with 4 when a SHOULD is violated
    #[arg(long)]
    pub strict: bool,
    /// Also run cases that take longer than 10 s with the target's settings
    #[arg(long)]
    pub slow: bool,
    #[command(flatten)]
    pub abuse: AbuseArgs,
}

#[derive(Args)]
pub struct AbuseArgs {
    /// Also run the cases abuse.*: answers that are not read, what is never finished, floods. They run
    /// last, one at a time, while users in a room of their own watch completeness, order and latency
    #[arg(long)]
    pub abuse: bool,
    /// How long each case abuses the target, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, requires = "abuse",
          value_parser = parse_seconds)]
    pub abuse_seconds: f64,
    /// Connections that abuse the target at the same time
    #[arg(long, value_name = "N", default_value_t = 64, requires = "abuse",
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub abuse_connections: u32,
    /// Users that watch; each sends four messages per second
    #[arg(long, value_name = "N", default_value_t = 10, requires = "abuse",
          value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub abuse_users: u32,
    /// Latency that is fine whatever it was at rest: the 99th percentile may be this or twice that at
    /// rest, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20, requires = "abuse")]
    pub abuse_slack_ms: u64,
    /// Process of the first target, on this machine: its memory and processor time are judged as well
    #[arg(long, value_name = "PID", requires = "abuse")]
    pub server_pid: Option<u32>,
}

impl AbuseArgs {
    /// `None` without --abuse.
    pub fn plan(&self) -> Option<Plan> {
        self.abuse.then(|| Plan {
            time: Duration::from_secs_f64(self.abuse_seconds),
            connections: self.abuse_connections,
            users: self.abuse_users as usize,
            slack: Duration::from_millis(self.abuse_slack_ms),
            server_pid: self.server_pid,
        })
    }
}

#[derive(Args)]
pub struct ListArgs {
    /// Only the cases of this profile
    #[arg(long, value_enum)]
    pub profile: Option<ProfileArg>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show every clause with its cases, or the reason why it has none
    #[arg(long)]
    pub coverage: bool,
}

#[derive(Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// A script saved by a property test
    pub file: PathBuf,
    /// How long what it leads to must last while nothing else happens, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = parse_soak)]
    pub soak: f64,
    /// Number of runs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    pub times: u32,
}

#[derive(Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Members of the room
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one())]
    pub clients: u32,
    /// Messages per second
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = parse_rate)]
    pub rate: f64,
    /// Duration of the measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = parse_seconds)]
    pub seconds: f64,
    /// Latency bound such as p99=5ms or max=1s; may be repeated. Exit code 1 when one is missed
    #[arg(long, value_name = "QUANTILE=TIME", value_parser = Slo::parse)]
    pub slo: Vec<Slo>,
    /// Engine.IO version of the members
    #[arg(long, value_enum, default_value_t = ProtocolArg::Eio4)]
    pub protocol: ProtocolArg,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct MutantsArgs {
    /// Try only these mutants
    pub only: Vec<String>,
    /// Mutants or clauses that they break, as prefixes or patterns with `*`; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub filter: Vec<String>,
    /// List the mutants and exit
    #[arg(long)]
    pub list: bool,
    /// Number of mutants to try in parallel
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least_one())]
    pub jobs: u32,
    /// Try only the i-th of n parts of the mutants, as i/n
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub shard: Option<(usize, usize)>,
    /// Run all cases against each mutant. Without it only those that name one of its clauses run, until each of its
    /// clauses is found broken
    #[arg(long)]
    pub all_cases: bool,
    /// Leave out the defects that show only while a server is abused: they are tried one at a time, on an idle machine
    #[arg(long)]
    pub no_abuse: bool,
    /// File with mutants that are known to live, one name per line, with the reason behind `#`; a listed mutant that is
    /// detected fails the run
    #[arg(long, value_name = "FILE")]
    pub known_alive: Option<PathBuf>,
    /// Print the clauses that no mutant breaks
    #[arg(long)]
    pub not_broken: bool,
    /// Write clause by mutant as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub matrix: Option<PathBuf>,
    /// Write the same as JSON, with what each mutant made fail
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct ReferenceArgs {
    /// Addresses to listen on, one per node, separated by commas
    #[arg(long, default_value = "127.0.0.1:8095", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// What is to be wrong (see `mutants --list`)
    #[arg(long)]
    pub defect: Option<String>,
    /// Keep the limits of events, requests and rooms exactly as the text has them by default, instead of
    /// none
    #[arg(long)]
    pub default_limits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    Upstream,
    Throng,
}

impl ProfileArg {
    pub fn profile(self) -> Profile {
        match self {
            ProfileArg::Upstream => Profile::Upstream,
            ProfileArg::Throng => Profile::Throng,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelArg {
    Must,
    Should,
    May,
}

impl LevelArg {
    pub fn level(self) -> Level {
        match self {
            LevelArg::Must => Level::Must,
            LevelArg::Should => Level::Should,
            LevelArg::May => Level::May,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    Eio3,
    Eio4,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    Websocket,
    Polling,
    Both,
}

pub fn combos(protocol: ProtocolArg, transport: TransportArg) -> Vec<Combo> {
    let protocol_fits = |combo: &Combo| match protocol {
        ProtocolArg::Eio3 => combo.protocol == Protocol::Eio3,
        ProtocolArg::Eio4 => combo.protocol == Protocol::Eio4,
        ProtocolArg::Both => true,
    };
    let transport_fits = |combo: &Combo| match transport {
        TransportArg::Websocket => combo.transport == Transport::Websocket,
        TransportArg::Polling => combo.transport == Transport::Polling,
        TransportArg::Both => true,
    };
    EVERY.iter().copied().filter(protocol_fits).filter(transport_fits).collect()
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

fn parse_soak(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(0.0) } else { parse_seconds(text) }
}

/// A day is the longest.
fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("not a number of seconds above 0 and up to 86400".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("not a number above 0 and up to 1000000".to_owned()),
    }
}

fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((index, count)) if (1..=count).contains(&index) => Ok((index, count)),
        _ => Err(format!("{text:?} is not I/N with 1 <= I <= N")),
    }
}

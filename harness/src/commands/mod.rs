//! The subcommands. Each returns the exit code of the process.

mod latency;
mod list;
mod mutants;
mod replay;
mod run;
mod shell;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use throng_spec::Profile;

use crate::capabilities::Capabilities;
use crate::cli::{Command, TargetArgs};
use crate::client::target::{NoTarget, Target};
use crate::client::tls::Trust;
use crate::credentials::Credentials;
use crate::output::print_error;
use crate::probe::probe;

pub const CONFORMS: u8 = 0;
pub const BROKEN: u8 = 1;
pub const USAGE: u8 = 2;
pub const UNREACHABLE: u8 = 3;
pub const SHOULDS_BROKEN: u8 = 4;
pub const NOT_JUDGED: u8 = 5;

pub fn execute(command: Command) -> u8 {
    let outcome = match command {
        Command::Run(args) => run::run(&args),
        Command::List(args) => list::list(&args),
        Command::Explain { case } => list::explain(&case),
        Command::Replay(args) => replay::replay(&args),
        Command::Latency(args) => latency::latency(&args),
        Command::Mutants(args) => mutants::mutants(&args),
        Command::Reference(args) => mutants::reference(&args),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { dir } => shell::man(&dir),
    };
    outcome.unwrap_or_else(|(code, why)| {
        print_error(why);
        code
    })
}

type Exit = Result<u8, (u8, String)>;

/// An error of the command line.
fn usage(why: String) -> (u8, String) {
    (USAGE, why)
}

fn unreachable(why: String) -> (u8, String) {
    (UNREACHABLE, why)
}

fn nodes(args: &TargetArgs) -> Result<Vec<Target>, (u8, String)> {
    let trust = || Trust::new(args.ca.as_deref(), args.insecure);
    let node = |url: &String| {
        Target::parse_with(url, &args.engine_path, trust).map_err(|why| match why {
            NoTarget::Malformed(why) => usage(why),
            NoTarget::Unresolved(why) => unreachable(why),
        })
    };
    args.target.iter().map(node).collect()
}

/// What the nodes offer, all of them reachable: they are one server.
fn reach(
    nodes: &[Target],
    profile: Profile,
    credentials: Option<&Credentials>,
    start_wait: Duration,
) -> Result<Capabilities, String> {
    const AGAIN: Duration = Duration::from_millis(200);
    let deadline = Instant::now() + start_wait;
    loop {
        let found = reach_once(nodes, profile, credentials);
        if found.is_ok() || Instant::now() + AGAIN > deadline {
            return found;
        }
        thread::sleep(AGAIN);
    }
}

fn reach_once(
    nodes: &[Target],
    profile: Profile,
    credentials: Option<&Credentials>,
) -> Result<Capabilities, String> {
    let (first, others) = nodes.split_first().expect("the command line requires a target");
    let capabilities =
        probe(first, profile, credentials).map_err(|why| format!("{}: {why}", first.origin()))?;
    for node in others {
        node.dial().map_err(|why| format!("{}: {why}", node.origin()))?;
    }
    Ok(capabilities)
}

fn read(path: &Path) -> Result<String, (u8, String)> {
    std::fs::read_to_string(path).map_err(|why| usage(format!("{}: {why}", path.display())))
}

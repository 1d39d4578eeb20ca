//! `cargo xtask`: the project's automation, the same commands for developers and for CI.
#![forbid(unsafe_code)]

mod check;
mod circles;
mod conform;
mod counts;
mod e2e;
mod files;
mod fresh;
mod fuzz;
mod imports;
mod instructions;
mod links;
mod modules;
mod nodes;
mod pool;
mod process;
mod purity;
mod run;
mod rust;
mod setup;
mod test;
mod threats;
mod words;

use std::process::ExitCode;

const HELP: &str = "\
Throng's automation.

usage: cargo xtask <command> [arguments]

  run [ARGS…]      install what is missing, build the web client and the release server, and run
                   `throng serve` on 127.0.0.1:8090; ARGS go to `throng serve`
  test [STEP…]     install what is missing and run every test; steps: check web rust e2e
                   conform instructions fuzz
  check [NAME…]    what needs no running server: formatting, import directions between packages and
                   circles between files, rules of the pure crates, links in Markdown and in rustdoc, bounds
                   and tests named in SECURITY.md, retired words (ci/words.txt), eslint and types of the web client, licences and advisories, clippy;
                   all, or those whose names contain a NAME
  fresh [--only run|test] [--keep]
                   run `cargo xtask run` and `cargo xtask test` on the current commit in an empty Debian
                   made by debootstrap below target/fresh; as root. --keep leaves it there
  fuzz [TARGET…] [--seconds N] [--canary NAME]
                   fuzz the codecs and a shard, 60 seconds per target; with a canary: a shard that is broken so
                   (see server/wire/fuzz/README.md)
  conform [PLAN…] [ARGS…]  the conformance harness against a release server with 1 and 3 shards, with the
                   driver `redis`, as two and three nodes, and abused, and its mutants; ARGS go to
                   `throng-harness run`, such as `abuse --abuse-connections 4096`
  instructions     instructions per delivery, counted by valgrind, against their budgets; and for each of the
                   largest inputs the longest turn of a shard, at most 5 ms in the best of 30 runs
  bench            micro-benchmarks
  bench peers|scale|redis [ARGS…]  the runs whose results are kept: next to other servers, at scale, and
                   through Redis (see benches/README.md)
  bench redis URL  the throughput of that Redis alone
  faults           break each thing that two nodes need, one after the other, and write the table of what
                   users saw to benches/results
  sim [ARGS…]      deterministic simulation of the shards, such as `--minutes 5` or `--seed N`
  setup            only install what is missing
  help             this text

Exit codes: 0 done, 1 something failed, 2 wrong usage, 3 something must be installed by hand.";

/// Why a command did not succeed; the message is shown at the terminal.
pub enum Failure {
    /// A step failed; its own output is above.
    Failed(String),
    /// The command line is wrong.
    Usage(String),
    /// Something is missing that we may not install ourselves.
    Missing(String),
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl From<throng_kit::Failed> for Failure {
    fn from(error: throng_kit::Failed) -> Self {
        Failure::Failed(error.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "run" => run::run(&rest),
        "test" => test::test(&rest),
        "check" => check::check(&rest),
        "conform" => conform::conform(&rest),
        "bench" => conform::bench(&rest),
        "fresh" => fresh::fresh(&rest),
        "fuzz" => fuzz::fuzz(&rest),
        "faults" => e2e::faults(),
        "instructions" => instructions::instructions(),
        "sim" => conform::sim(&rest),
        "setup" => setup::everything().map(|_| ()),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(Failure::Usage(format!("unknown command `{other}`\n\n{HELP}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Missing(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(3)
        }
    }
}

//! What goes through Redis; `cargo xtask bench redis` starts the nodes and runs it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use throng_benches::environment::{self, Places, commit};
use throng_benches::page::Page;
use throng_benches::redis::{Lab, measure};
use throng_benches::result::Results;

const SCHEMA: &str = "throng-redis/1";
const SETTING: &str =
    "Release build; Redis, PostgreSQL, the nodes and the clients share the cores; loopback.";

/// Exit status: 0 everything was measured; 1 otherwise. A missed target is a result, not a failure.
#[derive(Parser)]
#[command(version, about)]
struct Command {
    /// URLs of two nodes that share a database and a Redis.
    #[arg(long, value_delimiter = ',', required = true)]
    nodes: Vec<String>,
    /// URL of one node, and of its Redis.
    #[arg(long)]
    node: String,
    #[arg(long)]
    redis: String,
    /// The backplane's example `rates`.
    #[arg(long)]
    rates: PathBuf,
    /// Short: does everything still run? Results are not kept.
    #[arg(long)]
    quick: bool,
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let places = Places::of_this_program()?;
    // One descriptor per member.
    throng_loadgen::prerequisites::raise_descriptor_limit(4_096)?;
    let nodes = command.nodes.try_into().ok().context("--nodes takes two URLs")?;
    let Command { node, redis, rates, quick, repetitions, .. } = command;
    let repetitions = if quick { 1 } else { repetitions };
    let lab = Lab { nodes, node, redis, rates, is_trial: quick, repetitions };
    let results = Results {
        schema: SCHEMA.into(),
        date: environment::today(),
        machine: environment::machine(),
        command: format!("cargo xtask bench redis --repetitions {repetitions}"),
        version: format!("{} ({})", env!("CARGO_PKG_VERSION"), commit(&places.root)),
        is_trial: quick,
        parts: measure(&lab)?,
    };
    Page::of_parts("Through Redis", SETTING, &results).save(
        &places.results(quick),
        "redis",
        &results,
    )
}

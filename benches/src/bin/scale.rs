//! Throng at scale: idle connections, connect rate, storms, large rooms, shards.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use throng_benches::environment::{self, Places, build, commit};
use throng_benches::flags::Flags;
use throng_benches::page::Page;
use throng_benches::result::Results;
use throng_benches::scale::{ALL, Lab, Name, add, picture};
use throng_loadgen::thread::pin;

const SCHEMA: &str = "throng-scale/1";
const SETTING: &str = "Server on one core, generator on another, loopback.";

/// Exit status: 0 everything was measured and nothing was void; 1 otherwise. A missed target is a
/// result, not a failure.
#[derive(Parser)]
#[command(version, about)]
struct Command {
    #[command(flatten)]
    flags: Flags,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Name>,
    /// Of `entry`: count, delta and full, or fewer; `full-default` is full without a larger budget for
    /// 10 000, which takes minutes.
    #[arg(long, value_delimiter = ',')]
    presence_mode: Vec<String>,
    /// Of `entry`: 100, 300, 1000, 3000 and 10000, or fewer.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Put the results into those of the day that have the name already, instead of replacing them.
    #[arg(long)]
    add: bool,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<bool> {
    let flags = &command.flags;
    let places = Places::of_this_program()?;
    let folder = flags.folder(&places);
    if !flags.no_build {
        build(&places, "throng-loadgen")?;
        build(&places, "throng")?;
    }
    // Every connection is a descriptor here and there; both inherit this limit.
    let descriptors = throng_loadgen::prerequisites::raise_descriptor_limit(110_000)?;
    let cores = flags.cores();
    if let Some(core) = cores.generator.first() {
        // Registration and the reading of metrics must not disturb the server's core.
        pin(*core)?;
    }
    let repetitions = flags.repetitions();
    let (presence_mode, sizes) = (command.presence_mode.clone(), command.sizes.clone());
    let lab = Lab {
        places,
        cores,
        is_trial: flags.quick,
        repetitions,
        presence_mode,
        sizes,
        descriptors,
    };
    let mut results = Results {
        schema: SCHEMA.into(),
        date: environment::today(),
        machine: environment::machine(),
        command: environment::command_line("scale"),
        version: format!("{} ({})", env!("CARGO_PKG_VERSION"), commit(&lab.places.root)),
        is_trial: lab.is_trial,
        parts: Vec::new(),
    };
    let names = if command.parts.is_empty() { ALL.to_vec() } else { command.parts.clone() };
    let mut is_sound = true;
    for name in names {
        match name.run(&lab) {
            Ok(part) => {
                is_sound &= part.rows.iter().all(|row| row.void_reasons.is_empty());
                results.parts.push(part);
            }
            Err(error) => {
                eprintln!("{name:?} failed: {error:#}");
                is_sound = false;
            }
        }
    }
    let name = flags.name("scale");
    if command.add {
        let file = folder.join(format!("{}-{name}.json", results.date));
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        let mut earlier: Results = serde_json::from_str(&text).context("earlier results")?;
        add(&mut earlier, results);
        results = earlier;
    }
    let drawn = results.parts.iter().find(|part| part.name == "entry").and_then(picture::svg);
    let alt = "CPU time and roster bytes per join over the number of members";
    let picture = drawn.map(|svg| (svg, alt));
    let page = Page { picture, ..Page::of_parts("Throng at scale", SETTING, &results) };
    page.save(&folder, name, &results)?;
    Ok(is_sound)
}

//! Throng and other servers under the same load: builds, pins, measures, writes a table and a picture.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use throng_benches::environment::{self, Places, build};
use throng_benches::flags::Flags;
use throng_benches::measure::{Cores, measure};
use throng_benches::peers::cell::{self, Cell, Kind, SHARE};
use throng_benches::peers::outcome::{Entry, Results, Run, SCHEMA};
use throng_benches::peers::page::page;
use throng_benches::peers::peer::{ALL, Peer};
use throng_benches::peers::ratios;
use throng_benches::server::Server;
use throng_loadgen::report::Report;
use throng_loadgen::scenario::Scenario;
use throng_loadgen::table::number;

/// Exit status: 0 every cell was measured; 1 something failed; with --quick also if Throng lost
/// messages.
#[derive(Parser)]
#[command(version, about)]
struct Command {
    #[command(flatten)]
    flags: Flags,
    /// Only these servers.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<Peer>,
    /// Only cells whose name has all words of one of these: `16x4`, `N=1000`, `16x4 N=1000`, `fixed`,
    /// `80%`, `idle`. The floors of equal bytes need Throng in the same cell.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    /// Seconds per repetition, warm-up included; open loops take twice as long.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
    #[arg(long, default_value_t = 1.5)]
    warmup: f64,
    /// A server that cannot be prepared is left out instead of ending the run.
    #[arg(long)]
    skip_missing: bool,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<bool> {
    let places = Places::of_this_program()?;
    let results = measure_all(command, &places)?;
    let folder = command.flags.folder(&places);
    page(&results).save(&folder, command.flags.name("peers"), &results)?;
    Ok(is_sound(&results))
}

fn measure_all(command: &Command, places: &Places) -> anyhow::Result<Results> {
    let flags = &command.flags;
    // Of a repetition, and those of them that are not counted.
    let seconds = if flags.quick { (2.0, 0.5) } else { (command.duration, command.warmup) };
    let cores = flags.cores();
    let repetitions = flags.repetitions();
    let peers = prepared(command, places)?;
    let cells: Vec<Cell> = if flags.quick { cell::quick()? } else { cell::all()? }
        .into_iter()
        .filter(|cell| {
            command.cells.is_empty() || command.cells.iter().any(|asked| cell.is_asked_for(asked))
        })
        .collect();
    let mut results = Results {
        schema: SCHEMA.into(),
        date: environment::today(),
        machine: environment::machine(),
        command: environment::command_line("peers"),
        repetitions,
        duration_s: seconds.0,
        warmup_s: seconds.1,
        targets: Vec::new(),
        versions: peers.iter().map(|p| (p.name().to_owned(), p.version(places))).collect(),
        entries: Vec::new(),
    };
    // Repetitions outermost: a machine that slows down slows all servers alike.
    for repetition in 1..=repetitions {
        for cell in &cells {
            for peer in peers.iter().filter(|peer| cell.has(**peer)) {
                let chat_bytes = chat_bytes(&results, cell);
                let Some(scenario) = cell.scenario(*peer, chat_bytes, seconds) else { continue };
                eprint!("[{repetition}/{repetitions}] {}: ", scenario.name);
                let measured = measured(*peer, cell, scenario, seconds, places, &cores);
                let entry = entry_of(&mut results, cell, *peer);
                match measured {
                    Ok(report) => {
                        let run = Run::of(&report);
                        eprintln!("{}", line(&run));
                        entry.runs.push(run);
                    }
                    Err(error) => {
                        eprintln!("failed: {error:#}");
                        entry.failures.push(format!("repetition {repetition}: {error:#}"));
                    }
                }
            }
        }
    }
    results.targets = ratios::of(&results);
    Ok(results)
}

/// One run on a fresh server; a share of what it can do is a share of what it did right before,
/// because machines change their speed by more than the rest of that share.
fn measured(
    peer: Peer,
    cell: &Cell,
    mut scenario: Scenario,
    seconds: (f64, f64),
    places: &Places,
    cores: &Cores,
) -> anyhow::Result<Report> {
    let server = Server::start(&peer.program(places)?, cores.server)?;
    let measure = |mut scenario: Scenario| {
        scenario.server_metrics = (peer == Peer::Throng).then(|| server.metrics());
        measure(&server, scenario, places, cores)
    };
    if cell.kind == Kind::Share {
        let full = cell::saturation()?.scenario(peer, None, seconds);
        let most = measure(full.context("a saturation that can be measured")?)?;
        let most = most.metric("deliveries_per_s").context("no rate at saturation")?;
        scenario.load.delivery_rate = most * SHARE;
    }
    measure(scenario)
}

/// Payload bytes of one of Throng's deliveries in this cell, as far as it has been measured.
fn chat_bytes(results: &Results, cell: &Cell) -> Option<f64> {
    let throng = results.entry(&cell.name(), Peer::Throng.name())?.runs.last()?;
    // A server's frame of this length has a header of four bytes.
    throng.figures.get("bytes_per_frame").map(|bytes| bytes - 4.0)
}

fn prepared(command: &Command, places: &Places) -> anyhow::Result<Vec<Peer>> {
    let mut peers = if command.servers.is_empty() { ALL.to_vec() } else { command.servers.clone() };
    if command.flags.no_build {
        return Ok(peers);
    }
    Peer::Floor.prepare(places)?;
    build(places, "throng-loadgen")?;
    let mut missing = Vec::new();
    for peer in &peers {
        eprintln!("preparing {}", peer.name());
        match peer.prepare(places) {
            Ok(()) => {}
            Err(error) if command.skip_missing => {
                eprintln!("left out: {}: {error:#}", peer.name());
                missing.push(*peer);
            }
            Err(error) => return Err(error.context(format!("prepare {}", peer.name()))),
        }
    }
    peers.retain(|peer| !missing.contains(peer));
    Ok(peers)
}

fn entry_of<'r>(results: &'r mut Results, cell: &Cell, peer: Peer) -> &'r mut Entry {
    let (cell, server) = (cell.name(), peer.name().to_owned());
    let found = results.entries.iter().position(|e| e.cell == cell && e.server == server);
    let at = found.unwrap_or_else(|| {
        let is_socket_io = peer.is_socket_io();
        results.entries.push(Entry { cell, server, is_socket_io, ..Entry::default() });
        results.entries.len() - 1
    });
    &mut results.entries[at]
}

fn line(run: &Run) -> String {
    let show = |figure: &str| run.figures.get(figure).map_or("–".into(), |v| number(*v));
    let mut line = format!(
        "{} deliveries/s, p99 {} µs, {} µs CPU each, {} B RSS, {} connects/s",
        show("deliveries_per_s"),
        show("latency_us.p99"),
        show("server.cpu_us_per_delivery"),
        show("server.rss_per_connection_bytes"),
        show("connects_per_s"),
    );
    for reason in &run.void_reasons {
        line.push_str(" VOID ");
        line.push_str(reason);
    }
    line
}

/// Everything was measured, and Throng delivered all it owed, by its own count as well.
fn is_sound(results: &Results) -> bool {
    let mut is_sound = true;
    for entry in &results.entries {
        is_sound &= entry.failures.is_empty();
        let complete =
            |run: &Run| run.figures.get("completeness").is_none_or(|share| *share == 1.0);
        let agrees = |run: &Run| run.counts_agree != Some(false);
        if entry.server == "throng" && !entry.runs.iter().all(|run| complete(run) && agrees(run)) {
            eprintln!("throng did not deliver everything in {}", entry.cell);
            is_sound = false;
        }
    }
    is_sound
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_loss_of_throng_is_not_sound() {
        let entry = |share| Entry {
            server: "throng".into(),
            runs: vec![Run {
                figures: BTreeMap::from([("completeness".to_owned(), share)]),
                ..Run::default()
            }],
            ..Entry::default()
        };
        assert!(is_sound(&Results { entries: vec![entry(1.0)], ..Results::default() }));
        assert!(!is_sound(&Results { entries: vec![entry(0.999)], ..Results::default() }));
    }
}

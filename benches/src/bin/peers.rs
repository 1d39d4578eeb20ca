//! Throng and other servers side by side: builds, pins, measures, writes a table and a picture.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use throng_benches::cell::{self, Cell};
use throng_benches::measure::{Settings, measure};
use throng_benches::outcome::{Entry, Results, Run, SCHEMA};
use throng_benches::peer::{ALL, Peer, Places};
use throng_benches::{picture, table};

/// Exit status: 0 every cell was measured; 1 something failed; with --quick also if Throng lost
/// messages.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    /// Small cells, one short repetition: does everything still run?
    #[arg(long)]
    quick: bool,
    /// Only these servers.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<Peer>,
    /// Only cells whose name contains one of these: `16x4`, `N=1000`, `fixed`, `idle`.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
    /// Seconds per repetition, warm-up included.
    #[arg(long, default_value_t = 7.0)]
    duration: f64,
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    generator_cores: Vec<usize>,
    /// Folder of the results; default: benches/results, or a temporary one with --quick.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The results' name after the date.
    #[arg(long, default_value = "peers")]
    name: String,
    /// Use what was built and installed before.
    #[arg(long)]
    no_build: bool,
    /// A server that cannot be prepared is left out instead of ending the run.
    #[arg(long)]
    skip_missing: bool,
}

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?.to_owned();
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("target folder")?.to_owned();
    let binaries = target.join("release");
    let scratch = target.join("tmp").join(format!("peers-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let places = Places { root, binaries, target, scratch };
    let result = measure_all(&flags, &places);
    std::fs::remove_dir_all(&places.scratch)?;
    let results = result?;
    let folder = match &flags.out {
        Some(folder) => folder.clone(),
        None if flags.quick => places.target.join("tmp"),
        None => places.root.join("benches/results"),
    };
    save(&results, &folder, &flags.name)?;
    Ok(is_sound(&results))
}

fn measure_all(flags: &Flags, places: &Places) -> anyhow::Result<Results> {
    let settings = Settings {
        duration_s: if flags.quick { 2.0 } else { flags.duration },
        warmup_s: if flags.quick { 0.5 } else { flags.warmup },
        server_core: flags.server_core,
        generator_cores: flags.generator_cores.clone(),
    };
    let repetitions = if flags.quick { 1 } else { flags.repetitions };
    let peers = prepared(flags, places)?;
    let cells: Vec<Cell> = if flags.quick { cell::quick() } else { cell::all() }
        .into_iter()
        .filter(|cell| {
            flags.cells.is_empty() || flags.cells.iter().any(|part| cell.name().contains(part))
        })
        .collect();
    let mut results = Results {
        schema: SCHEMA.into(),
        date: today(),
        machine: throng_loadgen::proc::machine(),
        command: command_line(),
        repetitions,
        duration_s: settings.duration_s,
        warmup_s: settings.warmup_s,
        versions: peers.iter().map(|p| (p.name().to_owned(), p.version(places))).collect(),
        entries: Vec::new(),
    };
    // Repetitions outermost: a machine that slows down slows everybody.
    for repetition in 1..=repetitions {
        for cell in &cells {
            for peer in &peers {
                let name = format!("{}, {}", peer.name(), cell.name());
                eprint!("[{repetition}/{repetitions}] {name}: ");
                let measured = measure(*peer, cell, places, &settings);
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
    Ok(results)
}

fn prepared(flags: &Flags, places: &Places) -> anyhow::Result<Vec<Peer>> {
    let mut peers = if flags.servers.is_empty() { ALL.to_vec() } else { flags.servers.clone() };
    if flags.no_build {
        return Ok(peers);
    }
    Peer::Floor.prepare(places)?;
    throng_benches::peer::build(places, "throng-loadgen")?;
    let mut missing = Vec::new();
    for peer in &peers {
        eprintln!("preparing {}", peer.name());
        match peer.prepare(places) {
            Ok(()) => {}
            Err(error) if flags.skip_missing => {
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
    let show = |figure: &str| run.figures.get(figure).map_or("–".into(), |v| table::number(*v));
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

fn save(results: &Results, folder: &Path, name: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let stem = format!("{}-{name}", results.date);
    let picture = format!("{stem}.svg");
    let write = |file: String, text: String| {
        let path = folder.join(file);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
        anyhow::Ok(())
    };
    write(picture.clone(), picture::svg(results))?;
    write(format!("{stem}.md"), table::markdown(results, &picture))?;
    write(format!("{stem}.json"), serde_json::to_string_pretty(results)? + "\n")
}

/// Everything was measured, and Throng delivered all it owed, by its own count as well.
fn is_sound(results: &Results) -> bool {
    let mut is_sound = true;
    for entry in &results.entries {
        is_sound &= entry.failures.is_empty();
        let complete = |run: &Run| run.figures.get("completeness") == Some(&1.0);
        let agrees = |run: &Run| run.counts_agree != Some(false);
        if entry.server == "throng" && !entry.runs.iter().all(|run| complete(run) && agrees(run)) {
            eprintln!("throng did not deliver everything in {}", entry.cell);
            is_sound = false;
        }
    }
    is_sound
}

/// The command that reproduces the results.
fn command_line() -> String {
    let mut command = vec!["cargo xtask bench peers".to_owned()];
    command.extend(std::env::args().skip(1).filter(|flag| flag != "--no-build"));
    command.join(" ")
}

/// The date in UTC as `2026-01-31`.
fn today() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let days = since.map_or(0, |since| since.as_secs() / 86_400) as i64;
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970-01-01 as a date of the Gregorian calendar (Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_780), (2026, 11, 23));
    }

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

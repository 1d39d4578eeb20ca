//! `sim`: explores schedules of the shards, one seed each, and says how to repeat what it finds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use throng_sim::canary::Canary;
use throng_sim::entropy::{Stream, mix};
use throng_sim::run::{Options, Report, quiet_panics, run, run_seed, shards_of};
use throng_sim::shrink::shrink;

/// Deterministic simulation of the shards.
#[derive(Parser)]
#[command(name = "sim")]
struct Args {
    /// One seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of shards of each node; without it each seed decides.
    #[arg(long)]
    shards: Option<u8>,
    /// Number of nodes: several share a database and a Redis.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    nodes: u8,
    /// A range of seeds, FROM..TO.
    #[arg(long, value_parser = range)]
    seeds: Option<std::ops::Range<u64>>,
    /// Go on for this long.
    #[arg(long)]
    minutes: Option<f64>,
    /// Derive the seeds from a commit.
    #[arg(long)]
    commit: Option<String>,
    /// Search for a shorter stream that fails in the same way, and show its trace.
    #[arg(long)]
    shrink: bool,
    /// Show the whole trace of the seed.
    #[arg(long)]
    trace: bool,
    /// Break the world on purpose; `all` measures every canary.
    #[arg(long)]
    canary: Option<String>,
    /// A checker not to hold, to look past a known defect.
    #[arg(long)]
    ignore: Vec<String>,
    /// Go on after a failure, and count.
    #[arg(long)]
    keep_going: bool,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("expected FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let args = Args::parse();
    quiet_panics();
    // Lives as long as the program; options stay plain values that way.
    let ignored: Vec<&'static str> =
        args.ignore.iter().map(|name| &*Box::leak(name.clone().into_boxed_str())).collect();
    let plain = Options { nodes: args.nodes, ignored: ignored.leak(), ..Options::new(1) };
    if args.canary.as_deref() == Some("all") {
        return measure_canaries(args.seeds.unwrap_or(0..400), plain);
    }
    let canary = match args.canary.as_deref() {
        None => None,
        Some(name) => match Canary::parse(name) {
            Some(canary) => Some(canary),
            None => {
                let names: Vec<String> = Canary::ALL.map(Canary::name).into();
                eprintln!("no canary {name}; there are: {}", names.join(" "));
                return ExitCode::from(2);
            }
        },
    };
    if let Some(seed) = args.seed {
        let shards = args.shards.unwrap_or_else(|| shards_of(seed, args.nodes));
        let options = Options { shards, canary, is_readable: args.trace, ..plain };
        let report = run_seed(seed, options);
        for line in &report.lines {
            println!("{line}");
        }
        return match &report.violation {
            None => {
                println!("seed {seed} on {shards} shards: nothing broken");
                ExitCode::SUCCESS
            }
            Some(_) => {
                print_failure(seed, options, &report, args.shrink);
                ExitCode::FAILURE
            }
        };
    }
    explore(&args, canary, plain)
}

fn explore(args: &Args, canary: Option<Canary>, plain: Options) -> ExitCode {
    let base = args.commit.as_deref().map_or(0, |commit| {
        commit.bytes().fold(1, |hash: u64, byte| mix(hash ^ u64::from(byte))) >> 20
    });
    let seeds = match (&args.seeds, args.minutes) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(_)) => base..u64::MAX,
        (None, None) => base..base + 1_000,
    };
    let until =
        args.minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(60.0 * minutes));
    let start = Instant::now();
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let (mut runs, mut turns) = (0_u64, 0_u64);
    for seed in seeds {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let shards = args.shards.unwrap_or_else(|| shards_of(seed, args.nodes));
        let options = Options { shards, canary, ..plain };
        let report = run_seed(seed, options);
        runs += 1;
        turns += report.turns;
        if let Some(violation) = &report.violation {
            if !args.keep_going {
                print_failure(seed, options, &report, args.shrink);
                return ExitCode::FAILURE;
            }
            failures.entry(violation.checker).or_default().push(seed);
        }
        for (name, count) in report.marks {
            *marks.entry(name).or_default() += count;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{runs} schedules in {seconds:.1} s: {:.0} per second, {turns} turns",
        runs as f64 / seconds
    );
    let still = marks.iter().filter(|(_, count)| **count == 0).map(|(name, _)| &**name);
    // What is back at 0 when everybody has left says nothing.
    let gauges = |name: &&str| {
        name.starts_with("sessions_") || ["members", "users_on_shards"].contains(name)
    };
    let still: Vec<&str> = still.filter(|name| !gauges(name)).collect();
    println!("never moved: {}", if still.is_empty() { "none".to_owned() } else { still.join(" ") });
    for (checker, seeds) in &failures {
        println!("{checker}: {} seeds, first {:?}", seeds.len(), &seeds[..seeds.len().min(8)]);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One failure, and the line that repeats it.
fn print_failure(seed: u64, options: Options, report: &Report, shrinks: bool) {
    let Some(violation) = &report.violation else { return };
    println!("{}: {}", violation.checker, violation.text);
    if shrinks {
        let small = shrink(&Stream::from_seed(seed), options, 4_000);
        let report = run(&small, Options { is_readable: true, ..options });
        println!("shrunk to {} bytes:", small.0.len());
        for line in &report.lines {
            println!("{line}");
        }
    }
    let canary =
        options.canary.map(|canary| format!(" --canary {}", canary.name())).unwrap_or_default();
    let nodes =
        if options.nodes > 1 { format!(" --nodes {}", options.nodes) } else { String::new() };
    println!("repro: cargo xtask sim --seed {seed} --shards {}{nodes}{canary}", options.shards);
}

fn measure_canaries(seeds: std::ops::Range<u64>, plain: Options) -> ExitCode {
    println!("| canary | caught | first seed | by |\n|---|---|---|---|");
    let mut is_complete = true;
    for canary in Canary::ALL {
        if cfg!(not(debug_assertions)) && matches!(canary, Canary::Engine(_) | Canary::Chat(_)) {
            continue; // Only debug builds have it.
        }
        let mut caught = 0;
        let mut first = None;
        let mut by: BTreeMap<&'static str, u32> = BTreeMap::new();
        for seed in seeds.clone() {
            let (nodes, shards) = if canary.is_of_cluster() { (2, 1) } else { (1, 3) };
            let options = Options { nodes, shards, canary: Some(canary), ..plain };
            if let Some(violation) = run_seed(seed, options).violation {
                caught += 1;
                first.get_or_insert(seed - seeds.start + 1);
                *by.entry(violation.checker).or_default() += 1;
            }
        }
        is_complete &= caught > 0;
        let mut by: Vec<(&str, u32)> = by.into_iter().collect();
        by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let by: Vec<String> =
            by.iter().take(4).map(|(name, count)| format!("{name} {count}")).collect();
        let first = first.map_or("never".to_owned(), |seed| seed.to_string());
        let total = seeds.end - seeds.start;
        println!("| {} | {caught} of {total} | {first} | {} |", canary.name(), by.join(", "));
    }
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

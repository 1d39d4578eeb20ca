//! The subcommands. Each returns the exit code of the process.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::case::Case;
use crate::cases;
use crate::cli::{Command, ListArgs, ReferenceArgs, RunArgs, TargetArgs, combos};
use crate::client::target::Target;
use crate::context::Run;
use crate::known::Known;
use crate::probe::{Capabilities, probe};
use crate::reference::defect::Defect;
use crate::reference::{Options, Reference};
use crate::report::{Summary, html, json as json_report, junit, quotes, text};
use crate::skips;
use crate::runner::{self, Report, Selection, Settings, Verdict, level_name};

pub const CONFORMS: u8 = 0;
pub const BROKEN: u8 = 1;
pub const USAGE: u8 = 2;
pub const UNREACHABLE: u8 = 3;

pub fn execute(command: Command) -> u8 {
    let outcome = match command {
        Command::Run(args) => run(&args),
        Command::List(args) => list(&args),
        Command::Explain { case } => explain(&case),
        Command::Reference(args) => reference(&args),
        _ => Err((USAGE, "not there yet".to_owned())),
    };
    outcome.unwrap_or_else(|(code, why)| {
        eprintln!("throng-harness: {why}");
        code
    })
}

type Exit = Result<u8, (u8, String)>;

pub fn reach(args: &TargetArgs) -> Result<(Target, Capabilities), (u8, String)> {
    let target = Target::parse(&args.target, &args.engine_path).map_err(|why| (USAGE, why))?;
    let capabilities =
        probe(&target).map_err(|why| (UNREACHABLE, format!("{}: {why}", args.target)))?;
    if capabilities.preferred().is_none() {
        let why = format!("{} answers no Engine.IO handshake at {}", args.target, args.engine_path);
        return Err((UNREACHABLE, why));
    }
    Ok((target, capabilities))
}

fn run(args: &RunArgs) -> Exit {
    let known = read_known(args.known_failing.as_deref())?;
    let selection = Selection {
        filters: args.filter.clone(),
        level: args.level.level(),
        combos: combos(args.protocol, args.transport),
        shard: args.shard,
    };
    let instances = selection.instances(&cases::all());
    if instances.is_empty() {
        return Err((USAGE, "no case fits this selection".to_owned()));
    }
    let (target, capabilities) = reach(&args.target)?;
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    announce(&args.target.target, &capabilities, instances.len(), seed);
    let mut run = Run::new(target, capabilities, seed);
    run.cases = args.cases;
    run.slow = args.slow;
    run.wait = Duration::from_secs_f64(args.wait);
    run.scripts = Some(args.scripts.clone());
    let run = Arc::new(run);
    let settings = Settings {
        jobs: args.jobs,
        timeout: Duration::from_secs(args.timeout),
        keep_going: args.keep_going,
        known,
    };
    let start = Instant::now();
    let finished = AtomicUsize::new(0);
    let total = instances.len();
    let reports = runner::run(&run, &instances, &settings, &|report| {
        show_progress(report, finished.fetch_add(1, Ordering::Relaxed) + 1, total);
    });
    let summary = Summary {
        target: &args.target.target,
        seed,
        duration_ms: start.elapsed().as_millis() as u64,
        capabilities: &run.capabilities,
        reports: &reports,
        strict: args.strict,
    };
    for report in reports.iter().filter(|report| report.is_bad() && !report.known_failing) {
        println!("\n{}", text::details(report));
    }
    println!("\n{}", text::closing(&summary));
    write_reports(args, &summary)?;
    Ok(summary.exit_code())
}

fn read_known(path: Option<&Path>) -> Result<Known, (u8, String)> {
    let Some(path) = path else {
        return Ok(Known::default());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|why| (USAGE, format!("{}: {why}", path.display())))?;
    let known = Known::parse(&text);
    let unknown = known.unknown(|id| cases::find(id).is_some());
    if unknown.is_empty() {
        Ok(known)
    } else {
        Err((USAGE, format!("{} lists no cases: {}", path.display(), unknown.join(", "))))
    }
}

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_nanos() as u64 & 0xffff_ffff
}

fn announce(target: &str, capabilities: &Capabilities, cases: usize, seed: u64) {
    let offered = [
        ("eio4/websocket", capabilities.eio4_websocket),
        ("eio4/polling", capabilities.eio4_polling),
        ("eio3/websocket", capabilities.eio3_websocket),
        ("eio3/polling", capabilities.eio3_polling),
        ("upgrade", capabilities.upgrade),
        ("chat", capabilities.chat),
        ("echo surface", capabilities.echo),
        ("rooms on demand", capabilities.rooms_on_demand),
    ];
    let names = |wanted: bool| {
        let names: Vec<&str> =
            offered.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    println!("{target}: {cases} cases, seed {seed}");
    println!("offers {}; lacks {}", names(true), names(false));
    println!(
        "heartbeat {} + {} ms, max payload {}",
        capabilities.ping_interval_ms,
        capabilities.ping_timeout_ms,
        capabilities.max_payload.map_or("not told".to_owned(), |bytes| bytes.to_string())
    );
}

/// A line that overwrites itself on a terminal, a line of its own in a log.
fn show_progress(report: &Report, finished: usize, total: usize) {
    if !stdout().is_terminal() {
        println!("{}", text::line(report));
        return;
    }
    let mut out = stdout().lock();
    let quiet = matches!(report.verdict, Verdict::Pass | Verdict::Skip);
    let end = if quiet && finished < total { "" } else { "\n" };
    // A terminal that cannot be written to has nobody in front of it.
    let _ = write!(out, "\r\x1b[2K[{finished}/{total}] {}{end}", text::line(report));
    let _ = out.flush();
}

fn write_reports(args: &RunArgs, summary: &Summary<'_>) -> Result<(), (u8, String)> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|why| (USAGE, format!("{}: {why}", path.display())))
    };
    if let Some(path) = &args.junit {
        write(path, junit::render(summary).map_err(|why| (USAGE, why))?)?;
    }
    if let Some(path) = &args.json {
        write(path, format!("{:#}\n", json_report::render(summary)))?;
    }
    if let Some(path) = &args.html {
        write(path, html::render(summary))?;
    }
    Ok(())
}

fn list(args: &ListArgs) -> Exit {
    let cases = cases::all();
    if args.coverage {
        return Ok(coverage(&cases));
    }
    if args.json {
        let rows: Vec<_> = cases
            .iter()
            .map(|case| {
                json!({
                    "id": case.id,
                    "clauses": case.clauses,
                    "level": level_name(case.level()),
                    "combos": case.over.iter().map(|combo| combo.to_string()).collect::<Vec<_>>(),
                    "does": case.does,
                    "expects": case.expects,
                })
            })
            .collect();
        println!("{:#}", json!(rows));
    } else {
        for case in cases {
            println!(
                "{:<44} {:<6} {:<28} {}",
                case.id,
                level_name(case.level()),
                case.clauses.join(" "),
                case.does
            );
        }
    }
    Ok(CONFORMS)
}

fn coverage(cases: &[&'static Case]) -> u8 {
    let mut by_clause: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in cases {
        for clause in case.clauses {
            by_clause.entry(clause).or_default().push(case.id);
        }
    }
    for clause in throng_spec::clauses() {
        match by_clause.get(clause.id) {
            Some(cases) => println!("{:<9} {}", clause.id, cases.join(", ")),
            None => match skips::reason(clause.id) {
                Some(reason) => println!("{:<9} skipped: {reason}", clause.id),
                None => println!("{:<9} NOT COVERED: {}", clause.id, clause.summary()),
            },
        }
    }
    CONFORMS
}

fn explain(id: &str) -> Exit {
    let cases = cases::all();
    let of_clause: Vec<&Case> =
        cases.iter().copied().filter(|case| case.clauses.contains(&id)).collect();
    let found = match cases::find(id) {
        Some(case) => vec![case],
        None => of_clause,
    };
    if found.is_empty() {
        return Err((USAGE, format!("no case or covered clause {id:?}; see `list`")));
    }
    for case in found {
        println!("{} ({})", case.id, level_name(case.level()));
        let clauses: Vec<String> = case.clauses.iter().map(|&id| id.to_owned()).collect();
        for quote in quotes(&clauses) {
            println!("  {quote}");
        }
        let combos: Vec<String> = case.over.iter().map(|combo| combo.to_string()).collect();
        if !combos.is_empty() {
            println!("  over:     {}", combos.join(", "));
        }
        println!("  done:     {}", case.does);
        println!("  expected: {}\n", case.expects);
    }
    Ok(CONFORMS)
}

fn reference(args: &ReferenceArgs) -> Exit {
    let defect = match &args.defect {
        None => None,
        Some(name) => Some(
            Defect::parse(name).ok_or_else(|| (USAGE, format!("there is no defect {name:?}")))?,
        ),
    };
    let options = Options { defect, ..Options::default() };
    let server = Reference::start_at(&args.listen, options)
        .map_err(|why| (USAGE, format!("{}: {why}", args.listen)))?;
    println!("reference listening on {}", server.url());
    let _ = stderr().flush();
    loop {
        std::thread::park();
    }
}

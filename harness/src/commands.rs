//! The subcommands. Each returns the exit code of the process.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use throng_reference::defect::Defect;
use throng_reference::{Options, Reference};

use crate::abuse;
use crate::capabilities::Capabilities;
use crate::case::Case;
use crate::cases;
use crate::cli::{
    Command, LatencyArgs, ListArgs, MutantsArgs, ReferenceArgs, ReplayArgs, RunArgs, TargetArgs,
    combos,
};
use crate::client::target::Target;
use crate::combo::E4W;
use crate::context::Context;
use crate::known::Known;
use crate::latency::{Plan, Slo, measure};
use crate::mutants::try_all;
use crate::outcome::Stop;
use crate::probe::probe;
use crate::property::script::Script;
use crate::property::{Broken, SETTLE_TIMEOUT, play};
use crate::report::{Summary, html, json as json_report, junit, quotes, text};
use crate::run::{Run, by_command};
use crate::runner::{self, Report, Selection, Settings, Verdict, level_name};
use crate::skips;

pub const CONFORMS: u8 = 0;
pub const BROKEN: u8 = 1;
pub const USAGE: u8 = 2;
pub const UNREACHABLE: u8 = 3;

pub fn execute(command: Command) -> u8 {
    let outcome = match command {
        Command::Run(args) => run(&args),
        Command::List(args) => list(&args),
        Command::Explain { case } => explain(&case),
        Command::Replay(args) => replay(&args),
        Command::Latency(args) => latency(&args),
        Command::Mutants(args) => mutants(&args),
        Command::Reference(args) => reference(&args),
    };
    outcome.unwrap_or_else(|(code, why)| {
        eprintln!("throng-harness: {why}");
        code
    })
}

type Exit = Result<u8, (u8, String)>;

/// The nodes, each reachable, and the capabilities of the first: all nodes are one server.
pub fn reach(args: &TargetArgs) -> Result<(Vec<Target>, Capabilities), (u8, String)> {
    let parse = |url: &String| Target::parse(url, &args.engine_path).map_err(|why| (USAGE, why));
    let nodes = args.target.iter().map(parse).collect::<Result<Vec<Target>, _>>()?;
    let unreachable = |node: &Target, why| (UNREACHABLE, format!("{}: {why}", node.origin()));
    for node in &nodes {
        node.dial().map_err(|why| unreachable(node, why))?;
    }
    let first = &nodes[0];
    let capabilities = probe(first).map_err(|why| unreachable(first, why))?;
    if capabilities.preferred().is_none() {
        let path = &args.engine_path;
        let why = format!("{} does not answer an Engine.IO handshake at {path}", first.origin());
        return Err((UNREACHABLE, why));
    }
    Ok((nodes, capabilities))
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
        return Err((USAGE, "no case matches this selection".to_owned()));
    }
    let (nodes, capabilities) = reach(&args.target)?;
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    let target = args.target.target.join(",");
    announce(&target, &capabilities, instances.len(), seed);
    let mut run = Run::new(nodes, capabilities, seed);
    run.node_switch = args.node_command.clone().map(by_command);
    run.lease = Duration::from_secs_f64(args.lease);
    run.cases = args.cases;
    run.slow = args.slow;
    run.wait = Duration::from_secs_f64(args.wait);
    run.scripts = Some(args.scripts.clone());
    run.abuse = args.abuse.plan();
    if let Some(plan) = &run.abuse {
        abuse::raise_open_files(plan).map_err(|why| (USAGE, why))?;
    }
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
        target: &target,
        seed,
        duration_ms: start.elapsed().as_millis() as u64,
        capabilities: &run.capabilities,
        reports: &reports,
        strict: args.strict,
        abuses: args.abuse.abuse,
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
    let known = Known::parse(&read(path)?);
    let unknown = known.unknown(|id| cases::find(id).is_some());
    if unknown.is_empty() {
        Ok(known)
    } else {
        Err((USAGE, format!("{}: unknown cases: {}", path.display(), unknown.join(", "))))
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
        capabilities.max_payload.map_or("unknown".to_owned(), |bytes| bytes.to_string())
    );
}

/// On a terminal one line that is overwritten, otherwise one line per case.
fn show_progress(report: &Report, finished: usize, total: usize) {
    if !stdout().is_terminal() {
        println!("{}", text::line(report));
        return;
    }
    let mut out = stdout().lock();
    let quiet = matches!(report.verdict, Verdict::Pass | Verdict::Skip);
    let end = if quiet && finished < total { "" } else { "\n" };
    // A failed write to the terminal does not affect the run.
    let _ = write!(out, "\r\x1b[2K[{finished}/{total}] {}{end}", text::line(report));
    let _ = out.flush();
}

fn write_reports(args: &RunArgs, summary: &Summary<'_>) -> Result<(), (u8, String)> {
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

fn write(path: &Path, text: String) -> Result<(), (u8, String)> {
    std::fs::write(path, text).map_err(|why| (USAGE, format!("{}: {why}", path.display())))
}

fn read(path: &Path) -> Result<String, (u8, String)> {
    std::fs::read_to_string(path).map_err(|why| (USAGE, format!("{}: {why}", path.display())))
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
        return Err((USAGE, format!("unknown case or clause without a case: {id:?}; see `list`")));
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
        println!("  does:     {}", case.does);
        println!("  expects:  {}\n", case.expects);
    }
    Ok(CONFORMS)
}

fn replay(args: &ReplayArgs) -> Exit {
    let script: Script = serde_json::from_str(&read(&args.file)?)
        .map_err(|why| (USAGE, format!("{} is not a script: {why}", args.file.display())))?;
    let (nodes, capabilities) = reach(&args.target)?;
    if !capabilities.chat || !capabilities.rooms_on_demand {
        return Err((USAGE, "scripts need a target with chat and rooms on demand".to_owned()));
    }
    let combo = capabilities.preferred().unwrap_or(E4W);
    let run = Arc::new(Run::new(nodes, capabilities, 0));
    for (index, step) in script.steps.iter().enumerate() {
        println!("{index}: {step}");
    }
    for round in 1..=args.times {
        let context = Context::new(run.clone(), combo);
        match play(&context, &script, SETTLE_TIMEOUT) {
            Ok(()) => println!("run {round}: passed"),
            Err(Broken::Harness(why)) => return Err((UNREACHABLE, why)),
            Err(Broken::Violation(violation)) => {
                println!("run {round}: {} violated", violation.clause);
                for quote in quotes(&[violation.clause.to_owned()]) {
                    println!("   {quote}");
                }
                println!("   expected: {}", violation.expected);
                println!("   observed: {}", violation.observed);
                println!("   frames:");
                for line in context.transcript.lines() {
                    println!("   {}", line.render());
                }
                return Ok(BROKEN);
            }
        }
    }
    Ok(CONFORMS)
}

fn latency(args: &LatencyArgs) -> Exit {
    let slos = args
        .slo
        .iter()
        .map(|text| Slo::parse(text))
        .collect::<Result<Vec<Slo>, String>>()
        .map_err(|why| (USAGE, why))?;
    if !(args.rate > 0.0 && args.seconds > 0.0) {
        return Err((USAGE, "--rate and --seconds must be positive numbers".to_owned()));
    }
    let (nodes, capabilities) = reach(&args.target)?;
    let wanted = combos(args.protocol, crate::cli::TransportArg::Websocket);
    let Some(combo) = wanted.into_iter().find(|combo| capabilities.speaks(*combo)) else {
        return Err((USAGE, "the target does not speak this protocol over WebSocket".to_owned()));
    };
    if !capabilities.chat {
        return Err((USAGE, "the target has no chat to measure".to_owned()));
    }
    let context = Context::new(Arc::new(Run::new(nodes, capabilities, 0)), combo);
    let plan = Plan {
        clients: args.clients,
        rate: args.rate,
        time: Duration::from_secs_f64(args.seconds),
    };
    let measured = match measure(&context, &plan, &context.options()) {
        Ok(measured) => measured,
        Err(Stop::Fail { expected, observed }) => {
            println!("expected {expected}; observed {observed}");
            return Ok(BROKEN);
        }
        Err(Stop::Skip(why) | Stop::Error(why)) => return Err((UNREACHABLE, why)),
    };
    println!(
        "{} messages to {} members: {} of {} deliveries, {} duplicates",
        measured.sent, args.clients, measured.delivered, measured.expected, measured.duplicates
    );
    for (name, histogram) in [
        ("delivery, from the intended time", &measured.deliveries),
        ("acknowledgement", &measured.acks),
        ("roster after a join or leave", &measured.rosters),
    ] {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        println!(
            "{name:<34} p50 {:>8.3} ms  p90 {:>8.3} ms  p99 {:>8.3} ms  p99.9 {:>8.3} ms  max {:>8.3} ms",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    if let Some(path) = &args.json {
        write(path, format!("{:#}\n", measured.to_json()))?;
    }
    let mut code = CONFORMS;
    if !measured.is_complete() {
        println!("deliveries are missing or duplicated (CHAT-61)");
        code = BROKEN;
    }
    for slo in &slos {
        let observed = Duration::from_micros(measured.deliveries.value_at_quantile(slo.quantile));
        let met = observed <= slo.bound;
        let verdict = if met { "met" } else { "missed" };
        println!("SLO {} <= {:?}: {verdict} ({observed:?})", slo.quantile, slo.bound);
        if !met {
            code = BROKEN;
        }
    }
    Ok(code)
}

fn mutants(args: &MutantsArgs) -> Exit {
    if args.list {
        for defect in Defect::ALL {
            println!("{:<24} {:<9} {}", defect.name(), defect.clause(), defect.text());
        }
        return Ok(CONFORMS);
    }
    let chosen = args.only.iter().map(|name| defect(name)).collect::<Result<Vec<Defect>, _>>()?;
    let chosen = if chosen.is_empty() { Defect::ALL.to_vec() } else { chosen };
    let program = std::env::current_exe().map_err(|why| (USAGE, why.to_string()))?;
    let trials = try_all(&chosen, args.jobs, &program, &|trial| {
        let verdict = match &trial.killed_by {
            Some(case) => format!("killed   by {case}"),
            None => "SURVIVED".to_owned(),
        };
        println!(
            "{:<24} {:<9} {verdict} ({:.1} s): {}",
            trial.defect,
            trial.clause,
            trial.duration_ms as f64 / 1_000.0,
            trial.text
        );
    });
    if let Some(path) = &args.json {
        write(path, format!("{:#}\n", json!(trials)))?;
    }
    let killed = trials.iter().filter(|trial| trial.killed_by.is_some()).count();
    println!("{killed} killed, {} survived", trials.len() - killed);
    Ok(if killed == trials.len() { CONFORMS } else { BROKEN })
}

fn defect(name: &str) -> Result<Defect, (u8, String)> {
    Defect::parse(name)
        .ok_or_else(|| (USAGE, format!("unknown defect {name:?}; see `mutants --list`")))
}

fn reference(args: &ReferenceArgs) -> Exit {
    let defect = args.defect.as_deref().map(defect).transpose()?;
    let options = Options { defect, ..Options::default() };
    let server = Reference::start_at(&args.listen, options)
        .map_err(|why| (USAGE, format!("{}: {why}", args.listen.join(","))))?;
    println!("reference listening on {}", server.urls().join(","));
    let _ = stderr().flush();
    loop {
        std::thread::park();
    }
}

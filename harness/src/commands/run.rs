//! `run`: the cases against a target.

use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, Unit};
use throng_events::Events;
use throng_spec::Profile;

use super::{Exit, UNREACHABLE, USAGE, nodes, reach, read, usage};
use crate::abuse;
use crate::capabilities::{Capabilities, Capability};
use crate::cases;
use crate::cli::{LevelArg, ProfileArg, RunArgs, combos};
use crate::credentials::{Credentials, Place};
use crate::demands::{self, Demands};
use crate::known::Known;
use crate::output::{Files, Output, print_error, say};
use crate::report::{Summary, html, json, junit, text};
use crate::run::{Run, by_command};
use crate::runner::{self, Instance, Report, Selection, Settings, Verdict};

pub fn run(args: &RunArgs) -> Exit {
    let known = read_known(args.known_failing.as_deref())?;
    let profile = args.profile.profile();
    let events = read_events(args).map_err(usage)?;
    let credentials = credentials(args).map_err(usage)?.map(Arc::new);
    let selection = Selection {
        profile,
        filters: args.filter.clone(),
        level: args.level.level(),
        combos: combos(args.protocol, args.transport),
        shard: args.shard,
    };
    let instances = selection.instances(&cases::all());
    let unfit = selection.unfit_filters(&cases::all());
    if !unfit.is_empty() {
        let unfit = unfit.join(", ");
        let why =
            format!("--filter {unfit}: no case of this selection; see `list`, `list --coverage`");
        return Err(usage(why));
    }
    if instances.is_empty() {
        return Err((USAGE, "no case matches this selection".to_owned()));
    }
    let demands = demands(args).map_err(usage)?;
    let nodes = match nodes(&args.target) {
        Err((UNREACHABLE, why)) => Err(why),
        found => Ok(found?),
    };
    let plan = args.abuse.plan();
    if let Some(plan) = &plan {
        abuse::raise_open_files(plan).map_err(usage)?;
    }
    let mut outputs = Outputs::create(args).map_err(usage)?;
    let seed = args.seed.unwrap_or_else(seed_of_the_clock);
    let target = args.target.target.join(",");
    let start = Instant::now();
    let reached = nodes.and_then(|mut nodes| {
        for node in &mut nodes {
            node.has_given_users = credentials.is_some();
        }
        let capabilities =
            reach(&nodes, profile, credentials.as_deref(), args.target.start_wait())?;
        Ok((nodes, capabilities))
    });
    let (nodes, capabilities, unreachable) = match reached {
        Ok((nodes, capabilities)) => (nodes, capabilities, None),
        Err(why) => (Vec::new(), Capabilities::default(), Some(why)),
    };
    let mut shortfalls = Vec::new();
    let mut unnamed = Vec::new();
    let reports = if unreachable.is_some() {
        let reason = "not run: the target cannot be tested";
        instances.iter().map(|instance| runner::not_run(instance, reason)).collect()
    } else {
        announce(&target, &capabilities, instances.len(), seed);
        outputs.record(&target, &capabilities).map_err(usage)?;
        shortfalls = demands.lacking(&capabilities, &instances);
        for shortfall in &shortfalls {
            print_error(format_args!("{}: {}", shortfall.demand, shortfall.observed));
        }
        let mut run = Run::new(nodes, capabilities.clone(), seed);
        run.node_switch = args.node_command.clone().map(by_command);
        run.lease = Duration::from_secs_f64(args.lease);
        run.cases = args.cases;
        run.slow = args.slow;
        run.soak = Duration::from_secs_f64(args.soak);
        run.slo = args.slo.clone();
        run.connect_timeout = args.connect_timeout.map(Duration::from_secs_f64);
        run.wait = Duration::from_secs_f64(args.wait);
        run.scripts = Some(args.scripts.clone());
        run.abuse = plan;
        // A case has all the users that are given: the next one waits for it.
        let is_alone = profile == Profile::Throng
            && credentials.as_ref().is_some_and(|given| given.are_listed());
        run.watch = Duration::from_secs_f64(if is_alone { 0.0 } else { args.watch });
        run.credentials = credentials;
        run.profile = profile;
        unnamed = events.as_ref().map(unnamed_by).unwrap_or_default();
        run.events = events.map(Arc::new);
        let settings = Settings {
            jobs: if is_alone { 1 } else { args.jobs as usize },
            timeout: Duration::from_secs(args.timeout),
            keep_going: args.keep_going,
            known,
        };
        play(&Arc::new(run), &instances, &settings)
    };
    if unreachable.is_none() {
        shortfalls.extend(demands.too_few(&reports));
    }
    let (selection, finished) = (selected(args), finished());
    let summary = Summary {
        target: &target,
        selection: &selection,
        profile,
        seed,
        finished: &finished,
        duration_ms: start.elapsed().as_millis() as u64,
        capabilities: &capabilities,
        reports: &reports,
        strict: args.strict,
        unreachable: unreachable.as_deref(),
        shortfalls: &shortfalls,
    };
    outputs.write(&summary).map_err(usage)?;
    if let Some(why) = &unreachable {
        print_error(why);
        return Ok(summary.exit_code());
    }
    for report in reports.iter().filter(|report| report.is_bad() && !report.known_failing) {
        say!("\n{}", text::details(report));
    }
    say!("\n{}", text::closing(&summary));
    for what in unnamed {
        say!("not judged: {what}");
    }
    Ok(summary.exit_code())
}

/// What cases cannot compare because the events file has no place for it.
fn unnamed_by(events: &Events) -> Vec<&'static str> {
    let mut unnamed = Vec::new();
    if !events.heard.names_room() {
        unnamed.push("`heard` of the events file has no {room}: which room a delivery is of");
    }
    if !events.heard.names_member() {
        unnamed.push("`heard` of the events file has no {member}: who a delivery says has sent it");
    }
    if events.roster.as_ref().is_some_and(|roster| !roster.names_room()) {
        unnamed.push("`roster` of the events file has no {room}: which room a roster is of");
    }
    if events.roster.is_none() {
        unnamed.push("the events file has no `roster`: who is in a room");
    }
    if events.leave.is_none() {
        unnamed.push("the events file has no `leave`: what a leave does");
    }
    unnamed
}

/// Which cases the command line selects, in words.
fn selected(args: &RunArgs) -> String {
    let mut parts = vec![match args.filter.as_slice() {
        [] => "all cases".to_owned(),
        filters => filters.join(", "),
    }];
    let combos: Vec<String> =
        combos(args.protocol, args.transport).iter().map(ToString::to_string).collect();
    parts.push(format!("over {}", combos.join(", ")));
    if args.level != LevelArg::May {
        parts.push(format!("of level {} or stronger", runner::level_name(args.level.level())));
    }
    if let Some((index, count)) = args.shard {
        parts.push(format!("part {index} of {count}"));
    }
    let flags = [(args.slow, "slow ones"), (args.abuse.abuse, "abuse")];
    parts.extend(flags.iter().filter(|(given, _)| *given).map(|(_, what)| format!("with {what}")));
    parts.join("; ")
}

/// Now, to the second.
fn finished() -> String {
    let now = Timestamp::now().round(Unit::Second);
    now.map_or_else(|_| String::new(), |now| now.to_string())
}

/// The users that the command line gives.
fn credentials(args: &RunArgs) -> Result<Option<Credentials>, String> {
    let mut places = args.token_as.clone();
    if args.profile == ProfileArg::Throng && !places.is_empty() {
        return Err("--token-as goes with --profile upstream: Throng's query is known".to_owned());
    }
    if places.is_empty() {
        places = ["query:token", "auth:token", "bearer"]
            .into_iter()
            .map(Place::parse)
            .collect::<Result<_, _>>()?;
    }
    if let Some(file) = &args.tokens {
        return Credentials::listed(file, places).map(Some);
    }
    let Some(command) = args.login_command.clone() else { return Ok(None) };
    let credentials = Credentials::printed(command, places);
    // Better now than once for each case.
    credentials.next().map_err(|why| format!("--login-command: {why}"))?;
    Ok(Some(credentials))
}

fn read_events(args: &RunArgs) -> Result<Option<Events>, String> {
    if args.events.is_some() && args.profile != ProfileArg::Upstream {
        return Err("--events goes with --profile upstream: Throng's events are known".to_owned());
    }
    args.events.as_deref().map(Events::read).transpose().map_err(|why| why.to_string())
}

fn demands(args: &RunArgs) -> Result<Demands, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|why| why.to_string());
    let required = if args.require.is_empty() {
        None
    } else {
        Some(Demands::parse_required(&args.require, read)?)
    };
    Ok(Demands { required, min_judged: args.min_judged })
}

fn play(run: &Arc<Run>, instances: &[Instance], settings: &Settings) -> Vec<Report> {
    let finished = AtomicUsize::new(0);
    runner::run(run, instances, settings, &|report| {
        let finished = finished.fetch_add(1, Ordering::Relaxed) + 1;
        show_progress(report, finished, instances.len());
    })
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
    let names = |wanted: bool| {
        let fits = |capability: &Capability| capabilities.has(*capability) == wanted;
        let names: Vec<&str> =
            Capability::ALL.into_iter().filter(fits).map(Capability::name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    say!("{target}: {cases} cases, seed {seed}");
    say!("offers {}; lacks {}", names(true), names(false));
    say!(
        "heartbeat {} + {} ms, max payload {}",
        capabilities.ping_interval_ms,
        capabilities.ping_timeout_ms,
        capabilities.max_payload.map_or("unknown".to_owned(), |bytes| bytes.to_string())
    );
}

/// On a terminal one line that is overwritten, otherwise one line per case.
fn show_progress(report: &Report, finished: usize, total: usize) {
    if !stdout().is_terminal() {
        say!("{}", text::line(report));
        return;
    }
    let mut out = stdout().lock();
    let quiet = matches!(report.verdict, Verdict::Pass | Verdict::Skip);
    let end = if quiet && finished < total { "" } else { "\n" };
    // A failed write to the terminal does not affect the run.
    let _ = write!(out, "\r\x1b[2K[{finished}/{total}] {}{end}", text::line(report));
    let _ = out.flush();
}

/// The files that a run was asked for.
struct Outputs {
    junit: Option<Output>,
    json: Option<Output>,
    html: Option<Output>,
    capabilities: Option<Output>,
}

impl Outputs {
    fn create(args: &RunArgs) -> Result<Outputs, String> {
        let mut files = Files::default()
            .writes("--junit", args.junit.as_ref())
            .writes("--json", args.json.as_ref())
            .writes("--html", args.html.as_ref())
            .writes("--record-capabilities", args.record_capabilities.as_ref())
            .reads("--known-failing", args.known_failing.as_ref())
            .reads("--tokens", args.tokens.as_ref())
            .reads("--events", args.events.as_ref())
            .reads("--ca", args.target.ca.as_ref());
        let required: Vec<PathBuf> = args.require.iter().map(PathBuf::from).collect();
        for file in &required {
            files = files.reads("--require", Some(file));
        }
        files.differ()?;
        Ok(Outputs {
            junit: Output::of(args.junit.as_ref())?,
            json: Output::of(args.json.as_ref())?,
            html: Output::of(args.html.as_ref())?,
            capabilities: Output::of(args.record_capabilities.as_ref())?,
        })
    }

    fn record(&mut self, target: &str, capabilities: &Capabilities) -> Result<(), String> {
        let Some(output) = &mut self.capabilities else { return Ok(()) };
        output.write(&demands::record(target, capabilities))
    }

    fn write(&mut self, summary: &Summary<'_>) -> Result<(), String> {
        if let Some(output) = &mut self.junit {
            output.write(&junit::render(summary)?)?;
        }
        if let Some(output) = &mut self.json {
            output.write(&format!("{:#}\n", json::render(summary)))?;
        }
        if let Some(output) = &mut self.html {
            output.write(&html::render(summary))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_events_file_leaves_out_is_named() {
        let whole = include_str!("../../calibration/rooms.toml");
        let parse = |text: &str| Events::parse(text, "events.toml").expect("an events file");
        assert_eq!(unnamed_by(&parse(whole)), Vec::<&str>::new());
        let without = whole.replace(r#", who = "{member}""#, "");
        assert!(unnamed_by(&parse(&without))[0].contains("{member}"));
        let lines =
            whole.lines().filter(|line| !line.starts_with("leave") && !line.starts_with("roster"));
        assert_eq!(unnamed_by(&parse(&lines.collect::<Vec<_>>().join("\n"))).len(), 2);
    }
}

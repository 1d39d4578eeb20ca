//! Shows that the harness detects errors: it is run against servers with one known defect.
//!
//! A mutant is killed when a case that names its clause fails. All cases that name the clause are
//! tried; a mutant that survives them shows a gap in the harness.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use throng_reference::defect::Defect;
use throng_reference::{Options, Reference};

use crate::abuse::plan::Plan;
use crate::capabilities::{Capability, Need};
use crate::case::Case;
use crate::cases;
use crate::client::target::Target;
use crate::combo::{E3P, E3W, E4P, E4W};
use crate::demands::{Demands, Shortfall};
use crate::known::Known;
use crate::probe::probe;
use crate::run::Run;
use crate::runner::{self, Instance, Report, Selection, Settings, Verdict};

/// Seed of the property tests, fixed so that the outcome can be repeated.
const SEED: u64 = 1;
const SCRIPTS: u32 = 12;
/// Defects that only show while the server is abused: the case with the input that shows it, and what the
/// observation must say, since a busy machine may make any of these cases fail by its latency.
const SHOWN_BY_ABUSE: &[(Defect, &str, &str)] = &[
    (Defect::UnreadAnswersKept, "abuse.replies.eio3-pings", "memory"),
    (Defect::RefusalHoldsAll, "abuse.replies.unknown-events", "p99"),
    (Defect::UnfinishedHeadSpins, "abuse.unfinished.heads", "of a core"),
    (Defect::BodyHoldsAll, "abuse.unfinished.bodies-of-sessions", "are missing"),
    (Defect::AnonymousUnlimited, "abuse.unfinished.frames", "memory"),
    (Defect::CrowdLosesMessages, "abuse.floods.sessions", "are missing"),
    (Defect::LoginHoldsAll, "abuse.floods.logins", "p99"),
    (Defect::TooLargeClosesAnother, "abuse.floods.largest", "sessions of others ended"),
];
/// Defects by which a capability is gone: no case can run that would show them, but the run demands it.
const CAPABILITY_GONE: &[(Defect, Capability)] = &[
    (Defect::RegistrationGone, Capability::Chat),
    (Defect::UpgradeNotOffered, Capability::Upgrade),
    (Defect::OldProtocolRefused, Capability::Eio3Polling),
    (Defect::PollingRefused, Capability::Eio4Polling),
];
/// What its inputs take for the largest message: more than the reference server takes of anyone, so
/// that a missing limit shows with few connections.
const ABUSE_PAYLOAD: u64 = 4 << 20;
/// Abused servers are tried one at a time: their latency is judged.
static ABUSING: Mutex<()> = Mutex::new(());

#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    pub defect: String,
    pub clause: String,
    pub text: String,
    /// The case that failed; `None` when the mutant survived.
    pub killed_by: Option<String>,
    /// What it observed.
    pub observed: Option<String>,
    pub duration_ms: u64,
}

/// Tries the defects, `jobs` at a time, and passes each trial to `progress` when it ends. `program` is
/// throng-harness itself, for servers that need a process of their own.
pub fn try_all(
    defects: &[Defect],
    jobs: usize,
    program: &Path,
    progress: &(dyn Fn(&Trial) + Sync),
) -> Vec<Trial> {
    let queue: Mutex<VecDeque<(usize, Defect)>> =
        Mutex::new(defects.iter().copied().enumerate().collect());
    let trials: Mutex<Vec<(usize, Trial)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((index, defect)) =
                    queue.lock().ok().and_then(|mut queue| queue.pop_front())
                {
                    let trial = try_one(defect, program);
                    progress(&trial);
                    if let Ok(mut trials) = trials.lock() {
                        trials.push((index, trial));
                    }
                }
            });
        }
    });
    let mut trials = trials.into_inner().unwrap_or_default();
    trials.sort_by_key(|(index, _)| *index);
    trials.into_iter().map(|(_, trial)| trial).collect()
}

pub fn try_one(defect: Defect, program: &Path) -> Trial {
    let start = Instant::now();
    let shown = SHOWN_BY_ABUSE.iter().find(|(shown, ..)| *shown == defect);
    if let Some((_, capability)) = CAPABILITY_GONE.iter().find(|(gone, _)| *gone == defect) {
        let shortfall =
            serve(Some(defect), 1).and_then(|(server, _)| lacking(&server, *capability));
        return Trial {
            defect: defect.name().to_owned(),
            clause: defect.clause().to_owned(),
            text: defect.text().to_owned(),
            killed_by: shortfall.as_ref().map(|shortfall| shortfall.demand.clone()),
            observed: shortfall.map(|shortfall| shortfall.observed),
            duration_ms: start.elapsed().as_millis() as u64,
        };
    }
    let killer = if let Some((_, case, mark)) = shown {
        let _alone = ABUSING.lock().expect("no trial panics");
        serve_apart(Some(defect), program).and_then(|(_server, run)| abuse_with(&run, case, mark))
    } else {
        // A defect between nodes needs two of them.
        let nodes = if defect.clause().starts_with("NODE-") { 2 } else { 1 };
        serve(Some(defect), nodes).and_then(|(_server, run)| find_killer(&run, defect))
    };
    Trial {
        defect: defect.name().to_owned(),
        clause: defect.clause().to_owned(),
        text: defect.text().to_owned(),
        killed_by: killer.as_ref().map(|report| report.name.clone()),
        observed: killer.and_then(|report| report.observed),
        duration_ms: start.elapsed().as_millis() as u64,
    }
}

/// What a run that requires the capability says.
fn lacking(server: &Reference, capability: Capability) -> Option<Shortfall> {
    let target = Target::parse(server.urls().first()?, "/socket.io/").ok()?;
    let demands = Demands { required: Some(vec![capability]), min_judged: 0 };
    demands.lacking(&probe(&target).ok()?, &[]).into_iter().next()
}

/// Runs the cases that abuse a server against one without a defect.
pub fn try_abuse_of_correct(program: &Path) -> Vec<Report> {
    let _alone = ABUSING.lock().expect("no trial panics");
    let Some((_server, run)) = serve_apart(None, program) else { return Vec::new() };
    let abuses = |case: &&'static Case| case.needs.contains(&Need::Abuse);
    let cases: Vec<&'static Case> = cases::all().into_iter().filter(abuses).collect();
    let settings = Settings { keep_going: true, ..settings() };
    runner::run(&run, &selection().instances(&cases), &settings, &|_| {})
}

/// Runs the cases about nodes against two nodes without a defect.
pub fn try_two_correct_nodes() -> Vec<Report> {
    let Some((_server, run)) = serve(None, 2) else { return Vec::new() };
    let about_nodes = |case: &&'static Case| case.needs.contains(&Need::Nodes);
    let cases: Vec<&'static Case> = cases::all().into_iter().filter(about_nodes).collect();
    runner::run(&run, &selection().instances(&cases), &settings(), &|_| {})
}

fn serve(defect: Option<Defect>, nodes: usize) -> Option<(Reference, Arc<Run>)> {
    let options = Options { defect, ..Options::default() };
    let server = Reference::start_at(&vec!["127.0.0.1:0"; nodes], options).ok()?;
    let targets: Vec<Target> = server
        .urls()
        .iter()
        .map(|url| Target::parse(url, "/socket.io/").ok())
        .collect::<Option<_>>()?;
    let mut run = run_against(targets);
    run.node_switch = Some(Box::new(server.node_switch()));
    Some((server, Arc::new(run)))
}

fn run_against(targets: Vec<Target>) -> Run {
    // The capabilities are known; a mutant that breaks the probe must not have its cases skipped.
    let mut capabilities = probe(&targets[0]).unwrap_or_default();
    capabilities.eio3_polling = true;
    capabilities.eio3_websocket = true;
    capabilities.eio4_polling = true;
    capabilities.eio4_websocket = true;
    capabilities.upgrade = true;
    capabilities.chat = true;
    capabilities.rooms_on_demand = true;
    let defaults = Options::default();
    capabilities.ping_interval_ms = defaults.ping_interval.as_millis() as u64;
    capabilities.ping_timeout_ms = defaults.ping_timeout.as_millis() as u64;
    capabilities.max_payload = Some(defaults.max_payload as u64);
    let mut run = Run::new(targets, capabilities, SEED);
    run.cases = SCRIPTS;
    run.wait = Duration::from_secs(3);
    run.lease = Duration::from_secs(2);
    run
}

/// A reference server in a process of its own; it is killed when dropped.
struct Apart(Child);

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same in a process of its own, whose memory and processor time can be judged.
fn serve_apart(defect: Option<Defect>, program: &Path) -> Option<(Apart, Arc<Run>)> {
    #[expect(clippy::disallowed_methods, reason = "it is this program, or that of its own tests")]
    let mut command = std::process::Command::new(program);
    command.args(["reference", "--listen", "127.0.0.1:0"]);
    command.args(defect.iter().flat_map(|defect| ["--defect", defect.name()]));
    let mut server = Apart(command.stdout(Stdio::piped()).spawn().ok()?);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take()?).read_line(&mut line).ok()?;
    let url = line.trim().strip_prefix("reference listening on ")?;
    let mut run = run_against(vec![Target::parse(url, "/socket.io/").ok()?]);
    run.capabilities.max_payload = Some(ABUSE_PAYLOAD);
    run.abuse = Some(Plan {
        time: Duration::from_millis(1_500),
        connections: 24,
        users: 10,
        slack: Duration::from_millis(20),
        server_pid: Some(server.0.id()),
    });
    Some((server, Arc::new(run)))
}

/// The report of this case, if it failed as `mark` says.
fn abuse_with(run: &Arc<Run>, case: &str, mark: &str) -> Option<Report> {
    let case = cases::find(case)?;
    let reports = runner::run(run, &selection().instances(&[case]), &settings(), &|_| {});
    let is_shown =
        |report: &Report| report.observed.as_ref().is_some_and(|observed| observed.contains(mark));
    reports.into_iter().find(|report| report.verdict == Verdict::Fail && is_shown(report))
}

fn find_killer(run: &Arc<Run>, defect: Defect) -> Option<Report> {
    let clause = defect.clause();
    let naming: Vec<&'static Case> =
        cases::all().into_iter().filter(|case| case.clauses.contains(&clause)).collect();
    let (properties, plain): (Vec<Instance>, Vec<Instance>) = selection()
        .instances(&naming)
        .into_iter()
        .partition(|instance| instance.case.id.starts_with("prop."));
    // Plain cases first: they are faster and their reports are more precise.
    [plain, properties].iter().find_map(|instances| {
        let reports = runner::run(run, instances, &settings(), &|_| {});
        reports.into_iter().find(|report| kills(report, clause))
    })
}

fn selection() -> Selection {
    Selection {
        filters: Vec::new(),
        level: throng_spec::Level::May,
        combos: vec![E4W, E4P, E3W, E3P],
        shard: None,
    }
}

fn settings() -> Settings {
    Settings {
        jobs: 4,
        timeout: Duration::from_secs(60),
        keep_going: false,
        known: Known::default(),
    }
}

/// A property names many clauses; it counts only when it names this one in what it expected.
fn kills(report: &Report, clause: &str) -> bool {
    let failed = matches!(report.verdict, Verdict::Fail | Verdict::Warn);
    let is_property = report.case.starts_with("prop.");
    failed && (!is_property || report.expected.starts_with(&format!("{clause}:")))
}

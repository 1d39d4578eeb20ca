//! Selects the instances of cases, runs them in parallel, and reports verdicts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use throng_spec::{Level, Profile};

use crate::abuse::plan::Plan;
use crate::capabilities::Need;
use crate::case::Case;
use crate::client::transcript::{Line, Transcript};
use crate::combo::{Combo, E4W};
use crate::context::Context;
use crate::known::Known;
use crate::outcome::{Outcome, Stop};
use crate::run::Run;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    /// A MUST is broken.
    Fail,
    /// A SHOULD is broken.
    Warn,
    /// Not applicable to this target or these settings.
    Skip,
    /// The harness could not decide.
    Error,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Warn => "warn",
            Verdict::Skip => "skip",
            Verdict::Error => "error",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The case's id, and the combo in brackets where it has one.
    pub name: String,
    pub case: String,
    pub combo: Option<String>,
    /// The clause that is broken, where the case is about several and knows which, is the first.
    pub clauses: Vec<String>,
    pub level: String,
    pub verdict: Verdict,
    /// Listed as known to fail.
    pub known_failing: bool,
    pub duration_ms: u64,
    pub does: String,
    pub expected: String,
    pub observed: Option<String>,
    pub reason: Option<String>,
    pub steps: Vec<String>,
    pub transcript: Vec<Line>,
}

impl Report {
    /// A failure, known or not.
    pub fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Fail | Verdict::Warn | Verdict::Error)
    }

    /// The target was held to the text.
    pub fn is_judged(&self) -> bool {
        matches!(self.verdict, Verdict::Pass | Verdict::Fail | Verdict::Warn)
    }

    pub fn is_unexpected_pass(&self) -> bool {
        self.known_failing && self.verdict == Verdict::Pass
    }
}

/// One case over one combo.
#[derive(Clone, Copy)]
pub struct Instance {
    pub case: &'static Case,
    /// Whose clauses the run judges.
    pub profile: Profile,
    pub combo: Option<Combo>,
}

impl Instance {
    /// Whether the case disturbs all others, or is disturbed by them.
    fn runs_alone(&self) -> bool {
        let is_alone = |need: &Need| {
            matches!(need, Need::Rest | Need::NodeCommand | Need::Restart | Need::Abuse)
        };
        self.case.needs.iter().any(is_alone)
    }

    /// Whether a filter names it: by its own name, by that of its case, or by a clause that the run judges.
    fn fits(&self, filter: &str) -> bool {
        glob(filter, &self.name())
            || glob(filter, self.case.id)
            || self.case.clauses_in(self.profile).any(|clause| glob(filter, clause))
    }

    pub fn name(&self) -> String {
        match self.combo {
            Some(combo) => format!("{}[{combo}]", self.case.id),
            None => self.case.id.to_owned(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Selection {
    pub profile: Profile,
    pub filters: Vec<String>,
    /// Cases of this level or stronger.
    pub level: Level,
    pub combos: Vec<Combo>,
    pub shard: Option<(usize, usize)>,
}

impl Selection {
    pub fn instances(&self, cases: &[&'static Case]) -> Vec<Instance> {
        let mut found = Vec::new();
        let profile = self.profile;
        let is_wanted =
            |case: &&'static Case| case.is_in(profile) && case.level_in(profile) >= self.level;
        for case in cases.iter().copied().filter(is_wanted) {
            let combos: Vec<Option<Combo>> = if case.over.is_empty() {
                vec![None]
            } else {
                case.over.iter().copied().filter(|c| self.combos.contains(c)).map(Some).collect()
            };
            found.extend(combos.into_iter().map(|combo| Instance { case, profile, combo }));
        }
        found.retain(|instance| self.matches(instance));
        if let Some((index, count)) = self.shard {
            let mut at = 0;
            found.retain(|_| {
                at += 1;
                (at - 1) % count == index - 1
            });
        }
        found
    }

    /// The filters that fit nothing of what the rest of the selection leaves.
    pub fn unfit_filters(&self, cases: &[&'static Case]) -> Vec<&str> {
        let all = Selection { filters: Vec::new(), shard: None, ..self.clone() };
        let instances = all.instances(cases);
        let is_unfit = |filter: &&str| !instances.iter().any(|instance| instance.fits(filter));
        self.filters.iter().map(String::as_str).filter(is_unfit).collect()
    }

    fn matches(&self, instance: &Instance) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| instance.fits(filter))
    }
}

/// `*` matches anything; a pattern without it matches a prefix that ends at a boundary.
pub fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => {
            text == pattern
                || text.strip_prefix(pattern).is_some_and(|rest| rest.starts_with(['.', '[']))
        }
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else {
                return false;
            };
            tail.is_empty()
                || (0..=rest.len())
                    .filter(|at| rest.is_char_boundary(*at))
                    .any(|at| glob_rest(tail, &rest[at..]))
        }
    }
}

fn glob_rest(pattern: &str, text: &str) -> bool {
    if pattern.contains('*') { glob(pattern, text) } else { pattern == text }
}

pub struct Settings {
    pub jobs: usize,
    pub timeout: Duration,
    /// Start every case, even after a MUST failed.
    pub keep_going: bool,
    pub known: Known,
}

/// Runs the instances and passes each report to `progress`; the result keeps their order.
pub fn run(
    run: &Arc<Run>,
    instances: &[Instance],
    settings: &Settings,
    progress: &(dyn Fn(&Report) + Sync),
) -> Vec<Report> {
    // Cases that measure the target at rest, kill nodes or abuse it run last, one at a time.
    let (alone, together): (Vec<_>, Vec<_>) =
        instances.iter().copied().enumerate().partition(|(_, instance)| instance.runs_alone());
    let queue = Mutex::new(VecDeque::from(together));
    let reports: Mutex<Vec<(usize, Report)>> = Mutex::new(Vec::new());
    let stopped = AtomicBool::new(false);
    let begin = |instance: Instance| {
        if stopped.load(Ordering::Relaxed) {
            let why = "not run: an earlier case failed (see --keep-going)";
            return Begun::Over(Box::new(not_run(&instance, why)));
        }
        begin(run, instance, settings)
    };
    let end = |index: usize, report: Report| {
        let decides = matches!(report.verdict, Verdict::Fail | Verdict::Error);
        if decides && !report.known_failing && !settings.keep_going {
            stopped.store(true, Ordering::Relaxed);
        }
        progress(&report);
        if let Ok(mut reports) = reports.lock() {
            reports.push((index, report));
        }
    };
    let (begin, end, queue) = (&begin, &end, &queue);
    thread::scope(|scope| {
        for _ in 0..settings.jobs.max(1) {
            scope.spawn(move || {
                let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
                while let Some((index, instance)) = next() {
                    match begin(instance) {
                        Begun::Over(report) => end(index, *report),
                        // The next case begins while the sessions of this one are watched.
                        Begun::Watched(watched) => {
                            scope.spawn(move || end(index, watched.report()));
                        }
                    }
                }
            });
        }
    });
    for (index, instance) in alone {
        end(index, begin(instance).report());
    }
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

pub fn not_run(instance: &Instance, reason: &str) -> Report {
    let reason = reason.to_owned();
    report(instance, false, Err(Stop::Skip(reason)), Duration::ZERO, Vec::new(), Vec::new())
}

/// How far a case has come.
enum Begun {
    Over(Box<Report>),
    Watched(Watched),
}

impl Begun {
    fn report(self) -> Report {
        match self {
            Begun::Over(report) => *report,
            Begun::Watched(watched) => watched.report(),
        }
    }
}

/// A case whose body has passed. What its sessions have received is judged when they have been watched.
struct Watched {
    instance: Instance,
    known: bool,
    took: Duration,
    steps: Vec<String>,
    transcript: Transcript,
    judged: Receiver<Outcome>,
}

impl Watched {
    fn report(self) -> Report {
        let ended = || Err(Stop::Error("what came cannot be judged; see stderr".to_owned()));
        let outcome = self.judged.recv().unwrap_or_else(|_| ended());
        let lines = lines_of(&outcome, &self.transcript);
        report(&self.instance, self.known, outcome, self.took, self.steps, lines)
    }
}

fn lines_of(outcome: &Outcome, transcript: &Transcript) -> Vec<Line> {
    if matches!(outcome, Ok(()) | Err(Stop::Skip(_))) { Vec::new() } else { transcript.lines() }
}

/// Runs one instance in its own thread, so that a hanging case cannot block the run.
fn begin(run: &Arc<Run>, instance: Instance, settings: &Settings) -> Begun {
    let known = settings.known.contains(instance.case.id, &instance.name());
    let start = Instant::now();
    let capabilities = &run.capabilities;
    let unsupported = match instance.combo {
        Some(combo) if !capabilities.speaks(combo) => {
            Some(format!("the target does not speak {combo}"))
        }
        _ => run.lacks(instance.case.needs),
    };
    if let Some(reason) = unsupported {
        let outcome = Err(Stop::Skip(reason));
        let took = start.elapsed();
        let report = report(&instance, known, outcome, took, Vec::new(), Vec::new());
        return Begun::Over(Box::new(report));
    }
    let combo = instance.combo.or(capabilities.preferred()).unwrap_or(E4W);
    let context = Context::of_case(run.clone(), combo, instance.case.needs, instance.case.clauses);
    let (transcript, steps) = (context.transcript.clone(), context.steps());
    let (done, outcome) = mpsc::channel();
    let (say, judged) = mpsc::channel();
    let body = instance.case.run;
    let is_alone = instance.runs_alone();
    thread::spawn(move || {
        let outcome = body(&context);
        let has_passed = outcome.is_ok();
        // The receivers are gone when the case timed out.
        let _ = done.send(outcome);
        if has_passed {
            if !is_alone {
                thread::sleep(context.watch_time());
            }
            let _ = say.send(context.check_received().map_err(Stop::from));
        }
    });
    let abusing = run.abuse.as_ref().filter(|_| instance.case.needs.contains(&Need::Abuse));
    let timeout =
        settings.timeout + abusing.map_or(Duration::ZERO, Plan::case_time) + run.heartbeats_time();
    // What the case waits because the target or other cases want it to is not its own time.
    let outcome = loop {
        let most = timeout + transcript.paused();
        match outcome.recv_timeout(most.saturating_sub(start.elapsed())) {
            Err(RecvTimeoutError::Timeout) if start.elapsed() < timeout + transcript.paused() => {}
            outcome => break outcome,
        }
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => {
            Err(Stop::Error(format!("the case took longer than {timeout:?}")))
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(Stop::Error("the case panicked; see stderr".to_owned()))
        }
    };
    let took = start.elapsed();
    let steps = steps.lock().map(|steps| steps.clone()).unwrap_or_default();
    if outcome.is_ok() {
        return Begun::Watched(Watched { instance, known, took, steps, transcript, judged });
    }
    let lines = lines_of(&outcome, &transcript);
    Begun::Over(Box::new(report(&instance, known, outcome, took, steps, lines)))
}

fn report(
    instance: &Instance,
    known_failing: bool,
    outcome: Outcome,
    took: Duration,
    steps: Vec<String>,
    transcript: Vec<Line>,
) -> Report {
    let case = instance.case;
    let level = case.level_in(instance.profile);
    let mut expected = case.expects.to_owned();
    let mut clauses: Vec<String> = case.clauses_in(instance.profile).map(str::to_owned).collect();
    let (mut observed, mut reason) = (None, None);
    let verdict = match outcome {
        Ok(()) => Verdict::Pass,
        Err(Stop::Fail { expected: precisely, observed: what }) => {
            if !precisely.is_empty() {
                expected = precisely;
            }
            if let Some((broken, _)) = expected.split_once(": ")
                && throng_spec::clause(broken).is_some()
            {
                clauses.retain(|id| id != broken);
                clauses.insert(0, broken.to_owned());
            }
            observed = Some(what);
            if level == Level::Must { Verdict::Fail } else { Verdict::Warn }
        }
        Err(Stop::Skip(why)) => {
            reason = Some(why);
            Verdict::Skip
        }
        Err(Stop::Error(why)) => {
            observed = Some(why);
            Verdict::Error
        }
    };
    Report {
        name: instance.name(),
        case: case.id.to_owned(),
        combo: instance.combo.map(|combo| combo.to_string()),
        clauses,
        level: level_name(level).to_owned(),
        verdict,
        known_failing,
        duration_ms: took.as_millis() as u64,
        does: case.does.to_owned(),
        expected,
        observed,
        reason,
        steps,
        transcript,
    }
}

pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
        Level::May => "MAY",
    }
}

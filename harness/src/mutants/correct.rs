//! What passes on the correct server: only that can show that a mutant is wrong.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use throng_reference::Mutant;
use throng_spec::Profile;

use super::effort::Effort;
use super::server::{Kind, serve};
use crate::capabilities::{Capabilities, Need};
use crate::case::Case;
use crate::cases;
use crate::combo::{E3P, E3W, E4P, E4W};
use crate::known::Known;
use crate::runner::{self, Instance, Report, Selection, Settings, Verdict};

/// Abused servers are tried one at a time: their latency is judged.
static ABUSING: Mutex<()> = Mutex::new(());

/// The results of the correct server, by what the mutants need.
#[derive(Default)]
pub struct Correct {
    known: HashMap<Kind, Passed>,
    /// What failed or could not be decided although nothing is wrong.
    pub failed: Vec<Report>,
}

struct Passed {
    capabilities: Capabilities,
    passed: HashSet<String>,
}

impl Correct {
    /// Runs what any of the mutants will need.
    pub fn run(mutants: &[Mutant], effort: Effort<'_>) -> Correct {
        let mut correct = Correct::default();
        let mut needed: Vec<(Kind, HashSet<String>)> = Vec::new();
        for mutant in mutants {
            let kind = Kind::of(mutant);
            let names = instances(kind, mutant, effort.all_cases).into_iter().map(|i| i.name());
            match needed.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, all)) => all.extend(names),
                None => needed.push((kind, names.collect())),
            }
        }
        for (kind, names) in needed {
            let _alone = alone(kind);
            let Some(server) = serve(kind, None, None, effort.program) else { continue };
            let mut chosen = selection().instances(&cases::all());
            chosen.retain(|instance| names.contains(&instance.name()));
            let settings = Settings { jobs: 6, keep_going: true, ..settings() };
            let reports = runner::run(&server.run, &chosen, &settings, &|_| {});
            let is_pass = |report: &&Report| report.verdict == Verdict::Pass;
            let passed = reports.iter().filter(is_pass).map(|report| report.name.clone()).collect();
            let capabilities = server.run.capabilities.clone();
            correct.known.insert(kind, Passed { capabilities, passed });
            correct.failed.extend(reports.into_iter().filter(Report::is_bad));
        }
        correct
    }

    /// What the correct server offers.
    pub fn capabilities(&self, kind: Kind) -> Option<&Capabilities> {
        self.known.get(&kind).map(|known| &known.capabilities)
    }

    pub fn passes(&self, kind: Kind, instance: &Instance) -> bool {
        self.known.get(&kind).is_some_and(|known| known.passed.contains(&instance.name()))
    }
}

/// The results that can show what is wrong with a mutant.
pub fn instances(kind: Kind, mutant: &Mutant, all_cases: bool) -> Vec<Instance> {
    let is_named = |case: &Case| case.clauses.iter().any(|clause| mutant.clauses.contains(clause));
    let abuses = |case: &Case| case.needs.contains(&Need::Abuse);
    let is_needed = |case: &&'static Case| match kind {
        Kind::Abused { case: shows, .. } => case.id == shows,
        Kind::Gone(_) => false,
        Kind::OneNode | Kind::TwoNodes | Kind::DefaultLimits => {
            !abuses(case) && (all_cases || is_named(case))
        }
    };
    let cases: Vec<&'static Case> = cases::all().into_iter().filter(is_needed).collect();
    selection().instances(&cases)
}

/// The lock of abused servers, if this is one.
pub fn alone(kind: Kind) -> Option<MutexGuard<'static, ()>> {
    let is_abused = matches!(kind, Kind::Abused { .. });
    is_abused.then(|| ABUSING.lock().expect("no trial panics"))
}

/// Runs the cases that abuse a server against one without a defect.
pub fn try_abuse_of_correct(program: &Path) -> Vec<Report> {
    let kind = Kind::Abused { case: "", mark: "" };
    let _alone = alone(kind);
    let Some(server) = serve(kind, None, None, program) else { return Vec::new() };
    run_those(&server.run, |case| case.needs.contains(&Need::Abuse))
}

/// Runs the cases about nodes against two nodes without a defect.
pub fn try_two_correct_nodes() -> Vec<Report> {
    let Some(server) = serve(Kind::TwoNodes, None, None, Path::new("")) else { return Vec::new() };
    run_those(&server.run, |case| case.needs.contains(&Need::Nodes))
}

/// Runs the cases about restarts against a server without a defect.
pub fn try_restarts_of_correct() -> Vec<Report> {
    let Some(server) = serve(Kind::OneNode, None, None, Path::new("")) else { return Vec::new() };
    run_those(&server.run, |case| case.needs.contains(&Need::Restart))
}

fn run_those(run: &std::sync::Arc<crate::run::Run>, are: impl Fn(&Case) -> bool) -> Vec<Report> {
    let cases: Vec<&'static Case> = cases::all().into_iter().filter(|case| are(case)).collect();
    let settings = Settings { keep_going: true, ..settings() };
    runner::run(run, &selection().instances(&cases), &settings, &|_| {})
}

fn selection() -> Selection {
    Selection {
        profile: Profile::Throng,
        filters: Vec::new(),
        level: throng_spec::Level::May,
        combos: vec![E4W, E4P, E3W, E3P],
        shard: None,
    }
}

pub fn settings() -> Settings {
    Settings {
        jobs: 4,
        timeout: Duration::from_secs(60),
        keep_going: false,
        known: Known::default(),
    }
}

//! The cases against one mutant.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use throng_reference::Mutant;

use super::correct::{Correct, alone, instances, settings};
use super::effort::Effort;
use super::server::{Kind, probed, serve};
use super::trial::{Failing, Trial, is_property};
use crate::capabilities::{Capability, Need};
use crate::case::Case;
use crate::demands::{Demands, Shortfall};
use crate::runner::{self, Instance, Report, Settings, Verdict};

/// A plain case that takes longer on a mutant is not decided.
const CASE_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs cases that pass on the correct server until each clause of the mutant is found broken, or all of them.
pub fn attempt(mutant: &Mutant, correct: &Correct, effort: Effort<'_>) -> Trial {
    let begun = Instant::now();
    let kind = Kind::of(mutant);
    let (failing, compared) = match kind {
        Kind::Gone(capability) => (lacking(mutant, kind, capability), 1),
        Kind::OneNode | Kind::TwoNodes | Kind::DefaultLimits | Kind::Abused { .. } => {
            failing(mutant, kind, correct, effort)
        }
    };
    Trial::new(mutant, failing, compared, begun.elapsed().as_millis() as u64)
}

fn failing(
    mutant: &Mutant,
    kind: Kind,
    correct: &Correct,
    effort: Effort<'_>,
) -> (Vec<Failing>, usize) {
    let _alone = alone(kind);
    let known = correct.capabilities(kind);
    let Some(server) = serve(kind, Some(mutant), known, effort.program) else {
        return (Vec::new(), 0);
    };
    let mut chosen = instances(kind, mutant, effort.all_cases);
    chosen.retain(|instance| correct.passes(kind, instance));
    let mut found: Vec<Failing> = Vec::new();
    let mut compared = 0;
    for turn in turns(chosen, mutant) {
        // Properties are slow: they run where no plain case has failed.
        let are_properties = turn.iter().all(|instance| is_property(instance.case.id));
        if are_properties && !found.is_empty() && !effort.all_cases {
            break;
        }
        let settings = Settings { keep_going: true, timeout: timeout(&turn), ..settings() };
        let reports = runner::run(&server.run, &turn, &settings, &|_| {});
        compared += reports.iter().filter(|report| report.is_judged()).count();
        let failed: HashSet<&str> = (reports.iter())
            .filter(|report| shows(kind, report))
            .map(|report| report.name.as_str())
            .collect();
        // A busy machine can make a case fail once.
        let again: Vec<Instance> =
            turn.into_iter().filter(|instance| failed.contains(instance.name().as_str())).collect();
        let reports = runner::run(&server.run, &again, &settings, &|_| {});
        found.extend(reports.iter().filter(|report| shows(kind, report)).map(Failing::of));
        let is_broken = |clause: &&str| {
            found.iter().any(|failing: &Failing| failing.clauses.iter().any(|id| id == clause))
        };
        if !effort.all_cases && mutant.clauses.iter().all(is_broken) {
            break;
        }
    }
    (found, compared)
}

/// Each plain case once, then over the other combos, then the properties, and then the cases of other clauses: the
/// faster ones, whose reports say more, come first.
fn turns(instances: Vec<Instance>, mutant: &Mutant) -> Vec<Vec<Instance>> {
    let mut turns = vec![Vec::new(); 4];
    let mut seen = HashSet::new();
    for instance in instances {
        let is_named = instance.case.clauses.iter().any(|id| mutant.clauses.contains(id));
        let turn = match () {
            () if !is_named => 3,
            () if is_property(instance.case.id) => 2,
            () => usize::from(!seen.insert(instance.case.id)),
        };
        turns[turn].push(instance);
    }
    turns.retain(|turn| !turn.is_empty());
    turns
}

fn timeout(turn: &[Instance]) -> Duration {
    let is_long = |case: &Case| {
        let needs = [Need::Abuse, Need::Rest];
        is_property(case.id) || case.needs.iter().any(|need| needs.contains(need))
    };
    if turn.iter().any(|instance| is_long(instance.case)) {
        settings().timeout
    } else {
        CASE_TIMEOUT
    }
}

fn shows(kind: Kind, report: &Report) -> bool {
    let is_failed = matches!(report.verdict, Verdict::Fail | Verdict::Warn);
    let observed = report.observed.as_deref().unwrap_or("");
    is_failed
        && match kind {
            Kind::Abused { mark, .. } => observed.contains(mark),
            Kind::OneNode | Kind::TwoNodes | Kind::DefaultLimits | Kind::Gone(_) => true,
        }
}

/// What a run that requires the capability says, and does not say of the correct server.
fn lacking(mutant: &Mutant, kind: Kind, capability: Capability) -> Vec<Failing> {
    let demands = Demands { required: Some(vec![capability]), min_judged: 0 };
    let of = |mutant: Option<&Mutant>| -> Vec<Shortfall> {
        probed(kind, mutant).map(|found| demands.lacking(&found, &[])).unwrap_or_default()
    };
    let known: Vec<String> = of(None).into_iter().map(|shortfall| shortfall.demand).collect();
    let new = of(Some(mutant)).into_iter().filter(|shortfall| !known.contains(&shortfall.demand));
    new.map(|Shortfall { demand, observed }| Failing {
        name: demand,
        clauses: mutant.clauses.iter().map(|&id| id.to_owned()).collect(),
        observed: Some(observed),
    })
    .collect()
}

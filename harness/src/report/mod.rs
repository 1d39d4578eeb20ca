//! The results as text, JSON, JUnit XML and HTML.

pub mod html;
pub mod json;
pub mod junit;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};

use throng_spec::{Clause, Profile};

use crate::capabilities::Capabilities;
use crate::commands::{BROKEN, CONFORMS, NOT_JUDGED, SHOULDS_BROKEN, UNREACHABLE};
use crate::demands::Shortfall;
use crate::profile::is_judged;
use crate::runner::{Report, Verdict};

/// Everything that a report contains about one run.
pub struct Summary<'a> {
    pub target: &'a str,
    /// Which cases were selected, in words.
    pub selection: &'a str,
    /// Whose clauses were judged.
    pub profile: Profile,
    pub seed: u64,
    /// When the run ended, as RFC 3339 in UTC.
    pub finished: &'a str,
    pub duration_ms: u64,
    pub capabilities: &'a Capabilities,
    pub reports: &'a [Report],
    pub strict: bool,
    /// Why no case could run at all.
    pub unreachable: Option<&'a str>,
    /// What the run was to judge and did not.
    pub shortfalls: &'a [Shortfall],
}

impl Summary<'_> {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.reports.iter().filter(|report| report.verdict == verdict).count()
    }

    /// Clauses that the target owes, or would owe if it had all that they are about.
    pub fn clauses(&self) -> impl Iterator<Item = &'static Clause> {
        let profile = self.profile;
        throng_spec::clauses().filter(move |clause| {
            let is_own = profile == Profile::Upstream || clause.prefix() != "EVT";
            is_own && is_judged(clause.id, profile)
        })
    }

    /// Clauses that a case judged.
    pub fn judged_clauses(&self) -> BTreeSet<&str> {
        let judged = self.reports.iter().filter(|report| report.is_judged());
        judged.flat_map(|report| report.clauses.iter().map(String::as_str)).collect()
    }

    /// The first clause of each violation, which is the one that is broken where the case knows it, and how many
    /// results show it; most first.
    pub fn violated(&self) -> Vec<(&str, usize)> {
        let broken = |report: &&Report| {
            matches!(report.verdict, Verdict::Fail | Verdict::Warn) && !report.known_failing
        };
        let clauses =
            self.reports.iter().filter(broken).filter_map(|report| report.clauses.first());
        most_first(clauses.map(String::as_str))
    }

    /// Why cases were left out, and how many for each reason; most first.
    pub fn reasons(&self) -> Vec<(&str, usize)> {
        most_first(self.reports.iter().filter_map(|report| report.reason.as_deref()))
    }

    /// The process's exit code, see the README.
    pub fn exit_code(&self) -> u8 {
        if self.unreachable.is_some() {
            return UNREACHABLE;
        }
        let decides = |report: &&Report| {
            report.is_unexpected_pass()
                || !report.known_failing && matches!(report.verdict, Verdict::Fail | Verdict::Error)
        };
        if self.reports.iter().any(|report| decides(&report)) {
            return BROKEN;
        }
        if !self.shortfalls.is_empty() {
            return NOT_JUDGED;
        }
        let warned = self.reports.iter().any(|r| r.verdict == Verdict::Warn && !r.known_failing);
        if warned && self.strict { SHOULDS_BROKEN } else { CONFORMS }
    }
}

/// How often each comes, most first.
fn most_first<'a>(items: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The clauses of a result, quoted; first the one that what was expected names.
pub fn quotes_of(report: &Report) -> Vec<String> {
    let named = report.expected.split(':').next().unwrap_or("");
    let mut clauses = report.clauses.clone();
    clauses.sort_by_key(|clause| clause != named);
    quotes(&clauses)
}

/// The clauses of a report, quoted from the protocol text.
pub fn quotes(clauses: &[String]) -> Vec<String> {
    let clause = |id: &String| throng_spec::clause(id);
    clauses
        .iter()
        .filter_map(clause)
        .map(|clause| {
            let level = crate::runner::level_name(clause.level);
            format!("{} ({level}) {}", clause.id, clause.summary())
        })
        .collect()
}

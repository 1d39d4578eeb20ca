//! The results as text, JSON, JUnit XML and HTML.

pub mod html;
pub mod json;
pub mod junit;
pub mod text;

use crate::capabilities::Capabilities;
use crate::runner::{Report, Verdict};

/// Everything that a report contains about one run.
pub struct Summary<'a> {
    pub target: &'a str,
    pub seed: u64,
    pub duration_ms: u64,
    pub capabilities: &'a Capabilities,
    pub reports: &'a [Report],
    pub strict: bool,
    /// The target may be abused.
    pub abuses: bool,
}

impl Summary<'_> {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.reports.iter().filter(|report| report.verdict == verdict).count()
    }

    /// Cases that were left out because the target may not be abused.
    pub fn count_abuse_left_out(&self) -> usize {
        let is_left_out = |report: &&Report| {
            report.verdict == Verdict::Skip && report.case.starts_with("abuse.") && !self.abuses
        };
        self.reports.iter().filter(is_left_out).count()
    }

    /// The process's exit code, see the README.
    pub fn exit_code(&self) -> u8 {
        let decides = |report: &&Report| {
            report.is_unexpected_pass()
                || !report.known_failing && matches!(report.verdict, Verdict::Fail | Verdict::Error)
        };
        if self.reports.iter().any(|report| decides(&report)) {
            return 1;
        }
        let warned = self.reports.iter().any(|r| r.verdict == Verdict::Warn && !r.known_failing);
        if warned && self.strict { 4 } else { 0 }
    }
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

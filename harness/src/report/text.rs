//! Plain lines, for terminals and CI logs.

use throng_spec::Clause;

use super::{Summary, quotes_of};
use crate::demands::Shortfall;
use crate::runner::{Report, Verdict};
use crate::skips;

/// One line per finished case.
pub fn line(report: &Report) -> String {
    let verdict = match (report.verdict, report.known_failing) {
        (Verdict::Pass, true) => "pass (listed as known to fail)".to_owned(),
        (verdict, true) => format!("{} (known)", verdict.name()),
        (verdict, false) => verdict.name().to_owned(),
    };
    let mut line = format!("{verdict:<5} {:<56} {:>6} ms", report.name, report.duration_ms);
    if let Some(reason) = &report.reason {
        line.push_str(&format!("  {reason}"));
    }
    line
}

/// Everything needed to see what the server did wrong.
pub fn details(report: &Report) -> String {
    let mut out = format!("── {} · {}\n", report.verdict.name().to_uppercase(), report.name);
    for quote in quotes_of(report) {
        out.push_str(&format!("   {quote}\n"));
    }
    out.push_str(&format!("   does:     {}\n", report.does));
    for step in &report.steps {
        out.push_str(&format!("             · {step}\n"));
    }
    out.push_str(&format!("   expected: {}\n", report.expected));
    if let Some(observed) = &report.observed {
        out.push_str(&format!("   observed: {observed}\n"));
    }
    if !report.transcript.is_empty() {
        out.push_str("   frames:\n");
        for line in &report.transcript {
            out.push_str(&format!("   {}\n", line.render()));
        }
    }
    out
}

pub fn closing(summary: &Summary<'_>) -> String {
    let known = summary.reports.iter().filter(|r| r.known_failing && r.is_bad()).count();
    let unexpected = summary.reports.iter().filter(|r| r.is_unexpected_pass()).count();
    let mut out = format!(
        "{} passed, {} failed, {} warned, {} skipped, {} errors in {:.1} s (seed {})",
        summary.count(Verdict::Pass),
        summary.count(Verdict::Fail),
        summary.count(Verdict::Warn),
        summary.count(Verdict::Skip),
        summary.count(Verdict::Error),
        summary.duration_ms as f64 / 1_000.0,
        summary.seed
    );
    if known > 0 {
        out.push_str(&format!("; {known} of them known"));
    }
    if unexpected > 0 {
        out.push_str(&format!(
            "; {unexpected} cases listed as known to fail passed: remove them from the list"
        ));
    }
    let violated = summary.violated();
    if !violated.is_empty() {
        let counts: Vec<String> =
            violated.iter().map(|(clause, count)| format!("{clause} ({count})")).collect();
        out.push_str(&format!("\nviolated: {}", counts.join(", ")));
    }
    out.push_str(&not_held(summary));
    for Shortfall { demand, observed } in summary.shortfalls {
        out.push_str(&format!("\nNOT MET: {demand}: {observed}"));
    }
    out
}

/// What the target was not held to: clauses without a judged case, and why cases were left out.
fn not_held(summary: &Summary<'_>) -> String {
    let judged = summary.judged_clauses();
    let all: Vec<&Clause> = summary.clauses().collect();
    let open = all.iter().filter(|clause| !judged.contains(clause.id));
    let without_case = open.clone().filter(|clause| skips::reason(clause.id).is_some()).count();
    let left_out = open.count() - without_case;
    let mut out = format!(
        "\nheld to {} of {} clauses; not to {} that no case judges (list --coverage) and {} others",
        judged.len(),
        all.len(),
        without_case,
        left_out
    );
    for (reason, count) in summary.reasons() {
        out.push_str(&format!("\n{count:>6} skipped: {reason}"));
    }
    out
}

//! One self-contained page: no script, style or font from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use throng_spec::Clause;

use super::Summary;
use crate::capabilities::Capability;
use crate::demands::Shortfall;
use crate::runner::{Report, Verdict, level_name};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const VERDICTS: [Verdict; 5] =
    [Verdict::Fail, Verdict::Error, Verdict::Warn, Verdict::Pass, Verdict::Skip];

pub fn render(summary: &Summary<'_>) -> String {
    let (bad, good): (Vec<&Report>, Vec<&Report>) =
        summary.reports.iter().partition(|report| report.is_bad() || report.is_unexpected_pass());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Conformance of " (summary.target) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Conformance of " (summary.target) }
                (outcome(summary))
                (facts(summary))
                (chapters(summary))
                (not_judged(summary))
                (controls())
                (violated(summary))
                @if !bad.is_empty() { (section("Findings", &bad)) }
                @if !good.is_empty() { (section("All others", &good)) }
                p #none hidden { "No result fits." }
                (clauses(summary))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn outcome(summary: &Summary<'_>) -> Markup {
    let code = summary.exit_code();
    let meaning = match code {
        0 => "The target conforms in what was judged.",
        1 => {
            "A MUST is violated, a case could not be decided, or a case listed as known to fail passes."
        }
        3 => "The target cannot be tested.",
        4 => "Only SHOULDs are violated.",
        _ => "Too little was judged.",
    };
    html! {
        p.outcome.pass[code == 0].fail[code != 0] { (meaning) " Exit code " (code) "." }
        @if let Some(why) = summary.unreachable { p.fail { (why) } }
        @for Shortfall { demand, observed } in summary.shortfalls {
            p.fail { "Not met: " (demand) ": " (observed) }
        }
        p.totals {
            @for verdict in VERDICTS {
                span class=(verdict.name()) { (summary.count(verdict)) " " (verdict.name()) }
            }
        }
    }
}

fn facts(summary: &Summary<'_>) -> Markup {
    let known = summary.clauses().count();
    let (offered, lacking): (Vec<Capability>, Vec<Capability>) =
        Capability::ALL.into_iter().partition(|it| summary.capabilities.has(*it));
    html! {
        dl.facts {
            dt { "Finished" } dd { time datetime=(summary.finished) { (summary.finished) } }
            dt { "Took" } dd { (format!("{:.1} s", summary.duration_ms as f64 / 1_000.0)) }
            dt { "Harness" } dd { "throng-harness " (env!("CARGO_PKG_VERSION")) }
            dt { "Profile" } dd { (summary.profile.name()) }
            dt { "Selection" } dd { (summary.selection) }
            dt { "Seed" } dd { (summary.seed) }
            dt { "Held to" }
            dd { (summary.judged_clauses().len()) " of " (known) " clauses" }
            dt { "Offers" }
            dd {
                @for capability in &offered { span.chip { (capability.name()) } " " }
                @if offered.is_empty() { "nothing" }
            }
            @if !lacking.is_empty() {
                dt { "Lacks" }
                dd {
                    @for capability in lacking {
                        div {
                            span.chip { (capability.name()) } " "
                            (summary.capabilities.instead_of(capability))
                        }
                    }
                }
            }
        }
    }
}

/// Results and clauses of one chapter of the text.
#[derive(Default)]
struct Chapter {
    clauses: usize,
    held: usize,
    verdicts: BTreeMap<&'static str, usize>,
}

fn chapters(summary: &Summary<'_>) -> Markup {
    let judged = summary.judged_clauses();
    let mut chapters: BTreeMap<&str, Chapter> = BTreeMap::new();
    for clause in summary.clauses() {
        let chapter = chapters.entry(clause.file).or_default();
        chapter.clauses += 1;
        chapter.held += usize::from(judged.contains(clause.id));
    }
    for report in summary.reports {
        let first = report.clauses.first().and_then(|id| throng_spec::clause(id));
        if let Some(chapter) = first.and_then(|clause| chapters.get_mut(clause.file)) {
            *chapter.verdicts.entry(report.verdict.name()).or_default() += 1;
        }
    }
    html! {
        h2 { "By chapter" }
        div.wide {
            table {
                thead {
                    tr {
                        th { "chapter" } th { "clauses held" }
                        @for verdict in VERDICTS { th class=(verdict.name()) { (verdict.name()) } }
                    }
                }
                tbody {
                    @for (file, chapter) in &chapters {
                        tr {
                            th { (title(file)) }
                            td { (chapter.held) " of " (chapter.clauses) }
                            @for verdict in VERDICTS {
                                @let count = chapter.verdicts.get(verdict.name()).copied();
                                td class=[count.map(|_| verdict.name())] {
                                    @if let Some(count) = count { (count) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The heading of a file of the text.
fn title(file: &str) -> &'static str {
    let text = throng_spec::texts().find(|(name, _)| *name == file).map_or("", |(_, text)| text);
    text.lines().next().unwrap_or("").trim_start_matches('#').trim()
}

fn not_judged(summary: &Summary<'_>) -> Markup {
    let reasons = summary.reasons();
    html! {
        @if !reasons.is_empty() {
            details {
                summary { "Why " (summary.count(Verdict::Skip)) " results were not judged" }
                ul { @for (reason, count) in reasons { li { (count) ": " (reason) } } }
            }
        }
    }
}

fn controls() -> Markup {
    html! {
        form #controls hidden {
            input #filter type="search" placeholder="case, clause or text" aria-label="Filter";
            @for verdict in VERDICTS {
                label class=(verdict.name()) {
                    input type="checkbox" name="verdict" value=(verdict.name()) checked;
                    (verdict.name())
                }
            }
            output #shown {}
        }
    }
}

fn violated(summary: &Summary<'_>) -> Markup {
    let violated = summary.violated();
    html! {
        @if !violated.is_empty() {
            h2 { "Violated" }
            ul {
                @for (id, count) in violated {
                    @if let Some(clause) = throng_spec::clause(id) {
                        li { a href={ "#" (id) } { (id) } " (" (count) ") " (clause.summary()) }
                    }
                }
            }
        }
    }
}

fn section(title: &str, reports: &[&Report]) -> Markup {
    html! {
        section {
            h2 { (title) }
            @for report in reports { (result(report)) }
        }
    }
}

fn result(report: &Report) -> Markup {
    let verdict = report.verdict.name();
    html! {
        details.result data-verdict=(verdict) {
            summary {
                span class={ "verdict " (verdict) } { (verdict) }
                span.name { (report.name) @if report.known_failing { " (known)" } }
                span.clauses { (report.clauses.join(" ")) }
                span.took { (report.duration_ms) " ms" }
            }
            @for id in &report.clauses {
                @if let Some(clause) = throng_spec::clause(id) {
                    blockquote {
                        a href={ "#" (id) } { (id) }
                        " (" (level_name(clause.level)) ") " (clause.summary())
                    }
                }
            }
            dl {
                dt { "does" } dd { (report.does) }
                @if !report.steps.is_empty() {
                    dt { "steps" } dd { ol { @for step in &report.steps { li { (step) } } } }
                }
                dt { "expected" } dd { (report.expected) }
                @if let Some(observed) = &report.observed { dt { "observed" } dd { (observed) } }
                @if let Some(reason) = &report.reason { dt { "reason" } dd { (reason) } }
            }
            @if !report.transcript.is_empty() {
                pre { (frames(report)) }
            }
        }
    }
}

/// The first and last frames; the JSON report has all of them.
const FRAMES_EACH: usize = 150;

fn frames(report: &Report) -> String {
    let mut lines: Vec<String> = report.transcript.iter().map(|line| line.render()).collect();
    let most = 2 * FRAMES_EACH;
    if lines.len() > most {
        let left_out = format!("… {} more …", lines.len() - most);
        lines.splice(FRAMES_EACH..lines.len() - FRAMES_EACH, [left_out]);
    }
    lines.join("\n")
}

/// The text of every clause that a result names.
fn clauses(summary: &Summary<'_>) -> Markup {
    let named: BTreeSet<&str> =
        summary.reports.iter().flat_map(|it| it.clauses.iter().map(String::as_str)).collect();
    let clauses: Vec<&Clause> =
        throng_spec::clauses().filter(|clause| named.contains(clause.id)).collect();
    html! {
        h2 { "The text of these clauses" }
        dl.text {
            @for clause in clauses {
                dt id=(clause.id) { (clause.id) " (" (level_name(clause.level)) ")" }
                dd { (clause.text.trim()) }
            }
        }
    }
}

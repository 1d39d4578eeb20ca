//! One self-contained page: no script, style or font from elsewhere.

use super::{Summary, quotes_of};
use crate::demands::Shortfall;
use crate::runner::{Report, Verdict};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.totals span { margin-right: 1.2rem; font-weight: 600; }
details, .row { border-top: 1px solid var(--line); padding: .35rem 0; }
summary, .row { display: flex; gap: .8rem; align-items: baseline; }
summary { cursor: pointer; }
.verdict { font-weight: 700; width: 3.2rem; flex: none; }
.pass { color: #15803d; } .fail, .error { color: #dc2626; } .warn { color: #b45309; }
.skip { color: #6b7280; }
.name { font-family: ui-monospace, monospace; } .clauses { color: #6b7280; margin-left: auto; }
blockquote { margin: .4rem 0; padding-left: .8rem; border-left: 3px solid var(--line); }
pre { overflow-x: auto; font-size: 12.5px; background: #8881; padding: .6rem; border-radius: 4px; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
";

pub fn render(summary: &Summary<'_>) -> String {
    let mut out = String::from("<!doctype html><html lang=en><head><meta charset=utf-8>");
    out.push_str(
        "<meta name=viewport content='width=device-width'><title>Conformance report</title>",
    );
    out.push_str(&format!(
        "<style>{STYLE}</style></head><body><h1>Conformance of {}</h1>",
        escape(summary.target)
    ));
    out.push_str(&format!(
        "<p>seed {} · {:.1} s · exit code {}</p><p class=totals>",
        summary.seed,
        summary.duration_ms as f64 / 1_000.0,
        summary.exit_code()
    ));
    for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Warn, Verdict::Skip, Verdict::Error] {
        let (name, count) = (verdict.name(), summary.count(verdict));
        out.push_str(&format!("<span class={name}>{count} {name}</span>"));
    }
    out.push_str("</p>");
    if let Some(why) = summary.unreachable {
        out.push_str(&format!("<p class=error>The target cannot be tested: {}</p>", escape(why)));
    }
    for Shortfall { demand, observed } in summary.shortfalls {
        out.push_str(&format!(
            "<p class=error>Not met: {}: {}</p>",
            escape(demand),
            escape(observed)
        ));
    }
    let (bad, good): (Vec<&Report>, Vec<&Report>) =
        summary.reports.iter().partition(|report| report.is_bad() || report.is_unexpected_pass());
    section(&mut out, "Findings", &bad);
    section(&mut out, "All others", &good);
    out.push_str("</body></html>");
    out
}

fn section(out: &mut String, title: &str, reports: &[&Report]) {
    if reports.is_empty() {
        return;
    }
    out.push_str(&format!("<h2>{title}</h2>"));
    for report in reports {
        let verdict = report.verdict.name();
        let known = if report.known_failing { " (known)" } else { "" };
        out.push_str(&format!(
            "<details><summary><span class='verdict {verdict}'>{verdict}</span>\
             <span class=name>{}{known}</span><span class=clauses>{} · {} ms</span></summary>",
            escape(&report.name),
            escape(&report.clauses.join(" ")),
            report.duration_ms
        ));
        for quote in quotes_of(report) {
            out.push_str(&format!("<blockquote>{}</blockquote>", escape(&quote)));
        }
        out.push_str("<dl>");
        term(out, "does", &report.does);
        if !report.steps.is_empty() {
            term(out, "steps", &report.steps.join(" · "));
        }
        term(out, "expected", &report.expected);
        if let Some(observed) = &report.observed {
            term(out, "observed", observed);
        }
        if let Some(reason) = &report.reason {
            term(out, "reason", reason);
        }
        out.push_str("</dl>");
        if !report.transcript.is_empty() {
            let lines: Vec<String> = report.transcript.iter().map(|line| line.render()).collect();
            out.push_str(&format!("<pre>{}</pre>", escape(&lines.join("\n"))));
        }
        out.push_str("</details>");
    }
}

fn term(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("<dt>{name}</dt><dd>{}</dd>", escape(text)));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

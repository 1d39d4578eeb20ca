//! The results as one page of Markdown, which also says where Throng loses.

use std::fmt::Write as _;

use crate::outcome::{Entry, Results, Trust};
use crate::target;

/// (figure, heading, is less better, only in cells whose name begins so)
const TABLES: [(&str, &str, bool, &[&str]); 8] = [
    ("deliveries_per_s", "Deliveries per second", false, &["1x", "16x", "4x", "80%"]),
    (
        "server.cpu_us_per_delivery",
        "Server CPU per delivery, µs",
        true,
        &["1x", "16x", "4x", "fixed", "80%"],
    ),
    ("latency_us.p50", "Delivery latency p50, µs", true, &["fixed", "80%"]),
    ("latency_us.p99", "Delivery latency p99, µs", true, &["fixed", "80%"]),
    (
        "server.rss_per_connection_bytes",
        "Memory per idle joined connection (RSS), bytes",
        true,
        &["idle"],
    ),
    ("connects_per_s", "Connects per second (connect, handshake, join)", false, &["idle"]),
    ("server.cpu_us_per_connect", "Server CPU per connect, µs", true, &["idle"]),
    (BYTES, "Bytes per delivery, frame header included", true, &["1x1 N=1000"]),
];

/// Like is compared with like: shown, but nobody loses by it.
const BYTES: &str = "bytes_per_frame";

#[must_use]
pub fn markdown(results: &Results, picture: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(results, picture, &mut text);
    text
}

fn write(results: &Results, picture: &str, out: &mut String) -> std::fmt::Result {
    writeln!(out, "# Throng beside other servers, {}\n", results.date)?;
    writeln!(out, "![the same in a picture]({picture})\n")?;
    writeln!(
        out,
        "Machine: {}. Server on one core, generator on another, loopback, 128-byte message texts. {} repetitions of {} s (open loops: twice as long), the first {} s not counted: medians, and (lowest–highest).\n",
        results.machine, results.repetitions, results.duration_s, results.warmup_s
    )?;
    writeln!(out, "```sh\n{}\n```\n", results.command)?;
    writeln!(
        out,
        "A cell P×O is P publishers with O messages each in flight; N members in one room; a publisher sends its next message when its own copy of the last has come back. No acks. `fixed` is an open loop of so many deliveries per second, `80% of own` one at 80 % of what the same process delivered in 16x4 N=1000 in the seconds before. Raw servers carry the message text alone, Socket.IO servers the whole chat message around it; *equal bytes* carries as many as Throng does. ≥ and ≤: the generator was saturated, which holds a rate down and adds to the latencies of an open loop, so the server may do better; its CPU time per delivery is not touched by that. *void*: in every repetition the generator did not trust itself, for the reason named below.\n"
    )?;
    if !results.targets.is_empty() {
        writeln!(out, "## What was promised\n\n{}", target::rows(&results.targets))?;
    }
    for (figure, heading, _, prefixes) in TABLES {
        let cells: Vec<_> = results
            .cells()
            .into_iter()
            .filter(|cell| prefixes.iter().any(|prefix| cell.starts_with(prefix)))
            .collect();
        if !cells.is_empty() {
            table(results, figure, heading, &cells, out)?;
        }
    }
    losses(results, out)?;
    doubts(results, out)?;
    writeln!(out, "## Versions\n")?;
    for (name, version) in &results.versions {
        writeln!(out, "- {name}: {version}")?;
    }
    Ok(())
}

fn table(
    results: &Results,
    figure: &str,
    heading: &str,
    cells: &[&str],
    out: &mut String,
) -> std::fmt::Result {
    writeln!(out, "## {heading}\n")?;
    writeln!(out, "| server | {} |", cells.join(" | "))?;
    writeln!(out, "|---|{}|", vec!["---"; cells.len()].join("|"))?;
    for server in results.servers() {
        let row: Vec<_> = cells
            .iter()
            .map(|cell| match results.entry(cell, server) {
                Some(entry) => shown(entry, figure),
                None => "–".into(),
            })
            .collect();
        if row.iter().all(|shown| shown == "–") {
            continue;
        }
        writeln!(out, "| {server} | {} |", row.join(" | "))?;
    }
    writeln!(out)
}

fn shown(entry: &Entry, figure: &str) -> String {
    let Some(spread) = entry.spread(figure) else {
        return if entry.failures.is_empty() { "–".into() } else { "failed".into() };
    };
    let range = match entry.runs.len() {
        0 | 1 => String::new(),
        _ => format!(" ({}–{})", number(spread.low), number(spread.high)),
    };
    let lost = entry.spread("completeness").is_some_and(|share| share.low < 1.0);
    let after = match (spread.trust, lost) {
        (Trust::Void, _) => " *void*",
        (_, true) => " *lost messages*",
        (_, false) => "",
    };
    format!("{}{}{range}{after}", spread.sign(figure), number(spread.median))
}

/// Three significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// Every published figure in which somebody else's median is better than Throng's.
fn losses(results: &Results, out: &mut String) -> std::fmt::Result {
    let mut lines = Vec::new();
    for (figure, heading, is_less_better, prefixes) in TABLES {
        for cell in results.cells() {
            if figure == BYTES {
                continue;
            }
            if !prefixes.iter().any(|prefix| cell.starts_with(prefix)) {
                continue;
            }
            let own = results.entry(cell, "throng").and_then(|entry| entry.spread(figure));
            let Some(own) = own else { continue };
            for server in results.servers().into_iter().filter(|server| *server != "throng") {
                let Some(entry) = results.entry(cell, server) else { continue };
                let Some(other) = entry.spread(figure) else { continue };
                let is_better = if is_less_better {
                    other.median < own.median
                } else {
                    other.median > own.median
                };
                if is_better {
                    let kind = if entry.is_socket_io { "" } else { " (not a Socket.IO server)" };
                    let (theirs, ours) = (number(other.median), number(own.median));
                    lines.push(format!(
                        "- {heading}, {cell}: {server}{kind} {theirs}, Throng {ours}"
                    ));
                }
            }
        }
    }
    writeln!(out, "## Where Throng is not first\n")?;
    if lines.is_empty() {
        lines.push("Nowhere in these cells.".into());
    }
    writeln!(out, "{}\n", lines.join("\n"))
}

/// Void runs, failures, errors, and counts that do not agree.
fn doubts(results: &Results, out: &mut String) -> std::fmt::Result {
    let mut lines = Vec::new();
    for entry in &results.entries {
        let place = format!("{}, {}", entry.server, entry.cell);
        for (index, run) in entry.runs.iter().enumerate() {
            let repetition = index + 1;
            for reason in &run.void_reasons {
                lines.push(format!("- {place}, repetition {repetition}: void, {reason}"));
            }
            for (kind, count) in &run.errors {
                lines.push(format!("- {place}, repetition {repetition}: {count} × {kind}"));
            }
            if run.counts_agree == Some(false) {
                lines.push(format!(
                    "- {place}, repetition {repetition}: the server counted other deliveries than came"
                ));
            }
        }
        for failure in &entry.failures {
            lines.push(format!("- {place}: failed, {failure}"));
        }
    }
    if !lines.is_empty() {
        writeln!(out, "## What to know about single runs\n\n{}\n", lines.join("\n"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::outcome::Run;

    fn entry(server: &str, rate: f64, void: &[&str]) -> Entry {
        let figures = BTreeMap::from([
            ("deliveries_per_s".to_owned(), rate),
            ("completeness".to_owned(), 1.0),
        ]);
        let void_reasons = void.iter().map(|reason| (*reason).to_owned()).collect();
        Entry {
            cell: "16x4 N=1000".into(),
            server: server.into(),
            runs: vec![Run { figures, void_reasons, ..Run::default() }],
            ..Entry::default()
        }
    }

    #[test]
    fn the_page_says_where_throng_loses_and_what_is_void() {
        let results = Results {
            entries: vec![
                entry("throng", 2e6, &[]),
                entry("faster", 3e6, &["generator_starved: x"]),
                entry("bounded", 2.5e6, &["generator_saturated: x"]),
                entry("slower", 1e6, &[]),
            ],
            ..Results::default()
        };
        let page = markdown(&results, "p.svg");
        assert!(page.contains("| throng | 2.00 M |"), "{page}");
        assert!(page.contains("| faster | 3.00 M *void* |"), "{page}");
        assert!(page.contains("| bounded | ≥ 2.50 M |"), "{page}");
        let losses = page.split("not first").nth(1).unwrap();
        assert!(losses.contains("faster") && !losses.contains("slower"), "{page}");
        assert!(page.contains("repetition 1: void, generator_starved: x"));
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown: Vec<_> =
            [0.0, 0.1134, 4.256, 37.41, 812.0, 9_134.0, 41_200.0, 9.126e6].map(number).to_vec();
        assert_eq!(shown, ["0", "0.113", "4.26", "37.4", "812", "9134", "41.2 k", "9.13 M"]);
    }
}

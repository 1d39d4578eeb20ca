//! The results as one page of Markdown, which also says where Throng loses.

use throng_loadgen::table::{Table, number};

use super::outcome::{Entry, Results, Trust};
use super::picture;
use crate::page::Page;

const NOTES: &str = "A cell P×O is P publishers with O messages each in flight; N members in one room; a publisher sends its next message when its own copy of the last has come back. No acks. `fixed` is an open loop of so many deliveries per second, `80% of own` one at 80 % of what the same process delivered in 16x4 N=1000 in the seconds before. Raw servers carry the message text alone, Socket.IO servers the whole chat message around it; *equal bytes* carries as many as Throng does. ≥ and ≤: the generator was saturated, which holds a rate down and adds to the latencies of an open loop, so the server may do better; its CPU time per delivery is not affected. *void*: in every repetition the generator did not trust itself, for the reason named below.";

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

/// For comparison only: no server loses by it.
const BYTES: &str = "bytes_per_frame";

#[must_use]
pub fn page(results: &Results) -> Page<'_> {
    let tables = TABLES.into_iter().filter_map(|(figure, heading, _, prefixes)| {
        Some((heading.to_owned(), table(results, figure, prefixes)?))
    });
    let versions = results.versions.iter().map(|(name, version)| format!("- {name}: {version}"));
    let lists = [
        ("Where Throng is not first", losses(results)),
        ("What to know about single runs", doubts(results)),
        ("Versions", versions.collect()),
    ];
    let lists = lists.into_iter().filter(|(_, lines)| !lines.is_empty());
    let lists = lists.map(|(heading, lines)| (heading.to_owned(), lines.join("\n")));
    Page {
        title: "Throng and other servers",
        date: &results.date,
        setting: format!(
            "Machine: {}. Server on one core, generator on another, loopback, 128-byte message \
             texts. {} repetitions of {} s (open loops: twice as long), the first {} s not counted: \
             medians, and (lowest–highest).",
            results.machine, results.repetitions, results.duration_s, results.warmup_s
        ),
        command: &results.command,
        notes: NOTES,
        targets: results.targets.clone(),
        sections: tables.chain(lists).collect(),
        picture: Some((picture::svg(results), "the same in a picture")),
    }
}

/// A figure of every server in the cells whose names begin so; none if there is no such cell.
fn table(results: &Results, figure: &str, prefixes: &[&str]) -> Option<String> {
    let cells = cells(results, prefixes);
    let mut table = Table::new(["server"].into_iter().chain(cells.iter().copied()));
    for server in results.servers() {
        let shown = |cell: &&str| {
            results.entry(cell, server).map_or_else(|| "–".into(), |entry| shown(entry, figure))
        };
        let row: Vec<String> = cells.iter().map(shown).collect();
        if row.iter().any(|shown| shown != "–") {
            table.row([server.to_owned()].into_iter().chain(row));
        }
    }
    (!cells.is_empty()).then(|| table.markdown())
}

fn cells<'r>(results: &'r Results, prefixes: &[&str]) -> Vec<&'r str> {
    let begins = |cell: &&str| prefixes.iter().any(|prefix| cell.starts_with(prefix));
    results.cells().into_iter().filter(begins).collect()
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

/// Every published figure in which another server's median is better than Throng's.
fn losses(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for (figure, heading, is_less_better, prefixes) in TABLES {
        if figure == BYTES {
            continue;
        }
        for cell in cells(results, prefixes) {
            let median = |server: &str| Some(results.entry(cell, server)?.spread(figure)?.median);
            let Some(own) = median("throng") else { continue };
            for entry in results.entries.iter().filter(|entry| entry.cell == cell) {
                let Some(other) = median(&entry.server) else { continue };
                if if is_less_better { other < own } else { other > own } {
                    let kind = if entry.is_socket_io { "" } else { " (not a Socket.IO server)" };
                    let (server, theirs, ours) = (&entry.server, number(other), number(own));
                    lines.push(format!(
                        "- {heading}, {cell}: {server}{kind} {theirs}, Throng {ours}"
                    ));
                }
            }
        }
    }
    if lines.is_empty() {
        lines.push("In none of these cells.".into());
    }
    lines
}

/// Void runs, failures, errors, and counts that do not agree.
fn doubts(results: &Results) -> Vec<String> {
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
                    "- {place}, repetition {repetition}: the server's own count differs from what arrived"
                ));
            }
        }
        for failure in &entry.failures {
            lines.push(format!("- {place}: failed, {failure}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::peers::outcome::Run;

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
        let page = page(&results).markdown("p");
        assert!(page.contains("| throng | 2.00 M |"), "{page}");
        assert!(page.contains("| faster | 3.00 M *void* |"), "{page}");
        assert!(page.contains("| bounded | ≥ 2.50 M |"), "{page}");
        let losses = page.split("not first").nth(1).unwrap();
        assert!(losses.contains("faster") && !losses.contains("slower"), "{page}");
        assert!(page.contains("repetition 1: void, generator_starved: x"));
    }
}

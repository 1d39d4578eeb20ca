//! Many users enter one room, 1000 per second, in each presence mode.

use std::time::Instant;

use throng_loadgen::report::Report;
use throng_loadgen::samples::Metric;
use throng_loadgen::scenario::{Presence, Scenario};

use super::watch::{Sample, Watch, fastest, sample, until_empty};
use super::{Lab, crowd, row};
use crate::result::{Part, Row};
use crate::server::Server;
use crate::target::Target;

pub const SIZES: [usize; 5] = [100, 300, 1_000, 3_000, 10_000];
/// Roster bytes a room may send per second: repeats, and updates.
#[derive(Clone, Copy)]
struct Budgets {
    repeats: u64,
    updates: u64,
}
/// The server's defaults.
const BUDGETS: Budgets = Budgets { repeats: 32 << 20, updates: 512 << 20 };
/// 10 000 whole rosters are 8 GB: repeated at the default budget that takes four minutes.
const LARGE_REPEATS: u64 = 512 << 20;
const LARGE_FROM: usize = 10_000;
const MODES: [(&str, Presence); 4] = [
    ("count", Presence::Count),
    ("delta", Presence::Delta),
    ("full", Presence::Full),
    (FULL_DEFAULT, Presence::Full),
];
/// Whole rosters at the default budget whatever the size: measured when asked for.
const FULL_DEFAULT: &str = "full-default";
const ROSTER_BYTES: &str = "throng_roster_bytes_total";
const UPDATE_BYTES: &str = "throng_roster_news_bytes_total";
const MEMBERS: &str = "throng_members";

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let mut part = Part::new(
        "Entering one room",
        format!(
            "N users come at 1000 per second, all into the same empty room: 10 000 take 10 s. They \
             receive whole rosters (full), changes (delta) or the number (count). CPU is everything \
             the server spends until the last roster is right, connections included, per join. \
             Roster bytes are the server's own count over all recipients: updates are first rosters \
             and the changes of delta members (PRES-57), the others are repeats. The last roster \
             must be right within the bound of the protocol (PRES-51) after the last join. A room \
             may send {} MiB/s of repeats and {} MiB/s of updates; whole rosters of {LARGE_FROM} are \
             8 GB, for which {} MiB/s of repeats are allowed here, but not in {FULL_DEFAULT}.",
            BUDGETS.repeats >> 20,
            BUDGETS.updates >> 20,
            LARGE_REPEATS >> 20
        ),
        &[
            ("cpu_us_per_join", "CPU per join, µs"),
            ("join_p99_ms", "p99 until joined, ms"),
            ("roster_kib_per_join", "roster KiB per join"),
            ("roster_mib", "roster MiB in all"),
            ("repeats_mib_per_s", "repeats: most in any 10 s, MiB/s"),
            ("updates_mib_per_s", "updates: most in any 10 s, MiB/s"),
            ("converged_p50_ms", "roster right after, p50, ms"),
            ("converged_ms", "last one, ms"),
            ("bound_ms", "bound, ms"),
            ("right_at_bound", "right at the bound, %"),
            ("unconverged", "wrong rosters in the end"),
        ],
    );
    let mut room = 0;
    for (presence_mode, presence) in MODES {
        let is_asked = lab.presence_mode.iter().any(|asked| asked == presence_mode);
        if !is_asked && (presence_mode == FULL_DEFAULT || !lab.presence_mode.is_empty()) {
            continue;
        }
        let wanted = |size: &usize| lab.sizes.is_empty() || lab.sizes.contains(size);
        let is_large = |size: &usize| presence_mode == "full" && *size >= LARGE_FROM;
        let (large, usual): (Vec<usize>, Vec<usize>) =
            SIZES.into_iter().filter(wanted).partition(is_large);
        for (sizes, repeats) in [(usual, BUDGETS.repeats), (large, LARGE_REPEATS)] {
            let Some(most) = sizes.last() else { continue };
            let budget = repeats.to_string();
            let environment = [("THRONG_PRESENCE__ROSTER_REPEAT_BYTES_PER_S", budget.as_str())];
            let server = lab.server(&["--shards", "1"], &environment)?;
            let tokens = lab.users(&server, scaled(lab, *most))?;
            let budgets = Budgets { repeats, ..BUDGETS };
            for size in &sizes {
                room += 1;
                let size = scaled(lab, *size);
                let row =
                    enter(lab, &server, &tokens, (presence_mode, presence), size, room, budgets)?;
                part.rows.push(row);
            }
        }
    }
    promises(&mut part);
    Ok(part)
}

/// Where a row stands in the table: by presence mode, then by size.
pub(super) fn order(row: &str) -> (usize, usize) {
    let (presence_mode, size) = row.split_once(" N=").unwrap_or((row, ""));
    let mode = MODES.iter().position(|(mode, _)| *mode == presence_mode);
    (mode.unwrap_or(usize::MAX), size.parse().unwrap_or(usize::MAX))
}

fn scaled(lab: &Lab, size: usize) -> usize {
    if lab.is_trial { size.div_ceil(50) } else { size }
}

fn enter(
    lab: &Lab,
    server: &Server,
    tokens: &std::path::Path,
    (presence_mode, presence): (&str, Presence),
    clients: usize,
    room: u32,
    budgets: Budgets,
) -> anyhow::Result<Row> {
    let before = sample(&server.metrics(), Instant::now())?;
    let watch = Watch::start(server.metrics());
    let name = format!("{clients} enter one room, {presence_mode}");
    let crowd = crowd("scale-entry", name, clients, tokens)?;
    let report = lab.measure(server, Scenario { first_room: room, presence, ..crowd })?;
    let samples = watch.stop();
    until_empty(&server.metrics())?;
    Ok(entered(presence_mode, clients, &report, &before, &samples, budgets))
}

fn entered(
    presence_mode: &str,
    clients: usize,
    report: &Report,
    before: &Sample,
    samples: &[Sample],
    budgets: Budgets,
) -> Row {
    // Leaving causes rosters too: only what was sent while all were in the room counts.
    let last_full = samples.iter().rposition(|sample| sample.get(MEMBERS) >= clients as f64);
    let samples = &samples[..last_full.map_or(0, |last| last + 1)];
    let bytes = samples.last().map(|last| last.get(ROSTER_BYTES) - before.get(ROSTER_BYTES));
    let bound_ms = bound_ms(presence_mode, clients, report.counters.roster_bytes_max, budgets);
    let converged = report.samples();
    let converged = converged.of(Metric::Convergence);
    let views = converged.len() + report.counters.unconverged;
    let in_time = converged.count_between(0, (bound_ms * 1e3) as u64);
    let mib = |bytes: f64| bytes / 1048576.0;
    let mut row = row(
        format!("{presence_mode} N={clients}"),
        report,
        &[
            ("cpu_us_per_join", report.server.cpu_us_per_connect),
            ("join_p99_ms", report.metric("entry.p99").map(|us| us / 1e3)),
            ("roster_kib_per_join", bytes.map(|bytes| bytes / 1024.0 / clients as f64)),
            ("roster_mib", bytes.map(mib)),
            ("repeats_mib_per_s", bytes.map(|_| mib(pace(samples, before, repeats)))),
            ("updates_mib_per_s", bytes.map(|_| mib(pace(samples, before, updates)))),
            ("repeats_budget_mib_per_s", Some(mib(budgets.repeats as f64))),
            ("updates_budget_mib_per_s", Some(mib(budgets.updates as f64))),
            ("converged_p50_ms", report.metric("convergence.p50").map(|us| us / 1e3)),
            ("converged_ms", report.metric("convergence.max").map(|us| us / 1e3)),
            ("bound_ms", Some(bound_ms)),
            ("right_at_bound", Some(100.0 * in_time as f64 / views.max(1) as f64)),
            ("unconverged", Some(report.counters.unconverged as f64)),
        ],
    );
    if bytes.is_none() {
        row.void_reasons.push("metrics: never read while all were in the room".into());
    }
    row
}

fn repeats(sample: &Sample) -> f64 {
    sample.get(ROSTER_BYTES) - sample.get(UPDATE_BYTES)
}

fn updates(sample: &Sample) -> f64 {
    sample.get(UPDATE_BYTES)
}

/// PRES-51 once all have entered. A roster's size is that of the largest roster event met.
fn bound_ms(presence_mode: &str, clients: usize, roster_bytes: u64, budgets: Budgets) -> f64 {
    let (roster, clients) = ((roster_bytes as f64).max(1024.0), clients as f64);
    let (repeats, updates) = match presence_mode {
        "full" | FULL_DEFAULT => (roster * clients, roster * clients),
        "delta" => (1024.0 * clients, roster * clients),
        _ => (1024.0 * clients, 0.0),
    };
    50.0 + 2e3 * repeats / budgets.repeats as f64 + 2e3 * updates / budgets.updates as f64
}

/// Bytes per second in the busiest 10 s, the span of the budget; a shorter run is one span.
fn pace(samples: &[Sample], before: &Sample, bytes: fn(&Sample) -> f64) -> f64 {
    let is_long = samples.first().zip(samples.last()).is_some_and(|(f, l)| l.at_s - f.at_s > 10.0);
    if is_long {
        fastest(samples, bytes, 10.0)
    } else {
        samples.last().map_or(0.0, |last| (bytes(last) - bytes(before)) / 10.0)
    }
}

/// For each presence mode the run that comes nearest to its bound.
pub(super) fn promises(part: &mut Part) {
    let mut targets = Vec::new();
    for (presence_mode, _) in MODES {
        let nearest = |figure: &str, bound: &str| {
            let rows = part.rows.iter().filter(|row| {
                row.void_reasons.is_empty() && row.name.split(' ').next() == Some(presence_mode)
            });
            rows.filter_map(|row| Some((row, *row.figures.get(figure)?, *row.figures.get(bound)?)))
                .max_by(|(_, a, a_bound), (_, b, b_bound)| (a / a_bound).total_cmp(&(b / b_bound)))
        };
        for kind in ["repeats", "updates"] {
            let (figure, budget) =
                (format!("{kind}_mib_per_s"), format!("{kind}_budget_mib_per_s"));
            if let Some((row, most, budget)) = nearest(&figure, &budget) {
                let what = format!("rosters, {kind}, in any 10 s, nearest to budget: {}", row.name);
                targets.push(Target::at_most(what, most, budget, "MiB/s"));
            }
        }
        if let Some((row, took, bound)) = nearest("converged_ms", "bound_ms") {
            let what = format!("last roster right, nearest to its bound: {}", row.name);
            targets.push(Target::at_most(what, took, bound, "ms"));
        }
    }
    let right = part.rows.iter().filter_map(|row| row.figures.get("right_at_bound"));
    if let Some(least) = right.copied().reduce(f64::min) {
        let what = "members with the right view at the bound, the least of all entries";
        targets.push(Target::at_least(what, least, 100.0, "%"));
    }
    let wrong = part.rows.iter().filter_map(|row| row.figures.get("unconverged")).sum();
    targets.push(Target::at_most("wrong rosters at rest, all entries", wrong, 0.0, ""));
    part.targets = targets;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_metrics_is_void() {
        let row = entered("count", 10, &Report::default(), &Sample::default(), &[], BUDGETS);
        assert_eq!(row.void_reasons.len(), 1);
        assert_eq!(row.figures["right_at_bound"], 0.0);
    }

    #[test]
    fn the_bound_is_that_of_the_protocol() {
        let budgets = Budgets { repeats: 1 << 20, updates: 2 << 20 };
        assert_eq!(bound_ms("count", 1024, 0, budgets), 2050.0);
        assert_eq!(bound_ms("delta", 1024, 2048, budgets), 4050.0);
        assert_eq!(bound_ms("full", 1024, 2048, budgets), 6050.0);
    }
}

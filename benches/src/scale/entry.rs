//! Many enter one room, a thousand per second, hearing whole rosters, changes or the number.

use std::time::Instant;

use throng_loadgen::report::Report;
use throng_loadgen::scenario::{Presence, Scenario};

use super::watch::{Sample, Watch, fastest, sample, until_empty};
use super::{Lab, crowd, row};
use crate::result::{Part, Row};
use crate::server::Server;
use crate::target::Target;

const SIZES: [usize; 5] = [100, 300, 1_000, 3_000, 10_000];
const JOINS_PER_S: f64 = 1_000.0;
/// The server's default, per room and second.
const BUDGET: u64 = 32 << 20;
/// Whole rosters of the largest room are 10 GB: at the default budget that takes ten minutes, and
/// those of 3000 take one.
const LARGE_BUDGET: u64 = 512 << 20;
const ROSTER_BYTES: &str = "throng_roster_bytes_total";
const MEMBERS: &str = "throng_members";

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let mut part = Part::new(
        "Entering one room",
        format!(
            "N people with an account each come at {JOINS_PER_S} per second, all into the same \
             empty room: 10 000 take 10 s. They hear whole rosters (full), changes (delta) or the \
             number (count). CPU is everything the server spends until the last roster is right, \
             connections included, per join. Roster bytes are the server's own count, recipients \
             included. The last roster must be right within the bound of the protocol (PRES-51) \
             after the last join. The budget of a room is {} MiB/s; 10 000 whole rosters are 10 GB, \
             so whole rosters of 3000 and more have {} MiB/s.",
            BUDGET >> 20,
            LARGE_BUDGET >> 20
        ),
        &[
            ("cpu_us_per_join", "CPU per join, µs"),
            ("join_p99_ms", "p99 until in, ms"),
            ("roster_kib_per_join", "roster KiB per join"),
            ("roster_mib", "roster MiB in all"),
            ("roster_mib_per_s", "most in any 10 s, MiB/s"),
            ("budget_mib_per_s", "budget, MiB/s"),
            ("converged_ms", "last roster right after, ms"),
            ("bound_ms", "bound, ms"),
            ("unconverged", "wrong rosters"),
        ],
    );
    let mut room = 0;
    let ways = [("count", Presence::Count), ("delta", Presence::Delta), ("full", Presence::Full)];
    for (hearing, presence) in ways {
        if !lab.hearing.is_empty() && !lab.hearing.iter().any(|asked| asked == hearing) {
            continue;
        }
        let sizes = SIZES.map(|size| if lab.is_trial { size.div_ceil(50) } else { size });
        let server = lab.server(&["--shards", "1"], &[])?;
        let is_full = presence == Presence::Full;
        let (usual, largest) = sizes.split_at(sizes.len() - if is_full { 2 } else { 0 });
        let tokens = lab.users(&server, usual.iter().copied().max().unwrap_or(1))?;
        for size in usual {
            room += 1;
            part.rows.push(enter(lab, &server, &tokens, (hearing, presence), *size, room, BUDGET)?);
        }
        drop(server);
        let Some(most) = largest.last() else { continue };
        let budget = LARGE_BUDGET.to_string();
        let environment = [("THRONG_PRESENCE__BUDGET_BYTES_PER_S", budget.as_str())];
        let server = lab.server(&["--shards", "1"], &environment)?;
        let tokens = lab.users(&server, *most)?;
        for size in largest {
            room += 1;
            let row = enter(lab, &server, &tokens, (hearing, presence), *size, room, LARGE_BUDGET)?;
            part.rows.push(row);
        }
    }
    promises(&mut part);
    Ok(part)
}

fn enter(
    lab: &Lab,
    server: &Server,
    tokens: &std::path::Path,
    (hearing, presence): (&str, Presence),
    clients: usize,
    room: u32,
    budget: u64,
) -> anyhow::Result<Row> {
    let before = sample(&server.metrics(), Instant::now())?;
    let watch = Watch::start(server.metrics());
    let mut crowd = crowd(format!("{clients} enter one room, {hearing}"), clients, tokens);
    crowd.connect.rate = JOINS_PER_S;
    let report = lab.measure(
        server,
        Scenario {
            first_room: room,
            presence,
            // Enough for the metrics to be read after the last roster.
            duration_s: 1.5,
            warmup_s: 0.1,
            ..crowd
        },
    )?;
    let samples = watch.stop();
    until_empty(&server.metrics())?;
    Ok(entered(hearing, clients, &report, &before, &samples, budget))
}

fn entered(
    hearing: &str,
    clients: usize,
    report: &Report,
    before: &Sample,
    samples: &[Sample],
    budget: u64,
) -> Row {
    // When they go, there are rosters again: only what was sent while all were there counts.
    let full_house = samples.iter().rposition(|sample| sample.get(MEMBERS) >= clients as f64);
    let samples = &samples[..full_house.map_or(0, |last| last + 1)];
    let bytes = samples.last().map(|last| last.get(ROSTER_BYTES) - before.get(ROSTER_BYTES));
    // Full members weigh with the roster's size, which the largest roster event met has.
    let roster_bytes = match hearing {
        "full" => (report.counters.roster_bytes_max as f64).max(1024.0),
        _ => 1024.0,
    };
    let bound_ms = 50.0 + 2e3 * roster_bytes * clients as f64 / budget as f64;
    let mib = |bytes: f64| bytes / 1048576.0;
    let mut row = row(
        format!("{hearing} N={clients}"),
        report,
        &[
            ("cpu_us_per_join", report.server.cpu_us_per_connect),
            ("join_p99_ms", report.metric("entry.p99").map(|us| us / 1e3)),
            ("roster_kib_per_join", bytes.map(|bytes| bytes / 1024.0 / clients as f64)),
            ("roster_mib", bytes.map(mib)),
            ("roster_mib_per_s", bytes.map(|all| mib(pace(samples, all)))),
            ("budget_mib_per_s", Some(mib(budget as f64))),
            ("converged_ms", report.metric("convergence.max").map(|us| us / 1e3)),
            ("bound_ms", Some(bound_ms)),
            ("unconverged", Some(report.counters.unconverged as f64)),
        ],
    );
    if bytes.is_none() {
        row.void_reasons.push("metrics: never read while all were in the room".into());
    }
    row
}

/// Bytes per second in the busiest 10 s, which the budget speaks of; a shorter run had all in one.
fn pace(samples: &[Sample], all: f64) -> f64 {
    let is_long = samples.first().zip(samples.last()).is_some_and(|(f, l)| l.at_s - f.at_s > 10.0);
    if is_long { fastest(samples, ROSTER_BYTES, 10.0) } else { all / 10.0 }
}

/// For each way of hearing the run that comes nearest to its bound.
pub(super) fn promises(part: &mut Part) {
    let mut targets = Vec::new();
    for hearing in ["count", "delta", "full"] {
        let nearest = |figure: &str, bound: &str| {
            let rows = part.rows.iter().filter(|row| {
                row.void_reasons.is_empty() && row.name.split(' ').next() == Some(hearing)
            });
            rows.filter_map(|row| Some((row, *row.figures.get(figure)?, *row.figures.get(bound)?)))
                .max_by(|(_, a, a_bound), (_, b, b_bound)| (a / a_bound).total_cmp(&(b / b_bound)))
        };
        if let Some((row, most, budget)) = nearest("roster_mib_per_s", "budget_mib_per_s") {
            let what = format!("roster traffic in any 10 s, nearest to its budget: {}", row.name);
            targets.push(Target::at_most(what, most, budget, "MiB/s"));
        }
        if let Some((row, took, bound)) = nearest("converged_ms", "bound_ms") {
            let what = format!("last roster right, nearest to its bound: {}", row.name);
            targets.push(Target::at_most(what, took, bound, "ms"));
        }
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
        let row = entered("count", 10, &Report::default(), &Sample::default(), &[], BUDGET);
        assert_eq!(row.void_reasons.len(), 1);
        assert_eq!(row.figures["bound_ms"], 50.0 + 2e3 * 10_240.0 / (32 << 20) as f64);
    }
}

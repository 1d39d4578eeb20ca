//! Memory and CPU of connections that have joined a room and say nothing.

use throng_loadgen::report::Report;
use throng_loadgen::scenario::Scenario;

use super::result::Part;
use super::{Lab, crowd, row};
use crate::target::Target;

const CLIENTS: usize = 100_000;
const ROOM: usize = 100;
/// Two heartbeat intervals of 25 s: every connection is pinged twice in it, whenever it came.
const IDLE_S: f64 = 50.0;

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let clients = lab.clients(CLIENTS);
    let idle_s = if lab.is_trial { 3.0 } else { IDLE_S };
    let processes = clients.div_ceil(lab.clients_per_process());
    let mut part = Part::new(
        "Idle connections",
        format!(
            "{clients} people with an account each join rooms of {ROOM} over WebSocket and hear \
             whole rosters; then nothing but heartbeats (every 25 s) for {idle_s} s. Memory is the \
             growth of the server's RSS from before the first connection to after the last roster; \
             what the kernel keeps for the sockets is not in it. {}",
            how_many(processes, lab.descriptors)
        ),
        &[
            ("joined", "joined"),
            ("rss_per_connection_bytes", "RSS per connection, bytes"),
            ("rss_mib", "RSS, MiB"),
            ("cpu_percent", "idle CPU, % of a core"),
            ("cpu_us_per_heartbeat", "CPU per heartbeat, µs"),
            ("unconverged", "wrong rosters"),
            ("disconnects", "disconnects"),
        ],
    );
    let reports = all_idle(lab, clients / processes, processes, idle_s)?;
    let joined: u64 = reports.iter().map(|report| report.joined).sum();
    let total = |of: &dyn Fn(&Report) -> Option<f64>| {
        reports.iter().map(of).sum::<Option<f64>>().unwrap_or(f64::NAN)
    };
    let grown = total(&|report| {
        report.server.rss_per_connection_bytes.map(|each| each * report.joined as f64)
    });
    let rss = grown / joined as f64;
    let cpu_share = total(&|report| report.server.cpu_share);
    let heartbeats_per_s = joined as f64 / 25.0;
    let mut row = row(
        format!("N={clients}"),
        &reports[0],
        &[
            ("joined", Some(joined as f64)),
            ("rss_per_connection_bytes", Some(rss)),
            ("rss_mib", Some(total(&|r| r.server.rss_bytes.map(|b| b as f64 / 1048576.0)))),
            ("cpu_percent", Some(cpu_share * 100.0)),
            ("cpu_us_per_heartbeat", Some(cpu_share * 1e6 / heartbeats_per_s)),
            ("unconverged", Some(total(&|r| Some(r.counters.unconverged as f64)))),
            ("disconnects", Some(total(&|r| Some(r.counters.disconnects as f64)))),
        ],
    );
    for report in &reports[1..] {
        row.void_reasons.extend(report.void_reasons.iter().cloned());
        for (kind, count) in &report.errors {
            *row.errors.entry(kind.clone()).or_insert(0) += count;
        }
    }
    if row.void_reasons.is_empty() {
        let what = format!("RSS per idle joined connection, N={clients}");
        part.targets.push(Target::at_most(what, rss, 1536.0, "bytes"));
    }
    part.rows.push(row);
    Ok(part)
}

fn how_many(processes: usize, descriptors: u64) -> String {
    match processes {
        1 => "One server process, one shard.".into(),
        _ => format!(
            "A process may have {descriptors} descriptors on this machine and nobody may raise \
             that, so {processes} server processes of one shard each share the connections and the \
             core."
        ),
    }
}

/// All at the same time, each server with a generator of its own.
fn all_idle(
    lab: &Lab,
    clients: usize,
    processes: usize,
    idle_s: f64,
) -> anyhow::Result<Vec<Report>> {
    let servers: Vec<_> = (0..processes)
        .map(|_| lab.server(&["--shards", "1"], &[]))
        .collect::<anyhow::Result<_>>()?;
    let tokens: Vec<_> =
        servers.iter().map(|server| lab.users(server, clients)).collect::<anyhow::Result<_>>()?;
    std::thread::scope(|scope| {
        let runs: Vec<_> = servers
            .iter()
            .zip(tokens)
            .map(|(server, tokens)| {
                let scenario = Scenario {
                    rooms: clients.div_ceil(ROOM),
                    duration_s: idle_s + 1.0,
                    warmup_s: 1.0,
                    ..crowd(format!("{clients} idle connections"), clients, &tokens)
                };
                scope.spawn(move || lab.measure(server, scenario))
            })
            .collect();
        let ended = runs.into_iter().map(|run| {
            run.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a measuring thread panicked")))
        });
        ended.collect()
    })
}

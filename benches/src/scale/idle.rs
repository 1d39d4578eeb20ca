//! Memory and CPU of connections that have joined a room and send nothing.

use throng_loadgen::report::Report;
use throng_loadgen::scenario::Presence;

use super::{Lab, crowd, row};
use crate::result::{Part, Row};
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
            "{clients} users join rooms of {ROOM} over WebSocket and receive the number of \
             members, or fewer users receive whole rosters; then nothing but heartbeats \
             (every 25 s) for {idle_s} s, or 5 s with whole rosters. Memory is the \
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
    let each = clients / processes;
    let rows = [
        (format!("count, N={clients}"), Presence::Count, processes, idle_s),
        (format!("full, N={each}"), Presence::Full, 1, idle_s.min(5.0)),
    ];
    for (name, presence, processes, idle_s) in rows {
        let reports = all_idle(lab, each, processes, presence, idle_s)?;
        let row = added(name, &reports);
        let rss = row.figures.get("rss_per_connection_bytes");
        if let Some(rss) = rss.filter(|_| row.void_reasons.is_empty()) {
            let what = format!("RSS per idle joined connection, {}", row.name);
            part.targets.push(Target::at_most(what, *rss, 1536.0, "bytes"));
        }
        part.rows.push(row);
    }
    Ok(part)
}

/// One row for all processes together.
fn added(name: String, reports: &[Report]) -> Row {
    let joined: u64 = reports.iter().map(|report| report.joined).sum();
    let total = |of: &dyn Fn(&Report) -> Option<f64>| reports.iter().map(of).sum::<Option<f64>>();
    let grown = total(&|report| {
        report.server.rss_per_connection_bytes.map(|each| each * report.joined as f64)
    });
    // A stretch shorter than a heartbeat's interval may have none in it.
    let has_heartbeats = reports[0].measured_s >= 25.0;
    let cpu_share = total(&|report| report.server.cpu_share).filter(|_| has_heartbeats);
    let heartbeats_per_s = joined as f64 / 25.0;
    let mut row = row(
        name,
        &reports[0],
        &[
            ("joined", Some(joined as f64)),
            ("rss_per_connection_bytes", grown.map(|grown| grown / joined as f64)),
            ("rss_mib", total(&|r| r.server.rss_bytes.map(|bytes| bytes as f64 / 1048576.0))),
            ("cpu_percent", cpu_share.map(|share| share * 100.0)),
            ("cpu_us_per_heartbeat", cpu_share.map(|share| share * 1e6 / heartbeats_per_s)),
            ("unconverged", total(&|r| Some(r.counters.unconverged as f64))),
            ("disconnects", total(&|r| Some(r.counters.disconnects as f64))),
        ],
    );
    for report in &reports[1..] {
        row.void_reasons.extend(report.void_reasons.iter().cloned());
        for (kind, count) in &report.errors {
            *row.errors.entry(kind.clone()).or_insert(0) += count;
        }
    }
    row
}

fn how_many(processes: usize, descriptors: u64) -> String {
    match processes {
        1 => "One server process, one shard.".into(),
        _ => format!(
            "A process may have {descriptors} descriptors on this machine, a limit that cannot be \
             raised, so {processes} server processes of one shard each share the connections and the \
             core."
        ),
    }
}

/// All at the same time, each server with a generator of its own.
fn all_idle(
    lab: &Lab,
    clients: usize,
    processes: usize,
    presence: Presence,
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
                let name = format!("{clients} idle connections");
                let mut scenario = crowd("scale-idle", name, clients, &tokens)?;
                scenario.rooms = clients.div_ceil(ROOM);
                scenario.presence = presence;
                scenario.duration_s = idle_s + scenario.warmup_s;
                Ok(scope.spawn(move || lab.measure(server, scenario)))
            })
            .collect::<anyhow::Result<_>>()?;
        let ended = runs.into_iter().map(|run| {
            run.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a measuring thread panicked")))
        });
        ended.collect()
    })
}

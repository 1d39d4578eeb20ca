//! Memory and CPU of connections that have joined a room and say nothing.

use throng_loadgen::scenario::{Connect, Scenario, Users};

use super::result::Part;
use super::{Lab, row, sources};
use crate::target::Target;

const CLIENTS: usize = 100_000;
const ROOM: usize = 100;
/// Two heartbeat intervals of 25 s: every connection is pinged twice in it, whenever it came.
const IDLE_S: f64 = 50.0;

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let clients = lab.clients(CLIENTS);
    let idle_s = if lab.is_trial { 3.0 } else { IDLE_S };
    let server = lab.server(&["--shards", "1"], &[])?;
    let tokens = lab.users(&server, clients)?;
    let report = lab.measure(
        &server,
        Scenario {
            name: format!("{clients} idle connections"),
            clients,
            rooms: clients / ROOM,
            publishers: 0,
            users: Users { tokens: Some(tokens), ..Users::default() },
            connect: Connect { concurrency: 256, converge_ms: 120_000, ..Connect::default() },
            duration_s: idle_s + 1.0,
            warmup_s: 1.0,
            sources: sources(),
            ..Scenario::default()
        },
    )?;
    let mut part = Part::new(
        "Idle connections",
        format!(
            "{clients} people with an account each join {} rooms of {ROOM} over WebSocket and hear \
             whole rosters; then nothing but heartbeats (every 25 s) for {idle_s} s. Memory is the \
             growth of the server's RSS from before the first connection to after the last roster; \
             what the kernel keeps for the sockets is not in it.",
            clients / ROOM
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
    let heartbeats = clients as f64 * report.measured_s / 25.0;
    let cpu_share = report.server.cpu_share;
    let rss = report.server.rss_per_connection_bytes;
    part.rows.push(row(
        format!("N={clients}"),
        &report,
        &[
            ("joined", Some(report.joined as f64)),
            ("rss_per_connection_bytes", rss),
            ("rss_mib", report.server.rss_bytes.map(|bytes| bytes as f64 / 1048576.0)),
            ("cpu_percent", cpu_share.map(|share| share * 100.0)),
            ("cpu_us_per_heartbeat", cpu_share.map(|s| s * report.measured_s * 1e6 / heartbeats)),
            ("unconverged", Some(report.counters.unconverged as f64)),
            ("disconnects", Some(report.counters.disconnects as f64)),
        ],
    ));
    if let Some(rss) = rss.filter(|_| !report.void) {
        let what = format!("RSS per idle joined connection, N={clients}");
        part.targets.push(Target::at_most(what, rss, 1536.0, "bytes"));
    }
    Ok(part)
}

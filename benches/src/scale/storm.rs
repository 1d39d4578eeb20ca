//! All clients are cut off at once and come back within ten seconds.

use anyhow::Context as _;

use super::{Lab, crowd, row};
use crate::result::Part;
use crate::target::Target;

const CLIENTS: usize = 20_000;
const ROOM: usize = 100;
const OVER_S: f64 = 10.0;

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let clients = lab.clients_of_one(CLIENTS);
    // Where fewer connections are allowed, they come as densely.
    let over_s = OVER_S * clients as f64 / lab.clients(CLIENTS) as f64;
    let server = lab.server(&["--shards", "1"], &[])?;
    let tokens = lab.users(&server, clients)?;
    let name = format!("{clients} reconnect within {over_s:.1} s");
    let mut scenario = crowd("scale-storm", name, clients, &tokens)?;
    scenario.rooms = (clients / ROOM).max(1);
    let storm = scenario.phases.last_mut().context("scale-storm.toml has phases")?;
    (storm.duration_s, storm.over_s) = (over_s + 2.0, Some(over_s));
    let report = lab.measure(&server, scenario)?;
    let returned = report.latencies_us.get("return").map_or(0, |waited| waited.count);
    let ms = |name: &str| report.metric(name).map(|us| us / 1e3);
    let mut part = Part::new(
        "Reconnect storm",
        format!(
            "{clients} users in rooms of {ROOM}, whole rosters; all connections are cut off \
             without a close frame, and each comes back at a random moment of the next {over_s:.1} s. \
             The wait is from that moment to the answered join. When nothing changes any more, \
             rosters are compared with the generator's own list of who is in the room."
        ),
        &[
            ("returned", "came back"),
            ("return_p50_ms", "p50 until joined, ms"),
            ("return_p99_ms", "p99, ms"),
            ("return_max_ms", "max, ms"),
            ("convergence_max_ms", "last roster right after, ms"),
            ("unconverged", "wrong rosters"),
            ("server_percent", "server's core, %"),
        ],
    );
    let counters = &report.counters;
    let failed = counters.connect_failures + counters.absent + counters.unconverged;
    part.rows.push(row(
        format!("N={clients}"),
        &report,
        &[
            ("returned", Some(returned as f64)),
            ("return_p50_ms", ms("return.p50")),
            ("return_p99_ms", ms("return.p99")),
            ("return_max_ms", ms("return.max")),
            ("convergence_max_ms", ms("convergence.max")),
            ("unconverged", Some(report.counters.unconverged as f64)),
            ("server_percent", report.server.cpu_share.map(|share| share * 100.0)),
        ],
    ));
    if let Some(p99_ms) = ms("return.p99").filter(|_| !report.void) {
        let what = format!("p99 until joined, storm of {clients}");
        part.targets.push(Target::at_most(what, p99_ms / 1e3, 2.0, "s"));
        let what = "clients that came back in the storm";
        part.targets.push(Target::at_least(what, returned as f64, clients as f64, ""));
        let what = "failed connects, absent clients and wrong rosters after the storm";
        part.targets.push(Target::at_most(what, failed as f64, 0.0, ""));
    }
    Ok(part)
}

//! Everybody is cut off at once and comes back within ten seconds.

use throng_loadgen::phase::{Kind, Phase};
use throng_loadgen::scenario::Scenario;

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
    let storm = Phase {
        kind: Kind::Reconnect,
        duration_s: over_s + 2.0,
        fraction: Some(1.0),
        over_s: Some(over_s),
        ..Phase::default()
    };
    let report = lab.measure(
        &server,
        Scenario {
            rooms: (clients / ROOM).max(1),
            phases: vec![Phase::hold("calm", 1.0), storm],
            warmup_s: 0.5,
            drain_s: 30.0,
            ..crowd(format!("{clients} reconnect within {over_s:.1} s"), clients, &tokens)
        },
    )?;
    let returned = report.latencies_us.get("return").map_or(0, |waited| waited.count);
    let ms = |name: &str| report.metric(name).map(|us| us / 1e3);
    let mut part = Part::new(
        "Reconnect storm",
        format!(
            "{clients} people in rooms of {ROOM}, whole rosters; all connections are cut off \
             without a word, and each comes back at a random moment of the next {over_s:.1} s. The \
             wait is from that moment to the answered join. Rosters are compared, when all is \
             still, with who is there by the generator's own accounts."
        ),
        &[
            ("returned", "came back"),
            ("return_p50_ms", "p50 until in, ms"),
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
        let what = format!("p99 until in, storm of {clients}");
        part.targets.push(Target::at_most(what, p99_ms / 1e3, 2.0, "s"));
        let what = "clients that came back in the storm";
        part.targets.push(Target::at_least(what, returned as f64, clients as f64, ""));
        let what = "failed connects, absent clients and wrong rosters after the storm";
        part.targets.push(Target::at_most(what, failed as f64, 0.0, ""));
    }
    Ok(part)
}

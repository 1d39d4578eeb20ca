//! How many clients per second connect and join.

use throng_loadgen::scenario::Scenario;

use super::watch::until_empty;
use super::{Lab, crowd, row};
use crate::result::Part;
use crate::target::Target;

const CLIENTS: usize = 10_000;
/// Members of a room where clients join many.
const ROOM: usize = 100;
const USERS: usize = 1_000;

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let clients = lab.clients_of_one(CLIENTS);
    let server = lab.server(&["--shards", "1"], &[])?;
    let tokens = lab.users(&server, lab.clients(USERS))?;
    let mut part = Part::new(
        "Connect rate",
        format!(
            "{clients} clients with tokens of {} users, 256 at once: TCP, WebSocket upgrade, \
             Engine.IO open, Socket.IO CONNECT; then nothing, or a join of one room of all, or of \
             rooms of {ROOM}, where every join is broadcast to its room at once (presence: count). One \
             shard on its core, one generator thread on another: where the generator's core is \
             full, the rate is the generator's, and the server's CPU time says what one core of it \
             could do.",
            lab.clients(USERS)
        ),
        &[
            ("connects_per_s", "connects/s, measured"),
            ("server_cpu_us", "server CPU per connect, µs"),
            ("connects_per_core_s", "connects/s a server core can do"),
            ("generator_percent", "generator's core, %"),
            ("entry_p99_ms", "p99 until in, ms"),
        ],
    );
    let many = (clients / ROOM).max(1);
    let kinds =
        [("connect", 0, 1), ("connect, join one room", 1, 1), ("connect, join rooms", 1, many)];
    for _ in 0..lab.repetitions {
        for (name, rooms_per_client, rooms) in kinds {
            let crowd = crowd("scale-connect", name.into(), clients, &tokens)?;
            let report = lab.measure(&server, Scenario { rooms, rooms_per_client, ..crowd })?;
            until_empty(&server.metrics())?;
            let cpu_us = report.server.cpu_us_per_connect;
            let busy = report.generator.threads.iter().map(|thread| thread.connecting);
            part.rows.push(row(
                name,
                &report,
                &[
                    ("connects_per_s", Some(report.connects_per_s)),
                    ("server_cpu_us", cpu_us),
                    ("connects_per_core_s", cpu_us.map(|us| 1e6 / us)),
                    ("generator_percent", Some(busy.fold(0.0, f64::max) * 100.0)),
                    ("entry_p99_ms", report.metric("entry.p99").map(|us| us / 1e3)),
                ],
            ));
        }
    }
    for (name, ..) in kinds {
        for (figure, what) in
            [("connects_per_s", "measured"), ("connects_per_core_s", "by the server's CPU time")]
        {
            if let Some(rate) = part.median(name, figure) {
                let what = format!("{name}: per second and core, {what}");
                part.targets.push(Target::at_least(what, rate, 25_000.0, ""));
            }
        }
    }
    Ok(part)
}

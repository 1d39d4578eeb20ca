//! What a second shard costs: four rooms of 250 on two shards beside one room of 1000 on one.

use throng_loadgen::scenario::{Connect, Load, Mode, Presence, Scenario, Users};

use super::{Lab, row};
use crate::result::Part;
use crate::target::Target;

const CLIENTS: usize = 1_000;

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let mut part = Part::new(
        "Rooms over shards",
        "1000 members, 16 publishers with 4 messages in flight per room, closed loop, 128-byte \
         texts. All shards share one core, since the generator needs the other: CPU time per \
         delivery is what can be compared, the rates cannot. With two shards half of the \
         deliveries go to sessions of the other shard than the room's, and both shards take turns \
         on the core."
            .into(),
        &[
            ("cpu_us_per_delivery", "server CPU per delivery, µs"),
            ("deliveries_per_s", "deliveries/s"),
            ("p50_us", "p50, µs"),
            ("completeness", "completeness"),
        ],
    );
    let kinds =
        [("1 room, 1 shard", 1, "1"), ("4 rooms, 1 shard", 4, "1"), ("4 rooms, 2 shards", 4, "2")];
    for _ in 0..lab.repetitions {
        for (name, rooms, shards) in kinds {
            let server = lab.server(&["--shards", shards], &[])?;
            let mut report = lab.measure(
                &server,
                Scenario {
                    name: name.into(),
                    clients: CLIENTS,
                    rooms,
                    presence: Presence::Count,
                    publishers: 16 * rooms,
                    users: Users { register: 200, ..Users::default() },
                    connect: Connect { concurrency: 256, ..Connect::default() },
                    load: Load {
                        mode: Mode::Closed,
                        outstanding: 4,
                        acks: false,
                        ..Load::default()
                    },
                    duration_s: if lab.is_trial { 1.5 } else { 5.0 },
                    warmup_s: if lab.is_trial { 0.5 } else { 1.5 },
                    ..Scenario::default()
                },
            )?;
            // A saturated generator slows the loop down; CPU per delivery is not touched by that.
            report.void_reasons.retain(|why| !why.starts_with("generator_saturated"));
            part.rows.push(row(
                name,
                &report,
                &[
                    ("cpu_us_per_delivery", report.server.cpu_us_per_delivery),
                    ("deliveries_per_s", Some(report.deliveries_per_s)),
                    ("p50_us", Some(report.latency_us.p50)),
                    ("completeness", Some(report.completeness)),
                ],
            ));
        }
    }
    // Beside the same rooms on one shard, it is the second shard alone that differs.
    let beside = [(kinds[0].0, "one room on one"), (kinds[1].0, "four rooms on one")];
    for (other, said) in beside {
        let cpu = |name: &str| part.median(name, "cpu_us_per_delivery");
        if let Some((one, four)) = cpu(other).zip(cpu(kinds[2].0)) {
            let what = format!("CPU per delivery, four rooms on two shards beside {said}");
            part.targets.push(Target::at_most(what, four / one, 1.25, "×"));
        }
    }
    Ok(part)
}

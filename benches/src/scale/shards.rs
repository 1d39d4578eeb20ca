//! What a second shard costs: four rooms of 250 on two shards, compared with one shard.

use super::{Lab, row};
use crate::measure::scenario;
use crate::result::Part;
use crate::target::Target;

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
            let mut scenario = scenario("scale-shards")?;
            scenario.name = name.into();
            scenario.rooms = rooms;
            scenario.publishers *= rooms;
            if lab.is_trial {
                (scenario.duration_s, scenario.warmup_s) = (1.5, 0.5);
            }
            let mut report = lab.measure(&server, scenario)?;
            // A saturated generator slows the loop down; CPU per delivery is not touched by that.
            report.void_reasons.retain(|why| !why.starts_with("generator_saturated"));
            part.rows.push(row(
                name,
                &report,
                &[
                    ("cpu_us_per_delivery", report.server.cpu_us_per_delivery),
                    ("deliveries_per_s", Some(report.deliveries_per_s)),
                    ("p50_us", Some(report.latency_us.p50)),
                    ("completeness", report.completeness),
                ],
            ));
        }
    }
    // From the same rooms on one shard, only the second shard differs.
    let others = [(kinds[0].0, "one room on one"), (kinds[1].0, "four rooms on one")];
    for (other, what) in others {
        let cpu = |name: &str| part.median(name, "cpu_us_per_delivery");
        if let Some((one, four)) = cpu(other).zip(cpu(kinds[2].0)) {
            let what = format!("CPU per delivery, four rooms on two shards / {what}");
            part.targets.push(Target::at_most(what, four / one, 1.25, "×"));
        }
    }
    Ok(part)
}

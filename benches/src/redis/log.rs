//! The log of the rooms through Redis alone, measured by an example of the backplane.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{COLUMNS, Lab, Series};
use crate::result::Part;

pub(super) fn part() -> Part {
    let text = "One room's log, without nodes: entries of one message of 128 characters are \
                appended in batches of 512 while another connection reads them; then one at a time, \
                from the append to the end of the read; then events of other programs up to where \
                they are handed to the shards."
        .into();
    Part { name: "log".into(), ..Part::new("Through Redis alone", text, &COLUMNS) }
}

pub(super) fn run(lab: &Lab, series: &mut Series) -> anyhow::Result<()> {
    let output = throng_kit::own(&lab.rates).arg(&lab.redis).output().context("start `rates`")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`rates` ended with {}: {errors}", output.status);
    let figures: Value = serde_json::from_slice(&output.stdout).context("the output of `rates`")?;
    for (name, figure) in [
        ("log_appended_per_s", "appended, messages/s"),
        ("log_read_per_s", "read meanwhile, messages/s"),
        ("hop_p50_us", "one at a time, p50, µs"),
        ("hop_p99_us", "one at a time, p99, µs"),
        ("events_taken_per_s", "events of other programs, decoded, events/s"),
    ] {
        series.add(figure, figures[name].as_f64().with_context(|| format!("no {name}"))?);
    }
    Ok(())
}

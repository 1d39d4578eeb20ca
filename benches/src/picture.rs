//! The results as one picture: bars, longest on top is not always best, so each panel says which is.

use std::fmt::Write as _;

use throng_loadgen::svg::{COLOURS, escape};

use crate::outcome::Results;
use crate::table::number;

/// (cell begins with, figure, title)
const PANELS: [(&str, &str, &str); 6] = [
    ("16x4 N=1000", "deliveries_per_s", "Deliveries per second (more is better)"),
    ("1x1 N=1000", "server.cpu_us_per_delivery", "Server CPU per delivery, µs (less is better)"),
    ("fixed", "latency_us.p99", "Delivery latency p99, µs (less is better)"),
    ("80%", "latency_us.p99", "Delivery latency p99, µs (less is better)"),
    (
        "idle",
        "server.rss_per_connection_bytes",
        "RSS per joined connection, bytes (less is better)",
    ),
    ("idle", "connects_per_s", "Connects per second (more is better)"),
];

const WIDTH: f64 = 860.0;
const LABEL: f64 = 190.0;
const ROW: f64 = 20.0;

#[must_use]
pub fn svg(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 30.0;
    for (prefix, figure, title) in PANELS {
        // Writing to a string cannot fail.
        let _ = panel(results, (prefix, figure, title), &mut y, &mut body);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/><text x=\"10\" y=\"18\" font-size=\"11\" fill=\"#555\">{}</text>{body}</svg>\n",
        escape(&format!("{}, {}", results.date, results.machine))
    )
}

fn panel(
    results: &Results,
    (prefix, figure, title): (&str, &str, &str),
    y: &mut f64,
    out: &mut String,
) -> std::fmt::Result {
    let entries: Vec<_> = results
        .entries
        .iter()
        .filter(|entry| entry.cell.starts_with(prefix))
        .filter_map(|entry| Some((entry, entry.spread(figure)?)))
        .collect();
    let most = entries.iter().map(|(_, spread)| spread.high).fold(0.0, f64::max);
    if entries.is_empty() || most <= 0.0 {
        return Ok(());
    }
    *y += 18.0;
    let title = format!("{}: {title}", entries[0].0.cell);
    writeln!(out, "<text x=\"10\" y=\"{y}\" font-weight=\"600\">{}</text>", escape(&title))?;
    *y += 8.0;
    let scale = (WIDTH - LABEL - 130.0) / most;
    for (entry, spread) in entries {
        let length = (spread.median * scale).max(1.0);
        let colour = match (entry.server.as_str(), entry.is_socket_io) {
            ("throng", _) => COLOURS[0],
            (_, true) => COLOURS[3],
            (_, false) => "#9ca3af",
        };
        let (low, high) = (LABEL + spread.low * scale, LABEL + spread.high * scale);
        let middle = *y + ROW / 2.0;
        let before = spread.sign(figure);
        let after = if spread.is_void() { " void" } else { "" };
        writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LABEL - 8.0,
            middle + 4.0,
            escape(&entry.server)
        )?;
        writeln!(
            out,
            "<rect x=\"{LABEL}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            *y + 2.0,
            ROW - 4.0
        )?;
        writeln!(
            out,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#111\" stroke-width=\"1.5\"/>"
        )?;
        writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\">{before}{}{after}</text>",
            high.max(LABEL + length) + 6.0,
            middle + 4.0,
            number(spread.median)
        )?;
        *y += ROW;
    }
    *y += 12.0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::outcome::{Entry, Run};

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let entry = |server: &str, rate: f64| Entry {
            cell: "16x4 N=1000".into(),
            server: server.into(),
            runs: vec![Run {
                figures: BTreeMap::from([("deliveries_per_s".to_owned(), rate)]),
                ..Run::default()
            }],
            ..Entry::default()
        };
        let entries = vec![entry("throng", 200.0), entry("other", 100.0)];
        let svg = svg(&Results { entries, ..Results::default() });
        let widths: Vec<f64> = svg
            .split("width=\"")
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .filter(|width| *width > 10.0)
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01);
    }
}

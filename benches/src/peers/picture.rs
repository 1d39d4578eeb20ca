//! The results as one picture: bars. The longest is not always the best, so each panel says which is.

use throng_loadgen::picture::{Bar, Bars, COLOURS, GREY, Panel, document};

use super::outcome::Results;

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

#[must_use]
pub fn svg(results: &Results) -> String {
    let panels: Vec<_> = PANELS.into_iter().filter_map(|panel| bars(results, panel)).collect();
    document(&format!("{}, {}", results.date, results.machine), &panels)
}

fn bars(results: &Results, (prefix, figure, title): (&str, &str, &str)) -> Option<Panel<'static>> {
    let cell = results.cells().into_iter().find(|cell| cell.starts_with(prefix))?;
    let entries = results.entries.iter().filter(|entry| entry.cell == cell);
    let bars: Vec<Bar> = entries
        .filter_map(|entry| {
            let spread = entry.spread(figure)?;
            Some(Bar {
                label: entry.server.clone(),
                colour: match (entry.server.as_str(), entry.is_socket_io) {
                    ("throng", _) => COLOURS[0],
                    (_, true) => COLOURS[3],
                    (_, false) => GREY,
                },
                value: spread.median,
                low: spread.low,
                high: spread.high,
                before: spread.sign(figure),
                after: if spread.is_void() { " void" } else { "" },
            })
        })
        .collect();
    (!bars.is_empty()).then(|| Panel::Bars(Bars { title: format!("{cell}: {title}"), bars }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::peers::outcome::{Entry, Run};

    #[test]
    fn every_server_of_a_cell_has_its_bar() {
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
            .split(" width=\"")
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01);
    }
}

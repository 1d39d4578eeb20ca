//! The cost of a join over the size of the room, as a picture.

use std::collections::BTreeSet;

use throng_loadgen::picture::{Chart, Line, Panel, Scale, document};

use crate::result::Part;

/// Two charts, one below the other; nothing if fewer than two sizes were measured.
#[must_use]
pub fn svg(part: &Part) -> Option<String> {
    let charts = [
        ("cpu_us_per_join", "Server CPU per join, until the last roster is right", "µs"),
        ("roster_kib_per_join", "Roster bytes sent per join, all recipients", "KiB"),
    ];
    let panels = charts.into_iter().map(|(figure, title, y_label)| {
        let lines = lines(part, figure);
        let points = || lines.iter().flat_map(|line| &line.points);
        let sizes: BTreeSet<usize> = points().map(|point| point.0 as usize).collect();
        lines.iter().any(|line| line.points.len() > 1).then_some(Panel::Chart(Chart {
            title,
            x_label: "users who enter the room, 1000 per second",
            y_label,
            x_scale: Scale::Log,
            y_scale: Scale::Log,
            x_marks: sizes.into_iter().map(|n| (n as f64, format!("{n}"))).collect(),
            lines,
        }))
    });
    Some(document("", &panels.collect::<Option<Vec<_>>>()?))
}

fn lines(part: &Part, figure: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in part.rows.iter().filter(|row| row.void_reasons.is_empty()) {
        let Some((label, size)) = row.name.split_once(" N=") else { continue };
        let Some((size, value)) = size.parse().ok().zip(row.figures.get(figure)) else { continue };
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => line.points.push((size, *value)),
            None => lines.push(Line { label: label.into(), points: vec![(size, *value)] }),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::result::Row;

    #[test]
    fn each_presence_mode_is_a_line() {
        let row = |name: &str, value: f64| Row {
            name: name.into(),
            figures: BTreeMap::from([
                ("cpu_us_per_join".to_owned(), value),
                ("roster_kib_per_join".to_owned(), value),
            ]),
            ..Row::default()
        };
        let rows = vec![row("full N=100", 9.0), row("count N=100", 1.0), row("full N=1000", 90.0)];
        let part = Part { rows, ..Part::default() };
        let lines = lines(&part, "cpu_us_per_join");
        assert_eq!(lines[0].points, [(100.0, 9.0), (1000.0, 90.0)]);
        assert!(svg(&part).is_some_and(|svg| svg.matches("full").count() >= 2));
        assert!(svg(&Part::default()).is_none());
    }
}

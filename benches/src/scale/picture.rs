//! The cost of a join over the size of the room, as a picture.

use throng_loadgen::svg::{Chart, Line, Scale, chart};

use crate::result::Part;

/// Two charts, one below the other; nothing if fewer than two sizes were measured.
#[must_use]
pub fn svg(part: &Part) -> Option<String> {
    let charts = [
        ("cpu_us_per_join", "Server CPU per join, until the last roster is right", "µs"),
        ("roster_kib_per_join", "Roster bytes sent per join, all recipients", "KiB"),
    ];
    let mut body = String::new();
    let mut top = 0.0;
    for (figure, title, y_label) in charts {
        let lines = lines(part, figure);
        if lines.iter().all(|line| line.points.len() < 2) {
            return None;
        }
        let marks = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
        let mut marks: Vec<f64> = marks.collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        let drawn = chart(&Chart {
            title,
            x_label: "people who enter the room, 1000 per second",
            y_label,
            x_scale: Scale::Log,
            y_scale: Scale::Log,
            x_marks: marks.into_iter().map(|n| (n, format!("{n}"))).collect(),
            lines,
        });
        body.push_str(&drawn.replacen("<svg ", &format!("<svg y=\"{top}\" height=\"300\" "), 1));
        top += 310.0;
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {top}\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{body}</svg>\n"
    ))
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
    fn each_way_of_hearing_is_a_line() {
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

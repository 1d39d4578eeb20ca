//! The page of a search or a curve: latency over rate, all targets in one picture, and the table.

use std::collections::BTreeMap;

use crate::page::{date, facts, frame, load, section};
use crate::picture::{Chart, Line, Panel, Scale, inline};
use crate::sweep::{Point, Sweep};
use crate::table::escape;

#[must_use]
pub fn page(sweep: &Sweep) -> String {
    let targets: BTreeMap<&str, Vec<&Point>> =
        sweep.points.iter().fold(BTreeMap::new(), |mut targets, point| {
            targets.entry(point.target.as_str()).or_insert_with(Vec::new).push(point);
            targets
        });
    let mut body = sweep.answer().map_or(String::new(), |answer| {
        let class = match &sweep.found {
            Some(found) if found.rate.is_some() => "ok",
            _ => "void",
        };
        format!("<p class=\"{class}\">{}</p>\n", escape(&answer))
    });
    body += &facts(&[
        ("finished", date(sweep.finished_unix_s)),
        ("version", format!("throng-loadgen {}", sweep.version)),
        ("generator", sweep.machine.clone()),
        ("targets", sweep.scenario.targets.join(", ")),
        ("each run", load(&sweep.scenario, "rates as below")),
    ]);
    body += &inline(&Panel::Chart(chart("Delivery latency over load", "µs", &targets, |point| {
        vec![("p50", point.p50_us), ("p99", point.p99_us)]
    })));
    body +=
        &inline(&Panel::Chart(chart("Deliveries over load", "delivered/s", &targets, |point| {
            vec![("delivered/s", point.deliveries_per_s)]
        })));
    body += &section("Runs", &sweep.table());
    let scenario = serde_json::to_string_pretty(&sweep.scenario).unwrap_or_default();
    body += &format!(
        "<details><summary>Scenario</summary><pre>{}</pre></details>\n",
        escape(&scenario)
    );
    frame(&sweep.name, &body)
}

/// A line for each figure of each target; void runs are left out, since their numbers cannot be trusted.
fn chart<'c>(
    title: &'c str,
    y_label: &'c str,
    targets: &BTreeMap<&str, Vec<&Point>>,
    figures: impl Fn(&Point) -> Vec<(&'static str, f64)>,
) -> Chart<'c> {
    let mut lines: Vec<Line> = Vec::new();
    for (target, points) in targets {
        let mut points: Vec<&&Point> =
            points.iter().filter(|point| point.void_reasons.is_empty()).collect();
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let mut own: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for point in points {
            for (figure, value) in figures(point) {
                own.entry(figure).or_default().push((point.rate, value));
            }
        }
        lines.extend(own.into_iter().map(|(figure, points)| {
            let label =
                if targets.len() == 1 { figure.to_owned() } else { format!("{target} {figure}") };
            Line { label, points }
        }));
    }
    Chart {
        title,
        x_label: "rate/s",
        y_label,
        x_scale: Scale::Linear,
        y_scale: if y_label == "µs" { Scale::Log } else { Scale::Linear },
        x_marks: Vec::new(),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_share_a_picture_and_void_runs_are_only_in_the_table() {
        let point = |target: &str, rate: f64| Point {
            target: target.into(),
            rate,
            p50_us: 10.0 * rate,
            p99_us: 20.0 * rate,
            ..Point::default()
        };
        let mut void = point("http://b", 9.0);
        void.void_reasons.push("generator_saturated: x".into());
        let points =
            vec![point("http://a", 1.0), point("http://a", 2.0), point("http://b", 1.0), void];
        let html = page(&Sweep { name: "a < b".into(), points, ..Sweep::default() });
        // Two charts, each for wide and narrow pages.
        assert_eq!(html.matches("<svg").count(), 4);
        assert_eq!(html.matches("<polyline").count(), 2 * (4 + 2));
        assert!(html.contains("void: generator_saturated") && html.contains("a &lt; b"));
        assert!(["src=", "href=", "url(", "@import"].iter().all(|word| !html.contains(word)));
    }
}

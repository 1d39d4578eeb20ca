//! One self-contained page: verdict, figures, plots. Several runs share the plots.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::page::{date, facts, frame, load, rate, section};
use crate::picture::{Chart, Line, Panel, Scale, inline};
use crate::report::{Report, Second};
use crate::samples::Metric;
use crate::summary;
use crate::table::{Table, escape, percent, time};

/// The page for one run or for several next to each other; `table`: what `compare` printed.
#[must_use]
pub fn page(reports: &[&Report], table: Option<&str>) -> String {
    let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = write(reports, table, &mut body);
    frame(&names.join(" / "), &body)
}

fn write(reports: &[&Report], table: Option<&str>, html: &mut String) -> std::fmt::Result {
    for report in reports {
        let name = escape(&report.name);
        if report.void {
            let reasons: Vec<_> = report.void_reasons.iter().map(|r| escape(r)).collect();
            let reasons = reasons.join("; ");
            writeln!(html, "<p class=\"void\"><b>{name} is void.</b> {reasons}</p>")?;
        } else {
            writeln!(
                html,
                "<p class=\"ok\"><b>{name} is valid.</b> Stopped by {}; {} complete; {} order violations.</p>",
                escape(&report.stopped_by),
                percent(report.completeness),
                report.counters.order_violations
            )?;
        }
        html.push_str(&facts(&what_was_run(report)));
    }
    if let Some(table) = table {
        writeln!(html, "<pre>{}</pre>", escape(table))?;
    }
    html.push_str(&percentile_chart(reports));
    html.push_str(&latency_chart(reports));
    html.push_str(&rate_chart(reports));
    for report in reports {
        html.push_str(&section(&format!("{}: latencies", report.name), &latencies(report)));
        if !report.slo.is_empty() {
            html.push_str(&section(&format!("{}: service levels", report.name), &levels(report)));
        }
        if !report.order_mismatches.is_empty() {
            html.push_str(&section(&format!("{}: order", report.name), &mismatches(report)));
        }
        let summary = escape(&summary::text(report));
        writeln!(html, "<h2>{}</h2><pre>{summary}</pre>", escape(&report.name))?;
        let scenario = serde_json::to_string_pretty(&report.scenario).unwrap_or_default();
        let scenario = escape(&scenario);
        writeln!(html, "<details><summary>Scenario</summary><pre>{scenario}</pre></details>")?;
    }
    Ok(())
}

fn what_was_run(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("finished", date(report.finished_unix_s)),
        ("version", format!("throng-loadgen {}", report.version)),
        ("generator", report.machine.clone()),
        ("targets", report.scenario.targets.join(", ")),
        ("load", load(&report.scenario, &rate(&report.scenario))),
    ];
    match report.repetitions.len() {
        0 => {}
        count => facts.push(("repetitions", count.to_string())),
    }
    facts
}

fn latencies(report: &Report) -> Table {
    let mut table = Table::new(["", "p50", "p90", "p99", "p99.9", "max", "count"]);
    for (name, p) in &report.latencies_us {
        let times = [p.p50, p.p90, p.p99, p.p999, p.max].map(time);
        table.row([name.clone()].into_iter().chain(times).chain([p.count.to_string()]));
    }
    table
}

fn levels(report: &Report) -> Table {
    let mut table = Table::new(["SLO", "is", ""]);
    for outcome in &report.slo {
        let value = outcome.value.map(|value| value.to_string()).or_else(|| outcome.why.clone());
        let value = value.unwrap_or_default();
        table.row([outcome.slo.as_str(), &value, if outcome.met { "met" } else { "missed" }]);
    }
    table
}

fn mismatches(report: &Report) -> Table {
    let mut table =
        Table::new(["room", "position", "received first", "then", "members", "a client"]);
    for one in &report.order_mismatches {
        table.row([
            one.room.to_string(),
            one.position.to_string(),
            one.first.clone(),
            one.then.clone(),
            one.members.to_string(),
            one.client.map_or("–".to_owned(), |client| client.to_string()),
        ]);
    }
    table
}

fn percentile_chart(reports: &[&Report]) -> String {
    let lines = reports.iter().map(|report| {
        let samples = report.samples();
        Line { label: report.name.clone(), points: distribution(samples.of(Metric::Delivery)) }
    });
    let marks =
        [(1.0, "0"), (10.0, "90"), (1e2, "99"), (1e3, "99.9"), (1e4, "99.99"), (1e5, "99.999")];
    inline(&Panel::Chart(Chart {
        title: "Delivery latency by percentile",
        x_label: "percentile",
        y_label: "µs",
        x_scale: Scale::Log,
        y_scale: Scale::Log,
        x_marks: marks.iter().map(|(at, label)| (*at, (*label).to_owned())).collect(),
        lines: lines.collect(),
    }))
}

/// (1/(1−quantile), µs), so that each further nine takes the same space.
fn distribution(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let most = histogram.len() as f64;
    (0..=60)
        .map(|step| 10f64.powf(f64::from(step) / 12.0))
        .take_while(|inverse| *inverse <= most)
        .map(|inverse| (inverse, histogram.value_at_quantile(1.0 - 1.0 / inverse) as f64))
        .collect()
}

fn latency_chart(reports: &[&Report]) -> String {
    let mut lines = Vec::new();
    for report in reports {
        for (index, figure) in ["p50", "p99", "max"].into_iter().enumerate() {
            let label = label(reports, report, figure);
            let points = report.seconds.iter().filter(|s| s.max_us > 0.0);
            let at = |s: &Second| (s.second as f64, [s.p50_us, s.p99_us, s.max_us][index]);
            lines.push(Line { label, points: points.map(at).collect() });
        }
    }
    inline(&Panel::Chart(Chart {
        title: "Delivery latency over time",
        x_label: "seconds",
        y_label: "µs",
        x_scale: Scale::Linear,
        y_scale: Scale::Log,
        x_marks: Vec::new(),
        lines,
    }))
}

fn rate_chart(reports: &[&Report]) -> String {
    // What comes while the run drains is no rate.
    let running = |report: &Report| {
        let seconds = report.seconds.iter().filter(|second| second.phase != "drain");
        seconds.map(|second| (second.second as f64, second.delivered as f64)).collect()
    };
    let lines = reports.iter().map(|report| Line {
        label: label(reports, report, "delivered/s"),
        points: running(report),
    });
    inline(&Panel::Chart(Chart {
        title: "Deliveries per second",
        x_label: "seconds",
        y_label: "deliveries/s",
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        x_marks: Vec::new(),
        lines: lines.collect(),
    }))
}

fn label(reports: &[&Report], report: &Report, figure: &str) -> String {
    match reports {
        [_] => figure.to_owned(),
        _ => format!("{} {figure}", report.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Samples;

    #[test]
    fn the_page_carries_its_plots_and_fetches_nothing() {
        let mut samples = Samples::default();
        (1..5_000).for_each(|us| samples.record_ns(Metric::Delivery, us * 1_000));
        let mut report = Report { name: "<run>".into(), ..Report::default() };
        report.set_samples(&samples);
        report.seconds = (0..5)
            .map(|second| Second { second, delivered: 10, max_us: 9.0, ..Second::default() })
            .collect();
        let page = page(&[&report], None);
        assert_eq!(page.matches("<svg").count(), 6);
        assert!(page.contains("&lt;run&gt;") && !page.contains("<run>"));
        let fetched = ["src=", "href=", "url(", "@import"];
        assert!(fetched.iter().all(|word| !page.contains(word)));
        let void = Report { void: true, void_reasons: vec!["clock".into()], ..report };
        assert!(super::page(&[&void], Some("t")).contains("is void"));
    }
}

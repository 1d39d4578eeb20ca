//! One self-contained page: verdict, figures, plots. Several runs share the plots.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::picture::{Chart, Line, Panel, Scale, escape, inline};
use crate::report::{Report, Second};
use crate::samples::Metric;
use crate::summary;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2rem auto;\
padding:0 1rem;color:#1f2937;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem}pre{background:\
#f3f4f6;padding:1rem;overflow-x:auto;border-radius:6px;font-size:12.5px}.void{background:#fee2e2;\
border-left:4px solid #dc2626;padding:.6rem 1rem}.ok{background:#dcfce7;border-left:4px solid \
#059669;padding:.6rem 1rem}@media(prefers-color-scheme:dark){body{color:#e5e7eb;background:#111827}\
pre{background:#1f2937}.void{background:#450a0a}.ok{background:#052e16}}";

/// The page for one run or for several next to each other; `table`: what `compare` printed.
#[must_use]
pub fn page(reports: &[&Report], table: Option<&str>) -> String {
    let mut html = String::new();
    // Writing to a string cannot fail.
    let _ = write(reports, table, &mut html);
    html
}

fn write(reports: &[&Report], table: Option<&str>, html: &mut String) -> std::fmt::Result {
    let names: Vec<_> = reports.iter().map(|report| escape(&report.name)).collect();
    let title = names.join(" / ");
    writeln!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    )?;
    for report in reports {
        if report.void {
            let reasons: Vec<_> = report.void_reasons.iter().map(|r| escape(r)).collect();
            writeln!(
                html,
                "<p class=\"void\"><b>{} is void.</b> {}</p>",
                escape(&report.name),
                reasons.join("; ")
            )?;
        } else {
            writeln!(
                html,
                "<p class=\"ok\"><b>{} is valid.</b> Stopped by {}; completeness {:.6}; {} order violations.</p>",
                escape(&report.name),
                escape(&report.stopped_by),
                report.completeness,
                report.counters.order_violations
            )?;
        }
    }
    if let Some(table) = table {
        writeln!(html, "<pre>{}</pre>", escape(table))?;
    }
    html.push_str(&percentile_chart(reports));
    html.push_str(&latency_chart(reports));
    html.push_str(&rate_chart(reports));
    for report in reports {
        writeln!(
            html,
            "<h2>{}</h2><pre>{}</pre>",
            escape(&report.name),
            escape(&summary::text(report))
        )?;
        let scenario = serde_json::to_string_pretty(&report.scenario).unwrap_or_default();
        writeln!(
            html,
            "<details><summary>Scenario</summary><pre>{}</pre></details>",
            escape(&scenario)
        )?;
    }
    html.push_str("</html>\n");
    Ok(())
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
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("&lt;run&gt;") && !page.contains("<run>"));
        let fetched = ["src=", "href=", "url(", "@import"];
        assert!(fetched.iter().all(|word| !page.contains(word)));
        let void = Report { void: true, void_reasons: vec!["clock".into()], ..report };
        assert!(super::page(&[&void], Some("t")).contains("is void"));
    }
}

//! Pictures as SVG text, without scripts or external fonts: line charts and bars.

use std::fmt::{Result, Write as _};

use crate::table::{escape, number};

pub const COLOURS: [&str; 6] = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"];
pub const GREY: &str = "#9ca3af";

/// One part of a picture, as wide as the picture.
pub enum Panel<'p> {
    Chart(Chart<'p>),
    Bars(Bars),
}

pub struct Line {
    pub label: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
}

pub struct Chart<'c> {
    pub title: &'c str,
    pub x_label: &'c str,
    pub y_label: &'c str,
    pub x_scale: Scale,
    pub y_scale: Scale,
    /// Marks on the x axis; empty: chosen.
    pub x_marks: Vec<(f64, String)>,
    pub lines: Vec<Line>,
}

/// One bar per name, with its number and its spread.
pub struct Bars {
    pub title: String,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub label: String,
    pub colour: &'static str,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// Written before and after the number.
    pub before: &'static str,
    pub after: &'static str,
}

const WIDTH: f64 = 860.0;
/// Of pictures for phones.
const NARROW: f64 = 370.0;
/// Of a chart, its axes and title included, without its legend.
const HEIGHT: f64 = 300.0;
const LEGEND_ROW: f64 = 15.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
const BAR_LABEL: f64 = 250.0;
const BAR_NUMBER: f64 = 130.0;
const BAR_ROW: f64 = 20.0;

/// A picture to be put into a page: no background, text in the page's colour. It is there twice, for wide
/// pages (class `wide`) and for narrow ones (`narrow`), since text must not shrink with the page.
#[must_use]
pub fn inline(panel: &Panel<'_>) -> String {
    let panels = std::slice::from_ref(panel);
    format!(
        "<div class=\"wide\">{}</div><div class=\"narrow\">{}</div>",
        draw(&[], panels, WIDTH),
        draw(&[], panels, NARROW)
    )
}

/// A picture that is a file of its own: the panels below a caption, on white.
#[must_use]
pub fn document(caption: &str, panels: &[Panel<'_>]) -> String {
    draw(&[caption], panels, WIDTH)
}

fn draw(captions: &[&str], panels: &[Panel<'_>], width: f64) -> String {
    let (mut body, mut top) = (String::new(), 0.0);
    for caption in captions {
        top += 30.0;
        body += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>";
        body += &format!("<text x=\"10\" y=\"18\" fill=\"#555\">{}</text>\n", escape(caption));
    }
    for panel in panels {
        body += &format!("<g transform=\"translate(0 {top})\">\n");
        // Writing to a string cannot fail.
        let _ = match panel {
            Panel::Chart(chart) => draw_chart(chart, width, &mut body),
            Panel::Bars(bars) => draw_bars(bars, &mut body),
        };
        body += "</g>\n";
        top += match panel {
            Panel::Chart(chart) => HEIGHT + 10.0 + legend(chart, width).1,
            Panel::Bars(bars) => 38.0 + BAR_ROW * bars.bars.len() as f64,
        };
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {top}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"11\" role=\"img\">{body}</svg>\n"
    )
}

fn draw_bars(bars: &Bars, svg: &mut String) -> Result {
    let title = escape(&bars.title);
    writeln!(svg, "<text x=\"10\" y=\"18\" font-size=\"13\" font-weight=\"600\">{title}</text>")?;
    let most = bars.bars.iter().map(|bar| bar.high).fold(1e-12, f64::max);
    let scale = (WIDTH - BAR_LABEL - BAR_NUMBER) / most;
    for (index, bar) in bars.bars.iter().enumerate() {
        let (label, colour, middle) =
            (escape(&bar.label), bar.colour, 36.0 + BAR_ROW * index as f64);
        let (length, low, high) = ((bar.value * scale).max(1.0), bar.low * scale, bar.high * scale);
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{BAR_LABEL}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#111\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}{}{}</text>",
            BAR_LABEL - 8.0,
            middle + 4.0,
            middle - 8.0,
            BAR_LABEL + low,
            BAR_LABEL + high,
            BAR_LABEL + high.max(length) + 6.0,
            middle + 4.0,
            bar.before,
            number(bar.value),
            bar.after
        )?;
    }
    Ok(())
}

struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    from: f64,
    to: f64,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let on = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-9).log10(),
        };
        let span = (on(self.high) - on(self.low)).max(1e-12);
        self.from + (on(value) - on(self.low)) / span * (self.to - self.from)
    }

    fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice((self.high - self.low) / 5.0);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step).floor() as i64;
                (first..=last).map(|k| k as f64 * step).collect()
            }
            Scale::Log => {
                let first = self.low.log10().floor() as i32;
                let last = self.high.log10().ceil() as i32;
                (first..=last)
                    .map(|power| 10f64.powi(power))
                    .filter(|mark| *mark >= self.low * 0.999 && *mark <= self.high * 1.001)
                    .collect()
            }
        }
    }
}

/// The next of 1, 2, 5 × 10ⁿ.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1e-12).log10().floor());
    let lead = step / power;
    power
        * if lead <= 1.0 {
            1.0
        } else if lead <= 2.0 {
            2.0
        } else if lead <= 5.0 {
            5.0
        } else {
            10.0
        }
}

fn bounds(values: impl Iterator<Item = f64>, scale: Scale) -> (f64, f64) {
    let values = values.filter(|v| v.is_finite() && (scale == Scale::Linear || *v > 0.0));
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (1.0, 10.0);
    }
    match scale {
        Scale::Linear => (low.min(0.0), if high > low.min(0.0) { high * 1.05 } else { low + 1.0 }),
        Scale::Log => {
            (10f64.powf(low.log10().floor()), 10f64.powf(high.log10().ceil()).max(low * 10.0))
        }
    }
}

/// Where the label of each line stands, from the left and below the title, and how high they are together.
fn legend(chart: &Chart<'_>, width: f64) -> (Vec<(f64, f64)>, f64) {
    let (mut at, mut row) = (LEFT, 0.0);
    let mut places = Vec::new();
    for line in &chart.lines {
        let length = 20.0 + 6.4 * line.label.chars().count() as f64;
        if at > LEFT && at + length > width - RIGHT {
            (at, row) = (LEFT, row + LEGEND_ROW);
        }
        places.push((at, 32.0 + row));
        at += length + 8.0;
    }
    (places, row + LEGEND_ROW)
}

fn draw_chart(chart: &Chart<'_>, width: f64, svg: &mut String) -> Result {
    let (labels, legend_height) = legend(chart, width);
    let (top, height) = (TOP + legend_height, HEIGHT + legend_height);
    let points = || chart.lines.iter().flat_map(|line| line.points.iter().copied());
    let (x_low, x_high) = match chart.x_scale {
        Scale::Linear => bounds(points().map(|p| p.0), Scale::Linear),
        Scale::Log => {
            let (low, _) = bounds(points().map(|p| p.0), Scale::Log);
            (low, points().map(|p| p.0).fold(low * 10.0, f64::max))
        }
    };
    let (y_low, y_high) = bounds(points().map(|p| p.1), chart.y_scale);
    let x = Axis { low: x_low, high: x_high, scale: chart.x_scale, from: LEFT, to: width - RIGHT };
    let y = Axis { low: y_low, high: y_high, scale: chart.y_scale, from: height - BOTTOM, to: top };
    writeln!(svg, "<title>{}</title>", escape(chart.title))?;
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"16\" font-size=\"14\" font-weight=\"600\" fill=\"currentColor\">{}</text>",
        escape(chart.title)
    )?;
    for mark in y.marks() {
        let at = y.place(mark);
        writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#8884\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\">{}</text>",
            width - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(mark)
        )?;
    }
    let marks = if chart.x_marks.is_empty() {
        x.marks().into_iter().map(|mark| (mark, short(mark))).collect()
    } else {
        chart.x_marks.clone()
    };
    for (mark, label) in marks.iter().filter(|(mark, _)| (x.low..=x.high).contains(mark)) {
        let at = x.place(*mark);
        writeln!(
            svg,
            "<path d=\"M{at:.1} {top}V{}\" stroke=\"#8884\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
            height - BOTTOM,
            height - BOTTOM + 15.0,
            escape(label)
        )?;
    }
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
        (LEFT + width - RIGHT) / 2.0,
        height - 8.0,
        escape(chart.x_label)
    )?;
    writeln!(
        svg,
        "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
        (top + height - BOTTOM) / 2.0,
        escape(chart.y_label)
    )?;
    for (index, (line, (left, base))) in chart.lines.iter().zip(labels).enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> = line
            .points
            .iter()
            .filter(|p| chart.y_scale == Scale::Linear || p.1 > 0.0)
            .map(|p| format!("{:.1},{:.1}", x.place(p.0), y.place(p.1)))
            .collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            path.join(" ")
        )?;
        writeln!(
            svg,
            "<path d=\"M{left:.1} {:.1}h14\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{:.1}\" y=\"{base:.1}\" fill=\"currentColor\">{}</text>",
            base - 4.0,
            left + 18.0,
            escape(&line.label)
        )?;
    }
    Ok(())
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{} M", trim(value / 1e6)),
        size if size >= 1e3 => format!("{} k", trim(value / 1e3)),
        _ => trim(value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_within_the_frame() {
        for (x_scale, y_scale) in [(Scale::Linear, Scale::Log), (Scale::Log, Scale::Linear)] {
            let points = vec![(1.0, 3.0), (50.0, 9_999.0), (1e4, 17.0)];
            let svg = inline(&Panel::Chart(Chart {
                title: "a < b",
                x_label: "x",
                y_label: "y",
                x_scale,
                y_scale,
                x_marks: Vec::new(),
                lines: vec![Line { label: "one".into(), points }],
            }));
            assert!(svg.contains("a &lt; b"));
            let drawn = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            assert_eq!(drawn.split(' ').count(), 3);
            for point in drawn.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((LEFT - 0.1..=WIDTH - RIGHT + 0.1).contains(&x), "{point}");
                let within = TOP - 0.1..=HEIGHT + LEGEND_ROW - BOTTOM + 0.1;
                assert!(within.contains(&y), "{point}");
            }
        }
    }

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let bar = |value: f64| Bar {
            label: "a & b".into(),
            colour: GREY,
            value,
            low: value,
            high: value,
            before: "≥ ",
            after: "",
        };
        let bars = Bars { title: "rate".into(), bars: vec![bar(200.0), bar(100.0)] };
        let svg = document("c", &[Panel::Bars(bars)]);
        let widths: Vec<f64> = svg
            .split(" width=\"")
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01);
        assert!(svg.contains("a &amp; b") && svg.contains("≥ 200"), "{svg}");
    }
}

//! Tables: in Markdown for pages, aligned for terminals; and how their numbers are written.

#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub fn new<C: Into<String>>(head: impl IntoIterator<Item = C>) -> Self {
        Self { rows: vec![head.into_iter().map(Into::into).collect()] }
    }

    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// There is nothing below the head.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.rows[0].len()));
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        lines.insert(1, rule);
        lines.concat()
    }

    /// For pages: in a box of its own that scrolls where the page is narrow.
    #[must_use]
    pub fn html(&self) -> String {
        let row = |cells: &[String], tag: &str| {
            let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        let rows: String = self.rows[1..].iter().map(|cells| row(cells, "td")).collect();
        format!(
            "<div class=\"scrolls\" tabindex=\"0\"><table><thead>{}</thead><tbody>{rows}</tbody></table></div>",
            row(&self.rows[0], "th")
        )
    }

    /// The first column to the left, the others to the right.
    #[must_use]
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Text as HTML and SVG have it.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A share; `–`: of nothing.
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.4} %", share * 100.0))
}

/// Three significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// Microseconds, in the unit that fits them.
#[must_use]
pub fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_table_is_markdown_and_text() {
        let mut table = Table::new(["", "p50"]);
        assert!(table.is_empty());
        table.row(["delivery".to_owned(), time(1_234.0)]);
        table.row(["ack", "–"]);
        assert_eq!(
            table.markdown(),
            "|  | p50 |\n|---|---|\n| delivery | 1.23 ms |\n| ack | – |\n"
        );
        assert_eq!(table.text(), "              p50\ndelivery  1.23 ms\nack             –\n");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown: Vec<_> =
            [0.0, 0.1134, 4.256, 37.41, 812.0, 9_134.0, 41_200.0, 9.126e6].map(number).to_vec();
        assert_eq!(shown, ["0", "0.113", "4.26", "37.4", "812", "9134", "41.2 k", "9.13 M"]);
    }
}

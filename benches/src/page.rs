//! Results as one page of Markdown, with the picture and the JSON that belong to it.

use std::path::Path;

use serde::Serialize;
use throng_loadgen::table::{Table, number};

use crate::environment;
use crate::result::{Part, Results};
use crate::target::{self, Target};

/// What all benches have in common.
pub struct Page<'p> {
    pub title: &'p str,
    pub date: &'p str,
    /// What ran where, in a sentence or three.
    pub setting: String,
    pub command: &'p str,
    /// A paragraph on how to read the page; may be empty.
    pub notes: &'p str,
    pub targets: Vec<Target>,
    /// (heading, Markdown)
    pub sections: Vec<(String, String)>,
    /// (SVG, what it shows)
    pub picture: Option<(String, &'p str)>,
}

impl<'p> Page<'p> {
    /// The page of a bench that has parts.
    #[must_use]
    pub fn of_parts(title: &'p str, setting: &str, results: &'p Results) -> Self {
        Self {
            title,
            date: &results.date,
            setting: format!("Machine: {}. Throng {}. {setting}", results.machine, results.version),
            command: &results.command,
            notes: match results.is_trial {
                true => "**A trial, small and short: these numbers mean nothing.**",
                false => "",
            },
            targets: results.parts.iter().flat_map(|part| part.targets.clone()).collect(),
            sections: results.parts.iter().map(section).collect(),
            picture: None,
        }
    }

    /// `stem`: the name of the page's files, without extension.
    #[must_use]
    pub fn markdown(&self, stem: &str) -> String {
        let mut paragraphs = vec![format!("# {}, {}", self.title, self.date)];
        if let Some((_, alt)) = &self.picture {
            paragraphs.push(format!("![{alt}]({stem}.svg)"));
        }
        paragraphs.push(self.setting.clone());
        paragraphs.push(format!("```sh\n{}\n```", self.command));
        paragraphs.push(self.notes.to_owned());
        if !self.targets.is_empty() {
            paragraphs.push("## Promises".into());
            paragraphs.push(target::table(&self.targets));
        }
        for (heading, text) in &self.sections {
            paragraphs.push(format!("## {heading}"));
            paragraphs.push(text.clone());
        }
        let filled = paragraphs.iter().map(|text| text.trim_end()).filter(|text| !text.is_empty());
        filled.collect::<Vec<_>>().join("\n\n") + "\n"
    }

    /// Writes the page, its picture and `results` as JSON to `<date>-<name>.*`.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub fn save(&self, folder: &Path, name: &str, results: &impl Serialize) -> anyhow::Result<()> {
        let stem = format!("{}-{name}", self.date);
        if let Some((svg, _)) = &self.picture {
            environment::write(folder, &format!("{stem}.svg"), svg)?;
        }
        environment::write(folder, &format!("{stem}.md"), &self.markdown(&stem))?;
        let json = serde_json::to_string_pretty(results)? + "\n";
        environment::write(folder, &format!("{stem}.json"), &json)
    }
}

/// What was done, the table, and what to know about single rows.
fn section(part: &Part) -> (String, String) {
    let headings = part.columns.iter().map(|(_, heading)| heading.as_str());
    let mut table = Table::new([""].into_iter().chain(headings));
    let mut doubts = Vec::new();
    for row in &part.rows {
        let void = if row.void_reasons.is_empty() { "" } else { " *void*" };
        let shown = part.columns.iter().map(|(figure, _)| {
            row.figures.get(figure).map_or_else(|| "–".into(), |value| number(*value))
        });
        table.row([format!("{}{void}", row.name)].into_iter().chain(shown));
        doubts.extend(row.void_reasons.iter().map(|why| format!("- {}: void, {why}\n", row.name)));
        let errors = row.errors.iter();
        doubts.extend(errors.map(|(kind, count)| format!("- {}: {count} × {kind}\n", row.name)));
    }
    let text = format!("{}\n\n{}\n{}", part.text, table.markdown(), doubts.concat());
    (part.title.clone(), text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::result::Row;

    #[test]
    fn the_page_shows_rows_promises_and_doubts() {
        let mut part = Part::new("Idle", "Nothing happens.".into(), &[("rss", "RSS"), ("x", "X")]);
        part.rows.push(Row {
            name: "N=2".into(),
            figures: BTreeMap::from([("rss".to_owned(), 1500.0)]),
            void_reasons: vec!["clients_missing: 1 of 2".into()],
            errors: BTreeMap::from([("closed: reset".to_owned(), 3)]),
        });
        part.targets.push(Target::at_most("RSS", 1500.0, 1536.0, "bytes"));
        let results = Results { parts: vec![part], ..Results::default() };
        let page = Page::of_parts("Quiet", "", &results).markdown("quiet");
        for want in [
            "| RSS | ≤ 1536 bytes | 1500 bytes | met |",
            "| N=2 *void* | 1500 | – |",
            "- N=2: void, clients_missing: 1 of 2",
            "- N=2: 3 × closed: reset",
        ] {
            assert!(page.contains(want), "{want} is not in\n{page}");
        }
    }
}

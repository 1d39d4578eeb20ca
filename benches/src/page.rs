//! The results as one page of Markdown.

use std::fmt::Write as _;

use crate::result::{Part, Results};
use crate::table::number;
use crate::target;

/// What differs between the benches that have parts.
pub struct Heading<'h> {
    pub title: &'h str,
    /// What ran where, in a sentence.
    pub setting: &'h str,
}

#[must_use]
pub fn markdown(heading: &Heading<'_>, results: &Results, picture: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(heading, results, picture, &mut text);
    text
}

fn write(
    heading: &Heading<'_>,
    results: &Results,
    picture: Option<&str>,
    out: &mut String,
) -> std::fmt::Result {
    writeln!(out, "# {}, {}\n", heading.title, results.date)?;
    writeln!(
        out,
        "Machine: {}. Throng {}. {}\n",
        results.machine, results.version, heading.setting
    )?;
    writeln!(out, "```sh\n{}\n```\n", results.command)?;
    if results.is_trial {
        writeln!(out, "**A trial, small and short: these numbers mean nothing.**\n")?;
    }
    let targets: Vec<_> = results.parts.iter().flat_map(|part| part.targets.clone()).collect();
    if !targets.is_empty() {
        writeln!(out, "## What was promised\n\n{}", target::rows(&targets))?;
    }
    for part in &results.parts {
        table(part, out)?;
    }
    if let Some(picture) = picture {
        writeln!(
            out,
            "## Cost of a join by the size of the room\n\n![CPU time and roster bytes per join over the number of members]({picture})"
        )?;
    }
    Ok(())
}

fn table(part: &Part, out: &mut String) -> std::fmt::Result {
    writeln!(out, "## {}\n\n{}\n", part.title, part.text)?;
    let headings: Vec<&str> = part.columns.iter().map(|(_, heading)| heading.as_str()).collect();
    writeln!(out, "| | {} |", headings.join(" | "))?;
    writeln!(out, "|---|{}|", vec!["---"; headings.len()].join("|"))?;
    for row in &part.rows {
        let shown: Vec<String> = part
            .columns
            .iter()
            .map(|(figure, _)| row.figures.get(figure).map_or("–".into(), |value| number(*value)))
            .collect();
        let void = if row.void_reasons.is_empty() { "" } else { " *void*" };
        writeln!(out, "| {}{void} | {} |", row.name, shown.join(" | "))?;
    }
    writeln!(out)?;
    let mut doubts = Vec::new();
    for row in &part.rows {
        doubts.extend(row.void_reasons.iter().map(|why| format!("- {}: void, {why}", row.name)));
        let errors = row.errors.iter();
        doubts.extend(errors.map(|(kind, count)| format!("- {}: {count} × {kind}", row.name)));
    }
    if !doubts.is_empty() {
        writeln!(out, "{}\n", doubts.join("\n"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::result::Row;
    use crate::target::Target;

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
        let heading = Heading { title: "Quiet", setting: "" };
        let page = markdown(&heading, &Results { parts: vec![part], ..Results::default() }, None);
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

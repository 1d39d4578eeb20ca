//! The results of the parts: a table each, and its promises.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::median::median;
use crate::target::Target;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub figures: BTreeMap<String, f64>,
    pub void_reasons: Vec<String>,
    pub errors: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Part {
    /// As on the command line.
    pub name: String,
    pub title: String,
    /// What was done, in a sentence or three.
    pub text: String,
    /// (figure, heading)
    pub columns: Vec<(String, String)>,
    pub rows: Vec<Row>,
    pub targets: Vec<Target>,
}

impl Part {
    #[must_use]
    pub fn new(title: &str, text: String, columns: &[(&str, &str)]) -> Self {
        let own = |(figure, heading): &(&str, &str)| ((*figure).into(), (*heading).into());
        let columns = columns.iter().map(own).collect();
        Self { title: title.into(), text, columns, ..Self::default() }
    }

    /// The median of a figure over the rows of a name, void ones left out.
    #[must_use]
    pub fn median(&self, name: &str, figure: &str) -> Option<f64> {
        let rows = self.rows.iter().filter(|row| row.name == name && row.void_reasons.is_empty());
        let mut values: Vec<f64> =
            rows.filter_map(|row| row.figures.get(figure).copied()).collect();
        values.sort_by(f64::total_cmp);
        median(&values)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub schema: String,
    pub date: String,
    pub machine: String,
    pub command: String,
    pub version: String,
    /// A fiftieth of the clients: the numbers mean nothing.
    pub is_trial: bool,
    /// In the order measured.
    pub parts: Vec<Part>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_rows_are_no_part_of_a_median() {
        let row = |value: f64, void: &[&str]| Row {
            name: "x".into(),
            figures: BTreeMap::from([("rate".to_owned(), value)]),
            void_reasons: void.iter().map(|reason| (*reason).to_owned()).collect(),
            ..Row::default()
        };
        let rows = vec![row(3.0, &[]), row(9.0, &["starved"]), row(1.0, &[]), row(2.0, &[])];
        let part = Part { rows, ..Part::default() };
        assert_eq!(part.median("x", "rate"), Some(2.0));
        assert_eq!(part.median("y", "rate"), None);
    }
}

//! What goes through Redis: from node to node, from other programs to sockets, through the log of
//! the rooms alone, and keys and memory there.

mod cost;
mod ingress;
mod latency;
mod log;
mod member;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::median::median;
use crate::result::{Part, Row};

/// The running nodes and Redis, and how often they are measured.
pub struct Lab {
    /// Two nodes that share a database and a Redis.
    pub nodes: [String; 2],
    /// One node with a Redis of its own.
    pub node: String,
    pub redis: String,
    /// The program that measures the log alone.
    pub rates: PathBuf,
    /// Short: the numbers mean nothing.
    pub is_trial: bool,
    pub repetitions: u32,
}

/// Measures everything.
///
/// # Errors
/// A node or Redis does not do what it should.
pub fn measure(lab: &Lab) -> anyhow::Result<Vec<Part>> {
    let cost = cost::run(lab)?;
    let (mut latency, mut ingress, mut log) = (latency::part(), ingress::part(), log::part());
    let mut all = [Series::default(), Series::default(), Series::default()];
    for repetition in 0..lab.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, lab.repetitions);
        latency::run(lab, repetition, &mut all[0])?;
        ingress::run(lab, repetition, &mut all[1])?;
        log::run(lab, &mut all[2])?;
    }
    let [of_latency, of_ingress, of_log] = all;
    latency.rows = of_latency.rows();
    ingress.rows = of_ingress.rows();
    ingress.targets = ingress::targets(&of_ingress);
    log.rows = of_log.rows();
    Ok(vec![latency, ingress, log, cost])
}

/// The same figures of every repetition.
#[derive(Default)]
struct Series {
    /// In the order of the first repetition.
    names: Vec<String>,
    values: BTreeMap<String, Vec<f64>>,
}

const COLUMNS: [(&str, &str); 3] =
    [("median", "median"), ("lowest", "lowest"), ("highest", "highest")];

impl Series {
    fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        if !self.names.contains(&name) {
            self.names.push(name.clone());
        }
        self.values.entry(name).or_default().push(value);
    }

    fn median(&self, name: &str) -> Option<f64> {
        let mut sorted = self.values.get(name)?.clone();
        sorted.sort_by(f64::total_cmp);
        median(&sorted)
    }

    fn rows(&self) -> Vec<Row> {
        let row = |name: &String| {
            let values = &self.values[name];
            let each = values.iter().enumerate();
            let mut figures: BTreeMap<String, f64> =
                each.map(|(index, value)| (format!("repetition {}", index + 1), *value)).collect();
            let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
            for (figure, value) in [
                ("median", self.median(name)),
                ("lowest", fold(f64::min)),
                ("highest", fold(f64::max)),
            ] {
                figures.extend(value.map(|value| (figure.to_owned(), value)));
            }
            Row { name: name.clone(), figures, ..Row::default() }
        };
        self.names.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_median_and_the_spread() {
        let mut series = Series::default();
        for value in [3.0, 9.0, 1.0, 2.0] {
            series.add("rate", value);
        }
        series.add("other", 7.0);
        let rows = series.rows();
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["rate", "other"]);
        let figure = |name: &str| rows[0].figures[name];
        assert_eq!([figure("median"), figure("lowest"), figure("highest")], [2.5, 1.0, 9.0]);
        assert_eq!(figure("repetition 2"), 9.0);
        assert_eq!(series.median("nothing"), None);
    }
}

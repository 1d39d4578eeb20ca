//! A promised number, and the measured one.

use serde::{Deserialize, Serialize};
use throng_loadgen::table::{Table, number};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub what: String,
    pub measured: f64,
    pub unit: String,
    pub bound: f64,
    /// The bound is the most, not the least.
    pub is_most: bool,
}

impl Target {
    #[must_use]
    pub fn at_least(what: impl Into<String>, measured: f64, bound: f64, unit: &str) -> Self {
        Self { what: what.into(), measured, unit: unit.into(), bound, is_most: false }
    }

    #[must_use]
    pub fn at_most(what: impl Into<String>, measured: f64, bound: f64, unit: &str) -> Self {
        Self { what: what.into(), measured, unit: unit.into(), bound, is_most: true }
    }

    #[must_use]
    pub fn is_met(&self) -> bool {
        if self.is_most { self.measured <= self.bound } else { self.measured >= self.bound }
    }
}

/// All of them as a table in Markdown.
#[must_use]
pub fn table(targets: &[Target]) -> String {
    let mut table = Table::new(["target", "bound", "measured", ""]);
    for target in targets {
        let relation = if target.is_most { "≤" } else { "≥" };
        let unit = |value: f64| format!("{} {}", number(value), target.unit).trim_end().to_owned();
        let met = if target.is_met() { "met" } else { "**missed**" };
        let bound = format!("{relation} {}", unit(target.bound));
        table.row([&target.what, &bound, &unit(target.measured), met]);
    }
    table.markdown()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_says_so() {
        let targets =
            [Target::at_least("rate", 9e6, 8e6, "/s"), Target::at_most("CPU", 1.2, 1.1, "×")];
        let text = table(&targets);
        assert!(text.contains("| rate | ≥ 8.00 M /s | 9.00 M /s | met |"), "{text}");
        assert!(text.contains("| CPU | ≤ 1.10 × | 1.20 × | **missed** |"), "{text}");
    }
}

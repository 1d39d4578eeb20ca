//! Service levels: `delivery.p99<5ms`, `completeness=1`, `errors=0`.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slo {
    text: String,
    metric: String,
    relation: Relation,
    /// Microseconds for times, plain otherwise.
    bound: f64,
}

impl FromStr for Slo {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let at = text.find(['<', '>', '=']).with_context(|| format!("no < > = in SLO {text:?}"))?;
        let (metric, rest) = text.split_at(at);
        let relations = [
            ("<=", Relation::LessOrEqual),
            (">=", Relation::GreaterOrEqual),
            ("==", Relation::Equal),
            ("<", Relation::Less),
            (">", Relation::Greater),
            ("=", Relation::Equal),
        ];
        let (bound, relation) = relations
            .iter()
            .find_map(|(sign, relation)| Some((rest.strip_prefix(sign)?, *relation)))
            .with_context(|| format!("relation in SLO {text:?}"))?;
        let metric = metric.trim().to_owned();
        crate::figures::check(&metric).map_err(|why| anyhow::anyhow!("SLO {text:?}: {why}"))?;
        Ok(Self { text: text.to_owned(), metric, relation, bound: quantity(bound)? })
    }
}

fn quantity(text: &str) -> anyhow::Result<f64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%' || c == 'µ');
    let number = || format!("number {text:?}");
    let factor = match &text[digits.len()..] {
        "" | "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "k" => 1e3,
        "M" => 1e6,
        "%" => return Ok(digits.trim().parse::<f64>().with_context(number)? / 100.0),
        unit => bail!("unknown unit {unit:?}"),
    };
    Ok(digits.trim().parse::<f64>().with_context(number)? * factor)
}

impl TryFrom<String> for Slo {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl From<Slo> for String {
    fn from(slo: Slo) -> Self {
        slo.text
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub slo: String,
    /// `None`: the run says nothing about it, which is a miss.
    pub value: Option<f64>,
    pub met: bool,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Slo {
    /// Name of the number in the report.
    #[must_use]
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// `value`: the report's number of that name, or why it says nothing.
    #[must_use]
    pub fn judge(&self, value: Result<f64, String>) -> Outcome {
        let met = value.as_ref().is_ok_and(|&value| match self.relation {
            Relation::Less => value < self.bound,
            Relation::LessOrEqual => value <= self.bound,
            Relation::Equal => (value - self.bound).abs() < 1e-9,
            Relation::GreaterOrEqual => value >= self.bound,
            Relation::Greater => value > self.bound,
        });
        let (value, why) = match value {
            Ok(value) => (Some(value), None),
            Err(why) => (None, Some(why)),
        };
        Outcome { slo: self.text.clone(), value, met, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_relations_are_read() {
        let slo: Slo = "delivery.p99<5ms".parse().unwrap();
        assert_eq!((slo.metric.as_str(), slo.bound), ("delivery.p99", 5000.0));
        assert_eq!("completeness>=99.5%".parse::<Slo>().unwrap().bound, 0.995);
        assert_eq!("deliveries_per_s > 8M".parse::<Slo>().unwrap().bound, 8e6);
        for wrong in ["delivery.p99", "late<", "late<5parsecs", "delivry.p99<5ms"] {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
    }
}

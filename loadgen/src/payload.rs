//! Sizes of message texts.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::stamp;

/// `128`, `uniform:64-512` or `weights:128=9,1024=1`; bytes of message text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub enum Payload {
    Fixed(usize),
    Uniform(usize, usize),
    Weights(Vec<(usize, f64)>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(usize),
    Text(String),
}

impl TryFrom<Text> for Payload {
    type Error = anyhow::Error;

    fn try_from(text: Text) -> anyhow::Result<Self> {
        match text {
            Text::Number(bytes) => bytes.to_string().parse(),
            Text::Text(text) => text.parse(),
        }
    }
}

impl From<Payload> for String {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Fixed(bytes) => bytes.to_string(),
            Payload::Uniform(low, high) => format!("uniform:{low}-{high}"),
            Payload::Weights(list) => {
                let list: Vec<_> = list.iter().map(|(size, w)| format!("{size}={w}")).collect();
                format!("weights:{}", list.join(","))
            }
        }
    }
}

impl FromStr for Payload {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let payload = match text.split_once(':') {
            None => Self::Fixed(text.trim().parse().context("payload size")?),
            Some(("uniform", range)) => {
                let (low, high) = range.split_once('-').context("uniform:LOW-HIGH")?;
                Self::Uniform(low.parse()?, high.parse()?)
            }
            Some(("weights", list)) => {
                let pair = |item: &str| -> anyhow::Result<(usize, f64)> {
                    let (size, weight) = item.split_once('=').context("weights:SIZE=WEIGHT,…")?;
                    Ok((size.trim().parse()?, weight.trim().parse()?))
                };
                Self::Weights(list.split(',').map(pair).collect::<anyhow::Result<_>>()?)
            }
            Some((kind, _)) => bail!("unknown payload distribution {kind:?}"),
        };
        let (low, high) = payload.bounds();
        ensure!(low >= stamp::LEN, "a payload holds a stamp of {} bytes at least", stamp::LEN);
        ensure!(low <= high && high <= 1 << 20, "payload sizes must ascend and be at most 1 MiB");
        Ok(payload)
    }
}

impl Payload {
    fn bounds(&self) -> (usize, usize) {
        match self {
            Self::Fixed(bytes) => (*bytes, *bytes),
            Self::Uniform(low, high) => (*low, *high),
            Self::Weights(list) => {
                let sizes = || list.iter().map(|(size, _)| *size);
                (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0))
            }
        }
    }

    pub fn sample(&self, rng: &mut impl Rng) -> usize {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::Uniform(low, high) => rng.random_range(*low..=*high),
            Self::Weights(list) => {
                let total: f64 = list.iter().map(|(_, weight)| weight).sum();
                let mut at = rng.random::<f64>() * total;
                for (size, weight) in list {
                    at -= weight;
                    if at <= 0.0 {
                        return *size;
                    }
                }
                list.last().map_or(stamp::LEN, |(size, _)| *size)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn distributions_read_back_as_written() {
        for text in ["128", "uniform:64-512", "weights:128=9,1024=1"] {
            assert_eq!(String::from(text.parse::<Payload>().unwrap()), text);
        }
    }

    #[test]
    fn sizes_without_room_for_a_stamp_are_refused() {
        for text in ["43", "uniform:10-100", "weights:20=1,128=1", "uniform:200-100", "many"] {
            assert!(text.parse::<Payload>().is_err(), "{text}");
        }
    }

    #[test]
    fn weights_draw_in_proportion() {
        let payload: Payload = "weights:100=3,200=1".parse().unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        let large = (0..4000).filter(|_| payload.sample(&mut rng) == 200).count();
        assert!((900..1100).contains(&large), "{large} of 4000");
    }
}

//! How the clients are distributed over the rooms.

use std::str::FromStr;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// `equal`, `zipf:S`, or explicit weights `4,2,1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RoomSizes {
    #[default]
    Equal,
    Zipf(f64),
    Weights(Vec<f64>),
}

impl FromStr for RoomSizes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "equal" {
            return Ok(Self::Equal);
        }
        if let Some(exponent) = text.strip_prefix("zipf:") {
            return Ok(Self::Zipf(exponent.parse()?));
        }
        let weights: Vec<f64> =
            text.split(',').map(|w| w.trim().parse::<f64>()).collect::<Result<_, _>>()?;
        ensure!(weights.iter().all(|w| *w > 0.0), "room weights must be positive");
        Ok(Self::Weights(weights))
    }
}

impl TryFrom<String> for RoomSizes {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl From<RoomSizes> for String {
    fn from(sizes: RoomSizes) -> Self {
        match sizes {
            RoomSizes::Equal => "equal".into(),
            RoomSizes::Zipf(exponent) => format!("zipf:{exponent}"),
            RoomSizes::Weights(list) => {
                list.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
            }
        }
    }
}

impl RoomSizes {
    /// The weight of each of `rooms` rooms.
    #[must_use]
    pub fn weights(&self, rooms: usize) -> Vec<f64> {
        match self {
            Self::Equal => vec![1.0; rooms],
            Self::Zipf(exponent) => (1..=rooms).map(|rank| (rank as f64).powf(-exponent)).collect(),
            Self::Weights(list) => (0..rooms).map(|room| list[room % list.len()]).collect(),
        }
    }
}

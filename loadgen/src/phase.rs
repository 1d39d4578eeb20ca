//! Phases: what happens to the load and the clients over time.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The rate (and with `clients` the crowd) grows steadily.
    Ramp,
    #[default]
    Hold,
    /// The rate is multiplied by `factor`.
    Spike,
    /// Clients leave and join again, `per_s` of them each second.
    Churn,
    /// A `fraction` of the clients is cut off at once and comes back within `over_s`.
    Reconnect,
    /// A `fraction` of the clients reads only `bytes_per_s`.
    Slow,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phase {
    pub kind: Kind,
    pub name: Option<String>,
    pub duration_s: f64,
    /// Messages per second at the end of the phase; default: the scenario's rate.
    pub rate: Option<f64>,
    /// Messages per second at the start; default: as at the end.
    pub rate_from: Option<f64>,
    /// Spike: how many times the scenario's rate.
    pub factor: Option<f64>,
    /// Clients connected at the end of the phase (more than before: they come evenly).
    pub clients: Option<usize>,
    /// Churn: leaves, each followed by a join, per second over all threads.
    pub per_s: Option<f64>,
    /// Reconnect and slow: share of the clients that do not publish.
    pub fraction: Option<f64>,
    /// Reconnect: the window within which they come back.
    pub over_s: Option<f64>,
    /// Slow: bytes per second each slow client reads; 0: none.
    pub bytes_per_s: Option<u64>,
}

impl Phase {
    #[must_use]
    pub fn hold(name: &str, duration_s: f64) -> Self {
        Self { name: Some(name.into()), duration_s, ..Self::default() }
    }

    #[must_use]
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{:?}", self.kind).to_lowercase())
    }

    #[must_use]
    pub fn rate_factor(&self) -> f64 {
        match self.kind {
            Kind::Spike => self.factor.unwrap_or(5.0),
            _ => self.factor.unwrap_or(1.0),
        }
    }

    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.fraction.unwrap_or(match self.kind {
            Kind::Reconnect => 1.0,
            Kind::Slow => 0.1,
            _ => 0.0,
        })
    }
}

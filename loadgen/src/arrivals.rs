//! Open-loop arrivals: the times at which messages are due, fixed before anything is sent.

use rand::Rng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    #[default]
    Constant,
    Poisson,
}

/// A stretch of time with a rate that runs straight from `rate_from` to `rate_to` (per second).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub start_s: f64,
    pub end_s: f64,
    pub rate_from: f64,
    pub rate_to: f64,
}

/// Yields due times in seconds from the start of the run, in order.
pub struct Schedule {
    segments: Vec<Segment>,
    current: usize,
    at_s: f64,
    arrivals: Arrivals,
    rng: SmallRng,
    first: Option<f64>,
}

impl Schedule {
    /// `first`: area before the first constant arrival (0–1), so that threads interleave.
    #[must_use]
    pub fn new(segments: Vec<Segment>, arrivals: Arrivals, first: f64, rng: SmallRng) -> Self {
        let at_s = segments.first().map_or(0.0, |segment| segment.start_s);
        Self { segments, current: 0, at_s, arrivals, rng, first: Some(first) }
    }
}

impl Iterator for Schedule {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        // An arrival is due when the integral of the rate has grown by `need`.
        let mut need = match self.arrivals {
            Arrivals::Constant => self.first.take().unwrap_or(1.0),
            Arrivals::Poisson => -(1.0 - self.rng.random::<f64>()).ln(),
        };
        loop {
            let segment = self.segments.get(self.current)?;
            let span = segment.end_s - segment.start_s;
            let slope = if span > 0.0 { (segment.rate_to - segment.rate_from) / span } else { 0.0 };
            let rate = segment.rate_from + slope * (self.at_s - segment.start_s);
            let rest = segment.end_s - self.at_s;
            let area = (rate + segment.rate_to) / 2.0 * rest;
            if area < need {
                need -= area;
                self.current += 1;
                self.at_s = self.segments.get(self.current)?.start_s;
                continue;
            }
            let step = if slope.abs() < 1e-9 {
                need / rate
            } else {
                ((rate * rate + 2.0 * slope * need).max(0.0).sqrt() - rate) / slope
            };
            self.at_s += step;
            return Some(self.at_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn segment(start_s: f64, end_s: f64, rate_from: f64, rate_to: f64) -> Segment {
        Segment { start_s, end_s, rate_from, rate_to }
    }

    fn times(segments: Vec<Segment>, arrivals: Arrivals) -> Vec<f64> {
        Schedule::new(segments, arrivals, 0.5, SmallRng::seed_from_u64(7)).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        let times = times(vec![segment(0.0, 2.0, 100.0, 100.0)], Arrivals::Constant);
        assert_eq!(times.len(), 200);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.01).abs() < 1e-9));
    }

    #[test]
    fn a_ramp_sends_the_area_under_it_and_thickens() {
        let segments = vec![segment(0.0, 10.0, 0.0, 100.0), segment(10.0, 11.0, 0.0, 0.0)];
        let times = times(segments, Arrivals::Constant);
        assert_eq!(times.len(), 500);
        let early = times.iter().filter(|t| **t < 5.0).count();
        assert!((124..=126).contains(&early), "{early} of 500 in the first half");
    }

    #[test]
    fn poisson_arrivals_keep_the_mean_and_vary() {
        let times = times(vec![segment(0.0, 20.0, 500.0, 500.0)], Arrivals::Poisson);
        assert!((9_600..=10_400).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // The deviation of exponential gaps equals their mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.1);
    }

    #[test]
    fn a_silent_segment_is_skipped() {
        let segments = vec![
            segment(0.0, 1.0, 10.0, 10.0),
            segment(1.0, 5.0, 0.0, 0.0),
            segment(5.0, 6.0, 10.0, 10.0),
        ];
        let times = times(segments, Arrivals::Constant);
        assert!(times.iter().all(|t| *t <= 1.0 || *t >= 5.0));
        assert!((19..=20).contains(&times.len()));
    }
}

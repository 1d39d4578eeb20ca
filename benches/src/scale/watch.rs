//! The server's own metrics, read a few times a second while a run goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

const PERIOD: Duration = Duration::from_millis(400);

/// Metrics at one instant; labelled ones are summed.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub at_s: f64,
    values: BTreeMap<String, f64>,
}

impl Sample {
    /// `throng_joins_total` and so on; 0 if there is no such metric.
    #[must_use]
    pub fn get(&self, metric: &str) -> f64 {
        self.values.get(metric).copied().unwrap_or(0.0)
    }
}

/// # Errors
/// The server does not answer.
pub fn sample(url: &str, since: Instant) -> anyhow::Result<Sample> {
    let text = ureq::get(url).call().with_context(|| format!("GET {url}"))?;
    let text = text.into_body().read_to_string().with_context(|| format!("metrics of {url}"))?;
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split('{').next().unwrap_or_default();
        *values.entry(name.to_owned()).or_insert(0.0) += value.parse::<f64>().unwrap_or(0.0);
    }
    Ok(Sample { at_s: since.elapsed().as_secs_f64(), values })
}

/// Waits until the server has no sessions left: the next run must not pay for this one.
///
/// # Errors
/// Sessions stay, or the server does not answer.
pub fn until_empty(url: &str) -> anyhow::Result<()> {
    let since = Instant::now();
    while sample(url, since)?.get("throng_sessions") > 0.0 {
        ensure!(since.elapsed() < Duration::from_secs(120), "sessions stay after their clients");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Watch {
    /// Begins to read.
    #[must_use]
    pub fn start(url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (since, mut samples) = (Instant::now(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                // A server too busy to answer is asked again; the gap is seen in the times.
                samples.extend(sample(&url, since));
                std::thread::sleep(PERIOD);
            }
            samples
        });
        Self { stop, thread }
    }

    /// Everything read since.
    #[must_use]
    pub fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// The largest growth of `value` per second over any stretch of at least `over_s`.
#[must_use]
pub fn fastest(samples: &[Sample], value: impl Fn(&Sample) -> f64, over_s: f64) -> f64 {
    let mut fastest = 0.0f64;
    for (at, from) in samples.iter().enumerate() {
        if let Some(to) = samples[at..].iter().find(|to| to.at_s - from.at_s >= over_s) {
            let growth = value(to) - value(from);
            fastest = fastest.max(growth / (to.at_s - from.at_s));
        }
    }
    fastest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_stretch_is_found() {
        let sample = |at_s: f64, bytes: f64| Sample {
            at_s,
            values: BTreeMap::from([("bytes".to_owned(), bytes)]),
        };
        let samples = [sample(0.0, 0.0), sample(1.0, 10.0), sample(2.0, 110.0), sample(3.0, 120.0)];
        let bytes = |sample: &Sample| sample.get("bytes");
        assert_eq!(fastest(&samples, bytes, 1.0), 100.0);
        assert_eq!(fastest(&samples, bytes, 3.0), 40.0);
        assert_eq!(fastest(&samples, bytes, 9.0), 0.0);
        assert_eq!(samples[0].get("nothing"), 0.0);
    }
}

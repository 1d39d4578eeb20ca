//! Latency histograms: 1 µs to 60 s, three significant digits.

use hdrhistogram::Histogram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Intended publish time to each receipt.
    Delivery,
    /// Intended publish time to the ack.
    Ack,
    /// TCP connect.
    Connect,
    /// Upgrade request to the answered Socket.IO CONNECT (raw: to 101).
    Handshake,
    /// Join request to its answer.
    Join,
    /// Actual minus intended send time: the generator's own lateness.
    Lag,
    /// From the time a client was due to its last answered join: all that a user waits for.
    Entry,
    /// The same for clients that come back.
    Return,
    /// Last membership change, or the member's own join, to the last change of its view.
    Convergence,
}

pub const METRICS: [(Metric, &str); 9] = [
    (Metric::Delivery, "delivery"),
    (Metric::Ack, "ack"),
    (Metric::Connect, "connect"),
    (Metric::Handshake, "handshake"),
    (Metric::Join, "join"),
    (Metric::Lag, "lag"),
    (Metric::Entry, "entry"),
    (Metric::Return, "return"),
    (Metric::Convergence, "convergence"),
];

pub const MAX_US: u64 = 60_000_000;

#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are constants that fit")
}

/// (value in µs, count) of every bucket that holds something.
pub type Sparse = Vec<(u64, u64)>;

#[must_use]
pub fn sparse(histogram: &Histogram<u64>) -> Sparse {
    histogram
        .iter_recorded()
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}

pub fn add_sparse(histogram: &mut Histogram<u64>, buckets: &Sparse) {
    for (value, count) in buckets {
        histogram.saturating_record_n((*value).clamp(1, MAX_US), *count);
    }
}

/// One histogram per metric.
pub struct Samples {
    histograms: [Histogram<u64>; METRICS.len()],
    /// Equal delivery latencies in a row, (µs, count): messages that left and came together.
    run: (u64, u64),
}

impl Default for Samples {
    fn default() -> Self {
        Self { histograms: std::array::from_fn(|_| histogram()), run: (1, 0) }
    }
}

impl Samples {
    pub fn record_ns(&mut self, metric: Metric, ns: u64) {
        self.histograms[metric as usize].saturating_record((ns / 1_000).clamp(1, MAX_US));
    }

    /// The same for [`Metric::Delivery`], cheap for several equal ones in a row. [`Samples::take`]
    /// includes them; [`Samples::of`] may not yet.
    #[inline]
    pub fn record_delivery_ns(&mut self, ns: u64) {
        let us = ns / 1_000;
        if us == self.run.0 {
            self.run.1 += 1;
        } else {
            self.end_run();
            self.run = (us, 1);
        }
    }

    fn end_run(&mut self) {
        let (us, count) = std::mem::take(&mut self.run);
        if count > 0 {
            let us = us.clamp(1, MAX_US);
            self.histograms[Metric::Delivery as usize].saturating_record_n(us, count);
        }
    }

    #[must_use]
    pub fn of(&self, metric: Metric) -> &Histogram<u64> {
        &self.histograms[metric as usize]
    }

    pub fn of_mut(&mut self, metric: Metric) -> &mut Histogram<u64> {
        &mut self.histograms[metric as usize]
    }

    /// What was recorded since the last call, per metric that has anything.
    pub fn take(&mut self) -> Vec<(Metric, Sparse)> {
        self.end_run();
        let mut taken = Vec::new();
        for (metric, _) in METRICS {
            let histogram = &mut self.histograms[metric as usize];
            if !histogram.is_empty() {
                taken.push((metric, sparse(histogram)));
                histogram.reset();
            }
        }
        taken
    }

    pub fn add(&mut self, taken: &[(Metric, Sparse)]) {
        for (metric, buckets) in taken {
            add_sparse(&mut self.histograms[*metric as usize], buckets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_and_adding_keeps_every_percentile() {
        let mut samples = Samples::default();
        let mut whole = histogram();
        for us in (1..200_000).step_by(37) {
            for _ in 0..us % 4 {
                samples.record_delivery_ns(us * 1_000 + us % 1_000);
                whole.record(us).unwrap();
            }
        }
        let mut merged = Samples::default();
        merged.add(&samples.take());
        assert!(samples.take().is_empty());
        assert_eq!(merged.of(Metric::Delivery).len(), whole.len());
        for quantile in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let merged = merged.of(Metric::Delivery).value_at_quantile(quantile);
            let whole = whole.value_at_quantile(quantile);
            assert!(merged.abs_diff(whole) <= whole / 500, "{quantile}: {merged} {whole}");
        }
    }
}

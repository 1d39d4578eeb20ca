//! Counters of the store, read by the metrics endpoint.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use throng_tables::metrics::{Family, Kind, Series};

/// Upper bounds of the latency buckets, in microseconds; a further bucket has no bound.
pub const LATENCY_BUCKETS_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];

/// Time of a transaction, from its first statement to the end of its commit.
pub const COMMIT_SECONDS: Family = Family {
    name: "store_commit_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    help: "Time of a transaction, from its first statement to the end of its commit.",
    series: Series::Fixed(&[&[]]),
};

throng_tables::metrics! {
    /// Counts since the store was opened.
    #[derive(Debug, Default)]
    pub struct StoreCounters: AtomicU64, "store_";

    Counter commits "transactions": "Transactions committed.";
    Counter commit_failures "transactions": "Transactions that failed.";
    Counter commit_retries "transactions": "Transactions repeated after a conflict or a lost \
        connection.";
    Counter commits_unknown "transactions": "Transactions of which it could not be found out \
        whether they were committed.";
    Counter unanswered "calls": "Calls that the database server did not answer in time.";
    Counter jobs "jobs": "Appends and saves answered by a commit, whatever the answer.";
    Counter messages "messages": "Messages committed.";
    Counter repeats "messages": "Messages answered with the number of one that was stored before \
        under the same client id.";
    Counter token_lookups "look-ups": "Look-ups of one token, of a request of the API.";
    Counter hashes_refused "hashes": "Logins and registrations refused because too many waited for a \
        password hash, or for too long.";
    Gauge hash_memory "bytes": "Memory that the threads for password hashes keep.";
    Counter refusals "jobs": "Appends and saves refused because the queue was full.";
}

/// What the group commit counts and measures.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// The counters.
    pub counters: StoreCounters,
    /// The histogram of [`COMMIT_SECONDS`].
    pub commit_latency: LatencyHistogram,
}

/// A histogram of latencies with fixed buckets.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    buckets: [AtomicU64; LATENCY_BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl LatencyHistogram {
    pub(crate) fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// Counts per bucket, not cumulative; the last bucket has no upper bound.
    #[must_use]
    pub fn buckets(&self) -> [u64; LATENCY_BUCKETS_US.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed))
    }

    /// Sum of all latencies, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Relaxed)
    }

    /// Number of latencies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets().iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_at_a_bound_belongs_below_it() {
        let histogram = LatencyHistogram::default();
        histogram.record(Duration::from_micros(250));
        histogram.record(Duration::from_micros(251));
        histogram.record(Duration::from_secs(60));
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[14]), (1, 1, 1));
        assert_eq!(histogram.sum_us(), 60_000_501);
    }
}

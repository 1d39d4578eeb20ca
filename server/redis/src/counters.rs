//! Counters of ingress and egress.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    emits: AtomicU64,
    published: AtomicU64,
    unpublished: AtomicU64,
    is_subscribed: AtomicU64,
    skipped: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// Events of other programs that were handed to the shards.
    pub fn emits(&self) -> u64 {
        self.emits.load(Relaxed)
    }

    /// Messages published for other programs.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Messages that Redis did not accept, or that did not fit the queue.
    pub fn unpublished(&self) -> u64 {
        self.unpublished.load(Relaxed)
    }

    /// Whether ingress is subscribed now.
    pub fn is_subscribed(&self) -> bool {
        self.is_subscribed.load(Relaxed) == 1
    }

    /// Publications that were not passed on, by reason.
    pub fn skipped(&self) -> Vec<(&'static str, u64)> {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    pub(crate) fn count_emit(&self) {
        self.emits.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_published(&self, count: usize) {
        self.published.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn count_unpublished(&self, count: usize) {
        self.unpublished.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn count_skipped(&self, reason: &'static str) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        *skipped.entry(reason).or_insert(0) += 1;
    }

    pub(crate) fn subscribed(&self, is_subscribed: bool) {
        self.is_subscribed.store(u64::from(is_subscribed), Relaxed);
    }
}

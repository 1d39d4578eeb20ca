//! What a session is given while it handles bytes.

use std::sync::atomic::Ordering;

use crate::shared::Shared;
use crate::stamp::Locator;
use crate::stats::Stats;

/// What the clients of one thread share while bytes are handled.
#[derive(Default)]
pub struct Local {
    pub stats: Stats,
    pub locator: Locator,
    pub scratch: Vec<u8>,
    /// What was opened of sealed bytes.
    pub opened: Vec<u8>,
}

impl Local {
    /// A message without a stamp that can be read: of others, or one of ours that came altered.
    #[cold]
    pub fn count_illegible(&mut self, payload: &[u8]) {
        let is_ours = self.locator.has_mark(payload);
        let counters = &mut self.stats.counters;
        counters.corrupted += u64::from(is_ours);
        counters.foreign += u64::from(!is_ours);
    }
}

/// Monotonic nanoseconds, both ends included.
#[derive(Clone, Copy)]
pub struct Span {
    from_ns: u64,
    to_ns: u64,
}

impl Span {
    #[inline]
    #[must_use]
    pub fn contains(&self, at_ns: u64) -> bool {
        at_ns >= self.from_ns && at_ns <= self.to_ns
    }
}

/// One batch of work: the clock is read once per batch.
pub struct Turn<'t> {
    pub shared: &'t Shared,
    pub local: &'t mut Local,
    pub now_ns: u64,
    /// The measured time; empty until it is known.
    pub measured: Span,
}

impl<'t> Turn<'t> {
    pub fn new(shared: &'t Shared, local: &'t mut Local, now_ns: u64) -> Self {
        let known = |at: u64| if at == 0 { u64::MAX } else { at };
        let from_ns = known(shared.times.measure_ns.load(Ordering::Relaxed));
        let to_ns = known(shared.times.end_ns.load(Ordering::Relaxed));
        Self { shared, local, now_ns, measured: Span { from_ns, to_ns } }
    }
}

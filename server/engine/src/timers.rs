//! Deadlines of many sessions, rounded up to few moments.

use std::collections::BTreeMap;

use crate::engine::Owner;
use crate::ids::{PipeId, SessionId};
use crate::now::Now;

/// Deadlines within one tick fire together, at most one tick late. Well below any heartbeat, and it
/// keeps 100,000 sessions in about 3,000 ticks.
const TICK_NS: u64 = 8_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Session(SessionId),
    Probe(PipeId),
    /// A pipe that should have sent its last bytes by now.
    Closing(PipeId),
    /// A pipe may be read again.
    Resume(PipeId),
    /// A POST may be answered.
    LateAnswer(SessionId),
    /// An owner without sessions may owe nothing any more.
    Owner(Owner),
}

/// The owner of a timer decides when it fires whether it still means anything; nothing is ever
/// removed early.
#[derive(Default)]
pub(crate) struct Timers {
    ticks: BTreeMap<u64, Vec<Timer>>,
}

impl Timers {
    /// Returns the moment at which the timer will fire: `at`, rounded up to a tick.
    pub(crate) fn schedule(&mut self, at: Now, timer: Timer) -> Now {
        let tick = at.0.div_ceil(TICK_NS);
        self.ticks.entry(tick).or_default().push(timer);
        Now(tick * TICK_NS)
    }

    /// Whether the timer fires at exactly this moment.
    pub(crate) fn fires_at(&self, at: Now, timer: Timer) -> bool {
        self.ticks.get(&(at.0 / TICK_NS)).is_some_and(|timers| timers.contains(&timer))
    }

    /// Whether the timer will fire at all.
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.ticks.values().any(|timers| timers.contains(&timer))
    }

    /// When a timer for this deadline fires at the latest.
    pub(crate) fn fires_by(at: Now) -> Now {
        Now(at.0.div_ceil(TICK_NS).saturating_mul(TICK_NS))
    }

    pub(crate) fn next(&self) -> Option<Now> {
        self.ticks.first_key_value().map(|(tick, _)| Now(tick * TICK_NS))
    }

    /// Takes the timers of one tick that is due.
    pub(crate) fn due(&mut self, now: Now) -> Option<Vec<Timer>> {
        let entry = self.ticks.first_entry()?;
        (entry.key() * TICK_NS <= now.0).then(|| entry.remove())
    }
}

//! Writes that the database has not answered yet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A write that waits for longer waits for a lock, or for a server that does nothing: less than the two seconds in
/// which the server must know that it cannot serve, with a look every half second.
const STUCK_AFTER: Duration = Duration::from_millis(1200);

/// For how long a write that was given up counts, if no other shows that the database writes again.
const GIVEN_UP_COUNTS: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    begun: BTreeMap<u64, Instant>,
    /// When the last write was given up, unless one was answered since.
    given_up: Option<Instant>,
}

/// One write; dropped when its caller is gone.
pub(crate) struct Waiting<'a> {
    number: u64,
    writes: &'a Unanswered,
}

impl Unanswered {
    pub fn begin(&self) -> Waiting<'_> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.begun.insert(number, Instant::now());
        Waiting { number, writes: self }
    }

    /// Whether writes wait for too long, or did when they were last tried.
    pub fn are_stuck(&self) -> bool {
        let state = self.state();
        let oldest = state.begun.first_key_value().map(|(_, begun)| begun.elapsed());
        oldest.is_some_and(|waits| waits > STUCK_AFTER)
            || state.given_up.is_some_and(|given_up| given_up.elapsed() < GIVEN_UP_COUNTS)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    pub fn end(self, is_answered: bool) {
        self.writes.state().given_up = (!is_answered).then(Instant::now);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.writes.state().begun.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_are_stuck_while_the_oldest_waits_and_until_one_is_answered() {
        let writes = Unanswered::default();
        let first = writes.begin();
        advance(STUCK_AFTER).await;
        assert!(!writes.are_stuck());
        let second = writes.begin();
        advance(Duration::from_millis(1)).await;
        assert!(writes.are_stuck());
        first.end(false);
        assert!(writes.are_stuck(), "it was given up");
        second.end(true);
        assert!(!writes.are_stuck());
        writes.begin().end(false);
        assert!(writes.are_stuck());
        advance(GIVEN_UP_COUNTS).await;
        assert!(!writes.are_stuck(), "nobody has tried for some time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_whose_caller_is_gone_does_not_count() {
        let writes = Unanswered::default();
        let waiting = writes.begin();
        advance(2 * STUCK_AFTER).await;
        drop(waiting);
        assert!(!writes.are_stuck());
    }
}

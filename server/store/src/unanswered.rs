//! Writes that the database has not answered yet.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{StorageFault, StoreError};

/// A write that waits for longer waits for a lock, or for a server that does nothing: with two looks, half a second
/// apart, less than the two seconds in which the server must know that it cannot serve.
const STUCK_AFTER: Duration = Duration::from_millis(900);

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
    /// How long the last one took that was answered: a database that is slow is not stuck.
    took: Duration,
}

/// One write.
pub(crate) struct Waiting<'a> {
    number: u64,
    begun: Instant,
    is_answered: bool,
    writes: &'a Unanswered,
}

impl Unanswered {
    pub fn begin(&self) -> Waiting<'_> {
        let mut state = self.state();
        let number = state.next;
        let begun = Instant::now();
        state.next += 1;
        state.begun.insert(number, begun);
        Waiting { number, begun, is_answered: false, writes: self }
    }

    /// Whether writes wait for too long, or did when they were last tried.
    pub fn are_stuck(&self) -> bool {
        let state = self.state();
        let oldest = state.begun.first_key_value().map(|(_, begun)| begun.elapsed());
        oldest.is_some_and(|waits| waits > STUCK_AFTER.max(2 * state.took))
            || state.given_up.is_some_and(|given_up| given_up.elapsed() < GIVEN_UP_COUNTS)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// What the database says is an answer, but not that there is no connection, nor that it has waited for too long.
    pub fn end<T>(mut self, outcome: &Result<T, StoreError>) {
        self.is_answered = match outcome {
            Ok(_) => true,
            Err(error @ StoreError::Database(cause)) => {
                let waited = [StorageFault::Locked, StorageFault::Unanswered].map(Some);
                matches!(**cause, sqlx::Error::Database(_))
                    && !waited.contains(&error.storage_fault())
            }
            Err(_) => false,
        };
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.writes.state();
        state.begun.remove(&self.number);
        if self.is_answered {
            state.given_up = None;
            state.took = self.begun.elapsed();
        } else if self.begun.elapsed() > STUCK_AFTER {
            // It was given up, here or by its caller.
            state.given_up = Some(Instant::now());
        }
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
        drop(first);
        assert!(writes.are_stuck(), "it was given up");
        second.end(&Ok(()));
        assert!(!writes.are_stuck());
        writes.begin().end(&Ok(()));
        let third = writes.begin();
        advance(2 * STUCK_AFTER).await;
        drop(third);
        assert!(writes.are_stuck());
        // Neither a caller that does not wait nor a lost connection shows anything.
        drop(writes.begin());
        writes.begin().end::<()>(&Err(StoreError::Closed));
        assert!(writes.are_stuck());
        advance(GIVEN_UP_COUNTS).await;
        assert!(!writes.are_stuck(), "nobody has tried for some time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_slow_is_not_stuck() {
        let writes = Unanswered::default();
        for _ in 0..3 {
            let slow = writes.begin();
            advance(STUCK_AFTER).await;
            slow.end(&Ok(()));
            let next = writes.begin();
            advance(2 * STUCK_AFTER).await;
            assert!(!writes.are_stuck());
            advance(Duration::from_millis(1)).await;
            assert!(writes.are_stuck());
            drop(next);
        }
    }
}

//! Turns that connections take on the thread while their users are not known.
//!
//! Thousands of them are ready at once, and the runtime polls what is ready in order: a user would wait behind all
//! of them. So few of them are polled between two looks of the runtime at its sockets, in the order in which they
//! became ready; and the connection of a user is polled at once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::activity::Activity;
use crate::link::IsIdentified;

#[derive(Default)]
pub(super) struct Turns {
    lines: Mutex<Lines>,
    has_waiting: Notify,
}

/// So many connections with buffers wait before fewer new ones are let in: each has several turns before it ends.
const BEGUN_MANY: usize = 256;
/// Then a new one is let in once in so many passes: who is new waits for those that are always ready, but not for ever.
const PASSES_PER_NEW: u64 = 2;

#[derive(Default)]
struct Lines {
    passes: u64,
    /// Connections that have no buffers yet.
    new: Line,
    begun: Line,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waker>,
    /// Number of the first that waits: those before it have had their turn.
    first: u64,
}

impl Line {
    /// Whether it is the turn of a connection with this number. Without one it is given the next.
    fn has_come(&mut self, number: &mut Option<u64>, context: &mut Context<'_>) -> bool {
        if let Some(given) = *number {
            let has_come = given < self.first;
            if has_come {
                *number = None;
            }
            return has_come;
        }
        *number = Some(self.first + self.waiting.len() as u64);
        self.waiting.push_back(context.waker().clone());
        false
    }

    /// False if none waits.
    fn give_one(&mut self) -> bool {
        let Some(waker) = self.waiting.pop_front() else { return false };
        self.first += 1;
        // The connection may have ended meanwhile: that wakes nobody.
        waker.wake();
        true
    }
}

impl Turns {
    /// Completes when the turn of a new connection has come.
    pub(super) async fn first(&self) {
        let mut number = None;
        let has_come = |context: &mut Context<'_>| {
            if self.lines().new.has_come(&mut number, context) {
                return Poll::Ready(());
            }
            self.has_waiting.notify_one();
            Poll::Pending
        };
        std::future::poll_fn(has_come).await;
    }

    /// Completes when the connection has ended. It is polled in its turn.
    pub(super) async fn take<F: Future>(
        &self,
        is_identified: &IsIdentified,
        activity: &Activity,
        mut connection: Pin<&mut F>,
    ) -> F::Output {
        let mut number = None;
        std::future::poll_fn(|context| {
            let is_turn = is_identified.get() || self.lines().begun.has_come(&mut number, context);
            activity.set_waiting(!is_turn);
            if is_turn {
                return connection.as_mut().poll(context);
            }
            self.has_waiting.notify_one();
            Poll::Pending
        })
        .await
    }

    /// Gives the turns, for ever.
    pub(super) async fn give(&self) {
        loop {
            self.has_waiting.notified().await;
            while self.give_some() {
                // The runtime looks at its sockets before this task is polled again.
                yield_now().await;
            }
        }
    }

    /// True if any wait. Most turns are for connections that have begun, so that few have at a time.
    fn give_some(&self) -> bool {
        let Lines { passes, new, begun } = &mut *self.lines();
        *passes += 1;
        let lets_in = begun.waiting.len() < BEGUN_MANY || passes.is_multiple_of(PASSES_PER_NEW);
        for of_new in [lets_in, false, false, false] {
            let (one, other) =
                if of_new { (&mut *new, &mut *begun) } else { (&mut *begun, &mut *new) };
            if !one.give_one() && !other.give_one() {
                return false;
            }
        }
        true
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A connection that is always ready, and notes each time it is polled.
    fn endless(polls: Arc<Mutex<Vec<usize>>>, index: usize) -> impl Future<Output = ()> {
        std::future::poll_fn(move |context| {
            polls.lock().expect("no test panics with it").push(index);
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[tokio::test]
    async fn strangers_take_turns_and_users_wait_for_few_of_them() {
        const STRANGERS: usize = 1000;
        let turns = Arc::new(Turns::default());
        let polls = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        let giving = Arc::clone(&turns);
        tasks.spawn(async move { giving.give().await });
        for index in 0..=STRANGERS {
            let is_identified = IsIdentified::from(index == STRANGERS);
            let (turns, polls) = (Arc::clone(&turns), Arc::clone(&polls));
            tasks.spawn(async move {
                let connection = std::pin::pin!(endless(polls, index));
                turns.take(&is_identified, &Activity::new(), connection).await;
            });
        }
        let count = || polls.lock().expect("no test panics with it").len();
        while count() < 100 * STRANGERS {
            yield_now().await;
        }
        tasks.abort_all();
        let polls = polls.lock().expect("no test panics with it");
        // All begin at once; after that a user waits for no more than two passes.
        let of_user: Vec<usize> = (0..polls.len()).filter(|at| polls[*at] == STRANGERS).collect();
        for pair in of_user.windows(2) {
            assert!(pair[1] - pair[0] <= 2 * 4 + 1, "{pair:?}");
        }
        let of_strangers: Vec<usize> =
            polls.iter().copied().filter(|index| *index < STRANGERS).collect();
        assert!(of_strangers.len() >= 2 * STRANGERS, "{}", of_strangers.len());
        for (at, index) in of_strangers.iter().enumerate() {
            assert_eq!(*index, at % STRANGERS, "each in its turn");
        }
    }

    #[tokio::test]
    async fn few_are_let_in_while_many_wait() {
        let turns = Turns::default();
        let (is_identified, activity) = (IsIdentified::from(false), Activity::new());
        for waiting in [BEGUN_MANY - 1, 4 * BEGUN_MANY] {
            // They have ended by their turn: that wakes nobody.
            for _ in 0..1000 {
                assert!(polled_once(turns.first()).await.is_none());
            }
            for _ in 0..waiting {
                let connection = std::pin::pin!(std::future::pending::<()>());
                let waits = turns.take(&is_identified, &activity, connection);
                assert!(polled_once(waits).await.is_none());
            }
            for _ in 0..2 * PASSES_PER_NEW {
                assert!(turns.give_some());
            }
            let let_in = 1000 - turns.lines().new.waiting.len() as u64;
            let expected = if waiting < BEGUN_MANY { 2 * PASSES_PER_NEW } else { 2 };
            assert_eq!(let_in, expected, "{waiting} waited");
            while turns.give_some() {}
        }
    }

    #[tokio::test]
    async fn a_connection_that_ended_while_it_waited_delays_nobody() {
        let turns = Turns::default();
        let (is_identified, activity) = (IsIdentified::from(false), Activity::new());
        for _ in 0..100 {
            let connection = std::pin::pin!(std::future::pending::<()>());
            let waits = turns.take(&is_identified, &activity, connection);
            assert!(polled_once(waits).await.is_none());
        }
        let connection = std::pin::pin!(std::future::ready(7));
        let taken = turns.take(&is_identified, &activity, connection);
        tokio::select! {
            seven = taken => assert_eq!(seven, 7),
            () = turns.give() => unreachable!("turns are given for ever"),
        }
    }

    /// Polls once.
    async fn polled_once<F: Future>(future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            Poll::Ready(match future.as_mut().poll(context) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        })
        .await
    }
}

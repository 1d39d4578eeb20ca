//! How long a connection of the HTTP thread may be silent.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::places::Places;
use super::turns::IsIdentified;

/// What a connection is doing. Clones are about the same connection.
#[derive(Clone)]
pub(super) struct Activity(watch::Sender<Phase>);

#[derive(Clone, Copy)]
enum Phase {
    /// Between two requests, since the last byte was written.
    Idle(Instant),
    /// A request head has begun to arrive.
    Head(Instant),
    /// A request is being served. What serves it has time limits of its own.
    Request,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    Late,
    /// Too many heads are arriving, and this is the oldest.
    HeadDisplaced,
    /// Too many connections are idle, and this one has been for the longest.
    IdleDisplaced,
}

/// A request that is being served; dropped when its answer is ready to be sent.
pub(super) struct Serving(Activity);

impl Activity {
    pub(super) fn new() -> Activity {
        Activity(watch::Sender::new(Phase::Idle(Instant::now())))
    }

    pub(super) fn has_read(&self) {
        self.0.send_if_modified(|phase| {
            let is_first = matches!(phase, Phase::Idle(_));
            if is_first {
                *phase = Phase::Head(Instant::now());
            }
            is_first
        });
    }

    /// A client that still takes an answer is not idle.
    pub(super) fn has_written(&self) {
        self.0.send_if_modified(|phase| {
            let is_idle = matches!(phase, Phase::Idle(_));
            if is_idle {
                *phase = Phase::Idle(Instant::now());
            }
            is_idle
        });
    }

    pub(super) fn serve(&self) -> Serving {
        self.0.send_replace(Phase::Request);
        Serving(self.clone())
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(*self.0.borrow(), Phase::Request)
    }

    /// Completes when the connection was idle for `keep_alive`, when a head took `head_timeout`, or when
    /// it lost its place among `heads` or, if it has one, among `idle`: those of strangers and those of users, among
    /// whom are also users' heads.
    pub(super) async fn expired(
        &self,
        keep_alive: Duration,
        head_timeout: Duration,
        is_identified: &IsIdentified,
        heads: &Places,
        idle: Option<[&Places; 2]>,
    ) -> Expired {
        let mut phases = self.0.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let changed = phases.changed();
            let is_stranger = !is_identified.get();
            let has_changed = match phase {
                Phase::Idle(since) => tokio::select! {
                    has_changed = before(since + keep_alive, changed) => has_changed,
                    () = lost(idle.map(|idle| idle[usize::from(!is_stranger)])) => return Expired::IdleDisplaced,
                },
                Phase::Head(since) => tokio::select! {
                    has_changed = before(since + head_timeout, changed) => has_changed,
                    () = lost(if is_stranger { Some(heads) } else { idle.map(|idle| idle[1]) }) => return Expired::HeadDisplaced,
                },
                Phase::Request => changed.await.is_ok(),
            };
            if !has_changed {
                return Expired::Late;
            }
        }
    }
}

/// Takes a place, and completes when it is lost.
async fn lost(places: Option<&Places>) {
    match places {
        Some(places) => places.take().lost().await,
        None => std::future::pending().await,
    }
}

/// False when the deadline came before the change.
async fn before<E>(deadline: Instant, changed: impl Future<Output = Result<(), E>>) -> bool {
    tokio::select! {
        changed = changed => changed.is_ok(),
        () = sleep_until(deadline) => false,
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.send_replace(Phase::Idle(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(75);
    const HEAD: Duration = Duration::from_secs(30);

    /// Seconds until the connection expires; `None` if it does not within an hour.
    async fn lives(activity: &Activity) -> Option<u64> {
        let begun = Instant::now();
        let (stranger, heads) = (IsIdentified::from(false), Places::new(1));
        let expired = activity.expired(KEEP_ALIVE, HEAD, &stranger, &heads, Some([&heads; 2]));
        tokio::time::timeout(Duration::from_secs(3600), expired).await.ok()?;
        Some(begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_lives_longer_than_a_head_may_take() {
        let activity = Activity::new();
        assert_eq!(lives(&activity).await, Some(75));
        activity.has_read();
        assert_eq!(lives(&activity).await, Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_heads_the_oldest_is_given_up() {
        let (stranger, heads) = (IsIdentified::from(false), Places::new(1));
        let (first, second) = (Activity::new(), Activity::new());
        first.has_read();
        second.has_read();
        let first = first.expired(KEEP_ALIVE, HEAD, &stranger, &heads, None);
        let second = second.expired(KEEP_ALIVE, HEAD, &stranger, &heads, None);
        assert_eq!(tokio::join!(first, second), (Expired::HeadDisplaced, Expired::Late));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_idle_connections_the_one_that_was_so_for_longest_is_given_up() {
        let [heads, idle, of_users] = [(); 3].map(|()| Places::new(1));
        let (stranger, user) = (IsIdentified::from(false), IsIdentified::from(true));
        let [first, second, proxy, of_user] = [(); 4].map(|()| Activity::new());
        let of_user = of_user.expired(KEEP_ALIVE, HEAD, &user, &heads, Some([&idle, &of_users]));
        let proxy = proxy.expired(KEEP_ALIVE, HEAD, &stranger, &heads, None);
        let first = first.expired(KEEP_ALIVE, HEAD, &stranger, &heads, Some([&idle, &of_users]));
        let second = second.expired(KEEP_ALIVE, HEAD, &stranger, &heads, Some([&idle, &of_users]));
        let ended = tokio::join!(proxy, of_user, first, second);
        let late = Expired::Late;
        assert_eq!(ended, (late, late, Expired::IdleDisplaced, late));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_dribbles_in_gains_no_time() {
        let activity = Activity::new();
        activity.has_read();
        tokio::time::advance(Duration::from_secs(20)).await;
        activity.has_read();
        assert_eq!(lives(&activity).await, Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_does_not_expire_and_an_answer_that_is_read_is_not_idle() {
        let activity = Activity::new();
        activity.has_read();
        let serving = activity.serve();
        assert_eq!(lives(&activity).await, None);
        drop(serving);
        tokio::time::advance(Duration::from_secs(70)).await;
        activity.has_written();
        assert_eq!(lives(&activity).await, Some(75));
    }
}

//! How long a connection of the HTTP thread may be silent.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::places::Places;
use crate::link::IsIdentified;

/// When a connection tries again to take an idle place that it lost while it waited for its turn.
const PLACE_RETRY: Duration = Duration::from_secs(1);

/// How long a user may read nothing of an answer before its connection takes a place.
const READING_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of answers that are not read yet, from which on users who read take places too.
const UNSENT_BYTES_MAX: usize = 128 << 20;

/// What a connection is doing. Clones are about the same connection.
#[derive(Clone)]
pub(super) struct Activity {
    phase: watch::Sender<Phase>,
    /// It has to be polled, and it is not its turn: what has arrived is not read yet.
    is_waiting: Arc<AtomicBool>,
    /// Bytes of an answer that are not written yet.
    unsent: Arc<AtomicUsize>,
}

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
        let phase = watch::Sender::new(Phase::Idle(Instant::now()));
        Activity { phase, is_waiting: Arc::default(), unsent: Arc::default() }
    }

    pub(super) fn has_read(&self) {
        self.phase.send_if_modified(|phase| {
            let is_first = matches!(phase, Phase::Idle(_));
            if is_first {
                *phase = Phase::Head(Instant::now());
            }
            is_first
        });
    }

    /// The answer to the request that is being served has so many bytes. `all`: of all connections.
    pub(super) fn answers(&self, bytes: usize, all: &AtomicUsize) {
        let before = self.unsent.swap(bytes, Relaxed);
        all.fetch_sub(before, Relaxed);
        all.fetch_add(bytes, Relaxed);
    }

    /// A client that still takes an answer is not idle.
    pub(super) fn has_written(&self, bytes: usize, all: &AtomicUsize) {
        let unsent = self.unsent.load(Relaxed);
        let written = bytes.min(unsent);
        self.unsent.store(unsent - written, Relaxed);
        all.fetch_sub(written, Relaxed);
        self.phase.send_if_modified(|phase| {
            let is_idle = matches!(phase, Phase::Idle(_));
            if is_idle {
                *phase = Phase::Idle(Instant::now());
            }
            is_idle
        });
    }

    pub(super) fn serve(&self) -> Serving {
        self.phase.send_replace(Phase::Request);
        Serving(self.clone())
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Request)
    }

    /// Whether the connection is to be polled and its turn has not come.
    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.is_waiting.store(is_waiting, Relaxed);
    }

    /// Completes when the connection was idle, or a head took, too long, or when it lost its place.
    pub(super) async fn expired(
        &self,
        timeouts: Timeouts<'_>,
        is_identified: &IsIdentified,
    ) -> Expired {
        let mut phases = self.phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let changed = phases.changed();
            let is_user = is_identified.get();
            let idle = timeouts.idle.map(|idle| idle[usize::from(is_user)]);
            let has_changed = match phase {
                Phase::Idle(since) => {
                    let counts_from = match self.unsent.load(Relaxed) {
                        _ if !is_user => None,
                        0 => Some(since + timeouts.users_silence),
                        // What a client does not read is on no account of its session any more.
                        _ if timeouts.unsent.load(Relaxed) > UNSENT_BYTES_MAX => None,
                        _ => Some(since + READING_PAUSE),
                    };
                    tokio::select! {
                        has_changed = before(since + timeouts.keep_alive, changed) => has_changed,
                        () = self.displaced(idle, counts_from) => return Expired::IdleDisplaced,
                    }
                }
                Phase::Head(since) => tokio::select! {
                    has_changed = before(since + timeouts.head, changed) => has_changed,
                    () = lost(if is_user { idle } else { Some(timeouts.heads) }) => return Expired::HeadDisplaced,
                },
                Phase::Request => changed.await.is_ok(),
            };
            if !has_changed {
                return Expired::Late;
            }
        }
    }

    /// Takes a place among idle connections at that time, and completes when it is lost.
    async fn displaced(&self, idle: Option<&Places>, counts_from: Option<Instant>) {
        if let Some(counts_from) = counts_from {
            sleep_until(counts_from).await;
        }
        loop {
            lost(idle).await;
            if !self.is_waiting.load(Relaxed) {
                return;
            }
            // A request may have arrived: it is read when the turn comes.
            sleep(PLACE_RETRY).await;
        }
    }
}

/// What an idle connection, and one with a head that arrives, is granted.
#[derive(Clone, Copy)]
pub(super) struct Timeouts<'a> {
    pub keep_alive: Duration,
    pub head: Duration,
    /// An idle connection of a user takes a place after so long.
    pub users_silence: Duration,
    /// Bytes of long answers, of all connections, that are not written yet.
    pub unsent: &'a AtomicUsize,
    pub heads: &'a Places,
    /// Those of strangers and those of users, among whom are also users' heads.
    pub idle: Option<[&'a Places; 2]>,
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
        self.0.phase.send_replace(Phase::Idle(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS_SILENCE: u64 = 45;

    /// Shared by the tests: each leaves it as it was.
    static UNSENT: AtomicUsize = AtomicUsize::new(0);

    fn timeouts<'a>(heads: &'a Places, idle: Option<[&'a Places; 2]>) -> Timeouts<'a> {
        let [keep_alive, head, users_silence] = [75, 30, USERS_SILENCE].map(Duration::from_secs);
        Timeouts { keep_alive, head, users_silence, unsent: &UNSENT, heads, idle }
    }

    /// Seconds until the connection expires; `None` if it does not within an hour.
    async fn lives(activity: &Activity) -> Option<u64> {
        let begun = Instant::now();
        let (stranger, heads) = (IsIdentified::from(false), Places::new(1));
        let expired = activity.expired(timeouts(&heads, Some([&heads; 2])), &stranger);
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
        let first = first.expired(timeouts(&heads, None), &stranger);
        let second = second.expired(timeouts(&heads, None), &stranger);
        assert_eq!(tokio::join!(first, second), (Expired::HeadDisplaced, Expired::Late));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_idle_connections_the_one_that_was_so_for_longest_is_given_up() {
        let [heads, idle, of_users] = [(); 3].map(|()| Places::new(1));
        let (stranger, user) = (IsIdentified::from(false), IsIdentified::from(true));
        let [first, second, proxy, of_user] = [(); 4].map(|()| Activity::new());
        let direct = timeouts(&heads, Some([&idle, &of_users]));
        let of_user = of_user.expired(direct, &user);
        let proxy = proxy.expired(timeouts(&heads, None), &stranger);
        let first = first.expired(direct, &stranger);
        let second = second.expired(direct, &stranger);
        let ended = tokio::join!(proxy, of_user, first, second);
        let late = Expired::Late;
        assert_eq!(ended, (late, late, Expired::IdleDisplaced, late));
    }

    /// Which of three connections that are idle are given up, and after how many seconds, where there is one place.
    async fn given_up(idle: [&Activity; 3], of: &IsIdentified) -> [(Expired, u64); 3] {
        let begun = Instant::now();
        let [heads, places] = [(); 2].map(|()| Places::new(1));
        let ends = async |activity: &Activity| {
            let expired = activity.expired(timeouts(&heads, Some([&places; 2])), of).await;
            (expired, begun.elapsed().as_secs())
        };
        tokio::join!(ends(idle[0]), ends(idle[1]), ends(idle[2])).into()
    }

    #[tokio::test(start_paused = true)]
    async fn users_that_are_silent_between_two_packets_take_no_place() {
        let idle = [(); 3].map(|()| Activity::new());
        let mut ended = given_up(idle.each_ref(), &IsIdentified::from(true)).await;
        // Timers of one instant fire in any order.
        ended.sort_by_key(|(_, at)| *at);
        let displaced = (Expired::IdleDisplaced, USERS_SILENCE);
        assert_eq!(ended, [displaced, displaced, (Expired::Late, 75)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_that_does_not_read_an_answer_takes_a_place() {
        for (others, takes_after) in [(0, READING_PAUSE.as_secs()), (UNSENT_BYTES_MAX, 0)] {
            let unsent = AtomicUsize::new(others);
            let (heads, idle) = (Places::new(1), Places::new(1));
            let timeouts = Timeouts { unsent: &unsent, ..timeouts(&heads, Some([&idle; 2])) };
            let activity = Activity::new();
            drop(activity.serve());
            activity.answers(100_000, &unsent);
            activity.has_written(99_999, &unsent);
            let user = IsIdentified::from(true);
            let begun = Instant::now();
            let other = async {
                tokio::time::sleep(Duration::from_secs(takes_after) + Duration::from_millis(1))
                    .await;
                idle.take().lost().await;
            };
            tokio::select! {
                expired = activity.expired(timeouts, &user) => assert_eq!(expired, Expired::IdleDisplaced),
                () = other => panic!("the place was free"),
            }
            assert_eq!(begun.elapsed().as_secs(), takes_after);
            activity.answers(0, &unsent);
            assert_eq!(unsent.load(Relaxed), others);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_waits_for_its_turn_is_not_idle() {
        let [idle, waiting, last] = [(); 3].map(|()| Activity::new());
        waiting.set_waiting(true);
        let stranger = IsIdentified::from(false);
        let ended = given_up([&idle, &waiting, &last], &stranger).await;
        let displaced = (Expired::IdleDisplaced, 0);
        // The last loses its place when the one that waits tries again.
        assert_eq!(ended, [displaced, (Expired::Late, 75), (Expired::IdleDisplaced, 1)]);
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
        activity.has_written(1, &UNSENT);
        assert_eq!(lives(&activity).await, Some(75));
    }
}

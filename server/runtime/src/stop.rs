//! The graceful stop.

use std::time::Duration;

use throng_engine::App;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::Running;
use crate::launch::Shards;
use crate::link::ToShard;

/// How long the clients may take to receive the notice of a stop.
pub const GRACE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a stop went.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Every client was notified in time.
    pub all_told: bool,
    /// Every thread ended, and the store answered every command.
    pub is_drained: bool,
}

/// 1. Shards stop accepting, close their sessions with a reason and report the leaves to the rooms.
/// 2. When nothing is open and nothing is owed, or [`GRACE`] is over, HTTP connections end.
/// 3. The threads end.
/// 4. `workers` end: tasks of the caller that take what the shards sent last.
///
/// A client cannot make a stop fail: connections that stay open are cut.
pub async fn stop<A: App>(
    shards: Shards<A>,
    mut http: Running,
    mut workers: JoinSet<()>,
) -> Stopped {
    let deadline = Instant::now() + GRACE;
    let asked = shards.handles.send_all(|| ToShard::Stop);
    let was_heard = tokio::time::timeout_at(deadline, asked).await.is_ok();
    let is_quiet = quiet(&shards, deadline).await;
    if !is_quiet {
        tracing::warn!(
            grace_s = GRACE.as_secs(),
            "cutting the remaining connections: the grace period is over"
        );
    }
    // Some time more for the last responses to polling sessions.
    let desk_deadline = deadline.max(Instant::now() + Duration::from_millis(500));
    let desk_ended = tokio::time::timeout_at(desk_deadline, http.stop()).await.is_ok();

    shards.handles.send_all(|| ToShard::Exit).await;
    let Shards { threads, handles, .. } = shards;
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().all(|thread| matches!(thread.join(), Ok(Ok(()))))
    });
    let shards_ended = joined.await.unwrap_or(false);
    drop(handles);
    let drain = async { while workers.join_next().await.is_some() {} };
    let drained = tokio::time::timeout(GRACE, drain).await.is_ok();
    Stopped { all_told: was_heard && is_quiet && desk_ended, is_drained: shards_ended && drained }
}

/// Waits until all shards are quiet twice in a row, when no lane between them holds anything.
async fn quiet<A: App>(shards: &Shards<A>, deadline: Instant) -> bool {
    let mut in_a_row = 0;
    while in_a_row < 2 {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let all_quiet = shards.shard_stats.iter().all(|stats| stats.is_quiet());
        in_a_row = if all_quiet { in_a_row + 1 } else { 0 };
    }
    true
}

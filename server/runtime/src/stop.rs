//! The steps of a graceful stop.

use std::time::Duration;

use throng_engine::App;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::Running;
use crate::launch::Shards;
use crate::link::ToShard;

/// How long clients may take to receive their close, and workers to finish.
pub const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at the shards.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a stop went.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Every client was notified within [`GRACE`].
    pub all_notified: bool,
    /// Every shard ended without an error, and every worker finished.
    pub is_drained: bool,
}

/// 1. Shards stop accepting, close their sessions, and report the leaves to the rooms.
/// 2. Once no connection is open and no command unanswered, or after [`GRACE`], HTTP connections end.
/// 3. The threads of the shards end.
/// 4. `workers` end: tasks of the caller that process the last commands and logs of the shards.
///
/// A client cannot delay the stop: after [`GRACE`] its connection is closed.
pub async fn stop<A: App>(
    mut shards: Shards<A>,
    mut http: Running,
    mut workers: JoinSet<()>,
) -> Stopped {
    let deadline = Instant::now() + GRACE;
    shards.end_watch().await;
    let asked = shards.handles.send_all(|| ToShard::Stop);
    let was_delivered = tokio::time::timeout_at(deadline, asked).await.is_ok();
    let is_quiet = quiet(&shards, deadline).await;
    if !is_quiet {
        tracing::warn!(
            grace_s = GRACE.as_secs(),
            "cutting the remaining connections: the grace period is over"
        );
    }
    // Some more time, so that the last answers of polling sessions are sent.
    let http_deadline = deadline.max(Instant::now() + Duration::from_millis(500));
    let http_ended = tokio::time::timeout_at(http_deadline, http.stop()).await.is_ok();

    let asked = shards.handles.send_all(|| ToShard::Exit);
    let _ = tokio::time::timeout(GRACE, asked).await;
    let Shards { threads, handles, .. } = shards;
    // A thread of its own, which the end of the process does not wait for if a shard hangs.
    let (joined_in, joined) = oneshot::channel();
    std::thread::spawn(move || {
        let _ =
            joined_in.send(threads.into_iter().all(|thread| matches!(thread.join(), Ok(Ok(())))));
    });
    let shards_ended = matches!(tokio::time::timeout(GRACE, joined).await, Ok(Ok(true)));
    if !shards_ended {
        tracing::error!("a shard has failed, or hangs and is given up");
    }
    drop(handles);
    let drain = async { while workers.join_next().await.is_some() {} };
    let drained = tokio::time::timeout(GRACE, drain).await.is_ok();
    Stopped {
        all_notified: was_delivered && is_quiet && http_ended,
        is_drained: shards_ended && drained,
    }
}

/// Waits until all shards are quiet twice in a row: then no item is left between two of them.
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

//! From the start of the HTTP thread to the request to stop.

use std::time::Duration;

use throng_engine::App;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::StartError;
use crate::launch::Shards;

/// Runs `work` on the thread `http` with a runtime of its own, and answers its result.
///
/// # Errors
/// When the thread or the runtime cannot be had; else what `work` says.
pub fn on_http_thread<T: Send + 'static, E: From<StartError> + Send + 'static>(
    work: impl AsyncFnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(StartError::System).map_err(E::from)?.block_on(work())
    });
    match thread.map_err(StartError::System).map_err(E::from)?.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Completes when every shard has turned once: sockets, ring and timers are in place.
///
/// # Errors
/// [`StartError::ShardEnded`] when one could not get them.
pub async fn until_turning<A: App>(shards: &mut Shards<A>) -> Result<(), StartError> {
    while !shards.are_turning() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
            ended = shards.ended.recv() => {
                return Err(StartError::ShardEnded(ended.map_or(0, |shard| shard.0)));
            }
        }
    }
    Ok(())
}

/// Completes when the operator asks for the end.
///
/// # Errors
/// [`StartError::ShardEnded`] when a shard ended without being asked.
pub async fn until_asked_to_stop<A: App>(shards: &mut Shards<A>) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::System)?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = shards.ended.recv() => Err(StartError::ShardEnded(ended.map_or(0, |shard| shard.0))),
    }
}

/// Descriptors kept for the database, uploads and the machinery itself.
const DESCRIPTORS_RESERVED: u64 = 512;

/// Asks for as many descriptors as the system gives, and answers how many connections may be open:
/// a connection is refused by us before it is refused by the kernel.
pub fn raise_descriptor_limit(connections_max: u32) -> u32 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current
        }
    };
    let available = current.map_or(u32::MAX, |current| {
        u32::try_from(current.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(u32::MAX).max(1)
    });
    if available < connections_max {
        tracing::info!(
            configured = connections_max,
            possible = available,
            "the limit of open files bounds the connections"
        );
    }
    available.min(connections_max)
}

//! The HTTP thread, the wait for the shards, and the wait for the signal to stop.

use std::time::Duration;

use throng_engine::App;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::StartError;
use crate::launch::Shards;

/// Runs `work` on a thread named `http` with its own tokio runtime, and returns its result.
///
/// # Errors
/// [`StartError::System`] when the thread or the runtime cannot be made; else the error of `work`.
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

/// Completes when every shard has made its first turn: sockets, ring and timers are in place.
///
/// # Errors
/// [`StartError::ShardEnded`] when a shard could not create them.
pub async fn wait_until_started<A: App>(shards: &mut Shards<A>) -> Result<(), StartError> {
    while !shards.have_started() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
            ended = shards.ended.recv() => {
                return Err(StartError::ShardEnded(ended.map_or(0, |shard| shard.0)));
            }
        }
    }
    Ok(())
}

/// The signals of an operator. Those that would end the process at once are caught as soon as this
/// exists, so it is made before the server says that it listens.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl StopSignals {
    /// Catches them.
    ///
    /// # Errors
    /// [`StartError::System`] when the system refuses that.
    pub fn catch() -> Result<StopSignals, StartError> {
        let on = |kind| signal(kind).map_err(StartError::System);
        Ok(StopSignals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            hangup: on(SignalKind::hangup())?,
            user1: on(SignalKind::user_defined1())?,
            user2: on(SignalKind::user_defined2())?,
        })
    }

    /// Completes at SIGTERM, SIGINT or SIGQUIT. SIGHUP, SIGUSR1 and SIGUSR2 are logged and have no
    /// other effect.
    ///
    /// # Errors
    /// [`StartError::ShardEnded`] when a shard ends before that.
    pub async fn wait<A: App>(mut self, shards: &mut Shards<A>) -> Result<(), StartError> {
        loop {
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.quit.recv() => return Ok(()),
                ended = shards.ended.recv() => {
                    return Err(StartError::ShardEnded(ended.map_or(0, |shard| shard.0)));
                }
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user1.recv() => "SIGUSR1",
                _ = self.user2.recv() => "SIGUSR2",
            };
            tracing::warn!(
                signal = ignored,
                "signal ignored: settings are read at start only; restart to apply changes"
            );
        }
    }
}

//! Connections for commands, pooled by bb8.

use std::sync::Arc;

use bb8::{ErrorSink, ManageConnection, Pool, PooledConnection};
use redis::Value;
use tokio::sync::watch;

use crate::call::Call;
use crate::connector::Connector;
use crate::failure::Failure;
use crate::link::{Answer, Link};
use crate::settings::Settings;

/// Sends commands. A clone uses the same pool.
#[derive(Clone)]
pub struct Commands {
    pool: Pool<Manager>,
    /// Why the last attempt to connect failed.
    failed: watch::Sender<Option<Failure>>,
}

/// Passes on why connecting failed: bb8 connects in the background and reports only a timeout to
/// callers.
#[derive(Debug)]
struct FailureSink(watch::Sender<Option<Failure>>);

impl ErrorSink<Failure> for FailureSink {
    fn sink(&self, failure: Failure) {
        self.0.send_replace(Some(failure));
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<Failure>> {
        Box::new(FailureSink(self.0.clone()))
    }
}

struct Manager(Arc<Connector>);

/// A pooled connection, discarded once it is broken.
struct Pooled {
    link: Link,
    is_broken: bool,
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Failure;

    async fn connect(&self) -> Result<Pooled, Failure> {
        Ok(Pooled { link: self.0.commands().await?, is_broken: false })
    }

    async fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Failure> {
        pooled.link.send(&redis::cmd("PING")).await?;
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.is_broken
    }
}

impl Commands {
    /// A pool of at most [`Settings::connections_max`] connections, opened on demand.
    pub fn new(connector: Arc<Connector>, settings: &Settings) -> Commands {
        let failed = watch::Sender::new(None);
        let pool = Pool::builder()
            .max_size(settings.connections_max)
            // A failure is reported at once; the caller decides when to retry.
            .retry_connection(false)
            // A round trip before every use would double the latency. A broken connection fails its
            // first call, which the caller retries anyway.
            .test_on_check_out(false)
            .error_sink(Box::new(FailureSink(failed.clone())))
            .connection_timeout(settings.connect_timeout() * 3)
            .build_unchecked(Manager(connector));
        Commands { pool, failed }
    }

    /// The answers to the calls, in their order; see [`Link::run`].
    ///
    /// # Errors
    /// There is no connection, or it failed; which of the calls were executed is unknown.
    pub async fn run(&self, calls: &[Call]) -> Result<Vec<Answer>, Failure> {
        let mut pooled = self.get().await?;
        // If the future is dropped half-way, unread answers remain in the connection.
        pooled.is_broken = true;
        let answers = pooled.link.run(calls).await?;
        let is_lost =
            |answer: &Answer| matches!(answer, Err(failure) if failure.breaks_connection());
        pooled.is_broken = answers.iter().any(is_lost);
        Ok(answers)
    }

    async fn get(&self) -> Result<PooledConnection<'_, Manager>, Failure> {
        let mut failed = self.failed.subscribe();
        tokio::select! {
            biased;
            pooled = self.pool.get() => Ok(pooled?),
            Ok(()) = failed.changed() => {
                Err(failed.borrow_and_update().clone().unwrap_or(Failure::Down))
            }
        }
    }

    /// The answer to one call.
    ///
    /// # Errors
    /// [`Failure`] of the call or the connection.
    pub async fn call(&self, call: Call) -> Answer {
        let mut answers = self.run(&[call]).await?;
        answers.pop().unwrap_or(Ok(Value::Nil))
    }
}

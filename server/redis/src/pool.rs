//! Connections for commands, kept and replaced by bb8.

use std::sync::Arc;

use bb8::{ErrorSink, ManageConnection, Pool, PooledConnection};
use redis::Value;
use tokio::sync::watch;

use crate::call::Call;
use crate::connector::Connector;
use crate::failure::Failure;
use crate::link::{Answer, Link};
use crate::settings::Settings;

/// The way to issue commands. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    pool: Pool<Maker>,
    /// The last connection that could not be made.
    refused: watch::Sender<Option<Failure>>,
}

/// bb8 makes connections on its own and leaves those who wait for one in the dark.
#[derive(Debug)]
struct Tells(watch::Sender<Option<Failure>>);

impl ErrorSink<Failure> for Tells {
    fn sink(&self, failure: Failure) {
        self.0.send_replace(Some(failure));
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<Failure>> {
        Box::new(Tells(self.0.clone()))
    }
}

struct Maker(Arc<Connector>);

/// A pooled connection; once broken it is thrown away.
struct Pooled {
    link: Link,
    is_broken: bool,
}

impl ManageConnection for Maker {
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
    pub fn new(connector: Arc<Connector>, settings: &Settings) -> Commands {
        let refused = watch::Sender::new(None);
        let pool = Pool::builder()
            .max_size(settings.connections_max)
            // A failure is told at once; when to try again is decided by whoever asks.
            .retry_connection(false)
            // A round trip before every use would double the latency; a broken connection is
            // found by its first call, which is retried by its caller anyway.
            .test_on_check_out(false)
            .error_sink(Box::new(Tells(refused.clone())))
            .connection_timeout(settings.connect_timeout * 3)
            .build_unchecked(Maker(connector));
        Commands { pool, refused }
    }

    /// Answers each call in their order; see [`Link::run`].
    ///
    /// # Errors
    /// When there is no connection or it failed: nothing is known of any of the calls.
    pub async fn run(&self, calls: &[Call]) -> Result<Vec<Answer>, Failure> {
        let mut pooled = self.get().await?;
        // A caller that gives up half-way leaves answers behind that nobody takes.
        pooled.is_broken = true;
        let answers = pooled.link.run(calls).await?;
        let is_lost =
            |answer: &Answer| matches!(answer, Err(failure) if failure.breaks_connection());
        pooled.is_broken = answers.iter().any(is_lost);
        Ok(answers)
    }

    async fn get(&self) -> Result<PooledConnection<'_, Maker>, Failure> {
        let mut refused = self.refused.subscribe();
        tokio::select! {
            biased;
            pooled = self.pool.get() => Ok(pooled?),
            Ok(()) = refused.changed() => {
                Err(refused.borrow_and_update().clone().unwrap_or(Failure::Down))
            }
        }
    }

    /// One call.
    ///
    /// # Errors
    /// What the server or the connection says.
    pub async fn call(&self, call: Call) -> Answer {
        let mut answers = self.run(&[call]).await?;
        answers.pop().unwrap_or(Ok(Value::Nil))
    }
}

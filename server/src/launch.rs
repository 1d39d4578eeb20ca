//! Brings the shards up: lanes, channels, sockets, threads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use throng_core::{Logic, Seed, ShardId};
use throng_mesh::{Capacity, mesh};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::limiter::ConnectionLimiter;
use crate::link::{HttpEnds, ShardHandles, link};
use crate::listen;
use crate::request::HttpPolicy;
use crate::shard::{self, IoDriver, Plan, Tuning};
use crate::start::StartError;
use crate::stats::{Presence, ShardStats};

/// What does not depend on the application.
pub struct Launch {
    pub listen: SocketAddr,
    pub shards: u8,
    pub tuning: Tuning,
    pub lanes: Capacity,
    pub policy: Arc<HttpPolicy>,
    pub limiter: Arc<ConnectionLimiter>,
    pub clock: Clock,
}

/// Running shards.
pub struct Shards {
    pub addr: SocketAddr,
    pub shard_stats: Arc<[Arc<ShardStats>]>,
    pub presence: Arc<Presence>,
    pub limiter: Arc<ConnectionLimiter>,
    pub handles: ShardHandles,
    pub threads: Vec<JoinHandle<std::io::Result<()>>>,
    /// Receives the number of each shard whose thread ends.
    pub ended: mpsc::UnboundedReceiver<ShardId>,
}

impl Shards {
    /// Every shard has turned once.
    pub fn are_turning(&self) -> bool {
        self.shard_stats.iter().all(|stats| stats.has_turned())
    }
}

/// Says that a thread has ended, also when it panicked.
struct SaysWhenEnded(ShardId, mpsc::UnboundedSender<ShardId>);

impl Drop for SaysWhenEnded {
    fn drop(&mut self) {
        // Nobody asks any more once the server has stopped.
        let _ = self.1.send(self.0);
    }
}

impl Launch {
    /// Starts all shards; `make` builds each one's logic on its own thread.
    ///
    /// # Errors
    /// When the address cannot be bound or the system is out of threads or descriptors.
    pub fn go<L: Logic + 'static>(
        self,
        make: impl Fn(ShardId) -> L + Send + Sync + 'static,
    ) -> Result<(Shards, HttpEnds), StartError> {
        let is_usable = shard::is_io_uring_usable();
        match self.tuning.io_driver {
            IoDriver::IoUring if !is_usable => return Err(StartError::IoUringUnavailable),
            IoDriver::Auto if !is_usable => {
                tracing::warn!("io_uring is not permitted or not supported here; using epoll");
            }
            IoDriver::Auto | IoDriver::IoUring => tracing::info!("using io_uring"),
            IoDriver::Legacy => tracing::info!("using epoll"),
        }
        let listeners = listen::bind(self.listen, self.shards)
            .map_err(|error| StartError::Bind { addr: self.listen, error })?;
        let addr = listeners[0].local_addr().map_err(StartError::System)?;
        let all_ends = mesh(usize::from(self.shards), self.lanes).map_err(StartError::System)?;
        let bells: Vec<_> = all_ends.iter().map(|lane_ends| Arc::clone(&lane_ends.bell)).collect();
        let (shard_ends, http_ends) = link(&bells);
        let shard_stats: Arc<[Arc<ShardStats>]> =
            (0..self.shards).map(|_| Arc::default()).collect();
        let presence = Arc::<Presence>::default();
        let make = Arc::new(make);
        let (ended_in, ended) = mpsc::unbounded_channel();

        let mut threads = Vec::new();
        let parts = listeners.into_iter().zip(all_ends).zip(shard_ends).zip(shard_stats.iter());
        for (index, (((listener, lane_ends), ends), stats)) in parts.enumerate() {
            let shard = ShardId(u8::try_from(index).expect("the number of shards is a byte"));
            let plan = Plan {
                shard,
                shards: self.shards,
                tuning: self.tuning.clone(),
                clock: self.clock,
                listener,
                lane_ends,
                ends,
                limiter: Arc::clone(&self.limiter),
                stats: Arc::clone(stats),
                presence: Arc::clone(&presence),
                policy: Arc::clone(&self.policy),
            };
            let make = Arc::clone(&make);
            let says = SaysWhenEnded(shard, ended_in.clone());
            let make = move || make(shard);
            threads.push(shard::spawn(plan, make, says).map_err(StartError::System)?);
        }
        let handles = http_ends.handles.clone();
        let shards =
            Shards { addr, shard_stats, presence, limiter: self.limiter, handles, threads, ended };
        Ok((shards, http_ends))
    }
}

/// Fresh secrets: one placement key for all shards, and ids of its own for each.
///
/// # Errors
/// When the system has no randomness to give.
pub fn seeds(shards: u8) -> Result<Vec<Seed>, StartError> {
    let placement = random()?;
    let started_unix_ms = unix_ms().cast_signed();
    (0..shards).map(|_| Ok(Seed { placement, random: random()?, started_unix_ms })).collect()
}

/// The wall clock.
pub fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// # Errors
/// When the system has no randomness to give.
pub fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    let count = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| StartError::System(error.into()))?;
    assert_eq!(count, N, "short reads happen above 256 bytes only");
    Ok(bytes)
}

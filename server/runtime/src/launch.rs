//! Brings the shards up: lanes, channels, sockets, threads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use std::sync::Mutex;

use throng_engine::{App, CounterTable as _, Place, Seed, Settings, Shard, ShardId};
use throng_mesh::{Capacity, mesh};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::error::StartError;
use crate::limiter::ConnectionLimiter;
use crate::link::{HttpEnds, ShardHandles, link};
use crate::listen;
use crate::request::HttpPolicy;
use crate::shard::{self, IoDriver, Plan, Tuning};
use crate::stats::ShardStats;

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
pub struct Shards<A: App> {
    pub addr: SocketAddr,
    pub shard_stats: Arc<[Arc<ShardStats>]>,
    /// The application's state of each shard, for other threads to read.
    pub views: Arc<[Arc<Mutex<A::View>>]>,
    pub limiter: Arc<ConnectionLimiter>,
    pub handles: ShardHandles<A>,
    pub threads: Vec<JoinHandle<std::io::Result<()>>>,
    /// Receives the number of each shard whose thread ends.
    pub ended: mpsc::UnboundedReceiver<ShardId>,
}

impl<A: App> Shards<A> {
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
    /// Starts all shards; each builds its application on its own thread.
    ///
    /// # Errors
    /// When the address cannot be bound or the system is out of threads or descriptors.
    pub fn go<A: App>(
        self,
        settings: &Settings,
        app: &A::Settings,
        seeds: Vec<Seed>,
    ) -> Result<(Shards<A>, HttpEnds<A>), StartError> {
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
        let (shard_ends, http_ends) = link::<A>(&bells);
        let shard_stats: Arc<[Arc<ShardStats>]> =
            (0..self.shards).map(|_| Arc::new(ShardStats::new(A::Counters::NAMES))).collect();
        let views: Arc<[Arc<Mutex<A::View>>]> = (0..self.shards).map(|_| Arc::default()).collect();
        let (ended_in, ended) = mpsc::unbounded_channel();

        let mut threads = Vec::new();
        let parts = listeners.into_iter().zip(all_ends).zip(shard_ends).zip(seeds);
        for (index, (((listener, lane_ends), ends), seed)) in parts.enumerate() {
            let shard = ShardId(u8::try_from(index).expect("the number of shards is a byte"));
            let place = Place { shard, shards: self.shards, seed };
            let plan = Plan {
                shard,
                shards: self.shards,
                tuning: self.tuning.clone(),
                clock: self.clock,
                listener,
                lane_ends,
                ends,
                limiter: Arc::clone(&self.limiter),
                stats: Arc::clone(&shard_stats[index]),
                view: Arc::clone(&views[index]),
                policy: Arc::clone(&self.policy),
            };
            let (settings, app) = (settings.clone(), app.clone());
            let says = SaysWhenEnded(shard, ended_in.clone());
            let make = move || Shard::<A>::new(&settings, &app, &place);
            threads.push(shard::spawn(plan, make, says).map_err(StartError::System)?);
        }
        let handles = http_ends.handles.clone();
        let shards =
            Shards { addr, shard_stats, views, limiter: self.limiter, handles, threads, ended };
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

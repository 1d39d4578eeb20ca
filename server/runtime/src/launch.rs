//! Starts the shards: sockets, lanes, channels, threads.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use throng_engine::{App, CounterTable as _, Place, Seed, Settings, Shard, ShardId};
use throng_mesh::{Capacity, mesh};
use tokio::sync::mpsc;

use crate::error::StartError;
use crate::limiter::ConnectionLimiter;
use crate::link::{HttpChannels, ShardHandles, channels};
use crate::listen;
use crate::shard::{self, IoDriver, Plan, ShardConfig};
use crate::stats::ShardStats;
use crate::watchdog::Watchdog;

/// Where to listen, and what the shards have in common.
pub struct Launch {
    /// Address to serve; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Items of each lane between two shards.
    pub lanes: Capacity,
    /// What all shards have in common.
    pub config: ShardConfig,
}

/// Running shards.
pub struct Shards<A: App> {
    /// The address that they listen on.
    pub addr: SocketAddr,
    /// Counters of each shard.
    pub shard_stats: Arc<[Arc<ShardStats>]>,
    /// The application's state of each shard that other threads may read.
    pub views: Arc<[Arc<Mutex<A::View>>]>,
    /// Counts the connections of all shards.
    pub limiter: Arc<ConnectionLimiter>,
    /// The ways into the shards.
    pub handles: ShardHandles<A>,
    /// Until [`Shards::watch`].
    watchdog: Option<Watchdog<A>>,
    watching: Option<tokio::task::JoinHandle<()>>,
    pub(crate) threads: Vec<JoinHandle<std::io::Result<()>>>,
    /// Receives the number of each shard whose thread ends.
    pub(crate) ended: mpsc::Receiver<ShardId>,
}

impl<A: App> Shards<A> {
    /// Every shard has made its first turn.
    pub fn have_started(&self) -> bool {
        self.shard_stats.iter().all(|stats| stats.has_started())
    }

    /// Begins to watch, on the current tokio runtime, that every shard turns. `on_look` is called
    /// after each look with what hangs, if anything does. Connections and polling requests of a shard
    /// that hangs are served by the HTTP thread meanwhile.
    pub fn watch(&mut self, on_look: impl Fn(Option<String>) + Send + 'static) {
        if let Some(watchdog) = self.watchdog.take() {
            self.watching = Some(tokio::spawn(watchdog.run(on_look)));
        }
    }

    /// Ends the watch and gives back its copies of the listening sockets: while one is open, the
    /// kernel accepts connections on it.
    pub(crate) async fn end_watch(&mut self) {
        self.watchdog = None;
        if let Some(watching) = self.watching.take() {
            watching.abort();
            let _ = watching.await;
        }
    }
}

/// Reports the end of a thread, also after a panic.
struct ReportEnd(ShardId, mpsc::Sender<ShardId>);

impl Drop for ReportEnd {
    fn drop(&mut self) {
        // After the stop there is no receiver. Each shard ends once, so there is space.
        let _ = self.1.try_send(self.0);
    }
}

/// Checks that the shards could use the driver.
///
/// # Errors
/// [`StartError::IoUringUnavailable`] for what is demanded and not there.
pub fn check_driver(driver: IoDriver) -> Result<(), StartError> {
    let is_missing = driver == IoDriver::IoUring && !shard::is_io_uring_usable();
    if is_missing { Err(StartError::IoUringUnavailable) } else { Ok(()) }
}

impl Launch {
    /// Starts all shards; each builds its application on its own thread.
    ///
    /// # Errors
    /// [`StartError::NoShards`], [`StartError::Bind`] when the address cannot be bound, [`StartError::IoUringUnavailable`], or
    /// [`StartError::System`] when the system has no thread or descriptor.
    pub fn start<A: App>(
        self,
        settings: &Settings,
        app: &A::Settings,
        seeds: Vec<Seed>,
    ) -> Result<(Shards<A>, HttpChannels<A>), StartError> {
        if self.config.shards == 0 {
            return Err(StartError::NoShards);
        }
        let driver = self.config.tuning.io_driver;
        check_driver(driver)?;
        match driver {
            IoDriver::Auto if !shard::is_io_uring_usable() => {
                tracing::warn!("io_uring is not permitted or not supported here; using epoll");
            }
            IoDriver::Auto | IoDriver::IoUring => tracing::info!("using io_uring"),
            IoDriver::Legacy => tracing::info!("using epoll"),
        }
        let Launch { listen, lanes, config } = self;
        let shards = config.shards;
        let listeners = listen::bind(listen, shards)
            .map_err(|error| StartError::Bind { addr: listen.to_string(), error })?;
        let addr = listeners[0].local_addr().map_err(StartError::System)?;
        let all_ends = mesh(usize::from(shards), lanes).map_err(StartError::System)?;
        let bells: Vec<_> = all_ends.iter().map(|lane_ends| Arc::clone(&lane_ends.bell)).collect();
        let (shard_channels, http_channels) = channels::<A>(&bells);
        let shard_stats: Arc<[Arc<ShardStats>]> =
            (0..shards).map(|_| Arc::new(ShardStats::new(A::Counters::NAMES))).collect();
        let views: Arc<[Arc<Mutex<A::View>>]> = (0..shards).map(|_| Arc::default()).collect();
        let (ended_in, ended) = mpsc::channel(usize::from(shards));

        let copies: std::io::Result<Vec<_>> =
            listeners.iter().map(std::net::TcpListener::try_clone).collect();
        let watchdog = Watchdog {
            policy: Arc::clone(&config.policy),
            handles: http_channels.handles.clone(),
            stats: Arc::clone(&shard_stats),
            listeners: copies.map_err(StartError::System)?,
            limiter: Arc::clone(&config.limiter),
            handovers: shard_channels[0].handovers.clone(),
            refused: shard_channels[0].refused.clone(),
        };
        let mut threads = Vec::new();
        let parts = listeners.into_iter().zip(all_ends).zip(shard_channels).zip(seeds);
        for (index, (((listener, lane_ends), channels), seed)) in parts.enumerate() {
            let id = ShardId(u8::try_from(index).expect("the number of shards is a byte"));
            let place = Place { shard: id, shards, seed };
            let plan = Plan {
                id,
                config: config.clone(),
                listener,
                lane_ends,
                channels,
                stats: Arc::clone(&shard_stats[index]),
                view: Arc::clone(&views[index]),
            };
            let (settings, app) = (settings.clone(), app.clone());
            let report_end = ReportEnd(id, ended_in.clone());
            let make = move || Shard::<A>::new(&settings, &app, &place);
            threads.push(shard::spawn(plan, make, report_end).map_err(StartError::System)?);
        }
        let (limiter, handles) = (config.limiter, http_channels.handles.clone());
        let shards = Shards {
            addr,
            shard_stats,
            views,
            limiter,
            handles,
            watchdog: Some(watchdog),
            watching: None,
            threads,
            ended,
        };
        Ok((shards, http_channels))
    }
}

/// New secrets: one placement key for all shards, and for each the key of its session ids.
///
/// # Errors
/// [`StartError::System`] when the system gives no randomness.
pub fn seeds(shards: u8) -> Result<Vec<Seed>, StartError> {
    let placement = random()?;
    (0..shards).map(|_| Ok(Seed { placement, random: random()? })).collect()
}

/// `N` random bytes of the system, at most 256.
///
/// # Errors
/// [`StartError::System`] when the system gives no randomness.
pub fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    let count = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| StartError::System(error.into()))?;
    assert_eq!(count, N, "short reads happen above 256 bytes only");
    Ok(bytes)
}

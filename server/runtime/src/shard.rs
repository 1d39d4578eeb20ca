//! One shard: one thread, one runtime, one [`App`], and all its sockets.
//!
//! ```text
//! collect   what is ready: replies, inbox, deliveries, requests, new connections, bytes
//! step      one call of `Shard::step` per item, with one `now`
//! apply     effects: lanes, commands, answers, closes, logs
//! flush     one send per pipe that has bytes, until it is time to collect again
//! park      unless something is ready: until a socket, the bell or the next deadline
//! ```
//!
//! Nothing here waits inside a turn, and no rule of an application lives here.

mod accept;
mod alarm;
mod apply;
mod awaited_head;
mod connections;
mod flush;
mod heads;
mod lanes;
mod pipe;
mod read;
mod readiness;
mod turn;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use monoio::{FusionDriver, IoUringDriver, LegacyDriver, RuntimeBuilder};
use throng_engine::{App, Shard, ShardId};
use throng_mesh::LaneEnds;

use crate::clock::Clock;
use crate::limiter::ConnectionLimiter;
use crate::link::ShardChannels;
use crate::policy::HttpPolicy;
use crate::stats::ShardStats;
use turn::Worker;

throng_tables::choices! {
    /// How a shard waits for sockets.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum IoDriver {
        /// io_uring where the system permits it.
        Auto = "auto",
        /// io_uring, or the process does not start.
        IoUring = "io_uring",
        /// epoll.
        Legacy = "legacy",
    }
}

throng_tables::settings! {
    /// Settings of the shard loop; those of the engine are [`throng_engine::Settings`].
    #[derive(Clone, Debug)]
    pub struct Tuning;

    [""]
    /// How a shard waits for sockets: auto uses io_uring where the system permits it, else epoll;
    /// legacy always uses epoll.
    io_driver: IoDriver = IoDriver::Auto;

    ["shard"]
    /// Pin each shard to a core.
    pinned: bool = true;
    /// Time a flush is delayed to collect more frames per send; 0: none.
    flush_linger_us: u32 = 0, "us", 0..=100_000;
    /// Connections a shard accepts in one turn.
    accepts_per_turn: u32 = 64, "connections", 1..=4096;
    /// WebSockets a shard reads in one turn.
    pipes_per_turn: u32 = 512, "connections", 1..=1 << 16;
    /// Bytes a shard reads from one WebSocket in one turn. So many bytes of small events take some
    /// milliseconds.
    read_bytes_max: usize = 32 * 1024, "bytes", 4096..=16 << 20;

    ["http"]
    /// Time a new connection has to send its request head.
    handshake_timeout_ms: u32 = 10_000, "ms", 50..=600_000;
}

/// What all shards of a server have in common.
#[derive(Clone)]
pub struct ShardConfig {
    /// Number of shards, at least 1.
    pub shards: u8,
    /// Settings of the shard loop.
    pub tuning: Tuning,
    /// Paths of the engine, and the origins that may use it.
    pub policy: Arc<HttpPolicy>,
    /// Counts the connections of all shards.
    pub limiter: Arc<ConnectionLimiter>,
    /// The clock of the process.
    pub clock: Clock,
}

/// What one shard starts with.
pub(crate) struct Plan<A: App> {
    pub(crate) id: ShardId,
    pub(crate) config: ShardConfig,
    pub(crate) listener: TcpListener,
    pub(crate) lane_ends: LaneEnds<A::Request, A::Delivery>,
    pub(crate) channels: ShardChannels<A>,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) view: Arc<Mutex<A::View>>,
}

/// Starts the thread `shard-N`. `make` builds the shard on it; `until_end` is dropped when it ends.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn spawn<A: App>(
    plan: Plan<A>,
    make: impl FnOnce() -> Shard<A> + Send + 'static,
    until_end: impl Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let name = format!("shard-{}", plan.id.0);
    std::thread::Builder::new().name(name).spawn(move || {
        let _until_end = until_end;
        if plan.config.tuning.pinned {
            pin(plan.id);
        }
        let driver = plan.config.tuning.io_driver;
        block_on(plan.id, driver, Worker::run(plan, make()))?
    })
}

/// Ring slots. A shard waits for one descriptor at a time.
const RING_ENTRIES: u32 = 64;

fn block_on<T>(
    shard: ShardId,
    driver: IoDriver,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<io::Result<T>> {
    match driver {
        IoDriver::IoUring => {
            let runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).build();
            return Ok(runtime?.block_on(work));
        }
        IoDriver::Auto => {
            let runtime = RuntimeBuilder::<FusionDriver>::new().with_entries(RING_ENTRIES).build();
            match runtime {
                Ok(mut runtime) => return Ok(runtime.block_on(work)),
                Err(error) => {
                    tracing::warn!(shard = shard.0, %error, "io_uring is not usable; using epoll");
                }
            }
        }
        IoDriver::Legacy => {}
    }
    Ok(RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(work))
}

/// Whether this system permits `io_uring`, which [`IoDriver::Auto`] then uses.
pub fn is_io_uring_usable() -> bool {
    monoio::utils::detect_uring()
}

/// Keeps the thread on one of the cores this process may use.
fn pin(shard: ShardId) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let mut only = CpuSet::new();
        only.set(cores[usize::from(shard.0) % cores.len()]);
        sched_setaffinity(None, &only)
    });
    if let Err(error) = pinned {
        tracing::warn!(shard = shard.0, %error, "the shard is not pinned to a core");
    }
}

//! The HTTP thread: one thread with a tokio runtime for HTTP requests other than WebSocket upgrades.
//!
//! Shards hand connections over. The HTTP thread sends polling requests to the shards, and hands
//! upgraded connections back to them.

mod activity;
mod cors;
mod counters;
mod linger;
mod parts;
mod places;
mod polling;
mod prefixed;
mod request;
mod serve;
mod throttle;
mod turns;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use axum::Router;
use throng_wire::http::Peer;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use throng_engine::App;

use crate::descriptors::ConnectionBound;
use crate::limiter::ConnectionLimiter;
use crate::link::{Handover, Handovers, ShardHandles, ToShard};
use crate::per_client::PerClient;
use crate::policy::HttpPolicy;
use crate::rare_warning::RareWarnings;
pub use counters::HttpCounters;
use linger::Lingering;
use places::Places;
use throttle::Throttle;
use turns::Turns;

/// Longer than the 60 s that proxies keep an idle connection: one that we close first may meet the
/// next request of a proxy on its way.
pub const KEEP_ALIVE_MS: u32 = 75_000;

/// Requests of one client per second: many users of one network load the page at once, and hundreds of new
/// sessions a second are some megabytes until they end.
pub const REQUESTS_PER_S: u32 = 250;

/// Requests of one client that are being served: each costs some twenty KiB.
pub const REQUESTS_PER_IP_MAX: u32 = 1024;

/// Connections to the admin address.
const ADMIN_CONNECTIONS_MAX: u32 = 256;
/// Of these, so many may be idle, and as many in the middle of a head: of more, the oldest are closed, so that a probe
/// always gets in.
const ADMIN_IDLE_MAX: usize = 64;
/// Request heads that are arriving at once, on connections that had a request before. A head comes in one
/// piece from nearly every client, and is not counted then.
const HEADS_MAX: usize = 256;
/// Idle connections, half of them of users, those of proxies aside: each costs some twenty KiB.
const IDLE_MAX: usize = 1024;
/// What the thread adds to the niceness of the process: next to a busy shard it gets a quarter of the core.
const NICENESS: i32 = 5;
/// Pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Called with the path and the status of each request.
pub type OnRequest = Arc<dyn Fn(&str, u16) + Send + Sync>;

/// How HTTP is served.
pub struct HttpSettings {
    /// Paths of the engine, and the origins that may use it.
    pub policy: Arc<HttpPolicy>,
    /// Serves all other paths. Requests carry a [`Caller`](throng_wire::http::Caller) as an extension.
    pub router: Router,
    /// How long a client may take to send a request head, and a shard to answer a POST, in ms.
    pub request_timeout_ms: u32,
    /// How long a connection may be idle between two requests, in ms.
    pub keep_alive_ms: u32,
    /// How long a client is silent at most while its session lives, in ms: a connection of a user that has been idle
    /// for less is not closed for others.
    pub users_silence_ms: u32,
    /// Requests of one client per second, but for those of its sessions; 0 is no limit.
    pub requests_per_s: u32,
    /// Requests of one client that are served at once, polls among them; 0 is no limit.
    pub requests_per_ip_max: u32,
    /// Connections that may linger behind an early answer.
    pub lingering_max: u32,
    /// Called after each request to the engine.
    pub on_request: OnRequest,
    /// What the thread counts.
    pub counters: Arc<HttpCounters>,
}

/// Shared by all connections of the HTTP thread.
struct HttpServer<A: App> {
    handles: ShardHandles<A>,
    settings: HttpSettings,
    next_poll: AtomicU64,
    lingering: Lingering,
    heads: Places,
    idle: Places,
    idle_users: Places,
    /// Bytes of long answers that are not written yet.
    unsent: Arc<AtomicUsize>,
    throttle: Throttle,
    turns: Turns,
    per_client: Arc<PerClient>,
    exceeded: RareWarnings,
}

/// The task that serves connections. It ends when all shards have ended.
pub struct Running {
    connections: tokio::task::JoinHandle<()>,
    /// Accepts connections that do not come from the shards.
    accepts: Option<tokio::task::JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// Starts to serve `handovers` on the current tokio runtime, whose thread gets a lower priority: what shards do for
/// users comes before the requests of strangers.
pub fn start<A: App>(
    handles: ShardHandles<A>,
    handovers: Handovers,
    settings: HttpSettings,
) -> Running {
    // On Linux the call concerns the calling thread alone, and those that it starts later.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "cannot lower the priority of the HTTP thread");
    }
    // Each idle one may have a file open that is sent.
    let idle_max = IDLE_MAX.min(settings.lingering_max as usize).div_ceil(2);
    serve_handovers(handles, handovers, settings, [HEADS_MAX, idle_max])
}

fn serve_handovers<A: App>(
    handles: ShardHandles<A>,
    handovers: Handovers,
    settings: HttpSettings,
    [heads_max, idle_max]: [usize; 2],
) -> Running {
    let (stop, stopping) = watch::channel(false);
    let http = Arc::new(HttpServer {
        handles,
        lingering: Lingering::new(settings.lingering_max, Arc::clone(&settings.counters)),
        heads: Places::new(heads_max),
        idle: Places::new(idle_max),
        idle_users: Places::new(idle_max),
        unsent: Arc::default(),
        throttle: Throttle::new(settings.requests_per_s, Arc::clone(&settings.counters)),
        turns: Turns::default(),
        per_client: PerClient::new(settings.requests_per_ip_max),
        settings,
        next_poll: AtomicU64::new(0),
        exceeded: RareWarnings::default(),
    });
    let connections = tokio::spawn(serve_all(http, handovers, stopping));
    Running { connections, accepts: None, stop }
}

impl Running {
    /// Lets requests in progress finish, then closes the connections. Call it after the shards have
    /// closed their sessions and while they still run.
    pub async fn stop(&mut self) {
        if let Some(accepts) = &self.accepts {
            accepts.abort();
        }
        let _ = self.stop.send(true);
        let _ = (&mut self.connections).await;
    }
}

/// Serves `router` on a listener of its own, for operators: no engine, no proxies, few connections.
pub fn start_admin<A: App>(
    handles: ShardHandles<A>,
    listener: TcpListener,
    settings: HttpSettings,
) -> Running {
    let (admitted, connections) = mpsc::channel(1);
    // Nothing is refused before its head is read.
    let (_, refused) = mpsc::channel(1);
    let handovers = Handovers { connections, refused };
    let most = [ADMIN_IDLE_MAX; 2];
    let mut running = serve_handovers(handles, handovers, settings, most);
    let limiter = ConnectionLimiter::new(ConnectionBound::of_admin(ADMIN_CONNECTIONS_MAX), 0);
    running.accepts = Some(tokio::spawn(async move {
        loop {
            match listener.accept().await.and_then(|(stream, from)| Ok((stream.into_std()?, from)))
            {
                Ok((stream, from)) => {
                    let Some(permit) = limiter.admit() else { continue };
                    let peer = Peer::from(from.ip());
                    let handover = Handover::unread(stream, peer, permit);
                    if admitted.send(handover).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin address cannot accept; pausing");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }));
    running
}

/// Accepts connections on a Unix socket and hands them to the shards in turn, until it is aborted.
pub async fn accept_unix<A: App>(handles: ShardHandles<A>, listener: UnixListener) {
    for shard in handles.iter().cycle() {
        let stream = loop {
            match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => break stream,
                Err(error) => {
                    tracing::warn!(%error, "the Unix socket cannot accept; pausing");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        };
        if shard.send(ToShard::Accepted(stream)).await.is_err() {
            return;
        }
    }
}

async fn serve_all<A: App>(
    http: Arc<HttpServer<A>>,
    handovers: Handovers,
    mut stopping: watch::Receiver<bool>,
) {
    let Handovers { connections: mut next, mut refused } = handovers;
    let giver = Arc::clone(&http);
    let turns = tokio::spawn(async move { giver.turns.give().await });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            next = next.recv() => {
                let Some(next) = next else { break };
                connections.spawn(serve::serve(Arc::clone(&http), next, stopping.clone()));
            }
            Some(refused) = refused.recv() => match TcpStream::from_std(refused) {
                Ok(stream) => http.lingering.begin(stream),
                Err(error) => tracing::warn!(%error, "a refused connection cannot be watched"),
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(next);
    while connections.join_next().await.is_some() {}
    turns.abort();
}

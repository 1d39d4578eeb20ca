//! The HTTP thread: one thread with a tokio runtime for HTTP requests other than WebSocket upgrades.
//!
//! Shards hand connections over. The HTTP thread sends polling requests to the shards, and hands
//! upgraded connections back to them.

mod polling;
mod prefixed;
mod request;
mod serve;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub use serve::PeerAddr;
use throng_engine::App;

use crate::link::{Handover, ShardHandles};
use crate::request::HttpPolicy;

/// Polling bodies above [`polling::SMALL_BODY_BYTES`] that are read at once.
const LARGE_BODIES_MAX: usize = 64;

/// Called with the path and the status of each request.
pub type OnRequest = Arc<dyn Fn(&str, u16) + Send + Sync>;

/// How HTTP is served.
pub struct HttpSettings {
    /// Paths of the engine, and the origins that may use it.
    pub policy: Arc<HttpPolicy>,
    /// Serves all other paths. Requests carry a [`PeerAddr`].
    pub router: Router,
    /// Bytes of the longest polling body (LIM-1).
    pub max_payload: usize,
    /// How long a client may take to send a request head or body, in ms.
    pub request_timeout_ms: u32,
    /// Called after each request to the engine.
    pub on_request: OnRequest,
}

/// Shared by all connections of the HTTP thread.
struct HttpServer<A: App> {
    handles: ShardHandles<A>,
    settings: HttpSettings,
    next_poll: AtomicU64,
    large_bodies: Semaphore,
    receiving: polling::Receiving,
}

/// The task that serves connections. It ends when all shards have ended.
pub struct Running {
    connections: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// Starts to serve `handovers` on the current tokio runtime.
pub fn start<A: App>(
    handles: ShardHandles<A>,
    handovers: mpsc::Receiver<Handover>,
    settings: HttpSettings,
) -> Running {
    let (stop, stopping) = watch::channel(false);
    let http = Arc::new(HttpServer {
        handles,
        settings,
        next_poll: AtomicU64::new(0),
        large_bodies: Semaphore::new(LARGE_BODIES_MAX),
        receiving: polling::Receiving::default(),
    });
    let connections = tokio::spawn(serve_all(http, handovers, stopping));
    Running { connections, stop }
}

impl Running {
    /// Lets requests in progress finish, then closes the connections. Call it after the shards have
    /// closed their sessions and while they still run.
    pub async fn stop(&mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.connections).await;
    }
}

async fn serve_all<A: App>(
    http: Arc<HttpServer<A>>,
    mut handovers: mpsc::Receiver<Handover>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            next = handovers.recv() => {
                let Some(next) = next else { break };
                connections.spawn(serve::serve(Arc::clone(&http), next, stopping.clone()));
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(handovers);
    while connections.join_next().await.is_some() {}
}

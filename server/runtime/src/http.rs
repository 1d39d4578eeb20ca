//! The HTTP thread: one thread with a tokio runtime for everything that is HTTP and no WebSocket.
//!
//! Shards hand connections over, and the HTTP thread hands polling requests and upgraded
//! connections back.

mod polling;
mod prefixed;
mod serve;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub use serve::PeerAddr;

use throng_engine::App;

use crate::link::{Handed, ShardHandles};
use crate::request::HttpPolicy;

/// Polling bodies above [`polling::SMALL_BODY_BYTES`] that are read at once.
const LARGE_BODIES_MAX: usize = 64;

/// Called with the route and status of a request.
pub type OnRequest = Arc<dyn Fn(&str, u16) + Send + Sync>;

/// How HTTP is served.
pub struct HttpSettings {
    /// Where the engine is served, and to whom.
    pub policy: Arc<HttpPolicy>,
    /// Everything that is not the engine.
    pub router: Router,
    /// Bytes of a polling body.
    pub max_payload: usize,
    /// How long a client may take to send a request head or body, in ms.
    pub request_timeout_ms: u32,
    /// Told of each request of the engine.
    pub on_request: OnRequest,
}

/// What every connection of the HTTP thread shares.
struct HttpServer<A: App> {
    handles: ShardHandles<A>,
    settings: HttpSettings,
    next_poll: AtomicU64,
    large_bodies: Semaphore,
    receiving: polling::Receiving,
}

/// The task that serves connections. It ends when the shards are gone.
pub struct Running {
    connections: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// Starts serving on the current tokio runtime.
pub fn start<A: App>(
    handles: ShardHandles<A>,
    handed: mpsc::Receiver<Handed>,
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
    let connections = tokio::spawn(take_connections(http, handed, stopping));
    Running { connections, stop }
}

impl Running {
    /// Lets requests under way finish and ends the connections. Call it when the shards have
    /// closed theirs and still run.
    pub async fn stop(&mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.connections).await;
    }
}

async fn take_connections<A: App>(
    http: Arc<HttpServer<A>>,
    mut handed: mpsc::Receiver<Handed>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            next = handed.recv() => {
                let Some(next) = next else { break };
                connections.spawn(serve::serve(Arc::clone(&http), next, stopping.clone()));
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(handed);
    while connections.join_next().await.is_some() {}
}

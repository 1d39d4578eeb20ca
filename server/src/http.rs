//! The HTTP thread: one thread with a tokio runtime for everything that is HTTP and no WebSocket,
//! for the store, and for logs.
//!
//! Shards hand connections over, and the HTTP thread hands polling requests, upgraded connections
//! and replies back.

mod commands;
mod logs;
mod lookups;
pub mod metrics;
mod polling;
mod prefixed;
mod serve;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub use commands::{StoreWorker, card, room_info};

use crate::link::{Handed, HttpEnds, ShardHandles};
use crate::request::HttpPolicy;

/// Polling bodies above [`polling::SMALL_BODY_BYTES`] that are read at once.
const LARGE_BODIES_MAX: usize = 64;

/// Called with the route and status of a request.
pub type OnRequest = Arc<dyn Fn(&str, u16) + Send + Sync>;

pub struct HttpSettings {
    pub policy: Arc<HttpPolicy>,
    /// Everything that is not the engine.
    pub router: Router,
    pub max_payload: usize,
    /// How long a client may take to send a request head or body.
    pub request_timeout_ms: u32,
    /// Told of each request of the engine.
    pub on_request: OnRequest,
}

/// What every connection of the HTTP thread shares.
struct HttpServer {
    handles: ShardHandles,
    settings: HttpSettings,
    next_poll: AtomicU64,
    large_bodies: Semaphore,
    receiving: polling::Receiving,
}

/// The HTTP thread's tasks. They end when the shards are gone.
pub struct Running {
    connections: tokio::task::JoinHandle<()>,
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Starts the tasks of the HTTP thread on the current runtime.
pub fn start(ends: HttpEnds, settings: HttpSettings, store: Option<Arc<StoreWorker>>) -> Running {
    let (stop, stopping) = watch::channel(false);
    let http = Arc::new(HttpServer {
        handles: ends.handles.clone(),
        settings,
        next_poll: AtomicU64::new(0),
        large_bodies: Semaphore::new(LARGE_BODIES_MAX),
        receiving: polling::Receiving::default(),
    });
    let mut workers = JoinSet::new();
    workers.spawn(logs::write(ends.logs));
    for (commands, handle) in ends.commands.into_iter().zip(ends.handles.iter()) {
        workers.spawn(commands::work(commands, handle.clone(), store.clone()));
    }
    let connections = tokio::spawn(take_connections(http, ends.handed, stopping));
    Running { connections, workers, stop }
}

impl Running {
    /// Lets requests under way finish and ends the connections. Call it when the shards have
    /// closed theirs and still run.
    pub async fn stop(&mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.connections).await;
    }

    /// Ends when every command was answered and every log line written. Call it when the shards
    /// have ended.
    pub async fn drain(mut self) {
        while self.workers.join_next().await.is_some() {}
    }
}

async fn take_connections(
    http: Arc<HttpServer>,
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

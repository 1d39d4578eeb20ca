//! The whole way of a server that is nothing but its application.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use throng_engine::{App, Endpoint, Settings};
use throng_mesh::Capacity;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::error::StartError;
use crate::http::{self, HttpSettings};
use crate::launch::{Launch, seeds};
use crate::lifetime::{on_http_thread, raise_descriptor_limit, until_asked_to_stop, until_turning};
use crate::limiter::ConnectionLimiter;
use crate::request::HttpPolicy;
use crate::shard::Tuning;
use crate::stop::stop;

/// What a server needs to know besides its application.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to serve; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Threads that serve sessions, at least 1.
    pub shards: u8,
    /// Limits of the engine.
    pub engine: Settings,
    /// The shard loop.
    pub tuning: Tuning,
    /// Where the engine is served, and to pages of which origins.
    pub policy: HttpPolicy,
    /// Connections that may be open; the limit of open files may bound them further.
    pub connections_max: u32,
    /// Connections of one address; 0 is no limit.
    pub connections_per_ip_max: u32,
    /// Time for a client to send a request head or body, in ms.
    pub request_timeout_ms: u32,
    /// Items of each lane between two shards.
    pub lanes: Capacity,
}

impl Options {
    /// Production defaults: one shard per core, Socket.IO at `/socket.io/`, the server's own origin.
    pub fn new(listen: SocketAddr) -> Options {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Options {
            listen,
            shards: u8::try_from(cores).unwrap_or(u8::MAX),
            engine: Settings::default(),
            tuning: Tuning::default(),
            policy: HttpPolicy {
                engine_paths: vec![("/socket.io".into(), Endpoint::SocketIo)],
                allowed_origins: Vec::new(),
            },
            connections_max: 200_000,
            connections_per_ip_max: 4096,
            request_timeout_ms: 30_000,
            lanes: Capacity { requests: 4096, deliveries: 8192 },
        }
    }
}

/// Serves the application until SIGTERM or SIGINT. `on_listening` gets the address once the server
/// accepts connections.
///
/// # Errors
/// [`StartError`] when the server cannot start, or a shard ends by itself.
pub fn serve<A: App>(
    options: Options,
    app: A::Settings,
    on_listening: impl FnOnce(SocketAddr) + Send + 'static,
) -> Result<(), StartError> {
    on_http_thread(async move || run::<A>(options, app, on_listening).await)
}

async fn run<A: App>(
    options: Options,
    app: A::Settings,
    on_listening: impl FnOnce(SocketAddr),
) -> Result<(), StartError> {
    let connections_max = raise_descriptor_limit(options.connections_max);
    let policy = Arc::new(options.policy);
    let launch = Launch {
        listen: options.listen,
        shards: options.shards,
        tuning: options.tuning,
        lanes: options.lanes,
        policy: Arc::clone(&policy),
        limiter: ConnectionLimiter::new(
            connections_max,
            options.connections_per_ip_max,
            Vec::new(),
        ),
        clock: Clock::start(),
    };
    let seeds = seeds(options.shards)?;
    let (mut shards, ends) = launch.go::<A>(&options.engine, &app, seeds)?;
    let settings = HttpSettings {
        policy,
        router: Router::new(),
        max_payload: options.engine.max_payload as usize,
        request_timeout_ms: options.request_timeout_ms,
        on_request: Arc::new(|_, _| {}),
    };
    let http = http::start(ends.handles, ends.handed, settings);
    until_turning(&mut shards).await?;
    on_listening(shards.addr);
    until_asked_to_stop(&mut shards).await?;
    stop(shards, http, JoinSet::new()).await;
    Ok(())
}

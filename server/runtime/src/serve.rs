//! A whole server for one application: start, serve, stop.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use throng_engine::{App, Endpoint, Settings};
use throng_mesh::Capacity;
use throng_wire::http::REQUEST_TIMEOUT_MS;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::defaults;
use crate::descriptors;
use crate::error::StartError;
use crate::http::{self, HttpSettings};
use crate::launch::{Launch, seeds};
use crate::lifetime::{StopSignals, on_http_thread, wait_until_started};
use crate::limiter::ConnectionLimiter;
use crate::policy::HttpPolicy;
use crate::shard::{ShardConfig, Tuning};
use crate::stop::stop;

/// Settings of a server that do not depend on its application.
///
/// ```
/// use std::net::SocketAddr;
/// use throng_engine::Endpoint;
/// use throng_runtime::{Options, shard::Tuning};
///
/// let options = Options {
///     shards: 2,
///     tuning: Tuning { pinned: false, ..Tuning::default() },
///     ..Options::new(SocketAddr::from(([127, 0, 0, 1], 0)))
/// };
/// assert_eq!(options.engine.ping_interval_ms, 25_000);
/// assert_eq!(options.policy.endpoint("/socket.io/"), Some(Endpoint::SocketIo));
/// assert!(options.policy.allowed_origins.is_empty(), "pages of the server's own origin only");
/// assert!(!options.policy.allow_eio3, "clients from socket.io-client 3 on");
/// ```
///
/// An application with pages or an API of its own gives a [`Router`] for all paths but the engine's,
/// and names other sites whose pages may connect:
///
/// ```
/// use std::net::SocketAddr;
/// use throng_runtime::{Options, axum::Router, axum::routing::get};
///
/// let mut options = Options::new(SocketAddr::from(([127, 0, 0, 1], 0)));
/// options.router = Router::new().route("/health", get(|| async { "ok" }));
/// options.policy.allowed_origins.push("https://app.example".into());
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to serve; port 0 picks a free one. There is no default.
    pub listen: SocketAddr,
    /// Threads that serve sessions, at least 1; one per core is best.
    ///
    /// Default: one per core.
    pub shards: u8,
    /// Limits of the engine.
    ///
    /// Default: those of its fields.
    pub engine: Settings,
    /// Settings of the shard loop.
    ///
    /// Default: those of its fields.
    pub tuning: Tuning,
    /// Paths of the engine, and the origins and protocol versions that may use it.
    ///
    /// Default: Socket.IO at `/socket.io/`, for clients of Engine.IO 4 and pages of the server's own
    /// origin; no proxy is trusted.
    pub policy: HttpPolicy,
    /// Serves all other paths, on the HTTP thread. Requests carry who sent them as an
    /// extension, [`throng_wire::http::Caller`].
    ///
    /// Default: no other paths.
    pub router: Router,
    /// Connections that may be open; the limit of open files may bound them further.
    ///
    /// Default: 200000 connections.
    pub connections_max: u32,
    /// Connections of one address; 0 is no limit.
    ///
    /// Default: 4096 connections.
    pub connections_per_ip_max: u32,
    /// HTTP requests of one client per second, but for those of its sessions; 0 is no limit.
    ///
    /// Default: 250 requests per second.
    pub requests_per_s: u32,
    /// HTTP requests of one client that are served at once, polls among them; 0 is no limit.
    ///
    /// Default: 1024 requests.
    pub requests_per_ip_max: u32,
    /// Time for a client to send a request head or body.
    ///
    /// Default: 30000 ms.
    pub request_timeout_ms: u32,
    /// Items of each lane between two shards.
    ///
    /// Default: 4096 requests and 8192 deliveries.
    pub lanes: Capacity,
}

impl Options {
    /// The defaults: one shard per core, Socket.IO at `/socket.io/` for clients of Engine.IO 4
    /// and the server's own origin, no other paths.
    pub fn new(listen: SocketAddr) -> Options {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Options {
            listen,
            shards: u8::try_from(cores).unwrap_or(u8::MAX),
            engine: Settings::default(),
            tuning: Tuning::default(),
            policy: HttpPolicy {
                engine_paths: vec![("/socket.io".into(), Endpoint::SocketIo)],
                ..HttpPolicy::default()
            },
            router: Router::new(),
            connections_max: defaults::CONNECTIONS_MAX,
            connections_per_ip_max: defaults::CONNECTIONS_PER_IP_MAX,
            requests_per_s: http::REQUESTS_PER_S,
            requests_per_ip_max: http::REQUESTS_PER_IP_MAX,
            request_timeout_ms: REQUEST_TIMEOUT_MS,
            lanes: defaults::LANES,
        }
    }
}

/// Serves the application until SIGTERM or SIGINT. `on_listening` gets the address once the server
/// accepts connections.
///
/// # Errors
/// [`StartError`] when the server cannot start, or when a shard ends before the stop.
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
    let connections_max = descriptors::raise_limit(options.connections_max);
    let policy = Arc::new(options.policy);
    let lingering_max = connections_max.lingering;
    let launch = Launch {
        listen: options.listen,
        lanes: options.lanes,
        config: ShardConfig {
            shards: options.shards,
            tuning: options.tuning,
            policy: Arc::clone(&policy),
            limiter: ConnectionLimiter::new(connections_max, options.connections_per_ip_max),
            clock: Clock::start(),
        },
    };
    let seeds = seeds(options.shards)?;
    let (mut shards, channels) = launch.start::<A>(&options.engine, &app, seeds)?;
    let users_silence_ms = options.engine.ping_interval_ms + options.engine.ping_timeout_ms;
    let settings = HttpSettings {
        policy,
        router: options.router,
        request_timeout_ms: options.request_timeout_ms,
        keep_alive_ms: http::KEEP_ALIVE_MS,
        users_silence_ms,
        requests_per_s: options.requests_per_s,
        requests_per_ip_max: options.requests_per_ip_max,
        lingering_max,
        on_request: Arc::new(|_, _| {}),
        counters: Arc::default(),
    };
    let http = http::start(channels.handles, channels.handovers, settings);
    wait_until_started(&mut shards).await?;
    shards.watch(|_| ());
    let signals = StopSignals::catch()?;
    on_listening(shards.addr);
    signals.wait(&mut shards).await?;
    stop(shards, http, JoinSet::new()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_documents_its_default() {
        let Options {
            connections_max,
            connections_per_ip_max,
            requests_per_s,
            requests_per_ip_max,
            request_timeout_ms,
            lanes,
            ..
        } = Options::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let Capacity { request_lane_max, delivery_lane_max } = lanes;
        let documented = [
            ("connections_max", format!("{connections_max} connections")),
            ("connections_per_ip_max", format!("{connections_per_ip_max} connections")),
            ("requests_per_s", format!("{requests_per_s} requests per second")),
            ("requests_per_ip_max", format!("{requests_per_ip_max} requests")),
            ("request_timeout_ms", format!("{request_timeout_ms} ms")),
            ("lanes", format!("{request_lane_max} requests and {delivery_lane_max} deliveries")),
        ];
        for (field, default) in documented {
            let text = format!("    /// Default: {default}.\n    pub {field}: ");
            assert!(include_str!("serve.rs").contains(&text), "{text}");
        }
    }
}

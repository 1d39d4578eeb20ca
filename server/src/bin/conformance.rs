//! The surface that generic Engine.IO, Socket.IO and WebSocket suites expect, on the transport of
//! the shipped server. It reflects what it is sent, so it serves loopback only and is not packaged.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use clap::Parser;
use throng::clock::Clock;
use throng::http::{self, HttpSettings};
use throng::launch::{Launch, seeds};
use throng::limiter::ConnectionLimiter;
use throng::request::HttpPolicy;
use throng::shard::{IoDriver, Tuning};
use throng::start::{StartError, on_http_thread, until_asked_to_stop, until_turning};
use throng::stop::stop;
use throng_core::conformance::Echo;
use throng_core::{Endpoint, Settings, ShardId};
use throng_mesh::Capacity;

/// Echo server for protocol suites.
///
/// /engine.io/ echoes every Engine.IO message; /socket.io/ serves the namespaces / and /custom with
/// the events `message` and `message-with-ack`; /echo is a bare WebSocket echo.
#[derive(Parser)]
#[command(name = "conformance", version, about)]
struct Args {
    /// Loopback address; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 300)]
    ping_interval_ms: u32,
    #[arg(long, default_value_t = 200)]
    ping_timeout_ms: u32,
    /// Bytes of one message or polling body.
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: u32,
    #[arg(long, default_value_t = 1)]
    shards: u8,
    /// `auto`, `io_uring` or `legacy`.
    #[arg(long, default_value = "auto")]
    io_driver: IoDriver,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match on_http_thread(async move || run(args).await) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(args: Args) -> Result<(), StartError> {
    if !args.listen.ip().is_loopback() {
        return Err(StartError::Config("conformance serves loopback addresses only".into()));
    }
    if args.shards == 0 {
        return Err(StartError::Config("there is at least one shard".into()));
    }
    let clock = Clock::start();
    let policy = Arc::new(HttpPolicy {
        engine_paths: vec![
            ("/engine.io".into(), Endpoint::EngineIo),
            ("/socket.io".into(), Endpoint::SocketIo),
            ("/echo".into(), Endpoint::RawEcho),
        ],
        allowed_origins: vec!["*".into()],
    });
    let launch = Launch {
        listen: args.listen,
        shards: args.shards,
        tuning: Tuning { io_driver: args.io_driver, ..Tuning::DEFAULT },
        lanes: Capacity { requests: 16, deliveries: 16 },
        policy: Arc::clone(&policy),
        limiter: ConnectionLimiter::new(u32::MAX, 0, Vec::new()),
        clock,
    };
    let seeds = seeds(args.shards)?;
    let settings = Settings {
        shards: args.shards,
        ping_interval_ms: args.ping_interval_ms,
        ping_timeout_ms: args.ping_timeout_ms,
        max_payload: args.max_payload,
        ..Settings::DEFAULT
    };
    let (mut shards, http_ends) = launch.go(move |shard: ShardId| {
        let settings = Settings { shard, ..settings.clone() };
        Echo::new(settings, seeds[usize::from(shard.0)].clone())
    })?;
    let http_settings = HttpSettings {
        policy,
        router: Router::new(),
        max_payload: args.max_payload as usize,
        request_timeout_ms: 10_000,
        on_request: Arc::new(|_, _| {}),
    };
    let http = http::start(http_ends, http_settings, None);
    until_turning(&mut shards).await?;
    // A closed standard output is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "conformance listening on http://{}", shards.addr);
    until_asked_to_stop(&mut shards).await?;
    stop(shards, http).await;
    Ok(())
}

//! The surface that generic Engine.IO, Socket.IO and WebSocket suites expect, on the transport of
//! the shipped server. It reflects what it is sent, so it serves loopback only and is not packaged.

mod echo;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use echo::Echo;
use throng_engine::{Endpoint, Settings};
use throng_mesh::Capacity;
use throng_runtime::policy::HttpPolicy;
use throng_runtime::shard::{IoDriver, Tuning};
use throng_runtime::{Options, serve};

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
    if !args.listen.ip().is_loopback() || args.shards == 0 {
        eprintln!("conformance: --listen takes a loopback address, --shards at least 1");
        return ExitCode::from(78);
    }
    let served = serve::<Echo>(options(&args), (), |addr| {
        // A closed standard output is no reason not to serve.
        let _ = writeln!(std::io::stdout(), "conformance listening on http://{addr}");
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn options(args: &Args) -> Options {
    Options {
        shards: args.shards,
        engine: Settings {
            ping_interval_ms: args.ping_interval_ms,
            ping_timeout_ms: args.ping_timeout_ms,
            max_payload: args.max_payload,
            ..Settings::default()
        },
        tuning: Tuning { io_driver: args.io_driver, ..Tuning::default() },
        policy: HttpPolicy {
            engine_paths: vec![
                ("/engine.io".into(), Endpoint::EngineIo),
                ("/socket.io".into(), Endpoint::SocketIo),
                ("/echo".into(), Endpoint::RawEcho),
            ],
            allowed_origins: vec!["*".into()],
            allow_eio3: true,
            ..HttpPolicy::default()
        },
        connections_max: u32::MAX,
        connections_per_ip_max: 0,
        lanes: Capacity { request_lane_max: 16, delivery_lane_max: 16 },
        request_timeout_ms: 10_000,
        ..Options::new(args.listen)
    }
}

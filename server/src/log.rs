//! Logging to standard error: standard output has only the line that scripts wait for.

use std::io;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::table::LogFormat;

/// Lines that wait for a slow reader of standard error; further lines are dropped.
const LINES_MAX: usize = 16 * 1024;

/// Starts the thread that writes logs, so that a slow reader of standard error does not slow a shard
/// or the HTTP thread. Dropping the guard writes the lines that still wait.
pub fn start(format: LogFormat, filter: &str) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // Fails only if logging was started before; then it stays as it is.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    guard
}

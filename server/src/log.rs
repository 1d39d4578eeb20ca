//! Logs go to standard error, so that standard output has the one line scripts wait for.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Sets the process up to log. Does nothing if it is already.
pub fn start(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

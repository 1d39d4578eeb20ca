//! `throng`: parse, start, wait.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use throng::cli::{Cli, Command, ImportArgs, ServeArgs};
use throng::config::{self, Config, Faults, Flags, Shown, docs};
use throng::import::import;
use throng::log;
use throng::metrics;
use throng::serve;
use throng::start::StartError;
use throng::terminal::{self, complain};
use throng_runtime::descriptors;
use throng_runtime::lifetime::on_http_thread;

/// Gives most of what a burst took back to the system. See decision record 032.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => run(args),
        Command::CheckConfig { explain, serve } => check(serve, explain),
        Command::Import(args) => take_over(args),
        Command::Docs { dir } => write_docs(&dir),
    };
    outcome.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(error.exit_code())
    })
}

fn run(args: ServeArgs) -> Result<ExitCode, StartError> {
    let (config, _) = load(args.config.as_deref(), args.settings.0)?;
    let _log = log::start(config.server.log, &config.server.log_filter.0);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // It is among the warnings, but the filter that it is about lets none of them through.
    if let Some(silence) = config.server.log_filter.silence() {
        complain(format_args!("warning: {silence}"));
    }
    let is_all_written = on_http_thread(async move || serve::serve(config).await)?;
    Ok(if is_all_written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn take_over(args: ImportArgs) -> Result<ExitCode, StartError> {
    let (config, _) = load(args.config.as_deref(), args.target.0.clone())?;
    on_http_thread(async move || import(&args, config).await)?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: ServeArgs, is_explained: bool) -> Result<ExitCode, StartError> {
    let (config, shown) = load(args.config.as_deref(), args.settings.0)?;
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let bound = descriptors::bound(config.server.connections_max);
    if bound.open_files.is_some() {
        complain(format_args!("warning: {bound}"));
    }
    let text = if is_explained {
        docs::explain(&shown)
    } else {
        for warning in on_http_thread(async move || serve::check(config).await)? {
            complain(format_args!("warning: {warning}"));
        }
        "configuration OK\n".to_owned()
    };
    terminal::print(&text).map_err(StartError::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn write_docs(dir: &Path) -> Result<ExitCode, StartError> {
    let pages = [("settings.md", docs::markdown()), ("metrics.md", metrics::markdown())];
    for (name, page) in pages {
        std::fs::write(dir.join(name), page).map_err(throng_runtime::StartError::System)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn load(file: Option<&Path>, flags: Flags) -> Result<(Config, Vec<Shown>), StartError> {
    config::load(file, flags).map_err(|Faults(faults)| {
        StartError::Config(format!("invalid configuration:\n  {}", faults.join("\n  ")))
    })
}

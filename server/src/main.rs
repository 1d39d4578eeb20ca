//! `throng`: parse, start, wait.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use throng::cli::{Cli, Command, ImportArgs, ServeArgs};
use throng::config::{self, Config, Faults, Flags, Shown};
use throng::import::import;
use throng::log;
use throng::serve::serve;
use throng::start::StartError;
use throng_runtime::lifetime::on_http_thread;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => run(&args),
        Command::CheckConfig { explain, serve } => check(&serve, explain),
        Command::Import(args) => take_over(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("throng: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn run(args: &ServeArgs) -> Result<ExitCode, StartError> {
    let (config, _) = load(args.config.as_deref(), args.flags())?;
    let _log = log::start(config.log, &config.log_filter);
    let is_drained = on_http_thread(async move || serve(config).await)?;
    Ok(if is_drained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn take_over(args: ImportArgs) -> Result<ExitCode, StartError> {
    let (config, _) = load(args.config.as_deref(), args.flags())?;
    on_http_thread(async move || import(&args, config).await)?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &ServeArgs, explain: bool) -> Result<ExitCode, StartError> {
    let (_, shown) = load(args.config.as_deref(), args.flags())?;
    let mut out = std::io::stdout().lock();
    if explain {
        let width = shown.iter().map(|shown| shown.key.len()).max().unwrap_or(0);
        for Shown { key, value, unit, allowed, origin } in shown {
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            let line = format!("{key:width$} = {value}{unit}  ({allowed}; from {origin})");
            // A reader that went away wants no more lines.
            let _ = writeln!(out, "{line}");
        }
    } else {
        let _ = writeln!(out, "configuration OK");
    }
    Ok(ExitCode::SUCCESS)
}

fn load(file: Option<&Path>, flags: Flags) -> Result<(Config, Vec<Shown>), StartError> {
    config::load(file, flags).map_err(|Faults(faults)| {
        StartError::Config(format!("invalid configuration:\n  {}", faults.join("\n  ")))
    })
}

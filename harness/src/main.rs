#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use throng_harness::cli::Cli;
use throng_harness::commands;

fn main() -> ExitCode {
    // Usage errors end here with code 2, help and version with 0: clap's own habit.
    let cli = Cli::parse();
    ExitCode::from(commands::execute(cli.command))
}

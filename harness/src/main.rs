#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use throng_harness::cli::Cli;
use throng_harness::commands;

fn main() -> ExitCode {
    // clap exits with code 2 on usage errors, and with 0 for help and version.
    let cli = Cli::parse();
    ExitCode::from(commands::execute(cli.command))
}

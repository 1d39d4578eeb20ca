#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use throng_loadgen::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("throng-loadgen: {error:#}");
            ExitCode::from(throng_loadgen::verdict::EXIT_ERROR)
        }
    }
}

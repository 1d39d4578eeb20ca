#![forbid(unsafe_code)]

use std::process::ExitCode;

use throng_loadgen::cli::Cli;
use throng_loadgen::verdict;

fn main() -> ExitCode {
    match Cli::from_command_line().execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("throng-loadgen: {error:#}");
            ExitCode::from(verdict::code_of(&error))
        }
    }
}

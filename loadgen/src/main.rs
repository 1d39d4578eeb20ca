#![forbid(unsafe_code)]

use std::process::ExitCode;

use throng_loadgen::cli::Cli;
use throng_loadgen::hints::hint;
use throng_loadgen::tls::in_words;
use throng_loadgen::verdict;

fn main() -> ExitCode {
    match Cli::from_command_line().execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let text = in_words(&format!("{error:#}"));
            eprintln!("throng-loadgen: {text}");
            if let Some(hint) = hint(&text) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(verdict::code_of(&error))
        }
    }
}

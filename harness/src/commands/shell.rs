//! `completions` and `man`: what the command line is made into for shells and readers.

use std::io::{Write, stdout};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{CONFORMS, Exit, usage};
use crate::cli::Cli;

pub fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "throng-harness", &mut script);
    stdout().write_all(&script).map_err(|why| usage(format!("standard output: {why}")))?;
    Ok(CONFORMS)
}

pub fn man(dir: &Path) -> Exit {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|why| usage(format!("{}: {why}", dir.display())))?;
    Ok(CONFORMS)
}

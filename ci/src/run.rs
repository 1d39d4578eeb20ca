//! `cargo xtask run`: from a fresh clone to a page in the browser.

use std::os::unix::process::CommandExt;

use crate::process::{command, line_of, run as run_command, say, target};
use crate::{Failure, Outcome, setup};

const LISTEN: &str = "127.0.0.1:8090";

pub fn run(args: &[String]) -> Outcome {
    setup::for_run()?;
    say("building the server (release)");
    run_command("cargo", &["build", "--release", "--package", "throng", "--bin", "throng"], ".")?;
    let server = target().join("release").join("throng");
    let mut serve = command(&server.to_string_lossy(), &["serve"], ".");
    let has = |flag: &str| {
        args.iter()
            .any(|arg| arg == flag || arg.strip_prefix(flag).is_some_and(|r| r.starts_with('=')))
    };
    if !has("--listen") {
        serve.args(["--listen", LISTEN]);
    }
    if !has("--data-dir") && !has("--help") {
        serve.arg("--data-dir").arg(crate::process::root().join("data"));
    }
    serve.args(args);
    say(&line_of(&serve));
    // The server takes this process's place, so that a signal for the one reaches the other.
    let error = serve.exec();
    Err(Failure::Failed(format!("{}: {error}", server.display())))
}

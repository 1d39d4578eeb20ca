//! Child processes: run one, keep or pass on its output.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::{env, thread};

use throng_kit::Program;
pub use throng_kit::programs::{node_dir, root, target};

use serde_json::Value;

use crate::{Failure, Outcome};

/// A command that runs in `dir` (relative to the top) with our own Node first on the path: a program
/// of the kit's table by its name, or one of ours by its path.
pub fn command<S: AsRef<OsStr>>(program: &str, args: &[S], dir: &str) -> Command {
    let mut command = match program.contains('/') {
        true => throng_kit::own(program),
        false => Program::named(program).command(),
    };
    command.args(args).current_dir(root().join(dir)).stdin(Stdio::null());
    let own = node_dir();
    if own.is_dir() {
        let old = env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(own).chain(env::split_paths(&old));
        if let Ok(path) = env::join_paths(dirs) {
            command.env("PATH", path);
        }
    }
    command
}

/// Runs a command with its output shown; an exit code other than 0 is a failure.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S], dir: &str) -> Outcome {
    finish(command(program, args, dir))
}

pub fn finish(mut command: Command) -> Outcome {
    let line = line_of(&command);
    let status = command.status().map_err(|error| Failure::Failed(format!("{line}: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failure::Failed(format!("{line}: {status}"))) }
}

/// The command as a person would type it.
pub fn line_of(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// Runs a command, shows its output as it comes and also returns it (both streams, line by line).
pub fn run_and_read(command: Command) -> Outcome<(bool, Vec<String>)> {
    run_and_read_as("", command)
}

/// The same with `name` before each line shown, for commands that run at the same time.
pub fn run_and_read_as(name: &str, mut command: Command) -> Outcome<(bool, Vec<String>)> {
    let line = line_of(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Failure::Failed(format!("{line}: {error}")))?;
    let out = child.stdout.take().expect("stdout is piped");
    let err = child.stderr.take().expect("stderr is piped");
    let lines = thread::scope(|scope| {
        let errors = scope.spawn(|| copy_lines(err, |line| eprintln!("{name}{line}")));
        let mut lines = copy_lines(out, |line| println!("{name}{line}"));
        lines.extend(errors.join().expect("the copying thread does not panic"));
        lines
    });
    let status = child.wait()?;
    Ok((status.success(), lines))
}

fn copy_lines(from: impl Read, show: impl Fn(&str)) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        show(&line);
        lines.push(line);
    }
    lines
}

/// What a command prints, if it is installed, runs and succeeds.
pub fn read<S: AsRef<OsStr>>(program: &str, args: &[S], dir: &str) -> Option<String> {
    if !is_installed(program) {
        return None;
    }
    let output = command(program, args, dir).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What Cargo says of the packages of this workspace.
pub fn metadata() -> Outcome<Value> {
    let args = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let text = read("cargo", &args, ".")
        .ok_or_else(|| Failure::Failed("cargo metadata failed".to_owned()))?;
    serde_json::from_str(&text).map_err(|error| Failure::Failed(error.to_string()))
}

/// Whether a program of the kit's table is there.
pub fn is_installed(program: &str) -> bool {
    Program::named(program).find().is_some()
}

/// A heading between steps.
pub fn say(text: &str) {
    println!("\n── {text}");
}

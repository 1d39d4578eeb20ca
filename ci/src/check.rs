//! `cargo xtask check`: what can be judged without a running server.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use throng_kit::Program;
use throng_kit::programs::through;

use crate::counts::Counts;
use crate::process::{command, finish, is_installed, read, root, run, say};
use crate::{Failure, Outcome, circles, imports, links, purity, threats, words};

/// What became of one check that did not fail.
enum Verdict {
    Passed,
    /// Why it did not run.
    Skipped(&'static str),
}

type Check = (&'static str, fn() -> Outcome<Verdict>);

/// The quick ones first.
const CHECKS: &[Check] = &[
    ("formatting", || passed(run("cargo", &["fmt", "--all", "--check"], "."))),
    ("import directions between packages", || passed(imports::check())),
    ("import circles between files", || passed(circles::check())),
    ("rules of the pure crates", || passed(purity::check())),
    ("links in Markdown", || passed(links::check())),
    ("threat model", || passed(threats::check())),
    ("retired words", || passed(words::check())),
    ("web client: eslint", || web("lint")),
    ("web client: types", || web("check")),
    ("licences and advisories", deny),
];

/// Those that compile.
const COMPILING: &[Check] = &[
    ("clippy", || passed(finish(through_clippy(CLIPPY)))),
    // Behind it too: the index has what it needs then.
    ("packages", || passed(run("cargo", PACKAGES, "."))),
    // Behind clippy, which makes the metadata of all packages that it needs.
    ("links in rustdoc", || passed(finish(through_clippy(RUSTDOC)))),
];

/// What `cargo clippy --workspace --all-targets -- -D warnings` runs.
const CLIPPY: &[&str] = &["check", "--workspace", "--all-targets"];
/// The tools are products of their own: they can be published.
const PACKAGES: &[&str] = &[
    "package",
    "--offline",
    "--allow-dirty",
    "--no-verify",
    "--quiet",
    "--package=throng-spec",
    "--package=throng-codec",
    "--package=throng-events",
    "--package=throng-reference",
    "--package=throng-harness",
    "--package=throng-loadgen",
];

/// How `cargo clippy` hands `-D warnings` on.
const CLIPPY_ARGS: &str = "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__";

/// Of all crates, private items too. Only rustdoc itself knows a broken link; neither a lint of the
/// compiler nor a doc test finds it.
const RUSTDOC: &[&str] = &[
    "--config",
    "build.rustdocflags=['-D', 'rustdoc::broken_intra_doc_links']",
    "doc",
    "--no-deps",
    "--quiet",
    "--workspace",
    "--document-private-items",
];

/// `cargo xtask check [NAME…]`: all of them, or those whose names contain one of the words.
pub fn check(wanted: &[String]) -> Outcome {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|want| name.contains(want));
    let every = || CHECKS.iter().chain(COMPILING);
    if !every().any(|(name, _)| is_wanted(name)) {
        let names: Vec<&str> = every().map(|(name, _)| *name).collect();
        return Err(Failure::Usage(format!("no such check: {}", names.join(", "))));
    }
    let counts = all(every().filter(|(name, _)| is_wanted(name)));
    println!("\n{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    match counts.failed {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!("{failed} checks failed"))),
    }
}

/// For `test`: every check counts as one.
pub fn in_test() -> Outcome<Counts> {
    Ok(all(CHECKS.iter()))
}

/// The others, for `test`, where the processor has time.
pub fn compiling_in_test() -> Outcome<Counts> {
    Ok(all(COMPILING.iter()))
}

fn all<'a>(checks: impl Iterator<Item = &'a Check>) -> Counts {
    let mut counts = Counts::default();
    for (name, work) in checks {
        say(name);
        let start = Instant::now();
        let verdict = work();
        let seconds = start.elapsed().as_secs_f64();
        match verdict {
            Ok(Verdict::Passed) => {
                println!("ok     {name}, {seconds:.1} s");
                counts.add_one(name, true);
            }
            Ok(Verdict::Skipped(why)) => {
                println!("skip   {name}: {why}");
                counts.skipped += 1;
            }
            Err(Failure::Failed(why) | Failure::Usage(why) | Failure::Missing(why)) => {
                println!("{why}\nFAILED {name}, {seconds:.1} s");
                counts.add_one(name, false);
            }
        }
    }
    counts
}

/// Clippy in the place of the compiler for our own packages, as `cargo clippy` puts it there. Cargo takes
/// the metadata for made in the same way then, and rustdoc does not have them compiled once more.
fn through_clippy(args: &[&str]) -> Command {
    let mut cargo = command("cargo", args, ".");
    let sysroot = read("rustc", &["--print", "sysroot"], ".").unwrap_or_default();
    let driver = Path::new(sysroot.trim()).join("bin").join("clippy-driver");
    cargo.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", CLIPPY_ARGS);
    // Next to the end-to-end tests, which measure time.
    through(Program::Nice, &["-n", "19"], &cargo)
}

fn passed(outcome: Outcome) -> Outcome<Verdict> {
    outcome.map(|()| Verdict::Passed)
}

fn deny() -> Outcome<Verdict> {
    if !is_installed("cargo-deny") {
        return Ok(Verdict::Skipped("`cargo install --locked cargo-deny` makes it run"));
    }
    passed(run("cargo", &["deny", "--workspace", "check"], "."))
}

fn web(script: &str) -> Outcome<Verdict> {
    if !root().join("server/web/node_modules").is_dir() {
        return Ok(Verdict::Skipped("`cargo xtask setup` makes it run"));
    }
    passed(run("npm", &["run", "--silent", script], "server/web"))
}

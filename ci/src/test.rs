//! `cargo xtask test`: sets everything up, runs every kind of test, and ends with one summary.

use std::thread;
use std::time::{Duration, Instant};

use crate::counts::{Counts, judged, libtest, nextest, vitest};
use crate::process::{command, is_installed, run, run_and_read, say, target};
use crate::{Failure, Outcome, check, conform, e2e, fuzz, instructions, setup};

/// What one step of the run came to.
struct Report {
    name: &'static str,
    counts: Counts,
    took: Duration,
}

type Step = (&'static str, fn() -> Outcome<Counts>);

const STEPS: &[Step] = &[
    ("check", check::in_test),
    ("web", web),
    ("rust", rust),
    ("client", rust_client),
    ("e2e", e2e::all),
    ("conform", harness),
    ("instructions", instructions::in_test),
    ("fuzz", fuzz::in_test),
];

pub fn test(wanted: &[String]) -> Outcome {
    if let Some(unknown) = wanted.iter().find(|name| !STEPS.iter().any(|(known, _)| known == name))
    {
        let names: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        return Err(Failure::Usage(format!("no step `{unknown}`: {}", names.join(" "))));
    }
    let begun = Instant::now();
    setup::for_build_of_tests()?;
    // Downloads wait for the network while the compiler works. A failure here is a failure of the run.
    thread::scope(|scope| {
        let clients = scope.spawn(setup::clients);
        build()?;
        clients.join().expect("set-up does not panic")
    })?;
    let mut reports = Vec::new();
    for (name, step) in STEPS {
        if !wanted.is_empty() && !wanted.iter().any(|want| want == name) {
            continue;
        }
        say(name);
        let start = Instant::now();
        let counts = match step() {
            Ok(counts) => counts,
            Err(Failure::Failed(why) | Failure::Usage(why) | Failure::Missing(why)) => {
                eprintln!("xtask: {why}");
                Counts { failed: 1, ..Counts::default() }
            }
        };
        reports.push(Report { name, counts, took: start.elapsed() });
    }
    summary(&reports, begun.elapsed())
}

fn summary(reports: &[Report], took: Duration) -> Outcome {
    say("summary");
    let mut all = Counts::default();
    for Report { name, counts, took } in reports {
        all.add(*counts);
        let Counts { passed, failed, skipped, flaky } = counts;
        let mark = if *failed == 0 { "ok    " } else { "FAILED" };
        let seconds = took.as_secs();
        println!(
            "{mark} {name:<12} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped \
             {flaky:>3} flaky {seconds:>5} s"
        );
    }
    let Counts { passed, failed, flaky, .. } = all;
    println!("in {} s; artefacts in {}\n", took.as_secs(), artifacts());
    if flaky > 0 {
        println!("{flaky} passed only at the second try: see FLAKY above");
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        return Err(Failure::Failed(format!("{failed} failed")));
    }
    if passed == 0 {
        return Err(Failure::Failed("no test ran".to_owned()));
    }
    Ok(())
}

fn artifacts() -> String {
    target().join("artifacts").display().to_string()
}

/// One build of everything in the dev profile: binaries for the end-to-end tests and all test
/// binaries, with the same features, so that nothing is compiled twice.
fn build() -> Outcome {
    say("building everything (dev profile)");
    run("cargo", &["build", "--workspace", "--bins", "--tests"], ".")
}

fn rust() -> Outcome<Counts> {
    let has_nextest = is_installed("cargo-nextest");
    let args: &[&str] = if has_nextest {
        &["nextest", "run", "--workspace", "--bins", "--tests", "--lib", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--bins", "--tests", "--lib", "--no-fail-fast"]
    };
    // A test starts the example that the page of the engine shows.
    run("cargo", &["build", "--workspace", "--examples"], ".")?;
    let mut tests = command("cargo", args, ".");
    tests.env("E2E_BIN_DIR", target().join("debug"));
    let (succeeded, lines) = run_and_read(tests)?;
    let counts = if has_nextest { nextest(&lines) } else { libtest(&lines) };
    let mut counts = judged("cargo test", succeeded, counts);
    // Neither runner above runs the examples in the documentation.
    let docs = command("cargo", &["test", "--workspace", "--doc", "--no-fail-fast"], ".");
    let (succeeded, lines) = run_and_read(docs)?;
    counts.add(judged("cargo test --doc", succeeded, libtest(&lines)));
    Ok(counts)
}

fn web() -> Outcome<Counts> {
    let dir = "server/web";
    let (succeeded, lines) = run_and_read(command("npm", &["run", "--silent", "test"], dir))?;
    Ok(judged("web client tests", succeeded, vitest(&lines)))
}

/// Builds the program around `rust_socketio`; the end-to-end tests run it.
fn rust_client() -> Outcome<Counts> {
    let mut build = command("cargo", &["build", "--locked"], "tests/rust-client");
    build.env("CARGO_TARGET_DIR", target().join("rust-client"));
    crate::process::finish(build)?;
    Ok(Counts::default())
}

fn harness() -> Outcome<Counts> {
    conform::in_test()
}

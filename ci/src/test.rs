//! `cargo xtask test`: sets everything up, runs every kind of test, and ends with one summary.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::counts::{Counts, judged, vitest};
use crate::process::{command, run, run_and_read, say, target};
use crate::{Failure, Outcome, check, conform, e2e, fuzz, instructions, rust, setup};

/// What one step of the run came to.
struct Report {
    name: &'static str,
    counts: Counts,
    took: Duration,
}

type Step = (&'static str, fn(&Wanted<'_>) -> Outcome<Counts>);
/// Whether the step of that name is to be run.
type Wanted<'a> = dyn Fn(&str) -> bool + 'a;

type Build = fn() -> Outcome<Command>;

/// What steps build for themselves. It is built next to the Rust tests, which mostly wait.
const BUILDS: &[(&str, Build)] =
    &[("e2e", e2e::build), ("instructions", instructions::build), ("fuzz", fuzz::build)];

const STEPS: &[Step] = &[
    ("check", |_| check::in_test()),
    ("web", |_| web()),
    ("rust", rust),
    ("e2e", e2e_and_compiling_checks),
    ("conform", |_| conform::in_test()),
    ("instructions", |_| instructions::in_test()),
    ("fuzz", |_| fuzz::in_test()),
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
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|want| want == name);
    let mut reports = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| is_wanted(name)) {
        say(name);
        let start = Instant::now();
        let counts = match step(&is_wanted) {
            Ok(counts) => counts,
            Err(Failure::Failed(why) | Failure::Usage(why) | Failure::Missing(why)) => {
                eprintln!("xtask: {why}");
                let mut counts = Counts::default();
                counts.add_one(&why, false);
                counts
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
        all.add(counts.clone());
        let Counts { passed, failed, skipped, flaky, named: _ } = counts;
        let mark = if *failed == 0 { "ok    " } else { "FAILED" };
        let seconds = took.as_secs();
        println!(
            "{mark} {name:<12} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped \
             {flaky:>3} flaky {seconds:>5} s"
        );
    }
    let Counts { passed, failed, named, .. } = all;
    println!("in {} s; artefacts in {}\n", took.as_secs(), artifacts());
    for line in named {
        println!("{line}");
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

/// One build of everything in the dev profile: binaries for the end-to-end tests, examples that tests
/// start, and all test binaries, with the same features, so that nothing is compiled twice.
fn build() -> Outcome {
    say("building everything (dev profile)");
    run("cargo", &["build", "--workspace", "--bins", "--tests", "--examples"], ".")
}

fn rust(is_wanted: &Wanted<'_>) -> Outcome<Counts> {
    let builds = BUILDS.iter().filter(|(step, _)| is_wanted(step));
    let builds = builds.map(|(step, build)| Ok((*step, build()?))).collect::<Outcome<_>>()?;
    rust::tests(builds)
}

/// The end-to-end tests mostly wait, and what judges the code by compiling it needs no test.
fn e2e_and_compiling_checks(is_wanted: &Wanted<'_>) -> Outcome<Counts> {
    if !is_wanted("check") {
        return e2e::all();
    }
    thread::scope(|scope| {
        let compiling = scope.spawn(check::compiling_in_test);
        let mut counts = e2e::all()?;
        counts.add(compiling.join().expect("a check does not panic")?);
        Ok(counts)
    })
}

fn web() -> Outcome<Counts> {
    let dir = "server/web";
    let (succeeded, lines) = run_and_read(command("npm", &["run", "--silent", "test"], dir))?;
    Ok(judged("web client tests", succeeded, vitest(&lines)))
}

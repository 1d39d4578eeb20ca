//! `cargo xtask test`: sets everything up, runs every kind of test, and ends with one summary.

use std::time::{Duration, Instant};

use crate::process::{command, is_installed, run, run_and_read, say, target};
use crate::{Failure, Outcome, conform, e2e, instructions, setup};

/// What one step of the run came to.
struct Report {
    name: &'static str,
    passed: u64,
    failed: u64,
    skipped: u64,
    flaky: u64,
    took: Duration,
}

/// Numbers read from a test runner's own closing lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Passed, but only at the second try.
    pub flaky: u64,
}

impl Counts {
    pub fn add(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
        self.flaky += more.flaky;
    }
}

type Step = (&'static str, fn() -> Outcome<Counts>);

const STEPS: &[Step] = &[
    ("web", web),
    ("rust", rust),
    ("client", rust_client),
    ("e2e", e2e::all),
    ("conform", harness),
    ("instructions", instructions::in_test),
];

pub fn test(wanted: &[String]) -> Outcome {
    if let Some(unknown) = wanted.iter().find(|name| !STEPS.iter().any(|(known, _)| known == name))
    {
        return Err(Failure::Usage(format!(
            "no step `{unknown}`: web rust client e2e conform instructions"
        )));
    }
    let begun = Instant::now();
    setup::everything()?;
    // Warm-up of what several steps use; a failure here is a failure of the run.
    build()?;
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
        let Counts { passed, failed, skipped, flaky } = counts;
        reports.push(Report { name, passed, failed, skipped, flaky, took: start.elapsed() });
    }
    summary(&reports, begun.elapsed())
}

fn summary(reports: &[Report], took: Duration) -> Outcome {
    say("summary");
    for Report { name, passed, failed, skipped, flaky, took } in reports {
        let mark = if *failed == 0 { "ok    " } else { "FAILED" };
        let seconds = took.as_secs();
        println!(
            "{mark} {name:<12} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped \
             {flaky:>3} flaky {seconds:>5} s"
        );
    }
    let passed: u64 = reports.iter().map(|report| report.passed).sum();
    let failed: u64 = reports.iter().map(|report| report.failed).sum();
    let flaky: u64 = reports.iter().map(|report| report.flaky).sum();
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
    let mut tests = command("cargo", args, ".");
    tests.env("E2E_BIN_DIR", target().join("debug"));
    let (succeeded, lines) = run_and_read(tests)?;
    let counts = if has_nextest { nextest(&lines) } else { libtest(&lines) };
    Ok(judged("cargo test", succeeded, counts))
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

/// A runner that failed without saying which test counts as one failure.
pub fn judged(name: &str, succeeded: bool, mut counts: Counts) -> Counts {
    if !succeeded && counts.failed == 0 {
        eprintln!("xtask: {name}: the runner itself failed");
        counts.failed = 1;
    }
    counts
}

/// `     Summary [  1.2s] 12 tests run: 11 passed (1 slow, 1 flaky), 1 failed, 2 skipped`
fn nextest(lines: &[String]) -> Counts {
    let mut lines = lines.iter().rev().map(|line| plain(line));
    let text = lines.find(|line| line.contains("Summary [")).unwrap_or_default();
    let bad = number_before(&text, "failed") + number_before(&text, "timed out");
    Counts {
        passed: number_before(&text, "passed"),
        failed: bad,
        skipped: number_before(&text, "skipped"),
        flaky: number_before(&text, "flaky"),
    }
}

/// `test result: FAILED. 10 passed; 1 failed; 2 ignored; …`, once per test binary.
fn libtest(lines: &[String]) -> Counts {
    let mut all = Counts::default();
    for line in lines.iter().filter(|line| line.starts_with("test result:")) {
        all.passed += number_before(line, "passed");
        all.failed += number_before(line, "failed");
        all.skipped += number_before(line, "ignored");
    }
    all
}

/// `      Tests  1 failed | 12 passed | 2 skipped (15)`
fn vitest(lines: &[String]) -> Counts {
    let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
    let line = lines.iter().rev().find(|line| line.trim_start().starts_with("Tests "));
    let text = line.map(String::as_str).unwrap_or_default();
    Counts {
        passed: number_before(text, "passed"),
        failed: number_before(text, "failed"),
        skipped: number_before(text, "skipped"),
        flaky: 0,
    }
}

/// The last `N passed, N failed[, N skipped][, N errors]` of a runner that closes with such a line.
pub fn plain_counts(lines: &[String]) -> Counts {
    let is_closing = |line: &&String| line.contains(" passed, ") && line.contains(" failed");
    let text = lines.iter().rev().find(is_closing).map(|line| plain(line)).unwrap_or_default();
    Counts {
        passed: number_before(&text, "passed"),
        failed: number_before(&text, "failed") + number_before(&text, "errors"),
        skipped: number_before(&text, "skipped"),
        flaky: 0,
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    let Some(at) = text.find(word) else { return 0 };
    let digits = text[..at].trim_end().rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Without terminal colours.
pub fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        text.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::{Counts, libtest, nextest, plain_counts, vitest};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped, flaky: 0 }
    }

    #[test]
    fn nextest_summary_is_read() {
        let text = "     \u{1b}[31mSummary\u{1b}[0m [   0.012s] 14 tests run: 11 passed (1 slow, 2 flaky), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(nextest(&lines(text)), Counts { flaky: 2, ..counts(11, 3, 3) });
    }

    #[test]
    fn nextest_summary_survives_a_reset_before_the_bracket() {
        let text = "Summary [0.1s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(nextest(&lines(text)), counts(1, 0, 0));
    }

    #[test]
    fn libtest_results_add_up() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                    test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(libtest(&lines(text)), counts(7, 2, 1));
    }

    #[test]
    fn vitest_line_is_read_with_its_colours() {
        let text = "\u{1b}[2m Test Files \u{1b}[22m 2 passed (2)\n      Tests  1 failed | 12 passed | 2 skipped (15)";
        assert_eq!(vitest(&lines(text)), counts(12, 1, 2));
    }

    #[test]
    fn errors_of_the_harness_are_failures() {
        let text = "210 passed, 1 failed, 0 warned, 4 skipped, 2 errors in 3.1 s (seed 7)";
        assert_eq!(plain_counts(&lines(text)), counts(210, 3, 4));
    }
}

//! The end-to-end tests in `tests/js`, run by Node.

use std::process::Command;
use std::{env, fs};

use crate::counts::{Counts, judged, plain};
use crate::pool::two_at_a_time;
use crate::process::{command, finish, root, run, run_and_read_as, say, target};
use crate::{Failure, Outcome, setup};

const DIR: &str = "tests/js";
const FAULTS: &str = "faults.test.mjs";
const FLOODS: &str = "floods.test.mjs";
/// Browsers and floods take the whole machine, and what is raw on the wire depends on how packets come: these
/// files run alone.
const ALONE: &[&str] = &[FLOODS, "legacy-page.test.mjs", "legacy-wire.test.mjs", "web.test.mjs"];

/// The command that builds the program around `rust_socketio`, which is no package of the workspace.
pub fn build() -> Outcome<Command> {
    let mut build = command("cargo", &["build", "--locked"], "tests/rust-client");
    build.env("CARGO_TARGET_DIR", target().join("rust-client"));
    Ok(build)
}

/// Two files at a time where that is possible. A failed one runs once more, alone, because it is about real
/// processes, sockets and browsers on a shared machine. One that passes only then is counted and reported
/// as flaky.
pub fn all() -> Outcome<Counts> {
    finish(build()?)?;
    let mut files: Vec<String> = fs::read_dir(root().join(DIR))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".test.mjs"))
        .collect();
    // The longest comes first.
    files.sort_by_key(|file| (file != FAULTS, file.clone()));
    let (alone, together): (Vec<String>, Vec<String>) =
        files.into_iter().partition(|file| ALONE.contains(&file.as_str()));
    let once = |file: String| {
        say(&format!("e2e {file}"));
        let counts = file_of("debug", &file, &[])?;
        Ok((file, counts))
    };
    let mut ended = two_at_a_time(together, once)?;
    for file in alone {
        ended.push(once(file)?);
    }
    let mut all = Counts::default();
    for (file, mut counts) in ended {
        if counts.failed > 0 {
            say(&format!("e2e {file}, once more"));
            let mut again = file_of("debug", &file, &[])?;
            if again.failed == 0 {
                again.flaky = 1;
                let marked = counts.named.iter().map(|name| name.replace("FAILED", "FLAKY"));
                again.named = marked.collect();
            }
            counts = again;
        }
        all.add(counts);
    }
    Ok(all)
}

/// `cargo xtask faults`: every fault once, with the release build, and the table of what was seen.
pub fn faults() -> Outcome {
    setup::everything()?;
    run("cargo", &["build", "--release", "--package", "throng", "--bin", "throng"], ".")?;
    let results = root().join("benches").join("results").display().to_string();
    let mut counts = Counts::default();
    for file in [FAULTS, FLOODS] {
        counts.add(file_of("release", file, &[("E2E_RESULTS", &results)])?);
    }
    if counts.failed > 0 {
        return Err(Failure::Failed(format!("{} faults were not endured", counts.failed)));
    }
    Ok(())
}

fn file_of(profile: &str, file: &str, environment: &[(&str, &str)]) -> Outcome<Counts> {
    let artifacts = target().join("artifacts");
    fs::create_dir_all(&artifacts)?;
    let xml = artifacts.join(format!("e2e-{file}.xml"));
    // What a failed test has left behind must not keep the file from ending.
    let mut node = command("node", &["--test", "--test-timeout=600000", "--test-force-exit"], DIR);
    node.args(["--test-reporter=spec", "--test-reporter-destination=stdout"]);
    node.arg("--test-reporter=junit").arg(format!("--test-reporter-destination={}", xml.display()));
    node.arg(file);
    node.env("E2E_BIN_DIR", target().join(profile));
    node.env("E2E_ARTIFACTS", artifacts);
    node.env("E2E_PYTHON_4", setup::python("4"));
    node.env("E2E_PYTHON_5", setup::python("5"));
    node.env("E2E_RUST_CLIENT", target().join("rust-client").join("debug").join("rust-client"));
    node.envs(environment.iter().copied());
    if let Some(chromium) = throng_kit::Program::Chromium.find() {
        node.env("CHROMIUM", chromium);
    }
    if env::var_os("NO_COLOR").is_none() && env::var_os("CI").is_some() {
        node.env("NO_COLOR", "1");
    }
    let name = file.trim_end_matches(".test.mjs");
    let (succeeded, lines) = run_and_read_as(&format!("{name:<14}"), node)?;
    Ok(judged(file, succeeded, node_test(name, &lines)))
}

/// `ℹ pass 12`, `ℹ fail 0`, `ℹ cancelled 0`, `ℹ skipped 0`, and behind `✖ failing tests:` a line
/// `✖ a name (12.3ms)` for each.
fn node_test(file: &str, lines: &[String]) -> Counts {
    let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
    let number = |word: &str| {
        lines
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("ℹ ")?.strip_prefix(word)?.trim().parse().ok())
            .unwrap_or(0)
    };
    let failing = lines.iter().skip_while(|line| !line.starts_with("✖ failing tests"));
    let named = failing.skip(1).filter_map(|line| line.trim_start().strip_prefix("✖ "));
    Counts {
        passed: number("pass "),
        failed: number("fail ") + number("cancelled "),
        skipped: number("skipped "),
        flaky: 0,
        named: named.map(|name| format!("FAILED e2e {file}: {name}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, node_test};

    #[test]
    fn counts_are_read_and_cancelled_is_failed() {
        let text = "✖ a room (3ms)\nℹ tests 5\nℹ pass 3\nℹ fail 1\nℹ cancelled 1\nℹ skipped 0\n\
                    ✖ failing tests:\n\ntest at a.mjs:1:1\n✖ a room (3ms)\n  AssertionError\n";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let named = vec!["FAILED e2e chat: a room (3ms)".to_owned()];
        let want = Counts { passed: 3, failed: 2, named, ..Counts::default() };
        assert_eq!(node_test("chat", &lines), want);
    }
}

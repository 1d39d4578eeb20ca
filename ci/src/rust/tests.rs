use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use throng_kit::Program;
use throng_kit::scratch::Dir;

use super::{Ended, Job, failed_tests, package, programs, to_end, two_at_a_time};
use crate::process::target;

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn script(name: &str, text: &str) -> Job {
    let mut command = Program::Bash.command();
    command.args(["-c", text]);
    let [package, kind] = ["script", "test"].map(str::to_owned);
    Job { package, kind, name: name.to_owned(), command }
}

#[test]
fn programs_of_tests_are_found_with_their_folders() {
    let dir = target().join("debug/deps");
    let message = |name: &str, is_test: bool, program: Option<&str>| {
        json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///x/server/store#throng-store@0.1.0",
            "manifest_path": "/x/server/store/Cargo.toml",
            "target": { "name": name, "kind": ["lib"] },
            "profile": { "test": is_test },
            "executable": program.map(|program| dir.join(program)),
        })
    };
    let messages = [
        message("throng_store", true, Some("throng_store-1")),
        message("throng_store", false, None),
        message("tool", false, Some("tool-1")),
        json!({ "reason": "build-finished", "success": true }),
    ];
    let text: Vec<String> = messages.iter().map(ToString::to_string).collect();
    let jobs = programs(&text.join("\n")).unwrap_or_else(|_| panic!("it is what Cargo writes"));
    let [job] = &jobs[..] else { panic!("{} programs", jobs.len()) };
    assert_eq!((job.package.as_str(), job.name.as_str()), ("throng-store", "throng_store"));
    assert_eq!(job.command.get_program(), dir.join("throng_store-1"));
    assert_eq!(job.command.get_current_dir(), Some("/x/server/store".as_ref()));
}

#[test]
fn a_package_is_named_by_its_id() {
    let name = |id: &str| package(&json!({ "package_id": id }));
    assert_eq!(name("path+file:///x/store#throng-store@0.1.0").as_deref(), Some("throng-store"));
    assert_eq!(name("path+file:///x/xtask#0.1.0").as_deref(), Some("xtask"));
    assert_eq!(name("neither"), None);
}

#[test]
fn failed_tests_are_named() {
    let text = "test a::one ... ok\ntest b::two ... FAILED\ntest c ... ignored\ntest d - should panic ... FAILED";
    assert_eq!(failed_tests(&lines(text)), ["b::two", "d"]);
}

#[test]
fn all_are_run_and_a_program_that_dies_is_a_failure_with_its_name() {
    let jobs = vec![
        script("good", "echo 'test result: ok. 3 passed; 0 failed; 1 ignored'"),
        script(
            "bad",
            "echo 'test x::y ... FAILED'; echo 'test result: FAILED. 1 passed; 1 failed'; exit 101",
        ),
        script("dead", "kill -ABRT $$"),
    ];
    let ended = two_at_a_time(jobs, Job::run).unwrap_or_else(|_| panic!("scripts can be started"));
    let sum = |of: fn(&Ended) -> u64| ended.iter().map(of).sum::<u64>();
    assert_eq!(sum(|ended| ended.counts.passed), 4);
    assert_eq!(sum(|ended| ended.counts.failed), 2);
    let mut named: Vec<&str> =
        ended.iter().flat_map(|ended| ended.counts.named.iter().map(String::as_str)).collect();
    named.sort_unstable();
    assert!(named[0].starts_with("FAILED script::test/bad x::y"), "{named:?}");
    assert!(named[1].starts_with("FAILED script::test/dead: signal: 6"), "{named:?}");
}

/// A program whose test `x::y` fails when it is run with `(first)`, or with its name, `again`.
fn failing(package: &str, first: &str, again: &str) -> Job {
    let line = |has_passed: &str| match has_passed {
        "ok" => "echo 'test x::y ... ok'; echo 'test result: ok. 1 passed; 0 failed'",
        "FAILED" => {
            "echo 'test x::y ... FAILED'; echo 'test result: FAILED. 0 passed; 1 failed'; exit 101"
        }
        _ => "kill -ABRT $$",
    };
    let text = format!("if [ \"$0\" = --exact ]; then {}; else {}; fi", line(again), line(first));
    Job { package: package.to_owned(), ..script("again", &text) }
}

#[test]
fn a_failed_test_of_real_processes_is_tried_once_more_and_others_are_not() {
    let counts = |package, again| {
        let ended = failing(package, "FAILED", again).run();
        let counts =
            ended.and_then(Ended::once_more).unwrap_or_else(|_| panic!("it can be started"));
        (counts.passed, counts.failed, counts.flaky, counts.named.join(", "))
    };
    let measured = "throng-loadgen";
    let of = |mark: &str, package: &str, kind: &str| format!("{mark} {package}::{kind}/again x::y");
    assert_eq!(counts(measured, "ok"), (1, 0, 1, of("FLAKY", measured, "test")));
    assert_eq!(counts(measured, "FAILED"), (0, 1, 0, of("FAILED", measured, "test-again")));
    assert_eq!(counts(measured, "dead"), (0, 1, 0, of("FAILED", measured, "test")));
    assert_eq!(counts("script", "ok"), (0, 1, 0, of("FAILED", "script", "test")));
}

#[test]
fn a_program_that_hangs_is_ended_and_what_it_said_is_kept() {
    let dir = Dir::new("rust").expect("the temporary directory is writable");
    let log = dir.path().join("log");
    // What it leaves behind keeps its streams open.
    let mut hangs = script("hangs", "echo said; sleep 5 & wait");
    let start = Instant::now();
    let status = to_end(&mut hangs.command, &log, Duration::from_millis(300));
    assert!(matches!(status, Ok(None)));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(fs::read_to_string(log).unwrap(), "said\n");
}

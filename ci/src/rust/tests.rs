use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use throng_kit::Program;
use throng_kit::scratch::Dir;

use super::{Job, failed_tests, package, programs, to_end, two_at_a_time};
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
    assert_eq!(failed_tests("p::n", &lines(text)), ["p::n b::two", "p::n d - should panic"]);
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
    let sum = |of: fn(&super::Ended) -> u64| ended.iter().map(of).sum::<u64>();
    assert_eq!(sum(|ended| ended.counts.passed), 4);
    assert_eq!(sum(|ended| ended.counts.failed), 2);
    let mut failed: Vec<&str> =
        ended.iter().flat_map(|ended| ended.failed.iter().map(String::as_str)).collect();
    failed.sort_unstable();
    assert!(failed[0].starts_with("script::test/bad x::y"), "{failed:?}");
    assert!(failed[1].starts_with("script::test/dead: signal: 6"), "{failed:?}");
}

#[test]
fn a_program_that_hangs_is_ended_and_what_it_said_is_kept() {
    let dir = Dir::new("rust").expect("the temporary directory is writable");
    let log = dir.path().join("log");
    // What it leaves behind keeps its streams open.
    let Job { command, .. } = script("hangs", "echo said; sleep 5 & wait");
    let start = Instant::now();
    let status = to_end(command, &log, Duration::from_millis(300));
    assert!(matches!(status, Ok(None)));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(fs::read_to_string(log).unwrap(), "said\n");
}

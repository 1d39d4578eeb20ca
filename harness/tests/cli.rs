//! The program as a user runs it: exit codes, lists, reports, determinism.

use std::path::PathBuf;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use throng_harness::property::runner;
use throng_harness::property::script::{Profile, Script, strategy};
use throng_reference::Defect;
use throng_reference::{Options, Reference};

fn harness(args: &[&str]) -> Output {
    throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"))
        .args(args)
        .output()
        .expect("the program runs")
}

fn code(args: &[&str]) -> i32 {
    let output = harness(args);
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn correct() -> Reference {
    Reference::start(Options::default()).expect("a free port")
}

fn wrong(defect: Defect) -> Reference {
    Reference::start(Options { defect: Some(defect), ..Options::default() }).expect("a free port")
}

fn temp(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    dir.join(format!("{name}-{}", std::process::id()))
}

fn write(name: &str, text: &str) -> String {
    let path = temp(name);
    std::fs::write(&path, text).expect("a writable directory");
    path.display().to_string()
}

fn report(path: impl AsRef<std::path::Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("JSON")
}

/// The names of all results of a report.
fn names(report: &Value) -> Vec<String> {
    let results = report["results"].as_array().expect("results");
    results.iter().map(|result| result["name"].to_string()).collect()
}

const MSG: &str = "msg.author[eio4/websocket]";

#[test]
fn zero_when_the_target_conforms() {
    let server = correct();
    assert_eq!(code(&["run", "--target", &server.url(), "--filter", "msg.author"]), 0);
}

#[test]
fn one_when_a_must_is_violated() {
    let server = wrong(Defect::EmailToAll);
    let output = harness(&["run", "--target", &server.url(), "--filter", MSG]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["CHAT-39 (MUST)", "does:", "expected:", "observed:", "frames:", "42[\"message\""] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn two_for_bad_usage() {
    assert_eq!(code(&["run"]), 2);
    assert_eq!(code(&["run", "--target", "ftp://x/y"]), 2);
    assert_eq!(code(&["run", "--target", "http://127.0.0.1:1", "--shard", "3/2"]), 2);
    assert_eq!(code(&["run", "--target", "http://127.0.0.1:1", "--filter", "no.such.case"]), 2);
    assert_eq!(code(&["explain", "no.such.case"]), 2);
    let known = write("unknown", "no.such.case # never was\n");
    let args = ["run", "--target", "http://127.0.0.1:1", "--known-failing", &known];
    assert_eq!(code(&args), 2);
}

#[test]
fn a_filter_that_fits_nothing_is_bad_usage_and_named() {
    const TARGET: [&str; 3] = ["run", "--target", "http://127.0.0.1:1"];
    // In two pieces: no clause that the sources name is missing.
    const MISSING: &str = concat!("CHAT-", "999");
    let run = |args: &[&'static str]| -> Vec<&str> { [&TARGET[..], args].concat() };
    for (args, named) in [
        (run(&["--filter", "msg.author", "--filter", "msg.autor"]), "msg.autor"),
        (run(&["--filter", "CHAT-39", "--filter", MISSING]), MISSING),
        (run(&["--filter", "msg.*", "--filter", "lim.default-rates", "--level", "must"]), "lim."),
        (run(&["--filter", "msg", "--filter", MSG, "--protocol", "eio3"]), MSG),
        (run(&["--filter", "trn", "--filter", "msg", "--profile", "upstream"]), "msg"),
        (vec!["mutants", "--list", "--filter", "CHAT-39", "--filter", MISSING], MISSING),
    ] {
        let output = harness(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(&format!("--filter {named}")), "{args:?}: {text}");
    }
}

#[test]
fn what_was_observed_is_json() {
    for (defect, case, observed) in [
        (Defect::EmailToAll, MSG, "observed: userid for others is \"u"),
        (Defect::LeakedToken, "room.join", "api_token"),
        (Defect::GreetingConnect, "SIO-48", "[\"connect\",\"welcome\"]"),
        (Defect::DisconnectAnswered, "SIO-61", "observed: "),
        (Defect::BinaryDelivered, "eio.binary", "observed: [7,"),
    ] {
        let server = wrong(defect);
        let output = harness(&["run", "--target", &server.url(), "--filter", case]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(observed), "{defect:?}: {text}");
        for dump in ["String(", "Number(", "Object {", "Some(", "Packet {", "Event {"] {
            assert!(!text.contains(dump), "{defect:?}: {dump} in {text}");
        }
    }
}

#[test]
fn three_when_the_target_is_unreachable() {
    // Port 1 of the loopback is not served on any machine that runs this.
    assert_eq!(code(&["run", "--target", "http://127.0.0.1:1"]), 3);
}

#[test]
fn a_target_may_take_a_while_to_start() {
    let port = throng_kit::scratch::spare_port().expect("a free port");
    let target = format!("http://127.0.0.1:{port}");
    let run =
        |wait| code(&["run", "--target", &target, "--start-wait", wait, "--filter", "trn.paths"]);
    let begun = Instant::now();
    assert_eq!(run("1"), 3, "nobody starts it");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            thread::sleep(Duration::from_secs(1));
            Reference::start_at(&[("127.0.0.1", port)], Options::default())
                .expect("the port is free")
        });
        assert_eq!(run("20"), 0);
        drop(late.join().expect("it starts"));
    });
}

#[test]
fn four_when_only_a_should_is_violated_with_strict() {
    // This defect breaks CHAT-12, a SHOULD, in addition to its MUST.
    let server = wrong(Defect::LogoutKeepsSessions);
    let url = server.url();
    let run = ["run", "--target", &url, "--filter", "id.logout-told[eio4/websocket]"];
    assert_eq!(code(&run), 0, "a violated SHOULD is a warning");
    assert_eq!(code(&[&run[..], &["--strict"]].concat()), 4);
}

#[test]
fn a_known_failure_does_not_fail_the_run() {
    let server = wrong(Defect::EmailToAll);
    let known = write("known", &format!("{MSG}  # the author's e-mail, issue 7\n"));
    let args = ["run", "--target", &server.url(), "--filter", MSG, "--known-failing", &known];
    assert_eq!(code(&args), 0);
}

#[test]
fn a_known_failure_that_passes_fails_the_run() {
    let server = correct();
    let known = write("passing", "msg.author\n");
    let args = ["run", "--target", &server.url(), "--filter", MSG, "--known-failing", &known];
    assert_eq!(code(&args), 1);
}

#[test]
fn nothing_is_abused_without_the_option_and_the_closing_line_says_so() {
    let server = correct();
    let json = temp("abuse").display().to_string();
    let args = ["run", "--target", &server.url(), "--filter", "abuse", "--json", &json];
    let output = harness(&args);
    assert_eq!(output.status.code(), Some(5), "nothing was judged");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let results = report(&json)["results"].as_array().expect("results").clone();
    let left_out = format!("{} skipped: the target is abused only with --abuse", results.len());
    assert!(results.len() > 30 && text.contains(&left_out), "{text}");
    assert!(results.iter().all(|result| result["verdict"] == "skip"));
    let own_pid = ["run", "--target", &server.url(), "--server-pid", "1"];
    assert_eq!(code(&own_pid), 2, "options of --abuse need it");
}

#[test]
fn abused_a_server_is_judged_by_what_others_notice() {
    let server = correct();
    let json = temp("abused").display().to_string();
    let url = server.url();
    let run = ["run", "--target", &url, "--filter", "abuse.unfinished.heads", "--json", &json];
    let abuse = ["--abuse", "--abuse-seconds", "0.5", "--abuse-connections", "4"];
    assert_eq!(code(&[&run[..], &abuse].concat()), 0);
    let report = report(&json);
    let steps = report["results"][0]["steps"].to_string();
    assert!(steps.contains("4 connections of the abuse opened"), "{steps}");
    assert!(steps.contains("p99 over polling"), "{steps}");
    // A process that does not exist cannot be judged, and that is no pass.
    let gone = [&run[..], &abuse, &["--server-pid", "4194305"]].concat();
    assert_eq!(code(&gone), 1);
}

#[test]
fn without_keep_going_the_run_stops_at_the_first_violated_must() {
    let server = wrong(Defect::EmailToAll);
    let json = temp("stop").display().to_string();
    let url = server.url();
    let args = ["run", "--target", &url, "--filter", "msg", "--jobs", "1", "--json", &json];
    assert_eq!(code(&args), 1);
    let report = report(&json);
    let not_run = report["results"].as_array().expect("results").iter().filter(|result| {
        result["reason"].as_str().is_some_and(|reason| reason.starts_with("not run"))
    });
    assert!(not_run.count() > 10);
}

#[test]
fn shards_share_the_cases_without_overlap() {
    let server = correct();
    let url = server.url();
    let mut parts = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let json = temp(&format!("shard{}", &shard[..1])).display().to_string();
        let args = ["run", "--target", &url, "--filter", "trn", "--shard", shard, "--json", &json];
        assert_eq!(code(&args), 0);
        parts.extend(names(&report(&json)));
    }
    let json = temp("whole").display().to_string();
    assert_eq!(code(&["run", "--target", &url, "--filter", "trn", "--json", &json]), 0);
    let mut whole = names(&report(&json));
    parts.sort();
    whole.sort();
    assert_eq!(parts, whole);
}

#[test]
fn reports_have_the_documented_shape() {
    let server = wrong(Defect::EmailToAll);
    let (junit, json, html) = (temp("junit"), temp("json"), temp("html"));
    let (url, run) = (server.url(), ["run", "--filter", "msg.author", "--keep-going", "--target"]);
    let files = [&junit, &json, &html].map(|path| path.display().to_string());
    let reports = ["--junit", &files[0], "--json", &files[1], "--html", &files[2]];
    assert_eq!(code(&[&run[..], &[&url], &reports].concat()), 1);
    let junit = std::fs::read_to_string(junit).expect("JUnit");
    assert!(junit.contains("<testsuite name=\"msg\"") && junit.contains("<failure"), "{junit}");
    let html = std::fs::read_to_string(html).expect("HTML");
    assert!(html.contains("CHAT-39") && !html.contains("src=\"http"), "self-contained");
    let report = report(json);
    // The clause that is broken comes first, with a link to its text; when, what and how much was judged is there.
    let finished = report["finished"].as_str().expect("a time");
    for part in [
        "<h2>Violated</h2><ul><li><a href=\"#CHAT-39\">CHAT-39</a> (4)",
        "<dt id=\"CHAT-39\">CHAT-39 (MUST)</dt>",
        "4. Chat events (CHAT)",
        "<span class=\"chip\">eio3/polling</span>",
        "id=\"filter\" type=\"search\"",
        "msg.author; over eio4/websocket, eio4/polling, eio3/websocket, eio3/polling",
        finished,
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(finished.len(), "2026-11-30T20:36:38Z".len());
    let schema: Value =
        serde_json::from_str(include_str!("../report.schema.json")).expect("a schema");
    has_required("report", &report, &schema);
    let result_schema = &schema["properties"]["results"]["items"];
    for result in report["results"].as_array().expect("results") {
        has_required("result", result, result_schema);
        let keys = result_schema["properties"].as_object().expect("properties");
        for key in result.as_object().expect("an object").keys() {
            assert!(keys.contains_key(key), "{key} is not in the schema");
        }
    }
}

fn has_required(what: &str, value: &Value, schema: &Value) {
    for key in schema["required"].as_array().expect("required") {
        let key = key.as_str().expect("a name");
        assert!(value.get(key).is_some(), "{what} lacks {key}");
    }
}

#[test]
fn list_and_explain_describe_a_case() {
    let list = harness(&["list", "--json"]);
    let rows: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let row = &rows[0];
    for key in ["id", "clauses", "level", "combos", "does", "expects"] {
        assert!(row.get(key).is_some(), "{key} in {row}");
    }
    let explained = harness(&["explain", "msg.author"]);
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(text.contains("CHAT-39 (MUST)") && text.contains("expects:"), "{text}");
    assert_eq!(code(&["explain", "CHAT-39"]), 0);
}

#[test]
fn the_same_seed_makes_the_same_scripts() {
    let scripts = |seed: u64| {
        let mut runner = runner(seed, Profile::Faults, 1);
        let strategy = strategy(Profile::Faults);
        (0..5)
            .map(|_| {
                use proptest::strategy::{Strategy, ValueTree};
                strategy.new_tree(&mut runner).expect("a script").current()
            })
            .collect::<Vec<Script>>()
    };
    assert_eq!(scripts(36), scripts(36));
    assert_ne!(scripts(36), scripts(37));
}

#[test]
fn a_broken_script_is_saved_and_replays() {
    let server = wrong(Defect::UnreadOffByOne);
    let dir = temp("scripts");
    let url = server.url();
    let run = ["run", "--filter", "prop.chat", "--seed", "3", "--cases", "20"];
    let scripts = dir.display().to_string();
    assert_eq!(code(&[&run[..], &["--target", &url, "--scripts", &scripts]].concat()), 1);
    let script = dir.join("chat-3.json");
    let text = std::fs::read_to_string(&script).expect("a saved script");
    let parsed: Script = serde_json::from_str(&text).expect("a script");
    assert!(parsed.steps.len() < 12, "shrunk to {} steps", parsed.steps.len());
    let script = script.display().to_string();
    assert_eq!(code(&["replay", "--target", &url, &script]), 1);
    let sound = correct();
    assert_eq!(code(&["replay", "--target", &sound.url(), &script]), 0);
}

#[test]
fn latency_judges_by_slo_and_completeness() {
    let server = correct();
    let url = server.url();
    let base = ["latency", "--target", &url, "--clients", "8", "--rate", "40", "--seconds", "1"];
    assert_eq!(code(&[&base[..], &["--slo", "p99=5s"]].concat()), 0);
    assert_eq!(code(&[&base[..], &["--slo", "p50=1us"]].concat()), 1);
    assert_eq!(code(&[&base[..], &["--slo", "fast"]].concat()), 2);
    let lossy = wrong(Defect::DroppedForOne);
    let url = lossy.url();
    let base = ["latency", "--target", &url, "--clients", "8", "--rate", "40", "--seconds", "1"];
    assert_eq!(code(&base), 1, "lost messages fail the run");
}

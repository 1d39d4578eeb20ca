//! What a run judges: upstream's text or Throng's, and the rooms of an events file.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use throng_reference::{Options, Reference};

fn harness(args: &[&str]) -> Output {
    let mut program = throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"));
    program.args(args).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn file(name: &str, text: &str) -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(format!("profiles-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("a writable directory");
    path.display().to_string()
}

const EVENTS: &str = r#"
join    = ["enter", "{room}"]
message = ["talk", { room = "{room}", body = "{text}" }]
heard   = ["talked", { body = "{text}" }]
"#;

#[test]
fn lists_say_whose_clauses_a_case_judges() {
    let rows = |args: &[&str]| -> Vec<Value> {
        let output = harness(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"))
    };
    let all = rows(&["list", "--json"]);
    let profile = |id: &str| {
        let row = all.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no {id}"));
        row["profile"].as_str().expect("a name").to_owned()
    };
    let found =
        ["events.join", "ws.fragments", "trn.refusals", "trn.origin", "msg.author"].map(profile);
    assert_eq!(found, ["upstream", "upstream", "both", "throng", "throng"]);
    let ids = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    };
    let upstream = ids(&rows(&["list", "--json", "--profile", "upstream"]));
    let throng = ids(&rows(&["list", "--json", "--profile", "throng"]));
    let has = |list: &[String], id: &str| list.iter().any(|listed| listed == id);
    assert!(has(&upstream, "events.join") && !has(&throng, "events.join"));
    assert!(has(&upstream, "trn.refusals") && has(&throng, "trn.refusals"));
    assert!(!has(&upstream, "msg.author") && has(&throng, "msg.author"));
}

#[test]
fn a_server_of_throngs_conforms_to_upstream_without_a_user() {
    let server = Reference::start(Options::default()).expect("a free port");
    let report = file("report.json", "");
    let target = server.url();
    let output = harness(&[
        "run",
        "--target",
        &target,
        "--profile",
        "upstream",
        "--keep-going",
        "--json",
        &report,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = std::fs::read_to_string(&report).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["profile"], "upstream");
    assert!(report["totals"]["pass"].as_u64() > Some(100), "{}", report["totals"]);
    let results = report["results"].as_array().expect("results");
    let is_own = |clause: &Value| {
        let clause = throng_spec::clause(clause.as_str().expect("an id")).expect("a clause");
        clause.profile == throng_spec::Profile::Throng
    };
    let clauses = results.iter().flat_map(|result| result["clauses"].as_array().expect("clauses"));
    assert_eq!(clauses.filter(|clause| is_own(clause)).count(), 0);
    assert!(!text.contains("/api/register"), "a user was registered");
}

#[test]
fn rooms_are_judged_only_where_a_file_says_what_they_are_called() {
    let server = Reference::start(Options::default()).expect("a free port");
    let target = server.url();
    let upstream = ["run", "--target", &target, "--profile", "upstream", "--filter", "events.join"];
    let output = harness(&upstream);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("is said with --events"), "{}", said(&output));
    // The reference server does not know these events, so its first join has no acknowledgement.
    let events = file("events.toml", EVENTS);
    let output = harness(&[&upstream[..], &["--events", &events, "--wait", "1"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("EVT-2 (MUST)"), "{}", said(&output));
}

#[test]
fn faults_of_an_events_file_are_bad_usage() {
    let good = file("good.toml", EVENTS);
    let typo = file("typo.toml", &format!("{EVENTS}\nleeve = ['exit', '{{room}}']"));
    for (args, what) in [
        (["--events", &good, "--profile", "throng"], "--events goes with --profile upstream"),
        (["--profile", "upstream", "--events", &typo], "typo.toml: unknown key `leeve`"),
        (["--profile", "upstream", "--events", "/nowhere.toml"], "/nowhere.toml: "),
    ] {
        let output = harness(&[&["run", "--target", "http://127.0.0.1:1"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(what), "{args:?}: {}", said(&output));
    }
}

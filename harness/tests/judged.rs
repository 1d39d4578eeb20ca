//! Green means judged: runs in which the target could not be held to the text, or not to all of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use throng_reference::Defect;
use throng_reference::{EventRate, Limits, Options, Reference};

const NO_TARGET: &str = "http://127.0.0.1:1";

fn harness(args: &[&str]) -> Output {
    throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"))
        .args(args)
        .output()
        .expect("the program runs")
}

fn code(args: &[&str]) -> Option<i32> {
    harness(args).status.code()
}

fn server(defect: Option<Defect>) -> Reference {
    Reference::start(Options { defect, ..Options::default() }).expect("a free port")
}

fn temp(name: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    dir.join(format!("judged-{name}-{}", std::process::id())).display().to_string()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect("a file")
}

#[test]
fn a_run_in_which_nothing_is_judged_is_not_green() {
    let server = server(None);
    let (json, junit) = (temp("none.json"), temp("none.xml"));
    let url = server.url();
    let run = ["run", "--target", &url, "--filter", "abuse", "--json", &json, "--junit", &junit];
    let output = harness(&run);
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("NOT MET: at least 1 results judged: 0 judged of"), "{text}");
    let report: Value = serde_json::from_str(&read(&json)).expect("JSON");
    assert_eq!(report["exit_code"], 5);
    assert_eq!(report["not_met"][0]["demand"], "at least 1 results judged");
    assert_eq!(report["clauses_judged"], serde_json::json!([]));
    assert!(read(&junit).contains("<error"), "a reader of the JUnit report sees it too");
}

#[test]
fn a_run_in_which_less_is_judged_than_demanded_is_not_green() {
    let server = server(None);
    let url = server.url();
    let run = ["run", "--target", &url, "--filter", "msg.author[eio4/websocket]", "--min-judged"];
    assert_eq!(code(&[&run[..], &["1"]].concat()), Some(0));
    assert_eq!(code(&[&run[..], &["2"]].concat()), Some(5));
}

#[test]
fn a_violation_weighs_more_than_what_was_not_judged() {
    let server = server(Some(Defect::EmailToAll));
    let url = server.url();
    let run = ["run", "--target", &url, "--filter", "msg.author[eio4/websocket]"];
    assert_eq!(code(&[&run[..], &["--min-judged", "2"]].concat()), Some(1));
}

/// Each capability that is gone, and what the run says of it.
#[test]
fn a_required_capability_that_is_missing_is_named_with_what_was_seen_instead() {
    for (defect, requires, demand, seen) in [
        (Defect::RegistrationGone, "chat", "requires chat", "POST /api/register: HTTP 404"),
        (Defect::RegistrationGone, "rooms", "requires rooms", "there is no chat"),
        (Defect::UpgradeNotOffered, "upgrade", "requires upgrade", "offers the upgrades []"),
        (Defect::OldProtocolRefused, "eio3", "requires eio3/polling", "HTTP 400"),
        (Defect::PollingRefused, "polling", "requires eio4/polling", "Transport unknown"),
    ] {
        let server = server(Some(defect));
        let url = server.url();
        let run = ["run", "--target", &url, "--filter", "trn.paths", "--require", requires];
        let output = harness(&run);
        assert_eq!(output.status.code(), Some(5), "{defect:?}");
        for text in [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)) {
            let line = text.lines().find(|line| line.contains(demand)).unwrap_or_default();
            assert!(line.contains(seen), "{defect:?}: {text}");
        }
    }
}

#[test]
fn the_chat_is_required_where_a_case_is_about_it() {
    let server = server(Some(Defect::RegistrationGone));
    let url = server.url();
    let run = ["run", "--target", &url, "--keep-going", "--filter"];
    assert_eq!(code(&[&run[..], &["trn.*"]].concat()), Some(5), "some are");
    assert_eq!(code(&[&run[..], &["trn.*", "--require", "none"]].concat()), Some(0));
    assert_eq!(code(&[&run[..], &["eio.open*"]].concat()), Some(0), "none is");
}

#[test]
fn recorded_capabilities_are_required_later() {
    let (right, wrong) = (server(None), server(Some(Defect::UpgradeNotOffered)));
    let file = temp("capabilities");
    let filter = ["run", "--filter", "trn.paths", "--target"];
    assert_eq!(
        code(&[&filter[..], &[&right.url(), "--record-capabilities", &file]].concat()),
        Some(0)
    );
    let recorded = read(&file);
    assert!(recorded.contains("\nchat\n") && recorded.contains("\neio3/polling\n"), "{recorded}");
    assert!(!recorded.contains("\necho\n"), "it has no echo surface: {recorded}");
    assert_eq!(code(&[&filter[..], &[&right.url(), "--require", &file]].concat()), Some(0));
    assert_eq!(code(&[&filter[..], &[&wrong.url(), "--require", &file]].concat()), Some(5));
}

#[test]
fn what_the_target_was_not_held_to_is_said() {
    let server = server(None);
    let output = harness(&["run", "--target", &server.url(), "--filter", "nodes.presence"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("held to 0 of "), "{text}");
    assert!(text.contains("4 skipped: the target is a single node"), "{text}");
}

#[test]
fn numbers_without_a_meaning_are_usage_errors() {
    for args in [
        ["--cases", "0"],
        ["--jobs", "0"],
        ["--timeout", "0"],
        ["--wait", "0"],
        ["--wait", "nan"],
        ["--wait", "-1"],
        ["--lease", "0"],
        ["--require", "chta"],
        ["--junit", "/no/such/folder/report.xml"],
        ["--json", "/"],
        ["--html", "/no/such/folder/report.html"],
        ["--record-capabilities", "/no/such/folder/file"],
    ] {
        let output = harness(&[&["run", "--target", NO_TARGET], &args[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(args[1]), "{args:?}: {text}");
    }
}

#[test]
fn a_file_that_two_options_name_is_bad_usage() {
    let (one, two) = (temp("one.json"), temp("two.json"));
    let spelled = one.replace("judged-", "./judged-");
    let tokens = temp("tokens");
    std::fs::write(&tokens, "a token\n").expect("a writable directory");
    for (args, named) in [
        (["--json", &one, "--junit", &one], "--junit and --json"),
        (["--json", &one, "--html", &spelled], "--json and --html"),
        (["--junit", &one, "--record-capabilities", &one], "--junit and --record-capabilities"),
        (["--tokens", &tokens, "--json", &tokens], "--tokens and --json"),
    ] {
        let output = harness(&[&["run", "--target", NO_TARGET], &args[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(named), "{args:?}: {text}");
    }
    assert_eq!(read(&tokens), "a token\n", "what a run reads is not emptied");
    let mutants = ["mutants", "EmailToAll", "--json", &two, "--matrix", &two];
    assert_eq!(code(&mutants), Some(2));
}

/// What a stranger may have put at the address, and what the run must say of it.
#[test]
fn a_target_that_cannot_be_tested_is_reported_with_what_was_there() {
    let silent = |client: TcpStream| {
        thread::sleep(Duration::from_secs(60));
        drop(client);
    };
    let endless = |mut client: TcpStream| {
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while client.write_all(&[b'x'; 65_536]).is_ok() {}
    };
    let dripping = |mut client: TcpStream| {
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while client.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    };
    let talking = |mut client: TcpStream| {
        while client.write_all(b"tick ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    };
    let fixed = |answer: &'static [u8]| {
        move |mut client: TcpStream| {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer);
        }
    };
    let html =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<h1>Hello!</h1>";
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found";
    for (name, address, seen) in [
        ("html", serve(fixed(html)), "HTTP 200, an HTML page"),
        ("404", serve(fixed(missing)), "HTTP 404"),
        ("tls", serve(fixed(&[21, 3, 1, 0, 2, 2, 70])), "speaks TLS"),
        ("ssh", serve(fixed(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")), "SSH-2.0"),
        ("ftp", serve(fixed(b"220 ready\r\n")), "begins with \"220 ready"),
        ("talking", serve(talking), "begins with \"tick tick"),
        ("closing", serve(drop), "connection closed"),
        ("silent", serve(silent), "no answer in 3s"),
        ("endless", serve(endless), "more than 64 MiB"),
        ("dripping", serve(dripping), "no answer in 3s"),
        ("refused", NO_TARGET.to_owned(), "Connection refused"),
        ("no host", "http://no-such-host.invalid:1".to_owned(), "the host has no address"),
    ] {
        let (json, junit, html) = (temp("un.json"), temp("un.xml"), temp("un.html"));
        let start = Instant::now();
        let files = ["--json", &json, "--junit", &junit, "--html", &html];
        let output = harness(&[&["run", "--target", &address], &files[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{name}: {text}");
        assert!(start.elapsed() < Duration::from_secs(10), "{name}: {:?}", start.elapsed());
        assert!(text.contains(seen), "{name}: {text}");
        let report: Value = serde_json::from_str(&read(&json)).expect("JSON");
        let why = report["unreachable"].as_str().unwrap_or_default();
        assert!(why.contains(seen), "{name}: {why}");
        assert_eq!(report["totals"]["pass"], 0);
        assert!(read(&junit).contains("<error"), "{name}");
        assert!(read(&html).contains("cannot be tested"), "{name}");
    }
}

/// A server of its own port, each connection on a thread.
fn serve(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(client));
        }
    });
    format!("http://{address}")
}

#[test]
fn a_closed_pipe_ends_nothing() {
    let server = server(None);
    let json = temp("pipe.json");
    for args in [
        vec!["list"],
        vec!["list", "--coverage"],
        vec!["list", "--json"],
        vec!["explain", "msg.author"],
        vec!["mutants", "--list"],
        vec!["run", "--target", &server.url(), "--filter", "trn", "--json", &json],
    ] {
        let mut child = throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"))
            .args(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {text}");
    }
    let report: Value = serde_json::from_str(&read(&json)).expect("the report is whole");
    assert_eq!(report["exit_code"], 0);
}

/// The reference with the limits of the text: no case fails an exact server, and each limit is judged.
#[test]
fn an_exact_server_passes_with_its_limits() {
    let options = Options { limits: Limits::of_the_text(), ..Options::default() };
    let server = Reference::start(options).expect("a free port");
    let json = temp("limits.json");
    let url = server.url();
    // Few scripts: each takes five registrations of the sixty in a minute.
    let run = ["run", "--target", &url, "--keep-going", "--cases", "1", "--json", &json];
    let filters =
        ["--filter", "msg", "--filter", "room", "--filter", "lim", "--filter", "rest.throttle"];
    let output = harness(&[&run[..], &filters].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let report: Value = serde_json::from_str(&read(&json)).expect("JSON");
    for key in ["fail", "warn", "error"] {
        assert_eq!(report["totals"][key], 0, "{text}");
    }
    let judged = report["clauses_judged"].as_array().expect("a list");
    for limit in ["LIM-20", "LIM-21", "LIM-22", "LIM-24", "LIM-28"] {
        assert!(judged.contains(&Value::from(limit)), "{limit} is not judged");
    }
}

/// Each limit a little different from the text.
#[test]
fn a_server_beside_a_limit_does_not_pass() {
    let text = Limits::of_the_text();
    let with = |change: &dyn Fn(&mut Limits)| {
        let mut limits = text.clone();
        change(&mut limits);
        limits
    };
    let rate = |per_s: f64, burst: f64| Some(EventRate { per_s, burst });
    for (what, limits, filter, code_of) in [
        (
            "half the burst",
            with(&|limits| limits.messages = rate(20.0, 30.0)),
            "lim.default-rates",
            4,
        ),
        (
            "twice the burst",
            with(&|limits| limits.messages = rate(20.0, 120.0)),
            "lim.default-rates",
            4,
        ),
        (
            "no burst",
            with(&|limits| limits.messages = rate(20.0, 20.0)),
            "msg.burst[eio4/websocket]",
            1,
        ),
        ("few joins", with(&|limits| limits.joins = rate(10.0, 20.0)), "lim.default-rates", 4),
    ] {
        let server =
            Reference::start(Options { limits, ..Options::default() }).expect("a free port");
        let run = ["run", "--target", &server.url(), "--strict", "--filter", filter];
        let output = harness(&run);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code_of), "{what}: {text}");
    }
}

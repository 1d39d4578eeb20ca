//! The command line: help, configuration checks, refusals, start and stop.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use throng_kit::process::is_root;
use throng_kit::programs::through;
use throng_kit::{Program, own};
use throng_tests::chat::{Session, register};
use throng_tests::server::{Plan, binary, fresh_dir, throng};
use throng_tests::{Signal, eventually, http};

const STOP_WITHIN: Duration = Duration::from_secs(15);

#[track_caller]
fn check_refused(args: &[&str], says: &str) {
    let output = throng(args);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success(), "{args:?} succeeded: {text}");
    assert!(
        text.to_lowercase().contains(&says.to_lowercase()),
        "{args:?} does not say {says:?}: {text}"
    );
    assert!(!text.contains("panicked"), "{args:?}: {text}");
}

#[test]
fn help_lists_every_option() {
    let output = throng(&["serve", "--help"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for option in [
        "--listen",
        "--data-dir",
        "--database",
        "--static-dir",
        "--shards",
        "--config",
        "--unlimited",
        "--ephemeral",
        "--ping-interval-ms",
        "--ping-timeout-ms",
        "--max-payload",
        "--connect-timeout-ms",
        "--log",
    ] {
        assert!(text.contains(option), "serve --help lacks {option}:\n{text}");
    }
    for args in [&["--help"][..], &["help"], &["--version"], &["check-config", "--help"]] {
        assert!(throng(args).status.success(), "{args:?}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for args in [&["dance"][..], &["serve", "--no-such-option"], &["serve", "--shards", "many"]] {
        assert_eq!(throng(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn check_config_accepts_the_default_and_a_good_file() {
    let output = throng(&["check-config"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = fresh_dir().join("good.toml");
    fs::write(&file, "[http]\napi_per_minute = 10\n").expect("the directory is ours");
    let output = throng(&["check-config", "--config", &file.to_string_lossy()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn check_config_tries_what_the_server_would_open() {
    let data = fresh_dir().join("data");
    let flags = |extra: &[&str]| {
        let data = data.to_string_lossy().into_owned();
        let mut args = vec!["check-config".to_owned(), "--data-dir".to_owned(), data];
        args.extend(extra.iter().map(|flag| (*flag).to_owned()));
        args
    };
    let check = |extra: &[&str]| {
        let args = flags(extra);
        throng(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(check(&[]).status.success(), "it would be created");
    assert!(!data.exists(), "a check creates nothing");
    let refused = check(&["--database", "postgres://a:b@127.0.0.1:1/x"]);
    assert_eq!(refused.status.code(), Some(74));
    let says = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(says.contains("Connection refused") && !says.contains("a:b"), "{says}");
    fs::create_dir(&data).expect("the directory is ours");
    fs::write(data.join("throng.db"), "x".repeat(10_000)).expect("the directory is ours");
    let damaged = check(&[]);
    assert_eq!(damaged.status.code(), Some(74));
    let says = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(says.contains("file is not a database"), "{says}");
}

/// Runs `throng` so that the rights of files hold for it, also if we are root.
fn throng_with_rights(args: &[&str]) -> Output {
    let mut command = own(binary("throng"));
    command.args(args);
    if is_root() {
        let options = ["--bounding-set", "-dac_override,-dac_read_search"];
        command = through(Program::Setpriv, &options, &command);
    }
    command.stdin(Stdio::null()).output().expect("it can be started")
}

/// Root gives it away; who is not root takes all rights on it from themselves.
fn make_foreign(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o000)).expect("it is ours");
    if is_root() {
        chown(path, Some(65_534), Some(65_534)).expect("we are root");
    }
}

#[test]
fn data_of_another_owner_is_named_at_once() {
    let listen = ["--listen", "127.0.0.1:0", "--shards", "1"];
    for what in ["throng.db", ""] {
        let data = fresh_dir().join("data");
        fs::create_dir(&data).expect("the directory is ours");
        fs::write(data.join("throng.db"), "").expect("the directory is ours");
        let foreign = data.join(what);
        make_foreign(&foreign);
        let data = data.to_string_lossy().into_owned();
        for command in ["check-config", "serve"] {
            let listen = if command == "serve" { &listen[..] } else { &[] };
            let args = [&[command, "--data-dir", &data], listen].concat();
            let begun = Instant::now();
            let refused = throng_with_rights(&args);
            let took = begun.elapsed();
            let says = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(74), "{args:?}: {says}");
            assert!(says.contains("Permission denied") && says.contains(&data), "{args:?}: {says}");
            assert!(!says.contains("timed out"), "{args:?}: {says}");
            assert!(took < Duration::from_secs(5), "{args:?} took {took:?}");
        }
        fs::set_permissions(&foreign, Permissions::from_mode(0o700)).expect("it can be removed");
    }
}

#[test]
fn check_config_refuses_addresses_that_the_server_cannot_bind() {
    let dir = fresh_dir();
    let file = dir.join("a-file");
    fs::write(&file, "").expect("the directory is ours");
    let file = file.to_string_lossy().into_owned();
    let in_file = format!("{file}/x.sock");
    let long = dir.join("x".repeat(120)).to_string_lossy().into_owned();
    for (flag, value) in [
        ("--listen-unix", "/nonexistent/x.sock"),
        ("--listen-unix", &in_file),
        ("--listen-unix", &file),
        ("--listen-unix", &long),
        ("--listen", "192.0.2.1:8090"),
        ("--admin-listen", "192.0.2.1:8090"),
    ] {
        let checked = throng(&["check-config", flag, value]);
        let served = throng(&["serve", "--listen", "127.0.0.1:0", flag, value]);
        let says = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(71), "{flag} {value}: {says}");
        assert!(says.contains(value), "{says}");
        if flag != "--listen" {
            assert_eq!(served.status.code(), Some(71), "{flag} {value}");
        }
    }
    let server = Plan::throng(1).start();
    let taken = server.address.to_string();
    let socket = dir.join("x.sock").to_string_lossy().into_owned();
    let next_to_it = throng(&["check-config", "--listen", &taken, "--listen-unix", &socket]);
    assert!(next_to_it.status.success(), "{}", String::from_utf8_lossy(&next_to_it.stderr));
    assert!(!dir.join("x.sock").exists(), "a check creates nothing");
}

#[test]
fn check_config_warns_where_the_limit_of_open_files_bounds_the_connections() {
    for (files, is_warned) in [(1024, true), (8192, false)] {
        let output = Program::Prlimit
            .command()
            .arg(format!("--nofile={files}:{files}"))
            .arg(binary("throng"))
            .args(["check-config", "--limits-connections-max", "2048"])
            .current_dir(fresh_dir())
            .output()
            .expect("there is a shell");
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{says}");
        assert_eq!(says.contains("the limit of open files, 1024, leaves 342"), is_warned, "{says}");
        assert_eq!(says.contains("LimitNOFILE"), is_warned, "{says}");
    }
}

#[test]
fn a_refused_request_is_logged_with_its_setting() {
    let mut server = Plan::throng(1).args(&["--http-api-per-minute", "1"]).start();
    let ask = || http::get(server.address, "/api/user").status;
    assert_eq!([ask(), ask(), ask()], [401, 429, 429]);
    server.signal(Signal::TERM);
    server.wait(STOP_WITHIN);
    let log = server.log();
    let named = log.iter().filter(|line| line.contains("http.api_per_minute is reached"));
    assert_eq!(named.count(), 1, "{log:#?}");
}

#[test]
fn check_config_names_what_is_wrong() {
    let dir = fresh_dir();
    for (name, text, says) in [
        ("syntax", "[http\n", "line 1, column 6"),
        ("unknown-key", "[http]\napi_per_minit = 5\n", "api_per_minit"),
        ("unknown-table", "[htttp]\napi_per_minute = 5\n", "htttp"),
        ("type", "[http]\napi_per_minute = \"many\"\n", "api_per_minute"),
        (
            "twice",
            "[[rooms.list]]\nid = 1\nname = \"A\"\n[[rooms.list]]\nid = 1\nname = \"B\"\n",
            "same id",
        ),
    ] {
        let file = dir.join(format!("{name}.toml"));
        fs::write(&file, text).expect("the directory is ours");
        let path = file.to_string_lossy().into_owned();
        check_refused(&["check-config", "--config", &path], says);
        check_refused(&["serve", "--listen", "127.0.0.1:0", "--config", &path], says);
    }
    check_refused(&["check-config", "--config", "/no/such/file.toml"], "/no/such/file.toml");
}

#[test]
fn unlimited_is_for_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        check_refused(&["serve", "--unlimited", "--listen", address], "loopback");
    }
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    check_refused(&["serve", "--listen", &address], &address);
}

#[test]
fn an_invalid_address_is_named() {
    check_refused(&["serve", "--listen", "nowhere"], "nowhere");
}

#[test]
fn an_impossible_data_directory_is_named() {
    let file = fresh_dir().join("a-file");
    fs::write(&file, "").expect("the directory is ours");
    let path = file.to_string_lossy().into_owned();
    check_refused(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &path], "a-file");
}

#[test]
fn a_signal_stops_the_server_and_closes_its_clients() {
    for (shards, signal) in [(1, Signal::TERM), (3, Signal::TERM), (3, Signal::INT)] {
        let mut server = Plan::throng(shards).start();
        let user = register(server.address, "stop");
        let mut sessions: Vec<Session> =
            (0..6).map(|_| Session::open(server.address, Some(&user))).collect();
        for session in &mut sessions {
            session.join(1);
        }
        server.signal(signal);
        for session in &mut sessions {
            assert_eq!(session.ws.end().code(), 1001, "{signal:?}, {shards} shards");
        }
        let status = server.wait(STOP_WITHIN);
        assert_eq!(status.code(), Some(0), "{signal:?}, {shards} shards: {:#?}", server.log());
    }
}

#[test]
fn a_silent_connection_does_not_hold_up_the_stop() {
    let mut server = Plan::throng(2).start();
    let _half = http::connect(server.address);
    let _idle = Session::open(server.address, None);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(STOP_WITHIN).code(), Some(0));
}

#[test]
fn the_log_has_join_leave_and_end_but_no_secret() {
    for format in ["text", "json"] {
        let mut server =
            Plan::throng(2).args(&["--log", format]).env("THRONG_LOG_FILTER", "debug").start();
        let user = register(server.address, "logged");
        let path = format!("/socket.io/?EIO=3&transport=websocket&api_token={}", user.token);
        let mut old = throng_tests::ws::Ws::open(server.address, &path);
        old.text("42[\"login\",{}]");
        old.packet_with("42[\"count\"");
        let mut session = Session::open(server.address, Some(&user));
        session.join(1);
        session.say(1, "a private sentence");
        session.ask("roomout", &serde_json::json!({ "roomid": 1, "api_token": user.token }));
        let path = format!("/api/history/message?roomid=1&current=1&api_token={}", user.token);
        assert_eq!(http::get(server.address, &path).status, 200);
        drop((session, old));
        eventually("the sessions end", Duration::from_secs(5), || {
            (server.metric("throng_sessions", "") == Some(0.0)).then_some(())
        });
        server.signal(Signal::TERM);
        server.wait(STOP_WITHIN);
        let log = server.log();
        for line in &log {
            assert!(!line.contains(&user.token), "a token is in the log: {line}");
            assert!(!line.contains("secret-123"), "a password is in the log: {line}");
            assert!(!line.contains("a private sentence"), "a message is in the log: {line}");
        }
        let has = |word: &str| log.iter().any(|line| line.to_lowercase().contains(word));
        assert!(has("enter") || has("join"), "no line about a join: {log:#?}");
        assert!(has("leave") || has("left"), "no line about a leave: {log:#?}");
        assert!(
            has("transport_close") || has("client_disconnect"),
            "no reason of an end: {log:#?}"
        );
        if format == "json" {
            let is_json = |line: &&String| serde_json::from_str::<serde_json::Value>(line).is_ok();
            let lines: Vec<&String> =
                log.iter().filter(|line| !line.contains("listening on")).collect();
            assert!(!lines.is_empty());
            assert_eq!(lines.iter().copied().filter(is_json).count(), lines.len(), "{lines:#?}");
        }
    }
}

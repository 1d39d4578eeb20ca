//! Why one client does not get in: what the log and the metrics say.

use std::io::Write;
use std::net::TcpStream;

use tungstenite::Message;

use crate::process::{Server, TIMEOUT, read_answer, read_text};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const WITHOUT_KEY: &str =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
const OPEN: &str = "/socket.io/?EIO=4&transport=websocket";
const SID: &str = "AAAAAAAAAAAAAAAAAAAA";

/// A server that believes what is said about clients, and says what it does.
fn server() -> Server {
    let trusted = ("THRONG_HTTP__TRUSTED_PROXIES", "127.0.0.0/8");
    Server::throng(&["--shards", "2"], &[trusted, ("THRONG_LOG_FILTER", "info,throng=debug")])
}

/// What the query and the fields are, and the reason that they are refused for.
fn unfit() -> Vec<(String, String, &'static str)> {
    let refused = [
        ("?EIO=4&transport=websocket", UPGRADE, "Origin: https://evil.example\r\n", "origin"),
        ("?EIO=4&transport=websocket&sid=", UPGRADE, "", "unknown_sid"),
        ("?EIO=5&transport=websocket", UPGRADE, "", "protocol_version"),
        ("?EIO=4&transport=pigeon", UPGRADE, "", "transport"),
        ("?EIO=4&transport=polling", UPGRADE, "", "wrong_transport"),
        ("?EIO=4&transport=websocket", "", "", "wrong_transport"),
        ("?EIO=4&transport=polling", "", "Origin: https://evil.example\r\n", "origin"),
        ("?EIO=4&transport=polling&sid=", "", "", "unknown_sid"),
        ("?EIO=5&transport=polling", "", "", "protocol_version"),
        ("?EIO=4&transport=pigeon", "", "", "transport"),
        ("?EIO=4&transport=websocket", WITHOUT_KEY, "", "websocket_fields"),
        ("?EIO=4&transport=websocket", WITHOUT_KEY, "Origin: https://evil.example\r\n", "origin"),
        ("?EIO=5&transport=websocket", WITHOUT_KEY, "", "protocol_version"),
        ("?EIO=4&transport=websocket&sid=", WITHOUT_KEY, "", "websocket_fields"),
    ];
    let request = |(query, upgrade, field, reason): (&str, &str, &str, _)| {
        let sid = if query.ends_with('=') { SID } else { "" };
        (format!("/socket.io/{query}{sid}"), format!("{upgrade}{field}"), reason)
    };
    refused.map(request).into_iter().collect()
}

fn ask_on(stream: &mut TcpStream, path: &str, fields: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    read_answer(stream)
}

/// Waits for the line of the log that has all these words.
fn wait_for_line(server: &mut Server, words: &[&str]) -> String {
    let found = server.wait_for_line(TIMEOUT, |line| {
        words.iter().all(|word| line.contains(word)).then(|| line.to_owned())
    });
    found.unwrap_or_else(|error| panic!("no line with {words:?}: {error}"))
}

/// How many handshakes were refused for the reason, and how many in all.
fn refused(server: &Server, reason: &str) -> (u64, u64) {
    let text = server.get("/metrics");
    let name = "throng_handshakes_refused_total{";
    let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.split_once("} "));
    let mut counted = (0, 0);
    for (label, value) in samples {
        let value: u64 = value.parse().expect("a count");
        counted.1 += value;
        if label == format!("reason=\"{reason}\"") {
            counted.0 += value;
        }
    }
    counted
}

/// Each request is refused, counted once under its reason, and logged with its client and no secret.
fn each_is_counted_and_logged(mut server: Server, connect: impl Fn(&Server) -> TcpStream) {
    for (number, (path, fields, reason)) in unfit().into_iter().enumerate() {
        let before = refused(&server, reason);
        let client = format!("192.0.2.{}", number + 1);
        let fields = format!("{fields}X-Forwarded-For: {client}\r\n");
        let answer = ask_on(&mut connect(&server), &path, &fields);
        assert!(answer.starts_with("HTTP/1.1 40"), "{reason}: {answer}");
        let (client, reason_field) = (format!("client={client} "), format!("reason=\"{reason}\""));
        wait_for_line(&mut server, &["refused a handshake", &client, &reason_field]);
        let after = refused(&server, reason);
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{path} {fields} {reason}");
    }
    assert!(server.log().iter().all(|line| !line.contains(SID)), "a sid is in the log");
}

#[test]
fn a_refused_handshake_is_counted_by_its_reason_and_logged_with_its_client() {
    each_is_counted_and_logged(server(), Server::connect);
}

#[test]
fn a_connection_of_the_http_thread_is_no_exception() {
    each_is_counted_and_logged(server(), |server| {
        // As behind a proxy that reuses its connections.
        let mut stream = server.connect();
        assert!(ask_on(&mut stream, "/health", "").starts_with("HTTP/1.1 200"));
        stream
    });
}

#[test]
fn a_refused_origin_is_logged_with_the_host_that_it_was_compared_with() {
    let mut server = server();
    let polling = "/socket.io/?EIO=4&transport=polling";
    for (client, path, upgrade) in [("192.0.2.1", OPEN, UPGRADE), ("192.0.2.2", polling, "")] {
        // As behind a proxy that loses the port.
        let fields = format!(
            "{upgrade}Origin: https://chat.example:8443\r\nX-Forwarded-Host: chat.example\r\n\
             X-Forwarded-For: {client}\r\n"
        );
        let answer = ask_on(&mut server.connect(), path, &fields);
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        let client = format!("client={client} ");
        let compared = "origin=\"https://chat.example:8443\" host=\"chat.example\"";
        wait_for_line(&mut server, &["the origin is not allowed", &client, compared]);
    }
}

#[test]
fn a_refused_login_or_registration_is_counted_by_its_reason_and_logged_with_its_client() {
    const JSON: &str = "Content-Type: application/json\r\n";
    let mut server = server();
    let foreign = format!("{JSON}Origin: https://evil.example\r\n");
    for (path, line, family) in [
        ("/api/login", "a login failed", "throng_api_logins_failed_total"),
        ("/api/register", "a registration failed", "throng_api_registrations_failed_total"),
    ] {
        for (fields, status, reason) in [
            (foreign.as_str(), 403, "origin"),
            ("Content-Type: text/plain\r\n", 415, "bad_request"),
            (JSON, 200, "bad_request"),
        ] {
            let answer = server.ask(&format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\
                 Content-Length: 2\r\n\r\n{{}}"
            ));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            let reason = format!("reason=\"{reason}\"");
            wait_for_line(&mut server, &[line, "client=127.0.0.1 ", &reason]);
        }
        let counted = server.get("/metrics");
        for (reason, count) in [("origin", 1), ("bad_request", 2)] {
            let sample = format!("\n{family}{{reason=\"{reason}\"}} {count}\n");
            assert!(counted.contains(&sample), "{sample} in\n{counted}");
        }
    }
}

#[test]
fn a_setting_that_keeps_sessions_out_is_named_to_everybody() {
    for (variable, setting) in [
        ("THRONG_LIMITS__SESSIONS_PER_SHARD_MAX", "limits.sessions_per_shard_max"),
        ("THRONG_LIMITS__ANONYMOUS__SESSIONS_PER_IP_MAX", "limits.anonymous.sessions_per_ip_max"),
    ] {
        let mut server = Server::throng(&["--shards", "1"], &[(variable, "1")]);
        let path = "/socket.io/?EIO=4&transport=polling";
        let [first, second] =
            [(); 2].map(|()| ask_on(&mut server.connect(), path, "Connection: close\r\n"));
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        assert!(second.starts_with("HTTP/1.1 503"), "{second}");
        let reached = format!("sessions are refused: {setting} is reached");
        wait_for_line(&mut server, &["WARN", "client=127.0.0.1 ", &reached]);
    }
}

#[test]
fn a_wrong_namespace_and_a_wrong_token_leave_a_line() {
    let mut server = server();
    let mut socket = server.websocket(OPEN);
    assert!(read_text(&mut socket).starts_with("0{"));
    socket.send(Message::text("40/nowhere,")).expect("it is open");
    assert!(read_text(&mut socket).starts_with("44/nowhere,"));
    wait_for_line(&mut server, &["refused a handshake", "client=127.0.0.1 ", "\"namespace\""]);
    assert_eq!(refused(&server, "namespace"), (1, 1));

    let token = "x".repeat(60);
    socket.send(Message::text(format!(r#"40{{"token":"{token}"}}"#))).expect("it is open");
    socket.send(Message::text(r#"420["login",{}]"#)).expect("it is open");
    wait_for_line(&mut server, &[" refused ", "client=127.0.0.1 ", "\"unauthenticated\""]);
    assert!(server.log().iter().all(|line| !line.contains(&token)), "a token is in the log");
}

#[test]
fn the_line_of_a_session_that_a_bound_ended_names_the_setting() {
    let one_session = ["--shards", "1", "--limits-sessions-per-user-max", "1"];
    let mut server = Server::throng(&one_session, &[]);
    let path = format!("{OPEN}&api_token={}", server.register("ann"));
    let first = server.websocket(&path);
    wait_for_line(&mut server, &[" identified "]);
    let second = server.websocket(&path);
    let setting = "setting=\"limits.sessions_per_user_max\" ";
    wait_for_line(&mut server, &[" ended ", "reason=\"limit\" ", setting]);
    drop((first, second));
}

#[test]
fn the_lines_of_a_session_name_its_client() {
    let mut server = server();
    let token = server.register("ann");
    let path = format!("{OPEN}&api_token={token}");
    let mut stream = server.connect();
    let fields = format!("{UPGRADE}X-Forwarded-For: 192.0.2.77\r\n");
    assert!(ask_on(&mut stream, &path, &fields).starts_with("HTTP/1.1 101"));
    let role = tungstenite::protocol::Role::Client;
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, role, None);
    socket.send(Message::text("40")).expect("it is open");
    socket.send(Message::text(r#"42["room",{"roomid":1}]"#)).expect("it is open");
    for line in [" identified ", " entered "] {
        wait_for_line(&mut server, &[line, "client=192.0.2.77 "]);
    }
    drop(socket);
    for line in [" left ", " ended "] {
        wait_for_line(&mut server, &[line, "client=192.0.2.77 "]);
    }
    assert!(server.log().iter().all(|line| !line.contains(&token)), "a token is in the log");
}

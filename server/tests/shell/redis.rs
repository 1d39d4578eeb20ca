//! The server beside a Redis that is there, is not, refuses, and goes away.

use std::process::Command;
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::process::{PATIENCE, Server, read_text};
use crate::redis_server::{Server as Redis, free_port};

fn throng(url: &str) -> Server {
    let timeouts = [
        ("THRONG_REDIS__CONNECT_TIMEOUT_MS", "300"),
        ("THRONG_REDIS__COMMAND_TIMEOUT_MS", "300"),
        ("THRONG_REDIS__LEASE_MS", "2000"),
    ];
    Server::throng(&["--shards", "2", "--redis", url], &timeouts)
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until_ready_says(server: &Server, what: &str) {
    until(what, || {
        let answer = server.get("/ready");
        assert!(answer.starts_with("HTTP/1.1 200"), "chat never depends on Redis: {answer}");
        answer.contains(&format!(r#""redis":"{what}"#))
    });
}

#[test]
fn a_node_joins_and_leaves_without_a_trace() {
    let redis = Redis::start(&[]);
    let mut server = throng(&redis.url());
    until_ready_says(&server, "ok");
    assert!(redis.cli(&["HVALS", "throng:nodes"]).contains(r#""ready":true"#));
    let text = server.get("/metrics");
    for line in ["throng_redis_up 1", "throng_redis_lease 1", "throng_redis_peers 0"] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in\n{text}");
    }
    server.terminate();
    assert!(server.wait().success());
    assert_eq!(redis.cli(&["HLEN", "throng:nodes"]), "0");
    let left = redis.cli(&["--scan", "--pattern", "throng:node:*"]);
    assert_eq!(left, "", "the lease was given back");
}

#[test]
fn redis_may_come_late_go_and_come_back_empty() {
    let port = free_port();
    let server = throng(&format!("redis://127.0.0.1:{port}"));
    until_ready_says(&server, "down: down");
    let mut redis = Redis::start_at(port);
    until_ready_says(&server, "ok");
    redis.kill();
    until_ready_says(&server, "down: ");
    assert!(server.get("/metrics").contains("\nthrong_redis_up 0\n"));
    redis.restart();
    until_ready_says(&server, "ok");
    until("it is registered again", || redis.cli(&["HLEN", "throng:nodes"]) == "1");
    redis.pause();
    until_ready_says(&server, "down: timeout");
    redis.resume();
    until_ready_says(&server, "ok");
}

#[test]
fn a_wrong_password_ends_the_start_and_is_not_repeated() {
    let redis = Redis::start(&["--requirepass", "right"]);
    for (login, word) in [(":wr0ng@", "authentication"), ("", "authentication")] {
        let data_dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("redis://{login}127.0.0.1:{}", redis.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--redis", &url, "--data-dir"]);
        let output = command.arg(data_dir.path()).output().expect("the server can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{said}");
        assert!(said.contains(word) && !said.contains("wr0ng"), "{said}");
    }
    let server = throng(&format!("redis://:right@127.0.0.1:{}", redis.port));
    until_ready_says(&server, "ok");
}

#[test]
fn what_another_program_emits_is_heard() {
    let redis = Redis::start(&[]);
    let server = throng(&redis.url());
    until("it is subscribed", || {
        server.get("/metrics").contains("\nthrong_adapter_subscribed 1\n")
    });
    let mut socket = server.websocket("/socket.io/?EIO=4&transport=websocket");
    assert!(read_text(&mut socket).starts_with("0{"));
    socket.send(Message::text("40")).expect("it takes a packet");
    assert!(read_text(&mut socket).starts_with("40{"));

    let vectors = throng_spec::vectors("redis_adapter");
    let publish = |name: &str| {
        let vector = vectors.iter().find(|vector| vector.name == name).expect("there is one");
        let channel = vector.meaning["channel"].as_str().expect("a channel");
        redis.publish(channel, &vector.wire().expect("it has bytes"));
    };
    publish("emitter: bin");
    redis.publish("socket.io#/#", b"\x93");
    publish("emitter: news");
    publish("emitter: toall");
    assert_eq!(read_text(&mut socket), r#"42["toall",{"y":2}]"#, "and nothing before it");
    let text = server.get("/metrics");
    assert!(text.contains("\nthrong_adapter_events_in_total 1\n"), "{text}");
    let skipped = r#"throng_adapter_skipped_total{why="unreadable"} 1"#;
    assert!(text.contains(skipped), "{text}");
}

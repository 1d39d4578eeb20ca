//! The server with a Redis that is up, is down, rejects the login, and stops.

use throng_kit::eventually;
use throng_kit::redis::Redis;
use throng_kit::scratch::spare_port;
use throng_kit::server::throng as run;
use tungstenite::Message;

use crate::process::{Server, TIMEOUT, read_text};

fn throng(url: &str) -> Server {
    throng_with(url, &[])
}

fn throng_with(url: &str, flags: &[&str]) -> Server {
    let timeouts = [
        ("THRONG_REDIS__CONNECT_TIMEOUT_MS", "300"),
        ("THRONG_REDIS__COMMAND_TIMEOUT_MS", "300"),
        ("THRONG_REDIS__LEASE_MS", "2000"),
    ];
    let flags = [&["--shards", "2", "--redis", url][..], flags].concat();
    Server::throng(&flags, &timeouts)
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    eventually(what, TIMEOUT, || is_so().then_some(()));
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
    for line in ["throng_backplane_up 1", "throng_backplane_lease 1", "throng_backplane_peers 0"] {
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
    let port = spare_port().expect("a free port");
    let server = throng(&format!("redis://127.0.0.1:{port}"));
    until_ready_says(&server, "down: there is no connection to Redis");
    let mut redis = Redis::start_at(port);
    until_ready_says(&server, "ok");
    redis.kill();
    until_ready_says(&server, "down: ");
    assert!(server.get("/metrics").contains("\nthrong_backplane_up 0\n"));
    redis.restart();
    until_ready_says(&server, "ok");
    until("it is registered again", || redis.cli(&["HLEN", "throng:nodes"]) == "1");
    redis.pause();
    until_ready_says(&server, "down: Redis does not answer in time");
    redis.resume();
    until_ready_says(&server, "ok");
}

/// REST-75, NODE-34: without Redis nobody can send.
#[test]
fn a_node_whose_messages_redis_numbers_is_not_ready_without_it() {
    let mut redis = Redis::start(&[]);
    let server = throng_with(&redis.url(), &["--ephemeral"]);
    let until_it_says = |status: &str, redis: &str| {
        until(redis, || {
            let answer = server.get("/ready");
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(redis)
        });
    };
    until_it_says("200", r#""redis":"ok""#);
    redis.kill();
    until_it_says("503", r#""redis":"down: "#);
    assert!(server.get("/metrics").contains("\nthrong_ready 0\n"));
    redis.restart();
    until_it_says("200", r#""redis":"ok""#);
}

#[test]
fn a_wrong_password_ends_the_start_and_is_not_repeated() {
    let redis = Redis::start(&["--requirepass", "right"]);
    for (login, word) in [(":wr0ng@", "authentication"), ("", "authentication")] {
        let url = format!("redis://{login}127.0.0.1:{}", redis.port);
        let output = run(&["serve", "--listen", "127.0.0.1:0", "--redis", &url]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{errors}");
        assert!(errors.contains(word) && !errors.contains("wr0ng"), "{errors}");
    }
    let server = throng(&format!("redis://:right@127.0.0.1:{}", redis.port));
    until_ready_says(&server, "ok");
}

#[test]
fn check_config_fails_without_redis_and_says_why() {
    let http = Server::throng(&["--shards", "1"], &[]);
    let port = spare_port().expect("a free port");
    for (place, cause) in [
        (format!("127.0.0.1:{port}"), "Connection refused"),
        (http.address().to_string(), "does not answer as Redis does"),
        ("redis.invalid:6379".to_owned(), "redis.invalid:6379: "),
    ] {
        let url = format!("redis://u:SECRET@{place}");
        let output = run(&["check-config", "--redis", &url]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{place}: {errors}");
        let last = errors.lines().last().expect("a sentence");
        assert!(last.contains(cause) && last.contains(&place), "{cause}: {errors}");
        assert!(!errors.contains("SECRET"), "{errors}");
        assert!(output.stdout.is_empty(), "it is not OK");
    }
    let redis = Redis::start(&[]);
    let output = run(&["check-config", "--redis", &redis.url()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_right_that_is_missing_ends_the_start_and_the_check() {
    let keys = "~throng:* ~socket_id ~swoole:*";
    let channel = "&socket.io#/#*";
    for (acl, right) in [
        (format!("{keys} {channel} +@all"), None),
        (format!("{keys} {channel} +@read +@write +@pubsub +@scripting +@connection +xinfo"), None),
        (format!("~throng:* ~swoole:* {channel} +@all"), Some("to write socket_id")),
        (format!("~throng:* ~socket_id {channel} +@all"), Some("to write swoole:*")),
        (format!("{keys} &socket.io#* +@all"), Some("to subscribe to socket.io#/#*")),
        (format!("{keys} {channel} +@all -@scripting"), Some("to run scripts")),
        (format!("{keys} {channel} +@all -@write"), Some("to write throng:*")),
    ] {
        let mut user = vec!["--user", "node", "on", ">right"];
        user.extend(acl.split(' '));
        let redis = Redis::start(&user);
        let url = format!("redis://node:right@127.0.0.1:{}", redis.port);
        let checked = run(&["check-config", "--redis", &url]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let Some(right) = right else {
            assert!(checked.status.success(), "{acl}: {said}");
            continue;
        };
        let started = run(&["serve", "--listen", "127.0.0.1:0", "--redis", &url]);
        for output in [checked, started] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(77), "{acl}: {said}");
            assert!(said.trim_end().ends_with(&format!("it has no right {right}")), "{said}");
        }
    }
}

#[test]
fn a_redis_that_drops_keys_of_rosters_is_a_warning() {
    for (policy, is_warned) in [("allkeys-lru", true), ("volatile-lru", false)] {
        let redis = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", policy]);
        let output = run(&["check-config", "--redis", &redis.url()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{policy}: {said}");
        assert_eq!(said.contains("set maxmemory-policy to"), is_warned, "{policy}: {said}");
    }
}

#[test]
fn what_another_program_emits_is_delivered() {
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

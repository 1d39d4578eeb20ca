//! Input that is wrong, hostile or only half there: a typed error or a documented close, a counter,
//! no panic, and no effect on other sessions.

use std::io::Write;
use std::time::Duration;

use serde_json::json;
use throng_tests::chat::{Session, register};
use throng_tests::server::{Plan, Server};
use throng_tests::ws::{BINARY, CONTINUATION, TEXT, Ws, frame};
use throng_tests::{eventually, http};

const SOON: Duration = Duration::from_secs(10);

/// A pair that chats while others misbehave.
struct Witness {
    anna: Session,
    boris: Session,
    said: u32,
}

impl Witness {
    fn new(server: &Server) -> Self {
        let (a, b) = (register(server.address, "witness"), register(server.address, "witness"));
        let mut anna = Session::open(server.address, Some(&a));
        let mut boris = Session::open(server.address, Some(&b));
        anna.join(1);
        boris.join(1);
        Witness { anna, boris, said: 0 }
    }

    /// A message goes through and nothing else came in between.
    #[track_caller]
    fn check(&mut self) {
        self.said += 1;
        let text = format!("undisturbed {}", self.said);
        assert_eq!(self.anna.say(1, &text)["ok"], true);
        assert_eq!(self.boris.event("message")[0]["msg"], text.as_str());
    }
}

#[test]
fn each_broken_packet_has_its_close_code() {
    let deep = format!("42[\"message\",{}1{}]", "[".repeat(5_000), "]".repeat(5_000));
    let deep_object = format!("42[\"message\",{}1{}]", "{\"a\":".repeat(2_000), "}".repeat(2_000));
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("not an Engine.IO packet", frame(true, TEXT, b"abc"), 1008),
        ("an empty message", frame(true, TEXT, b""), 1008),
        ("an unknown Engine.IO type", frame(true, TEXT, b"9"), 1008),
        ("no Socket.IO packet", frame(true, TEXT, b"4"), 1008),
        ("an unknown Socket.IO type", frame(true, TEXT, b"49[]"), 1008),
        ("broken JSON", frame(true, TEXT, b"42[\"message\",{\"msg\":"), 1008),
        ("an object for an event", frame(true, TEXT, b"42{}"), 1008),
        ("an event without a name", frame(true, TEXT, b"42[]"), 1008),
        ("an object for a name", frame(true, TEXT, b"42[{}]"), 1008),
        ("an ack id that is no number", frame(true, TEXT, b"42abc[\"message\"]"), 1008),
        (
            "an ack id without an end",
            frame(true, TEXT, format!("42{}[\"message\"]", "9".repeat(400)).as_bytes()),
            1008,
        ),
        ("attachments without an end", frame(true, TEXT, b"45999999999999-[\"message\"]"), 1008),
        (
            "a text where an attachment is due",
            [
                frame(true, TEXT, b"451-[\"message\",{\"_placeholder\":true,\"num\":0}]"),
                frame(true, TEXT, b"42[\"login\"]"),
            ]
            .concat(),
            1008,
        ),
        ("lists nested five thousand times", frame(true, TEXT, deep.as_bytes()), 1008),
        ("objects nested two thousand times", frame(true, TEXT, deep_object.as_bytes()), 1008),
        ("invalid UTF-8", frame(true, TEXT, b"42[\"message\",\"\xff\xfe\"]"), 1007),
        ("an attachment that was not announced", frame(true, BINARY, &[1, 2, 3]), 1003),
        ("a frame without a mask", vec![0x81, 1, b'2'], 1002),
        ("a reserved opcode", frame(true, 3, b"x"), 1002),
        ("a continuation of nothing", frame(true, CONTINUATION, b"x"), 1002),
        ("a reserved bit", throng_tests::ws::frame_with(0xc1, b"2"), 1002),
        (
            "more than the payload bound",
            {
                let mut head = frame(true, TEXT, &[]);
                head.splice(1..2, [0x80 | 127, 0, 0, 0, 0, 0x7f, 0, 0, 0]);
                head
            },
            1009,
        ),
    ];
    for shards in [1, 3] {
        let server = Plan::throng(shards).start();
        let mut witness = Witness::new(&server);
        for (why, bytes, code) in &cases {
            let mut session = Session::open(server.address, None);
            session.ws.send_raw(bytes);
            assert_eq!(session.ws.end().code(), *code, "{why}, {shards} shards");
            witness.check();
        }
        assert!(server.metric("throng_sessions_closed_total", "parse_error") >= Some(10.0));
        assert!(server.metric("throng_sessions_closed_total", "too_large") >= Some(1.0));
    }
}

#[test]
fn names_and_values_of_a_megabyte_are_refused_and_not_kept() {
    let server = Plan::throng(2).start();
    let mut witness = Witness::new(&server);
    let user = register(server.address, "mega");
    let mut session = Session::open(server.address, Some(&user));
    let mega = "x".repeat(1 << 20);
    let before = server.rss();
    for _ in 0..10 {
        for (event, payload, code) in [
            ("room", json!({ "roomid": mega }), "invalid_argument"),
            ("room", json!({ "roomid": "9".repeat(1 << 20) }), "invalid_argument"),
            ("roomout", json!({ "roomid": mega }), "invalid_argument"),
            ("message", json!({ "roomid": 1, "msg": mega, "img": "" }), "too_large"),
            ("login", json!({ "api_token": mega }), "unauthenticated"),
            (mega.as_str(), json!({}), "unknown_event"),
        ] {
            let answer = session.ask(event, &payload);
            let (code_is, name) = (answer["code"].as_str(), &event[..event.len().min(10)]);
            // An event above its own bound may be refused for its size alone.
            let is_right = code_is == Some(code) || code_is == Some("too_large");
            assert!(
                is_right,
                "{name}: {}",
                answer.to_string().chars().take(200).collect::<String>()
            );
        }
    }
    assert_eq!(server.metric("throng_rooms", "").map(|rooms| rooms <= 2.0), Some(true));
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 64 << 20, "grown by {grown} bytes");
    witness.check();
}

#[test]
fn a_thousand_joins_a_second_disturb_nobody() {
    let server = Plan::throng(3).start();
    let mut witness = Witness::new(&server);
    let user = register(server.address, "joiner");
    let mut session = Session::open(server.address, Some(&user));
    for index in 0..1000 {
        let event = if index % 2 == 0 { "room" } else { "roomout" };
        session.post(event, &json!({ "roomid": 1 }));
    }
    let (mut taken, mut refused) = (0, 0);
    while taken + refused < 1000 {
        let packet = session.ws.packet().expect("the connection is not closed for it");
        if packet.starts_with("43") {
            if packet.contains("\"ok\":true") {
                taken += 1;
            } else {
                assert!(packet.contains("rate_limited"), "{packet}");
                refused += 1;
            }
        }
    }
    assert!(taken > 0 && refused >= 400, "{taken} taken, {refused} refused");
    witness.check();
    drop(session);
    eventually("only the witnesses are left", SOON, || {
        (server.metric("throng_members", "") == Some(2.0)).then_some(())
    });
}

#[test]
fn requests_that_are_no_http_are_refused() {
    let server = Plan::throng(2).start();
    let mut witness = Witness::new(&server);
    let address = server.address;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(2000));
    for (why, bytes) in [
        ("garbage", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n"[..]),
        ("no version", b"GET /\r\n\r\n"),
        ("a long path", long.as_bytes()),
        ("too many headers", many.as_bytes()),
        ("a null in a header", b"GET / HTTP/1.1\r\nHost: \0\r\n\r\n"),
        ("two lengths", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("a negative length", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"),
    ] {
        // Either an error answer or a closed connection, never a success.
        if let Some(answer) = http::send(address, bytes) {
            assert!(answer.status >= 400, "{why}: {}", answer.head);
        }
        witness.check();
    }
}

#[test]
fn a_refused_websocket_gets_the_reference_answer() {
    let server = Plan::throng(2).start();
    for (path, code) in [
        ("/socket.io/?EIO=4", 0),
        ("/socket.io/?EIO=4&transport=abc", 0),
        ("/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", 1),
        ("/socket.io/?transport=websocket", 5),
        ("/ws/?EIO=9&transport=websocket", 5),
    ] {
        let request = throng_tests::ws::upgrade_request(server.address, path);
        let answer = http::send(server.address, request.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.head.to_ascii_lowercase().contains("connection: close"), "{}", answer.head);
        assert_eq!(answer.json()["code"], code, "{path}");
    }
    let request =
        throng_tests::ws::upgrade_request(server.address, "/socket.io/?EIO=4&transport=websocket")
            .replace(
                "Upgrade: websocket",
                "Origin: https://elsewhere.example\r\nUpgrade: websocket",
            );
    let answer = http::send(server.address, request.as_bytes()).expect("an answer");
    assert_eq!((answer.status, answer.json()["code"].as_u64()), (403, Some(4)));
}

#[test]
fn half_a_request_and_silence_meets_a_deadline() {
    let server = Plan::throng(2).start();
    let mut witness = Witness::new(&server);
    let baseline = server.descriptors();
    let parts: [&[u8]; 4] = [
        b"",
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgr",
        b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GE",
    ];
    let mut silent: Vec<_> = (0..40)
        .map(|index| {
            let mut stream = http::connect(server.address);
            stream.write_all(parts[index % parts.len()]).expect("the server reads");
            stream
        })
        .collect();
    witness.check();
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(45))).expect("a timeout is valid");
        if let Some(answer) = http::read(stream) {
            assert!(answer.status >= 400, "{}", answer.head);
        }
    }
    eventually("their descriptors are free", SOON, || {
        (server.descriptors() <= baseline + 2).then_some(())
    });
    witness.check();
}

#[test]
fn slow_heads_do_not_keep_a_connection_for_ever() {
    let server = Plan::throng(1).start();
    let mut witness = Witness::new(&server);
    let mut stream = http::connect(server.address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").expect("the server reads");
    let begun = std::time::Instant::now();
    // One header every half second, as slowloris does.
    while stream.write_all(b"X-A: b\r\n").is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(45),
            "still accepted after {:?}",
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_millis(500));
        witness.check();
    }
}

#[test]
fn a_session_that_never_connects_is_closed() {
    let server = Plan::throng(1).args(&["--connect-timeout-ms", "300"]).start();
    let mut ws = Ws::open(server.address, "/socket.io/?EIO=4&transport=websocket");
    assert!(ws.packet().is_some_and(|packet| packet.starts_with('0')));
    assert_eq!(ws.end().code(), 4003);
    let text = http::get(server.address, "/socket.io/?EIO=4&transport=polling").text();
    assert!(text.starts_with("0{"), "{text}");
    eventually("both sessions end", SOON, || {
        (server.metric("throng_sessions_closed_total", "connect_timeout") == Some(2.0))
            .then_some(())
    });
}

#[test]
fn a_peer_that_vanishes_leaves_the_room_after_the_heartbeat() {
    let plan = Plan::throng(2).args(&["--ping-interval-ms", "1000", "--ping-timeout-ms", "1000"]);
    let server = plan.start();
    let user = register(server.address, "ghost");
    let mut ghost = Session::open(server.address, Some(&user));
    ghost.join(1);
    // It stays connected and answers nothing.
    eventually("the ghost is gone", SOON, || {
        (server.metric("throng_members", "") == Some(0.0)).then_some(())
    });
    assert_eq!(server.metric("throng_sessions_closed_total", "ping_timeout"), Some(1.0));
    assert_eq!(ghost.ws.end().code(), 4002);
}

#[test]
fn gauges_return_to_zero() {
    let server = Plan::throng(3).start();
    let users: Vec<_> = (0..5).map(|_| register(server.address, "gauge")).collect();
    let mut sessions: Vec<Session> = users
        .iter()
        .flat_map(|user| {
            (0..4).map(|_| Session::open(server.address, Some(user))).collect::<Vec<_>>()
        })
        .collect();
    for session in &mut sessions {
        session.join(1);
        session.join(2);
    }
    assert_eq!(server.metric("throng_members", ""), Some(40.0));
    assert_eq!(server.metric("throng_users_online", ""), Some(5.0));
    assert_eq!(server.metric("throng_sessions", ""), Some(20.0));
    for text in
        (0..3).map(|_| http::get(server.address, "/socket.io/?EIO=3&transport=polling").text())
    {
        assert!(text.contains("\"sid\""), "{text}");
    }
    // Some send a disconnect packet, some only close.
    for (index, mut session) in sessions.into_iter().enumerate() {
        match index % 3 {
            0 => session.ws.text("41"),
            1 => session.ws.text("1"),
            _ => {}
        }
    }
    for gauge in ["throng_members", "throng_users_online", "throng_lane_depth"] {
        eventually(gauge, SOON, || (server.metric(gauge, "") == Some(0.0)).then_some(()));
    }
    eventually("only the polling sessions are left", SOON, || {
        (server.metric("throng_sessions", "") == Some(3.0)).then_some(())
    });
}

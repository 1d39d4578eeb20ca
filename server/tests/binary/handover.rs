//! Connections and sessions that move between shards and the HTTP thread.

use std::io::Write;

use tungstenite::Message;
use tungstenite::protocol::Role;

use crate::process::{Server, read_answer, read_text, sid_of, websocket_on};

const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn the_http_thread_answers_what_is_no_websocket() {
    let server = Server::throng(&["--shards", "2"], &[]);
    let answer = server.get("/health");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
}

#[test]
fn a_request_in_pieces_loses_no_byte_on_the_way() {
    let server = Server::conformance(&[]);
    let mut stream = server.connect();
    let request = "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    for piece in request.as_bytes().chunks(7) {
        stream.write_all(piece).expect("it takes a piece");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(read_answer(&mut stream).contains("0{\"sid\":"));
    // The same connection again: keep-alive survives the hand-over.
    stream.write_all(request.as_bytes()).expect("it takes a request");
    assert!(read_answer(&mut stream).contains("0{\"sid\":"));
}

#[test]
fn a_connection_of_the_http_thread_can_become_a_websocket() {
    let server = Server::conformance(&["--shards", "2", "--ping-interval-ms", "20000"]);
    for round in 0..4 {
        let mut stream = server.connect();
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").expect("it takes a request");
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 404"));
        let mut socket = websocket_on(stream, "/engine.io/?EIO=4&transport=websocket")
            .expect("the handshake is accepted");
        assert!(read_text(&mut socket).starts_with("0{\"sid\":"), "round {round}");
        socket.send(Message::text("4hello")).expect("it is open");
        assert_eq!(read_text(&mut socket), "4hello");
    }
}

#[test]
fn frames_behind_the_handshake_are_not_lost() {
    let server = Server::conformance(&["--ping-interval-ms", "20000"]);
    for first in ["", "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = server.connect();
        if !first.is_empty() {
            stream.write_all(first.as_bytes()).expect("it takes a request");
            read_answer(&mut stream);
        }
        let mut request = format!(
            "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}\r\n"
        )
        .into_bytes();
        // `4hi`, masked with zeros.
        request.extend_from_slice(&[0x81, 0x83, 0, 0, 0, 0, b'4', b'h', b'i']);
        stream.write_all(&request).expect("it takes a request");
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 101"));
        let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Client, None);
        assert!(read_text(&mut socket).starts_with("0{"));
        assert_eq!(read_text(&mut socket), "4hi", "after {first:?}");
    }
}

#[test]
fn a_session_is_found_from_every_shard() {
    let server = Server::conformance(&["--shards", "3", "--ping-interval-ms", "20000"]);
    // The kernel picks the shard of each connection: enough of them meet all.
    for _ in 0..12 {
        let path = "/engine.io/?EIO=4&transport=polling";
        let sid = sid_of(&server.get(path));
        let with_sid = format!("{path}&sid={sid}");
        assert!(server.post(&with_sid, "4polled").ends_with("ok"));
        assert!(server.get(&with_sid).ends_with("4polled"));

        let upgrade = format!("/engine.io/?EIO=4&transport=websocket&sid={sid}");
        let mut socket = server.websocket(&upgrade);
        socket.send(Message::text("2probe")).expect("it is open");
        assert_eq!(read_text(&mut socket), "3probe");
        socket.send(Message::text("5")).expect("it is open");
        socket.send(Message::text("4moved")).expect("it is open");
        assert_eq!(read_text(&mut socket), "4moved");
        assert!(server.get(&with_sid).starts_with("HTTP/1.1 400"), "polling is over");
    }
}

#[test]
fn an_unknown_sid_is_refused_before_the_upgrade() {
    let server = Server::conformance(&["--shards", "3"]);
    for sid in ["AAAAAAAAAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAAA", "_wAAAAAAAAAAAAAAAAAA", "nonsense"]
    {
        let answer = server.ask(&format!(
            "GET /engine.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: x\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 400"), "{sid}: {answer}");
        assert!(answer.ends_with(r#"{"code":1,"message":"Session ID unknown"}"#), "{answer}");
    }
}

#[test]
fn an_unknown_sid_is_refused_on_a_connection_of_the_http_thread_too() {
    let server = Server::conformance(&["--shards", "3"]);
    for sid in ["AAAAAAAAAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAAA", "_wAAAAAAAAAAAAAAAAAA", "nonsense"]
    {
        // As behind a proxy that reuses its connections.
        let mut stream = server.connect();
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").expect("it takes a request");
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 404"));
        let request = format!(
            "GET /engine.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: x\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it takes a request");
        let answer = read_answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 400"), "{sid}: {answer}");
        assert!(answer.ends_with(r#"{"code":1,"message":"Session ID unknown"}"#), "{answer}");
    }
}

#[test]
fn handshakes_that_are_none_are_refused() {
    let server = Server::conformance(&[]);
    let handshake = |method: &str, fields: &str| {
        server.ask(&format!(
            "{method} /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\n{fields}\r\n"
        ))
    };
    assert!(handshake("GET", "Sec-WebSocket-Version: 13\r\n").starts_with("HTTP/1.1 400"));
    let old = handshake(
        "GET",
        "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    );
    assert!(old.starts_with("HTTP/1.1 426") && old.contains("Sec-WebSocket-Version: 13"), "{old}");
    assert!(handshake("POST", KEY).starts_with("HTTP/1.1 400"));
    assert!(server.ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(server.ask(&long).starts_with("HTTP/1.1 431"));
}

#[test]
fn a_body_above_the_bound_is_refused_and_ends_the_session() {
    let server = Server::conformance(&["--max-payload", "2000"]);
    let path = "/engine.io/?EIO=4&transport=polling";
    let with_sid = format!("{path}&sid={}", sid_of(&server.get(path)));
    let fits = format!("4{}", "x".repeat(1999));
    assert!(server.post(&with_sid, &fits).ends_with("ok"));
    assert!(server.post(&with_sid, &format!("{fits}x")).starts_with("HTTP/1.1 413"));
    assert!(server.get(&with_sid).starts_with("HTTP/1.1 400"), "the session is over");
}

#[test]
fn an_offer_of_another_protocol_is_ignored() {
    let server = Server::conformance(&[]);
    let answer = server.ask(
        "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\
         Connection: Upgrade, close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("0{\"sid\":"), "{answer}");
}

#[test]
fn a_second_post_while_one_is_received_ends_the_session() {
    let server = Server::conformance(&["--ping-interval-ms", "20000"]);
    let path = "/engine.io/?EIO=4&transport=polling";
    let with_sid = format!("{path}&sid={}", sid_of(&server.get(path)));
    let mut first = server.connect();
    let head = format!("POST {with_sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4fir");
    first.write_all(head.as_bytes()).expect("it takes a piece");
    // The second one may be faster than the first piece; then it is the only one.
    let deadline = std::time::Instant::now() + crate::process::TIMEOUT;
    while server.post(&with_sid, "4second").ends_with("ok") {
        assert!(std::time::Instant::now() < deadline, "both are taken");
    }
    first.write_all(b"st...").expect("it takes a piece");
    assert!(read_answer(&mut first).starts_with("HTTP/1.1 400"));
    assert!(server.get(&with_sid).starts_with("HTTP/1.1 400"), "the session is over");
}

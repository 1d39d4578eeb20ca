//! RFC 6455 on the echo surface: every section a general-purpose suite looks at, as our own cases.

use std::io::Write;
use std::time::Duration;

use throng_tests::http;
use throng_tests::server::{Plan, Server};
use throng_tests::ws::{
    BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, Ws, close_payload, frame, frame_with,
    upgrade_request,
};

fn echo(server: &Server) -> Ws {
    Ws::open(server.address, "/echo")
}

#[track_caller]
fn check_echo(ws: &mut Ws, opcode: u8, payload: &[u8]) {
    ws.send(opcode, payload);
    let (got, back) = ws.message().expect("an answer");
    assert_eq!(got, opcode);
    assert!(back == payload, "{} bytes back for {}", back.len(), payload.len());
}

/// The connection must end with a close frame of that code.
#[track_caller]
fn check_fails(ws: &mut Ws, code: u16) {
    assert_eq!(ws.end().code(), code);
}

/// A close of ours is answered with the same code.
#[track_caller]
fn check_clean_close(mut ws: Ws) {
    ws.send(CLOSE, &close_payload(1000, b""));
    assert_eq!(ws.end().code(), 1000);
}

#[test]
fn messages_of_every_length_form_come_back() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    for len in [0, 1, 125, 126, 127, 128, 65535, 65536, 100_000] {
        check_echo(&mut ws, TEXT, &vec![b'*'; len]);
        check_echo(&mut ws, BINARY, &vec![0xfe; len]);
    }
    check_clean_close(ws);
}

#[test]
fn the_largest_message_comes_back() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    let text = "ÄÖ😀x".repeat(16 * 1024 * 1024 / 9);
    check_echo(&mut ws, TEXT, text.as_bytes());
    check_echo(&mut ws, BINARY, &vec![0x5a; 16 * 1024 * 1024]);
    check_clean_close(ws);
}

#[test]
fn a_message_over_the_bound_is_1009() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    // The head alone is enough to know.
    let mut head = frame(true, BINARY, &[]);
    head.splice(1..2, [0x80 | 127, 0, 0, 0, 0, 0x40, 0, 0, 0]);
    ws.send_raw(&head);
    check_fails(&mut ws, 1009);
}

#[test]
fn a_frame_may_arrive_octet_by_octet() {
    let server = Plan::conformance().start();
    for payload in ["Hello-µ@ßöäüàá-UTF-8!!".repeat(12), "x".repeat(70)] {
        let mut ws = echo(&server);
        for byte in frame(true, TEXT, payload.as_bytes()) {
            ws.send_raw(&[byte]);
        }
        assert_eq!(ws.message().expect("an answer"), (TEXT, payload.into_bytes()));
        check_clean_close(ws);
    }
}

#[test]
fn many_messages_in_one_segment_come_back_in_order() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    let mut bytes = Vec::new();
    for index in 0..500 {
        bytes.extend(frame(true, TEXT, format!("message {index}").as_bytes()));
    }
    ws.send_raw(&bytes);
    for index in 0..500 {
        let (_, payload) = ws.message().expect("an answer");
        assert_eq!(payload, format!("message {index}").into_bytes());
    }
    check_clean_close(ws);
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    for payload in
        [&b""[..], b"Hello, world!", &[0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0, 0xff], &[0xfe; 125]]
    {
        ws.send(PING, payload);
        let want = Frame { fin: true, opcode: PONG, payload: payload.to_vec() };
        assert_eq!(ws.frame(), Some(want));
    }
    for index in 0..10 {
        ws.send(PING, format!("payload-{index}").as_bytes());
    }
    for index in 0..10 {
        let frame = ws.frame().expect("a pong");
        assert_eq!((frame.opcode, frame.payload), (PONG, format!("payload-{index}").into_bytes()));
    }
    check_clean_close(ws);
}

#[test]
fn an_unsolicited_pong_is_ignored() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.send(PONG, b"");
    ws.send(PONG, b"unsolicited");
    check_echo(&mut ws, TEXT, b"after");
    check_clean_close(ws);
}

#[test]
fn a_control_frame_longer_than_125_bytes_is_1002() {
    let server = Plan::conformance().start();
    for opcode in [PING, PONG, CLOSE] {
        let mut ws = echo(&server);
        ws.send(opcode, &[0xfe; 126]);
        check_fails(&mut ws, 1002);
    }
}

#[test]
fn a_fragmented_control_frame_is_1002() {
    let server = Plan::conformance().start();
    for opcode in [PING, PONG, CLOSE] {
        let mut ws = echo(&server);
        ws.send_raw(&frame(false, opcode, b"part"));
        ws.send_raw(&frame(true, CONTINUATION, b"rest"));
        check_fails(&mut ws, 1002);
    }
}

#[test]
fn reserved_bits_are_1002() {
    let server = Plan::conformance().start();
    for bits in 1..=7u8 {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            let mut ws = echo(&server);
            ws.send_raw(&frame_with(0x80 | (bits << 4) | opcode, b"Hello"));
            check_fails(&mut ws, 1002);
        }
    }
}

#[test]
fn what_came_before_a_reserved_bit_is_still_answered() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.text("fine");
    ws.send_raw(&frame_with(0x80 | 0x40 | TEXT, b"bad"));
    ws.send(PING, b"never");
    assert_eq!(ws.message(), Some((TEXT, b"fine".to_vec())));
    check_fails(&mut ws, 1002);
}

#[test]
fn reserved_opcodes_are_1002() {
    let server = Plan::conformance().start();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"payload"] {
            let mut ws = echo(&server);
            ws.send(opcode, payload);
            check_fails(&mut ws, 1002);
        }
    }
}

#[test]
fn a_frame_without_a_mask_is_1002() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.send_raw(&[0x81, 5, b'H', b'e', b'l', b'l', b'o']);
    check_fails(&mut ws, 1002);
}

#[test]
fn fragments_become_one_message_with_control_frames_between_them() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.send_raw(&frame(false, TEXT, b"frag"));
    ws.send(PING, b"between");
    ws.send_raw(&frame(false, CONTINUATION, b""));
    ws.send_raw(&frame(true, CONTINUATION, b"ment"));
    let pong = ws.frame().expect("the pong comes first");
    assert_eq!((pong.opcode, &pong.payload[..]), (PONG, &b"between"[..]));
    assert_eq!(ws.message(), Some((TEXT, b"fragment".to_vec())));
    check_clean_close(ws);
}

/// Autobahn's 9.3.1 and 9.4.1: 4 MiB in fragments of 64 bytes, and an empty one that ends them.
#[test]
fn a_message_in_65537_fragments_comes_back() {
    let server = Plan::conformance().start();
    for opcode in [TEXT, BINARY] {
        let mut ws = echo(&server);
        let mut bytes = frame(false, opcode, &[b'a'; 64]);
        for _ in 1..65_536 {
            bytes.extend(frame(false, CONTINUATION, &[b'b'; 64]));
        }
        bytes.extend(frame(true, CONTINUATION, b""));
        ws.send_raw(&bytes);
        let (answered, payload) = ws.message().expect("an answer");
        assert_eq!((answered, payload.len()), (opcode, 4 << 20));
        assert_eq!((payload[63], payload[64]), (b'a', b'b'));
        check_clean_close(ws);
    }
}

#[test]
fn a_continuation_of_nothing_is_1002() {
    let server = Plan::conformance().start();
    for fin in [true, false] {
        let mut ws = echo(&server);
        ws.send_raw(&frame(fin, CONTINUATION, b"what?"));
        check_fails(&mut ws, 1002);
        let mut ws = echo(&server);
        ws.text("whole");
        ws.send_raw(&frame(fin, CONTINUATION, b"what?"));
        assert_eq!(ws.message(), Some((TEXT, b"whole".to_vec())));
        check_fails(&mut ws, 1002);
    }
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_1002() {
    let server = Plan::conformance().start();
    for opcode in [TEXT, BINARY] {
        let mut ws = echo(&server);
        ws.send_raw(&frame(false, TEXT, b"frag"));
        ws.send(opcode, b"intruder");
        check_fails(&mut ws, 1002);
    }
}

#[test]
fn valid_utf8_comes_back_whole_and_in_pieces() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    for text in [
        "κόσμε",
        "\u{0}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{1fffe}",
        "Hello-µ@ßöäüàá-UTF-8!!",
        "你好😀",
    ] {
        check_echo(&mut ws, TEXT, text.as_bytes());
        // Cut between any two octets, inside code points too.
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let opcode = if at == 0 { TEXT } else { CONTINUATION };
            ws.send_raw(&frame(at + 1 == bytes.len(), opcode, &[*byte]));
        }
        assert_eq!(ws.message(), Some((TEXT, bytes.to_vec())), "{text:?} in pieces");
    }
    check_clean_close(ws);
}

#[test]
fn invalid_utf8_is_1007() {
    let server = Plan::conformance().start();
    let bad: &[&[u8]] = &[
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xc3",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xe2\x82",
        b"\xf0\x90\x8d",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ];
    for bytes in bad {
        let mut ws = echo(&server);
        ws.send(TEXT, bytes);
        assert_eq!(ws.end().code(), 1007, "{bytes:x?}");
        let mut ws = echo(&server);
        ws.send_raw(&frame(false, TEXT, b"a good start, then "));
        ws.send_raw(&frame(false, CONTINUATION, bytes));
        ws.send_raw(&frame(true, CONTINUATION, b""));
        assert_eq!(ws.end().code(), 1007, "{bytes:x?} in fragments");
        let mut ws = echo(&server);
        check_echo(&mut ws, BINARY, bytes);
    }
}

#[test]
fn a_code_point_cut_by_the_end_of_the_message_is_1007() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.send_raw(&frame(false, TEXT, b"\xf0\x9f"));
    ws.send_raw(&frame(true, CONTINUATION, b"\x98"));
    check_fails(&mut ws, 1007);
}

#[test]
fn a_close_is_answered_with_its_code() {
    let server = Plan::conformance().start();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut ws = echo(&server);
        ws.send(CLOSE, &close_payload(code, b"because"));
        assert_eq!(ws.end().code(), code);
    }
    let mut ws = echo(&server);
    ws.send(CLOSE, b"");
    let end = ws.end();
    assert!(matches!(end.code(), 1000 | 1005), "{end:?}");
    let mut ws = echo(&server);
    ws.send(CLOSE, &close_payload(1000, &[b'*'; 123]));
    assert_eq!(ws.end().code(), 1000);
}

#[test]
fn a_close_with_a_wrong_payload_fails_the_connection() {
    let server = Plan::conformance().start();
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535] {
        let mut ws = echo(&server);
        ws.send(CLOSE, &close_payload(code, b""));
        assert_eq!(ws.end().code(), 1002, "close code {code}");
    }
    let mut ws = echo(&server);
    ws.send(CLOSE, b"x");
    check_fails(&mut ws, 1002);
    let mut ws = echo(&server);
    ws.send(CLOSE, &close_payload(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"));
    check_fails(&mut ws, 1007);
}

#[test]
fn nothing_is_answered_after_a_close() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.send(CLOSE, &close_payload(1000, b""));
    ws.text("too late");
    ws.send(PING, b"too late");
    let first = ws.frame().expect("the close");
    assert_eq!(first.opcode, CLOSE);
    assert_eq!(ws.frame(), None, "then the connection ends");
}

#[test]
fn a_close_inside_a_fragmented_message_closes() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    ws.send_raw(&frame(false, TEXT, b"unfinished"));
    ws.send(CLOSE, &close_payload(1000, b""));
    check_fails(&mut ws, 1000);
}

#[test]
fn a_large_message_in_fragments_of_many_sizes_comes_back() {
    let server = Plan::conformance().start();
    let mut ws = echo(&server);
    let whole: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    for size in [64, 1024, 65536, 262_144] {
        let mut parts = whole.chunks(size).peekable();
        let mut opcode = BINARY;
        while let Some(part) = parts.next() {
            ws.send_raw(&frame(parts.peek().is_none(), opcode, part));
            opcode = CONTINUATION;
        }
        assert!(ws.message() == Some((BINARY, whole.clone())), "in fragments of {size}");
    }
    check_clean_close(ws);
}

#[test]
fn frames_sent_with_the_handshake_are_not_lost() {
    let server = Plan::conformance().start();
    let mut stream = http::connect(server.address);
    let mut bytes = upgrade_request(server.address, "/echo").into_bytes();
    bytes.extend(frame(true, TEXT, b"early"));
    bytes.extend(frame(true, CLOSE, &close_payload(1000, b"")));
    stream.write_all(&bytes).expect("the server reads");
    let answer = http::read(&mut stream).expect("an answer");
    assert_eq!(answer.status, 101);
    assert!(answer.body.starts_with(b"\x81\x05early"), "{:x?}", answer.body);
}

#[test]
fn a_wrong_handshake_is_refused() {
    let server = Plan::conformance().start();
    let good = upgrade_request(server.address, "/echo");
    for (why, request) in [
        ("no key", good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("an old version", good.replace("Version: 13", "Version: 8")),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("POST", good.replace("GET ", "POST ")),
    ] {
        let mut stream = http::connect(server.address);
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout is valid");
        stream
            .write_all(
                request.replace("Connection: Upgrade", "Connection: Upgrade, close").as_bytes(),
            )
            .expect("the server reads");
        let answer = http::read(&mut stream).unwrap_or_else(|| panic!("{why}: no answer"));
        assert!((400..=426).contains(&answer.status), "{why}: {}", answer.head);
    }
}

#[test]
fn no_extension_is_agreed_on() {
    let server = Plan::conformance().start();
    let request = upgrade_request(server.address, "/echo").replace(
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    );
    let mut stream = http::connect(server.address);
    let mut bytes = request.into_bytes();
    bytes.extend(frame(true, CLOSE, &close_payload(1000, b"")));
    stream.write_all(&bytes).expect("the server reads");
    let answer = http::read(&mut stream).expect("an answer");
    assert_eq!(answer.status, 101);
    assert!(
        !answer.head.to_ascii_lowercase().contains("sec-websocket-extensions"),
        "{}",
        answer.head
    );
}

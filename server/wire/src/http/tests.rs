use super::*;
use crate::sweep;

const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
    Host: chat.example:8090\r\n\
    Connection: keep-alive, Upgrade\r\n\
    upgrade: WebSocket\r\n\
    Origin: http://chat.example:8090\r\n\
    Authorization: Bearer abc\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const NO_UPGRADE: Upgrade<'_> = Upgrade { key: None, is_version_13: false, protocol: None };

#[track_caller]
fn request(text: &str) -> Request<'_> {
    match head(text.as_bytes()) {
        Ok(Head::Complete { request, .. }) => request,
        other => panic!("{other:?}"),
    }
}

fn with_field(field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")
}

#[test]
fn a_websocket_upgrade_is_read() {
    let request = request(UPGRADE);
    assert_eq!(
        request,
        Request {
            method: "GET",
            path: "/socket.io/",
            query: "EIO=4&transport=websocket",
            host: Some("chat.example:8090"),
            origin: Some("http://chat.example:8090"),
            authorization: Some("Bearer abc"),
            forwarded: Forwarded::default(),
            upgrade: Some(Upgrade {
                key: Some("dGhlIHNhbXBsZSBub25jZQ=="),
                is_version_13: true,
                protocol: None,
            }),
        }
    );
}

#[test]
fn what_follows_the_head_is_left_alone() {
    let bytes = [UPGRADE.as_bytes(), b"\x81\x80\0\0\0\0"].concat();
    match head(&bytes) {
        Ok(Head::Complete { len, .. }) => assert_eq!(len, UPGRADE.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_head_needs_its_last_byte() {
    for len in 0..UPGRADE.len() {
        assert_eq!(head(&UPGRADE.as_bytes()[..len]), Ok(Head::NeedMore), "{len}");
    }
}

#[test]
fn upgrade_needs_both_fields_and_http_1_1() {
    assert_eq!(request(&with_field("Upgrade: websocket")).upgrade, None);
    assert_eq!(request(&with_field("Connection: Upgrade")).upgrade, None);
    let other = with_field("Connection: Upgrade\r\nUpgrade: h2c");
    assert_eq!(request(&other).upgrade, None);
    assert_eq!(request(&UPGRADE.replace("HTTP/1.1", "HTTP/1.0")).upgrade, None);
    let split = with_field("Connection: close\r\nConnection: upgrade\r\nUpgrade: h2c, websocket");
    assert_eq!(request(&split).upgrade, Some(NO_UPGRADE));
}

#[test]
fn a_key_is_sixteen_bytes_in_base64_and_the_version_is_13() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for bad in ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j", &key.repeat(2)] {
        let text = UPGRADE.replace(key, bad);
        let is_version_13 = true;
        assert_eq!(request(&text).upgrade, Some(Upgrade { is_version_13, ..NO_UPGRADE }));
    }
    let text = UPGRADE.replace("Version: 13", "Version: 8");
    assert_eq!(request(&text).upgrade, Some(Upgrade { key: Some(key), ..NO_UPGRADE }));
}

#[test]
fn a_handshake_needs_the_version_then_a_key() {
    let key = Some("dGhlIHNhbXBsZSBub25jZQ==");
    let accept = |version, key| Upgrade::new(version, key, None).accept();
    assert_eq!(accept(Some("13"), key).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(accept(Some("13"), None), Err(400));
    assert_eq!(accept(Some("8"), None), Err(426));
    assert_eq!(accept(None, key), Err(426));
}

#[test]
fn a_refusal_of_another_version_names_the_one_that_would_do() {
    let answer = String::from_utf8(refusal(426, "{}")).expect("text");
    assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
}

#[test]
fn the_first_subprotocol_that_is_offered_is_read() {
    let protocol = |field: &str| {
        let text =
            UPGRADE.replace("Sec-WebSocket-Version", &format!("{field}\r\nSec-WebSocket-Version"));
        request(&text).upgrade.and_then(|upgrade| upgrade.protocol.map(str::to_owned))
    };
    let name = "Sec-WebSocket-Protocol";
    assert_eq!(protocol(&format!("{name}: chat.v2 , chat")).as_deref(), Some("chat.v2"));
    assert_eq!(protocol(&format!("{name}: a\r\n{name}: b")).as_deref(), Some("a"));
    for none in ["", ", a", "a b, c", "a/b", "\u{fc}"] {
        assert_eq!(protocol(&format!("{name}: {none}")), None, "{none}");
    }
}

#[test]
fn what_proxies_forward_is_read_from_the_last_line() {
    let text = with_field(
        "X-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2, 192.0.2.3\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: chat.example:8443",
    );
    let lines = ["192.0.2.2, 192.0.2.3", "192.0.2.1"].map(str::as_bytes);
    let forwarded = Forwarded::new(lines.into_iter(), Some("https"), Some("chat.example:8443"));
    assert_eq!(request(&text).forwarded, forwarded);
}

#[test]
fn the_target_is_split_at_its_first_question_mark() {
    let target = |target: &str| {
        let text = format!("POST {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = request(&text);
        (request.method.to_owned(), request.path.to_owned(), request.query.to_owned())
    };
    let split = |path: &str, query: &str| ("POST".to_owned(), path.to_owned(), query.to_owned());
    assert_eq!(target("/a?b?c=d"), split("/a", "b?c=d"));
    assert_eq!(target("/a"), split("/a", ""));
    assert_eq!(target("http://host:1/a?b"), split("/a", "b"));
    assert_eq!(target("http://host"), split("/", ""));
    assert_eq!(target("/a?u=http://x/y"), split("/a", "u=http://x/y"));
    assert_eq!(target("*"), split("*", ""));
}

#[test]
fn a_repeated_field_of_meaning_is_refused() {
    for field in ["Host: b", "Origin: a\r\nOrigin: b", "Authorization: a\r\nAuthorization: a"] {
        assert_eq!(head(with_field(field).as_bytes()), Err(Fault::HeadInvalid), "{field}");
    }
    assert!(head(with_field("X-A: a\r\nX-A: b").as_bytes()).is_ok());
}

#[test]
fn a_field_of_meaning_is_text() {
    let bytes = b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n";
    assert_eq!(head(bytes), Err(Fault::HeadInvalid));
}

#[test]
fn garbage_is_refused() {
    for text in ["\x16\x03\x01\x02\0", "GET  / HTTP/1.1\r\n", "GET / HTTP/3.1\r\n\r\n", "{}\r\n"] {
        assert_eq!(head(text.as_bytes()), Err(Fault::HeadInvalid), "{text:?}");
    }
}

#[test]
fn a_head_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let with_len = |len: usize| {
        let bare = with_field("X: ").len();
        with_field(&format!("X: {}", "x".repeat(len - bare)))
    };
    let fits = with_len(HEAD_BYTES_MAX);
    assert!(matches!(head(fits.as_bytes()), Ok(Head::Complete { len: HEAD_BYTES_MAX, .. })));
    let too_long = with_len(HEAD_BYTES_MAX + 1);
    assert_eq!(head(too_long.as_bytes()), Err(Fault::HeadTooLarge));
    assert_eq!(head(&too_long.as_bytes()[..HEAD_BYTES_MAX]), Err(Fault::HeadTooLarge));
    assert_eq!(head(&too_long.as_bytes()[..HEAD_BYTES_MAX - 1]), Ok(Head::NeedMore));
}

#[test]
fn sixty_four_fields_are_taken_and_one_more_is_not() {
    let with_fields = |count: usize| with_field(&vec!["X: x"; count - 1].join("\r\n"));
    assert!(matches!(head(with_fields(64).as_bytes()), Ok(Head::Complete { .. })));
    assert_eq!(head(with_fields(65).as_bytes()), Err(Fault::HeadTooManyFields));
}

#[test]
fn an_origin_is_the_same_if_host_and_port_are() {
    for (origin, host) in [
        ("http://a", "a"),
        ("http://A.example:8090", "a.EXAMPLE:8090"),
        ("http://a:80", "a"),
        ("http://a", "a:80"),
        ("https://a", "a:443"),
        ("https://a:443", "a"),
        ("http://[::1]:8090", "[::1]:8090"),
        // Behind a proxy that ends TLS.
        ("https://a:8443", "a:8443"),
    ] {
        assert!(is_same_origin(origin, host), "{origin} {host}");
    }
    for (origin, host) in [
        ("null", "a"),
        ("null", "null"),
        ("", ""),
        ("http://", ""),
        ("http://b", "a"),
        ("http://a:81", "a"),
        ("http://a:443", "a"),
        ("http://a.evil", "a"),
        ("http://a/", "a"),
        ("a", "a"),
    ] {
        assert!(!is_same_origin(origin, host), "{origin} {host}");
    }
}

#[test]
fn the_answer_to_an_upgrade_is_that_of_rfc_6455() {
    let accept = crate::ws::accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(
        switching_protocols(&accept, None),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    // The server's handshake of RFC 6455 §1.2.
    assert_eq!(
        switching_protocols(&accept, Some("chat")),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn a_refusal_for_a_lack_of_capacity_says_when_to_try_again() {
    let answer = |status| String::from_utf8(refusal(status, "{}")).expect("text");
    for status in [429, 503] {
        assert!(answer(status).contains("\r\nRetry-After: 5\r\n"), "{status}");
    }
    assert!(!answer(400).contains("Retry-After"));
}

#[test]
fn a_refusal_has_the_status_and_body_of_the_reference_server() {
    let refused = [
        (EngineError::TransportUnknown, 400, r#"{"code":0,"message":"Transport unknown"}"#),
        (EngineError::SessionUnknown, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
        (EngineError::BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        (EngineError::BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
        (EngineError::Forbidden, 403, r#"{"code":4,"message":"Forbidden"}"#),
        (
            EngineError::UnsupportedVersion,
            400,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
    ];
    for (error, status, body) in refused {
        let answer = refusal(error.status(), error.json());
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Response::new(&mut fields);
        let len = parsed.parse(&answer).expect("a response").unwrap();
        assert_eq!(parsed.code, Some(status));
        assert_eq!(&answer[len..], body.as_bytes());
        let field = |name| {
            let field = parsed.headers.iter().find(|f| f.name.eq_ignore_ascii_case(name));
            String::from_utf8_lossy(field.expect(name).value).into_owned()
        };
        assert_eq!(field("content-length"), body.len().to_string());
        assert_eq!(field("content-type"), "application/json");
        assert_eq!(field("connection"), "close");
    }
}

#[test]
fn damaged_heads_do_not_panic() {
    let mut complete = 0;
    sweep::damaged(UPGRADE.as_bytes(), |bytes| {
        if let Ok(Head::Complete { len, .. }) = head(bytes) {
            assert!(len <= bytes.len());
            complete += 1;
        }
    });
    assert!(complete > 1000, "most damage leaves a head: {complete}");
}

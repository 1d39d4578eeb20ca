//! Behind proxies: who the client is, what counts for it, and addresses besides the public one.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::process::{Server, TIMEOUT, read_all, read_answer};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const OPEN: &str = "/socket.io/?EIO=4&transport=websocket";
const TRUSTED: (&str, &str) = ("THRONG_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.0/8, unix");
const TWO: (&str, &str) = ("THRONG_LIMITS__CONNECTIONS_PER_IP_MAX", "2");

/// Asks on a connection that stays open; answers the head and a body of announced length.
fn ask_on(stream: &mut TcpStream, path: &str, fields: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    read_answer(stream)
}

/// The answer to a WebSocket handshake of a client behind a proxy, and the connection.
fn handshake(server: &Server, fields: &str) -> (String, TcpStream) {
    let mut stream = server.connect();
    let answer = ask_on(&mut stream, OPEN, &format!("{UPGRADE}{fields}"));
    (answer, stream)
}

#[test]
fn the_forwarded_client_is_counted_and_not_the_proxy() {
    let server = Server::throng(&["--shards", "2"], &[TRUSTED, TWO]);
    let from = |client: &str| handshake(&server, &format!("X-Forwarded-For: {client}\r\n"));
    let open: Vec<_> = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8:1:2::1", "2001:db8:1:2:3::4"]
        .map(from)
        .into_iter()
        .collect();
    for (answer, _) in &open {
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    }
    for full in ["192.0.2.1", "2001:db8:1:2:5::6", "192.0.2.9, 192.0.2.1, 10.1.2.3"] {
        let (refused, _) = from(full);
        assert!(refused.starts_with("HTTP/1.1 503"), "{full}: {refused}");
        assert!(refused.contains("\r\nRetry-After: "), "{full}: {refused}");
    }
    for free in ["192.0.2.2", "2001:db8:1:3::1", "192.0.2.1, 192.0.2.9"] {
        let (answer, _) = from(free);
        assert!(answer.starts_with("HTTP/1.1 101"), "{free}: {answer}");
    }
    // A connection of the proxy carries the requests of many clients.
    let mut kept = server.connect();
    let full = ask_on(&mut kept, "/health", "X-Forwarded-For: 192.0.2.1\r\n").to_lowercase();
    assert!(full.starts_with("http/1.1 503") && full.contains("\r\nretry-after: "), "{full}");
    for client in ["192.0.2.7", "192.0.2.8", "192.0.2.9"] {
        let answer = ask_on(&mut kept, "/health", &format!("X-Forwarded-For: {client}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let upgrade = format!("{UPGRADE}X-Forwarded-For: 192.0.2.7\r\n");
    assert!(ask_on(&mut kept, OPEN, &upgrade).starts_with("HTTP/1.1 101"));
    let (second, _second) = from("192.0.2.7");
    assert!(second.starts_with("HTTP/1.1 101"), "{second}");
    let (third, _) = from("192.0.2.7");
    assert!(third.starts_with("HTTP/1.1 503"), "the upgraded connection keeps its place: {third}");
}

#[test]
fn a_forwarded_address_of_a_stranger_changes_nothing() {
    let mut server = Server::throng(&[], &[TWO, ("THRONG_HTTP__TRUSTED_PROXIES", "10.0.0.1")]);
    let fields = |n| format!("X-Forwarded-For: 192.0.2.{n}\r\n");
    let open: Vec<_> = (0..2).map(|n| handshake(&server, &fields(n))).collect();
    assert!(open.iter().all(|(answer, _)| answer.starts_with("HTTP/1.1 101")));
    let (refused, _) = handshake(&server, &fields(9));
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: "), "{refused}");
    // The operator of a proxy that is not listed is warned, once a minute.
    drop(open);
    let warnings = server.stop_and_find("ignored an X-Forwarded-For");
    let [warning] = &warnings[..] else { panic!("{warnings:#?}") };
    assert!(warning.contains("WARN") && warning.contains("peer=127.0.0.1"), "{warning}");
    assert!(warning.contains("http.trusted_proxies"), "{warning}");
}

#[test]
fn a_proxy_header_names_the_client() {
    let server = Server::throng(&[], &[TRUSTED, TWO, ("THRONG_HTTP__PROXY_PROTOCOL", "true")]);
    let send = |pieces: &[&[u8]]| {
        let mut stream = server.connect();
        for piece in pieces {
            stream.write_all(piece).expect("it takes a piece");
            std::thread::sleep(Duration::from_millis(20));
        }
        stream
    };
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 443\r\n";
    let get = format!("GET {OPEN} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n");
    let health = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut whole = send(&[&[line, get.as_bytes()].concat()]);
    assert!(read_answer(&mut whole).starts_with("HTTP/1.1 101"));
    let mut pieces = send(&[
        &line[..15],
        &line[15..40],
        &line[40..],
        &get.as_bytes()[..9],
        &get.as_bytes()[9..],
    ]);
    assert!(read_answer(&mut pieces).starts_with("HTTP/1.1 101"));
    let full = read_all(&mut send(&[&[&line[..], health].concat()]));
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("Retry-After"), "{full}");
    // Version 2: another client, and the proxy's own health check.
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 2, 198, 51, 100, 7, 1, 2, 1, 187]]
        .concat();
    let local = [&signature[..], &[0x20, 0, 0, 0]].concat();
    for header in [v2, local] {
        let answer = read_all(&mut send(&[&[&header[..], health].concat()]));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let missing = read_all(&mut send(&[health]));
    assert!(missing.starts_with("HTTP/1.1 400"), "{missing}");
}

#[test]
fn the_first_subprotocol_comes_back_on_a_new_and_on_a_kept_connection() {
    let server = Server::throng(&[], &[]);
    let offer = "Sec-WebSocket-Protocol: chat.v2, chat\r\n";
    let (answer, _) = handshake(&server, offer);
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: chat.v2\r\n"), "{answer}");
    let mut kept = server.connect();
    assert!(ask_on(&mut kept, "/health", "").starts_with("HTTP/1.1 200"));
    let answer = ask_on(&mut kept, OPEN, &format!("{UPGRADE}{offer}")).to_lowercase();
    assert!(answer.contains("\r\nsec-websocket-protocol: chat.v2\r\n"), "{answer}");
    let (none, _) = handshake(&server, "");
    assert!(!none.to_lowercase().contains("sec-websocket-protocol"), "{none}");
}

#[test]
fn an_idle_connection_is_kept_and_then_closed() {
    let server = Server::throng(
        &[],
        &[("THRONG_HTTP__KEEP_ALIVE_MS", "1000"), ("THRONG_HTTP__REQUEST_TIMEOUT_MS", "100")],
    );
    let mut kept = server.connect();
    assert!(ask_on(&mut kept, "/health", "").starts_with("HTTP/1.1 200"));
    std::thread::sleep(Duration::from_millis(400));
    assert!(
        ask_on(&mut kept, "/health", "").starts_with("HTTP/1.1 200"),
        "a head has less time than an idle connection"
    );
    assert_eq!(read_all(&mut kept), "", "it is closed at last");
    let mut half = server.connect();
    assert!(ask_on(&mut half, "/health", "").starts_with("HTTP/1.1 200"));
    half.write_all(b"GET /hea").expect("it takes a piece");
    assert_eq!(read_all(&mut half), "");
}

#[test]
fn operators_have_an_address_and_proxies_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("http.sock");
    let spare = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
    let admin = spare.local_addr().expect("it is bound");
    drop(spare);
    let server = Server::throng(
        &["--listen-unix", path.to_str().expect("text"), "--admin-public=false"],
        &[
            TRUSTED,
            TWO,
            ("THRONG_ADMIN__LISTEN", &admin.to_string()),
            // What Kubernetes sets for a service of this name.
            ("THRONG_PORT", "tcp://10.96.0.7:8090"),
            ("THRONG_SERVICE_HOST", "10.96.0.7"),
        ],
    );
    for path in ["/health", "/ready", "/metrics"] {
        assert!(server.get(path).starts_with("HTTP/1.1 404"), "{path}");
        let mut stream = TcpStream::connect(admin).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it takes a request");
        let answer = read_all(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let over_unix = |client: &str| {
        let stream = UnixStream::connect(&path).expect("it listens");
        // The helpers read a TCP stream; the calls are the same.
        let mut stream = TcpStream::from(std::os::fd::OwnedFd::from(stream));
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
        let fields = format!("{UPGRADE}X-Forwarded-For: {client}\r\n");
        (ask_on(&mut stream, OPEN, &fields), stream)
    };
    let open: Vec<_> = (0..2).map(|_| over_unix("192.0.2.1")).collect();
    assert!(open.iter().all(|(answer, _)| answer.starts_with("HTTP/1.1 101")), "{open:?}");
    assert!(over_unix("192.0.2.1").0.starts_with("HTTP/1.1 503"));
    assert!(over_unix("192.0.2.2").0.starts_with("HTTP/1.1 101"));
}

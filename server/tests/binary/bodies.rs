//! Bodies, heads and early answers: what strangers hold, and what arrives of a refusal.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

use crate::process::{Server, TIMEOUT, read_all, read_answer, read_text, sid_of};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const UNKNOWN: &str = "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA";
const UNKNOWN_TOKEN: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
/// One address opens all connections of these tests.
const NO_THROTTLE: (&str, &str) = ("THRONG_HTTP__API_PER_MINUTE", "0");

/// The polling path of a new session: a stranger's, or that of a user with this token.
fn session(server: &Server, token: Option<&str>) -> String {
    let query = token.map_or(String::new(), |token| format!("&api_token={token}"));
    let sid = sid_of(&server.get(&format!("{POLLING}{query}")));
    let path = format!("{POLLING}&sid={sid}");
    assert!(server.post(&path, "40").ends_with("ok"));
    // Who it is has been found out when CONNECT is answered.
    assert!(server.get(&path).contains("40{"));
    path
}

/// A chunked POST of which one byte has come.
fn one_byte(server: &Server, path: &str) -> TcpStream {
    let mut stream = server.connect();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it takes a head");
    stream.write_all(b"1\r\n4\r\n").expect("it takes a chunk");
    stream
}

/// A chunked POST of a large event, whole.
fn large_chunked(server: &Server, path: &str) -> String {
    let mut stream = server.connect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it takes a head");
    let body = format!(r#"42["nothing","{}"]"#, "x".repeat(1_000_000));
    for chunk in body.as_bytes().chunks(50_000) {
        let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        stream.write_all(&chunk).expect("it takes a chunk");
    }
    stream.write_all(b"0\r\n\r\n").expect("it takes the end");
    read_all(&mut stream)
}

#[test]
fn what_strangers_hold_delays_nobody() {
    let server = Server::throng(&["--shards", "2"], &[NO_THROTTLE]);
    let token = server.register("edge");
    let user = session(&server, Some(&token));
    // With invented names, and with sessions of their own.
    let mut invented: Vec<_> = (0..64).map(|_| one_byte(&server, UNKNOWN)).collect();
    let strangers: Vec<_> = (0..400).map(|_| session(&server, None)).collect();
    let held: Vec<_> = strangers.iter().map(|path| one_byte(&server, path)).collect();
    for round in 0..3 {
        let begun = Instant::now();
        let answer = large_chunked(&server, &user);
        assert!(answer.ends_with("ok"), "round {round}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    for stream in &mut invented {
        let answer = read_answer(stream);
        assert!(
            answer.starts_with("HTTP/1.1 400"),
            "an unknown session is refused at once: {answer}"
        );
    }
    drop(held);
}

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
    \0\0\0\rIDATx\xdacd\xf8\xcfP\x0f\0\x03\x86\x01\x80Z4}k\0\0\0\0IEND\xaeB`\x82";

/// The head of an upload with the token in the query, if there is one.
fn upload_head(token: Option<&str>, length: &str) -> String {
    let query = token.map_or(String::new(), |token| format!("?api_token={token}"));
    format!(
        "POST /api/file/avatar{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\n{length}\r\n"
    )
}

/// A chunked upload of which some bytes have come.
fn begun_upload(server: &Server, token: Option<&str>) -> TcpStream {
    let mut stream = server.connect();
    let head = upload_head(token, "Transfer-Encoding: chunked\r\n");
    stream.write_all(head.as_bytes()).expect("it takes a head");
    stream.write_all(b"6\r\n--edge\r\n").expect("it takes a chunk");
    stream
}

/// Uploads an image, the token in the query or behind the file, as the original client sends it.
fn upload(server: &Server, token: &str, is_in_query: bool) -> String {
    upload_of(server, token, is_in_query, PNG)
}

fn upload_of(server: &Server, token: &str, is_in_query: bool, image: &[u8]) -> String {
    let part = |name: &str, value: &[u8]| {
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let mut body = part("file", image);
    if !is_in_query {
        body.extend(part("api_token", token.as_bytes()));
    }
    body.extend(b"--edge--\r\n");
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut stream = server.connect();
    let head = upload_head(is_in_query.then_some(token), &length);
    stream.write_all(head.as_bytes()).expect("it takes a head");
    stream.write_all(&body).expect("it takes a body");
    read_all(&mut stream)
}

#[test]
fn slow_uploads_delay_no_others() {
    let settings = [NO_THROTTLE, ("THRONG_LIMITS__MESSAGE_TIMEOUT_MS", "4000")];
    let server = Server::throng(&["--shards", "1"], &settings);
    let (slow, quick) = (server.register("slow"), server.register("quick"));
    let invented: Vec<_> = (0..64).map(|_| begun_upload(&server, Some(UNKNOWN_TOKEN))).collect();
    let strangers: Vec<_> = (0..64).map(|_| begun_upload(&server, None)).collect();
    let of_user: Vec<_> = (0..64).map(|_| begun_upload(&server, Some(&slow))).collect();
    for token in [&quick, &slow] {
        for is_in_query in [true, false] {
            let begun = Instant::now();
            let answer = upload(&server, token, is_in_query);
            assert!(answer.contains(r#""errno":0"#), "{answer}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    for mut stream in invented {
        let answer = read_answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 401"), "it is refused at once: {answer}");
    }
    for mut stream in strangers.into_iter().chain(of_user) {
        let answer = read_answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    let metrics = server.get("/metrics");
    let given_up = r#"throng_api_bodies_given_up_total{why="slow"} 128"#;
    assert!(metrics.contains(given_up), "{metrics}");
    assert!(metrics.contains("\nthrong_api_bodies 0\n"), "{metrics}");
}

/// A user in a room, who sends pictures in messages.
struct Sender {
    socket: WebSocket<TcpStream>,
    next: u32,
}

impl Sender {
    fn connect(server: &Server, token: &str) -> Sender {
        let socket = server.websocket("/socket.io/?EIO=4&transport=websocket");
        let mut sender = Sender { socket, next: 0 };
        let connect = format!(r#"40{{"token":"{token}"}}"#);
        sender.socket.send(Message::text(connect)).expect("it is open");
        let joined = sender.ack(r#"["room",{"roomid":1}]"#);
        assert!(joined.contains(r#""ok":true"#), "{joined}");
        sender
    }

    /// Sends an event; answers its ack.
    fn ack(&mut self, event: &str) -> String {
        let id = self.next;
        self.next += 1;
        self.socket.send(Message::text(format!("42{id}{event}"))).expect("it is open");
        loop {
            let text = read_text(&mut self.socket);
            if text.starts_with(&format!("43{id}[")) {
                return text;
            }
        }
    }

    fn picture(&mut self, bytes: &[u8]) -> String {
        let image = data_encoding::BASE64.encode(bytes);
        let url = format!("data:image/png;base64,{image}");
        self.ack(&format!(r#"["message",{{"roomid":1,"img":"{url}"}}]"#))
    }
}

/// LIM-87 and LIM-88 count a user's pictures, whichever way they come.
#[test]
fn pictures_in_messages_and_uploads_share_the_rates_of_their_user() {
    let large = [PNG, &vec![0; 400 << 10]].concat();
    for (setting, code, picture) in [
        (("THRONG_LIMITS__UPLOADS_PER_MINUTE", "2"), "rate_limited", PNG),
        (("THRONG_LIMITS__USER_MIB_PER_DAY", "1"), "quota_exceeded", &large[..]),
    ] {
        let server = Server::throng(&["--shards", "2"], &[NO_THROTTLE, setting]);
        let [ann, eve, other] = ["ann", "eve", "other"].map(|name| server.register(name));
        let mut sends = Sender::connect(&server, &ann);
        let mut uploads = Sender::connect(&server, &eve);
        // One of each is allowed, in either order.
        let sent = sends.picture(picture);
        assert!(sent.contains(r#""ok":true"#), "{sent}");
        for token in [&ann, &eve] {
            let uploaded = upload_of(&server, token, true, picture);
            assert!(uploaded.contains(r#""errno":0"#), "{uploaded}");
        }
        let sent = uploads.picture(picture);
        assert!(sent.contains(r#""ok":true"#), "{sent}");
        // The third is not, either way.
        let refused = sends.picture(picture);
        assert!(refused.contains(code) && refused.contains("retry_after_ms"), "{refused}");
        let refused = upload_of(&server, &eve, true, picture);
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
        assert!(refused.to_lowercase().contains("\r\nretry-after: "), "{refused}");
        let uploaded = upload_of(&server, &other, true, picture);
        assert!(uploaded.contains(r#""errno":0"#), "the rates of others are theirs: {uploaded}");
    }
}

#[test]
fn a_stranger_may_not_send_a_large_body() {
    let server = Server::throng(&[], &[NO_THROTTLE]);
    let path = session(&server, None);
    let large = format!("42[\"nothing\",\"{}\"]", "x".repeat(100_000));
    assert!(server.post(&path, &large).starts_with("HTTP/1.1 413"));
    let path = session(&server, None);
    let answer = large_chunked(&server, &path);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn a_body_that_stays_away_ends_its_session() {
    let settings = [("THRONG_LIMITS__MESSAGE_TIMEOUT_MS", "300")];
    let server = Server::throng(&[], &settings);
    let path = session(&server, None);
    let begun = Instant::now();
    let answer = read_answer(&mut one_byte(&server, &path));
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(server.get(&path).starts_with("HTTP/1.1 400"), "the session is over");
    // A client that gives up has only given up its POST.
    let server = Server::throng(&[], &[]);
    let path = session(&server, None);
    let has_bodies = |count: u32| {
        let gauge = format!("\nthrong_bodies {count}\n");
        let deadline = Instant::now() + TIMEOUT;
        while !server.get("/metrics").contains(&gauge) {
            assert!(Instant::now() < deadline, "{count} bodies are arriving");
        }
    };
    let given_up = one_byte(&server, &path);
    has_bodies(1);
    drop(given_up);
    has_bodies(0);
    assert!(server.post(&path, "3").ends_with("ok"), "its session lives");
}

#[test]
fn a_timeout_is_heard_by_a_client_that_goes_on_sending() {
    let settings = [
        NO_THROTTLE,
        ("THRONG_LIMITS__MESSAGE_TIMEOUT_MS", "300"),
        ("THRONG_HTTP__REQUEST_TIMEOUT_MS", "300"),
    ];
    let server = Server::throng(&["--shards", "2"], &settings);
    let rest = vec![b'x'; 1 << 20];
    for round in 0..6 {
        let (path, content_type) = match round % 3 {
            0 => (session(&server, None), "text/plain"),
            1 => ("/api/login".to_owned(), "application/json"),
            _ => ("/api/file/avatar".to_owned(), "multipart/form-data; boundary=edge"),
        };
        let mut stream = server.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it takes a head");
        let begun = Instant::now();
        // It is answered meanwhile, and the client does not look.
        while begun.elapsed() < Duration::from_millis(900) {
            stream.write_all(b"1\r\n-\r\n").unwrap_or_else(|error| panic!("{path}: {error}"));
            std::thread::sleep(Duration::from_millis(30));
        }
        let chunk = [format!("{:x}\r\n", rest.len()).as_bytes(), &rest, b"\r\n"].concat();
        stream.write_all(&chunk).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{path}: {error}"));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
    }
}

/// Requests that are refused before they have arrived: path, fields, status.
fn refused_early(max: usize) -> Vec<(&'static str, String, String, u16)> {
    let large = format!("Content-Length: {max}\r\n");
    let json = format!("Content-Type: application/json\r\n{large}");
    let parts = format!("Content-Type: multipart/form-data; boundary=edge\r\n{large}");
    vec![
        ("a POST of nobody", UNKNOWN.into(), large.clone(), 400),
        ("a handshake by POST", POLLING.into(), large.clone(), 400),
        ("a route that is not there", "/api/nothing".into(), json.clone(), 404),
        ("a login", "/api/login".into(), json.clone(), 413),
        ("an upload", "/api/file/avatar".into(), json, 413),
        ("an upload of nobody", format!("/api/file/avatar?api_token={UNKNOWN_TOKEN}"), parts, 401),
        ("a file", "/index.html".into(), large, 405),
    ]
}

#[test]
fn an_early_answer_is_heard_by_a_client_that_sends_on() {
    const LEN: usize = 8 << 20;
    let server = Server::throng(&["--shards", "2"], &[NO_THROTTLE]);
    let body = vec![b'x'; LEN];
    let kinds = refused_early(LEN);
    for round in 0..100 {
        let (name, path, fields, status) = &kinds[round % kinds.len()];
        let mut stream = server.connect();
        if round % 2 == 1 {
            // On a connection that the HTTP thread has already.
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is open");
            assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
        }
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).expect("it takes a head");
        stream.write_all(&body).unwrap_or_else(|error| panic!("{name}, round {round}: {error}"));
        let answer = read_all(&mut stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
    }
}

#[test]
fn an_oversized_body_of_a_session_is_answered_whatever_the_client_sends() {
    let server = Server::conformance(&["--max-payload", "2000", "--ping-interval-ms", "20000"]);
    let path = "/engine.io/?EIO=4&transport=polling";
    let body = vec![b'x'; 8 << 20];
    for round in 0..50 {
        let path = format!("{path}&sid={}", sid_of(&server.get(path)));
        let mut stream = server.connect();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("it takes a head");
        stream.write_all(&body).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let answer = read_all(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 413"), "round {round}: {answer}");
    }
}

#[test]
fn a_refused_head_is_answered_whatever_the_client_sends() {
    let limit = ("THRONG_LIMITS__CONNECTIONS_MAX", "1");
    let full = Server::throng(&[], &[limit]);
    let mut only = full.connect();
    only.write_all(b"GET /").expect("it is open");
    let open = Server::throng(&[], &[NO_THROTTLE]);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(4 << 20));
    let post = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 4 << 20);
    let post = format!("{post}{}", "x".repeat(4 << 20));
    std::thread::sleep(Duration::from_millis(200));
    for (server, request, status) in [(&open, &long, 431), (&full, &post, 503)] {
        for _ in 0..20 {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).expect("it is read");
            let answer = read_all(&mut stream);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert_eq!(answer.contains("\r\nRetry-After: 5\r\n"), status == 503, "{answer}");
        }
    }
}

#[test]
fn connections_that_linger_take_no_place_and_are_bounded() {
    let limit = ("THRONG_LIMITS__CONNECTIONS_MAX", "40");
    let server = Server::throng(&["--shards", "2"], &[limit, NO_THROTTLE]);
    let before = server.descriptors();
    // Refused, and never closed by their clients.
    let post = format!("POST {UNKNOWN} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4");
    let strangers: Vec<_> = (0..1400)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(post.as_bytes()).expect("it is open");
            let answer = read_all(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            stream
        })
        .collect();
    assert!(server.get("/health").starts_with("HTTP/1.1 200"));
    let lingering = server.descriptors() - before;
    assert!((900..=1100).contains(&lingering), "{lingering} descriptors");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("throng_http_lingering 10"), "{metrics}");
    assert!(metrics.contains(r#"throng_http_lingered_total{by="displaced"} 3"#), "{metrics}");
    drop(strangers);
    let deadline = Instant::now() + TIMEOUT;
    while server.descriptors() > before {
        assert!(Instant::now() < deadline, "{} descriptors", server.descriptors());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn heads_that_do_not_end_are_bounded_and_take_nothing_from_others() {
    let server = Server::throng(&["--shards", "1"], &[NO_THROTTLE]);
    let begun = head_of(16 * 1024);
    let mut strangers: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&begun.as_bytes()[..16_000]).expect("it is open");
            stream
        })
        .collect();
    // 4 MiB are 262 of them; a user's head in two pieces is younger than all.
    let mut user = server.connect();
    user.write_all(&begun.as_bytes()[..9_000]).expect("it is open");
    std::thread::sleep(Duration::from_millis(100));
    user.write_all(&begun.as_bytes()[9_000..]).expect("it is open");
    assert!(read_answer(&mut user).starts_with("HTTP/1.1 200"));
    for stream in &mut strangers[..30] {
        assert!(read_answer(stream).starts_with("HTTP/1.1 408"));
    }
    let metrics = server.get("/metrics");
    let refused = metrics.lines().find(|line| line.starts_with("throng_heads_over_budget_total "));
    let refused: u32 =
        refused.expect("a metric").rsplit(' ').next().expect("a value").parse().expect("a number");
    assert!((30..90).contains(&refused), "{refused}");
}

/// A request whose head has so many bytes.
fn head_of(bytes: usize) -> String {
    let rest = "GET /health HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n".len();
    format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(bytes - rest))
}

#[test]
fn every_head_of_every_connection_has_the_same_bound() {
    let spare = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
    let admin = spare.local_addr().expect("it is bound");
    drop(spare);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("http.sock");
    let listen = ("THRONG_ADMIN__LISTEN", &*admin.to_string());
    let unix = ["--listen-unix", path.to_str().expect("text")];
    let server = Server::throng(&unix, &[NO_THROTTLE, listen]);
    let over_unix = || {
        let stream = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        // The calls are the same.
        TcpStream::from(std::os::fd::OwnedFd::from(stream))
    };
    let over_tcp = || TcpStream::connect(admin).expect("it listens");
    let listeners: [(&str, &dyn Fn() -> TcpStream); 3] =
        [("public", &|| server.connect()), ("admin", &over_tcp), ("unix", &over_unix)];
    for (listener, connect) in listeners {
        for before in 0..3 {
            for (bytes, status) in [(16 * 1024, 200), (16 * 1024 + 1, 431), (500_000, 431)] {
                let mut stream = connect();
                stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
                for _ in 0..before {
                    stream.write_all(head_of(100).as_bytes()).expect("it is open");
                    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
                }
                stream.write_all(head_of(bytes).as_bytes()).expect("it is read");
                let answer = read_answer(&mut stream);
                let expected = format!("HTTP/1.1 {status}");
                assert!(
                    answer.starts_with(&expected),
                    "{listener}, {bytes} bytes after {before}: {answer}"
                );
                let mut rest = Vec::new();
                if status == 431 {
                    stream.read_to_end(&mut rest).expect("it is closed, not reset");
                }
            }
        }
    }
    // Two requests at once: the second head comes behind the first.
    let mut stream = server.connect();
    stream.write_all(format!("{}{}", head_of(9_000), head_of(20_000)).as_bytes()).expect("open");
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 431"));
}

//! What a client cannot take from the others.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::process::{Server, read_all, read_answer, read_text, websocket_on};

const OPEN: &str = "/socket.io/?EIO=4&transport=websocket";

#[test]
fn the_connection_bound_admits_the_last_and_refuses_the_next() {
    let mut server = Server::throng(&["--shards", "2"], &[("THRONG_LIMITS__CONNECTIONS_MAX", "4")]);
    let mut open: Vec<_> = (0..4).map(|_| server.websocket(OPEN)).collect();
    for socket in &mut open {
        assert!(read_text(socket).starts_with("0{"));
    }
    for _ in 0..3 {
        let refused = server.get("/health");
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("Connection: close"), "{refused}");
    }

    drop(open.pop());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.get("/health").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "the permit of a closed connection is not given back");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(open);
    warns_once(&mut server, "limits.connections_max is reached");
}

/// Stops the server, which has refused more than one connection within a minute because of a limit.
fn warns_once(server: &mut Server, words: &str) {
    let warnings = server.stop_and_find(words);
    let [warning] = &warnings[..] else { panic!("{words}: {warnings:#?}") };
    assert!(warning.contains("WARN") && warning.contains("left_out=0"), "{warning}");
}

#[test]
fn one_address_has_its_own_bound() {
    let bound = ("THRONG_LIMITS__CONNECTIONS_PER_IP_MAX", "2");
    let mut server = Server::throng(&["--shards", "2"], &[bound]);
    let open: Vec<_> = (0..2).map(|_| server.websocket(OPEN)).collect();
    for _ in 0..3 {
        assert!(server.get("/health").starts_with("HTTP/1.1 503"));
    }
    drop(open);
    warns_once(&mut server, "limits.connections_per_ip_max is reached");
}

#[test]
fn half_a_handshake_and_silence_are_ended_at_the_deadline() {
    let server = Server::throng(&[], &[("THRONG_HTTP__HANDSHAKE_TIMEOUT_MS", "200")]);
    let started = Instant::now();
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost").expect("it takes a piece");
    for stream in [&mut silent, &mut half] {
        assert!(read_all(stream).starts_with("HTTP/1.1 408"));
    }
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(200), "{waited:?} is too early");
    assert!(waited < Duration::from_secs(5), "{waited:?} is too late");
}

#[test]
fn a_body_of_the_api_that_does_not_arrive_has_a_timeout() {
    let server = Server::throng(&[], &[("THRONG_HTTP__REQUEST_TIMEOUT_MS", "200")]);
    let started = Instant::now();
    let request = "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                   Content-Length: 9\r\n\r\nhalf";
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).expect("it takes a piece");
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 408"));
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(200), "{waited:?} is too early");
    assert!(waited < Duration::from_secs(5), "{waited:?} is too late");
}

#[test]
fn a_client_that_does_not_read_is_evicted_and_disturbs_nobody() {
    let server = Server::conformance(&["--ping-interval-ms", "20000"]);
    let path = "/engine.io/?EIO=4&transport=websocket";
    let mut good = server.websocket(path);
    read_text(&mut good);
    let mut slow = server.websocket(path);
    read_text(&mut slow);
    slow.get_ref().set_write_timeout(Some(Duration::from_secs(10))).expect("it is a socket");
    let big = Message::text(format!("4{}", "x".repeat(500_000)));
    // What is queued is bounded; then it has a few seconds to read the reason.
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut round = 0;
    while slow.send(big.clone()).is_ok() {
        assert!(Instant::now() < deadline, "the server queues without bound, or never gives up");
        good.send(Message::text(format!("4{round}"))).expect("it is open");
        assert_eq!(read_text(&mut good), format!("4{round}"), "the other client is served");
        round += 1;
    }
    good.send(Message::text("4after")).expect("it is open");
    assert_eq!(read_text(&mut good), "4after");
}

#[test]
fn strangers_that_always_send_leave_each_other_their_turns() {
    const STRANGERS: usize = 40;
    const BYTES: usize = 2_000_000;
    // They are always ready: nothing that they cause makes them wait.
    let server = Server::throng(
        &["--shards", "1"],
        &[("THRONG_LIMITS__ANONYMOUS__WORK_PER_S", "0"), ("THRONG_HTTP__REQUESTS_PER_S", "0")],
    );
    let pongs = [0x8a_u8, 0x80, 0, 0, 0, 0].repeat(10_000);
    let mut strangers: Vec<_> = (0..STRANGERS).map(|_| server.websocket(OPEN)).collect();
    // The last to connect, and so the last that the kernel reports.
    let mut quiet = server.websocket(OPEN);
    assert!(read_text(&mut quiet).starts_with("0{"));
    let mut sent = 0;
    for stranger in &mut strangers {
        let stream = stranger.get_mut();
        stream.set_nonblocking(true).expect("it is a socket");
        let mut left = BYTES;
        while let Ok(count @ 1..) = stream.write(&pongs[..pongs.len().min(left)]) {
            left -= count;
        }
        sent += BYTES - left;
    }
    let read = || -> u64 {
        let metrics = server.get("/metrics");
        let series = metrics.lines().filter(|line| line.starts_with("throng_bytes_in_total"));
        let value = |line: &str| line.split(' ').next_back()?.parse::<u64>().ok();
        series.filter_map(value).sum()
    };
    let asked = Instant::now();
    quiet.send(Message::text("40")).expect("it is open");
    let answer = read_text(&mut quiet);
    assert!(answer.starts_with("4"), "{answer}");
    let waited = asked.elapsed();
    let left = sent as u64 - read();
    assert!(
        left > sent as u64 / 4,
        "{left} of {sent} bytes were left: the others were always ready"
    );
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[test]
fn a_half_open_peer_is_noticed_by_the_heartbeat() {
    let server = Server::conformance(&[]);
    let started = Instant::now();
    let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket");
    assert!(read_text(&mut socket).starts_with("0{"));
    assert_eq!(read_text(&mut socket), "2", "the heartbeat that is never answered");
    // Reads on without answering: the close frame, then the end.
    let mut rest = Vec::new();
    socket.get_mut().read_to_end(&mut rest).expect("the server closes");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(480), "{waited:?} is too early");
    assert!(waited < Duration::from_secs(5), "{waited:?} is too late");
    assert_eq!(rest.first(), Some(&0x88), "a close frame comes first");
    let code = u16::from_be_bytes([rest[2], rest[3]]);
    assert_eq!(code, 4002);
}

#[test]
fn a_client_that_gives_up_its_poll_is_noticed() {
    let server = Server::conformance(&["--ping-interval-ms", "20000"]);
    let path = "/engine.io/?EIO=4&transport=polling";
    let with_sid = format!("{path}&sid={}", crate::process::sid_of(&server.get(path)));
    let mut parked = server.connect();
    let request = format!("GET {with_sid} HTTP/1.1\r\nHost: x\r\n\r\n");
    parked.write_all(request.as_bytes()).expect("it takes a request");
    std::thread::sleep(Duration::from_millis(100));
    drop(parked);
    // The transport is gone and with it the session.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.post(&with_sid, "4x").starts_with("HTTP/1.1 400") {
        assert!(Instant::now() < deadline, "the session outlives its client");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn connections_come_and_go_and_leave_nothing_open() {
    for driver in ["io_uring", "legacy"] {
        let server = Server::conformance(&["--ping-interval-ms", "20000", "--io-driver", driver]);
        let before = server.descriptors();
        for _ in 0..5 {
            let mut sockets: Vec<_> = (0..50)
                .map(|_| {
                    websocket_on(server.connect(), "/engine.io/?EIO=4&transport=websocket")
                        .expect("the handshake is accepted")
                })
                .collect();
            for (index, socket) in sockets.iter_mut().enumerate() {
                socket.send(Message::text(format!("4{index}"))).expect("it is open");
            }
            for (index, socket) in sockets.iter_mut().enumerate() {
                read_text(socket);
                assert_eq!(read_text(socket), format!("4{index}"));
            }
            // Heads, connections of the HTTP thread, and half of a request as well.
            let mut half = server.connect();
            half.write_all(b"GET /").expect("it takes a piece");
            assert!(server.get("/nothing").starts_with("HTTP/1.1 404"));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.descriptors() > before {
            assert!(
                Instant::now() < deadline,
                "{driver}: {} descriptors instead of {before}",
                server.descriptors()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What is answered to requests sent ahead on one connection, until nothing came for a second.
fn answers_to(server: &Server, requests: &str) -> String {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("it is a socket");
    let mut sending = stream.try_clone().expect("a descriptor");
    let requests = requests.as_bytes().to_vec();
    // The server stops reading when it has enough.
    let writer = std::thread::spawn(move || drop(sending.write_all(&requests)));
    let mut answers = Vec::new();
    let mut buffer = [0; 64 * 1024];
    while let Ok(1..) = stream.read(&mut buffer).inspect(|count| answers.extend(&buffer[..*count]))
    {
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
    writer.join().expect("it does not panic");
    String::from_utf8_lossy(&answers).into_owned()
}

#[test]
fn requests_sent_ahead_are_served_at_a_rate_whatever_they_ask_for() {
    let config = [("THRONG_HTTP__REQUESTS_PER_S", "10"), ("THRONG_HTTP__API_PER_MINUTE", "0")];
    let paths = [
        "/",
        "/api/rooms",
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io/?EIO=9&transport=polling",
        "/nothing",
    ];
    let served_slowly = |path: &str| -> bool {
        // Each begins with a burst of its own.
        let server = Server::throng(&[], &config);
        let started = Instant::now();
        let requests = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(1000);
        let answers = answers_to(&server, &requests).matches("HTTP/1.1 ").count();
        let waited = started.elapsed();
        // An answer may close the connection: then nothing that was sent behind it is served.
        if answers == 1 {
            return false;
        }
        // Those of the burst, what came back of it meanwhile, and two that waited.
        assert!((42..=60).contains(&answers), "{path}: {answers} answers");
        assert!(waited >= Duration::from_millis(100), "{path}: {waited:?} for 2 above the burst");
        true
    };
    let slow = std::thread::scope(|scope| {
        let paths = paths.map(|path| scope.spawn(move || served_slowly(path)));
        paths
            .map(|path| path.join().expect("it is served slowly"))
            .iter()
            .filter(|slow| **slow)
            .count()
    });
    assert!(slow >= 4, "only {slow} keep the connection");
}

#[test]
fn sessions_that_do_not_exist_are_paid_for_and_those_that_do_are_not() {
    let server = Server::throng(&[], &[("THRONG_HTTP__REQUESTS_PER_S", "1")]);
    let path = "/socket.io/?EIO=4&transport=polling";
    let sid = crate::process::sid_of(&server.get(path));
    let started = Instant::now();
    for _ in 0..40 {
        let post = format!(
            "POST {path}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n6"
        );
        let mut stream = server.connect();
        stream.write_all(post.as_bytes()).expect("it takes a request");
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "a session has a rate of its own");
    let started = Instant::now();
    for _ in 0..10 {
        assert!(
            server.get(&format!("{path}&sid=AAAAAAAAAAAAAAAAAAAA")).starts_with("HTTP/1.1 400")
        );
    }
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(2), "ten of four, one of which is gone: {waited:?}");
}

#[test]
fn what_would_wait_too_long_is_refused_and_the_connection_closed() {
    let server = Server::throng(&[], &[("THRONG_HTTP__REQUESTS_PER_S", "1")]);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it takes a request");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let refused = answers_to(&server, &"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50));
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert_eq!(refused.matches("HTTP/1.1 ").count(), 1, "what was sent ahead is not answered");
    let lower = refused.to_ascii_lowercase();
    assert!(lower.contains("connection: close") && lower.contains("retry-after: "), "{refused}");
    drop(waiting);
}

#[test]
fn a_client_may_show_so_many_invalid_tokens_on_sockets_and_in_requests() {
    let settings = [
        ("THRONG_LIMITS__INVALID_TOKENS_PER_S", "1"),
        ("THRONG_LIMITS__INVALID_TOKENS_BURST", "20"),
        ("THRONG_HTTP__API_PER_MINUTE", "0"),
    ];
    let server = Server::throng(&["--shards", "2"], &settings);
    let valid = format!("/api/user?api_token={}", server.register("ann"));
    let mut socket = server.websocket(OPEN);
    socket.send(Message::text("40")).expect("it is open");
    while !read_text(&mut socket).starts_with("40{") {}
    let (mut shown, mut looked_up) = (0, 0);
    let (mut is_api_refused, mut is_socket_refused) = (false, false);
    let begun = Instant::now();
    while !(is_api_refused && is_socket_refused) {
        shown += 1;
        let token = format!("{shown:x>60}");
        let answer = server.get(&format!("/api/user?api_token={token}"));
        if answer.starts_with("HTTP/1.1 429") {
            assert!(answer.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
            is_api_refused = true;
        } else {
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            looked_up += 1;
        }
        let event = format!(r#"421["login",{{"api_token":"{token}"}}]"#);
        socket.send(Message::text(event)).expect("it is open");
        let ack = read_text(&mut socket);
        if ack.contains(r#""code":"rate_limited""#) {
            assert!(ack.contains(r#""retry_after_ms":"#), "{ack}");
            is_socket_refused = true;
        } else {
            assert!(ack.contains(r#""code":"unauthenticated""#), "{ack}");
            looked_up += 1;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{looked_up} were looked up");
    }
    let most = 21 + begun.elapsed().as_secs();
    assert!((20..=most).contains(&looked_up), "{looked_up} were looked up");
    let metrics = server.get("/metrics");
    for name in ["throng_token_lookups_refused", "throng_api_token_lookups_refused"] {
        assert!(metrics.contains(&format!("\n{name}_total ")), "{name}");
        assert!(!metrics.contains(&format!("\n{name}_total 0\n")), "{name}");
    }
    // Those that are valid are not counted.
    std::thread::sleep(Duration::from_millis(1_200));
    for _ in 0..5 {
        assert!(server.get(&valid).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn idle_connections_of_http_are_bounded_and_the_oldest_goes_first() {
    let server = Server::throng(&[], &[("THRONG_HTTP__REQUESTS_PER_S", "0")]);
    let mut open: Vec<_> = (0..1100)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is open");
            assert!(read_answer(&mut stream).starts_with("HTTP/1.1 "));
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let is_open = |stream: &mut std::net::TcpStream| {
        stream.set_nonblocking(true).expect("it is a socket");
        !matches!(stream.read(&mut [0; 1]), Ok(0))
    };
    let open: Vec<bool> = open.iter_mut().map(is_open).collect();
    let closed = open.iter().take_while(|is_open| !**is_open).count();
    // The one that asks for the metrics is among them.
    assert!((588..=592).contains(&closed), "{closed} of 588 above the bound were closed");
    assert!(open[closed..].iter().all(|is_open| *is_open), "a younger one was closed");
}

#[test]
fn requests_of_one_client_that_wait_are_bounded() {
    let server = Server::throng(&[], &[("THRONG_HTTP__REQUESTS_PER_IP_MAX", "2")]);
    let path = "/socket.io/?EIO=4&transport=polling";
    let sids = [(); 2].map(|()| crate::process::sid_of(&server.get(path)));
    let held = sids.map(|sid| {
        let poll = format!("GET {path}&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n");
        loop {
            let mut stream = server.connect();
            stream.write_all(poll.as_bytes()).expect("it is open");
            stream.set_read_timeout(Some(Duration::from_millis(300))).expect("it is a socket");
            // A request that was answered may still have its place: then this one was refused.
            if stream.peek(&mut [0; 1]).is_err() {
                break stream;
            }
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut refused = server.get("/");
    while !refused.starts_with("HTTP/1.1 503") {
        assert!(Instant::now() < deadline, "two polls are held, and a third request: {refused}");
        refused = server.get("/");
    }
    assert!(refused.to_lowercase().contains("retry-after: "), "{refused}");
    // WebSockets do not count.
    assert!(read_text(&mut server.websocket(OPEN)).starts_with("0{"));
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.get("/").starts_with("HTTP/1.1 200") {
        assert!(
            Instant::now() < deadline,
            "the places of polls that were given up are not given back"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_connection_of_http_costs_its_buffers_and_little_more() {
    const COUNT: usize = 800;
    // Whatever a client asks for, and does not read: also a file in a coding that was not made in advance.
    let requests = [
        "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /socket.io/socket.io.js HTTP/1.1\r\nHost: x\r\nAccept-Encoding: x-gzip\r\n\r\n",
    ];
    for request in requests {
        let server = Server::throng(&[], &[("THRONG_HTTP__REQUESTS_PER_S", "0")]);
        let open = |_| {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).expect("it is open");
            stream.peek(&mut [0; 1]).expect("it is answered");
            stream
        };
        drop((0..50).map(open).collect::<Vec<_>>());
        let before = server.rss();
        let connections: Vec<_> = (0..COUNT).map(open).collect();
        let each = (server.rss() - before) / COUNT as u64;
        assert!(each < 24_000, "{each} bytes for each connection with {request}");
        drop(connections);
    }
}

#[test]
fn a_client_that_refuses_what_is_not_compressed_gets_its_answer_all_the_same() {
    let server = Server::throng(&[], &[]);
    for refusal in ["identity;q=0", "Identity;Q=0", "*;q=0", "gzip;q=0, identity;q=0.0"] {
        let ask = |path: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {refusal}\r\n");
            server.ask(&format!("{head}Connection: close\r\n\r\n"))
        };
        for (path, status) in [("/health", 200), ("/api/rooms", 401), ("/nothing.js", 404)] {
            let answer = ask(path);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{refusal}: {answer}");
        }
    }
}

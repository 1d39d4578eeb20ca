//! Start, idleness, stop.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use throng_kit::server::throng;
use tungstenite::Message;

use crate::process::{Server, TIMEOUT, read_text};

const OPEN: &str = "/engine.io/?EIO=4&transport=websocket";

#[test]
fn an_idle_server_sleeps() {
    for driver in ["io_uring", "legacy"] {
        let server = Server::conformance(&[
            "--shards",
            "4",
            "--io-driver",
            driver,
            "--ping-interval-ms",
            "60000",
        ]);
        let mut sockets: Vec<_> = (0..40).map(|_| server.websocket(OPEN)).collect();
        for socket in &mut sockets {
            read_text(socket);
            socket.send(Message::text("4x")).expect("it is open");
            read_text(socket);
        }
        let before = server.cpu_ticks();
        std::thread::sleep(Duration::from_secs(2));
        let used = server.cpu_ticks() - before;
        assert!(used <= 4, "{driver}: {used} ticks of processor time in two idle seconds");
    }
}

#[test]
fn both_drivers_serve_alike() {
    for driver in ["io_uring", "legacy", "auto"] {
        let server = Server::conformance(&["--shards", "2", "--io-driver", driver]);
        let big = format!("4{}", "y".repeat(900_000));
        for _ in 0..4 {
            let mut socket = server.websocket(OPEN);
            assert!(read_text(&mut socket).starts_with("0{"));
            socket.send(Message::text(big.clone())).expect("it is open");
            assert_eq!(read_text(&mut socket), big, "{driver}");
        }
        assert!(server.get("/nothing").starts_with("HTTP/1.1 404"), "{driver}");
    }
}

#[test]
fn threads_are_named_after_their_role() {
    let server = Server::conformance(&["--shards", "3"]);
    let threads = server.threads();
    for name in ["shard-0", "shard-1", "shard-2", "http"] {
        assert!(threads.iter().any(|thread| thread == name), "{name} is not in {threads:?}");
    }
}

#[test]
fn a_signal_right_behind_the_line_that_says_it_listens_is_heard() {
    for _ in 0..10 {
        let mut server = Server::conformance(&[]);
        server.signal(Signal::HUP);
        server.terminate();
        assert_eq!(server.wait().code(), Some(0), "it stops in order");
    }
}

#[test]
fn no_signal_of_an_operator_kills_and_none_is_ignored_silently() {
    let mut server = Server::throng(&[], &[]);
    for (signal, name) in
        [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")]
    {
        server.signal(signal);
        let is_logged = |line: &str| {
            (line.contains("WARN") && line.contains("signal ignored") && line.contains(name))
                .then_some(())
        };
        server.wait_for_line(TIMEOUT, is_logged).expect(name);
        assert!(server.get("/health").starts_with("HTTP/1.1 200"), "{name}");
    }
    server.signal(Signal::QUIT);
    assert_eq!(server.wait().code(), Some(0), "SIGQUIT stops it in order");
}

#[test]
fn a_stop_closes_every_client_and_ends_the_process() {
    let mut server = Server::throng(&["--shards", "3"], &[]);
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut sockets: Vec<_> = (0..9).map(|_| server.websocket(path)).collect();
    for socket in &mut sockets {
        assert!(read_text(socket).starts_with("0{"));
    }
    let started = Instant::now();
    server.terminate();
    for socket in &mut sockets {
        loop {
            match socket.read() {
                Ok(Message::Close(Some(frame))) => {
                    assert_eq!(u16::from(frame.code), 1001);
                    break;
                }
                Ok(_) => {}
                Err(error) => panic!("no close frame: {error}"),
            }
        }
    }
    // Close like a browser would.
    for mut socket in sockets {
        while socket.read().is_ok() {}
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(4), "no client was left to wait for");
}

#[test]
fn a_client_that_ignores_the_stop_does_not_hold_it_up_for_long() {
    let mut server = Server::conformance(&["--ping-interval-ms", "60000"]);
    let mut socket = server.websocket(OPEN);
    read_text(&mut socket);
    let started = Instant::now();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_file_where_the_unix_socket_should_be_ends_the_start_and_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("plain");
    std::fs::write(&path, "precious").expect("it can be written");
    let shown = path.to_str().expect("text");
    for command in ["serve", "check-config"] {
        let ended = throng(&[command, "--listen", "127.0.0.1:0", "--listen-unix", shown]);
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(71), "{errors}");
        let why = format!("cannot listen on {shown}: what is there is not a socket");
        assert!(errors.contains(&why), "{errors}");
    }
    assert_eq!(std::fs::read(&path).expect("it is there"), b"precious");
}

#[test]
fn an_empty_variable_names_no_file_of_settings() {
    for (file, code) in [("", 0), ("/nowhere.toml", 78)] {
        let checked = throng_kit::own(env!("CARGO_BIN_EXE_throng"))
            .args(["check-config", "--explain"])
            .env("THRONG_CONFIG", file)
            .output()
            .expect("it can be started");
        let errors = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.code(), Some(code), "{errors}");
    }
}

#[test]
fn a_demand_for_io_uring_that_cannot_be_met_ends_the_start() {
    let demanded = throng_kit::own(env!("CARGO_BIN_EXE_conformance"))
        .args(["--io-driver", "io_uring"])
        .env("MONOIO_FORCE_LEGACY_DRIVER", "1")
        .output()
        .expect("it can be started");
    assert_eq!(demanded.status.code(), Some(69));
    let errors = String::from_utf8_lossy(&demanded.stderr);
    assert!(errors.contains("--io-driver auto"), "{errors}");
}

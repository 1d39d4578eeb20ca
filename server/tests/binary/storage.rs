//! The data directory of a whole server: who may use it, and what the exit status says of it.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tungstenite::Message;

use crate::process::{Server, read_text};

const OPEN: &str = "/socket.io/?EIO=4&transport=websocket";

fn serve(data: &Path) -> Output {
    throng_kit::own(env!("CARGO_BIN_EXE_throng"))
        .args(["serve", "--listen", "127.0.0.1:0", "--shards", "1", "--data-dir"])
        .arg(data)
        .output()
        .expect("it can be started")
}

fn start() -> Server {
    Server::throng(&["--shards", "1"], &[("THRONG_STORAGE__MIN_FREE_MB", "0")])
}

/// No file of the server may grow beyond this, or any if it is `None`.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a child");
}

#[test]
fn a_second_process_on_the_directory_exits_and_names_the_first() {
    let first = start();
    let begun = Instant::now();
    let second = serve(&first.data_dir());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(second.status.code(), Some(74));
    let says = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(says.contains(&format!("process {}", first.pid())), "{says}");
    assert!(first.get("/ready").starts_with("HTTP/1.1 200"), "the first goes on");
}

#[test]
fn a_mark_that_could_not_be_written_shows_in_the_exit_status() {
    let mut server = start();
    let registered =
        server.ask(&json_post("/api/register", r#"{"name":"a@b.c","password":"secret"}"#));
    let (_, rest) =
        registered.split_once(r#""api_token":""#).unwrap_or_else(|| panic!("{registered}"));
    let token = rest.split('"').next().expect("a split has a first part").to_owned();
    let mut socket = server.websocket(OPEN);
    read_text(&mut socket);
    socket.send(Message::text(format!(r#"40{{"token":"{token}"}}"#))).expect("it is open");
    socket.send(Message::text(r#"420["room",{"roomid":1}]"#)).expect("it is open");
    while !read_text(&mut socket).starts_with("430") {}
    limit_files(&server, Some(0));
    let begun = Instant::now();
    socket.send(Message::text(r#"421["message",{"roomid":1,"msg":"x"}]"#)).expect("it is open");
    let refused = loop {
        let text = read_text(&mut socket);
        if text.starts_with("431") {
            break text;
        }
    };
    assert!(refused.contains("storage_unavailable"), "{refused}");
    while !server.get("/ready").starts_with("HTTP/1.1 503") {
        assert!(begun.elapsed() < Duration::from_secs(2), "/ready does not say so");
    }
    drop(socket);
    server.terminate();
    assert_eq!(server.wait().code(), Some(1));
}

fn json_post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

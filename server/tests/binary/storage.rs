//! The data directory of a whole server: who may use it, and what the exit status says of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use throng_kit::server::wait_until_ready;
use throng_kit::{Process, Program, Signal, http};
use tungstenite::Message;

use crate::process::{Server, TIMEOUT, read_text};

const OPEN: &str = "/socket.io/?EIO=4&transport=websocket";

fn serve(data: &Path) -> Output {
    throng_kit::own(env!("CARGO_BIN_EXE_throng"))
        .args(["serve", "--listen", "127.0.0.1:0", "--shards", "1", "--data-dir"])
        .arg(data)
        .output()
        .expect("it can be started")
}

fn check_config(data: &Path) -> Output {
    throng_kit::own(env!("CARGO_BIN_EXE_throng"))
        .args(["check-config", "--listen", "127.0.0.1:0", "--data-dir"])
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
fn check_config_refuses_the_data_of_another_program_as_serve_does() {
    let mut server = start();
    let data = server.data_dir();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(check_config(&data).status.code(), Some(0), "its own data");
    // The tables are in the file since its first start. Without the list of migrations under its name they are those
    // of another program.
    for log in ["throng.db-wal", "throng.db-shm"] {
        let _ = fs::remove_file(data.join(log));
    }
    let database = data.join("throng.db");
    let mut content = fs::read(&database).expect("it is there");
    let name = b"_sqlx_migrations";
    let places: Vec<usize> =
        (0..content.len()).filter(|&start| content[start..].starts_with(name)).collect();
    assert!(!places.is_empty(), "the file has the list");
    for start in places {
        content[start..start + name.len()].copy_from_slice(b"other_migrations");
    }
    fs::write(&database, content).expect("it is ours");
    for refused in [check_config(&data), serve(&data)] {
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(74), "{says}");
        assert!(says.contains("the database holds tables of another program"), "{says}");
    }
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

#[test]
fn the_data_is_private_whatever_the_umask_and_what_others_could_read_is_mended_with_a_warning() {
    for umask in ["0000", "0777"] {
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path().join("data");
        let mut command = Program::Bash.command();
        command.args(["-c", r#"umask "$0" && exec "$@""#, umask, env!("CARGO_BIN_EXE_throng")]);
        command.args(["serve", "--listen", "127.0.0.1:0", "--shards", "1", "--data-dir"]);
        command.arg(&data).env("THRONG_STORAGE__MIN_FREE_MB", "0");
        let run = || {
            let mut server = Process::start(&command).expect("bash starts");
            let address = wait_until_ready(&mut server).expect("the server is ready");
            let user = server.pid();
            let body = format!(r#"{{"name":"{user}@example.org","password":"secret-123"}}"#);
            let post = json_post("/api/register", &body);
            let answer = http::send(address, post.as_bytes()).expect("the server answers");
            assert_eq!(answer.status, 200, "{}", answer.text());
            let modes = modes(&data);
            assert!(
                modes.len() >= 4,
                "the directory, the database, its log and its lock: {modes:?}"
            );
            for (path, mode) in modes {
                let private = if path.is_dir() { 0o700 } else { 0o600 };
                assert_eq!(mode, private, "umask {umask}: {}", path.display());
            }
            server.signal(Signal::TERM);
            assert_eq!(server.wait(TIMEOUT).code(), Some(0));
            let mut log = server.log();
            log.retain(|line| line.contains("other users had rights here"));
            log
        };
        assert_eq!(run(), [""; 0], "umask {umask}: nothing was ever shared");
        // As an earlier version left it.
        let shared = [(data.clone(), 0o755), (data.join("throng.db"), 0o644)];
        for (path, mode) in &shared {
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("chmod");
        }
        let warnings = run();
        assert_eq!(warnings.len(), shared.len(), "{warnings:#?}");
        for (path, mode) in &shared {
            let was = format!("was=\"{mode:04o}\"");
            let is_named = |line: &&String| {
                line.contains("WARN")
                    && line.contains(&was)
                    && line.contains(&format!("path=\"{}\"", path.display()))
            };
            assert_eq!(warnings.iter().filter(is_named).count(), 1, "{warnings:#?}");
        }
        assert_eq!(run(), [""; 0], "it is mended");
    }
}

/// The rights of a directory and of everything in it.
fn modes(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let mut found = vec![(directory.to_owned(), mode(directory))];
    for entry in fs::read_dir(directory).expect("list") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(modes(&path));
        } else {
            found.push((path.clone(), mode(&path)));
        }
    }
    found
}

fn json_post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

//! What the program prints: a disk that is full, a reader that went away and one that does not read change neither
//! its exit status nor its work.

use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use throng_kit::own;

use super::process::TIMEOUT;

const PIPE_BYTES: usize = 64 * 1024;

fn full_disk() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.expect("Linux has it").into()
}

fn without_reader() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A pipe that takes no byte more until it is read.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = pipe().expect("a pipe");
    writer.write_all(&[b'x'; PIPE_BYTES]).expect("it takes so many");
    (reader, writer.into())
}

fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it was started") {
            return status;
        }
        if begun.elapsed() > TIMEOUT {
            let _ = child.kill();
            panic!("it is running after {TIMEOUT:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn status(args: &[&str], out: Stdio, err: Stdio) -> Option<i32> {
    let mut command = own(env!("CARGO_BIN_EXE_throng"));
    let mut child = command.args(args).stdout(out).stderr(err).spawn().expect("it starts");
    ended(&mut child).code()
}

#[test]
fn an_error_that_cannot_be_printed_keeps_its_status() {
    for command in ["serve", "check-config"] {
        let args = [command, "--data-dir", "/proc/nope", "--listen", "127.0.0.1:0"];
        assert_eq!(status(&args, full_disk(), full_disk()), Some(74), "{command}");
        assert_eq!(status(&args, without_reader(), without_reader()), Some(74), "{command}");
        let (_unread, full) = full_pipe();
        assert_eq!(status(&args, Stdio::null(), full), Some(74), "{command}");
    }
    let wrong = ["check-config", "--shards", "0"];
    assert_eq!(status(&wrong, full_disk(), full_disk()), Some(78), "of a setting");
}

#[test]
fn a_result_that_is_not_printed_is_an_error_unless_nobody_reads_it() {
    let explain = ["check-config", "--explain"];
    assert_eq!(status(&explain, full_disk(), Stdio::null()), Some(74));
    assert_eq!(status(&explain, without_reader(), without_reader()), Some(0));
}

#[test]
fn a_server_whose_output_nobody_reads_serves_and_stops() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (_unread, out) = full_pipe();
    let (_unread_too, err) = full_pipe();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let data = dir.path().display().to_string();
    let listen = address.to_string();
    let mut child = own(env!("CARGO_BIN_EXE_throng"))
        .args(["serve", "--listen", &listen, "--data-dir", &data])
        .stdout(out)
        .stderr(err)
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    let answer = loop {
        assert!(begun.elapsed() < TIMEOUT, "it does not serve");
        let Ok(mut stream) = TcpStream::connect(address) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        break answer;
    };
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(ended(&mut child).code(), Some(0));
}

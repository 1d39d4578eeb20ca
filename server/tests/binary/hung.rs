//! A shard that makes no turns: what is seen of it, and who serves in its place.

use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::process::{Server, sid_of};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A thread of the server that the kernel keeps from running, until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn thread(server: &Server, name: &str) -> Stopped {
        let tasks = format!("/proc/{}/task", server.pid());
        let tid = std::fs::read_dir(tasks).expect("it runs").find_map(|task| {
            let task = task.expect("an entry").path();
            let is_it = std::fs::read_to_string(task.join("comm")).ok()?.trim() == name;
            let tid = task.file_name().and_then(|tid| tid.to_str()?.parse().ok());
            tid.filter(|_| is_it)
        });
        let tid = Pid::from_raw(tid.expect("there is such a thread"));
        ptrace::seize(tid, ptrace::Options::empty()).expect("the server is our child");
        ptrace::interrupt(tid).expect("it runs");
        waitpid(tid, Some(WaitPidFlag::__WALL)).expect("it stops");
        Stopped(tid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        ptrace::detach(self.0, None).expect("it is stopped");
    }
}

#[test]
fn a_hung_shard_is_noticed_and_no_request_hangs_with_it() {
    let server = Server::throng(&["--shards", "2"], &[("THRONG_HTTP__API_PER_MINUTE", "0")]);
    assert!(server.get("/ready").starts_with("HTTP/1.1 200"));
    // New sessions take turns among the shards.
    let sids: Vec<String> = (0..8).map(|_| sid_of(&server.get(POLLING))).collect();
    let ping = |sid: &str| server.post(&format!("{POLLING}&sid={sid}"), "3");

    let stopped = Stopped::thread(&server, "shard-1");
    let begun = Instant::now();
    loop {
        // The kernel spreads connections over both listening sockets, so some wait for the watchdog.
        let ready = server.get("/ready");
        if ready.starts_with("HTTP/1.1 503") {
            assert!(ready.contains("down: no turn in shard 1"), "{ready}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{ready}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(server.get("/health").starts_with("HTTP/1.1 200"));
        assert!(server.get(POLLING).contains(r#""sid":"#), "new sessions go to the other shard");
    }
    let answers: Vec<String> = sids.iter().map(|sid| ping(sid)).collect();
    let refused: Vec<_> = answers.iter().filter(|a| a.starts_with("HTTP/1.1 503")).collect();
    assert!((1..sids.len()).contains(&refused.len()), "{answers:?}");
    assert!(refused.iter().all(|answer| answer.to_lowercase().contains("retry-after: 5")));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    drop(stopped);
    let begun = Instant::now();
    while !server.get("/ready").starts_with("HTTP/1.1 200") {
        assert!(begun.elapsed() < Duration::from_secs(5), "it turns again");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.get(POLLING).contains(r#""sid":"#));
}

/// Who stands in for a hung shard refuses as it would (LIM-13, LIM-35).
#[test]
fn beyond_the_bound_a_connection_to_a_hung_shard_is_refused_with_an_answer() {
    let server = Server::throng(&["--shards", "1"], &[("THRONG_LIMITS__CONNECTIONS_MAX", "3")]);
    let open: Vec<_> = (0..3).map(|_| server.connect()).collect();
    // The kernel connects them before the shard accepts them.
    std::thread::sleep(Duration::from_millis(300));
    let stopped = Stopped::thread(&server, "shard-0");
    let begun = Instant::now();
    for _ in 0..5 {
        let refused = server.get("/health");
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("\r\nRetry-After: 5\r\n"), "{refused}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(stopped);
    drop(open);
}

#[test]
fn an_idle_shard_is_no_hung_shard() {
    let server = Server::throng(&["--shards", "3"], &[]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let ready = server.get("/ready");
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

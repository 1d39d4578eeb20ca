//! The one launcher of long-running processes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

pub use rustix::process::Signal;
use rustix::process::{Pid, geteuid, kill_process};

use crate::{Failed, Program, Result, eventually, programs};

/// Lines of output that a failure shows.
const LINES_SHOWN: usize = 40;

/// A process: its output is kept, and it is killed when this is dropped or our thread ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    /// Lines that were there when it was started, if it was started before.
    lines_before: usize,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    /// How often it was started.
    run: usize,
    /// Of this run.
    streams_open: usize,
}

impl Process {
    /// Starts `command`.
    pub fn start(command: &Command) -> Result<Process> {
        Process::start_as(None, command)
    }

    /// Starts `command` as that user, if we are root: database servers refuse to be root.
    pub fn start_as(user: Option<&str>, command: &Command) -> Result<Process> {
        let output = Arc::default();
        let child = spawn(user, command, &output)?;
        let path = std::path::Path::new(command.get_program());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Process { name, child, output, lines_before: 0 })
    }

    /// Ends it and starts `command` in its place; the output so far is kept.
    pub fn start_again(&mut self, user: Option<&str>, command: &Command) -> Result {
        self.kill();
        self.lines_before = self.output.lock().lines.len();
        self.child = spawn(user, command, &self.output)?;
        Ok(())
    }

    /// Waits for a line of output that `find` takes.
    pub fn wait_for_line<T>(
        &mut self,
        within: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + within;
        let mut state = self.output.lock();
        loop {
            let found = state.lines[self.lines_before..].iter().find_map(|line| find(line));
            if let Some(found) = found {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.streams_open == 0 || left.is_zero() {
                drop(state);
                return Err(self.not_ready(within));
            }
            let waited = self.output.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Polls until it is ready.
    pub fn wait_until(&mut self, within: Duration, mut is_ready: impl FnMut() -> bool) -> Result {
        let end = Instant::now() + within;
        while !is_ready() {
            if Instant::now() > end || self.has_ended() {
                return Err(self.not_ready(within));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn not_ready(&mut self, within: Duration) -> Failed {
        let why = match self.child.try_wait() {
            Ok(Some(status)) => format!("ended with {status}"),
            _ => format!("is not ready after {within:?}"),
        };
        let log = self.log();
        let shown = log[log.len().saturating_sub(LINES_SHOWN)..].join("\n");
        Failed(format!("{} {why}; its output:\n{shown}", self.name))
    }

    /// Every line it wrote so far, of both streams.
    pub fn log(&self) -> Vec<String> {
        self.output.lock().lines.clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        self::signal(self.pid(), signal);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal that ends it, and waits until it is gone.
    pub fn end(&mut self, signal: Signal) {
        if !self.has_ended() {
            self.signal(signal);
        }
        // It fails only for a process that was waited for already.
        let _ = self.child.wait();
        self.output.wait_for_end();
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually(&format!("{} ends", self.name), within, || {
            child.try_wait().expect("it is our child")
        });
        self.output.wait_for_end();
        status
    }

    /// A file of it in `/proc`.
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("the process runs")
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let text = self.proc("statm");
        let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
        pages * 4096
    }

    /// Processor time used so far, in clock ticks (usually 10 ms).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let (_, rest) = stat.rsplit_once(')').expect("the name is in parentheses");
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
        ticks(11) + ticks(12)
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process runs").count()
    }

    /// The names of its threads.
    pub fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process runs");
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// What an ended process wrote last is here when its streams are closed; a child of it may keep
    /// them open.
    fn wait_for_end(&self) {
        let is_open = |state: &mut State| state.streams_open > 0;
        let waited = self.changed.wait_timeout_while(self.lock(), Duration::from_secs(2), is_open);
        drop(waited);
    }
}

/// Sends a signal to any process; one that has ended gets none.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It fails only for a process that has ended.
        let _ = kill_process(pid, signal);
    }
}

/// Whether this process is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The options of `setpriv` that make a program that user's, if we are root.
pub fn user_options(user: Option<&str>) -> Vec<&str> {
    match user {
        Some(user) if is_root() => vec!["--reuid", user, "--regid", user, "--clear-groups"],
        _ => Vec::new(),
    }
}

fn spawn(user: Option<&str>, command: &Command, output: &Arc<Output>) -> Result<Child> {
    // The kernel ends it when our thread ends, however that ends.
    let options = [vec!["--pdeathsig", "KILL"], user_options(user)].concat();
    let mut command = programs::through(Program::Setpriv, &options, command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let run = {
        let mut state = output.lock();
        state.run += 1;
        state.streams_open = 2;
        state.run
    };
    keep(child.stdout.take().expect("it is piped"), run, Arc::clone(output));
    keep(child.stderr.take().expect("it is piped"), run, Arc::clone(output));
    Ok(child)
}

/// Reads to the end, so that the process never blocks on what it writes.
fn keep(stream: impl Read + Send + 'static, run: usize, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(std::result::Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.change(|state| state.lines.push(line));
        }
        output.change(|state| {
            if state.run == run {
                state.streams_open -= 1;
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Process;
    use crate::{Program, Signal, TIMEOUT};

    fn bash(script: &str) -> Process {
        let mut command = Program::Bash.command();
        command.args(["-c", script]);
        Process::start(&command).expect("bash starts")
    }

    #[test]
    fn a_line_is_waited_for_and_the_rest_is_kept() {
        let mut process = bash("echo one; echo listening on 7 >&2; exec sleep 60");
        let found = process
            .wait_for_line(TIMEOUT, |line| line.strip_prefix("listening on ").map(str::to_owned));
        assert_eq!(found.expect("it is ready"), "7");
        process.wait_until(TIMEOUT, || true).expect("it is ready");
        // The other stream is read by another thread.
        let deadline = Instant::now() + TIMEOUT;
        while !process.log().contains(&"one".to_owned()) {
            assert!(Instant::now() < deadline, "{:?}", process.log());
            thread::sleep(Duration::from_millis(1));
        }
        assert!(process.descriptors() >= 3);
        process.signal(Signal::TERM);
        assert_eq!(process.wait(TIMEOUT).code(), None, "ended by the signal");
    }

    #[test]
    fn one_that_ends_is_not_waited_for_and_its_output_is_shown() {
        let mut process = bash("echo no licence >&2; exit 3");
        let error = process.wait_for_line(TIMEOUT, |line| line.parse::<u8>().ok()).unwrap_err();
        assert!(error.0.contains("no licence"), "{error}");
        let error = process.wait_until(Duration::from_secs(9), || false).unwrap_err();
        assert!(error.0.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_second_start_does_not_take_the_first_ones_line_for_its_own() {
        let mut process = bash("echo ready; exec sleep 60");
        let is_ready = |line: &str| (line == "ready").then_some(());
        process.wait_for_line(TIMEOUT, is_ready).expect("it is ready");
        let mut command = Program::Bash.command();
        command.args(["-c", "echo other"]);
        process.start_again(None, &command).expect("it starts");
        assert!(process.wait_for_line(TIMEOUT, is_ready).is_err());
        assert_eq!(process.log(), ["ready", "other"]);
    }
}

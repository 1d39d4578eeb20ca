//! The Rust tests: all are built first, then their programs run next to each other. Many of them wait
//! most of the time for other processes, and `cargo test` runs one program after the other.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use throng_kit::Program;
use throng_kit::programs::through;

use crate::counts::{Counts, judged, libtest};
use crate::pool::two_at_a_time;
use crate::process::{command, target};
use crate::{Failure, Outcome};

/// What has programs of tests; the documentation's are run by rustdoc.
const TARGETS: &[&str] = &["--workspace", "--bins", "--tests", "--lib", "--no-fail-fast"];
/// Programs that wait for other processes, the longest first: package and target.
const WAITING: &[(&str, &str)] = &[
    ("throng-tests", "it"),
    ("throng-store", "everywhere"),
    ("throng-harness", "judged"),
    ("throng-harness", "cli"),
    ("throng", "binary"),
    ("throng-redis", "redis"),
    ("throng-store", "storage"),
    ("throng-import", "import"),
    ("throng-loadgen", "presets"),
    ("throng-loadgen", "tls"),
    ("throng-loadgen", "access"),
    ("throng-loadgen", "silence"),
    ("throng-harness", "tls"),
    ("throng-harness", "profiles"),
    ("throng-harness", "users"),
];
/// The others compute, and leave the processor to those whenever they want it.
const YIELDING: &[&str] = &["-n", "10"];
/// Programs whose tests measure time or load every core, unless they are named above: each runs alone, when the others
/// have ended.
const MEASURED: &[&str] =
    &["throng-loadgen", "throng-benches", "throng-core-benches", "throng-sim"];
/// The same of one program of a package: whether somebody notices an abuse is a latency.
const MEASURED_PROGRAM: (&str, &str) = ("throng-harness", "mutants");
/// A program that takes longer hangs; it is ended and what it printed is shown.
const TIMEOUT: Duration = Duration::from_secs(1200);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long what a program has printed is waited for once it has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// One program of tests, or all tests in the documentation.
struct Job {
    package: String,
    /// Such as `lib` and `test`; a package may have two of one name.
    kind: String,
    name: String,
    command: Command,
}

/// What became of it.
struct Ended {
    job: Job,
    counts: Counts,
    /// The tests that failed. Empty if the program died without naming one.
    failed: Vec<String>,
}

/// All Rust tests. `builds`: what later steps need, each with the name of its step. They are made here, where the
/// processor has time.
///
/// A test of real processes that failed is tried once more, alone: the kernel's scheduler decides when bytes of
/// a real socket are seen, and machines are shared, so a second try separates a stall of the machine from a
/// defect, which fails twice. Other tests have no such excuse.
pub fn tests(builds: Vec<(&'static str, Command)>) -> Outcome<Counts> {
    let mut list = vec!["test", "--no-run", "--message-format=json-render-diagnostics"];
    list.extend(TARGETS);
    let mut list = command("cargo", &list, ".");
    let output = list.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(Failure::Failed(format!("the tests are not built: {}", output.status)));
    }
    let jobs = programs(&String::from_utf8_lossy(&output.stdout))?;
    if jobs.is_empty() {
        return Err(Failure::Failed("Cargo named no program of tests".to_owned()));
    }
    let (alone, mut together): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_measured);
    together.push(documentation());
    together.sort_by_key(Job::place);
    // Behind the others, so that they are begun first.
    together.extend(builds.into_iter().map(|(step, command)| build(step, command)));
    let together = together.into_iter().map(Job::yielding).collect();
    let mut ended = two_at_a_time(together, Job::run)?;
    for job in alone {
        ended.push(job.run()?);
    }
    let mut all = Counts::default();
    for ended in ended {
        all.add(ended.once_more()?);
    }
    Ok(all)
}

fn documentation() -> Job {
    let command = command("cargo", &["test", "--workspace", "--doc", "--no-fail-fast"], ".");
    let [package, kind, name] = ["workspace", "doc", "examples"].map(str::to_owned);
    Job { package, kind, name, command }
}

fn build(step: &str, command: Command) -> Job {
    let [package, kind, name] = ["workspace", "build", step].map(str::to_owned);
    Job { package, kind, name, command }
}

/// The programs of tests among what Cargo built, as it would start them.
fn programs(messages: &str) -> Outcome<Vec<Job>> {
    let mut jobs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value =
            serde_json::from_str(line).map_err(|error| Failure::Failed(error.to_string()))?;
        // Cargo names the programs that tests start as well; those are no tests.
        let is_test = message["profile"]["test"] == true;
        let (Some(program), true) = (message["executable"].as_str(), is_test) else { continue };
        let manifest = message["manifest_path"].as_str().map(Path::new);
        let dir = manifest.and_then(Path::parent).ok_or_else(|| missing("manifest_path", line))?;
        let target_name = message["target"]["name"].as_str();
        let name = target_name.ok_or_else(|| missing("target.name", line))?;
        let kind = message["target"]["kind"][0].as_str();
        let kind = kind.ok_or_else(|| missing("target.kind", line))?;
        let package = package(&message).ok_or_else(|| missing("package_id", line))?;
        let mut command = throng_kit::own(program);
        command.current_dir(dir);
        command.env("CARGO_MANIFEST_DIR", dir).env("E2E_BIN_DIR", target().join("debug"));
        jobs.push(Job { package, kind: kind.to_owned(), name: name.to_owned(), command });
    }
    Ok(jobs)
}

fn missing(field: &str, line: &str) -> Failure {
    Failure::Failed(format!("Cargo does not say `{field}`: {line}"))
}

/// `path+file:///work/server/store#throng-store@0.1.0`, or `…/server/health#0.1.0`, if the folder is
/// named like the package.
fn package(message: &Value) -> Option<String> {
    let (path, fragment) = message["package_id"].as_str()?.rsplit_once('#')?;
    let name = match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

impl Job {
    fn title(&self) -> String {
        let Job { package, kind, name, .. } = self;
        format!("{package}::{kind}/{name}")
    }

    /// Whether what it does depends on other processes.
    fn may_be_tried_again(&self) -> bool {
        self.place() < WAITING.len() || self.is_measured()
    }

    fn is_measured(&self) -> bool {
        MEASURED.contains(&self.package.as_str()) && self.place() == WAITING.len()
            || (self.package.as_str(), self.name.as_str()) == MEASURED_PROGRAM
    }

    /// Its place in `WAITING`, or behind all of those.
    fn place(&self) -> usize {
        let is_it = |(package, name): &(&str, &str)| self.package == *package && self.name == *name;
        WAITING.iter().position(is_it).unwrap_or(WAITING.len())
    }

    fn yielding(self) -> Job {
        if self.place() < WAITING.len() {
            return self;
        }
        Job { command: through(Program::Nice, YIELDING, &self.command), ..self }
    }

    /// Runs it to its end and shows what it printed, which stays in a file of its own.
    fn run(mut self) -> Outcome<Ended> {
        let title = self.title();
        let log = log_of(&title.replace("::", ".").replace('/', "."))?;
        let start = Instant::now();
        let status = to_end(&mut self.command, &log, TIMEOUT)?;
        let bytes = fs::read(&log)?;
        let text = String::from_utf8_lossy(&bytes);
        let seconds = start.elapsed().as_secs_f64();
        let ending = match status {
            Some(status) => status.to_string(),
            None => format!("ended after {} s: it hangs", TIMEOUT.as_secs()),
        };
        // One call, so that blocks of several threads do not mix.
        println!("\n     Running {title}\n{text}{title}: {ending}, {seconds:.1} s");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let succeeded = status.is_some_and(|status| status.success());
        let mut counts = libtest(&lines);
        let failed = failed_tests(&lines);
        counts.named = failed.iter().map(|test| format!("FAILED {title} {test}")).collect();
        let counts = judged(&format!("{title}: {ending}"), succeeded, counts);
        Ok(Ended { job: self, counts, failed })
    }
}

impl Ended {
    /// The counts once each failed test that may be tried again has been.
    fn once_more(self) -> Outcome<Counts> {
        let Ended { mut job, mut counts, failed } = self;
        if failed.is_empty() || !job.may_be_tried_again() {
            return Ok(counts);
        }
        let title = job.title();
        job.command.arg("--exact").args(&failed);
        job.kind.push_str("-again");
        let again = job.run()?;
        let has_passed = |test: &&String| !again.failed.contains(test);
        // A program that dies names nothing, and all of its tests have failed again.
        if again.counts.passed + again.failed.len() as u64 != failed.len() as u64 {
            return Ok(counts);
        }
        counts.named = again.counts.named;
        for test in failed.iter().filter(has_passed) {
            counts.failed -= 1;
            counts.passed += 1;
            counts.flaky += 1;
            counts.named.push(format!("FLAKY {title} {test}"));
        }
        Ok(counts)
    }
}

fn log_of(name: &str) -> Outcome<PathBuf> {
    let dir = target().join("artifacts").join("rust");
    fs::create_dir_all(&dir)?;
    Ok(dir.join(format!("{name}.log")))
}

/// Runs a command with both of its streams in the file `log`, through a pipe: some tests allow their process no
/// byte in any file. Nothing if it had to be ended.
fn to_end(command: &mut Command, log: &Path, timeout: Duration) -> Outcome<Option<ExitStatus>> {
    let (mut output, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the other end of the pipe.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut file = File::create(log)?;
    let (copying, is_copied) = mpsc::channel::<()>();
    thread::spawn(move || {
        if let Err(error) = io::copy(&mut output, &mut file) {
            eprintln!("xtask: the output of a program of tests is lost: {error}");
        }
        drop(copying);
    });
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            // A process that it has left behind keeps the pipe open.
            let _ = is_copied.recv_timeout(DRAIN);
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// `test outbox::tests::a_name ... FAILED`
fn failed_tests(lines: &[String]) -> Vec<String> {
    let names = lines.iter().filter_map(|line| {
        let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
        // `#[should_panic]` says so behind the name.
        let name = name.strip_suffix(" - should panic").unwrap_or(name);
        rest.ends_with("FAILED").then(|| name.to_owned())
    });
    names.collect()
}

#[cfg(test)]
mod tests;

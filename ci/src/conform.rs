//! The programs that judge the server from elsewhere: harness, benches, simulation.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::process::{command, finish, run, run_and_read, say, target};
use crate::test::Counts;
use crate::{Failure, Outcome, setup};

/// A `throng serve` of ours on a free port, ended when dropped.
struct Server {
    child: Child,
    url: String,
    data: PathBuf,
}

impl Server {
    fn start(program: &Path, shards: u32) -> Outcome<Server> {
        let data = target().join("conform").join(format!("data-{}-{shards}", std::process::id()));
        fs::create_dir_all(&data)?;
        let shards = shards.to_string();
        let args = ["serve", "--listen", "127.0.0.1:0", "--unlimited", "--shards", &shards];
        let mut serve = command(&program.to_string_lossy(), &args, ".");
        serve.arg("--data-dir").arg(&data);
        serve.stdout(Stdio::piped()).stderr(fs::File::create(data.join("server.log"))?);
        let mut child = serve.spawn()?;
        let out = child.stdout.take().expect("stdout is piped");
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some((_, url)) = line.split_once("listening on ") {
                return Ok(Server { child, url: url.trim().to_owned(), data });
            }
        }
        let status = child.wait()?;
        Err(Failure::Failed(format!("the server did not start: {status}; see {}", data.display())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ending a child that has ended already is the only way these fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// `cargo xtask conform`: the release build, 1 and 3 shards, then the harness's own mutants.
pub fn conform(args: &[String]) -> Outcome {
    setup::for_run()?;
    let build =
        ["build", "--release", "--package", "throng", "--package", "throng-harness", "--bins"];
    run("cargo", &build, ".")?;
    let counts = against_ours("release", args)?;
    say("mutants: servers that are wrong on purpose must be found out");
    let harness = target().join("release").join("throng-harness");
    run(&harness.to_string_lossy(), &["mutants"], ".")?;
    println!("\n{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 {
        return Err(Failure::Failed(format!("{} failed", counts.failed)));
    }
    Ok(())
}

/// For `test`: the release server, judged by the harness that the tests built anyway. Its mutants are
/// among the harness's own tests.
pub fn in_test() -> Outcome<Counts> {
    run("cargo", &["build", "--release", "--package", "throng", "--bin", "throng"], ".")?;
    // Two cores carry server and clients: fewer cases at a time, and patience with each answer.
    against_ours("debug", &["--jobs", "4", "--wait", "15"].map(String::from))
}

/// Runs the harness of `profile` against the release server.
fn against_ours(profile: &str, args: &[String]) -> Outcome<Counts> {
    let server = target().join("release").join("throng");
    let harness_program = target().join(profile).join("throng-harness");
    fs::create_dir_all(target().join("artifacts"))?;
    let mut all = Counts::default();
    for shards in [1, 3] {
        let server = Server::start(&server, shards)?;
        say(&format!("harness against {} with {shards} shard(s)", server.url));
        let mut harness = command(&harness_program.to_string_lossy(), &["run", "--target"], ".");
        let report = target().join("artifacts").join(format!("harness-{shards}"));
        harness.arg(&server.url).arg("--keep-going");
        harness.arg("--junit").arg(report.with_extension("xml"));
        harness.arg("--html").arg(report.with_extension("html"));
        harness.arg("--scripts").arg(target().join("artifacts").join("harness-scripts"));
        harness.args(args);
        let (succeeded, lines) = run_and_read(harness)?;
        let counts = crate::test::judged("harness", succeeded, crate::test::plain_counts(&lines))?;
        all.add(counts);
    }
    Ok(all)
}

/// `cargo xtask bench`: the micro-benchmarks, or the runs whose results are kept: `peers` and
/// `scale`.
pub fn bench(args: &[String]) -> Outcome {
    let mut bench = match args.split_first() {
        None => command("cargo", &["bench", "--package", "throng-benches"], "."),
        Some((name, rest)) if name == "peers" || name == "scale" => {
            setup::for_run()?;
            let flags = ["run", "--release", "--package", "throng-benches", "--bin", name, "--"];
            let mut run = command("cargo", &flags, ".");
            run.args(rest);
            run
        }
        Some((first, rest)) if first == "redis" => {
            let package = ["--package", "throng-backplane", "--example", "rates", "--"];
            let mut run = command("cargo", &["run", "--release"], ".");
            run.args(package).args(rest);
            run
        }
        Some((other, _)) => {
            return Err(Failure::Usage(format!(
                "no bench `{other}`: nothing, peers [ARGS…], scale [ARGS…], or redis [URL]"
            )));
        }
    };
    bench.stdin(Stdio::inherit());
    finish(bench)
}

/// `cargo xtask sim`: deterministic simulation of the shards, by hand or for hours.
pub fn sim(args: &[String]) -> Outcome {
    let sim = ["run", "--release", "--package", "throng-sim", "--bin", "sim", "--"];
    let mut run = command("cargo", &sim, ".");
    run.args(args);
    finish(run)
}

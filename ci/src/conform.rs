//! The programs that judge the server from elsewhere: harness, benches, simulation.

use std::fs;
use std::process::Stdio;
use std::thread;

use throng_kit::redis::Redis;

use crate::counts::{Counts, judged, plain_counts};
use crate::nodes::{Nodes, Plan};
use crate::process::{command, finish, run, run_and_read_as, say, target};
use crate::{Failure, Outcome, setup};

const fn plan(name: &'static str, nodes: usize, shards: u32) -> Plan {
    Plan {
        name,
        nodes,
        shards,
        redis: false,
        quick: false,
        unlimited: true,
        abused: false,
        restarted: false,
    }
}

/// The servers that the whole harness is run against: both drivers, one shard and several, the
/// default heartbeats and quick ones.
const WHOLE: &[Plan] = &[
    Plan { restarted: true, ..plan("1", 1, 1) },
    Plan { quick: true, ..plan("3", 1, 3) },
    Plan { redis: true, restarted: true, ..plan("redis", 1, 2) },
];

/// The servers of several nodes. Every case has passed on one; what is about nodes remains.
const SPREAD: &[Plan] = &[
    Plan { redis: true, quick: true, ..plan("2-nodes", 2, 2) },
    Plan { redis: true, quick: true, ..plan("3-nodes", 3, 1) },
];
const ABOUT_NODES: [&str; 4] = ["--filter", "nodes", "--filter", "prop"];

/// The server with the limits that it has by default: they are judged, and kept. It takes minutes.
const LIMITED: Plan = Plan { unlimited: false, ..plan("limits", 1, 2) };
/// For `test`: the cases about limits, and those with rooms that are about messages.
const LIMITED_BRIEFLY: [&str; 4] = ["msg", "room", "lim", "rest.throttle"];

/// The server that is abused, with the limits that it has by default.
const ABUSED: Plan = Plan { unlimited: false, abused: true, ..plan("abuse", 1, 2) };
/// For `test`: one input of each kind that has shown a defect once, in less than a minute.
const ABUSE_BRIEFLY: [&str; 13] = [
    "abuse.replies.ws-pings",
    "abuse.replies.unknown-events",
    "abuse.replies.reconnects",
    "abuse.replies.polls",
    "abuse.replies.pages",
    "abuse.unfinished.heads",
    "abuse.unfinished.chunked-bodies",
    "abuse.unfinished.fragments",
    "abuse.unfinished.placeholders",
    "abuse.floods.sessions",
    "abuse.floods.logins",
    "abuse.floods.largest",
    "abuse.floods.binary-objects",
];

/// What the harness judges of npm servers, parts of `harness/calibration/run.sh`.
const CALIBRATION: [&str; 3] = ["upstream", "rooms", "defects"];

/// `cargo xtask conform [PLAN…] [ARGS…]`: the release build on both drivers, as one, two and three
/// nodes, then abused, then npm servers and the harness's own mutants; or the harness on the plans that
/// are named: all of it, or for `abuse` the cases that abuse the server.
pub fn conform(args: &[String]) -> Outcome {
    setup::for_run()?;
    let named = args.iter().map_while(|arg| {
        let mut plans = WHOLE.iter().chain(SPREAD).chain([&LIMITED, &ABUSED]);
        plans.find(|plan| plan.name == arg)
    });
    let named: Vec<&Plan> = named.collect();
    let args = &args[named.len()..];
    let build =
        ["build", "--release", "--package", "throng", "--package", "throng-harness", "--bins"];
    run("cargo", &build, ".")?;
    if !named.is_empty() {
        return sum(&run_all("release", named.into_iter().map(|plan| (plan, args)))?);
    }
    let about_nodes = [args, &ABOUT_NODES.map(String::from)[..]].concat();
    let mut counts = run_all("release", everything(args, &about_nodes))?;
    if !args.iter().any(|arg| arg == "--filter") {
        counts.add(against_ours("release", &LIMITED, args)?);
        counts.add(against_ours("release", &ABUSED, args)?);
    }
    counts.add(calibrate("release")?);
    say("mutants: servers that are wrong on purpose must be found out");
    let harness = target().join("release").join("throng-harness");
    run(
        &harness.to_string_lossy(),
        &["mutants", "--known-alive", "harness/mutants-alive.txt"],
        ".",
    )?;
    say("the reference server, while it is abused");
    let abused = ["test", "--release", "--package", "throng-harness", "--test", "mutants"];
    let mut abused = command("cargo", &abused, ".");
    abused.args(["--", "--ignored"]);
    finish(abused)?;
    sum(&counts)
}

/// A server, and the arguments of the harness that runs against it.
type Run<'a> = (&'a Plan, &'a [String]);

fn everything<'a>(whole: &'a [String], about_nodes: &'a [String]) -> impl Iterator<Item = Run<'a>> {
    let spread = SPREAD.iter().map(move |plan| (plan, about_nodes));
    WHOLE.iter().map(move |plan| (plan, whole)).chain(spread)
}

fn run_all<'a>(profile: &str, runs: impl IntoIterator<Item = Run<'a>>) -> Outcome<Counts> {
    let mut counts = Counts::default();
    for (plan, args) in runs {
        counts.add(against_ours(profile, plan, args)?);
    }
    Ok(counts)
}

fn sum(counts: &Counts) -> Outcome {
    println!("\n{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 {
        return Err(Failure::Failed(format!("{} failed", counts.failed)));
    }
    Ok(())
}

/// For `test`: the server and the harness that the tests built anyway, with the checks of overflow
/// that a release build leaves out. The harness's mutants are among its own tests.
pub fn in_test() -> Outcome<Counts> {
    // A long timeout for each answer: two cores carry the servers and all of their clients.
    let whole = ["--jobs", "4", "--wait", "15", "--soak", "2"].map(String::from);
    let few = ["--cases", "4"].map(String::from);
    let about_nodes = [&whole[..], &ABOUT_NODES.map(String::from)[..], &few[..]].concat();
    let briefly = LIMITED_BRIEFLY.iter().flat_map(|case| ["--filter", case].map(String::from));
    let briefly: Vec<String> = whole.iter().cloned().chain(briefly).collect();
    let mut runs: Vec<Run<'_>> = everything(&whole, &about_nodes).collect();
    runs.push((&LIMITED, &briefly));
    // The whole harness against the two servers without Redis takes as long as everything else.
    let second = runs.split_off(2);
    // Most of a run is waiting for heartbeats and for what must not come, so two go at a time.
    let mut counts = thread::scope(|scope| {
        let second = scope.spawn(|| run_all("debug", second));
        let npm = scope.spawn(|| calibrate("debug"));
        let mut counts = run_all("debug", runs)?;
        counts.add(second.join().expect("a run does not panic")?);
        counts.add(npm.join().expect("a run does not panic")?);
        Outcome::Ok(counts)
    })?;
    // Latency is judged, so this one goes alone. A debug build is slower than what LIM-80 is about, and a
    // late case is tried three times: the bound on latency is only against seconds of silence here.
    let mut briefly =
        vec!["--abuse-seconds", "1.5", "--abuse-connections", "32", "--abuse-slack-ms", "500"];
    briefly.extend(ABUSE_BRIEFLY.iter().flat_map(|case| ["--filter", case]));
    let briefly: Vec<String> = briefly.into_iter().map(String::from).collect();
    counts.add(against_ours("debug", &ABUSED, &briefly)?);
    Ok(counts)
}

/// Holds npm servers to what the harness says of every server: the reference implementation and a room server pass, and
/// the room server's defects are found.
fn calibrate(profile: &str) -> Outcome<Counts> {
    let harness = target().join(profile).join("throng-harness");
    let mut counts = Counts::default();
    for part in CALIBRATION {
        let mut run = command("bash", &["harness/calibration/run.sh", part], ".");
        run.env("HARNESS", &harness);
        let (succeeded, lines) = run_and_read_as(&format!("{part:<8}"), run)?;
        counts.add(judged("calibration", succeeded, plain_counts(&lines)));
    }
    Ok(counts)
}

/// Runs the harness of `profile` against the server of the same.
fn against_ours(profile: &str, plan: &Plan, args: &[String]) -> Outcome<Counts> {
    let server = target().join(profile).join("throng");
    let harness_program = target().join(profile).join("throng-harness");
    fs::create_dir_all(target().join("artifacts"))?;
    let nodes = Nodes::start(&server, plan)?;
    let targets = nodes.urls.join(",");
    let Plan { name, nodes: count, shards, redis, quick, unlimited, abused, restarted: _ } = plan;
    let driver = if *redis { "redis" } else { "table" };
    let heartbeats = if *quick { "quick" } else { "default" };
    let limits = if *unlimited { "no" } else { "default" };
    say(&format!(
        "{name}: {count} node(s), {shards} shard(s), driver {driver}, {heartbeats} heartbeats, {limits} limits: \
         {targets}"
    ));
    let once = |report: &str, args: &[String]| {
        let mut harness = command(&harness_program.to_string_lossy(), &["run", "--target"], ".");
        let report = target().join("artifacts").join(format!("harness-{report}"));
        harness.arg(&targets).arg("--keep-going");
        harness.arg("--junit").arg(report.with_extension("xml"));
        harness.arg("--html").arg(report.with_extension("html"));
        harness.arg("--scripts").arg(target().join("artifacts").join("harness-scripts"));
        if plan.nodes > 1 || plan.restarted {
            harness.arg("--node-command").arg(Nodes::command()).env("NODES", nodes.dir());
        }
        if *abused {
            harness.args(["--abuse", "--server-pid", &nodes.pid()?]);
            if !args.iter().any(|arg| arg == "--filter") {
                harness.args(["--filter", "abuse"]);
            }
        }
        harness.args(args);
        let (succeeded, lines) = run_and_read_as(&format!("{name:<8}"), harness)?;
        Outcome::Ok(judged("harness", succeeded, plain_counts(&lines)))
    };
    let counts = once(name, args)?;
    let Some(failed) = failed_cases(&counts.named) else { return Ok(counts) };
    say(&format!("{name}: {}, once more", failed.join(", ")));
    let again = once(&format!("{name}-again"), &with_filters(args, &failed))?;
    Ok(if again.failed == 0 { counts.passed_again() } else { counts })
}

/// The cases that are worth a second run: a busy machine fails a few. A property that failed has found a script.
fn failed_cases(named: &[String]) -> Option<Vec<String>> {
    const MOST: usize = 5;
    let cases = named.iter().map(|line| {
        let case = line.strip_prefix("FAILED ")?.split(['[', ':']).next()?;
        (case.contains('.') && !case.starts_with("prop.")).then(|| case.to_owned())
    });
    let cases: Vec<String> = cases.collect::<Option<_>>()?;
    (1..=MOST).contains(&cases.len()).then_some(cases)
}

fn with_filters(args: &[String], cases: &[String]) -> Vec<String> {
    let mut rest = args.iter();
    let mut kept = Vec::new();
    while let Some(arg) = rest.next() {
        if arg == "--filter" {
            rest.next();
        } else {
            kept.push(arg.clone());
        }
    }
    kept.extend(cases.iter().flat_map(|case| ["--filter".to_owned(), case.clone()]));
    kept
}

/// `cargo xtask bench`: the micro-benchmarks, or the runs whose results are kept: `peers` and
/// `scale`.
pub fn bench(args: &[String]) -> Outcome {
    let mut bench = match args.split_first() {
        None => {
            let packages = ["--package", "throng-benches", "--package", "throng-core-benches"];
            let mut bench = command("cargo", &["bench"], ".");
            bench.args(packages);
            bench
        }
        Some((name, rest)) if name == "peers" || name == "scale" => {
            setup::for_run()?;
            let flags = ["run", "--release", "--package", "throng-benches", "--bin", name, "--"];
            let mut run = command("cargo", &flags, ".");
            run.args(rest);
            run
        }
        Some((first, [url])) if first == "redis" && url.starts_with("redis") => {
            let package = ["--package", "throng-redis", "--example", "rates", "--"];
            let mut run = command("cargo", &["run", "--release"], ".");
            run.args(package).arg(url);
            run
        }
        Some((first, rest)) if first == "redis" => return bench_redis(rest),
        Some((other, _)) => {
            return Err(Failure::Usage(format!(
                "no bench `{other}`: nothing, peers [ARGS…], scale [ARGS…], redis [ARGS…] or redis URL"
            )));
        }
    };
    bench.stdin(Stdio::inherit());
    finish(bench)
}

/// `cargo xtask bench redis`: with Redis, a database and nodes of its own.
fn bench_redis(args: &[String]) -> Outcome {
    setup::everything()?;
    for (package, kind, name) in [
        ("throng", "--bin", "throng"),
        ("throng-redis", "--example", "rates"),
        ("throng-benches", "--bin", "redis"),
    ] {
        run("cargo", &["build", "--release", "--package", package, kind, name], ".")?;
    }
    let release = target().join("release");
    let server = release.join("throng");
    let two = Nodes::start(&server, &Plan { redis: true, ..plan("bench-2", 2, 1) })?;
    let one = Nodes::start(&server, &Plan { redis: true, ..plan("bench-1", 1, 1) })?;
    let mut bench = command(&release.join("redis").to_string_lossy(), args, ".");
    bench.arg("--nodes").arg(two.urls.join(",")).arg("--node").arg(&one.urls[0]);
    bench.arg("--redis").args(one.redis.as_ref().map(Redis::url));
    bench.arg("--rates").arg(release.join("examples").join("rates"));
    finish(bench)
}

/// `cargo xtask sim`: deterministic simulation of the shards, by hand or for hours.
pub fn sim(args: &[String]) -> Outcome {
    let sim = ["run", "--release", "--package", "throng-sim", "--bin", "sim", "--"];
    let mut run = command("cargo", &sim, ".");
    run.args(args);
    finish(run)
}

#[cfg(test)]
mod tests {
    use super::{failed_cases, with_filters};

    fn owned<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn only_a_few_failed_cases_run_again() {
        let cases =
            ["FAILED a.b[eio4/polling]: expected: x; observed: y", "FAILED c.d: observed: [z]"];
        assert_eq!(failed_cases(&owned(cases)), Some(owned(["a.b", "c.d"])));
        assert_eq!(failed_cases(&[]), None);
        assert_eq!(failed_cases(&owned(["FAILED a.b"; 6])), None);
        assert_eq!(failed_cases(&owned(["FAILED prop.rooms"])), None);
        assert_eq!(failed_cases(&owned(["FAILED harness: the runner itself"])), None);
    }

    #[test]
    fn the_second_run_has_the_same_arguments_but_other_filters() {
        let args = owned(["--jobs", "4", "--filter", "msg", "--filter", "room", "--wait", "15"]);
        let again = owned(["--jobs", "4", "--wait", "15", "--filter", "a.b"]);
        assert_eq!(with_filters(&args, &owned(["a.b"])), again);
    }
}

//! The fuzz targets of `server/wire/fuzz`, decoders and a whole shard, built by the stable compiler and run by libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::counts::Counts;
use crate::pool::two_at_a_time;
use crate::process::{command, finish, line_of, read, root, say, target};
use crate::{Failure, Outcome, setup};

const DIR: &str = "server/wire/fuzz";
/// The target that plays scripts instead of decoding, and the scripts that it begins with.
const SHARD: &str = "shard";
const SCRIPTS: &str = "tests/sim/scripts";
const SECONDS: u64 = 60;
/// For `test`: one minute over all targets, because there are five.
const SECONDS_IN_TEST: u64 = 12;
/// The end of libFuzzer's log that is shown when a target fails.
const LINES_SHOWN: usize = 40;
/// Coverage feedback for libFuzzer, which `cargo fuzz` would switch on the same way; but no
/// sanitizer, which needs a nightly compiler. Assertions and checks of overflow stay on.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// `cargo xtask fuzz [TARGET] [--seconds N] [--canary NAME]`
pub fn fuzz(args: &[String]) -> Outcome {
    let all = targets()?;
    let Plan { chosen, seconds, canary } = parse(args, &all).map_err(Failure::Usage)?;
    setup::for_fuzz()?;
    let program_dir = built()?;
    if let Some(canary) = canary {
        return find_canary(&program_dir, canary, seconds);
    }
    let mut failed = Vec::new();
    for name in chosen {
        if !fuzz_one(&program_dir, name, seconds)? {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!("failed: {}", failed.join(", "))))
}

/// For `test`: every target counts as one.
pub fn in_test() -> Outcome<Counts> {
    let program_dir = built()?;
    let mut counts = Counts::default();
    let one = |name: String| {
        let has_passed = fuzz_one(&program_dir, &name, SECONDS_IN_TEST)?;
        Ok((name, has_passed))
    };
    for (name, has_passed) in two_at_a_time(targets()?, one)? {
        counts.add_one(&name, has_passed);
    }
    Ok(counts)
}

#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    chosen: Vec<&'a String>,
    seconds: u64,
    /// A defect of the shard, which its target must find.
    canary: Option<&'a str>,
}

fn parse<'a>(args: &'a [String], all: &'a [String]) -> Result<Plan<'a>, String> {
    let mut plan = Plan { chosen: Vec::new(), seconds: SECONDS, canary: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let number = args.next().and_then(|number| number.parse().ok());
            let seconds = number.filter(|seconds| *seconds > 0);
            plan.seconds = seconds.ok_or("--seconds needs a number")?;
        } else if arg == "--canary" {
            plan.canary = Some(args.next().ok_or("--canary needs the name of a defect")?);
        } else if let Some(name) = all.iter().find(|name| *name == arg) {
            plan.chosen.push(name);
        } else {
            return Err(format!("no fuzz target `{arg}`: {}", all.join(" ")));
        }
    }
    if plan.chosen.is_empty() {
        plan.chosen.extend(all);
    }
    Ok(plan)
}

/// The target of a shard must find a defect that it is broken with, from an empty corpus on.
fn find_canary(program_dir: &Path, canary: &str, seconds: u64) -> Outcome {
    say(&format!("fuzz {SHARD}, broken by {canary}, {seconds} s at most"));
    let dir = target().join("fuzz").join("canaries").join(canary);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let mut run = command(&program_dir.join(SHARD).to_string_lossy(), &[""; 0], ".");
    run.arg(format!("-max_total_time={seconds}"));
    run.arg(format!("-artifact_prefix={}/", dir.display()));
    run.env("THRONG_CANARY", canary);
    let corpus = dir.join("corpus");
    let seeds = target().join("fuzz").join("seeds").join(SHARD);
    fs::create_dir_all(&corpus)?;
    write_seeds(SHARD, &seeds)?;
    let log = dir.join("log");
    let file = fs::File::create(&log)?;
    let began = std::time::Instant::now();
    let status = run.arg(&corpus).arg(&seeds).stdout(file.try_clone()?).stderr(file).status()?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let panic = text.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    let took = began.elapsed().as_secs();
    match panic {
        Some(panic) if !status.success() => {
            println!("ok     {canary}: found in {took} s: {panic}");
            Ok(())
        }
        _ => Err(Failure::Failed(format!("{canary} was not found: {}", log.display()))),
    }
}

/// The names of the files in `targets/`.
fn targets() -> Outcome<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(root().join(DIR).join("targets"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets into a folder of their own.
pub fn build() -> Outcome<Command> {
    // With a target named, the flags are not for build scripts and macros.
    let mut build =
        command("cargo", &["build", "--release", "--locked", "--target", &host()?], DIR);
    build.env("CARGO_TARGET_DIR", target().join("fuzz"));
    build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    Ok(build)
}

/// Builds all targets and returns where the programs are.
fn built() -> Outcome<PathBuf> {
    say("building the fuzz targets");
    finish(build()?)?;
    Ok(target().join("fuzz").join(host()?).join("release"))
}

fn host() -> Outcome<String> {
    let host = read("rustc", &["--print", "host-tuple"], ".")
        .ok_or_else(|| Failure::Failed("rustc --print host-tuple failed".to_owned()))?;
    Ok(host.trim().to_owned())
}

/// Runs one target. It passes when no input failed and libFuzzer reported coverage.
fn fuzz_one(program_dir: &Path, name: &str, seconds: u64) -> Outcome<bool> {
    say(&format!("fuzz {name}, {seconds} s"));
    let corpus = target().join("fuzz").join("corpus").join(name);
    let seeds = target().join("fuzz").join("seeds").join(name);
    let findings = target().join("artifacts").join("fuzz").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&findings)?;
    write_seeds(name, &seeds)?;
    let time = format!("-max_total_time={seconds}");
    let mut run = command(&program_dir.join(name).to_string_lossy(), &[time], ".");
    run.arg(format!("-artifact_prefix={}/", findings.display()));
    // A slow input is a finding too.
    run.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    run.arg(&corpus).arg(&seeds);
    let line = line_of(&run);
    let log = findings.join("log");
    let file = fs::File::create(&log)?;
    let status = run.stdout(file.try_clone()?).stderr(file).status()?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    if !status.success() {
        println!("{}", lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n"));
        println!("FAILED {name}: the input is in {}; run: {line}", findings.display());
        return Ok(false);
    }
    let covered = |mark: &str| lines.iter().find_map(|line| coverage(line, mark));
    let (Some(before), Some(after)) = (covered("INITED"), covered("DONE")) else {
        println!("FAILED {name}: libFuzzer reported no coverage: {}", log.display());
        return Ok(false);
    };
    println!("ok     {name}: coverage {before} -> {after}; log in {}", log.display());
    Ok(true)
}

/// The number after `cov:` in a line of libFuzzer such as `#2 INITED cov: 17 ft: 17 corp: 1/1b`.
fn coverage(line: &str, mark: &str) -> Option<u64> {
    let mut words = line.split_whitespace().skip_while(|word| *word != mark);
    words.find(|word| *word == "cov:")?;
    words.next()?.parse().ok()
}

/// The golden vectors of the spec, each as a file for the target that decodes its form.
fn write_seeds(name: &str, dir: &Path) -> Outcome {
    fs::create_dir_all(dir)?;
    if name == SHARD {
        for entry in fs::read_dir(root().join(SCRIPTS))? {
            let entry = entry?;
            fs::copy(entry.path(), dir.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let vectors = root().join("protocol-spec").join("vectors");
    let mut number = 0;
    for entry in fs::read_dir(vectors)? {
        for line in fs::read_to_string(entry?.path())?.lines() {
            let vector: Value =
                serde_json::from_str(line).map_err(|error| Failure::Failed(error.to_string()))?;
            if let Some(seed) = seed(name, &vector) {
                fs::write(dir.join(number.to_string()), seed)?;
                number += 1;
            }
        }
    }
    Ok(())
}

fn seed(name: &str, vector: &Value) -> Option<Vec<u8>> {
    let form = vector["form"].as_str()?;
    let start: &[u8] = match (name, form) {
        // The first byte says how the rest is cut.
        ("ws", "ws-frame") => &[7],
        ("eio", "frame-text" | "frame-binary" | "payload-text" | "payload-binary") => &[],
        ("eio", "jsonp-post") | ("http", "http") | ("sio", "sio") => &[],
        _ => return None,
    };
    let bytes = match (vector["text"].as_str(), vector["bytes"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(hex)) => {
            let digits = hex.as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            digits.map(byte).collect::<Option<_>>()?
        }
        _ => return None,
    };
    Some([start, &bytes].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Plan, coverage, parse, seed, targets};

    #[test]
    fn coverage_is_read_from_libfuzzer() {
        let line = "#2\tINITED cov: 17 ft: 18 corp: 1/1b exec/s: 0 rss: 27Mb";
        assert_eq!(coverage(line, "INITED"), Some(17));
        assert_eq!(coverage(line, "DONE"), None);
    }

    #[test]
    fn arguments_name_targets_and_seconds() {
        let all = ["eio", "ws"].map(str::to_owned);
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let plan = |chosen, seconds, canary| Ok(Plan { chosen, seconds, canary });
        assert_eq!(parse(&[], &all), plan(all.iter().collect(), 60, None));
        assert_eq!(parse(&args("ws --seconds 5"), &all), plan(vec![&all[1]], 5, None));
        let all_of_them = all.iter().collect();
        assert_eq!(
            parse(&args("--canary KeepPoll"), &all),
            plan(all_of_them, 60, Some("KeepPoll"))
        );
        assert!(parse(&args("gone"), &all).is_err());
        assert!(parse(&args("ws --seconds 0"), &all).is_err());
    }

    #[test]
    fn vectors_become_seeds_of_the_target_that_decodes_them() {
        let frame = json!({"form": "ws-frame", "bytes": "8105"});
        assert_eq!(seed("ws", &frame), Some(vec![7, 0x81, 0x05]));
        assert_eq!(seed("http", &frame), None);
        let payload = json!({"form": "payload-text", "text": "1:6"});
        assert_eq!(seed("eio", &payload), Some(b"1:6".to_vec()));
        assert_eq!(seed("sio", &payload), None);
    }

    #[test]
    fn every_target_is_found() {
        let all = ["eio", "http", "shard", "sio", "ws"];
        assert_eq!(targets().ok(), Some(all.map(str::to_owned).to_vec()));
    }
}

//! A small server to be measured, a proxy that spoils what passes, and a way to run the binary.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod brokers;
pub mod proxy;
pub mod server;
pub mod tls;

use std::path::PathBuf;

use serde_json::Value;
use throng_kit::Program;

pub struct Outcome {
    pub code: i32,
    pub report: Value,
    pub summary: String,
}

impl Outcome {
    #[track_caller]
    pub fn number(&self, field: &str) -> f64 {
        let value = field.split('.').fold(&self.report, |value, key| &value[key]);
        value.as_f64().unwrap_or_else(|| panic!("{field} is {value} in\n{}", self.summary))
    }
}

/// Bounds that let a run on a busy build machine count: these tests are about what is counted.
pub const LENIENT: &str =
    "[distrust]\nbusy_max = 2.0\nstarved_max = 2.0\nlag_p99_max_ms = 60000.0\n";

/// Runs `throng-loadgen run` with a scenario given as TOML; no target: the scenario names its own.
pub fn run(target: &str, scenario: &str, flags: &[&str]) -> Outcome {
    run_as(None, target, scenario, flags)
}

/// The same, started through another program such as `nice -n 19`.
pub fn run_as(
    wrapper: Option<(Program, &[&str])>,
    target: &str,
    scenario: &str,
    flags: &[&str],
) -> Outcome {
    // The drain ends when nothing is owed; a busy machine must not look like loss before that.
    let longer = if scenario.contains("drain_s") { "" } else { "drain_s = 60.0\n" };
    let folder = scratch();
    let file = folder.join("scenario.toml");
    std::fs::write(&file, format!("{longer}{scenario}")).unwrap();
    let json = folder.join("report.json");
    let tool = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
    let mut command = match wrapper {
        Some((program, options)) => throng_kit::programs::through(program, options, &tool),
        None => tool,
    };
    command.arg("run").arg(&file).args(["--quiet", "--json"]).arg(&json);
    if !target.is_empty() {
        command.args(["--target", target]);
    }
    let output = command.args(flags).output().unwrap();
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("no report:\n{summary}"));
    Outcome {
        code: output.status.code().unwrap(),
        report: serde_json::from_str(&text).unwrap(),
        summary,
    }
}

/// A folder of this test alone, below the build's own temporary folder.
pub fn scratch() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("run-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

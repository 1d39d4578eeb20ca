//! What a delivery costs the core, in instructions: the same on every machine, so that a slower hot
//! path fails a test instead of waiting for a quiet machine to notice. And how long the largest inputs hold a
//! shard, which is a time: the best of many runs, since other programs only make a run longer.

use std::process::Command;

use crate::counts::{Counts, judged};
use crate::process::{command, finish, run_and_read, say, target};
use crate::{Failure, Outcome, setup};

/// Share by which a count may exceed its budget: compilers and libraries differ a little.
const TOLERANCE: f64 = 0.10;

/// One load, and what a delivery of it may cost.
struct Load {
    name: &'static str,
    members: u64,
    publishes_per_turn: u64,
    turns: u64,
    /// Instructions per delivery as measured when the budget was last set.
    budget: f64,
}

const LOADS: &[Load] = &[
    Load {
        name: "one publish a turn, 10 members",
        members: 10,
        publishes_per_turn: 1,
        turns: 1000,
        budget: 1489.0,
    },
    Load {
        name: "one publish a turn, 100 members",
        members: 100,
        publishes_per_turn: 1,
        turns: 200,
        budget: 274.0,
    },
    Load {
        name: "one publish a turn, 1000 members",
        members: 1000,
        publishes_per_turn: 1,
        turns: 100,
        budget: 152.0,
    },
    Load {
        name: "64 publishes a turn, 1000 members",
        members: 1000,
        publishes_per_turn: 64,
        turns: 20,
        budget: 13.1,
    },
];

/// `cargo xtask instructions`: counts, and compares with the budgets.
pub fn instructions() -> Outcome {
    setup::for_instructions()?;
    let counts = in_test()?;
    if counts.failed > 0 {
        return Err(Failure::Failed(format!("{} over budget or too long", counts.failed)));
    }
    Ok(())
}

/// The command that builds the programs whose instructions are counted and whose steps are timed.
pub fn build() -> Outcome<Command> {
    let build = ["build", "--release", "--package", "throng-core-benches", "--examples"];
    Ok(command("cargo", &build, "."))
}

pub fn in_test() -> Outcome<Counts> {
    finish(build()?)?;
    let mut counts = longest_steps()?;
    say("instructions per delivery, in the core");
    for load in LOADS {
        let cost = cost(load)?;
        let most = load.budget * (1.0 + TOLERANCE);
        let is_within = cost <= most;
        let mark = if is_within { "ok    " } else { "FAILED" };
        println!("{mark} {}: {cost:.1}, budget {:.1} + 10 %", load.name, load.budget);
        if cost < load.budget * (1.0 - TOLERANCE) {
            println!("       cheaper than it was: lower the budget in ci/src/instructions.rs");
        }
        counts.add_one(load.name, is_within);
    }
    Ok(counts)
}

/// One line for each input, `ok` or `SLOW` (benches/core/longest_step.rs).
fn longest_steps() -> Outcome<Counts> {
    say("the longest turn that one input causes: at most 5 ms in the best of 30 runs");
    let program = target().join("release/examples/longest_step");
    let (succeeded, lines) = run_and_read(command(&program.to_string_lossy(), &[""; 0], "."))?;
    let mut counts = Counts::default();
    for line in &lines {
        if line.starts_with("ok ") {
            counts.add_one(line, true);
        } else if let Some(input) = line.strip_prefix("SLOW ") {
            counts.add_one(input.trim(), false);
        }
    }
    Ok(judged("longest_step", succeeded, counts))
}

/// The difference between a long run and a short one: filling the room drops out.
fn cost(load: &Load) -> Outcome<f64> {
    let short = collected(load, load.turns)?;
    let long = collected(load, load.turns * 2)?;
    let deliveries = load.members * load.publishes_per_turn * load.turns;
    Ok((long - short) as f64 / deliveries as f64)
}

fn collected(load: &Load, turns: u64) -> Outcome<u64> {
    let program = target().join("release/examples/delivery");
    let numbers = [load.members, load.publishes_per_turn, turns].map(|number| number.to_string());
    let mut count =
        command("valgrind", &["--tool=callgrind", "--callgrind-out-file=/dev/null"], ".");
    count.arg(program).args(numbers);
    let (succeeded, lines) = run_and_read(count)?;
    let found = lines.iter().find_map(|line| line.split_once("Collected : "));
    let count = found.and_then(|(_, count)| count.trim().parse().ok());
    match count {
        Some(count) if succeeded => Ok(count),
        _ => Err(Failure::Failed(format!("valgrind counted nothing: {}", lines.join("\n")))),
    }
}

//! Property tests: random scripts of many clients against a small model of the chat.
//!
//! A script is data: the same seed makes the same scripts, a failing one shrinks to a short one,
//! and what is saved can be replayed against any server.

mod actors;
mod check;
mod model;
mod play;
pub mod script;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::capabilities::{CHAT_OF_NEW_USERS, NODE_COMMAND_OF_NEW_USERS};
use crate::case::cases;
use crate::client::transcript::Line;
use crate::combo::NONE;
use crate::context::Context;
use crate::outcome::{Outcome, Stop};
use crate::run::Run;
use script::{Profile, Script};

pub use play::play;

/// What a script violated: the clause, what was expected and what was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub clause: &'static str,
    pub expected: String,
    pub observed: String,
    /// The step after which it was seen; `None` for the final state.
    pub step: Option<usize>,
}

/// Why a script failed, or could not be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    Violation(Violation),
    Harness(String),
}

pub type Play<T> = Result<T, Broken>;

/// Time for the state to become correct at rest: far above the bound of PRES-51 for rooms of this
/// size, because the machine may be busy.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(4);
/// The same while a failing script is shrunk, where most attempts fail by waiting.
const SHRINKING_TIMEOUT: Duration = Duration::from_millis(1_000);
const SHRINKING: Duration = Duration::from_secs(30);

const EVERYTHING: [&str; 42] = [
    "CHAT-25", "CHAT-36", "CHAT-51", "CHAT-52", "CHAT-53", "CHAT-60", "CHAT-61", "CHAT-62",
    "CHAT-64", "CHAT-69", "CHAT-71", "CHAT-72", "CHAT-80", "PRES-4", "PRES-12", "PRES-15",
    "PRES-20", "PRES-21", "PRES-24", "PRES-32", "PRES-35", "PRES-41", "SIO-40", "UNR-2", "UNR-4",
    "UNR-5", "UNR-15", "CHAT-5", "CHAT-28", "EIO-40", "EIO-74", "CHAT-84", "CHAT-101", "CHAT-102",
    "PRES-2", "PRES-14", "PRES-33", "CHAT-37", "CHAT-38", "CHAT-40", "CHAT-49", "CHAT-54",
];

cases! {
    chat "prop.chat" EVERYTHING over NONE needs CHAT_OF_NEW_USERS
        does "plays random joins, leaves, messages and bursts of several users with several sessions"
        expects "each client gets what the model says and nothing else; rosters, unread numbers and acks are exact at rest";
    faults "prop.faults" EVERYTHING over NONE needs CHAT_OF_NEW_USERS
        does "plays the same with FIN, RST, silence, 41, reconnects, upgrades, malformed packets and bad tokens"
        expects "as without faults: no ghost, no gap, no duplicate, nothing outside a membership";
    crowds "prop.crowds" EVERYTHING over NONE needs CHAT_OF_NEW_USERS
        does "plays messages, joins and leaves of all members of a room at the same time"
        expects "one order for all members, and correct rosters at rest";
    nodes "prop.nodes" ["NODE-1", "NODE-5", "NODE-20", "NODE-21", "NODE-22", "CHAT-60", "CHAT-61", "UNR-15"] over NONE needs NODE_COMMAND_OF_NEW_USERS
        does "plays the same on all nodes of the target, which are killed and started meanwhile"
        expects "as the model says: the sessions of a dead node end, everything else continues";
}

fn chat(context: &Context) -> Outcome {
    search(context, Profile::Chat)
}

fn faults(context: &Context) -> Outcome {
    search(context, Profile::Faults)
}

fn crowds(context: &Context) -> Outcome {
    search(context, Profile::Crowds)
}

/// Each kill waits for a lease, so only a few scripts are played.
fn nodes(context: &Context) -> Outcome {
    search(context, Profile::Nodes)
}

/// The generator of a profile, seeded by the seed of the run and the number of the profile.
pub fn runner(seed: u64, profile: Profile, cases: u32) -> TestRunner {
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8] = profile as u8;
    // Scripts shrink by `shrink` below, which knows that steps are independent of each other.
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn search(context: &Context, profile: Profile) -> Outcome {
    let run = context.run.clone();
    let last: RefCell<Option<(Broken, Vec<Line>)>> = RefCell::new(None);
    let holds = |script: &Script, timeout: Duration, soak: Duration| {
        let (outcome, lines) = attempt(context, script, timeout, soak);
        let holds = outcome.is_ok();
        if let Err(broken) = outcome {
            *last.borrow_mut() = Some((broken, lines));
        }
        holds
    };
    let cases = match profile {
        Profile::Nodes => run.cases.div_ceil(4),
        Profile::Chat | Profile::Faults | Profile::Crowds => run.cases,
    };
    // What the first script leads to must last.
    let soak = Cell::new(run.soak);
    let found = runner(run.seed, profile, cases).run(&script::strategy(profile), |script| {
        if !holds(&script, SETTLE_TIMEOUT, soak.get()) {
            return Err(TestCaseError::fail("broken"));
        }
        soak.set(Duration::ZERO);
        Ok(())
    });
    let script = match found {
        Ok(()) => return Ok(()),
        Err(TestError::Abort(why)) => return Err(Stop::Error(why.to_string())),
        Err(TestError::Fail(_, script)) => script,
    };
    if !holds(&script, SETTLE_TIMEOUT, Duration::ZERO) {
        soak.set(Duration::ZERO);
    }
    let soak = soak.get();
    let script = shrink(script, |shorter| !holds(shorter, SHRINKING_TIMEOUT, soak));
    // The last failure may be that of another script: play the shortest one again.
    let _ = (0..3).any(|_| !holds(&script, SETTLE_TIMEOUT, soak));
    let Some((broken, lines)) = last.into_inner() else {
        return Err(Stop::Error("a failure without a cause".to_owned()));
    };
    context.transcript.absorb(lines);
    for (index, step) in script.steps.iter().enumerate() {
        context.step(format!("{index}: {step}"));
    }
    context.step(save(&run, profile, &script, soak));
    Err(stop(&run, profile, broken))
}

/// Removes steps, large parts first, as long as the script still fails.
fn shrink(mut script: Script, fails: impl Fn(&Script) -> bool) -> Script {
    let deadline = Instant::now() + SHRINKING;
    let mut part = script.steps.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        let mut shorter_by_any = false;
        while from < script.steps.len() && Instant::now() < deadline {
            let mut shorter = script.clone();
            let to = (from + part).min(shorter.steps.len());
            shorter.steps.drain(from..to);
            if fails(&shorter) {
                script = shorter;
                shorter_by_any = true;
            } else {
                from += part;
            }
        }
        if part == 1 && !shorter_by_any || Instant::now() >= deadline {
            break;
        }
        part = if part == 1 { 1 } else { part.div_ceil(2) };
    }
    script
}

/// Plays the script with rooms of its own, and users that no other case has at the same time.
fn attempt(
    case: &Context,
    script: &Script,
    timeout: Duration,
    soak: Duration,
) -> (Play<()>, Vec<Line>) {
    let context = Context::new(case.run.clone(), case.combo);
    let outcome = play(&context, script, timeout, soak);
    case.transcript.note_pause(context.transcript.paused());
    (outcome, context.transcript.lines())
}

fn stop(run: &Run, profile: Profile, broken: Broken) -> Stop {
    match broken {
        Broken::Harness(why) => Stop::Error(why),
        Broken::Violation(violation) => {
            let place = match violation.step {
                Some(step) => format!("at step {step}"),
                None => "at rest".to_owned(),
            };
            Stop::Fail {
                expected: format!("{}: {}", violation.clause, violation.expected),
                observed: format!(
                    "{} ({place}; again with --filter prop.{} --seed {} --cases {})",
                    violation.observed,
                    profile.name(),
                    run.seed,
                    run.cases
                ),
            }
        }
    }
}

/// Saves the script for `replay`; the returned sentence goes into the report.
fn save(run: &Run, profile: Profile, script: &Script, soak: Duration) -> String {
    let Some(dir) = &run.scripts else {
        return "the script was not saved".to_owned();
    };
    let path = dir.join(format!("{}-{}.json", profile.name(), run.seed));
    let text = serde_json::to_string_pretty(script).unwrap_or_default();
    match std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text)) {
        Ok(()) => {
            let soak = match soak.as_secs_f64() {
                0.0 => String::new(),
                seconds => format!("--soak {seconds} "),
            };
            format!("replay with: throng-harness replay --target … {soak}{}", path.display())
        }
        Err(why) => format!("the script could not be saved: {why}"),
    }
}

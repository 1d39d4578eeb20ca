//! Property tests: random scripts of many clients against a small model of the chat.
//!
//! A script is data: the same seed makes the same scripts, a failing one shrinks to a short one,
//! and what is saved can be replayed against any server.

mod actors;
mod check;
mod model;
mod play;
pub mod script;

use std::cell::RefCell;
use std::sync::Arc;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::case::{Case, NONE, Need, Outcome, Stop, case};
use crate::client::transcript::Line;
use crate::context::{Context, Run};
use script::{Profile, Script};

pub use play::play;

/// What a script broke: the clause, and the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub clause: &'static str,
    pub expected: String,
    pub observed: String,
    /// The step at which it showed; none for what showed at rest.
    pub step: Option<usize>,
}

/// Why a script did not hold, or could not be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    Violation(Violation),
    Harness(String),
}

pub type Play<T> = Result<T, Broken>;

const EVERYTHING: &[&str] = &[
    "CHAT-25", "CHAT-36", "CHAT-51", "CHAT-52", "CHAT-53", "CHAT-60", "CHAT-61", "CHAT-62", "CHAT-64",
    "CHAT-69", "CHAT-71", "CHAT-72", "CHAT-80", "PRES-4", "PRES-12", "PRES-15", "PRES-20", "PRES-21",
    "PRES-24", "PRES-32", "PRES-35", "PRES-41", "SIO-40", "UNR-2", "UNR-4", "UNR-5", "UNR-15", "CHAT-5",
    "CHAT-28", "EIO-40", "EIO-74", "CHAT-84",
];

pub const CASES: &[Case] = &[
    case(
        "prop.chat",
        EVERYTHING,
        NONE,
        &[Need::Chat],
        (
            "random joins, leaves, repeats, messages and bursts of several users with several tabs",
            "each client sees what the model says it must and nothing else; rosters, unread numbers and acks are exact at rest",
        ),
        chat,
    ),
    case(
        "prop.faults",
        EVERYTHING,
        NONE,
        &[Need::Chat],
        (
            "the same with FIN, RST, silence, 41, reconnects, upgrades, malformed packets and bad tokens",
            "the same: no ghost, no gap, no duplicate, nothing outside membership",
        ),
        faults,
    ),
    case(
        "prop.crowds",
        EVERYTHING,
        NONE,
        &[Need::Chat],
        (
            "everybody in a room talking, leaving and joining at the same moment, again and again",
            "one order for all; rosters that end right",
        ),
        crowds,
    ),
];

fn chat(context: &Context) -> Outcome {
    search(context, Profile::Chat)
}

fn faults(context: &Context) -> Outcome {
    search(context, Profile::Faults)
}

fn crowds(context: &Context) -> Outcome {
    search(context, Profile::Crowds)
}

/// The generator of a profile: its seed is that of the run and the profile's own number.
pub fn runner(seed: u64, profile: Profile, cases: u32) -> TestRunner {
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8] = profile as u8;
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 120,
        max_shrink_time: 25_000,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn search(context: &Context, profile: Profile) -> Outcome {
    let run = context.run.clone();
    let last: RefCell<Option<(Broken, Vec<Line>)>> = RefCell::new(None);
    let found = runner(run.seed, profile, run.cases).run(&script::strategy(profile), |script| {
        let (outcome, lines) = attempt(&run, &script);
        match outcome {
            Ok(()) => Ok(()),
            Err(broken) => {
                *last.borrow_mut() = Some((broken, lines));
                Err(TestCaseError::fail("broken"))
            }
        }
    });
    let script = match found {
        Ok(()) => return Ok(()),
        Err(TestError::Abort(why)) => return Err(Stop::Error(why.to_string())),
        Err(TestError::Fail(_, script)) => script,
    };
    // The last failure seen need not be that of the shortest script: play it again.
    let again = (0..3).map(|_| attempt(&run, &script)).find(|(outcome, _)| outcome.is_err());
    let (broken, lines) = match again {
        Some((Err(broken), lines)) => (broken, lines),
        _ => match last.into_inner() {
            Some(found) => found,
            None => return Err(Stop::Error("a failure without a cause".to_owned())),
        },
    };
    context.transcript.absorb(lines);
    for (index, step) in script.steps.iter().enumerate() {
        context.step(format!("{index}: {step}"));
    }
    context.step(save(&run, profile, &script));
    Err(stop(&run, profile, broken))
}

fn attempt(run: &Arc<Run>, script: &Script) -> (Play<()>, Vec<Line>) {
    let combo = run.capabilities.preferred().unwrap_or(crate::case::E4W);
    let context = Context::new(run.clone(), combo);
    let outcome = play(&context, script);
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

/// Writes the script where `replay` finds it; the sentence goes into the report.
fn save(run: &Run, profile: Profile, script: &Script) -> String {
    let Some(dir) = &run.scripts else {
        return "the script was not saved".to_owned();
    };
    let path = dir.join(format!("{}-{}.json", profile.name(), run.seed));
    let text = serde_json::to_string_pretty(script).unwrap_or_default();
    match std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text)) {
        Ok(()) => format!("replay with: throng-harness replay --target … {}", path.display()),
        Err(why) => format!("the script could not be saved: {why}"),
    }
}

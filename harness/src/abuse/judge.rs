//! One case: the others at rest, the others while the target is abused, and what the target needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::attack::{Attack, Setting, Tally};
use super::input::Input;
use super::others::{Others, Talk, Way};
use super::plan::Plan;
use super::process::Process;
use crate::context::Context;
use crate::outcome::{Outcome, Stop, fail, skip};

/// LIM-80.
const MEMORY_MAX: u64 = 64_000_000;
const IDLE_WITHIN: Duration = Duration::from_secs(5);
const IDLE_SHARE_MAX: f64 = 0.05;
/// A latency that is too long so many times is the target's.
const ROUNDS: usize = 3;
/// A later rest counts as at most so many times the first: the abuse may still be at work in it.
const SLOWER_REST_MAX: u32 = 3;
/// Of the target if it does not say.
const MAX_PAYLOAD: u64 = 1_000_000;

/// A bound that did not hold.
enum Finding {
    /// Of a latency, which the machine may have caused: it is measured once more.
    Late(String),
    Other(String),
}

/// Abuses the first target with this input.
pub fn judge(context: &Context, input: &Input) -> Outcome {
    let Some(plan) = context.run.abuse.clone() else {
        return skip("the target is abused only with --abuse");
    };
    let others = Others::join(context, &plan)?;
    let mut rests = Vec::new();
    let mut findings = round(context, &plan, input, &others, &mut rests)?;
    let is_late = |finding: &Finding| matches!(finding, Finding::Late(_));
    for _ in 1..ROUNDS {
        if findings.is_empty() || !findings.iter().all(is_late) {
            break;
        }
        context.step("measured once more");
        findings = round(context, &plan, input, &others, &mut rests)?;
    }
    if findings.is_empty() {
        return Ok(());
    }
    let text = |finding: &Finding| match finding {
        Finding::Late(text) | Finding::Other(text) => text.clone(),
    };
    fail("", findings.iter().map(text).collect::<Vec<_>>().join("; "))
}

fn round(
    context: &Context,
    plan: &Plan,
    input: &Input,
    others: &Others,
    rests: &mut Vec<Talk>,
) -> Result<Vec<Finding>, Stop> {
    let broken = |why: String| Stop::Error(why);
    let rest = others.talk("rest", plan.rest_time())?;
    if rest.missing > 0 || !rest.refused.is_empty() {
        return Err(Stop::Error(format!("the others fail at rest: {}", completeness(&rest))));
    }
    let process = plan.server_pid.map(Process::new);
    let before = process.map(Process::memory).transpose().map_err(broken)?;
    let stopped = &AtomicBool::new(false);
    let attack = Attack::start(input, setting(context, plan)?);
    let (during, share, peak) = thread::scope(|scope| {
        let peak = process.map(|process| scope.spawn(move || process.peak_memory(stopped)));
        let during = others.talk("abuse", plan.time);
        attack.stop();
        let share = process.map(|process| process.idle_share(IDLE_WITHIN, IDLE_SHARE_MAX));
        stopped.store(true, Ordering::Relaxed);
        (during, share, peak.map(|peak| peak.join().expect("reading a file does not panic")))
    });
    let (during, tally) = (during?, attack.tally());
    drop(attack);
    let ended = others.ended();
    if tally.opened == 0 {
        return skip("the target refused every connection of the abuse");
    }
    let mut findings = Vec::new();
    report(context, &rest, &during, &tally);
    if during.missing + during.doubled + during.out_of_order > 0 || !during.refused.is_empty() {
        findings.push(Finding::Other(completeness(&during)));
    }
    if !ended.is_empty() {
        let text = format!("{} sessions of others ended: {}", ended.len(), ended.join(", "));
        findings.push(Finding::Other(text));
    }
    rests.push(rest);
    if late(plan, rests, &during).next().is_some() {
        // The machine may have become slower meanwhile.
        rests.push(others.talk("rest again", plan.rest_time())?);
        findings.extend(late(plan, rests, &during));
    }
    let peak = peak.transpose().map_err(broken)?;
    if let (Some(before), Some(peak)) = (before, peak) {
        let grown = peak.saturating_sub(before);
        let text = format!("memory +{:.1} MB from {:.1} MB", megabytes(grown), megabytes(before));
        context.step(text.as_str());
        if grown > MEMORY_MAX {
            findings.push(Finding::Other(text));
        }
    }
    if let Some(share) = share.transpose().map_err(broken)? {
        let text = format!("{:.1} % of a core after the abuse stopped", share * 100.0);
        context.step(text.as_str());
        if share > IDLE_SHARE_MAX {
            findings.push(Finding::Other(text));
        }
    }
    Ok(findings)
}

fn setting(context: &Context, plan: &Plan) -> Result<Setting, Stop> {
    let users = context.run.others.lock().expect("no case panics while it registers");
    let first = users.first().ok_or_else(|| Stop::Error("nobody watches".to_owned()))?;
    Ok(Setting {
        target: context.run.nodes[0].clone(),
        protocol: context.combo.protocol,
        max_payload: context.capabilities().max_payload.unwrap_or(MAX_PAYLOAD) as usize,
        email: first.email.clone(),
        connections: plan.connections,
        block: context.run.next_attack(),
    })
}

/// Latencies above what they may be after the slowest of the rests so far.
fn late<'a>(
    plan: &'a Plan,
    rests: &'a [Talk],
    during: &'a Talk,
) -> impl Iterator<Item = Finding> + 'a {
    Way::ALL.into_iter().filter_map(|way| {
        let first = rests.first()?.latency(way)?;
        let slowest = rests.iter().max_by_key(|rest| rest.latency(way))?;
        let was = slowest.latency(way)?.min(first * SLOWER_REST_MAX);
        let is = during.latency(way)?;
        let machine = during.machine(way).saturating_sub(slowest.machine(way));
        let bound = (2 * was).max(plan.slack) + machine;
        let text = || {
            let bound = milliseconds(bound);
            format!("{}, at most {bound} allowed", compared(slowest, during, way))
        };
        (is > bound).then(|| Finding::Late(text()))
    })
}

fn report(context: &Context, rest: &Talk, during: &Talk, tally: &Tally) {
    let Tally { opened, refused, ended, bytes } = tally;
    context.step(format!(
        "{opened} connections of the abuse opened, {refused} refused, {ended} ended by the server, \
         {:.1} MB sent",
        megabytes(*bytes)
    ));
    let ways = Way::ALL.iter().filter(|way| during.latency(**way).is_some());
    let ways: Vec<String> = ways.map(|way| compared(rest, during, *way)).collect();
    context.step(ways.join("; "));
}

fn compared(rest: &Talk, during: &Talk, way: Way) -> String {
    let shown = |time: Option<Duration>| time.map_or("none".to_owned(), milliseconds);
    format!(
        "p{:.0} {} {} (at rest {}; machine {} and {})",
        way.quantile() * 100.0,
        way.name(),
        shown(during.latency(way)),
        shown(rest.latency(way)),
        milliseconds(during.machine(way)),
        milliseconds(rest.machine(way)),
    )
}

fn completeness(talk: &Talk) -> String {
    let Talk { expected, missing, doubled, out_of_order, refused, .. } = talk;
    let mut text = format!(
        "of {expected} deliveries {missing} are missing, {doubled} came twice, {out_of_order} out of order"
    );
    for why in refused {
        text.push_str(&format!("; a message {why}"));
    }
    text
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

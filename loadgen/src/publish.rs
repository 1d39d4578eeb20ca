//! The publishers of one thread: when each sends its next message.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::alarm::Alarm;
use crate::arrivals::{Arrivals, Schedule};
use crate::client::{Client, refill};
use crate::clock::{nanos, now_ns};
use crate::context::Context;
use crate::session::State;
use crate::shared::Stage;

/// Open loop: sends each message when it is due, whatever became of the others.
///
/// # Errors
/// The timer cannot be set.
pub async fn open_loop(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>) -> anyhow::Result<()> {
    let publishers: Vec<_> = clients.iter().filter(|client| client.is_publisher).collect();
    if publishers.is_empty() {
        return Ok(());
    }
    let scenario = &context.shared.scenario;
    let share = publishers.len() as f64 / scenario.publishers as f64;
    let mut segments = scenario.segments();
    for segment in &mut segments {
        segment.rate_from *= share;
        segment.rate_to *= share;
    }
    let first = (context.thread + 1) as f64 / (scenario.threads + 1) as f64;
    let rng = SmallRng::seed_from_u64(scenario.seed.wrapping_add(context.thread as u64));
    let mut pick = SmallRng::seed_from_u64(scenario.seed ^ 0xd1b5 ^ (context.thread as u64) << 32);
    let schedule = Schedule::new(segments, scenario.load.arrivals, first, rng);
    let start_ns = context.shared.times.start_ns.load(Ordering::Acquire);
    let alarm = Alarm::new()?;
    let mut dirty: Vec<usize> = Vec::new();
    for (k, at_s) in schedule.enumerate() {
        let due_ns = start_ns + nanos(at_s);
        context.next_due_ns.set(due_ns);
        if now_ns() < due_ns {
            flush_all(&context, &publishers, &mut dirty);
            alarm.until(due_ns).await?;
        }
        // A generator that is behind at the end still sends what was due.
        if context.is_over() || !context.shared.times.is_before_stop(due_ns) {
            break;
        }
        let at = match scenario.load.arrivals {
            Arrivals::Constant => k % publishers.len(),
            Arrivals::Poisson => rand::Rng::random_range(&mut pick, 0..publishers.len()),
        };
        {
            let mut local = context.local.borrow_mut();
            let mut turn = context.turn(&mut local);
            publishers[at].session.borrow_mut().publish(&mut turn, due_ns);
        }
        if !dirty.contains(&at) {
            dirty.push(at);
        }
        // A generator that is behind must still read, or it would measure itself.
        if dirty.len() >= 64 {
            flush_all(&context, &publishers, &mut dirty);
            monoio::time::sleep(Duration::ZERO).await;
        }
    }
    flush_all(&context, &publishers, &mut dirty);
    context.next_due_ns.set(u64::MAX);
    Ok(())
}

fn flush_all(context: &Rc<Context>, publishers: &[&Rc<Client>], dirty: &mut Vec<usize>) {
    for at in dirty.drain(..) {
        let client = publishers[at];
        client.flush(context, &mut client.session.borrow_mut());
    }
}

/// Starts the loop, and restarts publishers whose messages were lost or whose connection was.
pub async fn closed_loop(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>) {
    let start_ns = context.shared.times.start_ns.load(Ordering::Acquire);
    let timeout_ns = context.shared.scenario.load.completion_timeout_ms * 1_000_000;
    let wait_ns = start_ns.saturating_sub(now_ns());
    monoio::time::sleep(Duration::from_nanos(wait_ns + 1_000_000)).await;
    while context.shared.stage() == Stage::Running {
        for client in clients.iter().filter(|client| client.is_publisher) {
            let mut session = client.session.borrow_mut();
            if session.state != State::Joined {
                continue;
            }
            if let Some(publisher) = &mut session.publisher {
                let given_up = publisher.give_up(now_ns().saturating_sub(timeout_ns));
                context.local.borrow_mut().stats.counters.timed_out += given_up;
            }
            refill(&context, &mut session);
            client.flush(&context, &mut session);
        }
        monoio::time::sleep(Duration::from_millis(20)).await;
    }
}

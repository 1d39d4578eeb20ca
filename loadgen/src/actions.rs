//! What phases do to the clients: more of them, churn, reconnect storms, slow readers.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::alarm::Alarm;
use crate::client::Client;
use crate::clock::{nanos, now_ns};
use crate::context::Context;
use crate::life;
use crate::phase::{Kind, Phase};
use crate::session::State;
use crate::shared::Stage;

/// Follows the timeline until the run ends.
pub async fn run(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>) -> anyhow::Result<()> {
    let scenario = &context.shared.scenario;
    let seed = scenario.seed.wrapping_mul(31).wrapping_add(context.thread as u64);
    let mut rng = SmallRng::seed_from_u64(seed);
    let alarm = Alarm::new()?;
    let mut start_ns = context.shared.times.start_ns.load(Ordering::Acquire);
    for phase in scenario.timeline() {
        alarm.until(start_ns).await?;
        if context.shared.stage() != Stage::Running {
            break;
        }
        let end_ns = start_ns + nanos(phase.duration_s);
        act(&context, &clients, &phase, (start_ns, end_ns), &alarm, &mut rng).await?;
        alarm.until(end_ns).await?;
        for client in clients.iter() {
            client.slow.set(None);
        }
        start_ns = end_ns;
        if context.shared.stage() != Stage::Running {
            break;
        }
    }
    Ok(())
}

async fn act(
    context: &Rc<Context>,
    clients: &[Rc<Client>],
    phase: &Phase,
    span_ns: (u64, u64),
    alarm: &Alarm,
    rng: &mut SmallRng,
) -> anyhow::Result<()> {
    match phase.kind {
        Kind::Churn => churn(context, clients, phase, span_ns, alarm, rng).await?,
        Kind::Reconnect => reconnect(clients, phase, rng),
        Kind::Slow => {
            for client in chosen(clients, phase.fraction(), rng) {
                client.slow.set(Some(phase.bytes_per_s.unwrap_or(0)));
            }
        }
        Kind::Ramp | Kind::Hold | Kind::Spike => {}
    }
    grow(context, clients, phase, span_ns, alarm).await
}

/// Some of the clients that listen only.
fn chosen<'c>(clients: &'c [Rc<Client>], fraction: f64, rng: &mut SmallRng) -> Vec<&'c Rc<Client>> {
    let mut listeners: Vec<_> =
        clients.iter().filter(|client| !client.is_publisher && client.is_online()).collect();
    listeners.shuffle(rng);
    let count = (listeners.len() as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
    listeners.truncate(count);
    listeners
}

fn reconnect(clients: &[Rc<Client>], phase: &Phase, rng: &mut SmallRng) {
    let over_ns = nanos(phase.over_s.unwrap_or(1.0)).max(1);
    for client in chosen(clients, phase.fraction(), rng) {
        client.comeback_ns.set(Some(now_ns() + rng.random_range(0..over_ns)));
        client.session.borrow_mut().is_parting = true;
        client.hang_up();
    }
}

async fn churn(
    context: &Rc<Context>,
    clients: &[Rc<Client>],
    phase: &Phase,
    (start_ns, end_ns): (u64, u64),
    alarm: &Alarm,
    rng: &mut SmallRng,
) -> anyhow::Result<()> {
    let per_s = phase.per_s.unwrap_or(10.0) / context.shared.scenario.threads as f64;
    let mut listeners: Vec<_> = clients.iter().filter(|client| !client.is_publisher).collect();
    listeners.shuffle(rng);
    let gap_ns = nanos(1.0 / per_s.max(0.001));
    for k in 0u64.. {
        let at_ns = start_ns + gap_ns * k;
        if at_ns >= end_ns || listeners.is_empty() || context.shared.stage() != Stage::Running {
            break;
        }
        alarm.until(at_ns).await?;
        let client = listeners[k as usize % listeners.len()];
        let mut session = client.session.borrow_mut();
        if session.state == State::Joined {
            {
                let mut local = context.local.borrow_mut();
                session.leave_and_return(&context.turn(&mut local));
            }
            client.flush(context, &mut session);
        }
    }
    Ok(())
}

/// Brings the crowd to the phase's size, evenly over the phase.
async fn grow(
    context: &Rc<Context>,
    clients: &[Rc<Client>],
    phase: &Phase,
    (start_ns, end_ns): (u64, u64),
    alarm: &Alarm,
) -> anyhow::Result<()> {
    let Some(target) = phase.clients else { return Ok(()) };
    let new: Vec<_> = clients
        .iter()
        .filter(|client| (client.session.borrow().seat.client as usize) < target)
        .filter(|client| !client.is_started.get())
        .collect();
    let gap_ns = (end_ns - start_ns) / (new.len() as u64 + 1);
    for (k, client) in new.into_iter().enumerate() {
        let due_ns = start_ns + gap_ns * (k as u64 + 1);
        alarm.until(due_ns).await?;
        life::start(context, client, Some(due_ns)).await;
    }
    Ok(())
}

//! One generator thread: a pinned monoio runtime that owns its share of the clients.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::Context as _;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use crate::client::{Client, READ_BYTES};
use crate::clock::{SECOND_NS, now_ns};
use crate::context::Context;
use crate::ended::Ended;
use crate::readiness::Readiness;
use crate::scenario::Mode;
use crate::session::{Local, State};
use crate::shared::{Shared, Stage};
use crate::slots::Slots;
use crate::stats::{Interval, ThreadResult};
use crate::{actions, life, publish};

/// Longest wait for the end of all connections.
const PARTING_NS: u64 = 2 * SECOND_NS;

/// Pins the calling thread to one core.
///
/// # Errors
/// The core does not exist or is not allowed.
pub fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {core}"))
}

/// Runs one thread to the end.
///
/// # Errors
/// The thread cannot be pinned, or the runtime not be started.
pub fn run(
    shared: Arc<Shared>,
    thread: usize,
    intervals: Sender<Interval>,
) -> anyhow::Result<ThreadResult> {
    if let [_, ..] = shared.scenario.cores.as_slice() {
        pin(shared.scenario.cores[thread % shared.scenario.cores.len()])?;
    }
    shared.gauges[thread].thread_id.store(gettid().as_raw(), Ordering::Release);
    // Completions wait for the next system call instead of interrupting: this thread makes many.
    // Kernels before 5.19 do not know the flag.
    let mut uring = io_uring::IoUring::builder();
    uring.setup_coop_taskrun();
    let builder =
        || monoio::RuntimeBuilder::<monoio::FusionDriver>::new().with_entries(4096).enable_timer();
    let mut runtime = builder()
        .uring_builder(uring)
        .build()
        .or_else(|_| builder().build())
        .context("start the runtime")?;
    runtime.block_on(drive(shared, thread, intervals))
}

async fn drive(
    shared: Arc<Shared>,
    thread: usize,
    intervals: Sender<Interval>,
) -> anyhow::Result<ThreadResult> {
    let context = Rc::new(Context {
        slots: Slots::new(shared.scenario.connect.concurrency.max(1)),
        readiness: Readiness::new()?,
        thread,
        buffer: RefCell::new(vec![0; READ_BYTES]),
        local: RefCell::new(Local::default()),
        gone: Cell::new(0),
        next_due_ns: Cell::new(u64::MAX),
        shared,
    });
    let seats = context.shared.plan.seats.iter().filter(|seat| seat.thread == thread);
    let clients: Rc<Vec<Rc<Client>>> =
        Rc::new(seats.map(|seat| Rc::new(Client::new(&context.shared, seat.clone()))).collect());

    monoio::spawn(receive(Rc::clone(&context), Rc::clone(&clients)));
    monoio::spawn(tend(Rc::clone(&context), Rc::clone(&clients), intervals.clone()));
    let initial = context.shared.scenario.clients;
    let now: Vec<_> = clients
        .iter()
        .filter(|client| (client.session.borrow().seat.client as usize) < initial)
        .map(Rc::clone)
        .collect();
    life::connect_all(&context, &now).await?;
    while context.shared.stage() == Stage::Connecting {
        let arrived = now.iter().filter(|c| c.session.borrow().state == State::Joined).count();
        if arrived as u64 + context.gone.get() >= now.len() as u64 {
            store_joins(&context);
            context.shared.gauges[thread].connected.store(true, Ordering::Release);
        }
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    settle(&context, &clients, Stage::Settling).await;
    wrong_views(&context, &clients, true);

    match context.shared.scenario.load.mode {
        Mode::Open => {
            monoio::spawn(publish::open_loop(Rc::clone(&context), Rc::clone(&clients)));
        }
        Mode::Closed => {
            monoio::spawn(publish::closed_loop(Rc::clone(&context), Rc::clone(&clients)));
        }
    }
    monoio::spawn(actions::run(Rc::clone(&context), Rc::clone(&clients)));
    while context.shared.stage() == Stage::Running {
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    let is_overdue = || {
        let due_ns = context.next_due_ns.get();
        due_ns != u64::MAX && context.shared.times.is_before_stop(due_ns) && !context.is_over()
    };
    while is_overdue() {
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
    settle(&context, &clients, Stage::Draining).await;
    wrong_views(&context, &clients, true);

    let result = close_accounts(&context, &clients, &intervals);
    part(&context, &clients).await;
    Ok(result)
}

fn close_accounts(
    context: &Rc<Context>,
    clients: &[Rc<Client>],
    intervals: &Sender<Interval>,
) -> ThreadResult {
    let mut local = context.local.borrow_mut();
    for client in clients {
        if client.is_awaited() {
            local.stats.counters.absent += 1;
            let state = client.session.borrow().state;
            local.stats.error(&format!("not back at the end: {state:?}"));
        }
        let mut turn = context.turn(&mut local);
        client.session.borrow_mut().settle(&mut turn);
    }
    ship(context.shared.times.second(now_ns()), &mut local, intervals);
    let stats = &mut local.stats;
    ThreadResult {
        counters: stats.counters.clone(),
        errors: std::mem::take(&mut stats.errors),
        first_attempt_ns: stats.first_attempt_ns,
    }
}

/// Ends all connections, so that a server is rid of them before the next run of this process. Other threads
/// look at their rosters until their accounts are closed.
async fn part(context: &Context, clients: &[Rc<Client>]) {
    let shared = &context.shared;
    shared.settled.fetch_add(1, Ordering::AcqRel);
    let deadline_ns = now_ns() + PARTING_NS;
    while shared.settled.load(Ordering::Acquire) < shared.scenario.threads && now_ns() < deadline_ns
    {
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    clients.iter().for_each(|client| client.cut());
    while clients.iter().any(|client| client.is_online()) && now_ns() < deadline_ns {
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads from every client whose socket is ready.
async fn receive(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>) -> anyhow::Result<()> {
    let threads = context.shared.scenario.threads;
    let mut ready = Vec::new();
    loop {
        context.readiness.wait(&mut ready).await?;
        for ready in ready.drain(..) {
            // Clients are dealt to the threads in turn.
            if let Some(client) = clients.get(ready.key as usize / threads) {
                client.on_ready(&context, ready);
            }
        }
    }
}

/// Reports what is still owed or unsettled for as long as `stage` lasts.
async fn settle(context: &Rc<Context>, clients: &[Rc<Client>], stage: Stage) {
    let gauges = &context.shared.gauges[context.thread];
    while context.shared.stage() == stage {
        let owed = if stage == Stage::Draining {
            clients.iter().map(|c| c.session.borrow().owed(&context.shared)).sum()
        } else {
            0
        };
        let awaited = clients.iter().filter(|client| client.is_awaited()).count();
        gauges.owed.store(owed, Ordering::Relaxed);
        gauges.awaited.store(awaited as u64, Ordering::Relaxed);
        gauges.unconverged.store(wrong_views(context, clients, false), Ordering::Relaxed);
        gauges.seen_stage.store(stage as u8, Ordering::Release);
        monoio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Counts the members whose roster is wrong; at rest the report has them, and how long the others took.
fn wrong_views(context: &Context, clients: &[Rc<Client>], is_at_rest: bool) -> u64 {
    let mut local = context.local.borrow_mut();
    let mut wrong = 0;
    for client in clients {
        let stats = is_at_rest.then_some(&mut local.stats);
        wrong += client.session.borrow_mut().wrong_views(&context.shared, stats);
    }
    wrong
}

/// House-keeping ten times a second: gauges, samples, pings, deadlines.
async fn tend(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>, intervals: Sender<Interval>) {
    let mut shipped_ns = now_ns();
    let mut second = None;
    while !context.is_over() {
        monoio::time::sleep(rest(&context)).await;
        let now_ns = now_ns();
        watch(&context, &clients, now_ns);
        store_joins(&context);
        let mut local = context.local.borrow_mut();
        let gauges = &context.shared.gauges[context.thread];
        let counters = &local.stats.counters;
        gauges.failed.store(context.gone.get(), Ordering::Relaxed);
        gauges.published.store(counters.published, Ordering::Relaxed);
        gauges.delivered.store(counters.delivered, Ordering::Relaxed);
        gauges.duplicated.store(counters.duplicated, Ordering::Relaxed);
        gauges.errors.store(local.stats.errors.values().sum(), Ordering::Relaxed);
        // Seconds are those of the run, so that each has all of its messages.
        let current = context.shared.times.second(now_ns);
        if current != second || now_ns - shipped_ns >= 2 * SECOND_NS {
            // Nothing was published before the start, so the first interval is the first second's.
            ship(second.or(current), &mut local, &intervals);
            second = current;
            shipped_ns = now_ns;
        }
    }
    context.slots.close();
}

/// Stores how many clients have joined, for the main thread.
fn store_joins(context: &Context) {
    let gauges = &context.shared.gauges[context.thread];
    let local = context.local.borrow();
    gauges.joined.store(local.stats.arrived, Ordering::Relaxed);
    gauges.last_join_ns.store(local.stats.last_join_ns, Ordering::Relaxed);
}

/// A tenth of a second, less if a second of the run ends before.
fn rest(context: &Context) -> Duration {
    let start_ns = context.shared.times.start_ns.load(Ordering::Relaxed);
    let left_ns = SECOND_NS - now_ns().saturating_sub(start_ns) % SECOND_NS;
    Duration::from_nanos(left_ns.min(SECOND_NS / 10))
}

/// Pings where the client must, and gives up clients that take too long to be in their rooms and
/// connections that the server keeps.
fn watch(context: &Rc<Context>, clients: &[Rc<Client>], now_ns: u64) {
    let timeout_ns = context.shared.scenario.connect.timeout_ms.saturating_mul(1_000_000);
    for client in clients.iter().filter(|client| client.is_started.get()) {
        let mut session = client.session.borrow_mut();
        if session.ping_due_ns <= now_ns {
            session.ping_if_due(now_ns);
            client.flush(context, &mut session);
        }
        if session
            .on_the_way_ns
            .is_some_and(|since_ns| since_ns.saturating_add(timeout_ns) < now_ns)
        {
            session.on_the_way_ns = None;
            let timeout_ms = context.shared.scenario.connect.timeout_ms;
            let awaited = client.awaited(session.state, &context.shared.dialect);
            client.give_up(Ended::Timeout(awaited, timeout_ms));
        } else if client.is_kept(now_ns) {
            context.local.borrow_mut().stats.error("timeout: close");
            client.cut();
        }
    }
}

fn ship(second: Option<u64>, local: &mut Local, intervals: &Sender<Interval>) {
    let totals = (local.stats.counters.delivered, local.stats.counters.published);
    let interval = Interval {
        second,
        samples: local.stats.samples.take(),
        delivered: totals.0 - local.stats.shipped.0,
        published: totals.1 - local.stats.shipped.1,
    };
    local.stats.shipped = totals;
    // The main thread outlives the threads it started, or the run is over anyway.
    let _ = intervals.send(interval);
}

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
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::actions;
use crate::alarm::Alarm;
use crate::arrivals::{Arrivals, Schedule};
use crate::client::{self, Client, READ_BYTES};
use crate::clock::{SECOND_NS, nanos, now_ns};
use crate::readiness::Readiness;
use crate::samples::Metric;
use crate::scenario::Mode;
use crate::session::{Local, State, Turn};
use crate::shared::{Shared, Stage};
use crate::slots::Slots;
use crate::stats::{Interval, ThreadResult};

/// Everything the tasks of one thread share.
pub struct Context {
    pub shared: Arc<Shared>,
    pub thread: usize,
    pub buffer: RefCell<Vec<u8>>,
    pub local: RefCell<Local>,
    pub slots: Slots,
    pub readiness: Readiness,
    /// Clients that ended and will not come back.
    pub gone: Cell<u64>,
}

impl Context {
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.stage() >= Stage::Done
    }

    #[must_use]
    pub fn is_closed_loop_running(&self) -> bool {
        let times = &self.shared.times;
        self.shared.scenario.load.mode == Mode::Closed
            && self.shared.stage() == Stage::Running
            && (times.start_ns.load(Ordering::Relaxed)..times.end_ns.load(Ordering::Relaxed))
                .contains(&now_ns())
    }

    fn turn<'t>(&'t self, local: &'t mut Local) -> Turn<'t> {
        Turn::new(&self.shared, local, now_ns())
    }
}

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
    // Completions wait for the next system call instead of interrupting: this thread makes plenty.
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
        shared,
    });
    let seats = context.shared.plan.seats.iter().filter(|seat| seat.thread == thread);
    let clients: Rc<Vec<Rc<Client>>> =
        Rc::new(seats.map(|seat| Rc::new(Client::new(&context, seat.clone()))).collect());

    monoio::spawn(receive(Rc::clone(&context), Rc::clone(&clients)));
    monoio::spawn(tend(Rc::clone(&context), Rc::clone(&clients), intervals.clone()));
    let initial = context.shared.scenario.clients;
    let now: Vec<_> = clients
        .iter()
        .filter(|client| (client.session.borrow().seat.client as usize) < initial)
        .map(Rc::clone)
        .collect();
    connect_all(&context, &now).await?;
    while context.shared.stage() == Stage::Connecting {
        let arrived = now.iter().filter(|c| c.session.borrow().state == State::Joined).count();
        if arrived as u64 + context.gone.get() >= now.len() as u64 {
            context.shared.gauges[thread].connected.store(true, Ordering::Release);
        }
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    settle(&context, &clients, Stage::Settling).await;
    check_views(&context, &clients, true);

    match context.shared.scenario.load.mode {
        Mode::Open => {
            monoio::spawn(publish_open_loop(Rc::clone(&context), Rc::clone(&clients)));
        }
        Mode::Closed => {
            monoio::spawn(publish_closed_loop(Rc::clone(&context), Rc::clone(&clients)));
        }
    }
    monoio::spawn(actions::run(Rc::clone(&context), Rc::clone(&clients)));
    while context.shared.stage() == Stage::Running {
        monoio::time::sleep(Duration::from_millis(2)).await;
    }
    settle(&context, &clients, Stage::Draining).await;
    check_views(&context, &clients, true);

    let mut local = context.local.borrow_mut();
    for client in clients.iter() {
        if client.is_awaited() {
            local.stats.counters.absent += 1;
            let state = client.session.borrow().state;
            local.stats.error(&format!("not back at the end: {state:?}"));
        }
        let mut turn = context.turn(&mut local);
        client.session.borrow_mut().settle(&mut turn);
    }
    ship(context.shared.times.second(now_ns()), &mut local, &intervals);
    let stats = &mut local.stats;
    Ok(ThreadResult {
        counters: stats.counters.clone(),
        errors: std::mem::take(&mut stats.errors),
        first_attempt_ns: stats.first_attempt_ns,
    })
}

/// Connects `clients`, as fast as the scenario's rate and concurrency allow.
pub async fn connect_all(context: &Rc<Context>, clients: &[Rc<Client>]) -> anyhow::Result<()> {
    let settings = &context.shared.scenario.connect;
    let alarm = Alarm::new()?;
    let started_ns = now_ns();
    let gap_ns = if settings.rate > 0.0 {
        nanos(context.shared.scenario.threads as f64 / settings.rate)
    } else {
        0
    };
    for (k, client) in clients.iter().enumerate() {
        let due_ns = started_ns + gap_ns * k as u64;
        alarm.until(due_ns).await?;
        start(context, client, (gap_ns > 0).then_some(due_ns)).await;
        if context.is_over() {
            break;
        }
    }
    Ok(())
}

/// Reads wherever there is something to read.
async fn receive(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>) -> anyhow::Result<()> {
    let threads = context.shared.scenario.threads;
    let mut ready = Vec::new();
    loop {
        context.readiness.wait(&mut ready).await?;
        for ready in ready.drain(..) {
            // A thread has every so-and-so-many-th client.
            if let Some(client) = clients.get(ready.key as usize / threads) {
                client.on_ready(&context, ready);
            }
        }
    }
}

/// Starts one client once a handshake slot is free; without a due time it is due then.
pub async fn start(context: &Rc<Context>, client: &Rc<Client>, due_ns: Option<u64>) {
    if client.is_started.replace(true) {
        return;
    }
    context.slots.take().await;
    let due_ns = due_ns.unwrap_or_else(now_ns);
    monoio::spawn(client::live(Rc::clone(context), Rc::clone(client), due_ns));
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
        gauges.unconverged.store(check_views(context, clients, false), Ordering::Relaxed);
        gauges.seen_stage.store(stage as u8, Ordering::Release);
        monoio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Counts the members whose roster is wrong; `record`: and how long the others took.
fn check_views(context: &Rc<Context>, clients: &[Rc<Client>], record: bool) -> u64 {
    let mut local = context.local.borrow_mut();
    let mut wrong = 0;
    for client in clients {
        let session = client.session.borrow();
        for (is_right, at_ns, changed_ns) in session.views(&context.shared) {
            if !is_right {
                wrong += 1;
            } else if record {
                let waited_ns = at_ns.saturating_sub(changed_ns);
                local.stats.samples.record_ns(Metric::Convergence, waited_ns);
            }
        }
    }
    if record {
        local.stats.counters.unconverged += wrong;
    }
    wrong
}

async fn publish_open_loop(
    context: Rc<Context>,
    clients: Rc<Vec<Rc<Client>>>,
) -> anyhow::Result<()> {
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
        if now_ns() < due_ns {
            flush_all(&context, &publishers, &mut dirty);
            alarm.until(due_ns).await?;
        }
        if context.is_over() || context.shared.stage() != Stage::Running {
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
    Ok(())
}

fn flush_all(context: &Rc<Context>, publishers: &[&Rc<Client>], dirty: &mut Vec<usize>) {
    for at in dirty.drain(..) {
        let client = publishers[at];
        client.flush(context, &mut client.session.borrow_mut());
    }
}

/// Starts the loop, and restarts publishers whose messages were lost or whose connection was.
async fn publish_closed_loop(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>) {
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
            client::refill(&context, &mut session);
            client.flush(&context, &mut session);
        }
        monoio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// House-keeping ten times a second: gauges, samples, pings, deadlines.
async fn tend(context: Rc<Context>, clients: Rc<Vec<Rc<Client>>>, intervals: Sender<Interval>) {
    let mut shipped_ns = now_ns();
    let mut second = None;
    while !context.is_over() {
        monoio::time::sleep(rest(&context)).await;
        let now_ns = now_ns();
        watch(&context, &clients, now_ns);
        let mut local = context.local.borrow_mut();
        let gauges = &context.shared.gauges[context.thread];
        let counters = &local.stats.counters;
        gauges.joined.store(local.stats.arrived, Ordering::Relaxed);
        gauges.last_join_ns.store(local.stats.last_join_ns, Ordering::Relaxed);
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
}

/// A tenth of a second, less if a second of the run ends before.
fn rest(context: &Context) -> Duration {
    let start_ns = context.shared.times.start_ns.load(Ordering::Relaxed);
    let left_ns = SECOND_NS - now_ns().saturating_sub(start_ns) % SECOND_NS;
    Duration::from_nanos(left_ns.min(SECOND_NS / 10))
}

/// Pings where the client must, and gives up handshakes that take too long.
fn watch(context: &Rc<Context>, clients: &[Rc<Client>], now_ns: u64) {
    let timeout_ns = context.shared.scenario.connect.timeout_ms * 1_000_000;
    for client in clients.iter().filter(|client| client.is_online()) {
        let mut session = client.session.borrow_mut();
        if session.ping_due_ns <= now_ns {
            session.ping_if_due(now_ns);
            client.flush(context, &mut session);
        }
        if session.state < State::ExpectJoin && session.started_ns + timeout_ns < now_ns {
            context.local.borrow_mut().stats.error("timeout: handshake");
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

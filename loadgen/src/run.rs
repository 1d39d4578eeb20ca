//! One run from the first registration to the report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};

use crate::clock::{SECOND_NS, nanos, now_ns, seconds};
use crate::credentials::Credentials;
use crate::csv::Csv;
use crate::dialect::Dialect;
use crate::exposition::{self, Exposition};
use crate::live::Live;
use crate::plan::Plan;
use crate::proc;
use crate::report::{
    Generator, Percentiles, Report, SCHEMA, SERVER_CLOSED, Second, Server, ThreadLoad,
};
use crate::rest::Rest;
use crate::samples::{Metric, Samples};
use crate::scenario::Scenario;
use crate::shared::{Shared, Stage};
use crate::stats::{Counters, Interval, ThreadResult};
use crate::target::Target;
use crate::tls::Trust;
use crate::{ceiling, clock_check, evidence, prerequisites, rest, slope, thread, users, verdict};

/// Why a run ends before its first message.
const NOBODY_JOINED: &str = "no client could join";
/// How long the clients' threads take to notice a timeout.
const NOTICE_NS: u64 = 300_000_000;
/// Violations of the order of rooms that a report describes.
const MISMATCHES_MAX: usize = 100;

/// Set from outside to end the run early.
#[derive(Clone, Default)]
pub struct Interrupt(pub Arc<AtomicBool>);

impl Interrupt {
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run is given that does not change its load.
#[derive(Clone, Default)]
pub struct Options {
    /// Show the state of the run while it is on.
    pub is_live: bool,
    pub interrupt: Interrupt,
    /// Where others read that state.
    pub exposition: Option<Arc<Exposition>>,
    /// Where the samples go.
    pub csv: Option<Arc<Csv>>,
    /// When the first message is due, in seconds since 1970; none: as soon as all clients have joined.
    pub start_at_unix_s: Option<f64>,
}

/// What was read from `/proc` at one instant.
#[derive(Clone, Default)]
struct ProcSample {
    at_ns: u64,
    server_cpu_ns: Option<u64>,
    threads: Vec<(Duration, Duration)>,
}

struct Conductor {
    shared: Arc<Shared>,
    intervals: Receiver<Interval>,
    samples: Samples,
    seconds: BTreeMap<u64, (Samples, u64, u64)>,
    live: Live,
    options: Options,
    exposed_ns: u64,
    /// The agreed start was past when all clients had joined, by so much.
    late_start_s: Option<f64>,
    /// Of the server's resident memory, one a second: (monotonic seconds, bytes).
    rss: Vec<(f64, f64)>,
}

/// Carries out a scenario.
///
/// # Errors
/// The scenario makes no sense, users cannot be registered, or a thread fails. A run that merely
/// goes badly is a report, not an error.
pub fn run(scenario: Scenario, options: &Options) -> anyhow::Result<Report> {
    scenario.validate()?;
    let targets: Vec<Target> =
        scenario.targets.iter().map(|url| Target::parse(url)).collect::<anyhow::Result<_>>()?;
    prerequisites::check(&scenario, &targets)?;
    if let Some(core) = scenario.cores.first() {
        // The main thread must not disturb the server's core either.
        thread::pin(*core)?;
    }
    let access = &scenario.access;
    let metrics = scenario.server_metrics.as_deref().unwrap_or_default();
    let needs_tls = targets.iter().any(|target| target.is_tls) || metrics.starts_with("https://");
    let trust = || Trust::new(access.ca.as_deref(), access.insecure);
    let trust = needs_tls.then(trust).transpose()?;
    let dialect = Dialect::new(&scenario)?;
    dialect.check(&scenario)?;
    let rest = Rest::new(&targets[0], trust.as_ref());
    let tokens = users::of_scenario(&scenario, &rest).context("get users")?;
    let rooms = rest.rooms_for(&scenario, &tokens);
    let credentials = Credentials::new(tokens, access.clone(), dialect.token_member());
    let plan = Plan::new(&scenario, credentials.users().unwrap_or(usize::MAX));
    let agent = rest::agent(trust.as_ref());
    let ceiling = ceiling::measure(&scenario).ok();
    let clock =
        options.start_at_unix_s.and_then(|_| clock_check::measure(&agent, &targets[0].http()));
    let counted_before = counted_deliveries(&scenario, &agent)?;
    let rss_before = scenario.server_pid.map(proc::rss_bytes).transpose()?;
    let cpu_before = scenario.server_pid.map(proc::process_cpu_ns).transpose()?;

    // Different for every run, on purpose: left-overs of another run must not be taken for ours.
    let run = (now_ns() >> 10) as u16 ^ std::process::id() as u16;
    let mut shared = Shared::new(scenario, targets, plan, (dialect, credentials), run);
    shared.trust = trust;
    if let Some(rooms) = rooms {
        shared.room_numbers = rooms;
    }
    let shared = Arc::new(shared);
    let (sender, intervals) = channel();
    let threads: Vec<JoinHandle<anyhow::Result<ThreadResult>>> = (0..shared.scenario.threads)
        .map(|index| {
            let (shared, sender) = (Arc::clone(&shared), sender.clone());
            std::thread::Builder::new()
                .name(format!("loadgen-{index}"))
                .spawn(move || thread::run(shared, index, sender))
                .context("start a thread")
        })
        .collect::<anyhow::Result<_>>()?;
    drop(sender);

    let mut conductor = Conductor {
        live: Live::new(options.is_live, &shared),
        shared: Arc::clone(&shared),
        intervals,
        samples: Samples::default(),
        seconds: BTreeMap::new(),
        options: options.clone(),
        exposed_ns: 0,
        late_start_s: None,
        rss: Vec::new(),
    };
    let mut stopped_by = conductor.connect(&threads);
    let joined = shared.sum(|gauges| &gauges.joined);
    let joined_ns = shared.gauges.iter().map(|g| g.last_join_ns.load(Ordering::Relaxed)).max();
    let joined_ns = joined_ns.unwrap_or(0);
    let connected = conductor.read_proc();
    if stopped_by.is_none() {
        conductor.settle();
    }
    let cpu_settled = conductor.read_proc().server_cpu_ns;
    let rss_after = shared.scenario.server_pid.and_then(|pid| proc::rss_bytes(pid).ok());
    let (from, to) = if stopped_by.is_none() {
        let (from, to, stopped) = conductor.measure(&threads);
        stopped_by = Some(stopped);
        (from, to)
    } else {
        (ProcSample::default(), ProcSample::default())
    };
    if stopped_by.as_deref() != Some(NOBODY_JOINED) {
        conductor.drain();
    }
    shared.enter_stage(Stage::Done);

    let mut counters = Counters::default();
    let mut report = Report {
        schema: SCHEMA.into(),
        run_id: format!("{:016x}", rand::random::<u64>()),
        version: env!("CARGO_PKG_VERSION").into(),
        name: shared.scenario.name.clone(),
        machine: proc::machine(),
        clients: shared.scenario.clients as u64,
        joined,
        stopped_by: stopped_by.unwrap_or_else(|| "duration".into()),
        ..Report::default()
    };
    let mut first_attempt_ns = u64::MAX;
    for handle in threads {
        let result = match handle.join() {
            Ok(result) => result?,
            Err(_) => bail!("a generator thread panicked"),
        };
        counters.add(&result.counters);
        for (kind, count) in result.errors {
            *report.errors.entry(kind).or_insert(0) += count;
        }
        first_attempt_ns = first_attempt_ns.min(result.first_attempt_ns.unwrap_or(u64::MAX));
    }
    conductor.collect();
    conductor.live.finish();
    for (room, number) in shared.rooms.iter().zip(&shared.room_numbers) {
        let Some(order) = &room.order else { continue };
        let judgement = order.judge(*number);
        counters.order_violations += judgement.violations;
        counters.order_compared += judgement.compared;
        report.order_mismatches.extend(judgement.mismatches);
    }
    report.order_mismatches.truncate(MISMATCHES_MAX);

    report.finished_unix_s =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    report.measured_s = seconds(to.at_ns.saturating_sub(from.at_ns));
    let measured_s = report.measured_s.max(1e-9);
    report.deliveries_per_s = counters.measured_delivered as f64 / measured_s;
    report.publishes_per_s = counters.measured_published as f64 / measured_s;
    report.counters = counters;
    report.set_samples(&conductor.samples);
    report.set_completeness();
    let connecting_s = seconds(joined_ns.saturating_sub(first_attempt_ns));
    report.connects_per_s = if connecting_s > 0.0 { joined as f64 / connecting_s } else { 0.0 };
    report.generator = generator(&report, &from, &to);
    for (load, (run, _)) in report.generator.threads.iter_mut().zip(&connected.threads) {
        load.connecting = share(run.as_secs_f64(), connecting_s);
    }
    report.server = server(&report, (rss_before, rss_after), &from, &to);
    let measured = (seconds(from.at_ns), seconds(to.at_ns));
    conductor.rss.retain(|(at_s, _)| (measured.0..=measured.1).contains(at_s));
    if let Some((slope, error)) = slope::fit(&conductor.rss) {
        report.server.rss_slope_bytes_per_s = Some(slope);
        report.server.rss_slope_error_bytes_per_s = Some(error);
    }
    let start_ns = shared.times.start_ns.load(Ordering::Relaxed);
    if start_ns > 0 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_start_s = seconds(now_ns().saturating_sub(start_ns));
        report.started_unix_s = since_epoch.as_secs_f64() - since_start_s;
    }
    if let (Some(before), Some(after)) = (cpu_before, cpu_settled) {
        let cpu_us = after.saturating_sub(before) as f64 / 1e3;
        report.server.cpu_us_per_connect = Some(cpu_us / joined.max(1) as f64);
    }
    let counted_after = counted_deliveries(&shared.scenario, &agent);
    if let (Some(before), Ok(Some(after))) = (counted_before, counted_after) {
        report.server.counted_deliveries = Some(after.saturating_sub(before));
    }
    report.has_rosters = shared.dialect.has_rosters();
    report.start_at_unix_s = options.start_at_unix_s;
    report.late_start_s = conductor.late_start_s;
    report.clock = clock;
    report.seconds = seconds_of(&conductor.seconds, &shared.scenario);
    if let Some(one) = &ceiling {
        report.generator.ceiling_spread = Some(share(one.spread, 1.0));
    }
    let ceiling = ceiling.map(|one| one.deliveries_per_s * shared.scenario.threads as f64);
    report.generator.ceiling_deliveries_per_s = ceiling.map(f64::round);
    let busiest = report.seconds.iter().map(|second| second.delivered).max().unwrap_or(0);
    report.generator.ceiling_share = ceiling.map(|ceiling| share(busiest as f64, ceiling));
    report.scenario = shared.scenario.clone();
    report.void_reasons = verdict::void_reasons(&report);
    report.void = !report.void_reasons.is_empty();
    evidence::judge(&mut report);
    Ok(report)
}

impl Conductor {
    /// Waits until all clients have joined; returns what stopped the run if it cannot go on.
    fn connect(&mut self, threads: &[JoinHandle<anyhow::Result<ThreadResult>>]) -> Option<String> {
        let scenario = &self.shared.scenario;
        let pace_s = if scenario.connect.rate > 0.0 {
            scenario.clients as f64 / scenario.connect.rate
        } else {
            0.0
        };
        let timeout_ns = scenario.connect.timeout_ms.saturating_mul(1_000_000);
        // The first client starts at once: if it has given up and nobody is in, nobody will be.
        let first_ns = now_ns().saturating_add(timeout_ns).saturating_add(NOTICE_NS);
        let deadline_ns = first_ns.saturating_add(nanos(pace_s)).saturating_add(timeout_ns);
        loop {
            self.pause(Duration::from_millis(5));
            if self.options.interrupt.is_set() {
                return Some("interrupt".into());
            }
            if threads.iter().any(JoinHandle::is_finished) {
                return Some("generator thread ended".into());
            }
            if self.shared.gauges.iter().all(|g| g.connected.load(Ordering::Acquire)) {
                break;
            }
            let is_hopeless = now_ns() > first_ns
                && self.shared.sum(|gauges| &gauges.failed) > 0
                && self.shared.sum(|gauges| &gauges.joined) == 0;
            if is_hopeless || now_ns() > deadline_ns {
                break;
            }
        }
        match self.shared.sum(|gauges| &gauges.joined) {
            0 => Some(NOBODY_JOINED.into()),
            _ => None,
        }
    }

    /// Quiet time, and longer while rosters are still on their way.
    fn settle(&mut self) {
        let settle_ms = self.shared.scenario.connect.settle_ms;
        let longest_ms = settle_ms + self.shared.scenario.connect.converge_ms;
        let started_ns = now_ns();
        self.shared.enter_stage(Stage::Settling);
        loop {
            self.pause(Duration::from_millis(10));
            let waited_ms = (now_ns() - started_ns) / 1_000_000;
            let seen = |stage| {
                move |g: &crate::shared::Gauges| g.seen_stage.load(Ordering::Acquire) >= stage
            };
            let is_seen = self.shared.gauges.iter().all(seen(Stage::Settling as u8));
            let is_right = is_seen && self.shared.sum(|gauges| &gauges.unconverged) == 0;
            if waited_ms >= settle_ms && (is_right || waited_ms >= longest_ms)
                || self.start_in_s().is_some_and(|left_s| left_s < 0.05)
                || self.options.interrupt.is_set()
            {
                break;
            }
        }
    }

    /// Lets the messages flow; returns the readings at both ends of the measured time.
    fn measure(
        &mut self,
        threads: &[JoinHandle<anyhow::Result<ThreadResult>>],
    ) -> (ProcSample, ProcSample, String) {
        let start_ns = self.start_ns();
        let scenario = &self.shared.scenario;
        let times = &self.shared.times;
        let measure_ns = start_ns + nanos(scenario.warmup_s);
        let end_ns = start_ns + nanos(scenario.total_s());
        times.end_ns.store(end_ns, Ordering::Release);
        times.measure_ns.store(measure_ns, Ordering::Release);
        times.start_ns.store(start_ns, Ordering::Release);
        self.shared.enter_stage(Stage::Running);
        let mut stopped_by = self.wait_until(measure_ns, threads);
        let from = self.read_proc();
        if stopped_by.is_none() {
            stopped_by = self.wait_until(end_ns, threads);
        }
        let to = self.read_proc();
        (from, to, stopped_by.unwrap_or_else(|| "duration".into()))
    }

    /// When the first message is due: at the agreed time, or in a moment.
    fn start_ns(&mut self) -> u64 {
        let left_s = self.start_in_s().unwrap_or(0.02);
        if left_s < 0.0 {
            self.late_start_s = Some(-left_s);
        }
        now_ns() + nanos(left_s.max(0.02))
    }

    /// Seconds until the agreed start.
    fn start_in_s(&self) -> Option<f64> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Some(self.options.start_at_unix_s? - now_s)
    }

    fn wait_until(
        &mut self,
        at_ns: u64,
        threads: &[JoinHandle<anyhow::Result<ThreadResult>>],
    ) -> Option<String> {
        loop {
            let left = Duration::from_nanos(at_ns.saturating_sub(now_ns()));
            if left.is_zero() {
                return None;
            }
            self.pause(left.min(Duration::from_millis(100)));
            if self.options.interrupt.is_set() {
                return Some("interrupt".into());
            }
            if threads.iter().any(JoinHandle::is_finished) {
                return Some("generator thread ended".into());
            }
            let gone = self.shared.sum(|gauges| &gauges.failed);
            if gone >= self.shared.scenario.clients as u64 {
                return Some(SERVER_CLOSED.into());
            }
        }
    }

    /// Waits for what is owed, as long as the scenario allows.
    fn drain(&mut self) {
        let times = &self.shared.times;
        let stop_ns = now_ns().min(times.end_ns.load(Ordering::Relaxed));
        times.stop_ns.store(stop_ns.max(1), Ordering::Release);
        let deadline_ns = now_ns() + nanos(self.shared.scenario.drain_s);
        self.shared.enter_stage(Stage::Draining);
        loop {
            self.pause(Duration::from_millis(10));
            let gauges = &self.shared.gauges;
            let is_seen = |g: &crate::shared::Gauges| {
                g.seen_stage.load(Ordering::Acquire) >= Stage::Draining as u8
            };
            let is_settled = gauges.iter().all(is_seen)
                && self.shared.sum(|gauges| &gauges.owed) == 0
                && self.shared.sum(|gauges| &gauges.awaited) == 0
                && self.shared.sum(|gauges| &gauges.unconverged) == 0;
            if is_settled || now_ns() > deadline_ns {
                break;
            }
        }
        // Duplicates come after what they duplicate: give them a moment to show.
        self.pause(Duration::from_millis(100));
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
        self.collect();
        self.read_rss();
        self.expose();
        self.live.show(&self.shared, &self.seconds);
    }

    fn collect(&mut self) {
        while let Ok(interval) = self.intervals.try_recv() {
            self.samples.add(&interval.samples);
            if let Some(second) = interval.second {
                if let Some(csv) = &self.options.csv {
                    let phase = self.shared.scenario.phase_at(second as f64);
                    csv.add(second, &phase, &interval.samples);
                }
                let entry = self.seconds.entry(second).or_default();
                let delivery = interval.samples.iter().filter(|(m, _)| *m == Metric::Delivery);
                delivery.for_each(|sample| entry.0.add(std::slice::from_ref(sample)));
                entry.1 += interval.published;
                entry.2 += interval.delivered;
            }
        }
    }

    fn expose(&mut self) {
        let Some(exposition) = &self.options.exposition else { return };
        let now_ns = now_ns();
        if now_ns.saturating_sub(self.exposed_ns) >= SECOND_NS || self.exposed_ns == 0 {
            self.exposed_ns = now_ns;
            exposition.set(exposition::text(&self.shared, &self.samples));
        }
    }

    /// Reads the server's memory, once a second while the load is on.
    fn read_rss(&mut self) {
        let Some(pid) = self.shared.scenario.server_pid else { return };
        let now_s = seconds(now_ns());
        let is_due = self.rss.last().is_none_or(|(at_s, _)| now_s - at_s >= 1.0);
        if is_due && self.shared.stage() == Stage::Running {
            // A process that is gone shows in what it does not deliver.
            self.rss.extend(proc::rss_bytes(pid).map(|bytes| (now_s, bytes as f64)));
        }
    }

    fn read_proc(&self) -> ProcSample {
        let threads = self.shared.gauges.iter();
        ProcSample {
            at_ns: now_ns(),
            server_cpu_ns: self
                .shared
                .scenario
                .server_pid
                .and_then(|pid| proc::process_cpu_ns(pid).ok()),
            threads: threads
                .map(|g| proc::thread_times(g.thread_id.load(Ordering::Acquire)))
                .collect(),
        }
    }
}

fn generator(report: &Report, from: &ProcSample, to: &ProcSample) -> Generator {
    let wall_s = seconds(to.at_ns.saturating_sub(from.at_ns));
    let mut run_s = 0.0;
    let threads = from
        .threads
        .iter()
        .zip(&to.threads)
        .map(|(from, to)| {
            let run = to.0.saturating_sub(from.0).as_secs_f64();
            let wait = to.1.saturating_sub(from.1).as_secs_f64();
            run_s += run;
            let connecting = 0.0;
            ThreadLoad { busy: share(run, wall_s), starved: share(wait, wall_s), connecting }
        })
        .collect();
    let counters = &report.counters;
    Generator {
        threads,
        cpu_us_per_delivery: match counters.measured_delivered {
            0 => 0.0,
            delivered => run_s * 1e6 / delivered as f64,
        },
        reads: counters.reads,
        bytes_per_read: counters.bytes_in as f64 / counters.reads.max(1) as f64,
        ..Generator::default()
    }
}

/// Rounded to a hundredth of a percent.
fn share(time_s: f64, whole_s: f64) -> f64 {
    if whole_s > 0.0 { (time_s / whole_s * 1e4).round() / 1e4 } else { 0.0 }
}

fn server(
    report: &Report,
    (rss_before, rss_after): (Option<u64>, Option<u64>),
    from: &ProcSample,
    to: &ProcSample,
) -> Server {
    let cpu_ns = from.server_cpu_ns.zip(to.server_cpu_ns).map(|(from, to)| to.saturating_sub(from));
    let delivered = report.counters.measured_delivered;
    Server {
        cpu_us_per_delivery: cpu_ns
            .filter(|_| delivered > 0)
            .map(|cpu_ns| cpu_ns as f64 / 1e3 / delivered as f64),
        cpu_share: cpu_ns.map(|cpu_ns| seconds(cpu_ns) / report.measured_s.max(1e-9)),
        rss_per_connection_bytes: rss_before
            .zip(rss_after)
            .map(|(before, after)| (after as f64 - before as f64) / report.joined.max(1) as f64),
        rss_bytes: rss_after,
        ..Server::default()
    }
}

fn seconds_of(seconds: &BTreeMap<u64, (Samples, u64, u64)>, scenario: &Scenario) -> Vec<Second> {
    seconds
        .iter()
        .map(|(second, (samples, published, delivered))| {
            let latency = Percentiles::of(samples, Metric::Delivery);
            Second {
                second: *second,
                phase: scenario.phase_at(*second as f64),
                published: *published,
                delivered: *delivered,
                p50_us: latency.p50,
                p99_us: latency.p99,
                max_us: latency.max,
            }
        })
        .collect()
}

/// The server's own count of deliveries, if the scenario says where it is.
fn counted_deliveries(scenario: &Scenario, agent: &ureq::Agent) -> anyhow::Result<Option<u64>> {
    let Some(url) = &scenario.server_metrics else { return Ok(None) };
    let mut response = agent.get(url).call().with_context(|| format!("GET {url}"))?;
    ensure!(response.status() == 200, "GET {url}: status {}", response.status());
    let text = response.body_mut().read_to_string().with_context(|| format!("metrics of {url}"))?;
    let name = scenario.server_deliveries_metric.as_str();
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    Ok(Some(values.sum::<f64>() as u64))
}

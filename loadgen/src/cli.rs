//! The command line.

use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use serde::Serialize;

use crate::arrivals::Arrivals;
use crate::csv::Csv;
use crate::exposition::Exposition;
use crate::outputs::{Outputs, STDOUT};
use crate::payload::Payload;
use crate::report::{Report, SCHEMA};
use crate::run::{self, Interrupt};
use crate::samples::METRICS;
use crate::scenario::{
    Completion, EventsSource, Mode, Presence, Preset, Protocol, RoomSizes, Scenario, Transport,
};
use crate::slo::Slo;
use crate::sweep::{self, Found, Point, Sweep, Verdict};
use crate::table::number;
use crate::{compare, hgrm, html, merge, proc, repetitions, summary, sweep_page, usage, verdict};

#[derive(Parser)]
#[command(name = "throng-loadgen", version, about, long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put load on a server and measure its deliveries.
    Run(Box<RunArgs>),
    /// Find the highest rate that meets all SLOs.
    Search(Box<SearchArgs>),
    /// Measure several rates, at each target of its own: latency over load.
    Curve(Box<CurveArgs>),
    /// Compare a run with its baseline; exit code 5 if it got worse.
    Compare(CompareArgs),
    /// Add up the reports of several generator processes of one run.
    Merge(MergeArgs),
    /// Draw one or more reports on one page.
    Report(ReportArgs),
    /// Print the completions of a shell.
    Completions { shell: Shell },
    /// Write the manual pages, one per command, into a directory.
    Man { dir: PathBuf },
}

/// The rate is the scenario's: messages per second, or deliveries if it has a delivery rate.
#[derive(Args)]
struct SearchArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// The first rate; it is doubled, or halved, until there is one that meets all SLOs and one that does not
    /// [default: the scenario's].
    #[arg(long)]
    from: Option<f64>,
    /// The highest rate to try.
    #[arg(long, default_value_t = 1e6)]
    to: f64,
    /// How far the highest rate that is met and the lowest that is not may be apart, in percent.
    #[arg(long, default_value_t = 5.0)]
    precision: f64,
    #[command(flatten)]
    output: SweepOutputArgs,
}

#[derive(Args)]
struct CurveArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// The rates: `100,200,400`.
    #[arg(long, value_delimiter = ',', required = true)]
    rates: Vec<f64>,
    #[command(flatten)]
    output: SweepOutputArgs,
}

#[derive(Args)]
struct SweepOutputArgs {
    /// Write the points here (`-`: standard output).
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a self-contained page with the picture and the table.
    #[arg(long)]
    html: Option<PathBuf>,
    /// No live view.
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
struct CompareArgs {
    /// The baseline's JSON report.
    a: PathBuf,
    /// The JSON report that is compared with it.
    b: PathBuf,
    /// Smallest change for the worse that is a regression, in percent.
    #[arg(long, default_value_t = 10.0)]
    threshold: f64,
    /// Compare although the runs had different scenarios.
    #[arg(long)]
    different_scenarios: bool,
    /// Also write a page with the plots of both.
    #[arg(long)]
    html: Option<PathBuf>,
}

#[derive(Args)]
struct MergeArgs {
    /// JSON reports, one of each process.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// Merge although the parts had different scenarios; the report has that of the first.
    #[arg(long)]
    different_scenarios: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args)]
struct ReportArgs {
    /// JSON reports.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// The page to write.
    #[arg(long)]
    html: PathBuf,
}

#[derive(Args, Default)]
struct OutputArgs {
    /// Write the report here (`-`: standard output).
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write one percentile distribution per histogram: PREFIX.delivery.hgrm, ….
    #[arg(long)]
    hgrm: Option<PathBuf>,
    /// Write a self-contained page with plots.
    #[arg(long)]
    html: Option<PathBuf>,
}

/// Flags win over the scenario file.
#[derive(Args)]
struct ScenarioArgs {
    /// Scenario file (TOML).
    scenario: Option<PathBuf>,
    /// `http://host:port`, or https, ws, wss, perhaps with a path; may be repeated.
    #[arg(long = "target")]
    targets: Vec<String>,
    /// Title of the report.
    #[arg(long)]
    name: Option<String>,
    /// Keys to begin with, for one kind of server; the scenario file and flags win.
    #[arg(long)]
    preset: Option<Preset>,
    /// What the server speaks.
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Events file (TOML): how a Socket.IO server names joins, leaves, messages and rosters.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// What a room is called where it has a name [default: room-{number}, Phoenix: room:{number}, Pusher:
    /// private-room-{number}].
    #[arg(long)]
    room_name: Option<String>,
    /// Whether a publisher receives its own messages [default: true, Pusher: false].
    #[arg(long, value_name = "true|false")]
    echo: Option<bool>,
    /// How clients connect.
    #[arg(long)]
    transport: Option<Transport>,
    /// Path of the engine or WebSocket [default: that of the target; /socket.io/, raw: /, Phoenix:
    /// /socket/websocket, Centrifugo: /connection/websocket].
    #[arg(long)]
    path: Option<String>,
    /// Users to register through the REST API of a Throng; 0: anonymous [default: as many as the
    /// clients need, if the server is a Throng]
    #[arg(long)]
    users: Option<usize>,
    /// File with one token per line, which clients share in turn.
    #[arg(long)]
    tokens: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    /// Clients that are connected before the first message.
    #[arg(long)]
    clients: Option<usize>,
    /// Rooms that the clients are dealt out over.
    #[arg(long)]
    rooms: Option<usize>,
    /// How many clients each room has: equal | zipf:S | weights W1,W2,…
    #[arg(long)]
    room_sizes: Option<RoomSizes>,
    /// Rooms that each client joins; 0: none, to measure connects.
    #[arg(long)]
    rooms_per_client: Option<usize>,
    /// Number of the first room.
    #[arg(long)]
    first_room: Option<u32>,
    /// How clients ask for rosters.
    #[arg(long)]
    presence: Option<Presence>,
    /// Clients that publish, spread evenly.
    #[arg(long)]
    publishers: Option<usize>,
    /// Open loop, also where the scenario has a closed one: messages per second over all publishers.
    #[arg(long, conflicts_with_all = ["outstanding", "delivery_rate"])]
    rate: Option<f64>,
    /// Open loop, also where the scenario has a closed one: deliveries per second over all members.
    #[arg(long, conflicts_with = "outstanding")]
    delivery_rate: Option<f64>,
    /// Open loop: when messages are due.
    #[arg(long)]
    arrivals: Option<Arrivals>,
    /// Closed loop, also where the scenario has an open one: messages in flight per publisher.
    #[arg(long)]
    outstanding: Option<u32>,
    /// Closed loop: when a message is done.
    #[arg(long)]
    completion: Option<Completion>,
    /// Do not ask for acks.
    #[arg(long)]
    no_acks: bool,
    /// Bytes of message text: N | uniform:LOW-HIGH | weights:SIZE=WEIGHT,…
    #[arg(long)]
    payload: Option<Payload>,
    /// New connections per second; 0: as fast as possible.
    #[arg(long)]
    connect_rate: Option<f64>,
    /// Handshakes in flight per thread.
    #[arg(long)]
    connect_concurrency: Option<usize>,
    /// From the start of a client to its joined room.
    #[arg(long)]
    connect_timeout_ms: Option<u64>,
    /// Quiet time after the last join, in milliseconds.
    #[arg(long)]
    settle_ms: Option<u64>,
    /// Seconds of load, warm-up included.
    #[arg(long)]
    duration: Option<f64>,
    /// Seconds at the start that are not measured.
    #[arg(long)]
    warmup: Option<f64>,
    /// Longest wait at the end for what is owed, in seconds.
    #[arg(long)]
    drain: Option<f64>,
    /// Of arrivals, sizes and the choice of clients.
    #[arg(long)]
    seed: Option<u64>,
    /// Generator threads.
    #[arg(long)]
    threads: Option<usize>,
    /// Cores to pin the threads to: `1` or `1,2`.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Local addresses to connect from: `127.0.0.2,127.0.0.3`.
    #[arg(long, value_delimiter = ',')]
    sources: Vec<IpAddr>,
    /// A bound for a figure of the report: `delivery.p99<5ms`, `completeness>=99.9%`; may be repeated. Relations:
    /// < <= = >= >. Times are in µs, or with ms or s; shares are 0 to 1, or with %; numbers may have k or M. A figure
    /// of which nothing came is missed.
    #[arg(long = "slo")]
    slo: Vec<Slo>,
    /// Process to read CPU time and memory of.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Prometheus endpoint with the server's own delivery count.
    #[arg(long)]
    server_metrics: Option<String>,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Run so many times, and report the sums with the median and spread of every figure.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Answer `GET /metrics` (Prometheus) there while the run is on, such as 127.0.0.1:9100.
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Write the samples here: one row for each second, metric and value.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// When the first message is due, in seconds since 1970: several machines begin together. The clock is
    /// compared with the target's.
    #[arg(long, value_name = "UNIX_SECONDS", conflicts_with = "repeat")]
    start_at: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
    /// No live view.
    #[arg(long)]
    quiet: bool,
}

/// How clients show who they are, and whose certificates they trust.
#[derive(Args)]
struct AccessArgs {
    /// `NAME: VALUE`, sent with each request of the clients; `{token}`, `{user}` and `{client}` stand for
    /// the client's token and numbers; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Added to the query of each request of the clients, such as `token={token}`.
    #[arg(long)]
    query: Option<String>,
    /// JSON that Socket.IO sends along with CONNECT, such as `{"token":"{token}"}`.
    #[arg(long, value_name = "JSON", value_parser = json)]
    auth: Option<serde_json::Value>,
    /// File with a secret: each user's token is a JSON Web Token signed with it (HS256).
    #[arg(long, value_name = "FILE", conflicts_with = "tokens")]
    jwt_secret_file: Option<PathBuf>,
    /// Claims of those tokens [default: {"sub":"{user}"}; `iat` and `exp` are added].
    #[arg(long, value_name = "JSON", value_parser = json)]
    jwt_claims: Option<serde_json::Value>,
    /// File with KEY:SECRET of a Pusher application, which signs subscriptions.
    #[arg(long, value_name = "FILE")]
    pusher_secret_file: Option<PathBuf>,
    /// PEM file with the authorities to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust every certificate.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|why| format!("not JSON: {why}"))
}

impl AccessArgs {
    fn apply(self, scenario: &mut Scenario) {
        let access = &mut scenario.access;
        if !self.headers.is_empty() {
            access.headers = self.headers;
        }
        set(&mut access.query, self.query.map(Some));
        set(&mut access.auth, self.auth.map(Some));
        set(&mut access.pusher_secret_file, self.pusher_secret_file.map(Some));
        set(&mut access.ca, self.ca.map(Some));
        access.insecure |= self.insecure;
        set(&mut scenario.users.jwt_secret_file, self.jwt_secret_file.map(Some));
        set(&mut scenario.users.jwt_claims, self.jwt_claims.map(Some));
    }
}

impl Cli {
    /// Reads the command line; ends the process with a text if that is wrong or asks for help.
    #[must_use]
    pub fn from_command_line() -> Self {
        let matches = usage::describe(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Carries the command out; returns the exit code.
    ///
    /// # Errors
    /// Whatever prevents a report.
    pub fn execute(self) -> anyhow::Result<u8> {
        match self.command {
            Command::Run(args) => run_command(*args),
            Command::Search(args) => search_command(*args),
            Command::Curve(args) => curve_command(*args),
            Command::Compare(args) => compare_command(&args),
            Command::Merge(args) => merge_command(&args),
            Command::Report(args) => report_command(&args),
            Command::Completions { shell } => completions(shell),
            Command::Man { dir } => man(&dir),
        }
    }
}

fn completions(shell: Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "throng-loadgen", &mut script);
    std::io::stdout().write_all(&script).context("standard output")?;
    Ok(0)
}

fn man(dir: &Path) -> anyhow::Result<u8> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(usage::describe(Cli::command()), dir))
        .with_context(|| dir.display().to_string())?;
    Ok(0)
}

fn run_command(args: RunArgs) -> anyhow::Result<u8> {
    let file = args.scenario.scenario.clone();
    let scenario = scenario(args.scenario)?;
    let mut files = args.output.files();
    files.extend(args.csv.clone().map(|path| ("--csv", path)));
    let _opened = Outputs::open(&sources(file.as_ref()), &files)?;
    let mut options = options(args.quiet)?;
    options.start_at_unix_s = args.start_at;
    options.exposition = args.metrics_listen.map(Exposition::listen).transpose()?;
    options.csv = args.csv.as_deref().map(Csv::create).transpose()?.map(Arc::new);
    if let Some(exposition) = &options.exposition {
        eprintln!("metrics at http://{}/metrics", exposition.address);
    }
    let mut reports = Vec::new();
    for repetition in 1..=args.repeat {
        if let Some(csv) = &options.csv {
            csv.begin();
        }
        let report = run::run(scenario.clone(), &options)?;
        if args.repeat > 1 {
            eprint!("repetition {repetition} of {}: {}", args.repeat, summary::line(&report));
        }
        reports.push(report);
        if options.interrupt.is_set() {
            break;
        }
    }
    let report = repetitions::pool(reports)?;
    // Before the files: a disk that is full must not lose it.
    eprint!("{}", summary::text(&report));
    if let Some(csv) = &options.csv {
        csv.finish()?;
    }
    write_output(&report, &args.output)?;
    Ok(verdict::exit_code(&report))
}

fn options(is_quiet: bool) -> anyhow::Result<run::Options> {
    let interrupt = Interrupt::default();
    watch_signals(&interrupt)?;
    let is_live = !is_quiet && std::io::stderr().is_terminal();
    Ok(run::Options { is_live, interrupt, ..run::Options::default() })
}

/// One run of a sweep; none: it was interrupted.
fn point(
    scenario: &Scenario,
    target: &str,
    rate: f64,
    options: &run::Options,
) -> anyhow::Result<Option<Point>> {
    let mut scenario = scenario.clone();
    sweep::set_rate(&mut scenario, rate);
    let report = run::run(scenario, options)?;
    if options.interrupt.is_set() {
        return Ok(None);
    }
    let point = Point::of(&report, target, rate);
    if point.verdict() == Verdict::VoidAtAnyRate {
        eprint!("{}", summary::text(&report));
    }
    eprint!("{target} at {}: {}: {}", number(rate), point.words(), summary::line(&report));
    Ok(Some(point))
}

fn search_command(args: SearchArgs) -> anyhow::Result<u8> {
    let file = args.scenario.scenario.clone();
    let scenario = scenario(args.scenario)?;
    scenario.validate()?;
    anyhow::ensure!(!scenario.slo.is_empty(), "a search needs SLOs (--slo 'delivery.p99<5ms')");
    ensure_rate_varies(&scenario)?;
    let from = args.from.unwrap_or_else(|| sweep::rate_of(&scenario));
    let is_sound = from > 0.0 && args.to > 0.0 && args.precision >= 0.1;
    anyhow::ensure!(is_sound, "--from and --to are above 0, --precision is 0.1 at least");
    let _opened = Outputs::open(&sources(file.as_ref()), &args.output.files())?;
    let options = options(args.output.quiet)?;
    let target = scenario.targets.join(" ");
    let mut points = Vec::new();
    let found = sweep::search((from, args.to), args.precision / 100.0, |rate| {
        let point = point(&scenario, &target, rate, &options)?;
        let verdict = point.as_ref().map(Point::verdict);
        points.extend(point);
        Ok(verdict)
    })?;
    let code = match (found.rate, found.limit) {
        (Some(_), _) => verdict::EXIT_OK,
        (None, sweep::Limit::Void | sweep::Limit::AnyRate | sweep::Limit::Interrupt) => {
            verdict::EXIT_VOID
        }
        (None, _) => verdict::EXIT_SLO,
    };
    write_sweep(&sweep("search", scenario, points, Some(found)), &args.output)?;
    Ok(code)
}

fn curve_command(args: CurveArgs) -> anyhow::Result<u8> {
    let file = args.scenario.scenario.clone();
    let scenario = scenario(args.scenario)?;
    scenario.validate()?;
    ensure_rate_varies(&scenario)?;
    anyhow::ensure!(args.rates.iter().all(|rate| *rate > 0.0), "--rates are above 0");
    let _opened = Outputs::open(&sources(file.as_ref()), &args.output.files())?;
    let options = options(args.output.quiet)?;
    let mut points: Vec<Point> = Vec::new();
    'all: for target in &scenario.targets {
        for rate in &args.rates {
            let one = Scenario { targets: vec![target.clone()], ..scenario.clone() };
            let Some(point) = point(&one, target, *rate, &options)? else { break 'all };
            let is_in_vain = point.verdict() == Verdict::VoidAtAnyRate;
            points.push(point);
            if is_in_vain {
                break;
            }
        }
    }
    let is_void = points.iter().all(|point| point.verdict().is_void());
    let is_missed = points.iter().any(|point| point.verdict() == Verdict::Missed);
    write_sweep(&sweep("curve", scenario, points, None), &args.output)?;
    Ok(match (is_void, is_missed) {
        (true, _) => verdict::EXIT_VOID,
        (false, true) => verdict::EXIT_SLO,
        (false, false) => verdict::EXIT_OK,
    })
}

/// A closed loop, or a phase with a rate of its own, would be the same at every rate.
fn ensure_rate_varies(scenario: &Scenario) -> anyhow::Result<()> {
    anyhow::ensure!(scenario.load.mode == Mode::Open, "a closed loop has no rate to vary");
    let is_fixed = scenario.phases.iter().any(|phase| phase.rate.is_some());
    anyhow::ensure!(!is_fixed, "a phase has a rate of its own, which cannot be varied");
    Ok(())
}

fn sweep(kind: &str, scenario: Scenario, points: Vec<Point>, found: Option<Found>) -> Sweep {
    Sweep {
        schema: sweep::SCHEMA.into(),
        kind: kind.into(),
        name: scenario.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        machine: proc::machine(),
        finished_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        scenario,
        points,
        found,
    }
}

fn write_sweep(sweep: &Sweep, output: &SweepOutputArgs) -> anyhow::Result<()> {
    if let Some(path) = &output.json {
        write_json(sweep, path)?;
    }
    if let Some(path) = &output.html {
        write_text(path, &sweep_page::page(sweep))?;
    }
    eprint!("{}", sweep.table().text());
    if let Some(answer) = sweep.answer() {
        eprintln!("{answer}");
    }
    Ok(())
}

impl SweepOutputArgs {
    fn files(&self) -> Vec<(&'static str, PathBuf)> {
        named([("--json", &self.json), ("--html", &self.html)])
    }
}

fn named<const N: usize>(
    options: [(&'static str, &Option<PathBuf>); N],
) -> Vec<(&'static str, PathBuf)> {
    options.into_iter().filter_map(|(option, path)| Some((option, path.clone()?))).collect()
}

/// The scenario file is read, and no result may be written over it.
fn sources(scenario: Option<&PathBuf>) -> Vec<&Path> {
    scenario.map(PathBuf::as_path).into_iter().collect()
}

fn compare_command(args: &CompareArgs) -> anyhow::Result<u8> {
    let (a, b) = (read_json(&args.a)?, read_json(&args.b)?);
    let _opened = Outputs::open(&[&args.a, &args.b], &named([("--html", &args.html)]))?;
    let comparison = compare::compare(&a, &b, args.threshold / 100.0, args.different_scenarios)?;
    print!("{}", comparison.table);
    if let Some(path) = &args.html {
        write_text(path, &html::page(&[&a, &b], Some(&comparison.table)))?;
    }
    Ok(if a.void || b.void {
        verdict::EXIT_VOID
    } else if comparison.regressions.is_empty() {
        verdict::EXIT_OK
    } else {
        verdict::EXIT_REGRESSION
    })
}

fn merge_command(args: &MergeArgs) -> anyhow::Result<u8> {
    let reports: Vec<Report> =
        args.reports.iter().map(|path| read_json(path)).collect::<anyhow::Result<_>>()?;
    let sources: Vec<&Path> = args.reports.iter().map(PathBuf::as_path).collect();
    let _opened = Outputs::open(&sources, &args.output.files())?;
    let merged = merge::merge(&reports, args.different_scenarios)?;
    eprint!("{}", summary::text(&merged));
    write_output(&merged, &args.output)?;
    Ok(verdict::exit_code(&merged))
}

fn report_command(args: &ReportArgs) -> anyhow::Result<u8> {
    let reports: Vec<Report> =
        args.reports.iter().map(|path| read_json(path)).collect::<anyhow::Result<_>>()?;
    let sources: Vec<&Path> = args.reports.iter().map(PathBuf::as_path).collect();
    let _opened = Outputs::open(&sources, &[("--html", args.html.clone())])?;
    write_text(&args.html, &html::page(&reports.iter().collect::<Vec<_>>(), None))?;
    Ok(verdict::EXIT_OK)
}

fn read_json(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let report: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("report {}", path.display()))?;
    let is_ours = report["schema"] == SCHEMA;
    anyhow::ensure!(is_ours, "{} is no report with schema {SCHEMA:?}", path.display());
    serde_json::from_value(report).with_context(|| format!("report {}", path.display()))
}

impl OutputArgs {
    /// All files that a report is written to.
    fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let mut files = named([("--json", &self.json), ("--html", &self.html)]);
        if let Some(prefix) = &self.hgrm {
            files.extend(METRICS.map(|(_, name)| ("--hgrm", hgrm_path(prefix, name))));
        }
        files
    }
}

fn hgrm_path(prefix: &Path, metric: &str) -> PathBuf {
    PathBuf::from(format!("{}.{metric}.hgrm", prefix.display()))
}

fn write_output(report: &Report, output: &OutputArgs) -> anyhow::Result<()> {
    if let Some(path) = &output.json {
        write_json(report, path)?;
    }
    if let Some(prefix) = &output.hgrm {
        write_hgrm(report, prefix)?;
    }
    if let Some(path) = &output.html {
        write_text(path, &html::page(&[report], None))?;
    }
    Ok(())
}

fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    if path == Path::new(STDOUT) {
        return std::io::stdout().write_all(text.as_bytes()).context("standard output");
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn scenario(args: ScenarioArgs) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::read(args.preset, args.scenario.as_deref())?;
    if !args.targets.is_empty() {
        scenario.targets = args.targets;
    }
    set(&mut scenario.name, args.name);
    set(&mut scenario.protocol, args.protocol);
    set(&mut scenario.events, args.events.map(|file| Some(EventsSource::File(file))));
    set(&mut scenario.room_name, args.room_name.map(Some));
    set(&mut scenario.echo, args.echo.map(Some));
    set(&mut scenario.transport, args.transport);
    set(&mut scenario.path, args.path.map(Some));
    set(&mut scenario.users.register, args.users.map(Some));
    set(&mut scenario.users.tokens, args.tokens.map(Some));
    args.access.apply(&mut scenario);
    set(&mut scenario.clients, args.clients);
    set(&mut scenario.rooms, args.rooms);
    set(&mut scenario.room_sizes, args.room_sizes);
    set(&mut scenario.rooms_per_client, args.rooms_per_client);
    set(&mut scenario.first_room, args.first_room);
    set(&mut scenario.presence, args.presence);
    set(&mut scenario.publishers, args.publishers);
    if let Some(rate) = args.rate {
        scenario.load.rate = rate;
        scenario.load.delivery_rate = 0.0;
        scenario.load.mode = Mode::Open;
    }
    if let Some(rate) = args.delivery_rate {
        scenario.load.delivery_rate = rate;
        scenario.load.mode = Mode::Open;
    }
    set(&mut scenario.load.arrivals, args.arrivals);
    if let Some(outstanding) = args.outstanding {
        scenario.load.outstanding = outstanding;
        scenario.load.mode = Mode::Closed;
    }
    set(&mut scenario.load.completion, args.completion);
    scenario.load.acks &= !args.no_acks;
    set(&mut scenario.payload, args.payload);
    set(&mut scenario.connect.rate, args.connect_rate);
    set(&mut scenario.connect.concurrency, args.connect_concurrency);
    set(&mut scenario.connect.timeout_ms, args.connect_timeout_ms);
    set(&mut scenario.connect.settle_ms, args.settle_ms);
    set(&mut scenario.duration_s, args.duration);
    set(&mut scenario.warmup_s, args.warmup);
    set(&mut scenario.drain_s, args.drain);
    set(&mut scenario.seed, args.seed);
    set(&mut scenario.threads, args.threads);
    if !args.cores.is_empty() {
        scenario.cores = args.cores;
    }
    if !args.sources.is_empty() {
        scenario.sources = args.sources;
    }
    scenario.slo.extend(args.slo);
    set(&mut scenario.server_pid, args.server_pid.map(Some));
    set(&mut scenario.server_metrics, args.server_metrics.map(Some));
    Ok(scenario)
}

/// SIGINT and SIGTERM end the run early, with a report that says so.
fn watch_signals(interrupt: &Interrupt) -> anyhow::Result<()> {
    use nix::sys::signal::{SigSet, Signal};
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    // Blocked before any thread starts, so that only the waiting thread takes them.
    set.thread_block().context("block signals")?;
    let interrupt = interrupt.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while set.wait().is_ok() {
            if interrupt.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    })?;
    Ok(())
}

pub fn write_json(report: &impl Serialize, path: &Path) -> anyhow::Result<()> {
    write_text(path, &(json_text(report)? + "\n"))
}

/// One line per top-level field: readable, and still small with its histograms.
fn json_text(report: &impl Serialize) -> anyhow::Result<String> {
    let serde_json::Value::Object(fields) = serde_json::to_value(report)? else {
        anyhow::bail!("a report is an object");
    };
    let lines: Vec<_> = fields.iter().map(|(key, value)| format!("  {key:?}: {value}")).collect();
    Ok(format!("{{\n{}\n}}", lines.join(",\n")))
}

fn write_hgrm(report: &Report, prefix: &Path) -> anyhow::Result<()> {
    let samples = report.samples();
    for (metric, name) in METRICS {
        if !samples.of(metric).is_empty() {
            write_text(&hgrm_path(prefix, name), &hgrm::text(samples.of(metric)))?;
        }
    }
    Ok(())
}

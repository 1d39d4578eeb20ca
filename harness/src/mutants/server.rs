//! Reference servers to run the cases against, and what is known of them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use throng_codec::engine::Protocol;
use throng_reference::{Defect, Limits, Mutant, Options, Reference};
use throng_spec::Profile;

use crate::abuse::plan::Plan;
use crate::capabilities::{Capabilities, Capability};
use crate::client::ClientError;
use crate::client::open::Open;
use crate::client::poller::Poller;
use crate::client::rest::Rest;
use crate::client::target::Target;
use crate::client::transcript::Transcript;
use crate::probe::probe;
use crate::run::Run;

/// Seed of the property tests, fixed so that the outcome can be repeated.
const SEED: u64 = 1;
const SCRIPTS: u32 = 12;
/// What its inputs take for the largest message: more than the reference server takes of anyone, so
/// that a missing limit shows with few connections.
const ABUSE_PAYLOAD: u64 = 4 << 20;
/// Defects that only show while the server is abused: the case with the input that shows it, and what the
/// observation must say, since a busy machine may make any of these cases fail by its latency.
const SHOWN_BY_ABUSE: &[(Defect, &str, &str)] = &[
    (Defect::UnreadAnswersKept, "abuse.replies.eio3-pings", "memory"),
    (Defect::RefusalHoldsAll, "abuse.replies.unknown-events", "p99"),
    (Defect::UnfinishedHeadSpins, "abuse.unfinished.heads", "of a core"),
    (Defect::BodyHoldsAll, "abuse.unfinished.bodies-of-sessions", "are missing"),
    (Defect::AnonymousUnlimited, "abuse.unfinished.frames", "memory"),
    (Defect::CrowdLosesMessages, "abuse.floods.sessions", "are missing"),
    (Defect::LoginHoldsAll, "abuse.floods.logins", "p99"),
    (Defect::TooLargeClosesAnother, "abuse.floods.largest", "sessions of others ended"),
];
/// Defects by which a capability is gone: no case can run that would show them, but the run demands it.
const CAPABILITY_GONE: &[(Defect, Capability)] = &[
    (Defect::RegistrationGone, Capability::Chat),
    (Defect::UpgradeNotOffered, Capability::Upgrade),
    (Defect::OldProtocolRefused, Capability::Eio3Polling),
    (Defect::PollingRefused, Capability::Eio4Polling),
];

/// What a mutant needs to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    OneNode,
    TwoNodes,
    DefaultLimits,
    /// A process of its own, whose memory and processor time can be judged, and one case.
    Abused {
        case: &'static str,
        mark: &'static str,
    },
    /// The probe alone.
    Gone(Capability),
}

impl Kind {
    pub fn of(mutant: &Mutant) -> Kind {
        let defect = mutant.defect();
        let shown = SHOWN_BY_ABUSE.iter().find(|(shown, ..)| Some(*shown) == defect);
        let gone = CAPABILITY_GONE.iter().find(|(gone, _)| Some(*gone) == defect);
        match (shown, gone) {
            (Some(&(_, case, mark)), _) => Kind::Abused { case, mark },
            (_, Some(&(_, capability))) => Kind::Gone(capability),
            _ if mutant.needs_default_limits => Kind::DefaultLimits,
            // What is wrong between nodes needs two of them.
            _ if mutant.clauses.iter().any(|id| id.starts_with("NODE-")) => Kind::TwoNodes,
            _ => Kind::OneNode,
        }
    }
}

/// A running server; it stops when dropped.
pub struct Server {
    pub run: Arc<Run>,
    _process: Process,
}

enum Process {
    Inside(#[expect(dead_code, reason = "it is kept until it is dropped")] Reference),
    Apart(#[expect(dead_code, reason = "it is kept until it is dropped")] Apart),
}

/// A reference server in a process of its own; it is killed when dropped.
struct Apart(Child);

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the correct server, or a mutant, of which the capabilities of the correct one are expected: cases must not be
/// skipped because a mutant breaks the probe.
pub fn serve(
    kind: Kind,
    mutant: Option<&Mutant>,
    known: Option<&Capabilities>,
    program: &Path,
) -> Option<Server> {
    if matches!(kind, Kind::Abused { .. }) {
        return serve_apart(mutant, known, program);
    }
    let nodes = if kind == Kind::TwoNodes { 2 } else { 1 };
    let server = start(kind, mutant, nodes)?;
    let targets: Vec<Target> = server
        .urls()
        .iter()
        .map(|url| Target::parse(url, "/socket.io/").ok())
        .collect::<Option<_>>()?;
    let mut run = run_against(targets, known);
    if !mutant.is_some_and(Mutant::shows_late) {
        run.watch = Duration::ZERO;
    }
    run.node_switch = Some(Box::new(server.node_switch()));
    Some(Server { run: Arc::new(run), _process: Process::Inside(server) })
}

/// What the probe finds; nothing if the server cannot be reached.
pub fn probed(kind: Kind, mutant: Option<&Mutant>) -> Option<Capabilities> {
    let server = start(kind, mutant, 1)?;
    let target = Target::parse(server.urls().first()?, "/socket.io/").ok()?;
    Some(probe(&target, Profile::Throng, None).unwrap_or_default())
}

fn start(kind: Kind, mutant: Option<&Mutant>, nodes: usize) -> Option<Reference> {
    let mut options = Options::default();
    if kind == Kind::DefaultLimits {
        options.limits = Limits::of_the_text();
    }
    if let Some(mutant) = mutant {
        mutant.apply(&mut options);
    }
    Reference::start_at(&vec!["127.0.0.1:0"; nodes], options).ok()
}

fn run_against(targets: Vec<Target>, known: Option<&Capabilities>) -> Run {
    let capabilities = match known {
        Some(known) => known.clone(),
        None => probe(&targets[0], Profile::Throng, None).unwrap_or_default(),
    };
    let mut capabilities = capabilities;
    if let Ok(open) = handshake(&targets[0]) {
        // As the probe would: what the server says is what it is held to.
        capabilities.ping_interval_ms = open.ping_interval.as_millis() as u64;
        capabilities.ping_timeout_ms = open.ping_timeout.as_millis() as u64;
        capabilities.max_payload = open.max_payload.or(capabilities.max_payload);
    }
    let mut run = Run::new(targets, capabilities, SEED);
    run.cases = SCRIPTS;
    run.wait = Duration::from_secs(3);
    run.lease = Duration::from_secs(2);
    run.connect_timeout = Some(throng_reference::Options::default().connect_timeout);
    run
}

/// The open packet of a polling session.
fn handshake(target: &Target) -> Result<Open, ClientError> {
    let rest = Rest { target: target.clone(), log: Transcript::default().log("handshake") };
    let path = format!("{}?EIO=4&transport=polling", target.engine_path);
    Ok(Poller::open(rest, Protocol::Eio4, &path, None)?.open.clone())
}

fn serve_apart(
    mutant: Option<&Mutant>,
    known: Option<&Capabilities>,
    program: &Path,
) -> Option<Server> {
    #[expect(clippy::disallowed_methods, reason = "it is this program, or that of its own tests")]
    let mut command = std::process::Command::new(program);
    command.args(["reference", "--listen", "127.0.0.1:0"]);
    command.args(mutant.iter().flat_map(|mutant| ["--defect", mutant.name.as_str()]));
    let mut server = Apart(command.stdout(Stdio::piped()).spawn().ok()?);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take()?).read_line(&mut line).ok()?;
    let url = line.trim().strip_prefix("reference listening on ")?;
    let mut run = run_against(vec![Target::parse(url, "/socket.io/").ok()?], known);
    run.capabilities.max_payload = Some(ABUSE_PAYLOAD);
    run.abuse = Some(Plan {
        time: Duration::from_millis(1_500),
        connections: 24,
        users: 10,
        slack: Duration::from_millis(20),
        server_pid: Some(server.0.id()),
    });
    Some(Server { run: Arc::new(run), _process: Process::Apart(server) })
}

//! What all cases of one run share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use throng_events::Events;
use throng_spec::Profile;

use crate::abuse::plan::Plan;
use crate::borrowed::{RoomPool, UserPool};
use crate::capabilities::{Capabilities, Need};
use crate::client::rest::User;
use crate::client::target::Target;
use crate::credentials::Credentials;
use crate::deliveries::Texts;
use crate::slo::Slo;

/// Kills a node (`down`) or starts it (`up`), and returns when that is done.
pub type NodeSwitch = Box<dyn Fn(&str, usize) -> Result<(), String> + Send + Sync>;

/// Runs the command line of `--node-command`.
pub fn by_command(command: String) -> NodeSwitch {
    Box::new(move |what, node| {
        let line = format!("{command} {what} {node}");
        #[expect(clippy::disallowed_methods, reason = "the command line is the user's")]
        let output = std::process::Command::new("sh").args(["-c", &line]).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                Err(format!("`{line}` ended with {}: {stderr}", output.status))
            }
            Err(why) => Err(format!("`{line}`: {why}")),
        }
    })
}

/// What all cases of a run share.
pub struct Run {
    /// The nodes of the target, at least one.
    pub nodes: Vec<Target>,
    pub capabilities: Capabilities,
    pub seed: u64,
    /// Scripts per property test.
    pub cases: u32,
    pub wait: Duration,
    pub slow: bool,
    /// How long cases leave the target alone before they go on; 0 for not at all.
    pub soak: Duration,
    /// How long the sessions of a case are watched when it has ended; 0 for not at all.
    pub watch: Duration,
    /// What the answers of a target at rest must meet.
    pub slo: Vec<Slo>,
    /// How long the target waits for CONNECT, if that is known.
    pub connect_timeout: Option<Duration>,
    /// `None`: no node may be killed.
    pub node_switch: Option<NodeSwitch>,
    /// Time within which the other nodes must detect that a node died.
    pub lease: Duration,
    /// Directory for shrunk scripts; `None` writes none.
    pub scripts: Option<PathBuf>,
    /// `None`: the target may not be abused.
    pub abuse: Option<Plan>,
    /// Users that are given; `None`: they are registered.
    pub credentials: Option<Arc<Credentials>>,
    /// Whose clauses are judged.
    pub profile: Profile,
    /// How the target names the events of its rooms; `None`: it is not said.
    pub events: Option<Arc<Events>>,
    /// Rooms for cases, where the target creates none on demand.
    pub room_pool: RoomPool,
    /// Users for cases, once the target has put off a registration.
    pub user_pool: UserPool,
    /// The rooms of the events file that each text was sent to.
    pub texts: Arc<Mutex<Texts>>,
    reader: Mutex<Option<User>>,
    /// The target limits registrations: users are used again.
    limits_users: AtomicBool,
    /// The users that watch the target while it is abused: all cases share them, since a server may
    /// limit registrations.
    pub others: Mutex<Vec<User>>,
    /// Makes names of this run differ from those of earlier runs against the same server.
    nonce: u64,
    /// Everybody who was registered, by id.
    registered: Mutex<BTreeMap<u64, User>>,
    users: AtomicU64,
    rooms: AtomicU64,
    contexts: AtomicUsize,
    attacks: AtomicU8,
}

impl Run {
    pub fn new(nodes: Vec<Target>, capabilities: Capabilities, seed: u64) -> Run {
        // Not of the clock: runs may begin at the same moment against one server.
        let nonce = RandomState::new().hash_one(process::id()) % 1_000_000_000_000;
        let rooms =
            if capabilities.rooms_on_demand { Vec::new() } else { capabilities.rooms.clone() };
        Run {
            room_pool: RoomPool::new(rooms),
            user_pool: UserPool::default(),
            texts: Arc::default(),
            reader: Mutex::default(),
            limits_users: AtomicBool::new(false),
            nodes,
            capabilities,
            seed,
            cases: 12,
            wait: Duration::from_secs(5),
            slow: false,
            soak: Duration::from_secs(7),
            watch: Duration::from_secs(3),
            slo: Vec::new(),
            connect_timeout: None,
            node_switch: None,
            lease: Duration::from_secs(12),
            scripts: None,
            abuse: None,
            credentials: None,
            profile: Profile::Throng,
            events: None,
            others: Mutex::default(),
            nonce,
            registered: Mutex::default(),
            users: AtomicU64::new(0),
            // Anywhere in the range of room ids, far from the default rooms.
            rooms: AtomicU64::new(1_000_000 + nonce % 997_000_000),
            contexts: AtomicUsize::new(0),
            attacks: AtomicU8::new(0),
        }
    }

    /// Why a case with these needs cannot run, if it cannot.
    pub fn lacks(&self, needs: &[Need]) -> Option<String> {
        if needs.contains(&Need::Nodes) && self.nodes.len() < 2 {
            return Some("the target is a single node; pass several with --target".to_owned());
        }
        let kills = [Need::NodeCommand, Need::Restart];
        if needs.iter().any(|need| kills.contains(need)) && self.node_switch.is_none() {
            return Some("nodes are killed only with --node-command".to_owned());
        }
        if needs.contains(&Need::Restart) && self.nodes.len() > 1 {
            return Some(
                "of several nodes one is killed at a time: see nodes.* and prop.nodes".to_owned(),
            );
        }
        if needs.contains(&Need::Abuse) && self.abuse.is_none() {
            return Some("the target is abused only with --abuse".to_owned());
        }
        if let Some(why) = self.lacks_events(needs) {
            return Some(why.to_owned());
        }
        self.capabilities.lacks(needs)
    }

    /// What cases that wait for heartbeats may take besides, with `slow`.
    pub fn heartbeats_time(&self) -> Duration {
        const HEARTBEATS: u32 = 4;
        if !self.slow {
            return Duration::ZERO;
        }
        self.capabilities.silence_bound() * HEARTBEATS
    }

    fn lacks_events(&self, needs: &[Need]) -> Option<&'static str> {
        if !needs.contains(&Need::Events) {
            return None;
        }
        match &self.events {
            None => Some("how the target names its events is said with --events"),
            Some(events) if needs.contains(&Need::Leave) && events.leave.is_none() => {
                Some("the events file does not say how to leave a room")
            }
            Some(events) if needs.contains(&Need::Roster) && events.roster.is_none() => {
                Some("the events file does not say what a roster is")
            }
            Some(_) => None,
        }
    }

    /// A user that only reads, the same for all cases.
    pub fn reader<E>(&self, register: impl FnOnce() -> Result<User, E>) -> Result<User, E> {
        let mut reader = self.reader.lock().expect("no thread panics while it registers");
        if let Some(reader) = &*reader {
            return Ok(reader.clone());
        }
        Ok(reader.insert(register()?).clone())
    }

    pub fn note_user(&self, user: &User) {
        self.registered().insert(user.id, user.clone());
    }

    /// Everybody who was registered, by id.
    pub fn users(&self) -> BTreeMap<u64, User> {
        self.registered().clone()
    }

    fn registered(&self) -> MutexGuard<'_, BTreeMap<u64, User>> {
        self.registered.lock().expect("no thread panics while it adds a user")
    }

    pub fn limits_users(&self) -> bool {
        self.limits_users.load(Ordering::Relaxed)
    }

    /// A registration was put off.
    pub fn note_limit_of_users(&self) {
        self.limits_users.store(true, Ordering::Relaxed);
    }

    pub fn fresh_email(&self) -> String {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        format!("u{}x{number}@example.com", self.nonce)
    }

    /// Cases take the nodes in turn.
    pub fn next_node(&self) -> usize {
        self.contexts.fetch_add(1, Ordering::Relaxed) % self.nodes.len()
    }

    /// Counts the attacks on the target, from 0, and again after 256.
    pub fn next_attack(&self) -> u8 {
        self.attacks.fetch_add(1, Ordering::Relaxed)
    }

    pub fn fresh_room(&self) -> u64 {
        self.rooms.fetch_add(1, Ordering::Relaxed)
    }
}

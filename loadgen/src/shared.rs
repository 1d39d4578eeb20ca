//! What the threads of one run share: the plan, the stage, and each room's published counts.

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Mutex, MutexGuard};

use crate::clock::SECOND_NS;
use crate::credentials::Credentials;
use crate::dialect::Dialect;
use crate::order::Order;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::target::Target;
use crate::tls::Trust;

/// Where the run stands. Only the main thread moves it, and only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    Connecting,
    /// All clients are in their rooms; rosters come to rest.
    Settling,
    Running,
    /// Nothing more is published; what is owed may still come.
    Draining,
    Done,
}

const STAGES: [Stage; 5] =
    [Stage::Connecting, Stage::Settling, Stage::Running, Stage::Draining, Stage::Done];

/// The instants of the run, monotonic nanoseconds; 0 until known.
#[derive(Default)]
pub struct Times {
    /// First message due.
    pub start_ns: AtomicU64,
    /// End of the warm-up: samples count from here.
    pub measure_ns: AtomicU64,
    /// Last message due; samples count until here.
    pub end_ns: AtomicU64,
    /// Messages due after this are not sent any more: `end_ns`, or earlier after an interrupt.
    pub stop_ns: AtomicU64,
}

impl Times {
    /// A message due then is still to be sent.
    #[must_use]
    pub fn is_before_stop(&self, due_ns: u64) -> bool {
        let stop_ns = self.stop_ns.load(Ordering::Acquire);
        stop_ns == 0 || due_ns <= stop_ns
    }

    /// Whole seconds since the first message was due; none before.
    #[must_use]
    pub fn second(&self, now_ns: u64) -> Option<u64> {
        let start_ns = self.start_ns.load(Ordering::Relaxed);
        let since_ns = now_ns.checked_sub(start_ns).filter(|_| start_ns != 0)?;
        Some(since_ns / SECOND_NS)
    }
}

/// A room as all threads see it.
pub struct Room {
    /// Messages published, per publisher.
    pub published: Vec<AtomicU32>,
    /// Messages acknowledged in an unbroken row from the first, per publisher.
    pub acked: Vec<AtomicU32>,
    /// The order of all publishers' messages; of one publisher's the ledgers say all there is to say.
    pub order: Option<Box<Order>>,
    /// Numbers the server refused, per publisher.
    refused: Mutex<HashMap<u16, Vec<u32>>>,
    /// Sessions in the room, per user.
    present: Mutex<HashMap<u32, u32>>,
    /// Users present.
    pub online: AtomicU32,
    /// When `online` last changed.
    pub changed_ns: AtomicU64,
}

impl Room {
    fn new(publishers: u16) -> Self {
        let counters = || (0..publishers).map(|_| AtomicU32::new(0)).collect();
        Self {
            published: counters(),
            acked: counters(),
            order: (publishers > 1).then(Box::default),
            refused: Mutex::default(),
            present: Mutex::default(),
            online: AtomicU32::new(0),
            changed_ns: AtomicU64::new(0),
        }
    }

    /// Each publisher's count now.
    #[must_use]
    pub fn counts(&self) -> Vec<u32> {
        self.published.iter().map(|n| n.load(Ordering::Acquire)).collect()
    }

    pub fn refuse(&self, publisher: u16, n: u32) {
        held(&self.refused).entry(publisher).or_default().push(n);
    }

    #[must_use]
    pub fn refused(&self) -> HashMap<u16, Vec<u32>> {
        held(&self.refused).clone()
    }

    pub fn enter(&self, user: u32, now_ns: u64) {
        let mut present = held(&self.present);
        let sessions = present.entry(user).or_insert(0);
        *sessions += 1;
        if *sessions == 1 {
            self.online.fetch_add(1, Ordering::AcqRel);
            self.changed_ns.store(now_ns, Ordering::Release);
        }
    }

    pub fn leave(&self, user: u32, now_ns: u64) {
        let mut present = held(&self.present);
        if let Some(sessions) = present.get_mut(&user) {
            *sessions -= 1;
            if *sessions == 0 {
                present.remove(&user);
                self.online.fetch_sub(1, Ordering::AcqRel);
                self.changed_ns.store(now_ns, Ordering::Release);
            }
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds the lock")
}

/// One thread's numbers, written by that thread and read by others.
#[derive(Default)]
pub struct Gauges {
    pub thread_id: AtomicI32,
    /// Clients in all their rooms.
    pub joined: AtomicU64,
    pub failed: AtomicU64,
    /// When the last join was answered.
    pub last_join_ns: AtomicU64,
    pub published: AtomicU64,
    pub delivered: AtomicU64,
    pub duplicated: AtomicU64,
    pub errors: AtomicU64,
    /// Messages still owed to this thread's members (while draining).
    pub owed: AtomicU64,
    /// Clients on their way into their rooms (while settling or draining).
    pub awaited: AtomicU64,
    /// Members whose roster is not yet right (while settling or draining).
    pub unconverged: AtomicU64,
    pub connected: AtomicBool,
    /// Stages this thread has acted upon.
    pub seen_stage: AtomicU8,
}

pub struct Shared {
    pub scenario: Scenario,
    pub targets: Vec<Target>,
    pub plan: Plan,
    pub dialect: Dialect,
    pub credentials: Credentials,
    /// None: no target speaks TLS.
    pub trust: Option<Trust>,
    /// The number of each room.
    pub room_numbers: Vec<u32>,
    /// Marks our messages among those of other generators.
    pub run: u16,
    pub rooms: Vec<Room>,
    pub times: Times,
    /// The server sends rosters to members, or is to.
    pub has_rosters: AtomicBool,
    pub gauges: Vec<Gauges>,
    /// Threads whose accounts are closed: from all of them on connections may end.
    pub settled: AtomicUsize,
    stage: AtomicU8,
}

impl Shared {
    #[must_use]
    pub fn new(
        scenario: Scenario,
        targets: Vec<Target>,
        plan: Plan,
        (dialect, credentials): (Dialect, Credentials),
        run: u16,
    ) -> Self {
        let room_numbers = (scenario.first_room..).take(scenario.rooms).collect();
        Self {
            rooms: plan.publishers.iter().map(|publishers| Room::new(*publishers)).collect(),
            gauges: (0..scenario.threads).map(|_| Gauges::default()).collect(),
            times: Times::default(),
            has_rosters: AtomicBool::new(dialect.has_rosters()),
            settled: AtomicUsize::new(0),
            stage: AtomicU8::new(Stage::Connecting as u8),
            scenario,
            targets,
            plan,
            dialect,
            credentials,
            trust: None,
            room_numbers,
            run,
        }
    }

    /// The name of a room.
    #[must_use]
    pub fn room_name(&self, room: u16) -> String {
        self.scenario.name_of_room(self.room_numbers[usize::from(room)])
    }

    #[must_use]
    pub fn stage(&self) -> Stage {
        STAGES[usize::from(self.stage.load(Ordering::Acquire))]
    }

    pub fn enter_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    #[must_use]
    pub fn sum(&self, gauge: impl Fn(&Gauges) -> &AtomicU64) -> u64 {
        self.gauges.iter().map(|gauges| gauge(gauges).load(Ordering::Relaxed)).sum()
    }
}

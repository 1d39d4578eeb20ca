//! Watches the disk, the lock and the database, once a second, and says how they are. While the
//! database is down the probe is a write, so that it comes back by itself; while it is up, what the
//! callers meet counts as well.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use throng_health::{Dependency, Health, Need, State};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::StoreError;
use crate::db::Db;
use crate::directory::DatabaseLock;
use crate::disk::Disk;
use crate::fault::StorageFault;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a look may take: with [`LOOK_EVERY`], less than the two seconds in which the server must
/// know that it cannot serve.
const LOOK_TIMEOUT: Duration = Duration::from_millis(800);

pub(crate) const STORE: &str = "store";
const DISK: &str = "disk";
const LOCK: &str = "lock";

/// What the store depends on, by the names under which it is reported.
pub(crate) struct Dependencies {
    pub store: Dependency,
    disk: Dependency,
    lock: Dependency,
}

impl Dependencies {
    pub fn of(health: &Health) -> Self {
        let on = |name| health.depends_on(name, Need::Required);
        Self { store: on(STORE), disk: on(DISK), lock: on(LOCK) }
    }
}

pub(crate) struct Watch {
    pub db: Db,
    pub disk: Arc<Disk>,
    /// `None` where the database is not a file, or not exclusive.
    pub lock: Option<Arc<DatabaseLock>>,
    pub dependencies: Dependencies,
    pub pending: Pending,
}

/// What one look leaves for the next.
#[derive(Default)]
pub(crate) struct Pending {
    /// A look at the disk that has not ended: a disk that hangs gets no second one.
    disk_look: Option<JoinHandle<State>>,
    /// Transactions committed until then.
    commits: u64,
}

impl Watch {
    /// The first look, before the store is used.
    pub async fn begin(mut self) -> Self {
        self.look().await;
        self
    }

    pub async fn run(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first look was before the start.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        self.look_at_lock();
        let Watch { db, disk, dependencies, pending, .. } = self;
        let Pending { disk_look, commits } = pending;
        tokio::join!(
            look_at_disk(disk, disk_look, &dependencies.disk),
            look_at_store(db, commits, &dependencies.store)
        );
    }

    fn look_at_lock(&self) {
        let is_lost = self.lock.as_ref().is_some_and(|lock| !lock.is_in_place());
        let reason = "the lock file was removed: another process may open the database";
        self.dependencies.lock.set_fault(is_lost.then(|| reason.to_owned()));
    }
}

async fn look_at_disk(
    disk: &Arc<Disk>,
    pending: &mut Option<JoinHandle<State>>,
    dependency: &Dependency,
) {
    let look = pending.get_or_insert_with(|| {
        let disk = Arc::clone(disk);
        spawn_blocking(move || disk.look())
    });
    match timeout(LOOK_TIMEOUT, look).await {
        Ok(looked) => {
            *pending = None;
            dependency.set(looked.expect("a look at a disk does not panic"));
        }
        Err(_) => dependency.set(State::Down("the disk does not answer in time".to_owned())),
    }
}

async fn look_at_store(db: &Db, commits: &mut u64, dependency: &Dependency) {
    let was_down = matches!(dependency.state(), State::Down(_));
    let probe =
        async { if was_down { db.probe_thoroughly().await } else { db.probe_lightly().await } };
    let outcome = timeout(LOOK_TIMEOUT, probe).await.unwrap_or(Err(StoreError::Unanswered));
    let committed = db.metrics.counters.commits.load(Relaxed);
    let is_writing = std::mem::replace(commits, committed) != committed;
    let reason = |error: StoreError| match error.storage_fault() {
        Some(fault) => fault.to_string(),
        None => StorageFault::Unreachable.to_string(),
    };
    match outcome {
        Ok(()) if was_down => dependency.set(State::Ok),
        // What a caller met meanwhile stands until a write has succeeded.
        Ok(()) => dependency.set_first(State::Ok),
        // The probe waited behind writes that succeed: the database is busy, and nothing else is known.
        Err(StoreError::Unanswered) if is_writing => {}
        Err(error) => dependency.set_fault(Some(reason(error))),
    }
}

//! Watches the disk, the lock and the database, once a second, and says how they are. While the
//! database is down the probe is a write, so that it comes back by itself; while it is up, what the
//! callers meet counts as well.

use std::sync::Arc;
use std::time::Duration;

use throng_health::{Dependency, Health, Need, State};
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
}

impl Watch {
    /// The first look, before the store is used.
    pub async fn begin(self) -> Self {
        self.look().await;
        self
    }

    pub async fn run(self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first look was before the start.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    async fn look(&self) {
        self.look_at_lock();
        tokio::join!(self.look_at_disk(), self.look_at_store());
    }

    fn look_at_lock(&self) {
        let is_lost = self.lock.as_ref().is_some_and(|lock| !lock.is_in_place());
        let reason = "the lock file was removed: another process may open the database";
        self.dependencies.lock.set_fault(is_lost.then(|| reason.to_owned()));
    }

    async fn look_at_disk(&self) {
        let disk = Arc::clone(&self.disk);
        let look = tokio::task::spawn_blocking(move || disk.look());
        let state = match timeout(LOOK_TIMEOUT, look).await {
            Ok(Ok(state)) => state,
            Ok(Err(_)) => return,
            Err(_) => State::Down("the disk does not answer in time".to_owned()),
        };
        self.dependencies.disk.set(state);
    }

    async fn look_at_store(&self) {
        let was_down = matches!(self.dependencies.store.state(), State::Down(_));
        let probe = async {
            if was_down { self.db.probe_thoroughly().await } else { self.db.probe_lightly().await }
        };
        let outcome = timeout(LOOK_TIMEOUT, probe).await.unwrap_or(Err(StoreError::Unanswered));
        let reason = |error: StoreError| match error.storage_fault() {
            Some(fault) => fault.to_string(),
            None => StorageFault::Unreachable.to_string(),
        };
        match outcome {
            Ok(()) if was_down => self.dependencies.store.set(State::Ok),
            // What a caller met meanwhile stands until a write has succeeded.
            Ok(()) => self.dependencies.store.set_first(State::Ok),
            Err(error) => self.dependencies.store.set_fault(Some(reason(error))),
        }
    }
}

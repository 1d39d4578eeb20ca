//! Watches the disk, the lock and the database, twice a second, and says how they are. While the
//! database is down the probe is a write, so that it comes back by itself; while it is up, what the
//! callers meet counts as well.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use throng_health::{Dependency, Health, Need, State};
use tokio::task::{JoinHandle, spawn, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::StoreError;
use crate::db::Db;
use crate::directory::DatabaseLock;
use crate::disk::Disk;
use crate::fault::StorageFault;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two checks of a database that was found damaged: each reads all of it.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How long a look may take: two of them, with [`LOOK_EVERY`], less than the two seconds in which the server must
/// know that it cannot serve.
const LOOK_TIMEOUT: Duration = Duration::from_millis(700);

const STUCK: &str = "writes wait: another client may have locked a table or a row";

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
    disk: Look<State>,
    light: Look<Result<(), StoreError>>,
    thorough: Look<Result<(), StoreError>>,
    stuck: Stuck,
    check: Check,
}

/// A check of a damaged database, under way or over.
#[derive(Default)]
struct Check {
    running: Option<JoinHandle<Result<Option<String>, StoreError>>>,
    /// When the last one ended that has found damage.
    found: Option<Instant>,
}

impl Drop for Check {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl Check {
    /// Begins a check when one is due, and logs what the last one has found.
    async fn go_on(&mut self, db: &Db) {
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            match running.await.expect("a check does not panic, and ends with the watch") {
                Ok(None) => {
                    tracing::info!("the check of the database has found no damage");
                    self.found = None;
                    return;
                }
                Ok(Some(damage)) => tracing::error!(
                    %damage,
                    "the database is damaged: stop the server, and restore a backup, or run REINDEX if only an index \
                     is named"
                ),
                Err(error) => tracing::error!(%error, "the damaged database cannot be checked"),
            }
            self.found = Some(Instant::now());
        }
        let is_due = self.found.is_none_or(|found| found.elapsed() >= CHECK_EVERY);
        if is_due && self.running.is_none() {
            let db = db.clone();
            self.running = Some(spawn(async move { db.find_damage().await }));
        }
    }
}

/// Whether a look has found that writes wait, and how many had succeeded by then.
#[derive(Clone, Copy, Default)]
struct Stuck {
    is_so: bool,
    commits: u64,
}

/// A look that may not have ended. A thread that waits for a disk cannot be called back, so a disk that
/// hangs gets no second look until the first has ended.
struct Look<T>(Option<JoinHandle<T>>);

impl<T> Default for Look<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Drop for Look<T> {
    fn drop(&mut self) {
        if let Some(look) = &self.0 {
            look.abort();
        }
    }
}

impl<T> Look<T> {
    /// What is seen now, if that is known in time.
    async fn outcome(&mut self, begin: impl FnOnce() -> JoinHandle<T>) -> Option<T> {
        // What has ended since the last time is how it was then.
        let under_way = self.0.take().filter(|look| !look.is_finished());
        let look = self.0.insert(under_way.unwrap_or_else(begin));
        let outcome = timeout(LOOK_TIMEOUT, look).await.ok()?;
        self.0 = None;
        Some(outcome.expect("a look does not panic, and ends with the watch"))
    }
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
        let Pending { disk: disk_look, light, thorough, stuck, check } = pending;
        tokio::join!(look_at_disk(disk, disk_look, &dependencies.disk), async {
            if db.is_damaged() {
                check.go_on(db).await;
            }
            if db.is_damaged() {
                // What still works says nothing of the pages that do not.
                dependencies.store.set_fault(Some(StorageFault::Damaged.to_string()));
                return;
            }
            let is_down = matches!(dependencies.store.state(), State::Down(_));
            let is_thorough = is_down || db.take_suspicion();
            let look = if is_thorough { thorough } else { light };
            look_at_store(db, is_thorough, look, stuck, &dependencies.store).await;
        });
    }

    fn look_at_lock(&self) {
        let is_lost = self.lock.as_ref().is_some_and(|lock| !lock.is_in_place());
        let reason = "the lock file was removed: another process may open the database";
        self.dependencies.lock.set_fault(is_lost.then(|| reason.to_owned()));
    }
}

async fn look_at_disk(disk: &Arc<Disk>, look: &mut Look<State>, dependency: &Dependency) {
    let disk = Arc::clone(disk);
    let seen = look.outcome(|| spawn_blocking(move || disk.look())).await;
    let hangs = || State::Down("the disk does not answer in time".to_owned());
    dependency.set(seen.unwrap_or_else(hangs));
}

async fn probed(
    db: &Db,
    is_down: bool,
    look: &mut Look<Result<(), StoreError>>,
) -> Result<(), StoreError> {
    let probe = {
        let db = db.clone();
        async move { if is_down { db.probe_thoroughly().await } else { db.probe_lightly().await } }
    };
    let outcome = if db.file().is_some() {
        look.outcome(|| spawn(probe)).await
    } else {
        // A connection that does not answer may never do so: the next probe takes another.
        timeout(LOOK_TIMEOUT, probe).await.ok()
    };
    outcome.unwrap_or(Err(StoreError::Unanswered))
}

/// `is_down`: it was until now, and a write must show that it is up.
async fn look_at_store(
    db: &Db,
    is_down: bool,
    look: &mut Look<Result<(), StoreError>>,
    stuck: &mut Stuck,
    dependency: &Dependency,
) {
    let committed = || db.metrics.counters.commits.load(Relaxed);
    let before = committed();
    let mut outcome = probed(db, is_down, look).await;
    if matches!(outcome, Err(StoreError::Unanswered)) && before == committed() {
        // It may have waited behind one slow write.
        outcome = probed(db, is_down, look).await;
    }
    let is_writing = committed() != before;
    let was_stuck = stuck.is_so;
    let is_stuck = db.is_stuck(committed() != stuck.commits);
    *stuck = Stuck { is_so: is_stuck, commits: committed() };
    let reason = |error: StoreError| match error.storage_fault() {
        Some(fault) => fault.to_string(),
        None => StorageFault::Unreachable.to_string(),
    };
    match outcome {
        Ok(()) if is_stuck && (is_down || was_stuck) => {
            dependency.set_fault(Some(STUCK.to_owned()));
        }
        // The next look decides.
        Ok(()) if is_stuck => {}
        Ok(()) if is_down => dependency.set(State::Ok),
        // What a caller met meanwhile stands until a write has succeeded.
        Ok(()) => dependency.set_first(State::Ok),
        // The probe waited behind writes that succeed: the database is busy, and nothing else is known.
        Err(StoreError::Unanswered) if is_writing => {}
        Err(error) => dependency.set_fault(Some(reason(error))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn a_look_that_hangs_is_not_repeated_until_it_has_ended() {
        let place = tempfile::tempdir().expect("tempdir");
        let options = Options { min_free_mb: 0, ..Options::new(place.path()) };
        let disk = Arc::new(Disk::new(&options, None));
        let dependency = Health::default().depends_on(DISK, Need::Required);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (ended, has_ended) = oneshot::channel();
        let hanging = spawn_blocking(move || {
            let _ = held.recv();
            let _ = ended.send(());
            State::Down("as it was then".to_owned())
        });
        let id = hanging.id();
        let mut look = Look(Some(hanging));
        for _ in 0..2 {
            let begun = Instant::now();
            look_at_disk(&disk, &mut look, &dependency).await;
            assert!(begun.elapsed() < LOOK_TIMEOUT + LOOK_EVERY, "{:?}", begun.elapsed());
            let reason = "the disk does not answer in time".to_owned();
            assert_eq!(dependency.state(), State::Down(reason));
            assert_eq!(look.0.as_ref().map(JoinHandle::id), Some(id), "there is no second look");
        }
        drop(release);
        has_ended.await.expect("it ends");
        while !look.0.as_ref().is_some_and(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        look_at_disk(&disk, &mut look, &dependency).await;
        assert_eq!(dependency.state(), State::Ok, "and not as it was then");
        assert!(look.0.is_none());
    }

    #[tokio::test]
    async fn what_looked_like_damage_is_forgotten_once_a_check_has_found_none() {
        let place = tempfile::tempdir().expect("tempdir");
        let options = Options { min_free_mb: 0, ..Options::new(place.path()) };
        let health = Health::default();
        let store = health.depends_on(STORE, Need::Required);
        let url = options.default_url();
        let db = Db::open(&url, &options, Arc::default(), store.clone()).await.expect("open");
        let disk = Arc::new(Disk::new(&options, db.file()));
        let dependencies = Dependencies::of(&health);
        let pending = Pending::default();
        let watch = Watch { db: db.clone(), disk, lock: None, dependencies, pending };
        let mut watch = watch.begin().await;
        // What SQLite says of a damaged page too.
        let other = place.path().join("other.db");
        std::fs::write(&other, [b'x'; 4096]).expect("write");
        let attach = format!("ATTACH DATABASE '{}' AS other", other.display());
        db.execute(db.query(attach)).await.expect_err("it is no database");
        assert!(db.is_damaged() && matches!(store.state(), State::Down(_)));
        let begun = Instant::now();
        while store.state() != State::Ok {
            assert!(begun.elapsed() < Duration::from_secs(5), "{}", store.state());
            watch.look().await;
        }
        assert!(!db.is_damaged());
    }

    #[tokio::test]
    async fn a_file_that_hangs_gets_one_probe_of_each_kind() {
        let place = tempfile::tempdir().expect("tempdir");
        let options = Options { min_free_mb: 0, ..Options::new(place.path()) };
        let health = Health::default();
        let store = health.depends_on(STORE, Need::Required);
        let url = options.default_url();
        let db = Db::open(&url, &options, Arc::default(), store.clone()).await.expect("open");
        let disk = Arc::new(Disk::new(&options, db.file()));
        let dependencies = Dependencies::of(&health);
        let pending = Pending::default();
        let watch = Watch { db: db.clone(), disk, lock: None, dependencies, pending };
        let mut watch = watch.begin().await;
        assert_eq!(store.state(), State::Ok);
        // The one connection that writes does not come back, and another holds the lock.
        let held = db.write().await.expect("a transaction");
        let ids = |watch: &Watch| {
            let Pending { light, thorough, .. } = &watch.pending;
            [light, thorough].map(|look| look.0.as_ref().map(JoinHandle::id))
        };
        watch.look().await;
        assert!(matches!(store.state(), State::Down(_)), "{}", store.state());
        let [light, None] = ids(&watch) else { panic!("the store was not down before") };
        assert!(light.is_some(), "it waits for the connection");
        for _ in 0..3 {
            watch.look().await;
            assert_eq!(ids(&watch)[0], light, "there is no second one");
            assert!(matches!(store.state(), State::Down(_)), "{}", store.state());
        }
        held.forget().await.expect("a rollback");
        watch.look().await;
        assert_eq!(store.state(), State::Ok);
        watch.look().await;
        assert_eq!(store.state(), State::Ok, "what the light probe met before is forgotten");
        assert_eq!(ids(&watch), [None, None]);
    }
}

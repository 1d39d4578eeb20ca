//! The threads that compute password hashes: few, below the priority of the shards, each with one
//! memory that it uses for every hash.
//!
//! A hash writes 19 MiB. Taken from the allocator each time, on whatever thread is free, that memory is
//! never given back, and a hash at normal priority delays the chat on every core that it runs on.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::{Block, Params};
use tokio::sync::oneshot;

use crate::{Options, StoreError, StoreMetrics};

/// Name of the threads, for operators and tests.
const THREAD_NAME: &str = "throng-hash";
/// What the threads add to the niceness of the process: next to a busy shard one of them gets a tenth of
/// the core.
const NICENESS: i32 = 10;

/// Who waits for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// An address from which the account was used before: before all others.
    Known,
    /// Anyone else.
    Other,
}

/// A handle on the threads; they end when it is dropped.
pub(crate) struct Hashers {
    shared: Arc<Shared>,
    wait_max: Duration,
}

struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
    waiting_max: usize,
    metrics: Arc<StoreMetrics>,
}

#[derive(Default)]
struct Queue {
    known: VecDeque<Job>,
    others: VecDeque<Job>,
    is_closed: bool,
}

type Job = Box<dyn FnOnce(&mut HashMemory) + Send>;

/// The memory of one thread.
pub(crate) struct HashMemory {
    blocks: Vec<Block>,
    metrics: Arc<StoreMetrics>,
}

impl Hashers {
    pub fn start(options: &Options, metrics: Arc<StoreMetrics>) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            bell: Condvar::new(),
            waiting_max: options.hash_queue_max,
            metrics,
        });
        let hashers =
            Self { shared, wait_max: Duration::from_millis(options.hash_timeout_ms.into()) };
        for _ in 0..options.hash_threads {
            let shared = Arc::clone(&hashers.shared);
            std::thread::Builder::new()
                .name(THREAD_NAME.to_owned())
                .spawn(move || shared.work())
                .map_err(|error| StoreError::at(THREAD_NAME.as_ref(), error))?;
        }
        Ok(hashers)
    }

    /// Runs `job` on one of the threads.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait already, or it was not done in time.
    pub async fn run<T: Send + 'static>(
        &self,
        urgency: Urgency,
        job: impl FnOnce(&mut HashMemory) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |memory: &mut HashMemory| {
            // Who asked has gone, or has waited too long.
            if !reply.is_closed() {
                let _ = reply.send(job(memory));
            }
        });
        let exceeded = if self.shared.push(urgency, job) {
            match tokio::time::timeout(self.wait_max, answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(_)) => return Err(StoreError::Closed),
                Err(_) => "login.hash_timeout_ms",
            }
        } else {
            "login.hash_queue_max"
        };
        self.shared.metrics.counters.hashes_refused.fetch_add(1, Relaxed);
        Err(StoreError::Busy(exceeded))
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        *queue = Queue { is_closed: true, ..Queue::default() };
        self.shared.bell.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if too many wait. Each urgency has the whole bound, so that strangers cannot take the
    /// places of those who are known.
    fn push(&self, urgency: Urgency, job: Job) -> bool {
        let mut queue = self.lock();
        let lane = match urgency {
            Urgency::Known => &mut queue.known,
            Urgency::Other => &mut queue.others,
        };
        if lane.len() >= self.waiting_max {
            return false;
        }
        lane.push_back(job);
        self.bell.notify_one();
        true
    }

    /// The next job; `None` when the store is gone.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            let job = queue.known.pop_front().or_else(|| queue.others.pop_front());
            if job.is_some() {
                return job;
            }
            queue = self.bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        // On Linux the call concerns the calling thread alone.
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::warn!(%error, "cannot lower the priority of password hashes");
        }
        let mut memory = HashMemory { blocks: Vec::new(), metrics: Arc::clone(&self.metrics) };
        while let Some(job) = self.next() {
            job(&mut memory);
        }
    }
}

impl HashMemory {
    /// So many blocks, with whatever an earlier hash has left in them. What is more than a new hash needs
    /// is given back by the next call that needs less.
    pub fn blocks(&mut self, count: usize) -> &mut [Block] {
        let kept_max = count.max(Params::DEFAULT_M_COST as usize);
        if self.blocks.len() < count || self.blocks.len() > kept_max {
            let held = &self.metrics.counters.hash_memory;
            held.fetch_sub((self.blocks.len() * Block::SIZE) as u64, Relaxed);
            // Not grown in place, which would need both at once.
            self.blocks = Vec::new();
            self.blocks = vec![Block::new(); count];
            held.fetch_add((count * Block::SIZE) as u64, Relaxed);
        }
        &mut self.blocks[..count]
    }
}

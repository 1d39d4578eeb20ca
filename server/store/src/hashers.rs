//! The threads that compute password hashes: few, below the priority of the shards, each with one
//! memory that it uses for every hash.
//!
//! A hash writes 19 MiB. Taken from the allocator each time, on whatever thread is free, that memory is
//! never given back, and a hash at normal priority delays the chat on every core that it runs on.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::{Block, Params};
use throng_wire::http::ClientKey;
use tokio::sync::oneshot;

use crate::hash_queue::{HashQueue, Urgency};
use crate::{Options, StoreError, StoreMetrics};

/// Name of the threads, for operators and tests.
const THREAD_NAME: &str = "throng-hash";
/// What the threads add to the niceness of the process: next to a busy shard one of them gets a tenth of
/// the core.
const NICENESS: i32 = 10;

/// A handle on the threads; they end when it is dropped.
pub(crate) struct Hashers {
    shared: Arc<Shared>,
    wait_max: Duration,
}

struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
    metrics: Arc<StoreMetrics>,
}

struct Queue {
    waiting: HashQueue<Job>,
    is_closed: bool,
}

/// Gets the memory of its thread, or none if it has no place in the queue.
type Job = Box<dyn FnOnce(Option<&mut HashMemory>) + Send>;

/// The memory of one thread.
pub(crate) struct HashMemory {
    blocks: Vec<Block>,
    metrics: Arc<StoreMetrics>,
}

impl Hashers {
    pub fn start(options: &Options, metrics: Arc<StoreMetrics>) -> Result<Self, StoreError> {
        let queue = Queue { waiting: HashQueue::new(options.hash_queue_max), is_closed: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), bell: Condvar::new(), metrics });
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

    /// Runs `job` of `client` on one of the threads.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait and none has more of them than this client, when another client
    /// got its place later, or when it was not done in time.
    pub async fn run<T: Send + 'static>(
        &self,
        urgency: Urgency,
        client: ClientKey,
        job: impl FnOnce(&mut HashMemory) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |memory: Option<&mut HashMemory>| {
            // Who asked has gone, or has waited too long.
            if !reply.is_closed() {
                let _ = reply.send(memory.map(job));
            }
        });
        self.shared.push(urgency, client, job);
        let exceeded = match tokio::time::timeout(self.wait_max, answer).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => "login.hash_queue_max",
            Ok(Err(_)) => return Err(StoreError::Closed),
            Err(_) => "login.hash_timeout_ms",
        };
        self.shared.metrics.counters.hashes_refused.fetch_add(1, Relaxed);
        Err(StoreError::Busy(exceeded))
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.is_closed = true;
        queue.waiting.clear();
        self.shared.bell.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, urgency: Urgency, client: ClientKey, job: Job) {
        let without_place = self.lock().waiting.push(urgency, client, job);
        self.bell.notify_one();
        if let Some(job) = without_place {
            job(None);
        }
    }

    /// The next job; `None` when the store is gone.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            let job = queue.waiting.pop();
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
            job(Some(&mut memory));
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

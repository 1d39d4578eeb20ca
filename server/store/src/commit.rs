//! Group commit: one task writes everything that was requested while its last transaction ran, in
//! one transaction, in the order of the calls.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, Row};
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_ms;
use crate::db::{ATTEMPTS_MAX, Db};
use crate::fault::{is_transient, leaves_doubt};
use crate::job::{Appended, Job, JobOutcome, cids_of, rooms_of};
use crate::messages::{MessageIds, PlacedMessage, find_firsts, insert_messages};
use crate::plan::Plan;
use crate::reading::note_reading;
use crate::reads::raise_marks;
use crate::rooms::{LastSeqs, raise_rooms};
use crate::statement::{narrow, statement_chunks, values, widen};
use crate::{AppendError, NewMessage, SavedMark, Store, StoreError, StoreMetrics};

/// How long the outcome of a transaction is looked up before its callers learn that it is unknown.
const LOOK_UP_MAX: Duration = Duration::from_secs(3);
/// Between two tries.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

impl Store {
    /// Appends messages to a room; answers their seqs and ids once they are durable. They follow
    /// the room's last message without a gap, in this order. The only writer of a room gives the
    /// seq of the first message as `first_seq`; `None` leaves the numbers to the database, so that
    /// several nodes may append to one room.
    ///
    /// A message with the client id of an earlier one of its author in the room is answered with that
    /// one's place and not stored; it takes no seq.
    ///
    /// The order is the order of the calls, not of the first polls of their futures; the messages
    /// are written even if the future is dropped.
    ///
    /// # Errors
    /// [`AppendError::OutOfSequence`] when `first_seq` does not follow the room's last seq;
    /// [`StoreError::LowDisk`] when too little disk space is free for messages. When a transaction
    /// fails, all its callers get the error, and nothing of it is kept, unless it is
    /// [`AppendError::Unknown`].
    pub fn append(
        &self,
        room: u32,
        first_seq: Option<u64>,
        messages: Vec<NewMessage>,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        self.append_behind(room, first_seq, 0, messages)
    }

    /// The same, behind `tip` even if the database has fewer messages: it was restored from a copy, or has failed over
    /// to one that lagged behind. Clients that have seen the others would take the same numbers for the same messages.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_behind(
        &self,
        room: u32,
        first_seq: Option<u64>,
        tip: u64,
        messages: Vec<NewMessage>,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let job = Job::Append { room, first_seq, tip, messages, reply };
        let queued = self.disk().admit_messages().and_then(|()| self.enqueue(job));
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed.into()))
        }
    }

    /// Raises the user's read mark of a room to `seq`; a lower mark changes nothing. Notes whether
    /// the user is reading the room on this node: if the process ends meanwhile, [`Store::raise_marks`]
    /// counts everything in the room as read. Ordered with the calls of [`Store::append`].
    ///
    /// # Errors
    /// The queue is full or the transaction failed.
    pub fn save_read(
        &self,
        user: u32,
        room: u32,
        seq: u64,
        is_reading: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.save_mark(user, SavedMark { room, seq, choice: 0 }, is_reading)
    }

    /// As [`Store::save_read`], and raises the user's choice about the room.
    ///
    /// # Errors
    /// The queue is full or the transaction failed.
    pub fn save_mark(
        &self,
        user: u32,
        mark: SavedMark,
        is_reading: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(Job::SaveRead { user, mark, is_reading, reply });
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        }
    }

    /// Waits until everything queued before this call is committed.
    ///
    /// # Errors
    /// The queue is full or the store is closed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Flush { reply })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        self.commit_queue().try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics().counters.refusals.fetch_add(1, Relaxed);
                StoreError::Busy("commit_queue_max")
            }
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }
}

/// The task that commits.
pub(crate) struct Committer {
    pub db: Db,
    pub node: String,
    pub batch_max: usize,
    /// Nobody else writes to the database.
    pub is_alone: bool,
    pub metrics: Arc<StoreMetrics>,
}

impl Committer {
    /// Runs until the queue is closed and empty.
    pub async fn run(self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, self.batch_max.max(1)).await > 0 {
            self.commit_batch(&mut batch).await;
        }
    }

    async fn commit_batch(&self, batch: &mut Vec<Job>) {
        let started = Instant::now();
        let jobs = batch.len() as u64;
        let written = self.write_batch(batch).await;
        let outcome = written.map(|Written { outcomes, ids, .. }| (outcomes, ids));
        self.metrics.counters.jobs.fetch_add(jobs, Relaxed);
        match outcome {
            Ok((outcomes, ids)) => {
                self.metrics.counters.commits.fetch_add(1, Relaxed);
                self.metrics.counters.messages.fetch_add(ids.len() as u64, Relaxed);
                self.metrics.commit_latency.record(started.elapsed());
                assert_eq!(outcomes.len(), batch.len(), "every job has its outcome");
                let repeats = outcomes.iter().map(|outcome| match outcome {
                    JobOutcome::Placed { repeats, .. } => repeats.len() as u64,
                    JobOutcome::UnknownRoom
                    | JobOutcome::OutOfSequence { .. }
                    | JobOutcome::Done => 0,
                });
                self.metrics.counters.repeats.fetch_add(repeats.sum(), Relaxed);
                for (job, outcome) in batch.drain(..).zip(outcomes) {
                    job.answer(outcome, &ids);
                }
            }
            Err(Failed { error, is_doubtful }) => {
                self.metrics.counters.commit_failures.fetch_add(1, Relaxed);
                self.metrics.counters.commits_unknown.fetch_add(is_doubtful.into(), Relaxed);
                tracing::error!(%error, jobs, is_doubtful, "a group commit failed");
                for job in batch.drain(..) {
                    if is_doubtful {
                        job.doubt(error.clone());
                    } else {
                        job.refuse(error.clone());
                    }
                }
            }
        }
    }

    /// Repeats the transaction until it is committed or fails for a reason that will not pass. When
    /// its outcome is in doubt, it is looked up first: what callers learn must be true.
    async fn write_batch<'j>(&self, jobs: &'j [Job]) -> Result<Written<'j>, Failed> {
        let mut attempt = 1;
        loop {
            let mut doubtful = None;
            let waiting = self.db.batches.begin();
            let tried = self.try_batch(jobs, &mut doubtful).await;
            waiting.end(&tried);
            let error = match tried {
                Ok(written) => return Ok(written),
                Err(error) => error,
            };
            let is_doubtful = doubtful.is_some();
            // A batch without messages may be written again at any time.
            if let Some(written) = doubtful.filter(|written| !written.ids.is_empty()) {
                match self.settled(jobs, &written).await {
                    Some(true) => return Ok(written),
                    Some(false) => {}
                    None => return Err(Failed { error, is_doubtful }),
                }
            }
            if attempt == ATTEMPTS_MAX || !(is_doubtful || is_transient(&error)) {
                self.db.suspect();
                return Err(Failed { error, is_doubtful: false });
            }
            tracing::debug!(%error, attempt, "retrying a group commit");
            self.metrics.counters.commit_retries.fetch_add(1, Relaxed);
            attempt += 1;
        }
    }

    /// Whether what an attempt has written was committed; `None` if the database does not say so in time.
    async fn settled(&self, jobs: &[Job], written: &Written<'_>) -> Option<bool> {
        let looking = async {
            loop {
                match self.look_up(jobs, written).await {
                    Ok(is_kept) => return is_kept,
                    Err(error) => tracing::debug!(%error, "looking up a group commit in doubt"),
                }
                tokio::time::sleep(LOOK_UP_INTERVAL).await;
            }
        };
        tokio::time::timeout(LOOK_UP_MAX, looking).await.ok()
    }

    /// Whether what an attempt has written was committed. Waits for the end of its transaction, if
    /// that is still running.
    async fn look_up(&self, jobs: &[Job], written: &Written<'_>) -> Result<bool, StoreError> {
        let mut write = self.db.otherwise_in_time(self.db.write()).await?;
        let found = self.db.otherwise_in_time(async {
            self.lock_rooms(&mut write, &rooms_of(jobs)).await?;
            self.is_kept(&mut write, written).await
        });
        let is_kept = found.await?;
        // How this ends says nothing about the other.
        let _ = self.db.otherwise_in_time(write.forget()).await;
        Ok(is_kept)
    }

    /// `doubtful`: what was written, if it is unknown whether it was committed: the connection was lost before the
    /// answer, or the answer leaves it open.
    async fn try_batch<'j>(
        &self,
        jobs: &'j [Job],
        doubtful: &mut Option<Written<'j>>,
    ) -> Result<Written<'j>, StoreError> {
        let mut write = self.db.otherwise_in_time(self.db.write()).await?;
        match self.db.otherwise_in_time(self.apply(&mut write, jobs)).await {
            Ok(written) => {
                if let Err(error) = self.db.otherwise_in_time(write.commit()).await {
                    *doubtful = leaves_doubt(&error).then_some(written);
                    return Err(error);
                }
                Ok(written)
            }
            Err(error) => {
                // The transaction must end before the callers learn that nothing was kept. A server that
                // does not answer has not received the COMMIT.
                let undone = async {
                    write.undo(&error).await;
                    Ok::<(), StoreError>(())
                };
                let _ = self.db.otherwise_in_time(undone).await;
                Err(error)
            }
        }
    }

    async fn apply<'j>(
        &self,
        write: &mut AnyConnection,
        jobs: &'j [Job],
    ) -> Result<Written<'j>, StoreError> {
        let dialect = self.db.dialect;
        let last_seqs = self.lock_rooms(write, &rooms_of(jobs)).await?;
        // The rooms are locked, so nobody adds another meanwhile.
        let firsts = find_firsts(write, dialect, &cids_of(jobs)).await?;
        let plan = Plan::new(jobs, &last_seqs, firsts, now_ms());
        if plan.has_lost && self.is_alone {
            // Only what was copied over the file can have done that: what is written next would be lost as well.
            return Err(self.db.lose());
        }
        let ids = insert_messages(write, dialect, &plan.messages).await?;
        raise_rooms(write, dialect, &plan.raised).await?;
        raise_marks(write, dialect, &plan.marks).await?;
        note_reading(write, dialect, &self.node, &plan.marks).await?;
        let witness = plan.messages.first().copied();
        Ok(Written { outcomes: plan.outcomes, ids, witness })
    }

    /// Locks the rooms that exist and reads their last seqs. They are locked in the order of their
    /// ids, so that two nodes cannot wait for each other.
    async fn lock_rooms(
        &self,
        write: &mut AnyConnection,
        rooms: &BTreeSet<u32>,
    ) -> Result<LastSeqs, StoreError> {
        let dialect = self.db.dialect;
        let mut last_seqs = LastSeqs::new();
        let rooms: Vec<u32> = rooms.iter().copied().collect();
        for chunk in statement_chunks(&rooms) {
            let mut select = dialect.query(format!(
                "SELECT id, last_seq FROM rooms WHERE id IN {} ORDER BY id{}",
                values(1, chunk.len()),
                dialect.for_update()
            ));
            for room in chunk {
                select = select.bind(i64::from(*room));
            }
            for row in select.fetch_all(&mut *write).await? {
                let room = narrow(row.try_get(0)?, "room id")?;
                last_seqs.insert(room, narrow(row.try_get(1)?, "last seq of a room")?);
            }
        }
        Ok(last_seqs)
    }

    /// Whether a batch is in the database. It is if one of its messages is. A database that was
    /// interrupted may give the id and the number of a message that was not committed to another one, so
    /// the rest is compared too.
    async fn is_kept(
        &self,
        write: &mut AnyConnection,
        written: &Written<'_>,
    ) -> Result<bool, StoreError> {
        let Some(PlacedMessage { room, seq, created_at_ms, message }) = written.witness else {
            return Ok(false);
        };
        let Some(id) = written.ids.get(&(room, seq)) else { return Ok(false) };
        let select = self
            .db
            .query(
                "SELECT user_id, created_at, cid, msg FROM messages
                 WHERE id = ? AND room_id = ? AND seq = ?",
            )
            .bind(*id)
            .bind(i64::from(room))
            .bind(widen(seq));
        let Some(row) = select.fetch_optional(write).await? else { return Ok(false) };
        let user: i64 = row.try_get(0)?;
        let created_at: i64 = row.try_get(1)?;
        let cid: Option<Vec<u8>> = row.try_get(2)?;
        let msg: String = row.try_get(3)?;
        Ok(user == i64::from(message.user)
            && created_at == created_at_ms
            && cid.as_deref() == message.cid.as_deref().map(str::as_bytes)
            && msg == self.db.dialect.text(&message.msg))
    }
}

/// Why a batch has no outcome, and whether it may have been kept all the same.
struct Failed {
    error: StoreError,
    is_doubtful: bool,
}

/// What a transaction has written: an outcome per job, and the ids of the messages.
struct Written<'j> {
    outcomes: Vec<JobOutcome>,
    ids: MessageIds,
    /// One of the messages, to recognise it.
    witness: Option<PlacedMessage<'j>>,
}

//! Group commit: one task writes what all rooms asked for while its last transaction ran, in one
//! transaction, in the order of the calls.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_ms;
use crate::db::{Db, narrow};
use crate::messages::{insert_messages, widen};
use crate::plan::{MessageIds, Plan, Stands, Verdict, appended, rooms_of};
use crate::reading::note_reading;
use crate::reads::raise_marks;
use crate::{AppendError, NewMessage, Store, StoreError, StoreMetrics};

/// Where an append was placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Seq of its first message, or of the next one if there was none.
    pub first_seq: u64,
    /// Ids of its messages, in their order.
    pub ids: Vec<i64>,
}

/// What waits for the next transaction, with the way back to its caller.
pub(crate) enum Job {
    Append {
        room: u32,
        first_seq: Option<u64>,
        messages: Vec<NewMessage>,
        reply: oneshot::Sender<Result<Appended, AppendError>>,
    },
    SaveRead {
        user: u32,
        room: u32,
        seq: u64,
        is_reading: bool,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Answered when everything before it was.
    Flush { reply: oneshot::Sender<Result<(), StoreError>> },
}

impl Job {
    /// A caller who went away needs no answer.
    fn answer(self, verdict: Verdict, ids: &MessageIds) {
        match self {
            Job::Append { room, messages, reply, .. } => {
                let answer = match verdict {
                    Verdict::Placed { first_seq } => {
                        appended(room, first_seq, messages.len(), ids).map_err(AppendError::from)
                    }
                    Verdict::OutOfSequence { last_seq } => {
                        Err(AppendError::OutOfSequence { last_seq })
                    }
                    Verdict::UnknownRoom | Verdict::Done => Err(AppendError::UnknownRoom),
                };
                let _ = reply.send(answer);
            }
            Job::SaveRead { reply, .. } | Job::Flush { reply } => drop(reply.send(Ok(()))),
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Job::Append { reply, .. } => drop(reply.send(Err(error.into()))),
            Job::SaveRead { reply, .. } | Job::Flush { reply } => drop(reply.send(Err(error))),
        }
    }
}

impl Store {
    /// Appends messages to a room; answers their seqs and ids once they are durable. They follow
    /// the room's last message without a gap, in this order. A caller who is the only writer of
    /// the room says by `first_seq` which seq that is; `None` leaves it to the database, so that
    /// several nodes may append to one room.
    ///
    /// The call takes its place in the order when it is made, not when its future is polled; the
    /// messages are written even if the future is dropped.
    ///
    /// # Errors
    /// [`AppendError::OutOfSequence`] when `first_seq` is not the one after the room's last. When
    /// a transaction fails, all its callers are told, and nothing of it stays.
    pub fn append(
        &self,
        room: u32,
        first_seq: Option<u64>,
        messages: Vec<NewMessage>,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(Job::Append { room, first_seq, messages, reply });
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed.into()))
        }
    }

    /// Raises the user's read mark of a room to `seq`; a lower mark changes nothing. Notes whether
    /// the user is in the room on this node: if the process ends meanwhile, [`Store::settle`] takes
    /// it that he has read everything that was said. Takes its place in the order as
    /// [`Store::append`] does.
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
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(Job::SaveRead { user, room, seq, is_reading, reply });
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        }
    }

    /// Waits until everything queued before is committed.
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
                self.metrics().refusals.fetch_add(1, Relaxed);
                StoreError::Busy
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
        let outcome = self.write_batch(batch).await;
        self.metrics.jobs.fetch_add(jobs, Relaxed);
        match outcome {
            Ok((verdicts, ids)) => {
                self.metrics.commits.fetch_add(1, Relaxed);
                self.metrics.messages.fetch_add(ids.len() as u64, Relaxed);
                self.metrics.commit_latency.record(started.elapsed());
                for (job, verdict) in batch.drain(..).zip(verdicts) {
                    job.answer(verdict, &ids);
                }
            }
            Err(error) => {
                self.metrics.commit_failures.fetch_add(1, Relaxed);
                tracing::error!(%error, jobs, "a group commit failed");
                for job in batch.drain(..) {
                    job.refuse(error.clone());
                }
            }
        }
    }

    async fn write_batch(&self, jobs: &[Job]) -> Result<(Vec<Verdict>, MessageIds), StoreError> {
        let mut write = self.db.write().await?;
        match self.apply(&mut write, jobs).await {
            Ok(written) => {
                write.commit().await?;
                Ok(written)
            }
            Err(error) => {
                // The rollback must be over before anybody is told that nothing stays.
                let _ = write.rollback().await;
                Err(error)
            }
        }
    }

    async fn apply(
        &self,
        write: &mut SqliteConnection,
        jobs: &[Job],
    ) -> Result<(Vec<Verdict>, MessageIds), StoreError> {
        let stands = stands_of(write, rooms_of(jobs)).await?;
        let plan = Plan::new(jobs, &stands);
        let ids = insert_messages(write, &plan.messages, now_ms()).await?;
        for (room, last_seq) in &plan.raised {
            sqlx::query("UPDATE rooms SET last_seq = ? WHERE id = ?")
                .bind(widen(*last_seq))
                .bind(i64::from(*room))
                .execute(&mut *write)
                .await?;
        }
        raise_marks(write, &plan.marks).await?;
        note_reading(write, &self.node, &plan.marks).await?;
        Ok((plan.verdicts, ids))
    }
}

/// Where those of the rooms that exist stand.
async fn stands_of(
    write: &mut SqliteConnection,
    rooms: BTreeSet<u32>,
) -> Result<Stands, StoreError> {
    let mut stands = Stands::new();
    for room in rooms {
        let row = sqlx::query("SELECT last_seq FROM rooms WHERE id = ?")
            .bind(i64::from(room))
            .fetch_optional(&mut *write)
            .await?;
        if let Some(row) = row {
            stands.insert(room, narrow(row.try_get(0)?, "last seq of a room")?);
        }
    }
    Ok(stands)
}

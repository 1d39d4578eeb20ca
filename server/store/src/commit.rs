//! Group commit: one task writes what all rooms asked for while its last transaction ran, in one
//! transaction, in the order of the calls.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_ms;
use crate::db::{Db, narrow};
use crate::messages::{PlacedMessage, insert_messages, widen};
use crate::reads::{ReadMarks, raise_marks};
use crate::{AppendError, NewMessage, Store, StoreError, StoreMetrics};

/// What waits for the next transaction, with the way back to its caller.
pub(crate) enum Job {
    Append {
        room: u32,
        first_seq: u64,
        messages: Vec<NewMessage>,
        reply: oneshot::Sender<Result<Vec<i64>, AppendError>>,
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

/// An answer that may be given once the transaction is committed.
enum Pending {
    Append {
        room: u32,
        first_seq: u64,
        messages: u64,
        reply: oneshot::Sender<Result<Vec<i64>, AppendError>>,
    },
    Done(oneshot::Sender<Result<(), StoreError>>),
}

impl Store {
    /// Appends messages to a room with the seqs `first_seq`, `first_seq + 1`, …; answers their ids
    /// once they are durable.
    ///
    /// The call takes its place in the order when it is made, not when its future is polled; the
    /// messages are written even if the future is dropped.
    ///
    /// # Errors
    /// [`AppendError::OutOfSequence`] unless `first_seq` is the one after the room's last: the
    /// store holds no gaps. When a transaction fails, all its callers are told, and nothing of it
    /// stays.
    pub fn append(
        &self,
        room: u32,
        first_seq: u64,
        messages: Vec<NewMessage>,
    ) -> impl Future<Output = Result<Vec<i64>, AppendError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(Job::Append { room, first_seq, messages, reply });
        async move {
            queued?;
            answer.await.unwrap_or(Err(StoreError::Closed.into()))
        }
    }

    /// Raises the user's read mark of a room to `seq`; a lower mark changes nothing. Notes whether
    /// the user is in the room: if the process ends meanwhile, the next [`Store::open`] takes it
    /// that he has read everything that was said. Takes its place in the order as
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

/// Runs until the queue is closed and empty.
pub(crate) async fn run(
    db: Db,
    mut queue: mpsc::Receiver<Job>,
    batch_max: usize,
    metrics: Arc<StoreMetrics>,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, batch_max.max(1)).await > 0 {
        commit_batch(&db, &mut batch, &metrics).await;
    }
}

async fn commit_batch(db: &Db, batch: &mut Vec<Job>, metrics: &StoreMetrics) {
    let started = Instant::now();
    let mut work = Work::default();
    let jobs = batch.len() as u64;
    let outcome = match db.write().await {
        Ok(mut write) => match work.apply(&mut write, batch).await {
            Ok(ids) => write.commit().await.map(|()| ids).map_err(StoreError::from),
            Err(error) => {
                // The rollback must be over before anybody is told that nothing stays.
                let _ = write.rollback().await;
                Err(error)
            }
        },
        Err(error) => Err(error.into()),
    };
    metrics.jobs.fetch_add(jobs, Relaxed);
    match outcome {
        Ok(ids) => {
            metrics.commits.fetch_add(1, Relaxed);
            metrics.messages.fetch_add(ids.len() as u64, Relaxed);
            metrics.commit_latency.record(started.elapsed());
            work.answer(&ids);
        }
        Err(error) => {
            metrics.commit_failures.fetch_add(1, Relaxed);
            tracing::error!(%error, jobs, "a group commit failed");
            work.refuse(batch, &error);
        }
    }
    batch.clear();
}

/// One transaction's worth of jobs.
#[derive(Default)]
struct Work {
    pending: Vec<Pending>,
    messages: Vec<PlacedMessage>,
    marks: ReadMarks,
}

impl Work {
    /// Takes the jobs out of `batch` and writes them; jobs that can be judged beforehand are
    /// answered at once and write nothing.
    async fn apply(
        &mut self,
        write: &mut SqliteConnection,
        batch: &mut Vec<Job>,
    ) -> Result<crate::messages::MessageIds, StoreError> {
        let stood = self.rooms_of(write, batch).await?;
        let mut stands = stood.clone();
        for job in batch.drain(..) {
            self.take(job, &mut stands);
        }
        let ids = insert_messages(write, &self.messages, now_ms()).await?;
        for (room, last_seq) in &stands {
            if stood.get(room) != Some(last_seq) {
                sqlx::query("UPDATE rooms SET last_seq = ? WHERE id = ?")
                    .bind(widen(*last_seq))
                    .bind(i64::from(*room))
                    .execute(&mut *write)
                    .await?;
            }
        }
        raise_marks(write, &self.marks).await?;
        Ok(ids)
    }

    /// The last seqs of the rooms that `batch` appends to, as far as they exist.
    async fn rooms_of(
        &self,
        write: &mut SqliteConnection,
        batch: &[Job],
    ) -> Result<HashMap<u32, u64>, StoreError> {
        let mut stands = HashMap::new();
        let mut missing = Vec::new();
        for job in batch {
            let Job::Append { room, .. } = job else { continue };
            if stands.contains_key(room) || missing.contains(room) {
                continue;
            }
            let row = sqlx::query("SELECT last_seq FROM rooms WHERE id = ?")
                .bind(i64::from(*room))
                .fetch_optional(&mut *write)
                .await?;
            match row {
                Some(row) => {
                    stands.insert(*room, narrow(row.try_get(0)?, "last seq of a room")?);
                }
                None => missing.push(*room),
            }
        }
        Ok(stands)
    }

    fn take(&mut self, job: Job, stands: &mut HashMap<u32, u64>) {
        match job {
            Job::Append { room, first_seq, messages, reply } => {
                let Some(last_seq) = stands.get_mut(&room) else {
                    let _ = reply.send(Err(AppendError::UnknownRoom));
                    return;
                };
                if first_seq != *last_seq + 1 {
                    let last_seq = *last_seq;
                    let _ = reply.send(Err(AppendError::OutOfSequence { last_seq }));
                    return;
                }
                let count = messages.len() as u64;
                *last_seq += count;
                self.messages.extend(
                    (first_seq..).zip(messages).map(|(seq, message)| PlacedMessage {
                        room,
                        seq,
                        message,
                    }),
                );
                self.pending.push(Pending::Append { room, first_seq, messages: count, reply });
            }
            Job::SaveRead { user, room, seq, is_reading, reply } => {
                let mark = self.marks.entry((user, room)).or_insert((seq, is_reading));
                *mark = (seq.max(mark.0), is_reading);
                self.pending.push(Pending::Done(reply));
            }
            Job::Flush { reply } => self.pending.push(Pending::Done(reply)),
        }
    }

    fn answer(self, ids: &crate::messages::MessageIds) {
        for pending in self.pending {
            // A caller who went away needs no answer.
            match pending {
                Pending::Append { room, first_seq, messages, reply } => {
                    let found = (first_seq..first_seq + messages)
                        .map(|seq| ids.get(&(room, seq)).copied())
                        .collect::<Option<Vec<_>>>();
                    let _ = reply
                        .send(found.ok_or(StoreError::Corrupt("an inserted row has no id").into()));
                }
                Pending::Done(reply) => drop(reply.send(Ok(()))),
            }
        }
    }

    /// Tells everybody: those already taken, and those still in `batch`.
    fn refuse(mut self, batch: &mut Vec<Job>, error: &StoreError) {
        for job in batch.drain(..) {
            match job {
                Job::Append { reply, .. } => drop(reply.send(Err(error.clone().into()))),
                Job::SaveRead { reply, .. } | Job::Flush { reply } => {
                    self.pending.push(Pending::Done(reply));
                }
            }
        }
        for pending in self.pending {
            match pending {
                Pending::Append { reply, .. } => drop(reply.send(Err(error.clone().into()))),
                Pending::Done(reply) => drop(reply.send(Err(error.clone()))),
            }
        }
    }
}

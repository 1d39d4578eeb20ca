//! Work that waits for the next transaction, and the answers to it.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::messages::MessageIds;
use crate::{NewMessage, StoreError};

/// The numbers that appended messages were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Seq of the first message, or of the room's next one if none was appended.
    pub first_seq: u64,
    /// Ids of the messages, in their order.
    pub ids: Vec<i64>,
}

/// Why messages were not appended; none of the call's messages was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The room does not exist.
    #[error("the room does not exist")]
    UnknownRoom,
    /// The first seq does not follow the room's `last_seq`: the caller's counter is wrong, usually
    /// because an earlier append failed.
    #[error("the room's last seq is {last_seq}")]
    OutOfSequence {
        last_seq: u64,
        /// The messages, so that the caller may append them under another number.
        messages: Vec<NewMessage>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What waits for the next transaction, with the channel that its caller waits on.
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
    /// Answered once every job before it was answered.
    Flush { reply: oneshot::Sender<Result<(), StoreError>> },
}

/// What a job is answered once the transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobOutcome {
    Placed { first_seq: u64 },
    UnknownRoom,
    OutOfSequence { last_seq: u64 },
    Done,
}

impl Job {
    /// Answers after the commit. A caller that dropped its future needs no answer.
    pub fn answer(self, outcome: JobOutcome, ids: &MessageIds) {
        match self {
            Job::Append { room, messages, reply, .. } => {
                let answer = match outcome {
                    JobOutcome::Placed { first_seq } => {
                        appended(room, first_seq, messages.len(), ids).map_err(AppendError::from)
                    }
                    JobOutcome::OutOfSequence { last_seq } => {
                        Err(AppendError::OutOfSequence { last_seq, messages })
                    }
                    JobOutcome::UnknownRoom => Err(AppendError::UnknownRoom),
                    JobOutcome::Done => unreachable!("an append has a place or a fault"),
                };
                let _ = reply.send(answer);
            }
            Job::SaveRead { reply, .. } | Job::Flush { reply } => {
                assert_eq!(outcome, JobOutcome::Done, "marks and flushes have no place");
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// Answers after a transaction that failed.
    pub fn refuse(self, error: StoreError) {
        match self {
            Job::Append { reply, .. } => drop(reply.send(Err(error.into()))),
            Job::SaveRead { reply, .. } | Job::Flush { reply } => drop(reply.send(Err(error))),
        }
    }
}

/// The rooms that a batch appends to, in the order in which every node locks them.
pub(crate) fn rooms_of(jobs: &[Job]) -> BTreeSet<u32> {
    jobs.iter()
        .filter_map(|job| match job {
            Job::Append { room, .. } => Some(*room),
            Job::SaveRead { .. } | Job::Flush { .. } => None,
        })
        .collect()
}

/// The answer to an append whose first message was placed at `first_seq`.
fn appended(
    room: u32,
    first_seq: u64,
    messages: usize,
    ids: &MessageIds,
) -> Result<Appended, StoreError> {
    (first_seq..first_seq + messages as u64)
        .map(|seq| ids.get(&(room, seq)).copied())
        .collect::<Option<Vec<_>>>()
        .map(|ids| Appended { first_seq, ids })
        .ok_or(StoreError::Corrupt("an inserted row has no id"))
}

//! Work that waits for the next transaction, and the answers to it.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::messages::{CidKey, First, MessageIds};
use crate::{NewMessage, SavedMark, StoreError};

/// The numbers that appended messages were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Seq of the first message that is no repeat, or of the room's next one if there is none.
    pub first_seq: u64,
    /// Ids of the messages that are no repeats, in their order.
    pub ids: Vec<i64>,
    /// The others, in their order.
    pub repeats: Vec<Repeat>,
}

/// A message that its author has sent before, which is not stored again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its place in the call.
    pub index: usize,
    /// Where the first one stands.
    pub seq: u64,
    pub id: i64,
    /// What the first one said.
    pub msg: String,
    pub img: String,
    pub time: String,
}

/// Why messages were not appended; unless it is unknown, none of the call's messages was kept.
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
    /// The store failed, and whether it has kept the messages could not be found out.
    #[error("whether the messages are kept is unknown: {0}")]
    Unknown(StoreError),
}

/// What waits for the next transaction, with the channel that its caller waits on.
pub(crate) enum Job {
    Append {
        room: u32,
        first_seq: Option<u64>,
        /// The room had messages up to it: the next ones come behind.
        tip: u64,
        messages: Vec<NewMessage>,
        reply: oneshot::Sender<Result<Appended, AppendError>>,
    },
    SaveRead {
        user: u32,
        mark: SavedMark,
        is_reading: bool,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Answered once every job before it was answered.
    Flush { reply: oneshot::Sender<Result<(), StoreError>> },
}

/// What a job is answered once the transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobOutcome {
    /// `repeats`: the messages that are not stored again, by their places in the call.
    Placed {
        first_seq: u64,
        repeats: Vec<(usize, First)>,
    },
    UnknownRoom,
    OutOfSequence {
        last_seq: u64,
    },
    Done,
}

impl Job {
    /// Answers after the commit. A caller that dropped its future needs no answer.
    pub fn answer(self, outcome: JobOutcome, ids: &MessageIds) {
        match self {
            Job::Append { room, messages, reply, .. } => {
                let answer = match outcome {
                    JobOutcome::Placed { first_seq, repeats } => {
                        let new = messages.len() - repeats.len();
                        appended(room, first_seq, new, repeats, ids).map_err(AppendError::from)
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

    /// Answers after a transaction of which it is unknown whether it was committed.
    pub fn doubt(self, error: StoreError) {
        match self {
            Job::Append { reply, .. } => drop(reply.send(Err(AppendError::Unknown(error)))),
            other @ (Job::SaveRead { .. } | Job::Flush { .. }) => other.refuse(error),
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

/// What identifies the messages of a batch that may have been sent before.
pub(crate) fn cids_of(jobs: &[Job]) -> Vec<CidKey> {
    let mut keys = Vec::new();
    for job in jobs {
        let Job::Append { room, messages, .. } = job else { continue };
        keys.extend(
            messages
                .iter()
                .filter_map(|message| message.cid.clone().map(|cid| (*room, message.user, cid))),
        );
    }
    keys
}

/// The answer to an append whose first message that is `new` was placed at `first_seq`.
fn appended(
    room: u32,
    first_seq: u64,
    new: usize,
    repeats: Vec<(usize, First)>,
    ids: &MessageIds,
) -> Result<Appended, StoreError> {
    const MISSING: StoreError = StoreError::Corrupt("an inserted row has no id");
    let id_of = |seq| ids.get(&(room, seq)).copied();
    let new = (first_seq..first_seq + new as u64).map(|seq| id_of(seq).ok_or(MISSING));
    let repeats = repeats.into_iter().map(|(index, first)| {
        let First { seq, id, msg, img, time } = first;
        // One of the same transaction has its id only now.
        let id = id.or_else(|| id_of(seq)).ok_or(MISSING)?;
        Ok(Repeat { index, seq, id, msg, img, time })
    });
    Ok(Appended {
        first_seq,
        ids: new.collect::<Result<_, _>>()?,
        repeats: repeats.collect::<Result<_, StoreError>>()?,
    })
}

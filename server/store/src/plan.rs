//! What one transaction is to write: the jobs of a batch, judged in their order against where the
//! rooms stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::Job;
use crate::messages::PlacedMessage;
use crate::reads::ReadMarks;
use crate::{Appended, StoreError};

/// Last seqs of rooms that exist.
pub(crate) type Stands = BTreeMap<u32, u64>;

/// What a job is answered once the transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Placed { first_seq: u64 },
    UnknownRoom,
    OutOfSequence { last_seq: u64 },
    Done,
}

/// The rows of a transaction, and one verdict per job.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub messages: Vec<PlacedMessage<'a>>,
    /// Where the rooms stand afterwards, those that messages were added to.
    pub raised: Stands,
    pub marks: ReadMarks,
    pub verdicts: Vec<Verdict>,
}

impl<'a> Plan<'a> {
    pub fn new(jobs: &'a [Job], stands: &Stands, now_ms: i64) -> Self {
        let mut plan = Self::default();
        for job in jobs {
            let verdict = plan.judge(job, stands, now_ms);
            plan.verdicts.push(verdict);
        }
        plan
    }

    fn judge(&mut self, job: &'a Job, stands: &Stands, now_ms: i64) -> Verdict {
        match job {
            Job::Append { room, first_seq, messages, .. } => {
                let Some(&last_seq) = self.raised.get(room).or_else(|| stands.get(room)) else {
                    return Verdict::UnknownRoom;
                };
                let next = last_seq + 1;
                if first_seq.is_some_and(|first_seq| first_seq != next) {
                    return Verdict::OutOfSequence { last_seq };
                }
                if !messages.is_empty() {
                    self.raised.insert(*room, last_seq + messages.len() as u64);
                }
                self.messages.extend((next..).zip(messages).map(|(seq, message)| PlacedMessage {
                    room: *room,
                    seq,
                    created_at: now_ms,
                    message,
                }));
                Verdict::Placed { first_seq: next }
            }
            Job::SaveRead { user, room, seq, is_reading, .. } => {
                let mark = self.marks.entry((*user, *room)).or_insert((*seq, *is_reading));
                *mark = (mark.0.max(*seq), *is_reading);
                Verdict::Done
            }
            Job::Flush { .. } => Verdict::Done,
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

/// Ids of inserted messages by room and seq.
pub(crate) type MessageIds = std::collections::HashMap<(u32, u64), i64>;

/// The answer to an append whose first message was placed at `first_seq`.
pub(crate) fn appended(
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

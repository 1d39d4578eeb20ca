//! The rows that one transaction writes, computed from the jobs of a batch, in their order, and the
//! last seqs of the rooms.

use crate::job::{Job, JobOutcome};
use crate::messages::PlacedMessage;
use crate::reads::{ReadMark, ReadMarks};
use crate::rooms::LastSeqs;

/// The rows of a transaction, and one outcome per job.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub messages: Vec<PlacedMessage<'a>>,
    /// The new last seqs of the rooms that messages were added to.
    pub raised: LastSeqs,
    pub marks: ReadMarks,
    pub outcomes: Vec<JobOutcome>,
}

impl<'a> Plan<'a> {
    /// `last_seqs`: of the rooms that exist, before the transaction.
    pub fn new(jobs: &'a [Job], last_seqs: &LastSeqs, now_ms: i64) -> Self {
        let mut plan = Self::default();
        for job in jobs {
            let outcome = plan.judge(job, last_seqs, now_ms);
            plan.outcomes.push(outcome);
        }
        plan
    }

    fn judge(&mut self, job: &'a Job, last_seqs: &LastSeqs, now_ms: i64) -> JobOutcome {
        match job {
            Job::Append { room, first_seq, messages, .. } => {
                let Some(&last_seq) = self.raised.get(room).or_else(|| last_seqs.get(room)) else {
                    return JobOutcome::UnknownRoom;
                };
                let next = last_seq + 1;
                if first_seq.is_some_and(|first_seq| first_seq != next) {
                    return JobOutcome::OutOfSequence { last_seq };
                }
                if !messages.is_empty() {
                    self.raised.insert(*room, last_seq + messages.len() as u64);
                }
                self.messages.extend((next..).zip(messages).map(|(seq, message)| PlacedMessage {
                    room: *room,
                    seq,
                    created_at_ms: now_ms,
                    message,
                }));
                JobOutcome::Placed { first_seq: next }
            }
            Job::SaveRead { user, room, seq, is_reading, .. } => {
                let mark = self.marks.entry((*user, *room)).or_default();
                *mark = ReadMark { seq: mark.seq.max(*seq), is_reading: *is_reading };
                JobOutcome::Done
            }
            Job::Flush { .. } => JobOutcome::Done,
        }
    }
}

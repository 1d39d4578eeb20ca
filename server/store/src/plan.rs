//! The rows that one transaction writes, computed from the jobs of a batch, in their order, and the
//! last seqs of the rooms.

use crate::NewMessage;
use crate::job::{Job, JobOutcome};
use crate::messages::{First, Firsts, PlacedMessage};
use crate::reads::{ReadMark, ReadMarks, SavedMark};
use crate::rooms::LastSeqs;

/// No room has so many messages: a report of more is wrong, and a number is never given back.
const TIP_MAX: u64 = 1 << 52;

/// The rows of a transaction, and one outcome per job.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub messages: Vec<PlacedMessage<'a>>,
    /// The new last seqs of the rooms that messages were added to.
    pub raised: LastSeqs,
    pub marks: ReadMarks,
    pub outcomes: Vec<JobOutcome>,
    /// A room has fewer messages than members have seen.
    pub has_lost: bool,
}

impl<'a> Plan<'a> {
    /// Before the transaction: `last_seqs` of the rooms that exist, and `firsts`, the messages that
    /// the jobs may repeat.
    pub fn new(jobs: &'a [Job], last_seqs: &LastSeqs, mut firsts: Firsts, now_ms: i64) -> Self {
        let mut plan = Self::default();
        for job in jobs {
            let outcome = plan.judge(job, last_seqs, &mut firsts, now_ms);
            plan.outcomes.push(outcome);
        }
        plan
    }

    fn judge(
        &mut self,
        job: &'a Job,
        last_seqs: &LastSeqs,
        firsts: &mut Firsts,
        now_ms: i64,
    ) -> JobOutcome {
        match job {
            Job::Append { room, first_seq, tip, messages, .. } => {
                let Some(&last_seq) = self.raised.get(room).or_else(|| last_seqs.get(room)) else {
                    return JobOutcome::UnknownRoom;
                };
                let tip = if *tip <= TIP_MAX { *tip } else { 0 };
                if tip > last_seq {
                    self.has_lost = true;
                    tracing::error!(
                        room,
                        last_seq,
                        tip,
                        "the database has lost messages of the room: was it restored?"
                    );
                }
                let last_seq = last_seq.max(tip);
                let next = last_seq + 1;
                if first_seq.is_some_and(|first_seq| first_seq != next) {
                    return JobOutcome::OutOfSequence { last_seq };
                }
                let mut repeats = Vec::new();
                let mut seq = last_seq;
                for (index, message) in messages.iter().enumerate() {
                    let key = message.cid.clone().map(|cid| (*room, message.user, cid));
                    if let Some(first) = key.as_ref().and_then(|key| firsts.get(key)) {
                        repeats.push((index, first.clone()));
                        continue;
                    }
                    seq += 1;
                    if let Some(key) = key {
                        let NewMessage { msg, img, time, .. } = message.clone();
                        firsts.insert(key, First { seq, id: None, msg, img, time });
                    }
                    let created_at_ms = now_ms;
                    self.messages.push(PlacedMessage { room: *room, seq, created_at_ms, message });
                }
                if seq > last_seq {
                    self.raised.insert(*room, seq);
                }
                JobOutcome::Placed { first_seq: next, repeats }
            }
            Job::SaveRead { user, mark: SavedMark { room, seq, choice }, is_reading, .. } => {
                let mark = self.marks.entry((*user, *room)).or_default();
                let (seq, choice) = (mark.seq.max(*seq), mark.choice.max(*choice));
                *mark = ReadMark { seq, is_reading: *is_reading, choice };
                JobOutcome::Done
            }
            Job::Flush { .. } => JobOutcome::Done,
        }
    }
}

//! Numbers from Redis, where there is no SQL log to give them.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{RoomId, Seq};

struct Publish {
    room: RoomId,
    /// The log has shown it before its answer came.
    seen: Option<Seq>,
}

#[derive(Default)]
pub struct Numbering {
    under_way: BTreeMap<u64, Publish>,
    /// Refused to their publishers, and perhaps logged all the same: if they show up they are
    /// messages like everybody else's.
    doubtful: BTreeSet<u64>,
    next: u64,
}

impl Numbering {
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    pub fn begin(&mut self, room: RoomId) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, Publish { room, seen: None });
        self.next
    }

    /// The answer, and what to tell the shard. `is_unknown`: it may have been done.
    pub fn done(
        &mut self,
        ticket: u64,
        first: Option<Seq>,
        is_unknown: bool,
        doubtful_max: usize,
    ) -> Option<(RoomId, Option<Seq>)> {
        let publish = self.under_way.remove(&ticket)?;
        let first = first.or(publish.seen);
        if first.is_none() && is_unknown {
            self.doubtful.insert(ticket);
            if self.doubtful.len() > doubtful_max {
                self.doubtful.pop_first();
            }
        }
        Some((publish.room, first))
    }

    /// An entry of this process was read. True when it is news to the shard.
    pub fn seen(&mut self, ticket: u64, first: Seq) -> bool {
        if let Some(publish) = self.under_way.get_mut(&ticket) {
            publish.seen = Some(first);
        }
        self.doubtful.remove(&ticket)
    }
}

#[cfg(test)]
mod tests {
    use throng_core::{RoomId, Seq};

    use super::Numbering;

    #[test]
    fn a_refused_publish_that_was_logged_is_a_message() {
        let mut numbering = Numbering::default();
        let ticket = numbering.begin(RoomId(1));
        assert_eq!(numbering.done(ticket, None, true, 8), Some((RoomId(1), None)));
        assert!(numbering.seen(ticket, Seq(4)));
        assert!(!numbering.seen(ticket, Seq(4)));
    }

    #[test]
    fn the_log_may_be_quicker_than_the_answer() {
        let mut numbering = Numbering::default();
        let ticket = numbering.begin(RoomId(1));
        assert!(!numbering.seen(ticket, Seq(4)));
        assert_eq!(numbering.done(ticket, None, true, 8), Some((RoomId(1), Some(Seq(4)))));
    }
}

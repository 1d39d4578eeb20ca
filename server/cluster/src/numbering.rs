//! Numbers from Redis, where there is no SQL log to give them.

use std::collections::BTreeMap;

use throng_core::{RoomId, Seq};

struct Publish {
    room: RoomId,
    /// The log has shown it before its answer came.
    seen: Option<Seq>,
}

#[derive(Default)]
pub struct Numbering {
    under_way: BTreeMap<u64, Publish>,
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

    /// The answer, and what to tell the shard.
    pub fn done(&mut self, ticket: u64, first: Option<Seq>) -> Option<(RoomId, Option<Seq>)> {
        let publish = self.under_way.remove(&ticket)?;
        Some((publish.room, first.or(publish.seen)))
    }

    /// An entry of this process was read.
    pub fn seen(&mut self, ticket: u64, first: Seq) {
        if let Some(publish) = self.under_way.get_mut(&ticket) {
            publish.seen = Some(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_core::{RoomId, Seq};

    use super::Numbering;

    #[test]
    fn the_log_may_be_quicker_than_the_answer() {
        let mut numbering = Numbering::default();
        let ticket = numbering.begin(RoomId(1));
        numbering.seen(ticket, Seq(4));
        assert_eq!(numbering.done(ticket, None), Some((RoomId(1), Some(Seq(4)))));
        numbering.seen(ticket, Seq(4));
        assert_eq!((numbering.done(ticket, None), numbering.len()), (None, 0));
    }
}

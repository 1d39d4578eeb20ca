//! Publishes that wait for their numbers from Redis, where no SQL log gives them.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::{RoomId, Seq};

struct Publish {
    room: RoomId,
    /// The first number, if the log showed the publish before the order was answered.
    seen: Option<Seq>,
}

#[derive(Default)]
pub struct Numbering {
    in_flight: BTreeMap<u64, Publish>,
    next: u64,
}

impl Numbering {
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub fn begin(&mut self, room: RoomId) -> u64 {
        self.next += 1;
        self.in_flight.insert(self.next, Publish { room, seen: None });
        self.next
    }

    /// The order was answered, without a number if it failed. Returns the answer for the shard.
    pub fn done(&mut self, publish_id: u64, first: Option<Seq>) -> (RoomId, Option<Seq>) {
        let publish = self.in_flight.remove(&publish_id).expect("each publish is answered once");
        (publish.room, first.or(publish.seen))
    }

    /// # Errors
    /// The first broken invariant. `in_flight`: the publishes of the orders in flight.
    pub fn check(&self, in_flight: &BTreeSet<u64>, max: usize) -> Result<(), String> {
        ensure!(self.in_flight.keys().eq(in_flight), "publishes {:?}", self.in_flight.keys());
        ensure!(self.in_flight.len() <= max, "{} publishes wait", self.in_flight.len());
        ensure!(self.in_flight.keys().all(|id| *id <= self.next), "a publish of the future");
        Ok(())
    }

    /// The log shows a publish of this process. By design it may be answered already.
    pub fn seen(&mut self, publish_id: u64, first: Seq) {
        if let Some(publish) = self.in_flight.get_mut(&publish_id) {
            publish.seen = Some(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_chat::{RoomId, Seq};

    use super::Numbering;

    #[test]
    fn the_log_may_show_a_publish_before_its_answer() {
        let mut numbering = Numbering::default();
        let publish_id = numbering.begin(RoomId(1));
        numbering.seen(publish_id, Seq(4));
        assert_eq!(numbering.check(&[publish_id].into(), 1), Ok(()));
        assert!(numbering.check(&[].into(), 1).is_err(), "it waits for no order");
        assert_eq!(numbering.done(publish_id, None), (RoomId(1), Some(Seq(4))));
        numbering.seen(publish_id, Seq(4));
        assert_eq!((numbering.check(&[].into(), 1), numbering.len()), (Ok(()), 0));
    }
}

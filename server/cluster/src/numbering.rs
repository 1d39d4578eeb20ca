//! Publishes that wait for their numbers from Redis, where no SQL log gives them.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::{RoomId, Seq};

use crate::order::{NumberFault, Numbers};

struct Publish {
    room: RoomId,
    messages: usize,
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

    pub fn begin(&mut self, room: RoomId, messages: usize) -> u64 {
        self.next += 1;
        self.in_flight.insert(self.next, Publish { room, messages, seen: None });
        self.next
    }

    /// The order was answered, or failed. Returns the answer for the shard.
    pub fn done(
        &mut self,
        publish_id: u64,
        answer: Result<Numbers, NumberFault>,
    ) -> (RoomId, Result<Numbers, NumberFault>) {
        let publish = self.in_flight.remove(&publish_id).expect("each publish is answered once");
        let seen = publish.seen.map(|first| Numbers { first, repeats: Vec::new() });
        (publish.room, answer.or_else(|fault| seen.ok_or(fault)))
    }

    /// # Errors
    /// The first broken invariant. `in_flight`: the publishes of the orders in flight.
    pub fn check(&self, in_flight: &BTreeSet<u64>, max: usize) -> Result<(), String> {
        ensure!(self.in_flight.keys().eq(in_flight), "publishes {:?}", self.in_flight.keys());
        ensure!(self.in_flight.len() <= max, "{} publishes wait", self.in_flight.len());
        ensure!(self.in_flight.keys().all(|id| *id <= self.next), "a publish of the future");
        Ok(())
    }

    /// The log shows a publish of this process. By design it may be answered already. It does not say
    /// which messages were missing in it because they were sent before.
    pub fn seen(&mut self, publish_id: u64, first: Seq, messages: usize) {
        if let Some(publish) = self.in_flight.get_mut(&publish_id)
            && publish.messages == messages
        {
            publish.seen = Some(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_chat::{RoomId, Seq};

    use super::Numbering;
    use crate::order::{NumberFault, Numbers};

    #[test]
    fn the_log_may_show_a_publish_before_its_answer() {
        let mut numbering = Numbering::default();
        let publish_id = numbering.begin(RoomId(1), 2);
        numbering.seen(publish_id, Seq(4), 2);
        assert_eq!(numbering.check(&[publish_id].into(), 1), Ok(()));
        assert!(numbering.check(&[].into(), 1).is_err(), "it waits for no order");
        let numbers = Numbers { first: Seq(4), repeats: Vec::new() };
        let done = numbering.done(publish_id, Err(NumberFault::Unknown));
        assert_eq!(done, (RoomId(1), Ok(numbers)));
        numbering.seen(publish_id, Seq(4), 2);
        assert_eq!((numbering.check(&[].into(), 1), numbering.len()), (Ok(()), 0));
    }

    #[test]
    fn a_part_of_a_publish_in_the_log_does_not_say_which() {
        let mut numbering = Numbering::default();
        let publish_id = numbering.begin(RoomId(1), 2);
        numbering.seen(publish_id, Seq(4), 1);
        let done = numbering.done(publish_id, Err(NumberFault::Unknown));
        assert_eq!(done, (RoomId(1), Err(NumberFault::Unknown)));
    }
}

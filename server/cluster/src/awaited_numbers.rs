//! Publishes that wait for their numbers from Redis, where no SQL log gives them.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::{RoomId, Seq};

use crate::event::PublishId;
use crate::order::{NumberFault, Numbers};

/// One more than the largest id of a room.
const ROOM_IDS: i64 = 1_000_000_000;

/// The id of a message that Redis numbered: of no other message in any room (CHAT-49), and exact in
/// JavaScript for the first nine million messages of a room. `None` for numbers that nobody counts to.
#[must_use]
pub fn message_id(room: RoomId, seq: Seq) -> Option<i64> {
    let of_seq = i64::try_from(seq.0).ok()?.checked_mul(ROOM_IDS)?;
    of_seq.checked_add(i64::from(room.0))
}

/// Whether these can be the numbers of a batch of `count` messages of the room: numbers that somebody counts to, and
/// repeats that are messages of the batch, each once and in order.
pub fn are_numbers_of(numbers: &Numbers, room: RoomId, count: u64) -> bool {
    let Numbers { first, repeats } = numbers;
    let is_number = |seq: Seq| seq.0 > 0 && message_id(room, seq).is_some();
    let are_places = repeats.is_sorted_by(|one, next| one.0 < next.0)
        && repeats.last().is_none_or(|(index, _)| (*index as u64) < count);
    // The number behind the last one is the next message's.
    let new = count.checked_sub(repeats.len() as u64);
    let end = new.and_then(|new| first.0.checked_add(new));
    are_places
        && is_number(*first)
        && end.is_some_and(|end| is_number(Seq(end)))
        && repeats.iter().all(|(_, seq)| is_number(*seq))
}

struct Publish {
    messages: usize,
    /// The first number, if the log showed the publish before the order was answered.
    seen: Option<Seq>,
}

#[derive(Default)]
pub struct AwaitedNumbers {
    in_flight: BTreeMap<PublishId, Publish>,
}

impl AwaitedNumbers {
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub fn begin(&mut self, publish_id: PublishId, messages: usize) {
        let before = self.in_flight.insert(publish_id, Publish { messages, seen: None });
        assert!(before.is_none(), "each publish has its own id");
    }

    /// The order was answered, or failed. Returns the answer for the shard.
    pub fn done(
        &mut self,
        publish_id: PublishId,
        answer: Result<Numbers, NumberFault>,
    ) -> (PublishId, Result<Numbers, NumberFault>) {
        let publish = self.in_flight.remove(&publish_id).expect("each publish is answered once");
        let seen = publish.seen.map(|first| Numbers { first, repeats: Vec::new() });
        (publish_id, answer.or_else(|fault| seen.ok_or(fault)))
    }

    /// # Errors
    /// The first broken invariant. `in_flight`: the publishes of the orders in flight.
    pub fn check(&self, in_flight: &BTreeSet<PublishId>, max: usize) -> Result<(), String> {
        ensure!(self.in_flight.keys().eq(in_flight), "publishes {:?}", self.in_flight.keys());
        ensure!(self.in_flight.len() <= max, "{} publishes wait", self.in_flight.len());
        Ok(())
    }

    /// The log shows a publish of this process. By design it may be answered already. It does not say
    /// which messages were missing in it because they were sent before.
    pub fn seen(&mut self, publish_id: PublishId, first: Seq, messages: usize) {
        if let Some(publish) = self.in_flight.get_mut(&publish_id)
            && publish.messages == messages
        {
            publish.seen = Some(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_chat::Seq;

    use super::{AwaitedNumbers, PublishId};
    use crate::order::{NumberFault, Numbers};

    const ID: PublishId = PublishId(7);

    #[test]
    fn the_log_may_show_a_publish_before_its_answer() {
        let mut awaited = AwaitedNumbers::default();
        awaited.begin(ID, 2);
        awaited.seen(ID, Seq(4), 2);
        assert_eq!(awaited.check(&[ID].into(), 1), Ok(()));
        assert!(awaited.check(&[].into(), 1).is_err(), "it waits for no order");
        let numbers = Numbers { first: Seq(4), repeats: Vec::new() };
        assert_eq!(awaited.done(ID, Err(NumberFault::Unknown)), (ID, Ok(numbers)));
        awaited.seen(ID, Seq(4), 2);
        assert_eq!((awaited.check(&[].into(), 1), awaited.len()), (Ok(()), 0));
    }

    #[test]
    #[should_panic(expected = "each publish has its own id")]
    fn two_publishes_of_one_id_are_a_bug() {
        let mut awaited = AwaitedNumbers::default();
        awaited.begin(ID, 1);
        awaited.begin(ID, 1);
    }

    #[test]
    fn a_part_of_a_publish_in_the_log_does_not_say_which() {
        let mut awaited = AwaitedNumbers::default();
        awaited.begin(ID, 2);
        awaited.seen(ID, Seq(4), 1);
        let done = awaited.done(ID, Err(NumberFault::Unknown));
        assert_eq!(done, (ID, Err(NumberFault::Unknown)));
    }
}

//! Publishes that wait for their numbers from Redis, where no SQL log gives them.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::Seq;

use crate::event::PublishId;

#[derive(Default)]
pub struct Numbering {
    /// With the first number, if the log showed the publish before the order was answered.
    in_flight: BTreeMap<PublishId, Option<Seq>>,
}

impl Numbering {
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub fn begin(&mut self, publish_id: PublishId) {
        let before = self.in_flight.insert(publish_id, None);
        assert!(before.is_none(), "each publish has its own id");
    }

    /// The order was answered, without a number if it failed. Returns the answer for the shard.
    pub fn done(&mut self, publish_id: PublishId, first: Option<Seq>) -> (PublishId, Option<Seq>) {
        let seen = self.in_flight.remove(&publish_id).expect("each publish is answered once");
        (publish_id, first.or(seen))
    }

    /// # Errors
    /// The first broken invariant. `in_flight`: the publishes of the orders in flight.
    pub fn check(&self, in_flight: &BTreeSet<PublishId>, max: usize) -> Result<(), String> {
        ensure!(self.in_flight.keys().eq(in_flight), "publishes {:?}", self.in_flight.keys());
        ensure!(self.in_flight.len() <= max, "{} publishes wait", self.in_flight.len());
        Ok(())
    }

    /// The log shows a publish of this process. By design it may be answered already.
    pub fn seen(&mut self, publish_id: PublishId, first: Seq) {
        if let Some(seen) = self.in_flight.get_mut(&publish_id) {
            *seen = Some(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_chat::Seq;

    use super::{Numbering, PublishId};

    const ID: PublishId = PublishId(7);

    #[test]
    fn the_log_may_show_a_publish_before_its_answer() {
        let mut numbering = Numbering::default();
        numbering.begin(ID);
        numbering.seen(ID, Seq(4));
        assert_eq!(numbering.check(&[ID].into(), 1), Ok(()));
        assert!(numbering.check(&[].into(), 1).is_err(), "it waits for no order");
        assert_eq!(numbering.done(ID, None), (ID, Some(Seq(4))));
        numbering.seen(ID, Seq(4));
        assert_eq!((numbering.check(&[].into(), 1), numbering.len()), (Ok(()), 0));
    }

    #[test]
    #[should_panic(expected = "each publish has its own id")]
    fn two_publishes_of_one_id_are_a_bug() {
        let mut numbering = Numbering::default();
        numbering.begin(ID);
        numbering.begin(ID);
    }
}

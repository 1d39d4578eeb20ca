//! The sending side of every lane during one turn, with the free slots each still has.

use std::collections::VecDeque;

use crate::effects::Effects;
use crate::ids::ShardId;
use crate::items::Items;
use crate::lane_slots::LaneSlots;

/// When a full lane is looked at again, in ms. Its consumer is awake, so this is short.
pub const LANE_RETRY_MS: u64 = 1;

/// The sending side of every lane of one shard.
pub struct Lanes<A: Items> {
    own: ShardId,
    own_max: u32,
    slots: LaneSlots,
    /// The lanes from this shard to itself.
    own_requests: VecDeque<A::Request>,
    own_deliveries: VecDeque<A::Delivery>,
    out: Effects<A>,
}

/// A lane was full; the item comes back.
#[derive(Debug)]
pub struct Full<T>(pub T);

impl<A: Items> Lanes<A> {
    pub(crate) fn new(own: ShardId, shards: u8, own_max: u32) -> Lanes<A> {
        let slots = LaneSlots {
            requests: vec![0; usize::from(shards)],
            deliveries: vec![0; usize::from(shards)],
            commands: 0,
            signals: 0,
        };
        Lanes {
            own,
            own_max,
            slots,
            own_requests: VecDeque::new(),
            own_deliveries: VecDeque::new(),
            out: Effects::default(),
        }
    }

    pub(crate) fn begin(&mut self, slots: &LaneSlots) {
        // Part by part, so that the memory is used again.
        let LaneSlots { requests, deliveries, commands, signals } = slots;
        self.slots.requests.clone_from(requests);
        self.slots.deliveries.clone_from(deliveries);
        (self.slots.commands, self.slots.signals) = (*commands, *signals);
    }

    /// All shards, this one included.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<A> {
        (0..self.slots.requests.len()).map(|index| ShardId(index as u8))
    }

    /// Sends an item to a home.
    ///
    /// # Errors
    /// [`Full`] gives the item back when the lane has no free slot.
    pub fn request(&mut self, to: ShardId, request: A::Request) -> Result<(), Full<A::Request>> {
        if to == self.own {
            if self.own_requests.len() >= self.own_max as usize {
                return Err(Full(request));
            }
            self.own_requests.push_back(request);
            return Ok(());
        }
        let slots = &mut self.slots.requests[usize::from(to.0)];
        if *slots == 0 {
            return Err(Full(request));
        }
        *slots -= 1;
        self.out.requests.push((to, request));
        Ok(())
    }

    /// Free slots towards an edge.
    pub fn delivery_slots(&self, to: ShardId) -> u32 {
        if to == self.own {
            let queued =
                u32::try_from(self.own_deliveries.len()).expect("own deliveries are bounded");
            return self.own_max.checked_sub(queued).expect("own deliveries are bounded");
        }
        self.slots.deliveries[usize::from(to.0)]
    }

    /// Free slots towards the fullest edge.
    pub fn delivery_slots_min(&self) -> u32 {
        self.shards().map(|to| self.delivery_slots(to)).min().expect("there is a shard")
    }

    /// Sends an item to an edge.
    ///
    /// # Panics
    /// Without a free slot: [`crate::App::takes_requests`] and [`Lanes::delivery_slots`] come first.
    pub fn deliver(&mut self, to: ShardId, delivery: A::Delivery) {
        let left = self.delivery_slots(to).checked_sub(1);
        let left = left.expect("home checks for free slots before it delivers");
        if to == self.own {
            self.own_deliveries.push_back(delivery);
        } else {
            self.slots.deliveries[usize::from(to.0)] = left;
            self.out.deliveries.push((to, delivery));
        }
    }

    /// Asks the world outside.
    ///
    /// # Errors
    /// [`Full`] gives the command back when too many are unanswered.
    pub fn command(&mut self, command: A::Command) -> Result<(), Full<A::Command>> {
        if self.slots.commands == 0 {
            return Err(Full(command));
        }
        self.slots.commands -= 1;
        self.out.commands.push(command);
        Ok(())
    }

    /// Free slots for signals.
    pub fn signal_slots(&self) -> u32 {
        self.slots.signals
    }

    /// Sends a signal to other nodes.
    ///
    /// # Panics
    /// Without a free slot: [`Lanes::signal_slots`] comes first.
    pub fn signal(&mut self, signal: A::Signal) {
        let slots = &mut self.slots.signals;
        *slots = slots.checked_sub(1).expect("the sender checks for free slots before it signals");
        self.out.signals.push(signal);
    }

    pub(crate) fn next_own_request(&mut self) -> Option<A::Request> {
        self.own_requests.pop_front()
    }

    pub(crate) fn has_own_requests(&self) -> bool {
        !self.own_requests.is_empty()
    }

    pub(crate) fn next_own_delivery(&mut self) -> Option<A::Delivery> {
        self.own_deliveries.pop_front()
    }

    /// Writes a line for the operator.
    pub fn log(&mut self, line: A::Log) {
        self.out.logs.push(line);
    }

    /// Changes the [`crate::App::View`] of this shard.
    pub fn change(&mut self, change: A::Change) {
        self.out.changes.push(change);
    }

    /// Asserts that a turn has handed on everything but requests that its own home does not take.
    pub(crate) fn check(&self) {
        assert!(self.own_deliveries.is_empty(), "a turn handles the deliveries to its own edge");
        assert!(self.own_requests.len() <= self.own_max as usize, "own requests are bounded");
        let Effects {
            requests,
            deliveries,
            commands,
            signals,
            answers,
            closes,
            resumes,
            refused,
            logs,
            changes,
        } = &self.out;
        assert!(requests.is_empty() && deliveries.is_empty(), "a turn hands on its items");
        assert!(commands.is_empty() && signals.is_empty(), "a turn hands on commands and signals");
        assert!(answers.is_empty() && closes.is_empty(), "these are the engine's");
        assert!(resumes.is_empty() && refused.is_empty(), "these are the engine's");
        assert!(logs.is_empty() && changes.is_empty(), "a turn hands on logs and changes");
    }

    pub(crate) fn drain_into(&mut self, effects: &mut Effects<A>) {
        effects.requests.append(&mut self.out.requests);
        effects.deliveries.append(&mut self.out.deliveries);
        effects.commands.append(&mut self.out.commands);
        effects.signals.append(&mut self.out.signals);
        effects.logs.append(&mut self.out.logs);
        effects.changes.append(&mut self.out.changes);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct Numbers;

    impl Items for Numbers {
        type Request = u32;
        type Delivery = u32;
        type Command = Infallible;
        type Reply = Infallible;
        type Signal = Infallible;
        type Notice = Infallible;
        type Log = Infallible;
        type Change = Infallible;
    }

    const OWN: ShardId = ShardId(0);
    const OTHER: ShardId = ShardId(1);

    /// Two items fit each lane.
    fn lanes() -> Lanes<Numbers> {
        let mut lanes = Lanes::new(OWN, 2, 2);
        let (requests, deliveries) = (vec![2, 2], vec![2, 2]);
        lanes.begin(&LaneSlots { requests, deliveries, commands: 0, signals: 0 });
        lanes
    }

    #[test]
    fn every_lane_takes_what_it_has_slots_for() {
        for to in [OWN, OTHER] {
            let mut lanes = lanes();
            for left in [1, 0] {
                lanes.deliver(to, 7);
                assert_eq!(lanes.delivery_slots(to), left);
                assert!(lanes.request(to, 7).is_ok());
            }
            assert!(lanes.request(to, 7).is_err());
            assert_eq!(lanes.delivery_slots_min(), 0);
        }
    }

    #[test]
    fn a_delivery_that_was_handled_frees_its_slot() {
        let mut lanes = lanes();
        lanes.deliver(OWN, 7);
        assert_eq!(lanes.next_own_delivery(), Some(7));
        assert_eq!(lanes.delivery_slots(OWN), 2);
    }

    #[test]
    #[should_panic(expected = "home checks for free slots before it delivers")]
    fn a_delivery_to_the_own_edge_without_a_free_slot_is_a_bug() {
        let mut lanes = lanes();
        (0..3).for_each(|_| lanes.deliver(OWN, 7));
    }

    #[test]
    #[should_panic(expected = "home checks for free slots before it delivers")]
    fn a_delivery_to_another_edge_without_a_free_slot_is_a_bug() {
        let mut lanes = lanes();
        (0..3).for_each(|_| lanes.deliver(OTHER, 7));
    }
}

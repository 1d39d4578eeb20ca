//! What a home sends.

use std::collections::VecDeque;

use super::items::RoomDelivery;
use crate::ids::ShardId;

/// Deliveries that wait for free slots of their lanes.
pub(super) struct Outgoing {
    queue: VecDeque<(ShardId, RoomDelivery)>,
    shards: u8,
    bytes: usize,
    bytes_max: usize,
    dropped: u64,
}

impl Outgoing {
    pub(super) fn new(shards: u8, bytes_max: usize) -> Outgoing {
        Outgoing { queue: VecDeque::new(), shards, bytes: 0, bytes_max, dropped: 0 }
    }

    pub(super) fn push(&mut self, to: ShardId, delivery: RoomDelivery) {
        // An id that a client has made up may name a shard beyond the last; the first counts it.
        let to = if to.0 < self.shards { to } else { ShardId(0) };
        self.bytes += delivery.bytes();
        self.queue.push_back((to, delivery));
    }

    /// All of one event, or nothing of it.
    pub(super) fn offer(&mut self, deliveries: Vec<(ShardId, RoomDelivery)>) {
        let bytes: usize = deliveries.iter().map(|(_, delivery)| delivery.bytes()).sum();
        if self.bytes + bytes > self.bytes_max {
            self.dropped += 1;
            return;
        }
        for (to, delivery) in deliveries {
            self.push(to, delivery);
        }
    }

    /// The first delivery, if its lane has a free slot.
    pub(super) fn next(
        &mut self,
        has_slot: impl FnOnce(ShardId) -> bool,
    ) -> Option<(ShardId, RoomDelivery)> {
        let next = self.queue.pop_front_if(|(to, _)| has_slot(*to))?;
        self.bytes -= next.1.bytes();
        Some(next)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn check(&self) {
        let bytes: usize = self.queue.iter().map(|(_, delivery)| delivery.bytes()).sum();
        assert_eq!(bytes, self.bytes, "bytes accounted are bytes held");
    }
}

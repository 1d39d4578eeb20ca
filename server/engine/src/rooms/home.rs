//! Home: which shards have members of a room.

use std::sync::Arc;

use super::edge::{RoomDelivery, RoomRequest};
use crate::ids::ShardId;
use crate::maps::{Keyed, Map};

pub(super) struct Home {
    /// Members per shard. A room without any is forgotten.
    rooms: Map<Arc<str>, Box<[u32]>>,
    shards: u8,
}

impl Home {
    pub(super) fn new(keyed: Keyed, shards: u8) -> Home {
        Home { rooms: Map::with_hasher(keyed), shards }
    }

    /// Handles a request; at most one delivery per edge.
    pub(super) fn request(
        &mut self,
        request: RoomRequest,
        mut deliver: impl FnMut(ShardId, RoomDelivery),
    ) {
        match request {
            RoomRequest::Join { room, session, serial } => {
                let shards = usize::from(self.shards);
                let counts = self.rooms.entry(Arc::clone(&room));
                let counts = counts.or_insert_with(|| vec![0; shards].into());
                counts[usize::from(session.shard().0)] += 1;
                deliver(session.shard(), RoomDelivery::Joined { room, session, serial });
            }
            RoomRequest::Leave { room, session, serial } => {
                let counts = self.rooms.get_mut(&room).expect("a leave follows its join");
                let count = &mut counts[usize::from(session.shard().0)];
                *count = count.checked_sub(1).expect("a leave follows its join");
                if counts.iter().all(|count| *count == 0) {
                    self.rooms.remove(&room);
                }
                deliver(session.shard(), RoomDelivery::Left { room, session, serial });
            }
            RoomRequest::Emit { room, frame } => {
                let Some(counts) = self.rooms.get(&room) else { return }; // It has no members.
                for (shard, count) in counts.iter().enumerate() {
                    if *count > 0 {
                        let (room, frame) = (Arc::clone(&room), frame.clone());
                        deliver(ShardId(shard as u8), RoomDelivery::Emit { room, frame });
                    }
                }
            }
            RoomRequest::Ack { session, packet, .. } => {
                deliver(session.shard(), RoomDelivery::Ack { session, packet });
            }
        }
    }

    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn check(&self) {
        for counts in self.rooms.values() {
            assert!(counts.iter().any(|count| *count > 0), "a room without members is forgotten");
        }
    }
}

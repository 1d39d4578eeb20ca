//! The last messages of rooms, as far as this edge knows, and in which order it learned of them.

use std::collections::BTreeMap;

use crate::ids::{RoomId, Seq};
use crate::room_info::RoomInfo;

/// When a number changed, among all changes at this edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

#[derive(Clone, Copy)]
pub(super) struct Tip {
    pub(super) seq: Seq,
    pub(super) changed: Stamp,
}

pub(super) struct Tips {
    rooms: BTreeMap<RoomId, Tip>,
    last: Stamp,
}

impl Tips {
    pub(super) fn new(rooms: &[RoomInfo]) -> Tips {
        let last = Stamp(1);
        let tip = |room: &RoomInfo| (room.id, Tip { seq: room.last_seq, changed: last });
        Tips { rooms: rooms.iter().map(tip).collect(), last }
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn knows(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    pub(super) fn get(&self, room: RoomId) -> Option<Tip> {
        self.rooms.get(&room).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RoomId, Tip)> {
        self.rooms.iter().map(|(room, tip)| (*room, *tip))
    }

    /// The newest change.
    pub(super) fn last(&self) -> Stamp {
        self.last
    }

    /// A change that is newer than all others.
    pub(super) fn stamp(&mut self) -> Stamp {
        self.last.0 += 1;
        self.last
    }

    /// Whether the room has messages that were not known.
    pub(super) fn raise(&mut self, room: RoomId, seq: Seq) -> bool {
        let known = self.rooms.get(&room).map_or(Seq(0), |tip| tip.seq);
        if seq <= known && self.knows(room) {
            return false;
        }
        let changed = self.stamp();
        self.rooms.insert(room, Tip { seq, changed });
        seq > known
    }
}

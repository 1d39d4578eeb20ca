//! Rooms whose presence of other nodes is being read.
//!
//! A log entry that arrives while its room is being read may be older or newer than the hash. The
//! last entry about a user is never older than the hash, so it is sent to the shards once more after
//! the read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_chat::UserCard;
use throng_chat::cluster::NodeIx;
use throng_chat::{RoomId, Seq, UserId};

/// Rooms that are read at a time.
pub const LOADS_MAX: usize = 4;
/// Changes that are kept for one room while it is read.
const CHANGES_MAX: usize = 4096;

/// The last log entry about a user in a room that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastChange {
    Joined(Arc<UserCard>),
    Left(Seq),
}

struct Load {
    /// [`crate::peers::Peers::adoptions`] when the order was issued.
    adoptions: u64,
    changes: BTreeMap<(NodeIx, UserId), LastChange>,
    /// More than `CHANGES_MAX` changes came: the room must be read once more.
    has_overflowed: bool,
}

#[derive(Default)]
pub struct Loading {
    due: BTreeSet<RoomId>,
    in_flight: BTreeMap<RoomId, Load>,
}

impl Loading {
    pub fn add(&mut self, room: RoomId) {
        self.due.insert(room);
    }

    pub fn len(&self) -> usize {
        self.due.len() + self.in_flight.len()
    }

    pub fn next(&mut self, adoptions: u64) -> Option<RoomId> {
        if self.in_flight.len() >= LOADS_MAX {
            return None;
        }
        // A room that is being read and due again waits until that read ends.
        let room = *self.due.iter().find(|room| !self.in_flight.contains_key(room))?;
        self.due.remove(&room);
        self.in_flight
            .insert(room, Load { adoptions, changes: BTreeMap::new(), has_overflowed: false });
        Some(room)
    }

    pub fn record(
        &mut self,
        room: RoomId,
        node: NodeIx,
        joined: &[Arc<UserCard>],
        left: &[(UserId, Seq)],
    ) {
        // By design: most rooms are not being read.
        let Some(load) = self.in_flight.get_mut(&room) else { return };
        if load.changes.len() + joined.len() + left.len() > CHANGES_MAX {
            load.has_overflowed = true;
            return;
        }
        let joined = joined.iter().map(|card| (card.id, LastChange::Joined(card.clone())));
        let left = left.iter().map(|(user, seq)| (*user, LastChange::Left(*seq)));
        load.changes.extend(joined.chain(left).map(|(user, fate)| ((node, user), fate)));
    }

    /// The read of the room ended; it failed unless `is_read`.
    pub fn done(&mut self, room: RoomId, is_read: bool) -> Loaded {
        let load = self.in_flight.remove(&room).expect("each read in flight ends once");
        if !is_read || load.has_overflowed {
            self.due.insert(room);
        }
        Loaded {
            adoptions: load.adoptions,
            changes: load.changes,
            has_overflowed: load.has_overflowed,
        }
    }

    /// # Errors
    /// The first broken invariant. `in_flight`: the rooms of the orders in flight.
    pub fn check(&self, in_flight: &BTreeSet<RoomId>) -> Result<(), String> {
        ensure!(
            self.in_flight.keys().eq(in_flight),
            "rooms being read {:?}, orders in flight {in_flight:?}",
            self.in_flight.keys(),
        );
        ensure!(self.in_flight.len() <= LOADS_MAX, "{} rooms are read", self.in_flight.len());
        for (room, load) in &self.in_flight {
            ensure!(load.changes.len() <= CHANGES_MAX, "{room:?} keeps too many changes");
        }
        Ok(())
    }
}

/// The end of a read.
pub struct Loaded {
    pub adoptions: u64,
    /// The last log entry about each user that came while the room was read.
    pub changes: BTreeMap<(NodeIx, UserId), LastChange>,
    /// There were too many, and the room is read once more.
    pub has_overflowed: bool,
}

#[cfg(test)]
mod tests {
    use throng_chat::cluster::NodeIx;
    use throng_chat::{RoomId, Seq, UserId};

    use super::{CHANGES_MAX, LOADS_MAX, Loading};

    #[test]
    fn some_rooms_are_read_at_a_time() {
        let mut loading = Loading::default();
        (0..9).for_each(|room| loading.add(RoomId(room)));
        let begun = std::iter::from_fn(|| loading.next(0)).count();
        assert_eq!((begun, loading.len()), (LOADS_MAX, 9));
    }

    #[test]
    fn a_room_with_too_many_changes_is_read_again() {
        for (changes, has_overflowed) in [(CHANGES_MAX, false), (CHANGES_MAX + 1, true)] {
            let mut loading = Loading::default();
            loading.add(RoomId(1));
            loading.next(0);
            for user in 0..changes {
                let user = UserId(u32::try_from(user).expect("small"));
                loading.record(RoomId(1), NodeIx(0), &[], &[(user, Seq(0))]);
            }
            assert_eq!(loading.check(&[RoomId(1)].into()), Ok(()));
            assert!(loading.check(&[].into()).is_err(), "the read belongs to no order");
            let loaded = loading.done(RoomId(1), true);
            assert_eq!(
                (loaded.has_overflowed, loaded.changes.len()),
                (has_overflowed, CHANGES_MAX)
            );
            assert_eq!(loading.next(0), has_overflowed.then_some(RoomId(1)));
        }
    }
}

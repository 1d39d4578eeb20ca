//! Rooms whose presence of other nodes is being read.
//!
//! What the logs tell of a room while it is being read may be older or newer than what is read, so
//! it is told to the shards again afterwards: the last entry about a user is never older than the
//! hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::cluster::NodeIx;
use throng_core::input::UserCard;
use throng_core::{RoomId, Seq, UserId};

/// Rooms read at a time, and changes kept for one of them meanwhile.
pub const LOADS_MAX: usize = 4;
const CHANGES_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Joined(Arc<UserCard>),
    Left(Seq),
}

struct Load {
    /// [`crate::peers::Peers::adoptions`] when it was asked for.
    adoptions: u64,
    since: BTreeMap<(NodeIx, UserId), Fate>,
    is_over: bool,
}

#[derive(Default)]
pub struct Loading {
    due: BTreeSet<RoomId>,
    under_way: BTreeMap<RoomId, Load>,
}

impl Loading {
    pub fn add(&mut self, room: RoomId) {
        self.due.insert(room);
    }

    pub fn len(&self) -> usize {
        self.due.len() + self.under_way.len()
    }

    pub fn next(&mut self, adoptions: u64) -> Option<RoomId> {
        if self.under_way.len() >= LOADS_MAX {
            return None;
        }
        // A room that is read now and due again waits for its turn.
        let room = *self.due.iter().find(|room| !self.under_way.contains_key(room))?;
        self.due.remove(&room);
        self.under_way.insert(room, Load { adoptions, since: BTreeMap::new(), is_over: false });
        Some(room)
    }

    pub fn note(
        &mut self,
        room: RoomId,
        node: NodeIx,
        joined: &[Arc<UserCard>],
        left: &[(UserId, Seq)],
    ) {
        let Some(load) = self.under_way.get_mut(&room) else { return };
        if load.since.len() + joined.len() + left.len() > CHANGES_MAX {
            load.is_over = true;
            return;
        }
        let joined = joined.iter().map(|card| (card.id, Fate::Joined(card.clone())));
        let left = left.iter().map(|(user, seq)| (*user, Fate::Left(*seq)));
        load.since.extend(joined.chain(left).map(|(user, fate)| ((node, user), fate)));
    }

    /// The room has been read, or could not be.
    pub fn done(&mut self, room: RoomId, is_read: bool) -> Option<Loaded> {
        let load = self.under_way.remove(&room)?;
        if !is_read || load.is_over {
            self.due.insert(room);
        }
        Some(Loaded { adoptions: load.adoptions, since: load.since, is_over: load.is_over })
    }
}

pub struct Loaded {
    pub adoptions: u64,
    /// What the logs told meanwhile.
    pub since: BTreeMap<(NodeIx, UserId), Fate>,
    /// It was too much, and the room is read once more.
    pub is_over: bool,
}

#[cfg(test)]
mod tests {
    use throng_core::cluster::NodeIx;
    use throng_core::{RoomId, Seq, UserId};

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
        for (changes, is_over) in [(CHANGES_MAX, false), (CHANGES_MAX + 1, true)] {
            let mut loading = Loading::default();
            loading.add(RoomId(1));
            loading.next(0);
            for user in 0..changes {
                let user = UserId(u32::try_from(user).expect("small"));
                loading.note(RoomId(1), NodeIx(0), &[], &[(user, Seq(0))]);
            }
            let loaded = loading.done(RoomId(1), true).expect("it was under way");
            assert_eq!((loaded.is_over, loaded.since.len()), (is_over, CHANGES_MAX));
            assert_eq!(loading.next(0), is_over.then_some(RoomId(1)));
        }
    }
}

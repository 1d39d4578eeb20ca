//! Who is where, as other threads may read it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::ids::{RoomId, UserId};

/// A change of who is in a room, from the room's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// The user's first session on this node entered.
    Entered {
        /// Who.
        user: UserId,
        /// Where.
        room: RoomId,
        /// Users in the room now, those of other nodes included.
        online: u32,
    },
    /// The user's last session on this node left.
    Left {
        /// Who.
        user: UserId,
        /// Where.
        room: RoomId,
        /// Users in the room now.
        online: u32,
    },
    /// Users of other nodes came or went.
    Online {
        /// Where.
        room: RoomId,
        /// Users in the room now.
        online: u32,
    },
}

/// Who is in the rooms of one shard: all [`PresenceChange`]s taken together. A room has its home on
/// one shard, so the views of all shards never speak of the same room.
#[derive(Debug, Default)]
pub struct Presence {
    online: BTreeMap<RoomId, u32>,
    /// Sessions of a user in a room; no entry is 0.
    sessions: BTreeMap<(UserId, RoomId), u32>,
    /// Rooms a user is in.
    rooms: BTreeMap<UserId, u32>,
}

impl Extend<PresenceChange> for Presence {
    fn extend<I: IntoIterator<Item = PresenceChange>>(&mut self, changes: I) {
        changes.into_iter().for_each(|change| self.apply(change));
    }
}

impl Presence {
    fn apply(&mut self, change: PresenceChange) {
        match change {
            PresenceChange::Entered { user, room, online } => {
                self.online.insert(room, online);
                if raise(&mut self.sessions, (user, room)) {
                    raise(&mut self.rooms, user);
                }
            }
            PresenceChange::Left { user, room, online } => {
                self.online.insert(room, online);
                if lower(&mut self.sessions, (user, room)) {
                    lower(&mut self.rooms, user);
                }
            }
            PresenceChange::Online { room, online } => {
                self.online.insert(room, online);
            }
        }
    }

    /// Users in the room, if its home is on this shard and any user has ever been in it.
    pub fn online(&self, room: RoomId) -> Option<u32> {
        self.online.get(&room).copied()
    }

    /// Users in one room or more of this shard.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        self.rooms.keys().copied()
    }

    /// Whether the user has a session in the room.
    pub fn is_present(&self, user: UserId, room: RoomId) -> bool {
        self.sessions.contains_key(&(user, room))
    }
}

/// Whether it was the first.
fn raise<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) -> bool {
    let count = counts.entry(key).or_insert(0);
    *count += 1;
    *count == 1
}

/// Whether it was the last.
fn lower<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) -> bool {
    let Entry::Occupied(mut count) = counts.entry(key) else { return false }; // None to lower.
    *count.get_mut() -= 1;
    let is_last = *count.get() == 0;
    if is_last {
        count.remove();
    }
    is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_present_until_the_last_session_leaves_the_last_room() {
        let mut presence = Presence::default();
        let user = UserId(7);
        let [one, two] = [RoomId(1), RoomId(2)];
        let enter = |room, online| PresenceChange::Entered { user, room, online };
        let leave = |room, online| PresenceChange::Left { user, room, online };
        presence.extend([enter(one, 1), enter(one, 1), enter(two, 1)]);
        assert_eq!((presence.users().count(), presence.online(one)), (1, Some(1)));
        presence.extend([leave(one, 1)]);
        assert!(presence.is_present(user, one));
        presence.extend([leave(one, 0)]);
        assert!(!presence.is_present(user, one) && presence.is_present(user, two));
        assert_eq!((presence.users().count(), presence.online(one)), (1, Some(0)));
        presence.extend([leave(two, 0)]);
        assert_eq!(presence.users().count(), 0);
        presence.extend([leave(two, 0)]);
        assert_eq!(presence.users().count(), 0, "one leave too many changes nothing");
    }
}

//! Who is where, as other threads may read it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

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
/// one shard, so no two shards have a view of the same room.
#[derive(Debug, Default)]
pub struct Presence {
    /// Rooms with users.
    online: BTreeMap<RoomId, u32>,
    /// Users of this node in rooms.
    present: BTreeSet<(UserId, RoomId)>,
}

impl Extend<PresenceChange> for Presence {
    fn extend<I: IntoIterator<Item = PresenceChange>>(&mut self, changes: I) {
        changes.into_iter().for_each(|change| self.apply(change));
    }
}

impl Presence {
    fn apply(&mut self, change: PresenceChange) {
        let (room, online) = match change {
            PresenceChange::Entered { user, room, online } => {
                let is_new = self.present.insert((user, room));
                assert!(is_new, "a user's first session enters a room");
                (room, online)
            }
            PresenceChange::Left { user, room, online } => {
                let was_present = self.present.remove(&(user, room));
                assert!(was_present, "a user's last session leaves a room they are in");
                (room, online)
            }
            PresenceChange::Online { room, online } => (room, online),
        };
        // Other nodes may name rooms that do not exist: those are not kept.
        match online {
            0 => self.online.remove(&room),
            online => self.online.insert(room, online),
        };
    }

    /// Users in a room that has its home on this shard, those of other nodes included.
    pub fn online(&self, room: RoomId) -> u32 {
        self.online.get(&room).copied().unwrap_or(0)
    }

    /// Users of this node in one room or more of this shard, with a higher number than `after` and in the
    /// order of their numbers.
    pub fn users_after(&self, after: Option<UserId>) -> impl Iterator<Item = UserId> {
        let start = match after {
            None => Bound::Unbounded,
            Some(user) => Bound::Excluded((user, RoomId(u32::MAX))),
        };
        let present = self.present.range((start, Bound::Unbounded));
        present
            .map(|(user, _)| *user)
            .scan(None, |last, user| {
                let is_new = last.replace(user) != Some(user);
                Some(is_new.then_some(user))
            })
            .flatten()
    }

    /// Whether the user has a session of this node in the room.
    pub fn is_present(&self, user: UserId, room: RoomId) -> bool {
        self.present.contains(&(user, room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId(7);
    const ROOM: RoomId = RoomId(1);

    fn enter(user: UserId, room: RoomId, online: u32) -> PresenceChange {
        PresenceChange::Entered { user, room, online }
    }

    fn leave(user: UserId, room: RoomId, online: u32) -> PresenceChange {
        PresenceChange::Left { user, room, online }
    }

    #[test]
    fn a_user_is_present_until_they_have_left_the_last_room() {
        let mut presence = Presence::default();
        let other = RoomId(2);
        presence.extend([enter(USER, ROOM, 1), enter(USER, other, 1)]);
        assert_eq!((presence.users_after(None).count(), presence.online(ROOM)), (1, 1));
        presence.extend([leave(USER, ROOM, 0)]);
        assert!(!presence.is_present(USER, ROOM) && presence.is_present(USER, other));
        assert_eq!((presence.users_after(None).count(), presence.online(ROOM)), (1, 0));
        presence.extend([leave(USER, other, 0)]);
        assert_eq!(presence.users_after(None).count(), 0);
    }

    #[test]
    fn users_are_read_in_parts() {
        let mut presence = Presence::default();
        presence.extend((1..=5).flat_map(|n| [1, 2].map(|room| enter(UserId(n), RoomId(room), n))));
        let part =
            |after| presence.users_after(after).take(2).map(|user| user.0).collect::<Vec<_>>();
        assert_eq!(part(None), [1, 2]);
        assert_eq!(part(Some(UserId(2))), [3, 4]);
        assert_eq!(part(Some(UserId(4))), [5]);
        assert!(part(Some(UserId(5))).is_empty());
    }

    #[test]
    fn a_room_without_users_is_not_kept() {
        let mut presence = Presence::default();
        let online = |online| PresenceChange::Online { room: ROOM, online };
        presence.extend([online(0), online(3), online(0)]);
        assert!(presence.online.is_empty());
    }

    #[test]
    #[should_panic(expected = "a user's first session enters a room")]
    fn to_enter_twice_is_a_bug() {
        Presence::default().extend([enter(USER, ROOM, 1), enter(USER, ROOM, 1)]);
    }

    #[test]
    #[should_panic(expected = "a user's last session leaves a room they are in")]
    fn to_leave_without_having_entered_is_a_bug() {
        Presence::default().extend([leave(USER, ROOM, 0)]);
    }
}

//! Who follows which room, and how far the followers of changed rooms have been looked at.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use throng_engine::{Keyed, Map};

use crate::ids::{RoomId, UserId};

/// Where a user stands among the followers of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) struct Place(NonZeroU32);

impl Place {
    fn new(index: usize) -> Place {
        Place(NonZeroU32::MIN.checked_add(index as u32).expect("fewer users than numbers"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A round over a list: each of `left` entries, from the one at `next` on, is still to be looked at.
#[derive(Clone, Copy, Default)]
struct Round {
    next: u32,
    left: u32,
}

impl Round {
    fn begin(&mut self, len: usize) {
        self.left = len as u32;
    }

    /// The next entry of the list, which has entries.
    fn step(&mut self, len: usize) -> usize {
        let index = if (self.next as usize) < len { self.next as usize } else { 0 };
        self.next = index as u32 + 1;
        self.left -= 1;
        index
    }

    /// Whether the entry will be looked at.
    fn has(&self, index: usize, len: usize) -> bool {
        let next = self.next as usize % len.max(1);
        let ahead = (index + len - next) % len.max(1);
        ahead < self.left as usize
    }
}

#[derive(Default)]
struct RoomFollowers {
    users: Vec<UserId>,
    round: Round,
}

/// What a round looks at next.
#[derive(Clone, Copy)]
pub(super) enum Looked {
    /// The session in this slot: every user follows every room.
    Slot(usize),
    /// A follower of the room.
    Follower(RoomId, UserId),
}

/// Users with sessions here, by the rooms that they follow.
pub(in crate::edge) struct Followers {
    rooms: Map<RoomId, RoomFollowers>,
    everybody: Round,
    /// Slots of sessions when that round began; who came later has been told everything.
    slots: usize,
    /// Rooms whose round is not over, in their order; `None`: that over everybody.
    rounds: VecDeque<Option<RoomId>>,
}

impl Followers {
    pub(super) fn new(keyed: Keyed) -> Followers {
        let rooms = Map::with_hasher(keyed);
        Followers { rooms, everybody: Round::default(), slots: 0, rounds: VecDeque::new() }
    }

    /// Returns the user's place.
    pub(super) fn add(&mut self, room: RoomId, user: UserId) -> Place {
        let followers = self.rooms.entry(room).or_default();
        followers.users.push(user);
        if followers.round.left > 0 {
            // The round may have passed the end of the list already.
            let most = followers.users.len() as u32;
            followers.round.left = (followers.round.left + 1).min(most);
        }
        Place::new(followers.users.len() - 1)
    }

    /// Returns the user who has that place now.
    pub(super) fn remove(&mut self, room: RoomId, place: Place) -> Option<UserId> {
        let followers = self.rooms.get_mut(&room).expect("a room that is followed is listed");
        followers.users.swap_remove(place.index());
        let len = followers.users.len();
        if followers.round.left > 0 {
            // The one who has moved may have come to a place that was passed.
            followers.round.begin(len.max(1));
        } else if len == 0 {
            self.rooms.remove(&room);
            return None;
        }
        followers.users.get(place.index()).copied()
    }

    /// The room's number has changed.
    pub(super) fn changed(&mut self, room: RoomId) {
        let Some(followers) = self.rooms.get_mut(&room) else { return };
        if followers.round.left == 0 {
            self.rounds.push_back(Some(room));
        }
        followers.round.begin(followers.users.len().max(1));
    }

    /// A number has changed that all sessions may have to be told.
    pub(super) fn changed_for_all(&mut self, slots: usize) {
        if slots > 0 {
            if self.everybody.left == 0 {
                self.rounds.push_back(None);
            }
            self.everybody.begin(slots);
            self.slots = slots;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Rooms take turns, so that a large one does not hold up the others.
    pub(super) fn next(&mut self) -> Option<Looked> {
        loop {
            let Some(room) = self.rounds.pop_front()? else {
                let slot = self.everybody.step(self.slots);
                if self.everybody.left > 0 {
                    self.rounds.push_back(None);
                }
                return Some(Looked::Slot(slot));
            };
            let followers = self.rooms.get_mut(&room).expect("a room is kept during its round");
            if followers.users.is_empty() {
                self.rooms.remove(&room);
                continue;
            }
            let place = followers.round.step(followers.users.len());
            if followers.round.left > 0 {
                self.rounds.push_back(Some(room));
            }
            return Some(Looked::Follower(room, followers.users[place]));
        }
    }

    /// Whether a round will come to the session in that slot.
    pub(super) fn will_look_at(&self, slot: usize) -> bool {
        slot < self.slots && self.everybody.has(slot, self.slots)
    }

    /// Whether the room's round will come to the follower at that place.
    pub(super) fn will_look_at_follower(&self, room: RoomId, place: Place) -> bool {
        let followers = self.rooms.get(&room);
        followers.is_some_and(|it| it.round.has(place.index(), it.users.len()))
    }

    /// Who has the place.
    pub(in crate::edge) fn at(&self, room: RoomId, place: Place) -> Option<UserId> {
        self.rooms.get(&room)?.users.get(place.index()).copied()
    }

    /// Asserts that what is not over is listed, once. Returns how many users are listed, of all rooms.
    pub(in crate::edge) fn check(&self) -> usize {
        let mut under_way = usize::from(self.everybody.left > 0);
        for followers in self.rooms.values() {
            let is_over = followers.round.left == 0;
            assert!(!(is_over && followers.users.is_empty()), "a room without followers is forgotten");
            let most = followers.users.len().max(1);
            assert!(followers.round.left as usize <= most, "a round looks at everybody once");
            under_way += usize::from(!is_over);
        }
        assert_eq!(under_way, self.rounds.len(), "a round that is not over is listed once");
        for round in &self.rounds {
            let left = match round {
                Some(room) => self.rooms.get(room).map_or(0, |followers| followers.round.left),
                None => self.everybody.left,
            };
            assert!(left > 0, "a round that is listed is not over");
        }
        self.rooms.values().map(|followers| followers.users.len()).sum()
    }
}

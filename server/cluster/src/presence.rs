//! Who is in which room on this node, and what Redis and the others have been told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::input::UserCard;
use throng_core::{RoomId, Seq, UserId};

use crate::entry::{Body, encode_card};
use crate::keys::{Keys, presence_field};
use crate::order::Write;
use crate::stage::{Act, Due, Stage};

type Key = (RoomId, UserId);

struct Stay {
    card: Arc<UserCard>,
    /// What he had read when he left.
    seq: Seq,
    is_wanted: bool,
    stage: Stage,
    /// The card has changed since it was written.
    is_stale: bool,
}

impl Stay {
    /// Redis holds it as it is here.
    fn is_settled(&self) -> bool {
        match self.stage {
            Stage::Written => self.is_wanted && !self.is_stale,
            Stage::Owned | Stage::Absent => !self.is_wanted,
            Stage::Owning | Stage::Writing => false,
        }
    }
}

/// A fact that a `Write` under way is about.
pub struct Moved {
    key: Key,
    act: Act,
}

#[derive(Default)]
pub struct Presence {
    stays: BTreeMap<Key, Stay>,
    due: Due<Key>,
    /// Changes that are written and that the others do not know.
    untold: Due<Key>,
    /// What must be written before the incarnation is announced.
    announcing: BTreeSet<Key>,
    /// Rooms that stand in the set of what the incarnation owns, or may. They stay there as long as
    /// it lives: there are no more of them than rooms.
    rooms: BTreeMap<RoomId, Stage>,
}

impl Presence {
    pub fn set(&mut self, room: RoomId, card: Arc<UserCard>, is_present: bool, seq: Seq) {
        let key = (room, card.id);
        match self.stays.get_mut(&key) {
            Some(stay) => {
                let has_read = !is_present && stay.seq != seq;
                let is_changed = has_read || stay.is_wanted != is_present || *stay.card != *card;
                stay.is_stale |= is_present && *stay.card != *card;
                stay.is_wanted = is_present;
                stay.card = card;
                stay.seq = seq;
                if is_changed {
                    self.due.add(key);
                }
            }
            // A visit that is over already is not written, but the others hear how far he has read.
            None => {
                let stage = Stage::Absent;
                let stay = Stay { card, seq, is_wanted: is_present, stage, is_stale: false };
                self.stays.insert(key, stay);
                self.due.add(key);
            }
        }
    }

    /// A new incarnation: nothing is in Redis under its name yet.
    pub fn begin(&mut self) {
        self.stays.retain(|_, stay| stay.is_wanted);
        self.rooms.clear();
        self.due.clear();
        self.untold.clear();
        self.announcing = self.stays.keys().copied().collect();
        for (key, stay) in &mut self.stays {
            stay.stage = Stage::Absent;
            stay.is_stale = false;
            self.due.add(*key);
        }
    }

    pub fn is_announced(&self) -> bool {
        self.announcing.is_empty()
    }

    pub fn due(&self) -> usize {
        self.due.len()
    }

    pub fn untold(&self) -> usize {
        self.untold.len()
    }

    /// Up to `max` facts, one act each.
    pub fn writes(
        &mut self,
        max: usize,
        keys: &Keys,
        incarnation: &str,
    ) -> (Vec<Write>, Vec<Moved>) {
        let mut moved = Vec::new();
        let mut owned = BTreeSet::new();
        let mut set: BTreeMap<RoomId, Vec<(String, String)>> = BTreeMap::new();
        let mut deleted: BTreeMap<RoomId, Vec<String>> = BTreeMap::new();
        for key in self.due.take(max) {
            let Some(stay) = self.stays.get_mut(&key) else { continue };
            let (room, user) = key;
            let room_stage = self.rooms.entry(room).or_default();
            let act = match stay.stage.next(stay.is_wanted) {
                Some(Act::Own) if *room_stage == Stage::Owned => Act::Write,
                None if stay.is_wanted && stay.is_stale => Act::Write,
                // It is as it should be; the room stays owned.
                Some(Act::Disown) | None => {
                    self.finish(key);
                    continue;
                }
                Some(act) => act,
            };
            let field = presence_field(incarnation, user);
            match act {
                Act::Own => {
                    *room_stage = Stage::Owning;
                    owned.insert(room);
                }
                Act::Write => {
                    stay.is_stale = false;
                    // Again: Redis may have been emptied since.
                    owned.insert(room);
                    set.entry(room).or_default().push((field, encode_card(&stay.card)));
                }
                Act::Erase | Act::Disown => deleted.entry(room).or_default().push(field),
            }
            if act != Act::Own {
                stay.stage = act.begun();
            }
            moved.push(Moved { key, act });
        }
        let mut writes = Vec::new();
        if !owned.is_empty() {
            let members = owned.iter().map(|room| room.0.to_string()).collect();
            writes.push(Write::SetAdd { key: keys.owned_rooms(incarnation), members });
        }
        let set = set.into_iter();
        writes.extend(set.map(|(room, pairs)| Write::HashSet { key: keys.presence(room), pairs }));
        writes.extend(
            deleted
                .into_iter()
                .map(|(room, fields)| Write::HashDelete { key: keys.presence(room), fields }),
        );
        (writes, moved)
    }

    pub fn written(&mut self, moved: Vec<Moved>, is_done: bool) {
        for Moved { key, act } in moved {
            if is_done && act == Act::Own {
                self.rooms.insert(key.0, Stage::Owned);
            }
            let Some(stay) = self.stays.get_mut(&key) else { continue };
            if is_done && act != Act::Own {
                stay.stage = act.done();
            }
            if stay.is_settled() {
                self.finish(key);
            } else {
                self.due.add(key);
            }
        }
    }

    /// The fact is in Redis as it is here. Whoever announces tells all of it at once.
    fn finish(&mut self, key: Key) {
        if self.announcing.remove(&key) {
            if self.stays.get(&key).is_some_and(|stay| !stay.is_wanted) {
                self.stays.remove(&key);
            }
        } else if self.stays.contains_key(&key) {
            self.untold.add(key);
        }
    }

    /// Up to `max` changes that the others are to be told, by room, and the keys to tell again if
    /// that fails.
    pub fn news(&mut self, max: usize) -> (Vec<(RoomId, Body)>, Vec<News>) {
        let mut told = Vec::new();
        let mut rooms = BTreeMap::<RoomId, (Vec<Arc<UserCard>>, Vec<_>)>::new();
        for key in self.untold.take(max) {
            // What is being written again is told again afterwards.
            let Some(stay) = self.stays.get(&key).filter(|stay| stay.is_settled()) else {
                continue;
            };
            let (joined, left) = rooms.entry(key.0).or_default();
            if stay.is_wanted {
                joined.push(stay.card.clone());
            } else {
                left.push((key.1, stay.seq));
            }
            told.push(News { key, is_left: !stay.is_wanted });
        }
        let bodies = rooms
            .into_iter()
            .map(|(room, (joined, left))| (room, Body::Present { room, joined, left }));
        (bodies.collect(), told)
    }

    pub fn told(&mut self, news: Vec<News>, is_done: bool) {
        for News { key, is_left } in news {
            let Some(stay) = self.stays.get(&key) else { continue };
            if !is_done {
                self.untold.add(key);
                continue;
            }
            // Who has come back or left once more since is told of once more.
            let is_last = !(self.due.has(&key) || self.untold.has(&key));
            if is_left && !stay.is_wanted && stay.is_settled() && is_last {
                self.stays.remove(&key);
            }
        }
    }
}

/// A change that an `Append` under way tells.
pub struct News {
    key: Key,
    is_left: bool,
}

#[cfg(test)]
mod tests {
    use throng_core::{RoomId, Seq, UserId};

    use super::Presence;
    use crate::entry::Body;
    use crate::keys::Keys;
    use crate::settings::Settings;
    use crate::tests::world::card;

    const ROOM: RoomId = RoomId(1);

    fn set(presence: &mut Presence, is_present: bool, seq: u64) {
        presence.set(ROOM, card(1), is_present, Seq(seq));
    }

    /// Writes whatever is due; returns the number of commands.
    fn write(presence: &mut Presence) -> usize {
        let keys = Keys::new(&Settings::default());
        let mut count = 0;
        loop {
            let (writes, moved) = presence.writes(64, &keys, "name");
            if writes.is_empty() {
                return count;
            }
            count += writes.len();
            presence.written(moved, true);
        }
    }

    #[test]
    fn of_a_visit_that_was_over_before_it_was_known_only_the_mark_is_told() {
        let mut presence = Presence::default();
        set(&mut presence, false, 7);
        assert_eq!(write(&mut presence), 0);
        let (bodies, news) = presence.news(9);
        let left = Body::Present { room: ROOM, joined: vec![], left: vec![(UserId(1), Seq(7))] };
        assert_eq!(bodies, [(ROOM, left)]);
        presence.told(news, true);
        assert!(presence.stays.is_empty());
    }

    #[test]
    fn who_leaves_again_while_that_is_told_is_told_of_again() {
        for comes_back in [true, false] {
            let mut presence = Presence::default();
            set(&mut presence, true, 0);
            write(&mut presence);
            set(&mut presence, false, 1);
            write(&mut presence);
            let (_, news) = presence.news(9);
            if comes_back {
                set(&mut presence, true, 1);
            }
            set(&mut presence, false, 2);
            presence.told(news, true);
            write(&mut presence);
            let (bodies, _) = presence.news(9);
            let left = vec![(UserId(1), Seq(2))];
            assert_eq!(bodies, [(ROOM, Body::Present { room: ROOM, joined: vec![], left })]);
        }
    }
}

//! Which user is in which room on this node, and how far Redis and the logs show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_chat::UserCard;
use throng_chat::{RoomId, Seq, UserId};

use crate::entry::{Body, encode_card};
use crate::keys::{Keys, presence_field};
use crate::order::Write;
use crate::stage::{Act, Due, Stage};

type Key = (RoomId, UserId);

/// One user in one room.
struct PresenceState {
    card: Arc<UserCard>,
    /// The read mark when the user left.
    seq: Seq,
    /// The user is present; Redis must show it.
    is_wanted: bool,
    stage: Stage,
    /// The card has changed since it was written.
    is_stale: bool,
}

impl PresenceState {
    /// Redis shows this state.
    fn is_shown(&self) -> bool {
        match self.stage {
            Stage::Written => self.is_wanted && !self.is_stale,
            Stage::Owned | Stage::Absent => !self.is_wanted,
            Stage::Owning | Stage::Writing => false,
        }
    }
}

/// A user in a room that a `Write` in flight is about.
pub struct StartedWrite {
    key: Key,
    act: Act,
}

#[derive(Default)]
pub struct Presence {
    states: BTreeMap<Key, PresenceState>,
    /// States that must be written.
    due: Due<Key>,
    /// States that are written and not yet in the log.
    unlogged: Due<Key>,
    /// States that must be written before the incarnation is announced.
    announcing: BTreeSet<Key>,
    /// Rooms that are, or may be, in the set of what the incarnation owns. They are not removed
    /// while the incarnation lives: their number is bounded by that of the rooms.
    rooms: BTreeMap<RoomId, Stage>,
}

impl Presence {
    pub fn set(&mut self, room: RoomId, card: Arc<UserCard>, is_present: bool, seq: Seq) {
        let key = (room, card.id);
        match self.states.get_mut(&key) {
            Some(state) => {
                let has_read = !is_present && state.seq != seq;
                let is_changed = has_read || state.is_wanted != is_present || *state.card != *card;
                state.is_stale |= is_present && *state.card != *card;
                state.is_wanted = is_present;
                state.card = card;
                state.seq = seq;
                if is_changed {
                    self.due.add(key);
                }
            }
            // A visit that is over already is not written, but its read mark is logged.
            None => {
                let stage = Stage::Absent;
                let state =
                    PresenceState { card, seq, is_wanted: is_present, stage, is_stale: false };
                self.states.insert(key, state);
                self.due.add(key);
            }
        }
    }

    /// A new incarnation: nothing is in Redis under its name yet.
    pub fn begin(&mut self) {
        self.states.retain(|_, state| state.is_wanted);
        self.rooms.clear();
        self.due.clear();
        self.unlogged.clear();
        self.announcing = self.states.keys().copied().collect();
        for (key, state) in &mut self.states {
            state.stage = Stage::Absent;
            state.is_stale = false;
            self.due.add(*key);
        }
    }

    pub fn is_announced(&self) -> bool {
        self.announcing.is_empty()
    }

    pub fn due(&self) -> usize {
        self.due.len()
    }

    pub fn unlogged(&self) -> usize {
        self.unlogged.len()
    }

    /// Writes for up to `max` states, one act each.
    pub fn writes(
        &mut self,
        max: usize,
        keys: &Keys,
        incarnation: &str,
    ) -> (Vec<Write>, Vec<StartedWrite>) {
        let mut started = Vec::new();
        let mut owned = BTreeSet::new();
        let mut set: BTreeMap<RoomId, Vec<(String, String)>> = BTreeMap::new();
        let mut deleted: BTreeMap<RoomId, Vec<String>> = BTreeMap::new();
        for key in self.due.take(max) {
            let state = self.states.get_mut(&key).expect("a due key has a state");
            let (room, user) = key;
            let room_stage = self.rooms.entry(room).or_default();
            let act = match state.stage.next(state.is_wanted) {
                Some(Act::Own) if *room_stage == Stage::Owned => Act::Write,
                None if state.is_wanted && state.is_stale => Act::Write,
                // Redis shows the state; the room stays owned.
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
                    state.is_stale = false;
                    // Owned again, since Redis may have been emptied.
                    owned.insert(room);
                    set.entry(room).or_default().push((field, encode_card(&state.card)));
                }
                Act::Erase | Act::Disown => deleted.entry(room).or_default().push(field),
            }
            if act != Act::Own {
                state.stage = act.begun();
            }
            started.push(StartedWrite { key, act });
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
        (writes, started)
    }

    /// The outcome of a `Write`. After a failure each act is repeated.
    pub fn written(&mut self, started: Vec<StartedWrite>, is_done: bool) {
        for StartedWrite { key, act } in started {
            if is_done && act == Act::Own {
                self.rooms.insert(key.0, Stage::Owned);
            }
            let state = self.states.get_mut(&key).expect("a state outlives its write");
            if is_done && act != Act::Own {
                state.stage = act.done();
            }
            if state.is_shown() {
                self.finish(key);
            } else {
                self.due.add(key);
            }
        }
    }

    /// Redis shows the state. While the incarnation is announced, peers read the hash instead of log
    /// entries.
    fn finish(&mut self, key: Key) {
        self.due.remove(&key);
        let state = self.states.get(&key).expect("a finished write has a state");
        if !self.announcing.remove(&key) {
            self.unlogged.add(key);
        } else if !state.is_wanted {
            self.states.remove(&key);
        }
    }

    /// Up to `max` changes to log, by room, and what to log again if the `Append` fails.
    pub fn next_changes(&mut self, max: usize) -> (Vec<(RoomId, Body)>, Vec<LoggedChange>) {
        let mut changes = Vec::new();
        let mut rooms = BTreeMap::<RoomId, (Vec<Arc<UserCard>>, Vec<_>)>::new();
        for key in self.unlogged.take(max) {
            let state = self.states.get(&key).expect("an unlogged key has a state");
            // By design: a state that is being written again is logged after that write.
            if !state.is_shown() {
                continue;
            }
            let (joined, left) = rooms.entry(key.0).or_default();
            if state.is_wanted {
                joined.push(state.card.clone());
            } else {
                left.push((key.1, state.seq));
            }
            changes.push(LoggedChange { key, is_left: !state.is_wanted });
        }
        let bodies = rooms
            .into_iter()
            .map(|(room, (joined, left))| (room, Body::Present { room, joined, left }));
        (bodies.collect(), changes)
    }

    /// The outcome of an `Append`. After a failure each change is logged again.
    pub fn logged(&mut self, changes: Vec<LoggedChange>, is_done: bool) {
        for LoggedChange { key, is_left } in changes {
            let state = self.states.get(&key).expect("a state outlives its append");
            if !is_done {
                self.unlogged.add(key);
                continue;
            }
            // A user who has come back or left again since is logged again.
            let is_last = !(self.due.has(&key) || self.unlogged.has(&key));
            if is_left && !state.is_wanted && state.is_shown() && is_last {
                self.states.remove(&key);
            }
        }
    }
}

impl Presence {
    /// `in_flight`: the write and the append in flight, if any.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check(
        &self,
        in_flight: &[StartedWrite],
        appending: &[LoggedChange],
    ) -> Result<(), String> {
        let written: BTreeSet<Key> = in_flight.iter().map(|started| started.key).collect();
        let appended: BTreeSet<Key> = appending.iter().map(|change| change.key).collect();
        let is_in_flight = |key: &Key| written.contains(key);
        let is_appending = |key: &Key| appended.contains(key);
        for key in self.due.keys().chain(self.unlogged.keys()) {
            ensure!(self.states.contains_key(key), "{key:?} waits without a state");
        }
        for key in written.union(&appended) {
            ensure!(self.states.contains_key(key), "{key:?} is in flight without a state");
        }
        for key in &self.announcing {
            ensure!(self.states.contains_key(key), "announcing {key:?} has no state");
            ensure!(!self.unlogged.has(key), "{key:?} is announced and logged");
            ensure!(self.due.has(key) || is_in_flight(key), "announcing {key:?} is never written");
        }
        for (key, state) in &self.states {
            let is_waiting = self.due.has(key) || is_in_flight(key);
            let is_unlogged = self.unlogged.has(key) || is_appending(key);
            ensure!(state.is_shown() || is_waiting, "{key:?} is never written");
            ensure!(state.is_wanted || is_waiting || is_unlogged, "{key:?} left and stays");
            let is_owned = self.rooms.get(&key.0) == Some(&Stage::Owned);
            ensure!(state.stage == Stage::Absent || is_owned, "{key:?} is written before owned");
        }
        Ok(())
    }
}

/// A change that an `Append` in flight contains.
pub struct LoggedChange {
    key: Key,
    is_left: bool,
}

#[cfg(test)]
mod tests {
    use throng_chat::{RoomId, Seq, UserId};

    use super::Presence;
    use crate::entry::Body;
    use crate::keys::Keys;
    use crate::settings::Settings;
    use crate::tests::cards::card;

    const ROOM: RoomId = RoomId(1);

    fn set(presence: &mut Presence, is_present: bool, seq: u64) {
        presence.set(ROOM, card(1), is_present, Seq(seq));
    }

    /// Writes everything that is due; returns the number of commands.
    fn write(presence: &mut Presence) -> usize {
        let keys = Keys::new(&Settings::default());
        let mut count = 0;
        loop {
            let (writes, started) = presence.writes(64, &keys, "name");
            if writes.is_empty() {
                return count;
            }
            count += writes.len();
            presence.written(started, true);
        }
    }

    #[test]
    fn broken_indexes_are_noticed() {
        let fault = |corrupt: fn(&mut Presence)| {
            let mut presence = Presence::default();
            set(&mut presence, true, 0);
            assert_eq!(presence.check(&[], &[]), Ok(()));
            corrupt(&mut presence);
            presence.check(&[], &[]).expect_err("the corruption is noticed")
        };
        assert!(fault(|presence| presence.due.clear()).contains("never written"));
        assert!(fault(|presence| presence.states.clear()).contains("without a state"));
        assert!(
            fault(|presence| {
                presence.announcing.insert((ROOM, UserId(1)));
                presence.unlogged.add((ROOM, UserId(1)));
            })
            .contains("announced and logged")
        );
    }

    #[test]
    fn a_visit_that_ended_before_it_was_known_logs_only_its_read_mark() {
        let mut presence = Presence::default();
        set(&mut presence, false, 7);
        assert_eq!(write(&mut presence), 0);
        let (bodies, changes) = presence.next_changes(9);
        let left = Body::Present { room: ROOM, joined: vec![], left: vec![(UserId(1), Seq(7))] };
        assert_eq!(bodies, [(ROOM, left)]);
        presence.logged(changes, true);
        assert!(presence.states.is_empty());
    }

    #[test]
    fn a_user_who_leaves_again_while_the_first_leave_is_logged_is_logged_again() {
        for comes_back in [true, false] {
            let mut presence = Presence::default();
            set(&mut presence, true, 0);
            write(&mut presence);
            set(&mut presence, false, 1);
            write(&mut presence);
            let (_, changes) = presence.next_changes(9);
            if comes_back {
                set(&mut presence, true, 1);
            }
            set(&mut presence, false, 2);
            presence.logged(changes, true);
            write(&mut presence);
            let (bodies, _) = presence.next_changes(9);
            let left = vec![(UserId(1), Seq(2))];
            assert_eq!(bodies, [(ROOM, Body::Present { room: ROOM, joined: vec![], left })]);
        }
    }
}

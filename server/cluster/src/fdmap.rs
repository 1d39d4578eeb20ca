//! The original application's map of connections: which user has which connection, in which rooms.
//! Every connection has an fd, which holds the time of its start through all incarnations, so that
//! the newest connection of a user stays the newest.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::cluster::SessionState;
use throng_chat::{RoomId, UserId};
use throng_engine::SessionId;

use crate::keys::{Keys, owned_pair};
use crate::order::{Fd, Write};
use crate::stage::{Act, Due, Stage};

/// A room of the original: one of ours, or all connections of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Room(RoomId),
    User(UserId),
}

/// A connection, identified by the time of its start, and a room it is in.
type Key = (u64, Name);

struct Pair {
    /// The connection is in the room; Redis must show it.
    is_wanted: bool,
    stage: Stage,
    /// Redis may name another connection as the newest of the user.
    is_stale: bool,
}

/// A pair that a `Write` in flight is about.
pub struct StartedWrite {
    key: Key,
    act: Act,
}

#[derive(Default)]
pub struct FdMap {
    /// The start of each connection in at least one room.
    stamps: BTreeMap<SessionId, u64>,
    pairs: BTreeMap<Key, Pair>,
    /// Pairs that must be written.
    due: Due<Key>,
    /// Pairs that must be written before the incarnation is announced.
    announcing: BTreeSet<Key>,
    /// The connections of each user, oldest first.
    users: BTreeMap<UserId, BTreeSet<u64>>,
    last_stamp: u64,
    /// Users whose connection was removed from the map; other nodes may have one of theirs.
    freed: BTreeSet<UserId>,
}

impl FdMap {
    /// The session belongs to this user and is in these rooms; `None` once it has ended.
    pub fn set(&mut self, session: SessionId, state: Option<&SessionState>, unix_ms: u64) {
        let mut wanted = BTreeSet::new();
        if let Some(state) = state {
            wanted.insert(Name::User(state.user));
            wanted.extend(state.rooms.iter().map(|room| Name::Room(*room)));
        }
        let stamp = match self.stamps.get(&session) {
            Some(stamp) => *stamp,
            None if wanted.is_empty() => return,
            None => self.new_stamp(session, unix_ms),
        };
        if wanted.is_empty() {
            self.stamps.remove(&session);
        }
        let first = (stamp, Name::Room(RoomId(0)));
        let last = (stamp, Name::User(UserId(u32::MAX)));
        let gone: Vec<Name> = self
            .pairs
            .range(first..=last)
            .filter(|((_, name), pair)| pair.is_wanted && !wanted.contains(name))
            .map(|((_, name), _)| *name)
            .collect();
        for name in gone {
            self.want((stamp, name), false);
        }
        for name in wanted {
            self.want((stamp, name), true);
        }
    }

    fn new_stamp(&mut self, session: SessionId, unix_ms: u64) -> u64 {
        self.last_stamp = unix_ms.max(self.last_stamp + 1);
        self.stamps.insert(session, self.last_stamp);
        self.last_stamp
    }

    fn want(&mut self, key: Key, is_wanted: bool) {
        if let Name::User(user) = key.1 {
            let stamps = self.users.entry(user).or_default();
            if is_wanted {
                stamps.insert(key.0);
            } else {
                stamps.remove(&key.0);
            }
            if stamps.is_empty() {
                self.users.remove(&user);
            }
        }
        let absent = || Pair { is_wanted: false, stage: Stage::Absent, is_stale: false };
        let pair = self.pairs.entry(key).or_insert_with(absent);
        if pair.is_wanted != is_wanted {
            pair.is_wanted = is_wanted;
            self.due.add(key);
        }
    }

    /// Writes the binding of the user's newest connection again, since another one was removed.
    pub fn bind_again(&mut self, user: UserId) {
        // By design: other nodes name users who have no connection here.
        let Some(newest) = self.users.get(&user).and_then(|stamps| stamps.last()) else { return };
        let key = (*newest, Name::User(user));
        let pair = self.pairs.get_mut(&key).expect("each connection of a user has a pair");
        pair.is_stale = true;
        self.due.add(key);
    }

    pub fn bind_all_again(&mut self) {
        let users: Vec<UserId> = self.users.keys().copied().collect();
        users.into_iter().for_each(|user| self.bind_again(user));
    }

    /// A new incarnation: Redis holds nothing under its name yet.
    pub fn begin(&mut self) {
        self.pairs.retain(|_, pair| pair.is_wanted);
        self.due.clear();
        self.announcing = self.pairs.keys().copied().collect();
        for (key, pair) in &mut self.pairs {
            pair.stage = Stage::Absent;
            pair.is_stale = false;
            self.due.add(*key);
        }
    }

    pub fn is_announced(&self) -> bool {
        self.announcing.is_empty()
    }

    pub fn due(&self) -> usize {
        self.due.len()
    }

    /// Users whose connection was removed from the map since the last call.
    pub fn take_freed(&mut self) -> BTreeSet<UserId> {
        std::mem::take(&mut self.freed)
    }

    /// Writes for up to `max` pairs, one act each.
    pub fn writes(
        &mut self,
        max: usize,
        keys: &Keys,
        node: u16,
        incarnation: &str,
    ) -> (Vec<Write>, Vec<StartedWrite>) {
        let mut started = Vec::new();
        let (mut owned, mut disowned) = (Vec::new(), Vec::new());
        let mut writes = Vec::new();
        for key in self.due.take(max) {
            let pair = self.pairs.get_mut(&key).expect("a due key has a pair");
            let act = match pair.stage.next(pair.is_wanted) {
                None if pair.is_wanted && pair.is_stale => Act::Write,
                None => {
                    self.finish(key);
                    continue;
                }
                Some(act) => act,
            };
            pair.stage = act.begun();
            let fd = Fd::new(node, key.0);
            let name = match key.1 {
                Name::Room(room) => keys.room_name(room),
                Name::User(user) => Keys::user_name(user),
            };
            let fds = (keys.fds_of(&name), fd.to_string());
            let names = (keys.names_of(fd), name.clone());
            let key_of_map = keys.socket_id.clone();
            match act {
                Act::Own => owned.push(owned_pair(fd, &name)),
                Act::Disown => disowned.push(owned_pair(fd, &name)),
                Act::Write => {
                    pair.is_stale = false;
                    // Owned again, since Redis may have been emptied.
                    owned.push(owned_pair(fd, &name));
                    writes.push(Write::SetAdd { key: names.0, members: vec![names.1] });
                    writes.push(Write::SetAdd { key: fds.0, members: vec![fds.1] });
                    if let Name::User(user) = key.1 {
                        writes.push(Write::Bind { key: key_of_map, user, fd });
                    }
                }
                Act::Erase => {
                    if let Name::User(user) = key.1 {
                        writes.push(Write::Unbind { key: key_of_map, user, fd });
                    }
                    writes.push(Write::SetRemove { key: fds.0, members: vec![fds.1] });
                    writes.push(Write::SetRemove { key: names.0, members: vec![names.1] });
                }
            }
            started.push(StartedWrite { key, act });
        }
        let key = keys.owned_fds(incarnation);
        if !owned.is_empty() {
            writes.insert(0, Write::SetAdd { key: key.clone(), members: owned });
        }
        if !disowned.is_empty() {
            writes.push(Write::SetRemove { key, members: disowned });
        }
        (writes, started)
    }

    /// The outcome of a `Write`. After a failure each act is repeated.
    pub fn written(&mut self, started: Vec<StartedWrite>, is_done: bool) {
        for StartedWrite { key, act } in started {
            let pair = self.pairs.get_mut(&key).expect("a pair outlives its write");
            if is_done {
                pair.stage = act.done();
                if let (Act::Erase, Name::User(user)) = (act, key.1) {
                    self.freed.insert(user);
                    self.bind_again(user);
                }
            }
            self.due.add(key);
        }
    }

    /// Redis shows the pair.
    fn finish(&mut self, key: Key) {
        self.announcing.remove(&key);
        if !self.pairs.get(&key).expect("a finished key has a pair").is_wanted {
            self.pairs.remove(&key);
        }
    }

    /// `in_flight`: the write in flight, if any.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check(&self, in_flight: &[StartedWrite]) -> Result<(), String> {
        let written: BTreeSet<Key> = in_flight.iter().map(|started| started.key).collect();
        for key in self.due.keys().chain(&self.announcing).chain(&written) {
            ensure!(self.pairs.contains_key(key), "{key:?} waits without a pair");
        }
        let stamps: BTreeSet<u64> = self.stamps.values().copied().collect();
        ensure!(stamps.len() == self.stamps.len(), "two connections share a start");
        ensure!(stamps.last() <= Some(&self.last_stamp), "a start of the future");
        let mut connected = BTreeSet::new();
        for (key, pair) in &self.pairs {
            let is_waiting = self.due.has(key) || written.contains(key);
            let is_written = pair.is_wanted && pair.stage == Stage::Written && !pair.is_stale;
            ensure!(is_written || is_waiting, "{key:?} is never written");
            let Name::User(user) = key.1 else { continue };
            let is_indexed = self.users.get(&user).is_some_and(|stamps| stamps.contains(&key.0));
            ensure!(is_indexed == pair.is_wanted, "{key:?} and the user's connections differ");
        }
        for (key, _) in self.pairs.iter().filter(|(_, pair)| pair.is_wanted) {
            connected.insert(key.0);
        }
        ensure!(connected == stamps, "connections {stamps:?}, pairs of {connected:?}");
        for key in &self.announcing {
            let is_waiting = self.due.has(key) || written.contains(key);
            ensure!(is_waiting, "announcing {key:?} is never written");
        }
        for (user, stamps) in &self.users {
            ensure!(!stamps.is_empty(), "{user:?} has an empty list of connections");
            for stamp in stamps {
                let key = (*stamp, Name::User(*user));
                ensure!(self.pairs.contains_key(&key), "{key:?} has no pair");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;
    use throng_chat::cluster::SessionState;
    use throng_chat::{RoomId, UserId};
    use throng_engine::SessionId;

    use super::FdMap;

    fn connected() -> FdMap {
        let mut map = FdMap::default();
        let state = SessionState { user: UserId(1), rooms: smallvec![RoomId(1)] };
        map.set(SessionId(7), Some(&state), 1_000);
        map
    }

    #[test]
    fn broken_indexes_are_noticed() {
        let fault = |corrupt: fn(&mut FdMap)| {
            let mut map = connected();
            assert_eq!(map.check(&[]), Ok(()));
            corrupt(&mut map);
            map.check(&[]).expect_err("the corruption is noticed")
        };
        assert!(fault(|map| map.due.clear()).contains("never written"));
        assert!(fault(|map| map.users.clear()).contains("connections differ"));
        assert!(fault(|map| map.pairs.clear()).contains("without a pair"));
        assert!(fault(|map| map.stamps.clear()).contains("pairs of"));
    }
}

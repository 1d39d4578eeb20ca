//! The original's map for the application next door: which user has which connection, in which
//! rooms. Every connection has an fd; it keeps the moment of its birth through all incarnations, so
//! that the newest connection of a user stays the newest.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::cluster::ConnState;
use throng_core::{RoomId, SessionId, UserId};

use crate::keys::{Keys, owned_pair};
use crate::order::{Fd, Write};
use crate::stage::{Act, Due, Stage};

/// A room of the original: one of ours, or all connections of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Room(RoomId),
    User(UserId),
}

/// The connection, by the moment of its birth, and a room it is in.
type Key = (u64, Name);

struct Pair {
    is_wanted: bool,
    stage: Stage,
    /// Redis may hold another connection as the newest of the user.
    is_stale: bool,
}

pub struct Moved {
    key: Key,
    act: Act,
}

#[derive(Default)]
pub struct FdMap {
    stamps: BTreeMap<SessionId, u64>,
    pairs: BTreeMap<Key, Pair>,
    due: Due<Key>,
    announcing: BTreeSet<Key>,
    /// The connections of each user, oldest first.
    users: BTreeMap<UserId, BTreeSet<u64>>,
    last_stamp: u64,
    /// Users whose newest connection has been taken out of the map; others may have one of theirs.
    freed: BTreeSet<UserId>,
}

impl FdMap {
    pub fn set(&mut self, conn: SessionId, state: Option<&ConnState>, unix_ms: u64) {
        let mut wanted = BTreeSet::new();
        if let Some(state) = state {
            wanted.insert(Name::User(state.user));
            wanted.extend(state.rooms.iter().map(|room| Name::Room(*room)));
        }
        let stamp = match self.stamps.get(&conn) {
            Some(stamp) => *stamp,
            None if wanted.is_empty() => return,
            None => self.new_stamp(conn, unix_ms),
        };
        if wanted.is_empty() {
            self.stamps.remove(&conn);
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

    fn new_stamp(&mut self, conn: SessionId, unix_ms: u64) -> u64 {
        self.last_stamp = unix_ms.max(self.last_stamp + 1);
        self.stamps.insert(conn, self.last_stamp);
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

    /// Writes the binding of the user's newest connection again: another one has been taken away.
    pub fn bind_again(&mut self, user: UserId) {
        let Some(newest) = self.users.get(&user).and_then(|stamps| stamps.last()) else { return };
        let key = (*newest, Name::User(user));
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.is_stale = true;
            self.due.add(key);
        }
    }

    pub fn bind_all_again(&mut self) {
        let users: Vec<UserId> = self.users.keys().copied().collect();
        users.into_iter().for_each(|user| self.bind_again(user));
    }

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

    /// Users whose newest connection is no longer in the map.
    pub fn take_freed(&mut self) -> BTreeSet<UserId> {
        std::mem::take(&mut self.freed)
    }

    pub fn writes(
        &mut self,
        max: usize,
        keys: &Keys,
        node: u16,
        incarnation: &str,
    ) -> (Vec<Write>, Vec<Moved>) {
        let mut moved = Vec::new();
        let (mut owned, mut disowned) = (Vec::new(), Vec::new());
        let mut writes = Vec::new();
        for key in self.due.take(max) {
            let Some(pair) = self.pairs.get_mut(&key) else { continue };
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
                    // Again: Redis may have been emptied since.
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
            moved.push(Moved { key, act });
        }
        let key = keys.owned_fds(incarnation);
        if !owned.is_empty() {
            writes.insert(0, Write::SetAdd { key: key.clone(), members: owned });
        }
        if !disowned.is_empty() {
            writes.push(Write::SetRemove { key, members: disowned });
        }
        (writes, moved)
    }

    pub fn written(&mut self, moved: Vec<Moved>, is_done: bool) {
        for Moved { key, act } in moved {
            let Some(pair) = self.pairs.get_mut(&key) else { continue };
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

    /// The pair is in Redis as it is here.
    fn finish(&mut self, key: Key) {
        self.announcing.remove(&key);
        if self.pairs.get(&key).is_some_and(|pair| !pair.is_wanted) {
            self.pairs.remove(&key);
        }
    }
}

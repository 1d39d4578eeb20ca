//! What dead incarnations left behind, and who removes it.
//!
//! Every live node sweeps, the first a little earlier than the others; since each takes some
//! members at random and every write is idempotent, they share the work instead of repeating it.
//! After one lease all of it is done once more: a command that was on its way when the node died
//! may have come later. Only then the record goes.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{Now, RoomId, UserId};

use crate::entry::process_of;
use crate::keys::{Keys, parse_owned_pair, presence_prefix};
use crate::order::{Order, Write};

/// Rooms and pairs taken at a time.
const ROOMS_MAX: u32 = 64;
const PAIRS_MAX: u32 = 512;
/// How much later than the node before it a node begins.
pub const RANK_MS: u64 = 300;
/// Incarnations that are remembered after the registry has forgotten them.
const SEEN_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Rooms,
    EraseRooms(Vec<String>),
    DisownRooms(Vec<String>),
    Pairs,
    ErasePairs(Vec<String>),
    DisownPairs(Vec<String>),
    Settle,
    Forget,
}

struct Sweep {
    stage: Stage,
    at: Now,
    is_second: bool,
    is_seen: bool,
    /// There is no time to do it twice: the server stops, and all its commands are answered.
    is_last: bool,
    /// Where the registry may have forgotten it.
    id: Option<u16>,
    /// When the registry showed it without a lease.
    found_at: Now,
}

pub struct Sweeps {
    lease_ms: u64,
    sweeps: BTreeMap<String, Sweep>,
    /// The one an order is under way for.
    current: Option<String>,
}

/// What a step of a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub users: Vec<UserId>,
    pub items: u64,
    pub is_over: bool,
}

impl Sweep {
    fn new(at: Now, is_seen: bool) -> Sweep {
        Sweep {
            stage: Stage::Rooms,
            at,
            is_second: false,
            is_seen,
            is_last: false,
            id: None,
            found_at: Now::default(),
        }
    }

    fn start_again(&mut self, at: Now) {
        self.stage = Stage::Rooms;
        self.at = at;
        self.is_second = true;
    }
}

impl Sweeps {
    pub fn new(lease_ms: u64) -> Sweeps {
        Sweeps { lease_ms, sweeps: BTreeMap::new(), current: None }
    }

    /// An incarnation that this node has seen die, or was. It is swept whatever the registry says:
    /// others may have swept and forgotten it before its last command came, or Redis may have lost
    /// the record before that.
    pub fn add(&mut self, incarnation: &str, id: u16, at: Now) {
        let seen = || self.sweeps.iter().filter(|(_, sweep)| sweep.is_seen);
        if seen().count() >= SEEN_MAX
            && let Some(oldest) =
                seen().min_by_key(|(_, sweep)| sweep.at).map(|(name, _)| name.clone())
        {
            self.sweeps.remove(&oldest);
        }
        self.sweeps.insert(incarnation.to_owned(), Sweep { id: Some(id), ..Sweep::new(at, true) });
    }

    /// The server stops: the own incarnation is swept once, and at once.
    pub fn add_last(&mut self, incarnation: &str, now: Now) {
        let sweep = Sweep { is_last: true, ..Sweep::new(now, true) };
        self.sweeps.insert(incarnation.to_owned(), sweep);
    }

    /// Whether fds of this id may be left.
    pub fn has_id(&self, id: u16) -> bool {
        self.sweeps.values().any(|sweep| sweep.id == Some(id))
    }

    pub fn has(&self, incarnation: &str) -> bool {
        self.sweeps.contains_key(incarnation)
    }

    /// `dead`: what the registry still knows and nobody holds. `at`: when this node begins, if its
    /// own lease was held after `now`.
    pub fn observe(&mut self, dead: &BTreeSet<&str>, now: Now, at: Now) {
        let current = self.current.as_deref();
        self.sweeps.retain(|name, sweep| {
            sweep.is_seen || dead.contains(name.as_str()) || current == Some(name.as_str())
        });
        for name in dead {
            let sweep = || Sweep { found_at: now, ..Sweep::new(at, false) };
            self.sweeps.entry((*name).to_owned()).or_insert_with(sweep);
        }
    }

    pub fn len(&self) -> usize {
        self.sweeps.len()
    }

    pub fn next_at(&self, verified_at: Now) -> Option<Now> {
        if self.current.is_some() {
            return None;
        }
        self.sweeps
            .values()
            .filter(|sweep| sweep.found_at <= verified_at)
            .map(|sweep| sweep.at)
            .min()
    }

    /// The next order, if one is due and none is under way. `is_process_live` decides whether
    /// the marks of those who were reading there are settled.
    pub fn order(
        &mut self,
        now: Now,
        verified_at: Now,
        keys: &Keys,
        is_process_live: impl Fn(&str) -> bool,
    ) -> Option<Order> {
        if self.current.is_some() {
            return None;
        }
        let again_at = now.plus_ms(self.lease_ms);
        let (name, sweep) = self
            .sweeps
            .iter_mut()
            .filter(|(_, sweep)| sweep.at <= now && sweep.found_at <= verified_at)
            .find_map(|(name, sweep)| {
                let is_settled = is_process_live(process_of(name)) && !sweep.is_last;
                if sweep.stage == Stage::Settle && is_settled {
                    sweep.start_again(again_at);
                    return None;
                }
                Some((name, sweep))
            })?;
        let order = match &sweep.stage {
            Stage::Rooms => Order::Sample { key: keys.owned_rooms(name), count: ROOMS_MAX },
            Stage::EraseRooms(rooms) => Order::Write { writes: erase_rooms(keys, name, rooms) },
            Stage::DisownRooms(rooms) => disown(keys.owned_rooms(name), rooms),
            Stage::Pairs => Order::Sample { key: keys.owned_fds(name), count: PAIRS_MAX },
            Stage::ErasePairs(pairs) => Order::Write { writes: erase_pairs(keys, pairs) },
            Stage::DisownPairs(pairs) => disown(keys.owned_fds(name), pairs),
            Stage::Settle => Order::Settle { process: process_of(name).to_owned() },
            Stage::Forget => {
                let fields = vec![name.clone()];
                let key = keys.registry.clone();
                Order::Write { writes: vec![Write::HashDelete { key, fields }] }
            }
        };
        self.current = Some(name.clone());
        Some(order)
    }

    /// The order under way has been done; `members` is what it answered, if it was a sample.
    pub fn done(&mut self, members: Vec<String>, now: Now) -> Found {
        let mut found = Found::default();
        let Some(name) = self.current.take() else { return found };
        let Some(sweep) = self.sweeps.get_mut(&name) else { return found };
        sweep.stage = match std::mem::replace(&mut sweep.stage, Stage::Rooms) {
            Stage::Rooms if members.is_empty() => Stage::Pairs,
            Stage::Rooms => Stage::EraseRooms(members),
            Stage::EraseRooms(rooms) => Stage::DisownRooms(rooms),
            Stage::DisownRooms(rooms) => {
                found.items = rooms.len() as u64;
                Stage::Rooms
            }
            Stage::Pairs if !members.is_empty() => Stage::ErasePairs(members),
            Stage::Pairs if sweep.is_second => Stage::Forget,
            Stage::Pairs => Stage::Settle,
            Stage::ErasePairs(pairs) => {
                let users =
                    pairs.iter().filter_map(|pair| Keys::user_of(parse_owned_pair(pair)?.1));
                found.users = users.collect();
                Stage::DisownPairs(pairs)
            }
            Stage::DisownPairs(pairs) => {
                found.items = pairs.len() as u64;
                Stage::Pairs
            }
            Stage::Settle if sweep.is_last => Stage::Forget,
            Stage::Settle => {
                sweep.start_again(now.plus_ms(self.lease_ms));
                return found;
            }
            Stage::Forget => {
                self.sweeps.remove(&name);
                found.is_over = true;
                return found;
            }
        };
        found
    }

    pub fn failed(&mut self, retry_at: Now) {
        let Some(name) = self.current.take() else { return };
        if let Some(sweep) = self.sweeps.get_mut(&name) {
            sweep.at = retry_at;
        }
    }

    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }
}

/// After everything else has gone: what is owned by nobody is found by nobody.
fn disown(key: String, members: &[String]) -> Order {
    Order::Write { writes: vec![Write::SetRemove { key, members: members.to_vec() }] }
}

fn erase_rooms(keys: &Keys, incarnation: &str, rooms: &[String]) -> Vec<Write> {
    let prefix = presence_prefix(incarnation);
    let ids = rooms.iter().filter_map(|room| room.parse().ok().map(RoomId));
    let erase = |room| Write::HashDeletePrefix { key: keys.presence(room), prefix: prefix.clone() };
    ids.map(erase).collect()
}

fn erase_pairs(keys: &Keys, pairs: &[String]) -> Vec<Write> {
    let mut writes = Vec::new();
    for (fd, name) in pairs.iter().filter_map(|pair| parse_owned_pair(pair)) {
        if let Some(user) = Keys::user_of(name) {
            writes.push(Write::Unbind { key: keys.socket_id.clone(), user, fd });
        }
        let members = vec![fd.to_string()];
        writes.push(Write::SetRemove { key: keys.fds_of(name), members });
        writes.push(Write::Delete { key: keys.names_of(fd) });
    }
    writes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use throng_core::Now;

    use super::{SEEN_MAX, Sweeps};

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let mut sweeps = Sweeps::new(1_000);
        for number in 0..=SEEN_MAX {
            sweeps.add(&format!("a.{number}"), 0, Now(number as u64));
        }
        assert_eq!(sweeps.len(), SEEN_MAX);
        assert!(!sweeps.has("a.0") && sweeps.has("a.1"));
    }

    #[test]
    fn what_others_have_swept_is_left_alone_unless_it_was_seen_to_die() {
        let mut sweeps = Sweeps::new(1_000);
        sweeps.observe(&BTreeSet::from(["a.1"]), Now(0), Now(0));
        sweeps.add("b.1", 0, Now(0));
        sweeps.observe(&BTreeSet::new(), Now(0), Now(0));
        assert!(!sweeps.has("a.1") && sweeps.has("b.1"));
    }
}

//! What dead incarnations left behind, and who removes it.
//!
//! First the database settles how far everybody there had read. The rosters wait for that: what is
//! said after the others saw them leave is unread. A database that does not answer holds neither
//! the rosters nor the rest of the sweep up for more than a moment; it is asked again afterwards.
//!
//! Then everything in Redis goes. Every live node sweeps, the first a little earlier than the others; since each takes some
//! members at random and every write is idempotent, they share the work instead of repeating it.
//! After one lease all of it is done once more: a command that was on its way when the node died
//! may have come later. Only then the record goes.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::cluster::NodeIx;
use throng_core::{Now, RoomId, UserId};

use crate::entry::process_of;
use crate::keys::{Keys, parse_owned_pair, presence_prefix};
use crate::order::{Order, Write};

/// Rooms and pairs taken at a time.
const ROOMS_MAX: u32 = 64;
const PAIRS_MAX: u32 = 512;
/// How much later than the node before it a node begins.
pub const RANK_MS: u64 = 300;
/// How long rosters and the rest of a sweep wait for the database.
pub const SETTLE_MAX_MS: u64 = 1_000;
/// Incarnations that are remembered after the registry has forgotten them.
const SEEN_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Settle,
    Rooms,
    EraseRooms(Vec<String>),
    DisownRooms(Vec<String>),
    Pairs,
    ErasePairs(Vec<String>),
    DisownPairs(Vec<String>),
    Forget,
}

struct Sweep {
    stage: Stage,
    at: Now,
    /// When Redis is swept, or a little later.
    sweep_at: Now,
    /// Until when settling is waited for.
    settle_by: Now,
    is_settled: bool,
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
    /// Peers that have gone and whom the rosters still show.
    departed: Vec<(NodeIx, String)>,
}

/// What a step of a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub users: Vec<UserId>,
    pub items: u64,
    pub is_over: bool,
}

impl Sweep {
    /// Marks are settled at once, by everybody; Redis is swept from `sweep_at` on.
    fn new(now: Now, sweep_at: Now, is_seen: bool) -> Sweep {
        Sweep {
            stage: Stage::Settle,
            at: now,
            sweep_at,
            settle_by: now.plus_ms(SETTLE_MAX_MS),
            is_settled: false,
            is_second: false,
            is_seen,
            is_last: false,
            id: None,
            found_at: Now::default(),
        }
    }

    /// Redis comes next.
    fn settled(&mut self, is_settled: bool) {
        self.is_settled = is_settled;
        self.stage = Stage::Rooms;
        self.at = self.at.max(self.sweep_at);
    }

    fn start_again(&mut self, at: Now) {
        self.stage = if self.is_settled { Stage::Rooms } else { Stage::Settle };
        self.at = at;
        self.settle_by = at.plus_ms(SETTLE_MAX_MS);
        self.is_second = true;
    }

    fn is_possible(&self, verified_at: Now, may_redis: bool) -> bool {
        let is_settle = self.stage == Stage::Settle && !self.is_last;
        self.found_at <= verified_at && (may_redis || is_settle)
    }

    fn is_settling(&self, now: Now) -> bool {
        self.stage == Stage::Settle && now < self.settle_by && !self.is_second
    }
}

impl Sweeps {
    pub fn new(lease_ms: u64) -> Sweeps {
        Sweeps { lease_ms, sweeps: BTreeMap::new(), current: None, departed: Vec::new() }
    }

    /// An incarnation that this node has seen die, or was. It is swept whatever the registry says:
    /// others may have swept and forgotten it before its last command came, or Redis may have lost
    /// the record before that.
    pub fn add(&mut self, incarnation: &str, id: u16, now: Now, sweep_at: Now) {
        let seen = || self.sweeps.iter().filter(|(_, sweep)| sweep.is_seen);
        if seen().count() >= SEEN_MAX
            && let Some(oldest) =
                seen().min_by_key(|(_, sweep)| sweep.at).map(|(name, _)| name.clone())
        {
            self.sweeps.remove(&oldest);
        }
        self.sweeps.insert(
            incarnation.to_owned(),
            Sweep { id: Some(id), ..Sweep::new(now, sweep_at, true) },
        );
    }

    /// A peer has gone; its incarnation has been added.
    pub fn depart(&mut self, node: NodeIx, incarnation: &str) {
        self.departed.push((node, incarnation.to_owned()));
    }

    /// Those the shards have to hear of now.
    pub fn departed(&mut self, now: Now) -> Vec<NodeIx> {
        let sweeps = &self.sweeps;
        let is_settling = |name: &str| sweeps.get(name).is_some_and(|sweep| sweep.is_settling(now));
        let due = self.departed.extract_if(.., |(_, name)| !is_settling(name));
        due.map(|(node, _)| node).collect()
    }

    /// When those who have gone are told of at the latest.
    pub fn depart_at(&self) -> Option<Now> {
        let sweeps = self.departed.iter().filter_map(|(_, name)| self.sweeps.get(name));
        sweeps.map(|sweep| sweep.settle_by).min()
    }

    /// The server stops: the own incarnation is swept once, and at once.
    pub fn add_last(&mut self, incarnation: &str, now: Now) {
        let sweep = Sweep { is_last: true, ..Sweep::new(now, now, true) };
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
            let sweep = || Sweep { found_at: now, ..Sweep::new(at, at, false) };
            self.sweeps.entry((*name).to_owned()).or_insert_with(sweep);
        }
    }

    pub fn len(&self) -> usize {
        self.sweeps.len()
    }

    /// `may_redis`: Redis can be swept at present. Marks are settled whatever it does.
    pub fn next_at(&self, verified_at: Now, may_redis: bool) -> Option<Now> {
        if self.current.is_some() {
            return None;
        }
        self.sweeps
            .values()
            .filter(|sweep| sweep.is_possible(verified_at, may_redis))
            .map(|sweep| sweep.at)
            .min()
    }

    /// The next order, if one is due and none is under way. The marks of a process that lives are
    /// its own affair.
    pub fn order(
        &mut self,
        now: Now,
        verified_at: Now,
        may_redis: bool,
        keys: &Keys,
        is_process_live: impl Fn(&str) -> bool,
    ) -> Option<Order> {
        if self.current.is_some() {
            return None;
        }
        for (name, sweep) in &mut self.sweeps {
            if sweep.stage == Stage::Settle && !sweep.is_last && is_process_live(process_of(name)) {
                sweep.settled(true);
            }
        }
        let (name, sweep) = self
            .sweeps
            .iter_mut()
            .filter(|(_, sweep)| sweep.at <= now && sweep.is_possible(verified_at, may_redis))
            .min_by_key(|(_, sweep)| sweep.stage != Stage::Settle)?;
        let order = match &sweep.stage {
            Stage::Settle => Order::Settle { process: process_of(name).to_owned() },
            Stage::Rooms => Order::Sample { key: keys.owned_rooms(name), count: ROOMS_MAX },
            Stage::EraseRooms(rooms) => Order::Write { writes: erase_rooms(keys, name, rooms) },
            Stage::DisownRooms(rooms) => {
                disown(keys.owned_rooms(name), rooms, erase_rooms(keys, name, rooms))
            }
            Stage::Pairs => Order::Sample { key: keys.owned_fds(name), count: PAIRS_MAX },
            Stage::ErasePairs(pairs) => Order::Write { writes: erase_pairs(keys, pairs) },
            Stage::DisownPairs(pairs) => {
                disown(keys.owned_fds(name), pairs, erase_pairs(keys, pairs))
            }
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
            Stage::Settle => {
                sweep.settled(true);
                return found;
            }
            Stage::Rooms if members.is_empty() => Stage::Pairs,
            Stage::Rooms => Stage::EraseRooms(members),
            Stage::EraseRooms(rooms) => Stage::DisownRooms(rooms),
            Stage::DisownRooms(rooms) => {
                found.items = rooms.len() as u64;
                Stage::Rooms
            }
            Stage::Pairs if !members.is_empty() => Stage::ErasePairs(members),
            Stage::Pairs if sweep.is_settled && (sweep.is_second || sweep.is_last) => Stage::Forget,
            Stage::Pairs => {
                let wait_ms = if sweep.is_last { 0 } else { self.lease_ms };
                sweep.start_again(now.plus_ms(wait_ms));
                return found;
            }
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
        let Some(sweep) = self.sweeps.get_mut(&name) else { return };
        sweep.at = retry_at;
        if sweep.stage == Stage::Settle && sweep.settle_by <= retry_at {
            sweep.settled(false);
        }
    }

    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }
}

/// After everything else has gone: what is owned by nobody is found by nobody. And erases once more:
/// what was written since the first time, by a command that came late, is owned by nobody now.
fn disown(key: String, members: &[String], erase: Vec<Write>) -> Order {
    let mut writes = vec![Write::SetRemove { key, members: members.to_vec() }];
    writes.extend(erase);
    Order::Write { writes }
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
    use throng_core::cluster::NodeIx;

    use super::{SEEN_MAX, SETTLE_MAX_MS, Sweeps};
    use crate::keys::Keys;
    use crate::order::{Order, Write};
    use crate::settings::Settings;

    const LEASE_MS: u64 = 5_000;

    fn at(ms: u64) -> Now {
        Now::default().plus_ms(ms)
    }

    fn order(sweeps: &mut Sweeps, now: Now, may_redis: bool) -> Option<Order> {
        sweeps.order(now, now, may_redis, &Keys::new(&Settings::default()), |name| name == "live")
    }

    fn gone(name: &str) -> Sweeps {
        let mut sweeps = Sweeps::new(LEASE_MS);
        sweeps.add(name, 0, at(0), at(300));
        sweeps.depart(NodeIx(1), name);
        sweeps
    }

    #[test]
    fn the_oldest_of_too_many_is_forgotten() {
        let mut sweeps = Sweeps::new(LEASE_MS);
        for number in 0..=SEEN_MAX {
            sweeps.add(&format!("a.{number}"), 0, Now(number as u64), at(0));
        }
        assert_eq!(sweeps.len(), SEEN_MAX);
        assert!(!sweeps.has("a.0") && sweeps.has("a.1"));
    }

    #[test]
    fn what_others_have_swept_is_left_alone_unless_it_was_seen_to_die() {
        let mut sweeps = Sweeps::new(LEASE_MS);
        sweeps.observe(&BTreeSet::from(["a.1"]), at(0), at(0));
        sweeps.add("b.1", 0, at(0), at(0));
        sweeps.observe(&BTreeSet::new(), at(0), at(0));
        assert!(!sweeps.has("a.1") && sweeps.has("b.1"));
    }

    #[test]
    fn a_leave_is_told_once_the_marks_are_settled() {
        let mut sweeps = gone("a.1");
        assert!(sweeps.departed(at(1)).is_empty());
        let settle = order(&mut sweeps, at(1), false);
        assert_eq!(settle, Some(Order::Settle { process: "a".into() }), "redis is not needed");
        sweeps.done(vec![], at(2));
        assert_eq!(sweeps.departed(at(2)), [NodeIx(1)]);
        assert_eq!(order(&mut sweeps, at(299), true), None, "others sweep before this node");
        assert_eq!(order(&mut sweeps, at(300), false), None);
        assert!(matches!(order(&mut sweeps, at(300), true), Some(Order::Sample { .. })));
    }

    #[test]
    fn a_database_that_is_down_delays_it_for_a_moment_and_is_asked_again() {
        let mut sweeps = gone("a.1");
        assert_eq!(sweeps.depart_at(), Some(at(SETTLE_MAX_MS)));
        for ms in [0, 500] {
            assert!(matches!(order(&mut sweeps, at(ms), true), Some(Order::Settle { .. })));
            assert!(sweeps.departed(at(ms)).is_empty());
            sweeps.failed(at(ms + 500));
        }
        let now = at(SETTLE_MAX_MS);
        assert_eq!(sweeps.departed(now), [NodeIx(1)]);
        assert!(matches!(order(&mut sweeps, now, true), Some(Order::Sample { .. })));
        sweeps.done(vec![], now);
        assert!(matches!(order(&mut sweeps, now, true), Some(Order::Sample { .. })));
        sweeps.done(vec![], now);
        let again = now.plus_ms(LEASE_MS);
        assert_eq!(sweeps.next_at(now, true), Some(again));
        assert!(matches!(order(&mut sweeps, again, true), Some(Order::Settle { .. })));
        sweeps.done(vec![], again);
        for _ in ["rooms", "pairs"] {
            assert!(matches!(order(&mut sweeps, again, true), Some(Order::Sample { .. })));
            sweeps.done(vec![], again);
        }
        let forget = order(&mut sweeps, again, true);
        assert!(matches!(forget, Some(Order::Write { .. })), "{forget:?}");
    }

    #[test]
    fn a_database_that_does_not_answer_delays_a_leave_for_a_moment() {
        let mut sweeps = gone("a.1");
        order(&mut sweeps, at(0), true);
        assert!(sweeps.departed(at(SETTLE_MAX_MS - 1)).is_empty());
        assert_eq!(sweeps.departed(at(SETTLE_MAX_MS)), [NodeIx(1)]);
    }

    #[test]
    fn what_was_written_since_it_was_erased_goes_with_what_says_whose_it_is() {
        let mut sweeps = gone("a.1");
        order(&mut sweeps, at(300), true);
        sweeps.done(vec![], at(300));
        let mut answer = vec!["7".to_owned()];
        let mut writes = Vec::new();
        for _ in ["sample", "erase", "disown"] {
            if let Some(Order::Write { writes: these }) = order(&mut sweeps, at(300), true) {
                writes.push(these);
            }
            sweeps.done(std::mem::take(&mut answer), at(300));
        }
        let [erase, disown] = &writes[..] else { panic!("not two: {writes:?}") };
        assert!(matches!(disown[0], Write::SetRemove { .. }));
        assert_eq!(disown[1..], erase[..]);
    }

    #[test]
    fn a_process_that_is_back_settles_for_itself() {
        let mut sweeps = gone("live.1");
        assert_eq!(order(&mut sweeps, at(0), true), None);
        assert_eq!(sweeps.departed(at(0)), [NodeIx(1)]);
    }
}

//! The removal of what dead incarnations left behind.
//!
//! First the read marks of its users are raised in the database: a message sent after the other
//! nodes saw them leave is unread. The leaves are reported once that is done. A database that does
//! not answer delays them, and the rest of the sweep, by at most `MARKS_MAX_MS`; the
//! marks are then raised later.
//!
//! Then everything in Redis is removed. Every live node sweeps, each a little later than the one
//! before it. Each takes members at random and every write is idempotent, so nodes share the work
//! instead of repeating it. After one lease the sweep is repeated: a command that was in flight when
//! the node died may have been executed later. Only then is the record removed.

use std::collections::{BTreeMap, BTreeSet};

use throng_chat::cluster::NodeIx;
use throng_chat::{RoomId, UserId};
use throng_engine::Now;

use crate::entry::process_of;
use crate::keys::{Keys, parse_owned_pair, presence_prefix};
use crate::order::{Order, Write};

/// Rooms, and pairs of fd and room, in one order.
const ROOMS_MAX: u32 = 64;
const PAIRS_MAX: u32 = 512;
/// How much later than the node ranked before it a node begins.
pub const RANK_MS: u64 = 300;
/// How long the reported leaves and the rest of a sweep wait for the database.
pub const MARKS_MAX_MS: u64 = 1_000;
/// Incarnations that are swept although the registry has no record of them.
const SEEN_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Marks,
    Rooms,
    EraseRooms(Vec<String>),
    DisownRooms(Vec<String>),
    Pairs,
    ErasePairs(Vec<String>),
    DisownPairs(Vec<String>),
    Forget,
}

struct Sweep {
    /// The next order.
    stage: Stage,
    /// When it is due.
    at: Now,
    /// Redis is not swept earlier.
    sweep_at: Now,
    /// Until when the rest waits for the read marks.
    marks_by: Now,
    /// The read marks are raised.
    are_marks_raised: bool,
    /// The second pass.
    is_second: bool,
    /// This node saw the incarnation end, so it is swept whatever the registry says.
    is_seen: bool,
    /// The own incarnation of a server that stops: one pass, since all its commands are answered.
    is_last: bool,
    /// Added again while an order of the earlier sweep is in flight; its outcome is ignored.
    is_superseded: bool,
    /// The node id, when the registry may not show it.
    id: Option<u16>,
    /// When the registry showed it without a lease.
    found_at: Now,
}

/// All sweeps of this node, by incarnation.
pub struct Sweeps {
    lease_ms: u64,
    sweeps: BTreeMap<String, Sweep>,
    /// The sweep whose order is in flight.
    current: Option<String>,
    /// Peers that have gone and that the shards still show.
    departed: Vec<(NodeIx, String)>,
}

/// The result of one order of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub users: Vec<UserId>,
    pub items: u64,
    pub is_over: bool,
}

impl Sweep {
    /// Every node raises the read marks at once; Redis is swept from `sweep_at` on.
    fn new(now: Now, sweep_at: Now, is_seen: bool) -> Sweep {
        Sweep {
            stage: Stage::Marks,
            at: now,
            sweep_at,
            marks_by: now.plus_ms(MARKS_MAX_MS),
            are_marks_raised: false,
            is_second: false,
            is_seen,
            is_last: false,
            is_superseded: false,
            id: None,
            found_at: Now::default(),
        }
    }

    /// The read marks were raised, or have taken too long; Redis comes next.
    fn marks_done(&mut self, are_raised: bool) {
        self.are_marks_raised = are_raised;
        self.stage = Stage::Rooms;
        self.at = self.at.max(self.sweep_at);
    }

    fn start_again(&mut self, at: Now) {
        self.stage = if self.are_marks_raised { Stage::Rooms } else { Stage::Marks };
        self.at = at;
        self.marks_by = at.plus_ms(MARKS_MAX_MS);
        self.is_second = true;
    }

    fn is_possible(&self, verified_at: Now, can_sweep_redis: bool) -> bool {
        let is_for_marks = self.stage == Stage::Marks && !self.is_last;
        self.found_at <= verified_at && (can_sweep_redis || is_for_marks)
    }

    fn is_raising_marks(&self, now: Now) -> bool {
        self.stage == Stage::Marks && now < self.marks_by && !self.is_second
    }
}

impl Sweeps {
    pub fn new(lease_ms: u64) -> Sweeps {
        Sweeps { lease_ms, sweeps: BTreeMap::new(), current: None, departed: Vec::new() }
    }

    /// Adds an incarnation that this node saw end, or that was its own. It is swept whatever the
    /// registry says: others may have swept it before its last command was executed, or Redis may
    /// have lost the record.
    pub fn add(&mut self, incarnation: &str, id: u16, now: Now, sweep_at: Now) {
        let is_current = |name: &str| self.current.as_deref() == Some(name);
        let is_superseded = is_current(incarnation);
        let seen = || {
            let others = self.sweeps.iter().filter(|(name, _)| name.as_str() != incarnation);
            others.filter(|(_, sweep)| sweep.is_seen)
        };
        if seen().count() >= SEEN_MAX
            && let Some(oldest) = seen()
                .filter(|(name, _)| !is_current(name))
                .min_by_key(|(_, sweep)| sweep.at)
                .map(|(name, _)| name.clone())
        {
            self.sweeps.remove(&oldest);
        }
        let sweep = Sweep { id: Some(id), is_superseded, ..Sweep::new(now, sweep_at, true) };
        self.sweeps.insert(incarnation.to_owned(), sweep);
    }

    /// A peer has gone; its incarnation was added.
    pub fn depart(&mut self, node: NodeIx, incarnation: &str) {
        self.departed.push((node, incarnation.to_owned()));
    }

    /// Removes and returns the peers whose end the shards must know now.
    pub fn departed(&mut self, now: Now) -> Vec<NodeIx> {
        let sweeps = &self.sweeps;
        let is_raising_marks =
            |name: &str| sweeps.get(name).is_some_and(|sweep| sweep.is_raising_marks(now));
        let due = self.departed.extract_if(.., |(_, name)| !is_raising_marks(name));
        due.map(|(node, _)| node).collect()
    }

    /// When the next of the departed peers is reported at the latest.
    pub fn depart_at(&self) -> Option<Now> {
        let sweeps = self.departed.iter().filter_map(|(_, name)| self.sweeps.get(name));
        sweeps.map(|sweep| sweep.marks_by).min()
    }

    /// The server stops: its own incarnation is swept once, and immediately.
    pub fn add_last(&mut self, incarnation: &str, now: Now) {
        let sweep = Sweep { is_last: true, ..Sweep::new(now, now, true) };
        self.sweeps.insert(incarnation.to_owned(), sweep);
    }

    /// Fds of this node id may be left in Redis.
    pub fn has_id(&self, id: u16) -> bool {
        self.sweeps.values().any(|sweep| sweep.id == Some(id))
    }

    pub fn has(&self, incarnation: &str) -> bool {
        self.sweeps.contains_key(incarnation)
    }

    /// `dead`: the records without a lease. `at`: when this node begins to sweep, provided that its
    /// own lease is confirmed after `now`.
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

    /// When the next order is due. `can_sweep_redis`: Redis can be swept now. The read marks do not need it.
    pub fn next_at(&self, verified_at: Now, can_sweep_redis: bool) -> Option<Now> {
        if self.current.is_some() {
            return None;
        }
        self.sweeps
            .values()
            .filter(|sweep| sweep.is_possible(verified_at, can_sweep_redis))
            .map(|sweep| sweep.at)
            .min()
    }

    /// The next order, if one is due and none is in flight. A live process raises the read marks
    /// of its own users.
    pub fn order(
        &mut self,
        now: Now,
        verified_at: Now,
        can_sweep_redis: bool,
        keys: &Keys,
        is_process_live: impl Fn(&str) -> bool,
    ) -> Option<Order> {
        if self.current.is_some() {
            return None;
        }
        for (name, sweep) in &mut self.sweeps {
            if sweep.stage == Stage::Marks && !sweep.is_last && is_process_live(process_of(name)) {
                sweep.marks_done(true);
            }
        }
        let (name, sweep) = self
            .sweeps
            .iter_mut()
            .filter(|(_, sweep)| sweep.at <= now && sweep.is_possible(verified_at, can_sweep_redis))
            .min_by_key(|(_, sweep)| sweep.stage != Stage::Marks)?;
        let order = match &sweep.stage {
            Stage::Marks => Order::RaiseMarks { process: process_of(name).to_owned() },
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

    /// The order in flight was executed; `members` is its answer, if it was a sample.
    pub fn done(&mut self, members: Vec<String>, now: Now) -> Found {
        let mut found = Found::default();
        let name = self.current.take().expect("an outcome belongs to the order in flight");
        let sweep = self.sweeps.get_mut(&name).expect("a sweep outlives its order");
        if std::mem::take(&mut sweep.is_superseded) {
            return found;
        }
        sweep.stage = match std::mem::replace(&mut sweep.stage, Stage::Rooms) {
            Stage::Marks => {
                sweep.marks_done(true);
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
            Stage::Pairs if sweep.are_marks_raised && (sweep.is_second || sweep.is_last) => {
                Stage::Forget
            }
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

    /// The order in flight failed; it is repeated at `retry_at`.
    pub fn failed(&mut self, retry_at: Now) {
        let name = self.current.take().expect("an outcome belongs to the order in flight");
        let sweep = self.sweeps.get_mut(&name).expect("a sweep outlives its order");
        if std::mem::take(&mut sweep.is_superseded) {
            return;
        }
        sweep.at = retry_at;
        if sweep.stage == Stage::Marks && sweep.marks_by <= retry_at {
            sweep.marks_done(false);
        }
    }

    /// The incarnation whose order is in flight.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// `in_flight`: the number of orders in flight.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check(&self, in_flight: usize) -> Result<(), String> {
        ensure!(
            in_flight == usize::from(self.current.is_some()),
            "{in_flight} orders in flight for {:?}",
            self.current
        );
        if let Some(name) = &self.current {
            ensure!(self.sweeps.contains_key(name), "the current sweep {name} does not exist");
        }
        let seen = self.sweeps.values().filter(|sweep| sweep.is_seen).count();
        // The last sweep of a server that stops is not counted by the bound.
        ensure!(seen <= SEEN_MAX + 1, "{seen} incarnations are remembered");
        for (name, sweep) in &self.sweeps {
            let is_current = self.current.as_ref() == Some(name);
            ensure!(is_current || !sweep.is_superseded, "{name} waits for no order");
        }
        let departed: BTreeSet<NodeIx> = self.departed.iter().map(|(node, _)| *node).collect();
        ensure!(departed.len() == self.departed.len(), "a node departs twice");
        Ok(())
    }
}

/// The disown order comes last, since members without an owner cannot be found again. It erases once
/// more: a late command may have written after the first erase.
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

    use throng_chat::cluster::NodeIx;
    use throng_engine::Now;

    use super::{MARKS_MAX_MS, SEEN_MAX, Sweeps};
    use crate::keys::Keys;
    use crate::order::{Order, Write};
    use crate::settings::Settings;

    const LEASE_MS: u64 = 5_000;

    fn at(ms: u64) -> Now {
        Now::default().plus_ms(ms)
    }

    fn order(sweeps: &mut Sweeps, now: Now, can_sweep_redis: bool) -> Option<Order> {
        sweeps.order(now, now, can_sweep_redis, &Keys::new(&Settings::default()), |name| {
            name == "live"
        })
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
    fn a_record_that_others_removed_ends_the_sweep_unless_this_node_saw_the_end() {
        let mut sweeps = Sweeps::new(LEASE_MS);
        sweeps.observe(&BTreeSet::from(["a.1"]), at(0), at(0));
        sweeps.add("b.1", 0, at(0), at(0));
        sweeps.observe(&BTreeSet::new(), at(0), at(0));
        assert!(!sweeps.has("a.1") && sweeps.has("b.1"));
    }

    #[test]
    fn a_leave_is_reported_once_the_read_marks_are_raised() {
        let mut sweeps = gone("a.1");
        assert!(sweeps.departed(at(1)).is_empty());
        let raise = order(&mut sweeps, at(1), false);
        assert_eq!(raise, Some(Order::RaiseMarks { process: "a".into() }), "redis is not needed");
        sweeps.done(vec![], at(2));
        assert_eq!(sweeps.departed(at(2)), [NodeIx(1)]);
        assert_eq!(order(&mut sweeps, at(299), true), None, "others sweep before this node");
        assert_eq!(order(&mut sweeps, at(300), false), None);
        assert!(matches!(order(&mut sweeps, at(300), true), Some(Order::Sample { .. })));
    }

    #[test]
    fn a_database_that_is_down_delays_a_leave_for_a_moment_and_is_asked_again() {
        let mut sweeps = gone("a.1");
        assert_eq!(sweeps.depart_at(), Some(at(MARKS_MAX_MS)));
        for ms in [0, 500] {
            assert!(matches!(order(&mut sweeps, at(ms), true), Some(Order::RaiseMarks { .. })));
            assert!(sweeps.departed(at(ms)).is_empty());
            sweeps.failed(at(ms + 500));
        }
        let now = at(MARKS_MAX_MS);
        assert_eq!(sweeps.departed(now), [NodeIx(1)]);
        assert!(matches!(order(&mut sweeps, now, true), Some(Order::Sample { .. })));
        sweeps.done(vec![], now);
        assert!(matches!(order(&mut sweeps, now, true), Some(Order::Sample { .. })));
        sweeps.done(vec![], now);
        let again = now.plus_ms(LEASE_MS);
        assert_eq!(sweeps.next_at(now, true), Some(again));
        assert!(matches!(order(&mut sweeps, again, true), Some(Order::RaiseMarks { .. })));
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
        assert!(sweeps.departed(at(MARKS_MAX_MS - 1)).is_empty());
        assert_eq!(sweeps.departed(at(MARKS_MAX_MS)), [NodeIx(1)]);
    }

    #[test]
    fn a_late_write_is_erased_together_with_its_ownership() {
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
    fn an_incarnation_added_again_ignores_the_order_in_flight() {
        let mut sweeps = gone("a.1");
        assert!(matches!(order(&mut sweeps, at(0), true), Some(Order::RaiseMarks { .. })));
        sweeps.add("a.1", 0, at(10), at(310));
        assert_eq!((sweeps.len(), sweeps.check(1)), (1, Ok(())));
        assert_eq!(sweeps.done(vec![], at(20)), super::Found::default());
        // That the marks were raised before does not count for the second end.
        assert!(matches!(order(&mut sweeps, at(20), true), Some(Order::RaiseMarks { .. })));
        sweeps.failed(at(30));
        assert_eq!(sweeps.check(0), Ok(()));
    }

    #[test]
    fn an_order_without_its_sweep_is_noticed() {
        let mut sweeps = gone("a.1");
        order(&mut sweeps, at(0), true);
        assert!(sweeps.check(0).is_err(), "the order in flight is lost");
        sweeps.sweeps.clear();
        assert!(sweeps.check(1).is_err(), "the sweep is lost");
    }

    #[test]
    fn a_process_that_is_back_raises_the_marks_itself() {
        let mut sweeps = gone("live.1");
        assert_eq!(order(&mut sweeps, at(0), true), None);
        assert_eq!(sweeps.departed(at(0)), [NodeIx(1)]);
    }
}

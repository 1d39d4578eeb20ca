//! Who is told what of the roster, and when.
//!
//! A change is told at the end of the turn, to all at once, where that is little. Where it is much,
//! members are told one after the other, as fast as the budget allows, and what changes meanwhile is
//! told together after that. Nothing is dropped: what is untold is state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use smallvec::SmallVec;

use super::block::Block;
use super::budgets::{Budgets, Rates, cost};
use super::{Member, RESERVED_SLOTS, Roster};
use crate::chat::bucket::Budget;
use crate::chat::frames;
use crate::chat::lane::{Delivery, Hearing};
use crate::chat::lanes::Lanes;
use crate::chat::pace::Pace;
use crate::counters::Counters;
use crate::ids::{ConnId, RoomId, Seq, ShardId, UserId};
use crate::now::Now;

/// Lane slots that one call of [`Roster::tell`] may take: one for the number and one for those who
/// wait for it, one for changes, and two each for whole rosters and first ones, since a newer block
/// may be taken on the way.
const SLOTS_MAX: u32 = 7;

/// What the last telling did not say yet.
#[derive(Default)]
pub(super) struct Untold {
    /// For members who hear whole rosters: changed at all, and did anybody join.
    pub(super) full: bool,
    pub(super) joined_any: bool,
    /// For members who hear changes: each user is in at most one of the two.
    pub(super) joined: BTreeSet<UserId>,
    pub(super) left: BTreeSet<UserId>,
    pub(super) count: bool,
}

/// Somebody who waits for a whole roster.
struct Waiting {
    conn: ConnId,
    /// His latest place; an older one is void.
    serial: u64,
    /// He is in the roster since, or asked then: an older one will not do.
    version: u64,
}

/// A change on its way to one member after the other.
struct Round {
    frame: Bytes,
    serial: u64,
    queue: VecDeque<ConnId>,
}

#[derive(Default)]
pub(super) struct Telling {
    pub(super) untold: Untold,
    pub(super) block: Option<Block>,
    /// A change of this version was told: whoever gets an older roster after that would miss it.
    told: u64,
    /// Members who wait for a whole roster, in the order of their coming.
    waiting: VecDeque<Waiting>,
    /// Members who wait for the number.
    counting: Vec<ConnId>,
    /// Full members whose roster is old, and whether somebody joined since it was the newest.
    again: VecDeque<ConnId>,
    again_joined_any: bool,
    changes: Option<Round>,
    /// Delta members who have their first roster, and so hear changes.
    listening: u32,
    /// While anybody is queued: the place of those who wait, and of others the block they were given.
    serials: BTreeMap<ConnId, u64>,
    last_serial: u64,
    budgets: Budgets,
}

impl Telling {
    pub(super) fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    /// A member begins to wait, in the roster of this version.
    pub(super) fn entered(&mut self, conn: ConnId, hearing: Hearing, version: u64) {
        let serial = self.next_serial();
        self.serials.insert(conn, serial);
        match hearing {
            Hearing::Full | Hearing::Delta => {
                self.waiting.push_back(Waiting { conn, serial, version });
            }
            Hearing::Count => self.counting.push(conn),
        }
    }

    /// It hears no more, or in another way.
    pub(super) fn left(&mut self, conn: ConnId, member: &Member) {
        self.serials.remove(&conn);
        if member.hearing == Hearing::Delta && !member.is_waiting {
            self.listening -= 1;
        }
    }

    /// Nobody is queued: what serves the queues goes.
    fn rest(&mut self) {
        self.serials.clear();
        self.block = None;
    }

    fn is_queued(&self) -> bool {
        let is_waiting = !(self.waiting.is_empty() && self.counting.is_empty());
        is_waiting || !self.again.is_empty() || self.changes.is_some()
    }
}

/// One call of [`Roster::tell`].
struct Turn<'a> {
    now: Now,
    seq: Seq,
    room: RoomId,
    rates: Rates,
    pace: &'a mut Pace,
    lanes: &'a mut Lanes,
    counters: &'a mut Counters,
    /// When to come back.
    again: Option<Now>,
    is_put_off: bool,
}

impl Turn<'_> {
    fn come_back(&mut self, at: Now) {
        self.again = Some(self.again.map_or(at, |old| old.min(at)));
    }

    /// Whether the room and the shard can pay; if not, comes back when they can.
    fn can_pay(&mut self, budget: &Budget) -> bool {
        if !budget.is_open(self.now) {
            self.come_back(budget.open_at());
            return false;
        }
        self.shard_can_pay()
    }

    fn shard_can_pay(&mut self) -> bool {
        if !self.pace.is_open(self.now) {
            self.come_back(self.pace.open_at());
            self.is_put_off = true;
            return false;
        }
        true
    }

    fn count(&mut self, events: u64, bytes: usize, is_news: bool) {
        let bytes = events * bytes as u64;
        self.pace.spend(self.now, bytes, events);
        self.counters.roster_bytes += bytes;
        if is_news {
            self.counters.roster_news_bytes += bytes;
        }
    }

    fn give(&mut self, group: &mut Group) {
        for (shard, conns) in group.conns.drain(..) {
            let frame = group.frame.clone();
            self.lanes.deliver(shard, Delivery::Snapshot { room: self.room, conns, frame });
        }
    }
}

/// Members who are given the same frame.
#[derive(Default)]
struct Group {
    frame: Bytes,
    conns: SmallVec<[(ShardId, SmallVec<[ConnId; 2]>); 2]>,
}

impl Group {
    fn add(&mut self, conn: ConnId) {
        match self.conns.iter_mut().find(|(shard, _)| *shard == conn.shard()) {
            Some((_, conns)) => conns.push(conn),
            None => self.conns.push((conn.shard(), SmallVec::from_slice(&[conn]))),
        }
    }
}

impl Roster {
    /// Tells members what they have not been told, as far as lanes and budget allow. Returns when
    /// to come back if something remains.
    pub(crate) fn tell(
        &mut self,
        now: Now,
        seq: Seq,
        pace: &mut Pace,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) -> Option<Now> {
        if self.members.is_empty() {
            let Telling { budgets, told, last_serial, .. } = std::mem::take(&mut self.telling);
            self.telling = Telling { budgets, told, last_serial, ..Telling::default() };
            return None;
        }
        if !(self.telling.untold.is_any() || self.telling.is_queued()) {
            self.telling.rest();
            return None;
        }
        if lanes.delivery_room_min() < RESERVED_SLOTS + SLOTS_MAX {
            return Some(now.plus_ms(1));
        }
        let (room, rates) = (self.room, Rates::new(pace, self.hearing));
        let (again, is_put_off) = (None, false);
        let mut turn = Turn { now, seq, room, rates, pace, lanes, counters, again, is_put_off };
        self.tell_number(&mut turn);
        self.tell_changes(&mut turn);
        self.tell_again(&mut turn);
        self.tell_first(&mut turn);
        turn.counters.rosters_put_off += u64::from(turn.is_put_off);
        let again = turn.again;
        if !self.telling.is_queued() {
            self.telling.rest();
        }
        again
    }

    // ---- the number ---------------------------------------------------------------------------

    fn tell_number(&mut self, turn: &mut Turn<'_>) {
        let listeners = u64::from(self.hearing[Hearing::Count as usize]);
        let is_due = std::mem::take(&mut self.telling.untold.count) && listeners > 0;
        if is_due {
            if turn.can_pay(&self.telling.budgets.events) {
                let frame = frames::presence_count(self.meta(turn.seq));
                let price = cost(listeners, frame.len());
                self.telling.budgets.events.spend(turn.now, price, turn.rates.events);
                self.broadcast(Hearing::Count, &frame, false, turn);
                for conn in std::mem::take(&mut self.telling.counting) {
                    self.stop_waiting(conn, Hearing::Count);
                }
                return;
            }
            self.telling.untold.count = true;
        }
        // Whoever comes to a room that has no budget left need not wait for so little.
        if self.telling.counting.is_empty() || !turn.shard_can_pay() {
            return;
        }
        let frame = frames::presence_count(self.meta(turn.seq));
        let mut group = Group { frame, ..Group::default() };
        for conn in std::mem::take(&mut self.telling.counting) {
            if self.stop_waiting(conn, Hearing::Count) {
                group.add(conn);
                turn.count(1, group.frame.len(), true);
            }
        }
        turn.give(&mut group);
    }

    // ---- changes ------------------------------------------------------------------------------

    fn tell_changes(&mut self, turn: &mut Turn<'_>) {
        if self.hearing[Hearing::Delta as usize] == 0 {
            self.telling.untold.forget_changes();
            self.telling.changes = None;
            return;
        }
        if self.telling.listening == 0 {
            // Whoever waits for his first roster needs no changes, if that is not older than they.
            self.telling.untold.forget_changes();
            self.telling.told = self.version;
        }
        if self.telling.changes.is_none() && self.telling.untold.is_changed() {
            if !(turn.can_pay(&self.telling.budgets.events)
                && turn.can_pay(&self.telling.budgets.changes))
            {
                return;
            }
            self.begin_changes(turn);
        }
        self.go_on_with_changes(turn);
        if self.telling.changes.is_none() && self.telling.untold.is_changed() {
            // Of what came during a round the next one tells.
            turn.come_back(turn.now.plus_ms(1));
        }
    }

    fn begin_changes(&mut self, turn: &mut Turn<'_>) {
        let untold = &mut self.telling.untold;
        let (joined, left) = (std::mem::take(&mut untold.joined), std::mem::take(&mut untold.left));
        let mut entries = String::new();
        for present in joined.iter().filter_map(|user| self.users.get(user)) {
            if !entries.is_empty() {
                entries.push(',');
            }
            entries.push_str(&frames::entry(&present.card));
        }
        let left: Vec<String> = left.iter().map(|user| user.0.to_string()).collect();
        let frame = frames::presence_delta(self.meta(turn.seq), &entries, &left.join(","));
        let listeners = u64::from(self.telling.listening);
        self.telling.told = self.version;
        self.telling.budgets.events.spend(turn.now, cost(listeners, 0), turn.rates.events);
        let bytes = listeners * frame.len() as u64;
        if bytes <= turn.rates.at_once {
            self.telling.budgets.changes.spend(turn.now, bytes, turn.rates.changes);
            self.broadcast(Hearing::Delta, &frame, true, turn);
            return;
        }
        let queue =
            self.members_who(|member| member.hearing == Hearing::Delta && !member.is_waiting);
        let serial = self.telling.next_serial();
        self.telling.changes = Some(Round { frame, serial, queue });
        turn.counters.roster_broadcasts += 1;
    }

    fn go_on_with_changes(&mut self, turn: &mut Turn<'_>) {
        let Some(mut round) = self.telling.changes.take() else { return };
        let len = round.frame.len();
        let mut group = Group { frame: round.frame.clone(), ..Group::default() };
        while let Some(conn) = round.queue.front().copied() {
            let is_listening = self.members.get(&conn).is_some_and(|member| {
                // Whoever got a whole roster since has heard it.
                let serial = self.telling.serials.get(&conn).copied().unwrap_or(0);
                member.hearing == Hearing::Delta && !member.is_waiting && serial < round.serial
            });
            if is_listening {
                if !turn.can_pay(&self.telling.budgets.changes) {
                    break;
                }
                self.telling.budgets.changes.spend(turn.now, len as u64, turn.rates.changes);
                turn.count(1, len, true);
                group.add(conn);
            }
            round.queue.pop_front();
        }
        turn.give(&mut group);
        self.telling.changes = (!round.queue.is_empty()).then_some(round);
    }

    // ---- whole rosters ------------------------------------------------------------------------

    fn tell_again(&mut self, turn: &mut Turn<'_>) {
        let listeners = u64::from(self.hearing[Hearing::Full as usize]);
        if listeners == 0 {
            self.telling.untold.full = false;
            self.telling.untold.joined_any = false;
            self.telling.again.clear();
            return;
        }
        if self.telling.again.is_empty() && self.telling.untold.full {
            if !turn.can_pay(&self.telling.budgets.again) {
                return;
            }
            self.telling.untold.full = false;
            self.telling.again_joined_any = std::mem::take(&mut self.telling.untold.joined_any);
            self.take_block();
            let frame = self.block_frame(self.again_name(), turn.seq);
            let price = cost(listeners, frame.len());
            if price <= turn.rates.at_once {
                self.telling.told = self.version;
                self.telling.budgets.again.spend(turn.now, price, turn.rates.again);
                self.broadcast(Hearing::Full, &frame, false, turn);
                // It is the first roster of everybody who still waits for one.
                let waiting: Vec<ConnId> = self.telling.waiting.iter().map(|w| w.conn).collect();
                for conn in waiting {
                    self.stop_waiting(conn, Hearing::Full);
                }
                return;
            }
            self.telling.again =
                self.members_who(|member| member.hearing == Hearing::Full && !member.is_waiting);
            turn.counters.roster_broadcasts += 1;
        }
        self.go_on_again(turn);
        if self.telling.again.is_empty() && self.telling.untold.full {
            turn.come_back(turn.now.plus_ms(1));
        }
    }

    fn again_name(&self) -> &'static str {
        let joined_any = self.telling.again_joined_any || self.telling.untold.joined_any;
        if joined_any { "room" } else { "roomout" }
    }

    fn go_on_again(&mut self, turn: &mut Turn<'_>) {
        let mut group = Group::default();
        while let Some(conn) = self.telling.again.front().copied() {
            let is_listening = self
                .members
                .get(&conn)
                .is_some_and(|member| member.hearing == Hearing::Full && !member.is_waiting);
            let block = self.telling.block.as_ref();
            let has_it = block.is_some_and(|block| {
                self.telling.serials.get(&conn).is_some_and(|given| *given == block.serial)
            });
            let is_newest = block.is_some_and(|block| block.version == self.version);
            if !is_listening || has_it && is_newest {
                self.telling.again.pop_front();
                continue;
            }
            if !turn.can_pay(&self.telling.budgets.again) {
                break;
            }
            let will_do = block.is_some_and(|block| {
                block.version >= self.telling.told && !block.is_worn(self.version) && !has_it
            });
            if !will_do {
                turn.give(&mut group);
                self.take_block();
            }
            self.telling.again.pop_front();
            let len = self.add_to(&mut group, conn, self.again_name(), turn);
            self.telling.budgets.again.spend(turn.now, cost(1, len), turn.rates.again);
            turn.count(1, len, false);
        }
        turn.give(&mut group);
    }

    fn tell_first(&mut self, turn: &mut Turn<'_>) {
        let mut group = Group::default();
        while let Some(Waiting { conn, serial, version }) = self.telling.waiting.front() {
            let (conn, version) = (*conn, *version);
            let is_latest = self.telling.serials.get(&conn) == Some(serial);
            let member = self.members.get(&conn).filter(|member| member.is_waiting && is_latest);
            let Some(hearing) = member.map(|member| member.hearing) else {
                self.telling.waiting.pop_front();
                continue;
            };
            if !turn.can_pay(&self.telling.budgets.first) {
                break;
            }
            let least = version.max(self.telling.told);
            if self.telling.block.as_ref().is_none_or(|block| block.version < least) {
                turn.give(&mut group);
                self.take_block();
            }
            self.telling.waiting.pop_front();
            self.stop_waiting(conn, hearing);
            self.telling.listening += u32::from(hearing == Hearing::Delta);
            let len = self.add_to(&mut group, conn, "room", turn);
            self.telling.budgets.first.spend(turn.now, len as u64, turn.rates.first);
            turn.count(1, len, true);
        }
        turn.give(&mut group);
    }

    /// Adds a member to those who are given the block; returns the bytes of it.
    fn add_to(
        &mut self,
        group: &mut Group,
        conn: ConnId,
        name: &'static str,
        turn: &mut Turn<'_>,
    ) -> usize {
        if group.conns.is_empty() {
            group.frame = self.block_frame(name, turn.seq);
        }
        group.add(conn);
        if let Some(block) = &mut self.telling.block {
            block.uses += 1;
            self.telling.serials.insert(conn, block.serial);
        }
        group.frame.len()
    }

    // ---- members ------------------------------------------------------------------------------

    fn members_who(&self, which: impl Fn(&Member) -> bool) -> VecDeque<ConnId> {
        let members = self.members.iter();
        members.filter(|(_, member)| which(member)).map(|(conn, _)| *conn).collect()
    }

    /// True if the member waited, and hears this way.
    fn stop_waiting(&mut self, conn: ConnId, hearing: Hearing) -> bool {
        match self.members.get_mut(&conn) {
            Some(member) if member.hearing == hearing => {
                std::mem::replace(&mut member.is_waiting, false)
            }
            _ => false,
        }
    }

    /// One frame for everybody who hears this way.
    fn broadcast(&self, hearing: Hearing, frame: &Bytes, is_news: bool, turn: &mut Turn<'_>) {
        let listeners = match hearing {
            Hearing::Delta => self.telling.listening,
            Hearing::Full | Hearing::Count => self.hearing[hearing as usize],
        };
        turn.count(u64::from(listeners), frame.len(), is_news);
        turn.counters.roster_broadcasts += 1;
        for to in turn.lanes.shards() {
            if self.has_edge(to) {
                let delivery = Delivery::Roster { room: self.room, hearing, frame: frame.clone() };
                turn.lanes.deliver(to, delivery);
            }
        }
    }
}

impl Untold {
    fn is_changed(&self) -> bool {
        !(self.joined.is_empty() && self.left.is_empty())
    }

    fn forget_changes(&mut self) {
        self.joined.clear();
        self.left.clear();
    }

    fn is_any(&self) -> bool {
        self.full || self.count || self.is_changed()
    }
}

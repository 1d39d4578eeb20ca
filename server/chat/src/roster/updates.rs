//! Which member is sent what of the roster, and when.
//!
//! A change is sent at the end of the turn, to all at once, where that is little. Where it is much,
//! members get it one after the other, as fast as the budget allows, and what changes meanwhile is
//! sent together after that. Nothing is dropped: what has not been sent is state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::block::Block;
use super::budgets::Budgets;
use super::changes::Round;
use super::rates::{Rates, cost};
use super::sending::{Group, Sending};
use super::{Member, RESERVED_SLOTS, Roster};
use crate::Lanes;
use crate::canary::{Canary, is_armed};
use crate::counters::Counters;
use crate::frames;
use crate::ids::{Seq, SessionId, UserId};
use crate::lane::{Delivery, PresenceMode};
use crate::throttle::RosterThrottle;
use throng_engine::{LANE_RETRY_MS, Now};

/// Lane slots that one call of [`Roster::send_updates`] may take: one for the number and one for those who
/// wait for it, one for changes, and two each for whole rosters and first ones, since a newer block
/// may be taken on the way.
const SLOTS_MAX: u32 = 7;

/// Changes that no update contains yet.
#[derive(Default)]
pub(super) struct Unsent {
    /// For members in mode full: whether anything changed, and whether a user joined.
    pub(super) full: bool,
    pub(super) joined_any: bool,
    /// For members in mode delta: each user is in at most one of the two.
    pub(super) joined: BTreeSet<UserId>,
    pub(super) left: BTreeSet<UserId>,
    pub(super) count: bool,
}

/// A member that waits for a whole roster.
pub(super) struct WaitingMember {
    pub(super) session: SessionId,
    /// Its latest place; an older one is void.
    pub(super) serial: u64,
    /// It is in the roster since, or asked then: an older one will not do.
    pub(super) version: u64,
}

#[derive(Default)]
pub(super) struct Updates {
    pub(super) unsent: Unsent,
    pub(super) block: Option<Block>,
    /// A change of this version was sent: a member that gets an older roster later would miss it.
    pub(super) sent_version: u64,
    /// Members who wait for a whole roster, in the order of their coming.
    pub(super) waiting: VecDeque<WaitingMember>,
    /// Members who wait for the number.
    counting: Vec<SessionId>,
    /// Full members whose roster is old, and whether a user joined since it was the newest.
    pub(super) again: VecDeque<SessionId>,
    pub(super) again_joined_any: bool,
    pub(super) changes: Option<Round>,
    /// Delta members that have their first roster, and so receive changes.
    pub(super) receivers: u32,
    /// While any member is queued: the place of those that wait, and of others the block they were given.
    pub(super) serials: BTreeMap<SessionId, u64>,
    last_serial: u64,
    pub(super) budgets: Budgets,
}

impl Updates {
    pub(super) fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    /// A member begins to wait, in the roster of this version.
    pub(super) fn entered(
        &mut self,
        session: SessionId,
        presence_mode: PresenceMode,
        version: u64,
    ) {
        let serial = self.next_serial();
        self.serials.insert(session, serial);
        match presence_mode {
            PresenceMode::Full | PresenceMode::Delta => {
                self.waiting.push_back(WaitingMember { session, serial, version });
            }
            PresenceMode::Count => self.counting.push(session),
        }
    }

    /// It receives no more, or in another mode.
    pub(super) fn left(&mut self, session: SessionId, member: &Member) {
        self.serials.remove(&session);
        if member.presence_mode == PresenceMode::Delta && !member.is_waiting {
            self.receivers -= u32::from(!is_armed(Canary::KeepReceiver));
        }
    }

    /// No member is queued: what serves the queues goes.
    fn rest(&mut self) {
        self.serials.clear();
        self.block = None;
    }

    /// The present places in the queue for a whole roster.
    pub(super) fn waiting_places(&self) -> BTreeSet<(SessionId, u64)> {
        self.waiting.iter().map(|waiting| (waiting.session, waiting.serial)).collect()
    }

    /// Whether a member that waits in this mode will be served.
    pub(super) fn is_queued_at(
        &self,
        session: SessionId,
        presence_mode: PresenceMode,
        places: &BTreeSet<(SessionId, u64)>,
    ) -> bool {
        match presence_mode {
            PresenceMode::Full | PresenceMode::Delta => self
                .serials
                .get(&session)
                .is_some_and(|serial| places.contains(&(session, *serial))),
            PresenceMode::Count => self.counting.contains(&session),
        }
    }

    /// Asserts what must hold between two turns. `receivers`: delta members with their first roster.
    pub(super) fn check(&self, receivers: u32, version: u64, is_present: impl Fn(&UserId) -> bool) {
        assert_eq!(self.receivers, receivers, "receivers of changes are counted");
        assert!(self.sent_version <= version, "no change of the future was sent");
        let Unsent { joined, left, .. } = &self.unsent;
        assert!(joined.is_disjoint(left), "a user joined or left, not both");
        assert!(joined.iter().all(&is_present), "a user who joined is present");
        assert!(!left.iter().any(&is_present), "a user who left is not present");
        let is_past = |block: &Block| block.version <= version && block.serial <= self.last_serial;
        assert!(self.block.as_ref().is_none_or(is_past), "a block is of the past");
    }

    /// Whether anything waits to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.is_any() || self.is_queued()
    }

    fn is_queued(&self) -> bool {
        let is_waiting = !(self.waiting.is_empty() && self.counting.is_empty());
        is_waiting || !self.again.is_empty() || self.changes.is_some()
    }
}

impl Roster {
    /// Sends members what they have not been sent, as far as lanes and budget allow. Returns when
    /// to come back if something remains.
    pub(crate) fn send_updates(
        &mut self,
        now: Now,
        seq: Seq,
        throttle: &mut RosterThrottle,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) -> Option<Now> {
        if self.members.is_empty() {
            let Updates { budgets, sent_version, last_serial, .. } =
                std::mem::take(&mut self.updates);
            self.updates = Updates { budgets, sent_version, last_serial, ..Updates::default() };
            return None;
        }
        if !self.updates.has_unsent() {
            self.updates.rest();
            return None;
        }
        if lanes.delivery_slots_min() < RESERVED_SLOTS + SLOTS_MAX {
            return Some(now.plus_ms(LANE_RETRY_MS));
        }
        let (room, rates) = (self.room, Rates::new(throttle, self.presence_mode));
        let (again, is_put_off) = (None, false);
        let mut sending =
            Sending { now, seq, room, rates, throttle, lanes, counters, again, is_put_off };
        self.send_number(&mut sending);
        self.send_changes(&mut sending);
        self.send_again(&mut sending);
        self.send_first(&mut sending);
        sending.counters.rosters_put_off += u64::from(sending.is_put_off);
        let again = sending.again;
        if !self.updates.is_queued() {
            self.updates.rest();
        }
        again
    }

    // ---- the number ---------------------------------------------------------------------------

    fn send_number(&mut self, sending: &mut Sending<'_>) {
        let receivers = u64::from(self.presence_mode[PresenceMode::Count as usize]);
        let is_due = std::mem::take(&mut self.updates.unsent.count) && receivers > 0;
        if is_due {
            if sending.can_pay(self.updates.budgets.events, sending.rates.events) {
                let frame = frames::presence_count(self.meta(sending.seq));
                let price = cost(receivers, frame.len());
                self.updates.budgets.events.charge(&sending.rates.events, sending.now, price);
                self.broadcast(PresenceMode::Count, &frame, false, sending);
                for session in std::mem::take(&mut self.updates.counting) {
                    self.stop_waiting(session, PresenceMode::Count);
                }
                return;
            }
            self.updates.unsent.count = true;
        }
        // A member that enters a room without budget need not wait for so little.
        if self.updates.counting.is_empty() || !sending.shard_can_pay() {
            return;
        }
        let frame = frames::presence_count(self.meta(sending.seq));
        let mut group = Group { frame, ..Group::default() };
        for session in std::mem::take(&mut self.updates.counting) {
            if self.stop_waiting(session, PresenceMode::Count) {
                group.add(session);
                sending.count(1, group.frame.len(), true);
            }
        }
        sending.give(&mut group);
    }

    // ---- members ------------------------------------------------------------------------------

    pub(super) fn members_who(&self, which: impl Fn(&Member) -> bool) -> VecDeque<SessionId> {
        let members = self.members.iter();
        members.filter(|(_, member)| which(member)).map(|(session, _)| *session).collect()
    }

    /// True if the member waited, and is in this mode.
    pub(super) fn stop_waiting(&mut self, session: SessionId, presence_mode: PresenceMode) -> bool {
        match self.members.get_mut(&session) {
            Some(member) if member.presence_mode == presence_mode => {
                std::mem::replace(&mut member.is_waiting, false)
            }
            _ => false,
        }
    }

    /// One frame for all members in this mode.
    pub(super) fn broadcast(
        &self,
        presence_mode: PresenceMode,
        frame: &Bytes,
        is_owed_once: bool,
        sending: &mut Sending<'_>,
    ) {
        let receivers = match presence_mode {
            PresenceMode::Delta => self.updates.receivers,
            PresenceMode::Full | PresenceMode::Count => self.presence_mode[presence_mode as usize],
        };
        sending.count(u64::from(receivers), frame.len(), is_owed_once);
        sending.counters.roster_broadcasts += 1;
        for to in sending.lanes.shards() {
            if self.has_edge(to) {
                let delivery =
                    Delivery::Roster { room: self.room, presence_mode, frame: frame.clone() };
                sending.lanes.deliver(to, delivery);
            }
        }
    }
}

impl Unsent {
    pub(super) fn is_changed(&self) -> bool {
        !(self.joined.is_empty() && self.left.is_empty())
    }

    pub(super) fn forget_changes(&mut self) {
        self.joined.clear();
        self.left.clear();
    }

    fn is_any(&self) -> bool {
        self.full || self.count || self.is_changed()
    }
}

//! One stay in a room: which deliveries are owed, and what the last roster said.

use std::sync::atomic::Ordering;

use super::turn::Turn;
use crate::ledger::{Ledger, Seen};
use crate::order::Place;
use crate::samples::Metric;
use crate::shared::Shared;
use crate::stamp::Stamp;
use crate::stats::{Counters, Stats};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Out,
    Joining,
    In,
    Leaving,
}

pub struct Membership {
    /// Room index.
    pub room: u16,
    pub stage: Stage,
    ledger: Ledger,
    /// Where it is in the room's order.
    place: Place,
    /// When the join was answered.
    entered_ns: u64,
    /// Leaving: messages acknowledged before the leave was sent must still come.
    owed_until: Vec<u32>,
    /// The server ended the connection unasked, and the account is open still.
    is_lost: bool,
    /// The index of the member itself among the publishers, if it does not receive its own messages.
    mute: Option<u16>,
    /// The last roster, and when it came, until it is read.
    roster: Option<(Vec<u8>, u64)>,
    /// Users online by the last roster, and when that number last changed.
    online: Option<(u32, u64)>,
    /// Its view was wrong at rest, and is counted.
    is_unconverged: bool,
    /// The view whose convergence is counted: when it last changed, and when the room did.
    converged: Option<(u64, u64)>,
}

/// What a member knows of who is in the room.
pub struct View {
    pub is_right: bool,
    /// A roster that could be read has come.
    is_known: bool,
    /// When the view last changed.
    changed_ns: u64,
    /// When the room last changed, or the member entered it.
    room_changed_ns: u64,
}

impl Membership {
    /// `mute`: the index of the member itself among the publishers, if it does not receive its own messages.
    pub fn new(room: u16, mute: Option<u16>) -> Self {
        Self {
            room,
            stage: Stage::Out,
            ledger: Ledger::default(),
            place: Place::default(),
            entered_ns: 0,
            owed_until: Vec::new(),
            is_lost: false,
            mute,
            roster: None,
            online: None,
            is_unconverged: false,
            converged: None,
        }
    }

    /// The number of the room in packets.
    pub fn room_number(&self, shared: &Shared) -> u32 {
        shared.room_numbers[usize::from(self.room)]
    }

    /// The join is answered: everything published from now on is owed.
    pub fn enter(&mut self, turn: &mut Turn<'_>, user: u32, client: u32) {
        let room = &turn.shared.rooms[usize::from(self.room)];
        if self.is_lost {
            self.close(turn, &room.counts());
        }
        self.stage = Stage::In;
        self.ledger = Ledger::open(room.counts());
        self.place = room.order.as_ref().map_or_else(Place::default, |order| order.join(client));
        self.entered_ns = turn.now_ns;
        room.enter(user, turn.now_ns);
        turn.local.stats.counters.joins += 1;
    }

    /// A leave is about to be sent: what is acknowledged by now is still owed.
    pub fn start_leaving(&mut self, shared: &Shared) {
        let acked = &shared.rooms[usize::from(self.room)].acked;
        self.stage = Stage::Leaving;
        self.owed_until = acked.iter().map(|n| n.load(Ordering::Acquire)).collect();
    }

    /// The leave is answered.
    pub fn leave(&mut self, turn: &mut Turn<'_>, user: u32) {
        let owed_until = std::mem::take(&mut self.owed_until);
        self.close(turn, &owed_until);
        turn.shared.rooms[usize::from(self.room)].leave(user, turn.now_ns);
    }

    /// The connection is lost. If that was asked for, only what has come counts as owed; else what is published until
    /// the client is back, or the run is over, is owed too.
    pub fn cut_off(&mut self, turn: &mut Turn<'_>, user: u32, was_asked: bool) {
        let room = &turn.shared.rooms[usize::from(self.room)];
        match self.stage {
            Stage::In if !was_asked => {
                self.is_lost = true;
                self.leave_order(turn.shared);
                self.forget_views();
                room.leave(user, turn.now_ns);
            }
            Stage::In | Stage::Leaving => {
                turn.local.stats.counters.under_way += self.not_come(turn.shared);
                self.close(turn, &[]);
                room.leave(user, turn.now_ns);
            }
            Stage::Out | Stage::Joining => {}
        }
        self.stage = Stage::Out;
    }

    /// The server ended the connection unasked, and it is not back.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The run is over: everything published was owed. The user stays in the room, since other
    /// threads still compare their rosters with it.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        let owed_until = match self.stage {
            Stage::In => turn.shared.rooms[usize::from(self.room)].counts(),
            Stage::Leaving => std::mem::take(&mut self.owed_until),
            Stage::Out | Stage::Joining if self.is_lost => {
                turn.shared.rooms[usize::from(self.room)].counts()
            }
            Stage::Out | Stage::Joining => return,
        };
        self.close(turn, &owed_until);
    }

    /// Closes the account: what was owed up to `owed_until` (exclusive, per publisher) is counted.
    fn close(&mut self, turn: &mut Turn<'_>, owed_until: &[u32]) {
        let room = &turn.shared.rooms[usize::from(self.room)];
        let published = room.counts();
        let refused = room.refused();
        let counters = &mut turn.local.stats.counters;
        for publisher in self.publishers() {
            let at = usize::from(publisher);
            let refused = refused.get(&publisher).map_or(&[][..], Vec::as_slice);
            let until = owed_until.get(at).copied().unwrap_or(0);
            let tally = self.ledger.close(publisher, until, refused);
            counters.expected += tally.expected;
            counters.missing += tally.missing;
            counters.refused_delivered += tally.refused_delivered;
            let seen = self.ledger.next(publisher);
            counters.unknown += u64::from(seen.saturating_sub(published[at]));
        }
        if !std::mem::take(&mut self.is_lost) {
            self.leave_order(turn.shared);
        }
        self.ledger = Ledger::default();
        self.stage = Stage::Out;
        self.forget_views();
    }

    fn leave_order(&mut self, shared: &Shared) {
        if let Some(order) = &shared.rooms[usize::from(self.room)].order {
            order.leave(&mut self.place);
        }
    }

    fn forget_views(&mut self) {
        self.online = None;
        self.roster = None;
        self.is_unconverged = false;
        self.converged = None;
    }

    /// Those whose messages it is owed.
    fn publishers(&self) -> impl Iterator<Item = u16> + use<> {
        let mute = self.mute;
        (0..self.ledger.publishers()).filter(move |publisher| Some(*publisher) != mute)
    }

    /// Enters one delivery into the account; true if it was owed and is the first of its number.
    #[inline]
    pub fn deliver(&mut self, shared: &Shared, counters: &mut Counters, stamp: &Stamp) -> bool {
        let seen = match self.stage {
            // Its own message is allowed, and not owed.
            Stage::In | Stage::Leaving if Some(stamp.publisher) == self.mute => Seen::Edge,
            Stage::In | Stage::Leaving => self.ledger.see(stamp.publisher, stamp.n),
            Stage::Joining => Seen::Edge,
            Stage::Out => {
                counters.outside_membership += 1;
                return false;
            }
        };
        match seen {
            Seen::InOrder | Seen::Gap => counters.delivered += 1,
            Seen::OutOfOrder => {
                counters.delivered += 1;
                counters.out_of_order += 1;
            }
            Seen::Duplicate => counters.duplicated += 1,
            Seen::Edge => counters.edge += 1,
            Seen::Unknown => counters.unknown += 1,
        }
        let is_delivered = matches!(seen, Seen::InOrder | Seen::Gap | Seen::OutOfOrder);
        if is_delivered && let Some(order) = &shared.rooms[usize::from(self.room)].order {
            order.see(&mut self.place, stamp.publisher, stamp.n);
        }
        is_delivered
    }

    /// Deliveries still owed.
    pub fn owed(&self, shared: &Shared) -> u64 {
        if self.stage == Stage::In { self.not_come(shared) } else { 0 }
    }

    /// Messages published since the join that have neither come nor been refused.
    fn not_come(&self, shared: &Shared) -> u64 {
        let room = &shared.rooms[usize::from(self.room)];
        let refused = room.refused();
        let missing = |publisher: u16| {
            let end = room.published[usize::from(publisher)].load(Ordering::Acquire);
            let refused = refused.get(&publisher).map_or(&[][..], Vec::as_slice);
            self.ledger.close(publisher, end, refused).missing
        };
        self.publishers().map(missing).sum()
    }

    /// A roster with this many users online.
    pub fn roster(&mut self, online: u32, now_ns: u64, shared: &Shared) {
        if self.online.is_none_or(|(before, _)| before != online) {
            self.online = Some((online, now_ns));
            shared.has_rosters.store(true, Ordering::Relaxed);
        }
    }

    /// A roster to be read when somebody asks for the view: it may be long, and the next may come at once.
    pub fn keep_roster(&mut self, event: &[u8], now_ns: u64) {
        self.roster = Some((event.to_vec(), now_ns));
    }

    /// The roster that was kept last.
    pub fn take_roster(&mut self) -> Option<(Vec<u8>, u64)> {
        self.roster.take()
    }

    /// The member's view of the room; none outside of it, or where the server sends no rosters.
    pub fn view(&self, shared: &Shared) -> Option<View> {
        if self.stage != Stage::In {
            return None;
        }
        let room = &shared.rooms[usize::from(self.room)];
        let Some((online, changed_ns)) = self.online else {
            let has_rosters = shared.has_rosters.load(Ordering::Relaxed);
            let wrong =
                View { is_right: false, is_known: false, changed_ns: 0, room_changed_ns: 0 };
            return has_rosters.then_some(wrong);
        };
        Some(View {
            is_right: online == room.online.load(Ordering::Acquire),
            is_known: true,
            changed_ns,
            // A further session of a user who is present changes only its own view.
            room_changed_ns: room.changed_ns.load(Ordering::Acquire).max(self.entered_ns),
        })
    }

    /// Counts a view at rest. One that is as it was at the rest before is counted already.
    pub fn count(&mut self, view: &View, stats: &mut Stats) {
        let at = (view.changed_ns, view.room_changed_ns);
        if view.is_right && self.converged.replace(at) != Some(at) {
            let waited_ns = view.changed_ns.saturating_sub(view.room_changed_ns);
            stats.samples.record_ns(Metric::Convergence, waited_ns);
        }
        if !view.is_right && !self.is_unconverged {
            self.is_unconverged = true;
            stats.counters.unconverged += 1;
            stats.counters.without_roster += u64::from(!view.is_known);
        }
    }
}

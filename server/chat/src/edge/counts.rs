//! The unread counts that are sent to users: to those who follow a room, as the budget allows.
//!
//! Nothing is listed when a number changes: what a session is owed follows from the stamps of tips and marks
//! and from what it was told last. A round over the followers of a changed room finds those to tell.

mod budget;
mod check;
mod followers;

use super::known_marks::{KnownMark, KnownMarks, unread};
use super::reads::Reads;
use super::tips::{Stamp, Tip};
use super::*;
use crate::canary::{Canary, is_armed};
use crate::client_event::WantedCounts;
use budget::{Budget, COUNT_NS, LOOK_NS};
use followers::Looked;
pub(super) use followers::{Followers, Place};

/// Sessions looked at in one turn, because other bytes leave for them.
const RIDES_MAX: usize = 16;
/// Of users who follow more rooms than these no count rides along: it would cost the others time.
const RIDE_ROOMS_MAX: usize = 32;

/// What a session has been told.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    /// All that changed until then.
    until: Stamp,
    /// The next update may be sent then.
    next_at: Now,
    /// It is among those that wait for that.
    is_waiting: bool,
    wanted: WantedCounts,
}

impl Told {
    pub(super) fn all(last: Stamp) -> Told {
        Told { until: last, ..Told::default() }
    }
}

/// Who has to be told what.
pub(super) struct Counts {
    pub(super) followers: Followers,
    /// Sessions to tell, and when.
    waiting: BTreeSet<(Now, SessionId)>,
    budget: Budget,
    /// Which of the sessions that get other bytes in this turn are looked at.
    ride_from: usize,
}

impl Counts {
    pub(super) fn new(settings: &Settings, keyed: Keyed) -> Counts {
        Counts {
            followers: Followers::new(keyed),
            waiting: BTreeSet::new(),
            budget: Budget::new(settings.core_share),
            ride_from: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.followers.is_idle()
    }

    /// When something can be sent; `None`: there is nothing.
    pub(super) fn next_at(&self) -> Option<Now> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let rounds = (!self.followers.is_idle()).then(Now::default);
        let first = waiting.into_iter().chain(rounds).min()?;
        Some(first.max(self.budget.next_at()))
    }
}

impl Edge {
    /// Answers `login`.
    pub(super) fn answer_login(
        &mut self,
        session: SessionId,
        user: UserId,
        wanted: WantedCounts,
        ack: AckId,
        cx: &mut Context<'_>,
    ) {
        let last = self.tips.last();
        let told = &mut self.live(session).told;
        (told.until, told.wanted) = (last, wanted);
        let entry = self.users.get(&user).expect("an identified session is listed with its user");
        let followed = self.followed(&entry.marks);
        let json = match wanted {
            WantedCounts::Rooms => frames::counts(
                followed.take(COUNTED_ROOMS_MAX).map(|(room, mark, tip)| (room, unread(mark, tip))),
            ),
            WantedCounts::Sum => frames::count_sum(sum(followed)),
            WantedCounts::Nothing => frames::counts(std::iter::empty()),
        };
        cx.engine.emit_event(session, &frames::count(&json));
        if let Some(id) = ack {
            cx.engine.emit_event(session, &frames::ack_login(id, &entry.card, &json));
        }
    }

    fn follows_all(&self) -> bool {
        self.tips.len() <= self.settings.follow_all_rooms_max as usize
    }

    /// The rooms that a user with these marks follows. Spec: UNR-20.
    fn followed<'a>(
        &'a self,
        marks: &'a KnownMarks,
    ) -> impl Iterator<Item = (RoomId, Option<&'a KnownMark>, Tip)> {
        let all = self.follows_all().then(|| {
            self.tips.iter().map(|(room, tip)| (room, marks.get(room), tip))
        });
        let marked = (!self.follows_all()).then(|| {
            let tip = |mark: &'a KnownMark| Some((mark.room, Some(mark), self.tips.get(mark.room)?));
            marks.iter().filter_map(tip)
        });
        let rooms = all.into_iter().flatten().chain(marked.into_iter().flatten());
        rooms.filter(|(_, mark, _)| mark.is_none_or(|mark| mark.choice.follows()))
    }

    /// The room has messages up to `seq`.
    pub(super) fn note_tip(&mut self, room: RoomId, seq: Seq, now: Now) {
        if !self.tips.raise(room, seq) {
            return;
        }
        if self.follows_all() {
            self.counts.followers.changed_for_all(self.locals.len());
        } else {
            self.counts.followers.changed(room);
        }
        if !is_armed(Canary::KeepTip) {
            // The edge has settled: home sends tips when it does.
            self.retry(now);
        }
    }

    /// Something is reported of what the user has read or chosen. False if they have no session here.
    pub(super) fn note_mark(&mut self, user: UserId, mark: Mark) {
        // Homes report to every edge; this one may have no session of the user.
        let Some(entry) = self.users.get_mut(&user) else { return };
        let tip = self.tips.get(mark.room).map(|tip| tip.seq);
        let (known, is_changed) = entry.marks.raise(mark, tip);
        let room = mark.room;
        let mut moved = None;
        match (known.place, known.choice.follows()) {
            (None, true) => known.place = Some(self.counts.followers.add(room, user)),
            (Some(place), false) => {
                known.place = None;
                moved = self.counts.followers.remove(room, place).map(|moved| (moved, place));
            }
            (None, false) | (Some(_), true) => {}
        }
        // What is loaded first, nobody has been told otherwise.
        if is_changed && !entry.reads.is_first() {
            known.changed = self.tips.stamp();
            for session in entry.sessions.clone() {
                self.wait_to_tell(session);
            }
        }
        if let Some((moved, place)) = moved {
            self.set_place(moved, room, place);
        }
    }

    fn set_place(&mut self, user: UserId, room: RoomId, place: Place) {
        let entry = self.users.get_mut(&user).expect("a follower has sessions here");
        let mark = entry.marks.get_mut(room).expect("a follower has a mark");
        mark.place = Some(place);
    }

    /// The user's last session here has ended.
    pub(super) fn stop_following(&mut self, marks: &KnownMarks) {
        for mark in marks.iter() {
            let Some(place) = mark.place else { continue };
            if is_armed(Canary::KeepFollower) {
                continue;
            }
            if let Some(moved) = self.counts.followers.remove(mark.room, place) {
                self.set_place(moved, mark.room, place);
            }
        }
    }

    /// The session is looked at once it may be told something.
    pub(super) fn wait_to_tell(&mut self, session: SessionId) {
        let Some(local) = find(&mut self.locals, session) else { return };
        let at = local.told.next_at;
        if !std::mem::replace(&mut local.told.is_waiting, true) && !is_armed(Canary::DropWaiting) {
            self.counts.waiting.insert((at, session));
        }
        self.retry(at);
    }

    /// The session ends, or is to be told something else.
    pub(super) fn stop_waiting(&mut self, session: SessionId) {
        let local = find(&mut self.locals, session).expect("the caller found the session");
        if std::mem::take(&mut local.told.is_waiting) {
            self.counts.waiting.remove(&(local.told.next_at, session));
        }
    }

    /// Tells those whose turn it is, as far as the budget goes.
    pub(super) fn send_counts(&mut self, engine: &mut Engine, counters: &mut Counters) {
        if self.counts.is_idle() {
            return;
        }
        let now = engine.now();
        self.ride_along(engine, counters);
        self.counts.budget.fill(now);
        while !self.counts.budget.is_spent() {
            // Neither may hold up the other.
            let due = self.counts.waiting.first().copied().filter(|(at, _)| *at <= now);
            if let Some((_, session)) = due {
                self.stop_waiting(session);
                self.counts.budget.spend(LOOK_NS);
                self.tell(session, engine, counters);
            }
            match self.counts.followers.next() {
                Some(Looked::Slot(slot)) => {
                    self.counts.budget.spend(LOOK_NS);
                    let local = self.locals[slot].as_ref();
                    if let Some(session) = local.map(|local| local.session) {
                        self.look(session, None, engine, counters);
                    }
                }
                Some(Looked::Follower(room, user)) => {
                    let entry = self.users.get(&user).expect("a follower has sessions here");
                    for session in entry.sessions.clone() {
                        self.counts.budget.spend(LOOK_NS);
                        self.look(session, Some(room), engine, counters);
                    }
                }
                None if due.is_none() => break,
                None => {}
            }
        }
        if let Some(at) = self.counts.next_at() {
            self.retry(at);
        }
    }

    /// A round has come to the session; `room`: the one that has changed.
    fn look(
        &mut self,
        session: SessionId,
        room: Option<RoomId>,
        engine: &mut Engine,
        counters: &mut Counters,
    ) {
        let Some(local) = find(&mut self.locals, session) else { return };
        if local.told.is_waiting || local.told.until >= self.tips.last() {
            return;
        }
        if local.told.next_at > engine.now() {
            if self.is_owed(session, room) {
                self.wait_to_tell(session);
            }
        } else if room.is_none() || self.is_owed(session, room) {
            self.tell(session, engine, counters);
        }
    }

    /// Whether there is something to tell, of this room or of any.
    fn is_owed(&self, session: SessionId, room: Option<RoomId>) -> bool {
        let Some((local, marks)) = self.counted(session) else { return false };
        match room {
            Some(room) => {
                let tip = self.tips.get(room).expect("a room that changed is known");
                let mark = marks.get(room);
                let follows = mark.is_none_or(|mark| mark.choice.follows());
                follows && is_due(local, room, mark, tip)
            }
            None => self.followed(marks).any(|(room, mark, tip)| is_due(local, room, mark, tip)),
        }
    }

    /// The session with the marks of its user, if it is to be told counts and they are known.
    fn counted(&self, session: SessionId) -> Option<(&LocalSession, &KnownMarks)> {
        let local = self.locals.get(session.slot() as usize)?.as_deref()?;
        let user = local.identity?.user;
        let entry = self.users.get(&user).expect("an identified session is listed with its user");
        let is_counted = local.session == session
            && local.told.wanted != WantedCounts::Nothing
            && matches!(entry.reads, Reads::Ready);
        is_counted.then_some((local, &entry.marks))
    }

    /// Sends sessions that get other bytes in this turn what they are owed: it leaves with them.
    fn ride_along(&mut self, engine: &mut Engine, counters: &mut Counters) {
        let (now, pipes) = (engine.now(), engine.pipes_with_output());
        let from = self.counts.ride_from;
        self.counts.ride_from = from.wrapping_add(RIDES_MAX);
        for index in 0..pipes.min(RIDES_MAX) {
            let index = from.wrapping_add(index) % pipes;
            let Some(session) = engine.session_with_output(index) else { continue };
            let Some((local, marks)) = self.counted(session) else { continue };
            let may_ride = local.told.until < self.tips.last()
                && local.told.next_at <= now
                && marks.len() <= RIDE_ROOMS_MAX;
            if may_ride && self.is_owed(session, None) {
                self.stop_waiting(session);
                self.send_count(session, engine, counters);
                counters.counts_ridden += 1;
            }
        }
    }

    /// Sends the session what it is owed, on the budget.
    fn tell(&mut self, session: SessionId, engine: &mut Engine, counters: &mut Counters) {
        let spent_ns = self.send_count(session, engine, counters);
        self.counts.budget.spend(spent_ns);
    }

    /// One `count` for one session, of all rooms that it is owed; or a note to try again when it reads too slowly.
    /// Returns what it cost, in ns.
    fn send_count(
        &mut self,
        session: SessionId,
        engine: &mut Engine,
        counters: &mut Counters,
    ) -> u64 {
        let Some((local, marks)) = self.counted(session) else { return 0 };
        let mut looked_ns = 0;
        let followed = self.followed(marks).inspect(|_| looked_ns += LOOK_NS);
        let due = followed.filter(|(room, mark, tip)| is_due(local, *room, *mark, *tip));
        let mut rooms: SmallVec<[(Stamp, RoomId, u64); 8]> = due
            .map(|(room, mark, tip)| (changed(mark, tip), room, unread(mark, tip)))
            .collect();
        let mut until = self.tips.last();
        if rooms.is_empty() {
            self.live(session).told.until = until;
            return looked_ns;
        }
        let is_sum = local.told.wanted == WantedCounts::Sum;
        let is_slow = engine.queued(session) > self.settings.engine.outbound_bytes_max as usize / 2;
        if is_slow {
            // Absolute numbers: skipping one loses nothing if a later one goes out.
            counters.shed += 1;
        } else {
            if rooms.len() > COUNTED_ROOMS_MAX && !is_sum {
                rooms.sort_unstable();
                until = rooms[COUNTED_ROOMS_MAX - 1].0;
                rooms.truncate(COUNTED_ROOMS_MAX);
            }
            let json = if is_sum {
                frames::count_sum(sum(self.followed(marks)))
            } else {
                frames::counts(rooms.iter().map(|(_, room, unread)| (*room, *unread)))
            };
            engine.counters.events_out += 1;
            counters.counts_sent += 1;
            engine.emit_event(session, &frames::count(&json));
        }
        let is_all = !is_slow && until == self.tips.last();
        let window_ms = u64::from(self.settings.unread_window_ms).max(1);
        let told = &mut self.live(session).told;
        told.next_at = engine.now().plus_ms(window_ms);
        if !is_slow {
            told.until = until;
        }
        if !is_all {
            self.wait_to_tell(session);
        }
        looked_ns + COUNT_NS
    }
}

/// Whether the session has not been told the room's number, which its user follows. Members read, and know it.
fn is_due(local: &LocalSession, room: RoomId, mark: Option<&KnownMark>, tip: Tip) -> bool {
    let until = local.told.until;
    // More messages change no number that is 0 all the same: the user reads, or has read further already.
    let is_changed = mark.is_some_and(|mark| mark.changed > until)
        || tip.changed > until && unread(mark, tip) > 0;
    is_changed && local.memberships.index_in(room).is_none()
}

fn changed(mark: Option<&KnownMark>, tip: Tip) -> Stamp {
    mark.map_or(tip.changed, |mark| mark.changed.max(tip.changed))
}

fn sum<'a>(followed: impl Iterator<Item = (RoomId, Option<&'a KnownMark>, Tip)>) -> u64 {
    followed.map(|(_, mark, tip)| unread(mark, tip)).sum()
}

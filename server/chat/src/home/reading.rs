//! Who is reading which room.

use super::*;

/// Changes of other nodes that wait for the edges before home takes more of them.
pub(super) const READINGS_MAX: usize = 1024;
/// The node on which a user left saves the read mark. For this long it is known here too, in
/// case the user comes here before that is done.
const LEFT_MS: u64 = 10_000;
const LEFT_MAX: usize = 4096;

/// Users who left a room on one of several nodes of late, and how far they had read there.
#[derive(Default)]
pub(super) struct LatelyLeft {
    marks: BTreeMap<(UserId, RoomId), (Seq, Now)>,
    order: VecDeque<(Now, UserId, RoomId)>,
}

impl LatelyLeft {
    /// Asserts that every mark will be forgotten, and that there are not too many.
    pub(super) fn check(&self) {
        assert!(self.order.len() <= LEFT_MAX, "marks of users who left are bounded");
        let ends: BTreeSet<_> = self.order.iter().copied().collect();
        for ((user, room), (_, until)) in &self.marks {
            assert!(ends.contains(&(*until, *user, *room)), "a mark of a user who left ends");
        }
    }

    fn note(&mut self, now: Now, user: UserId, room: RoomId, seq: Seq) {
        let until = now.plus_ms(LEFT_MS);
        let seq = seq.max(self.seq(user, room));
        self.marks.insert((user, room), (seq, until));
        self.order.push_back((until, user, room));
        while self.order.front().is_some_and(|(until, _, _)| *until <= now)
            || self.order.len() > LEFT_MAX
        {
            let (until, user, room) = self.order.pop_front().expect("it was looked at above");
            if self.marks.get(&(user, room)).is_some_and(|(_, latest)| *latest == until) {
                self.marks.remove(&(user, room));
            }
        }
    }

    fn seq(&self, user: UserId, room: RoomId) -> Seq {
        self.marks.get(&(user, room)).map_or(Seq(0), |(seq, _)| *seq)
    }

    fn of(&self, now: Now, user: UserId) -> impl Iterator<Item = Mark> {
        let range = (user, RoomId(0))..=(user, RoomId(u32::MAX));
        let fresh = self.marks.range(range).filter(move |(_, (_, until))| *until > now);
        fresh.map(|((_, room), (seq, _))| Mark { room: *room, seq: *seq, is_reading: false })
    }
}

impl Home {
    /// The user's first session of this node entered, or the last one left. `is_new`: the user is
    /// on no other node.
    pub(super) fn note_reading(
        &mut self,
        card: &Arc<UserCard>,
        mark: Mark,
        is_new: bool,
        lanes: &mut Lanes,
    ) {
        let (user, Mark { room, mut seq, is_reading }) = (card.id, mark);
        if !is_reading && self.settings.cluster {
            self.lately_left.note(self.now, user, room, seq);
            seq = self.lately_left.seq(user, room);
        }
        let mark = Mark { seq, ..mark };
        if is_new {
            // What is sent now replaces what was to be sent.
            self.readings.remove(&(user, room));
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Reading { user, room, seq, is_reading });
            }
            self.note_where(user, room, is_reading);
        }
        if self.numbering.keeps_messages() {
            self.save(card.clone(), mark);
        }
        if self.settings.cluster {
            self.unsent.changed(room, card, is_reading, seq);
        }
    }

    /// The user is on a first other node.
    pub(super) fn begin_elsewhere(&mut self, user: UserId, room: RoomId) {
        self.note_where(user, room, true);
        // How far their node has come is reported when they leave.
        self.readings.insert((user, room), Mark { room, seq: Seq(0), is_reading: true });
    }

    /// The user left another node having read so far. While they are present, here or elsewhere, it
    /// counts for the time when they are not: they may leave that node before it has come as far.
    pub(super) fn end_elsewhere(&mut self, user: UserId, room: RoomId, seq: Seq, is_present: bool) {
        self.lately_left.note(self.now, user, room, seq);
        if !is_present {
            let seq = self.lately_left.seq(user, room);
            self.note_where(user, room, false);
            self.readings.insert((user, room), Mark { room, seq, is_reading: false });
        }
    }

    fn note_where(&mut self, user: UserId, room: RoomId, is_reading: bool) {
        if is_reading {
            self.reading.entry(user).or_default().push(room);
        } else if let Some(rooms) = self.reading.get_mut(&user) {
            // Without an entry, the other node's report of the user's coming was lost.
            rooms.retain(|other| *other != room);
            if rooms.is_empty() {
                self.reading.remove(&user);
            }
        }
    }

    /// Sends the edges who began or stopped reading on other nodes.
    pub(super) fn send_readings(&mut self, now: Now, lanes: &mut Lanes) {
        while !self.readings.is_empty() {
            if lanes.delivery_slots_min() <= RESERVED_SLOTS {
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            let first = self.readings.pop_first().expect("it was looked at above");
            let ((user, _), Mark { room, seq, is_reading }) = first;
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Reading { user, room, seq, is_reading });
            }
        }
    }

    pub(super) fn watch(&mut self, user: UserId, load: LoadId, edge: ShardId, lanes: &mut Lanes) {
        let reading = self.reading.get(&user).into_iter().flatten();
        let mut marks: Vec<Mark> = reading
            .map(|room| {
                let known = self.rooms.get(room).expect("a room that is read is known");
                // The messages here say nothing of how far another node has come.
                let is_here = known.roster.card_here(user).is_some();
                let seq = if is_here { known.log.seq() } else { Seq(0) };
                Mark { room: *room, seq, is_reading: true }
            })
            .collect();
        let unsaved = self.marks.range((user, RoomId(0))..=(user, RoomId(u32::MAX)));
        let unsaved = unsaved.map(|((_, room), mark)| (*room, mark.seq));
        let left = self.lately_left.of(self.now, user).map(|mark| (mark.room, mark.seq));
        for (room, seq) in unsaved.chain(left) {
            match marks.iter_mut().find(|known| known.room == room) {
                Some(known) if known.is_reading => {}
                Some(known) => known.seq = known.seq.max(seq),
                None => marks.push(Mark { room, seq, is_reading: false }),
            }
        }
        lanes.deliver(edge, Delivery::Watched { user, load, marks: marks.into() });
    }
}

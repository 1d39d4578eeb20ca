//! Who is reading which room.

use super::*;

/// Changes of other nodes that wait for the edges before home takes more of them.
pub(super) const READINGS_MAX: usize = 1024;

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
            self.recently_left.note(self.now, user, room, seq);
            seq = self.recently_left.seq(user, room);
        }
        let mark = Mark { seq, ..mark };
        if is_new {
            // What is sent now replaces what was to be sent.
            self.readings.remove(&(user, room));
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Reading { user, room, seq, is_reading });
            }
            self.set_reading(user, room, is_reading);
        }
        if self.numbering.keeps_messages() {
            self.save(card.clone(), mark);
        }
        if self.settings.cluster {
            self.unsent.changed(room, card, is_reading, seq);
        }
    }

    /// The user is on a first other node.
    pub(super) fn remote_began_reading(&mut self, user: UserId, room: RoomId) {
        self.set_reading(user, room, true);
        // How far their node has come is reported when they leave.
        self.readings.insert((user, room), Mark { room, seq: Seq(0), is_reading: true });
    }

    /// The user left another node having read so far. While they are present, here or elsewhere, it
    /// counts for the time when they are not: they may leave that node before it has come as far.
    pub(super) fn remote_ended_reading(
        &mut self,
        user: UserId,
        room: RoomId,
        seq: Seq,
        is_present: bool,
    ) {
        self.recently_left.note(self.now, user, room, seq);
        if !is_present {
            let seq = self.recently_left.seq(user, room);
            self.set_reading(user, room, false);
            self.readings.insert((user, room), Mark { room, seq, is_reading: false });
        }
    }

    fn set_reading(&mut self, user: UserId, room: RoomId, is_reading: bool) {
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
                let seq = if is_here { known.messages.seq() } else { Seq(0) };
                Mark { room: *room, seq, is_reading: true }
            })
            .collect();
        let unsaved = self.marks.range((user, RoomId(0))..=(user, RoomId(u32::MAX)));
        let unsaved = unsaved.map(|((_, room), mark)| (*room, mark.seq));
        let left = self.recently_left.of(self.now, user).map(|mark| (mark.room, mark.seq));
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

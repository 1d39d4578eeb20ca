//! Who is reading which room, and what they have chosen about it.

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
        let (user, Mark { room, mut seq, is_reading, .. }) = (card.id, mark);
        if !is_reading && self.settings.cluster {
            self.recently_left.note(self.now, user, room, seq, mark.choice);
            seq = self.recently_left.seq(user, room);
        }
        let mut mark = Mark { seq, ..mark };
        if is_new {
            // What is sent now replaces what was to be sent.
            if let Some(unsent) = self.readings.remove(&(user, room)) {
                mark.choice = unsent.choice;
            }
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Reading { user, mark });
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
        self.note_unsent(user, Mark { room, seq: Seq(0), is_reading: true, choice: Choice(0) });
    }

    /// The edges have to be sent it.
    fn note_unsent(&mut self, user: UserId, mark: Mark) {
        let unsent = self.readings.entry((user, mark.room)).or_insert(mark);
        *unsent = Mark { choice: mark.choice.max(unsent.choice), ..mark };
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
        self.recently_left.note(self.now, user, room, seq, Choice(0));
        if !is_present {
            let seq = self.recently_left.seq(user, room);
            self.set_reading(user, room, false);
            self.note_unsent(user, Mark { room, seq, is_reading: false, choice: Choice(0) });
        }
    }

    /// A user of this node has chosen whether they follow the room.
    pub(super) fn follow(
        &mut self,
        card: &Arc<UserCard>,
        room: RoomId,
        choice: Choice,
        lanes: &mut Lanes,
    ) {
        let user = card.id;
        let mark = Mark { choice, ..self.mark_without_seq(user, room) };
        for to in lanes.shards() {
            lanes.deliver(to, Delivery::Reading { user, mark });
        }
        let is_here = self.rooms.get(&room).is_some_and(|room| room.roster.card_here(user).is_some());
        let is_reading = is_here && self.numbering.keeps_messages();
        self.save(card.clone(), Mark { is_reading, ..mark });
        if self.settings.cluster {
            self.recently_left.note(self.now, user, room, Seq(0), choice);
            self.unsent.chosen(room, user, choice);
        }
    }

    /// A user of another node has.
    pub(super) fn remote_followed(&mut self, user: UserId, room: RoomId, choice: Choice) {
        self.recently_left.note(self.now, user, room, Seq(0), choice);
        let known = self.readings.get(&(user, room)).copied();
        let mark = known.unwrap_or_else(|| self.mark_without_seq(user, room));
        self.note_unsent(user, Mark { choice, ..mark });
    }

    /// Says nothing of how far the user has read: marks only grow.
    fn mark_without_seq(&self, user: UserId, room: RoomId) -> Mark {
        let is_reading = self.reading.get(&user).is_some_and(|rooms| rooms.contains(&room));
        Mark { room, seq: Seq(0), is_reading, choice: Choice(0) }
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
            let ((user, _), mark) = first;
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Reading { user, mark });
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
                Mark { room: *room, seq, is_reading: true, choice: Choice(0) }
            })
            .collect();
        let unsaved = self.marks.range((user, RoomId(0))..=(user, RoomId(u32::MAX)));
        let unsaved = unsaved.map(|((_, room), mark)| Mark {
            room: *room,
            seq: mark.seq,
            is_reading: false,
            choice: mark.choice,
        });
        let left = self.recently_left.of(self.now, user);
        for mark in unsaved.chain(left) {
            let Some(known) = marks.iter_mut().find(|known| known.room == mark.room) else {
                marks.push(mark);
                continue;
            };
            known.choice = known.choice.max(mark.choice);
            if !known.is_reading {
                known.seq = known.seq.max(mark.seq);
            }
        }
        lanes.deliver(edge, Delivery::Watched { user, load, marks: marks.into() });
    }
}

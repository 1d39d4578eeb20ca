//! The unread counts that are sent to users.

use super::reads::{Marks, Reads};
use super::*;

impl Edge {
    /// Answers `login`.
    pub(super) fn answer_login(
        &mut self,
        session: SessionId,
        user: UserId,
        ack: AckId,
        cx: &mut Context<'_>,
    ) {
        let entry = self.users.get(&user).expect("an identified session is listed with its user");
        let Reads::Ready(marks) = &entry.reads else { unreachable!("the caller has the marks") };
        let rooms = self.tips.iter().take(COUNTED_ROOMS_MAX);
        let json = frames::counts(rooms.map(|(room, seq)| (*room, unread(marks, *room, *seq))));
        cx.engine.emit_event(session, &frames::count(&json));
        if let Some(id) = ack {
            cx.engine.emit_event(session, &frames::ack_login(id, &entry.card, &json));
        }
    }

    /// Sends users the counts of other rooms that changed since the last time, once per window.
    pub(super) fn send_counts(&mut self, engine: &mut Engine, counters: &mut Counters) {
        let now = engine.now();
        if self.changed_tips.is_empty() && self.unsent_users.is_empty() && self.shed.is_empty() {
            return;
        }
        if self.next_count_at > now {
            return self.retry(self.next_count_at);
        }
        self.next_count_at = now.plus_ms(u64::from(self.settings.unread_window_ms).max(1));
        let changed = std::mem::take(&mut self.changed_tips);
        let unsent = std::mem::take(&mut self.unsent_users);
        let users: Vec<UserId> = if changed.is_empty() {
            unsent.into_iter().collect()
        } else {
            self.users.keys().copied().collect()
        };
        let mut counts: BTreeMap<SessionId, BTreeSet<RoomId>> = std::mem::take(&mut self.shed);
        for user in users {
            let entry = self.users.get_mut(&user).expect("only users with sessions are waited for");
            // Counts follow when the marks have been loaded.
            let Reads::Ready(marks) = &entry.reads else { continue };
            let mut rooms = std::mem::take(&mut entry.unsent);
            let is_reading = |room: &RoomId| marks.get(*room).is_some_and(|mark| mark.is_reading);
            rooms.extend(changed.iter().filter(|room| !is_reading(room)));
            if rooms.is_empty() {
                continue;
            }
            for session in &entry.sessions {
                counts.entry(*session).or_default().extend(&rooms);
            }
        }
        for (session, rooms) in counts {
            self.send_count(session, rooms, engine, counters);
        }
        if !self.shed.is_empty() {
            self.retry(self.next_count_at);
        }
    }

    /// One `count` for one session, or a note to try again when it reads too slowly.
    fn send_count(
        &mut self,
        session: SessionId,
        mut rooms: BTreeSet<RoomId>,
        engine: &mut Engine,
        counters: &mut Counters,
    ) {
        // What was shed may be of a session that has ended since, or lost its identity.
        let Some(local) = self.local(session) else { return };
        let Some(user) = local.identity.map(|identity| identity.user) else { return };
        rooms.retain(|room| !local.memberships.iter().any(|membership| membership.room == *room));
        let entry = self.users.get(&user).expect("an identified session is listed with its user");
        let Reads::Ready(marks) = &entry.reads else {
            return; // Counts follow when the marks have been loaded.
        };
        if rooms.is_empty() {
            return;
        }
        if engine.queued(session) > self.settings.engine.outbound_bytes_max as usize / 2 {
            // Absolute numbers: skipping one loses nothing if a later one goes out.
            counters.shed += 1;
            self.shed.insert(session, rooms);
            return;
        }
        // A user may have read a room that has no message yet, or none that this edge knows of.
        let counts = rooms
            .iter()
            .filter_map(|room| Some((*room, unread(marks, *room, *self.tips.get(room)?))));
        let json = frames::counts(counts);
        engine.counters.events_out += 1;
        engine.emit_event(session, &frames::count(&json));
    }
}

fn unread(marks: &Marks, room: RoomId, tip: Seq) -> u64 {
    match marks.get(room) {
        Some(mark) if mark.is_reading => 0,
        Some(mark) => tip.0.max(mark.seq.0) - mark.seq.0,
        None => tip.0,
    }
}

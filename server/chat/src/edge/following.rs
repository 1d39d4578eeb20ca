//! Choices of users whether they follow a room.

use super::reads::Waiting;
use super::*;

impl Edge {
    /// `follow` and `unfollow`. Spec: UNR-21, UNR-22.
    pub(super) fn follow(
        &mut self,
        session: SessionId,
        user: UserId,
        room: RoomId,
        follows: bool,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let entry =
            self.users.get_mut(&user).expect("an identified session is listed with its user");
        match &mut entry.reads {
            // What they have chosen before is not known yet.
            Reads::Loading(loading) if loading.is_first() => {
                loading.waiting.push((session, Waiting::Follow { room, follows, ack }));
                self.loading.insert(user);
                Ok(())
            }
            Reads::Loading(_) | Reads::Ready => self.choose(session, user, room, follows, ack, cx),
        }
    }

    pub(super) fn choose(
        &mut self,
        session: SessionId,
        user: UserId,
        room: RoomId,
        follows: bool,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let entry = self.users.get(&user).expect("an identified session is listed with its user");
        let known = entry.marks.get(room);
        // A room that has just been entered may have no tip here.
        if known.is_none() && !self.tips.knows(room) {
            return Err(Refusal::UnknownRoom);
        }
        let (old, is_reading) = known.map_or_else(Default::default, |it| (it.choice, it.is_reading));
        let choice = old.next(follows);
        let request = Request::Follow { room, user: entry.card.clone(), choice };
        if cx.lanes.request(home_of(&self.keyed, room, self.shards), request).is_err() {
            cx.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy);
        }
        // Home reports it too, but the next choice may come before.
        self.note_mark(user, Mark { room, seq: Seq(0), is_reading, choice });
        if let Some(id) = ack {
            cx.engine.emit_event(session, &frames::ack_follow(id, room));
        }
        Ok(())
    }
}

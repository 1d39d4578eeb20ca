//! The end of memberships, and the leaves that homes do not know of yet.

use super::*;

impl Edge {
    /// Forgets one membership and takes the session out of the fan-out. There may be none: home
    /// answers a leave after the session has ended, and one of a room that it was never in.
    pub(super) fn end_membership(&mut self, session: SessionId, membership_id: MembershipId) {
        self.note_session(session);
        let local = self.local(session);
        let ended = local.and_then(|local| local.memberships.end(membership_id));
        // Without a place, home has not confirmed it.
        let place = ended.and_then(|ended| Some((ended.room, ended.index?)));
        let Some((room_id, index)) = place else { return };
        let room = self.rooms.get_mut(&room_id).expect("a member's room is known");
        let moved = room.members.remove(index);
        if room.members.is_empty() {
            self.rooms.remove(&room_id);
        }
        if let Some(moved) = moved {
            self.live(moved).memberships.listed_mut(room_id).index = Some(index);
        }
    }

    /// Sends a leave now if nothing older waits, else at the end of the turn.
    pub(super) fn send_leave(&mut self, owed: LeaveDue, cx: &mut Context<'_>) {
        self.leaves_due.push_back(owed);
        if self.leaves_due.len() == 1 {
            self.send_leaves_due(cx);
        }
    }

    /// A leave that the session owes the room must reach home before anything else about the two.
    pub(super) fn send_leave_first(
        &mut self,
        session: SessionId,
        room: RoomId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let owes =
            |edge: &Edge| edge.leaves_due.iter().any(|o| o.session == session && o.room == room);
        if owes(self) {
            self.send_leaves_due(cx);
        }
        if owes(self) { Err(Refusal::Busy) } else { Ok(()) }
    }

    /// Sends owed leaves in order, as far as lanes have free slots.
    pub(super) fn send_leaves_due(&mut self, cx: &mut Context<'_>) {
        let mut kept = VecDeque::new();
        // One full lane must not hold back the others, but its own order must stand.
        let mut full = SmallVec::<[crate::ids::ShardId; 4]>::new();
        while let Some(owed) = self.leaves_due.pop_front() {
            let to = home_of(&self.keyed, owed.room, self.shards);
            let LeaveDue { room, session, client, membership_id, answer } = owed;
            let leave = || {
                let client = Box::new(client);
                Request::Leave { room, session, client, membership_id, answer }
            };
            if full.contains(&to) || cx.lanes.request(to, leave()).is_err() {
                full.push(to);
                kept.push_back(LeaveDue { room, session, client, membership_id, answer });
            }
        }
        self.leaves_due = kept;
    }
}

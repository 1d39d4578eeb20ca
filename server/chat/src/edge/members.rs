//! Stays of sessions in rooms, and the leaves that homes do not know of yet.

use super::*;

impl Edge {
    /// Forgets one membership and takes the session out of the fan-out. There may be none: home
    /// answers a leave after the session has ended, and one of a room that it was never in.
    pub(super) fn end_membership(&mut self, conn: SessionId, membership_id: MembershipId) {
        self.note_connection(conn);
        let Some(local) = self.local(conn) else { return };
        let Some(place) =
            local.rooms.iter().position(|membership| membership.membership_id == membership_id)
        else {
            return;
        };
        let Membership { room: room_id, index, .. } = local.rooms.remove(place);
        let Some(index) = index else { return }; // Home has not confirmed it.
        let room = self.rooms.get_mut(&room_id).expect("a member's room is known");
        let moved = room.members.remove(index);
        if room.members.is_empty() {
            self.rooms.remove(&room_id);
        }
        if let Some(moved) = moved {
            let mut memberships = self.live(moved).rooms.iter_mut();
            let membership = memberships.find(|m| m.room == room_id && m.index.is_some());
            membership.expect("a member has a membership").index = Some(index);
        }
    }

    /// Sends a leave now if nothing older waits, else at the end of the turn.
    pub(super) fn owe(&mut self, owed: Owed, cx: &mut Context<'_>) {
        self.owed.push_back(owed);
        if self.owed.len() == 1 {
            self.pay(cx);
        }
    }

    /// A leave that the session owes the room must reach home before anything else about the two.
    pub(super) fn pay_first(
        &mut self,
        conn: SessionId,
        room: RoomId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let owes = |edge: &Edge| edge.owed.iter().any(|o| o.conn == conn && o.room == room);
        if owes(self) {
            self.pay(cx);
        }
        if owes(self) { Err(Refusal::Busy) } else { Ok(()) }
    }

    /// Sends owed leaves in order, as far as lanes have room.
    pub(super) fn pay(&mut self, cx: &mut Context<'_>) {
        let mut kept = VecDeque::new();
        // One full lane must not hold back the others, but its own order must stand.
        let mut full = SmallVec::<[crate::ids::ShardId; 4]>::new();
        while let Some(owed) = self.owed.pop_front() {
            let to = home_of(&self.keyed, owed.room, self.shards);
            let Owed { room, conn, membership_id, answer } = owed;
            let request = Request::Leave { room, conn, membership_id, answer };
            if full.contains(&to) || cx.lanes.request(to, request).is_err() {
                full.push(to);
                kept.push_back(Owed { room, conn, membership_id, answer });
            }
        }
        self.owed = kept;
    }
}

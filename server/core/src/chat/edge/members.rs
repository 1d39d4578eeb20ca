//! Memberships, and the leaves that homes do not know of yet.

use super::*;

impl Edge {
    /// Takes the member out of the fan-out.
    pub(super) fn drop_member(&mut self, conn: ConnId, room_id: RoomId) {
        let Some(local) = self.local(conn) else { return };
        let Some(membership) = local.rooms.iter_mut().find(|m| m.room == room_id) else { return };
        let Some(index) = membership.index.take() else { return };
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.members.swap_remove(index as usize);
        let moved = room.members.get(index as usize).map(|member| member.conn);
        if room.members.is_empty() {
            self.rooms.remove(&room_id);
        }
        if let Some(moved) = moved
            && let Some(local) = self.local(moved)
            && let Some(membership) = local.rooms.iter_mut().find(|m| m.room == room_id)
        {
            membership.index = Some(index);
        }
    }

    pub(super) fn forget_membership(&mut self, conn: ConnId, room: RoomId) {
        if let Some(local) = self.local(conn) {
            local.rooms.retain(|m| m.room != room);
        }
    }

    /// Sends a leave now if nothing older waits, else at the end of the turn.
    pub(super) fn owe(&mut self, owed: Owed, cx: &mut Context<'_>) {
        self.owed.push_back(owed);
        if self.owed.len() == 1 {
            self.pay(cx);
        }
    }

    /// Sends owed leaves in order, as far as lanes have room.
    pub(super) fn pay(&mut self, cx: &mut Context<'_>) {
        let mut kept = VecDeque::new();
        // One full lane must not hold back the others, but its own order must stand.
        let mut full = SmallVec::<[crate::ids::ShardId; 4]>::new();
        while let Some(owed) = self.owed.pop_front() {
            let to = home_of(&self.keyed, owed.room, self.settings.shards);
            let request = Request::Leave { room: owed.room, conn: owed.conn, answer: owed.answer };
            if full.contains(&to) || cx.lanes.request(to, request).is_err() {
                full.push(to);
                kept.push_back(owed);
            }
        }
        self.owed = kept;
    }
}

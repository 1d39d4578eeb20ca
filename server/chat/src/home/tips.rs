//! Tips: the numbers that rooms have reached, for all edges.

use super::*;

/// Edges learn of a new number within this, also where the window is long: UNR-10 leaves 50 ms more.
const TIP_INTERVAL_MS_MAX: u64 = 200;

impl Home {
    pub(super) fn note_tip(&mut self, room_id: RoomId) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        // Clients are sent no room that may not exist.
        if !(room.is_tip_due || self.unknown.contains(&room_id)) {
            room.is_tip_due = true;
            self.tips_due.push(room_id);
        }
    }

    pub(super) fn send_tips(&mut self, now: Now, lanes: &mut Lanes) {
        if self.tips_due.is_empty() {
            return;
        }
        if self.next_tip_at > now {
            return self.retry(self.next_tip_at);
        }
        while let Some(room_id) = self.tips_due.pop() {
            if lanes.delivery_slots_min() <= RESERVED_SLOTS {
                self.tips_due.push(room_id);
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            let room = self.rooms.get_mut(&room_id).expect("a room whose tip is due is known");
            room.is_tip_due = false;
            let seq = room.messages.seq();
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Tip { room: room_id, seq });
            }
        }
        let half = u64::from(self.settings.unread_window_ms) / 2;
        self.next_tip_at = now.plus_ms(half.min(TIP_INTERVAL_MS_MAX));
    }
}

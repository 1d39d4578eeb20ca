//! Read marks that the store has not confirmed.

use super::*;

/// A mark that could not be saved is tried again after this.
const SAVE_RETRY_MS: u64 = 1_000;

pub(super) struct Unsaved {
    card: Arc<UserCard>,
    pub(super) seq: Seq,
    is_reading: bool,
    is_saving: bool,
}

impl Unsaved {
    /// Whether the store has been asked to save it.
    pub(super) fn is_saving(&self) -> bool {
        self.is_saving
    }
}

impl Home {
    pub(super) fn save(&mut self, card: Arc<UserCard>, mark: Mark) {
        let Mark { room, seq, is_reading } = mark;
        let key = (card.id, room);
        self.marks.insert(key, Unsaved { card, seq, is_reading, is_saving: false });
        self.unsaved.insert(key);
    }

    /// Other nodes may have taken this one for dead, and its readers for gone: the store is sent again
    /// who is here.
    pub(super) fn save_readers_again(&mut self) {
        if self.settings.ephemeral {
            return;
        }
        let mut present = Vec::new();
        for (id, room) in &self.rooms {
            let mark = Mark { room: *id, seq: room.log.seq(), is_reading: true };
            present.extend(room.roster.users_here().map(|card| (card.clone(), mark)));
        }
        present.into_iter().for_each(|(card, mark)| self.save(card, mark));
    }

    /// Marks that were sent before may be lost, and a node that asks the store would not find them.
    pub(super) fn repeat_unsaved(&mut self) {
        for ((_, room), mark) in self.marks.iter().filter(|(_, mark)| !mark.is_reading) {
            self.unsent.changed(*room, &mark.card, false, mark.seq);
        }
    }

    pub(crate) fn read_saved(
        &mut self,
        now: Now,
        user: UserId,
        saved: Mark,
        outcome: Result<(), StoreDown>,
        counters: &mut Counters,
    ) {
        let room = saved.room;
        let Some(mark) = self.marks.get_mut(&(user, room)) else {
            // An earlier answer has confirmed the same mark.
            counters.stale_replies += 1;
            return;
        };
        let is_latest = mark.seq == saved.seq && mark.is_reading == saved.is_reading;
        if is_latest && outcome.is_ok() {
            self.marks.remove(&(user, room));
            return;
        }
        if mark.is_saving {
            mark.is_saving = false;
            self.unsaved.insert((user, room));
        }
        if outcome.is_err() {
            self.save_at = now.plus_ms(SAVE_RETRY_MS);
        }
    }

    pub(super) fn save_marks(&mut self, now: Now, lanes: &mut Lanes) {
        while let Some((user, room)) = self.unsaved.first().copied() {
            if self.save_at > now {
                return self.retry(self.save_at);
            }
            let Some(mark) = self.marks.get_mut(&(user, room)) else {
                // An earlier answer has confirmed the same mark.
                self.unsaved.pop_first();
                continue;
            };
            let (seq, is_reading) = (mark.seq, mark.is_reading);
            let command = Command::SaveRead { user, room, seq, is_reading };
            if lanes.command(command).is_err() {
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            mark.is_saving = true;
            self.unsaved.pop_first();
        }
    }
}

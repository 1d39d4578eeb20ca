//! Read marks that the store has not confirmed.

use super::*;

/// A mark that could not be saved is tried again after this.
const SAVE_RETRY_MS: u64 = 1_000;

pub(super) struct Unsaved {
    card: Arc<UserCard>,
    pub(super) seq: Seq,
    is_reading: bool,
    pub(super) choice: Choice,
    /// Saves of this mark or of ones before it that the store has not answered.
    saves_under_way: u32,
}

impl Unsaved {
    /// Whether the store has been asked to save it.
    pub(super) fn is_saving(&self) -> bool {
        self.saves_under_way > 0
    }
}

impl Home {
    pub(super) fn save(&mut self, card: Arc<UserCard>, mark: Mark) {
        let Mark { room, mut seq, is_reading, mut choice } = mark;
        let key = (card.id, room);
        let mut saves_under_way = 0;
        if let Some(known) = self.marks.get(&key) {
            (seq, choice) = (seq.max(known.seq), choice.max(known.choice));
            saves_under_way = known.saves_under_way;
        }
        self.marks.insert(key, Unsaved { card, seq, is_reading, choice, saves_under_way });
        self.unsaved.insert(key);
    }

    /// Other nodes may have taken this one for dead, and its readers for gone: the store is sent again
    /// who is here.
    pub(super) fn save_readers_again(&mut self) {
        if !self.numbering.keeps_messages() {
            return;
        }
        let mut present = Vec::new();
        for (id, room) in &self.rooms {
            let seq = room.messages.seq();
            let mark = Mark { room: *id, seq, is_reading: true, choice: Choice(0) };
            present.extend(room.roster.users_here().map(|card| (card.clone(), mark)));
        }
        present.into_iter().for_each(|(card, mark)| self.save(card, mark));
    }

    /// Marks that were sent before may be lost, and a node that asks the store would not find them.
    pub(super) fn repeat_unsaved(&mut self) {
        for ((user, room), mark) in &self.marks {
            if !mark.is_reading {
                self.unsent.changed(*room, &mark.card, false, mark.seq);
            }
            if mark.choice > Choice(0) {
                self.unsent.chosen(*room, *user, mark.choice);
            }
        }
    }

    pub(crate) fn read_saved(
        &mut self,
        now: Now,
        user: UserId,
        room: RoomId,
        outcome: Result<(), StoreDown>,
    ) {
        let key = (user, room);
        let mark = self.marks.get_mut(&key).expect("a mark is kept until its saves are answered");
        let under_way = mark.saves_under_way.checked_sub(1);
        mark.saves_under_way = under_way.expect("the store answers each save once");
        if outcome.is_err() {
            // Which of several failed does not matter: the latest is saved once more.
            self.unsaved.insert(key);
            self.save_at = now.plus_ms(SAVE_RETRY_MS);
        }
        // An answer to an earlier save says nothing of the latest one.
        if mark.saves_under_way == 0 && !self.unsaved.contains(&key) {
            self.marks.remove(&key);
        }
    }

    pub(super) fn save_marks(&mut self, now: Now, lanes: &mut Lanes) {
        while let Some((user, room)) = self.unsaved.first().copied() {
            if self.save_at > now {
                return self.retry(self.save_at);
            }
            let mark = self.marks.get_mut(&(user, room)).expect("a mark is kept until it is saved");
            let Unsaved { seq, is_reading, choice, .. } = *mark;
            let saved = Mark { room, seq, is_reading, choice };
            if lanes.command(Command::SaveRead { user, mark: saved }).is_err() {
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            mark.saves_under_way += 1;
            self.unsaved.pop_first();
        }
    }
}

//! How far users had read who left a room recently, and what they chose there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use throng_engine::Now;

use crate::choice::Choice;
use crate::ids::{RoomId, Seq, UserId};
use crate::lane::Mark;

/// The node on which a user left, or chose, saves the mark. For this long it is known here too, in
/// case the user comes here before that is done.
const LEFT_MS: u64 = 10_000;
const LEFT_MAX: usize = 4096;

/// Users who left a room on one of several nodes recently, and how far they had read there.
#[derive(Default)]
pub(super) struct RecentlyLeft {
    marks: BTreeMap<(UserId, RoomId), (Seq, Choice, Now)>,
    order: VecDeque<(Now, UserId, RoomId)>,
}

impl RecentlyLeft {
    /// Asserts that every mark will be forgotten, and that there are not too many.
    pub(super) fn check(&self) {
        assert!(self.order.len() <= LEFT_MAX, "marks of users who left are bounded");
        let ends: BTreeSet<_> = self.order.iter().copied().collect();
        for ((user, room), (_, _, until)) in &self.marks {
            assert!(ends.contains(&(*until, *user, *room)), "a mark of a user who left ends");
        }
    }

    pub(super) fn note(
        &mut self,
        now: Now,
        user: UserId,
        room: RoomId,
        seq: Seq,
        choice: Choice,
    ) {
        let until = now.plus_ms(LEFT_MS);
        let known = self.marks.get(&(user, room));
        let (known_seq, known_choice) = known.map_or_else(Default::default, |known| (known.0, known.1));
        self.marks.insert((user, room), (seq.max(known_seq), choice.max(known_choice), until));
        self.order.push_back((until, user, room));
        while self.order.front().is_some_and(|(until, _, _)| *until <= now)
            || self.order.len() > LEFT_MAX
        {
            let (until, user, room) = self.order.pop_front().expect("it was looked at above");
            if self.marks.get(&(user, room)).is_some_and(|(_, _, latest)| *latest == until) {
                self.marks.remove(&(user, room));
            }
        }
    }

    pub(super) fn seq(&self, user: UserId, room: RoomId) -> Seq {
        self.marks.get(&(user, room)).map_or(Seq(0), |(seq, _, _)| *seq)
    }

    pub(super) fn of(&self, now: Now, user: UserId) -> impl Iterator<Item = Mark> {
        let range = (user, RoomId(0))..=(user, RoomId(u32::MAX));
        let recent = self.marks.range(range).filter(move |(_, (_, _, until))| *until > now);
        recent.map(|((_, room), (seq, choice, _))| Mark {
            room: *room,
            seq: *seq,
            is_reading: false,
            choice: *choice,
        })
    }
}

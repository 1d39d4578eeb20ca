//! What must hold of unread counts between two turns.

use super::*;

impl Edge {
    /// Asserts that those who follow rooms are listed as their marks say, and that whoever has to be told a
    /// number waits for it, or a round will come to them.
    pub(in crate::edge) fn check_counts(&self) {
        let mut listed = 0;
        for (user, entry) in &self.users {
            for mark in entry.marks.iter() {
                let follows = mark.choice.follows();
                assert_eq!(mark.place.is_some(), follows, "who follows a room is listed");
                let Some(place) = mark.place else { continue };
                listed += 1;
                let there = self.counts.followers.at(mark.room, place);
                assert_eq!(there, Some(*user), "a follower is at their place");
            }
        }
        assert_eq!(self.counts.followers.check(), listed, "only who follows a room is listed");
        let mut waiting = 0;
        for local in self.locals.iter().flatten() {
            let Told { until, next_at, is_waiting, .. } = local.told;
            assert!(until <= self.tips.last(), "nobody is told what is still to come");
            waiting += usize::from(is_waiting);
            let is_listed = self.counts.waiting.contains(&(next_at, local.session));
            assert_eq!(is_listed, is_waiting, "a session that waits is listed");
            self.check_owed_counts(local);
        }
        assert_eq!(waiting, self.counts.waiting.len(), "only sessions that wait are listed");
    }

    fn check_owed_counts(&self, local: &LocalSession) {
        let Some((_, marks)) = self.counted(local.session) else { return };
        if local.told.is_waiting || self.counts.followers.will_look_at(local.session.slot() as usize) {
            return;
        }
        for (room, mark, tip) in self.followed(marks) {
            let place = mark.and_then(|mark| mark.place);
            let is_coming =
                place.is_some_and(|place| self.counts.followers.will_look_at_follower(room, place));
            let is_owed = is_due(local, room, mark, tip);
            assert!(is_coming || !is_owed, "a count that is owed is waited for");
        }
    }
}

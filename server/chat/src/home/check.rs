//! What must hold of a home between two turns.

use super::*;

impl Home {
    /// Asserts that rooms, rosters and the sums over them agree, that lists hold each room once,
    /// and that nothing is owed without a deadline.
    pub(crate) fn check(&self) {
        let mut sums = Sums::default();
        for (id, room) in &self.rooms {
            assert_eq!(room.id, *id, "a room knows its identifier");
            room.check(&mut sums);
        }
        assert_eq!(self.members, sums.members, "members are the sum of the rosters");
        assert_eq!(self.remote_present, sums.remote, "remote users are the sum of the rosters");
        let remote_max = self.settings.remote_present_max as usize;
        assert!(self.remote_present <= remote_max, "remote users are bounded");
        self.check_listed("dirty", &self.dirty, |room| room.is_dirty);
        self.check_listed("tips_due", &self.tips_due, |room| room.is_tip_due);
        self.check_reading(sums.users);
        self.check_creating();
        self.check_marks();
        self.cids.check(&self.settings);
        self.unsent.check(|id| self.rooms.get(id).is_some_and(|room| room.is_commit_unsent));
        let sending = self.rooms.values().filter(|room| room.is_commit_unsent).count();
        assert_eq!(sending, self.unsent.batches(), "a batch is awaited while it is not sent");
        self.check_deadlines();
    }

    fn check_listed(&self, name: &str, list: &[RoomId], says: impl Fn(&Room) -> bool) {
        let saying = self.rooms.values().filter(|room| says(room)).count();
        assert_eq!(saying, list.len(), "{name} lists each room that says so, once");
        for id in list {
            let is_said = self.rooms.get(id).is_some_and(&says);
            assert!(is_said, "{name} lists only rooms that say so");
        }
    }

    fn check_reading(&self, present: usize) {
        let mut listed = 0;
        for (user, rooms) in &self.reading {
            assert!(!rooms.is_empty(), "a user who reads nothing is forgotten");
            listed += rooms.len();
            for (place, room) in rooms.iter().enumerate() {
                assert!(!rooms[..place].contains(room), "a user reads a room once");
                let room = self.rooms.get(room).expect("a room that is read is known");
                assert!(room.roster.has(*user), "a user that reads a room is present in it");
            }
        }
        assert_eq!(listed, present, "a user that is present in a room reads it");
    }

    fn check_creating(&self) {
        for (id, requests) in &self.creating {
            let is_asked = !self.rooms.contains_key(id) || self.unknown.contains(id);
            assert!(is_asked, "requests wait only for a room that the store has not confirmed");
            assert!(requests.iter().all(|request| request.room() == Some(*id)), "they name it");
        }
        for id in &self.unknown {
            assert!(self.rooms.contains_key(id), "an unconfirmed room is kept meanwhile");
            assert!(self.creating.contains_key(id), "joins wait for its confirmation");
        }
        for (id, request, _) in &self.ready_requests {
            assert_eq!(request.room(), Some(*id), "a request that goes on names its room");
        }
    }

    fn check_marks(&self) {
        for (key, mark) in &self.marks {
            let is_coming = mark.is_saving() || self.unsaved.contains(key);
            assert!(is_coming, "a mark that is not saved is being saved, or will be");
        }
        self.recently_left.check();
    }

    fn check_deadlines(&self) {
        let owes = [
            ("rooms", !self.dirty.is_empty()),
            ("tips", !self.tips_due.is_empty()),
            ("answers", !(self.publish_answers.is_empty() && self.ready_requests.is_empty())),
            ("read marks", !self.unsaved.is_empty()),
            ("readings", !self.readings.is_empty()),
            ("room look-ups", !self.loads_due.is_empty()),
            ("signals", !self.unsent.is_empty()),
        ];
        for (what, is_owed) in owes {
            assert!(
                !is_owed || self.next_deadline().is_some(),
                "{what} are owed without a deadline"
            );
        }
    }
}

/// Over all rooms.
#[derive(Default)]
struct Sums {
    members: u64,
    users: usize,
    remote: usize,
}

impl Room {
    fn check(&self, sums: &mut Sums) {
        self.roster.check();
        self.messages.check();
        sums.members += self.roster.members() as u64;
        sums.users += self.roster.online() as usize;
        sums.remote += self.roster.remote();
        if let Some(batch) = &self.batch {
            let last = batch.messages.last().expect("a batch has messages");
            assert_eq!(last.frame.end, batch.shared.len(), "a batch holds what it lists");
            assert!(self.is_dirty, "a batch leaves at the end of the turn");
        }
        let is_listening = self.roster.members() > 0;
        assert!(
            !(is_listening && self.roster.has_unsent()) || self.is_dirty,
            "owed rosters are sent"
        );
        let is_busy =
            !self.committing.is_empty() || self.is_commit_unsent || self.messages.awaits_own();
        assert!(self.backlog.is_empty() || is_busy || self.is_dirty, "a backlog is committed");
        assert!(
            self.messages.fetch_at().is_none() || self.is_dirty,
            "missing messages are fetched"
        );
    }
}

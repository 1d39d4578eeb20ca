//! Unread numbers: the room's last seq minus the user's read mark.

use std::time::Instant;

use serde_json::{Map, Value};

use crate::defect::Defect;
use crate::world::{World, event};

const ROOMS_COUNTED_MAX: usize = 1_000;

impl World {
    pub fn unread(&self, user: u64, room: u64) -> u64 {
        let seq = self.seq(room);
        if self.is_present(user, room) && !self.has(Defect::CountsReaders) {
            return 0;
        }
        let mark = self.reads.get(&(user, room)).copied();
        let never = if self.has(Defect::NeverThereIsZero) { seq } else { 0 };
        let unread = seq.saturating_sub(mark.unwrap_or(never));
        if self.has(Defect::UnreadStopsAt20) { unread.min(20) } else { unread }
    }

    pub fn count_of_all(&self, user: u64) -> Value {
        let user = self.counted(user);
        let rooms = self.rooms.keys().take(ROOMS_COUNTED_MAX);
        let counts = rooms.map(|&room| (format!("room{room}"), self.unread(user, room).into()));
        Value::Object(counts.collect::<Map<_, _>>())
    }

    fn counted(&self, user: u64) -> u64 {
        // The defect uses the first user's marks for all users.
        if self.has(Defect::WrongUsersUnread) { 1 } else { user }
    }

    /// A session of the user entered the room.
    pub fn entered(&mut self, user: u64, room: u64, was_present: bool) {
        if was_present {
            return;
        }
        let seq = self.seq(room);
        let had = seq.saturating_sub(self.reads.get(&(user, room)).copied().unwrap_or(0));
        self.reads.insert((user, room), seq);
        if had > 0 && !self.has(Defect::EnteringQuiet) {
            let members = self.rooms.get(&room).map(|r| r.members.clone()).unwrap_or_default();
            for session in self.sessions.values_mut() {
                if session.user == Some(user) && !members.contains_key(&session.sid) {
                    session.counts_pending.insert(room);
                }
            }
        }
    }

    /// A session of the user left the room.
    pub fn left(&mut self, user: u64, room: u64, still_present: bool) {
        if still_present {
            self.tab_left.insert((user, room));
            return;
        }
        if self.tab_left.remove(&(user, room)) && self.has(Defect::UnreadDoubled) {
            return;
        }
        let seq = self.seq(room);
        let mark = if self.has(Defect::UnreadOffByOne) { seq.saturating_sub(1) } else { seq };
        self.reads.insert((user, room), mark);
    }

    /// A message was sent in the room by this session.
    pub fn published(&mut self, sid: &str, author: u64, room: u64) {
        let readers = self.present(room);
        let node = self.sessions.get(sid).map(|session| session.node);
        let stays_here = self.has(Defect::RemoteUnreadLost);
        let counts_readers = self.has(Defect::CountsReaders);
        let counts_author = self.has(Defect::AuthorGetsUnread);
        for session in self.sessions.values_mut() {
            let Some(user) = session.user else { continue };
            if stays_here && Some(session.node) != node {
                continue;
            }
            let is_reader = readers.contains(&user);
            if !is_reader || counts_readers || counts_author && user == author {
                session.counts_pending.insert(room);
            }
        }
    }

    pub fn flush_counts(&mut self, now: Instant) {
        let window = self.options.unread_window;
        let due: Vec<String> = self
            .sessions
            .values()
            .filter(|s| !s.counts_pending.is_empty())
            .filter(|s| s.counts_sent.is_none_or(|sent| now >= sent + window))
            .map(|s| s.sid.clone())
            .collect();
        let names_all = self.has(Defect::UpdateNamesAll);
        let all: Vec<u64> = self.rooms.keys().copied().collect();
        for sid in due {
            let Some(session) = self.sessions.get_mut(&sid) else { continue };
            let mut rooms = std::mem::take(&mut session.counts_pending);
            if names_all {
                rooms.extend(&all);
            }
            session.counts_sent = Some(now);
            let Some(user) = session.user else { continue };
            let user = self.counted(user);
            let own_unread = u64::from(self.has(Defect::AuthorGetsUnread));
            let counts = rooms.into_iter().map(|room| {
                (format!("room{room}"), self.unread(user, room).max(own_unread).into())
            });
            let counts = Value::Object(counts.collect::<Map<_, _>>());
            self.send_as(Some("update:count"), &sid, &event("count", &[counts]));
        }
    }
}

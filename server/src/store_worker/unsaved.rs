//! Read marks that the store has not taken. The shards send them again; what is left when the process
//! ends was not written.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use throng_chat::{RoomId, UserId};

/// At most as many as the shards hold to send again.
#[derive(Default)]
pub(super) struct Unsaved {
    marks: Mutex<BTreeSet<(UserId, RoomId)>>,
    count: AtomicUsize,
}

impl Unsaved {
    /// Notes how the last save of a mark ended.
    pub(super) fn note(&self, user: UserId, room: RoomId, has_failed: bool) {
        // The store works nearly always, and then there is nothing to lock.
        if !has_failed && self.count() == 0 {
            return;
        }
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if has_failed {
            marks.insert((user, room));
        } else {
            marks.remove(&(user, room));
        }
        self.count.store(marks.len(), Relaxed);
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_unsaved_until_its_next_save_succeeds() {
        let unsaved = Unsaved::default();
        let (user, room) = (UserId(1), RoomId(2));
        unsaved.note(user, room, true);
        unsaved.note(user, room, true);
        unsaved.note(user, RoomId(3), false);
        assert_eq!(unsaved.count(), 1);
        unsaved.note(user, room, false);
        assert_eq!(unsaved.count(), 0);
    }
}

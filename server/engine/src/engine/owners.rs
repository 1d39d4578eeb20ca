//! The work of all sessions of one owner on a shard: who opens more of them may cause no more of it.

use std::collections::BTreeMap;

use crate::bucket::Bucket;
use crate::now::Now;

/// Whose sessions these are, as the application numbers those it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(pub u64);

struct Entry {
    sessions: u32,
    work: Bucket,
}

/// The owners of sessions, and those that have left and still owe.
#[derive(Default)]
pub(super) struct Owners {
    entries: BTreeMap<Owner, Entry>,
}

impl Owners {
    pub(super) fn enter(&mut self, owner: Owner) {
        let new = || Entry { sessions: 0, work: Bucket::default() };
        self.entries.entry(owner).or_insert_with(new).sessions += 1;
    }

    /// A session fewer. When it was the last, and has taken what has not come back: at what time it will have,
    /// so that who reconnects gains nothing.
    #[must_use]
    pub(super) fn leave(&mut self, owner: Owner, now: Now) -> Option<Now> {
        self.entry(owner).sessions -= 1;
        self.forget(owner, now);
        let left = self.entries.get(&owner).filter(|entry| entry.sessions == 0);
        left.map(|entry| entry.work.full_at())
    }

    /// Forgets an owner that has no session and owes nothing.
    pub(super) fn forget(&mut self, owner: Owner, now: Now) {
        let is_done = |entry: &Entry| entry.sessions == 0 && entry.work.full_at() <= now;
        if self.entries.get(&owner).is_some_and(is_done) {
            self.entries.remove(&owner);
        }
    }

    pub(super) fn work(&self, owner: Owner) -> Bucket {
        self.entries.get(&owner).expect("a session's owner is known").work
    }

    pub(super) fn work_mut(&mut self, owner: Owner) -> &mut Bucket {
        &mut self.entry(owner).work
    }

    fn entry(&mut self, owner: Owner) -> &mut Entry {
        self.entries.get_mut(&owner).expect("a session's owner is known")
    }

    /// Asserts that the owners are those of the sessions, each counted. `is_awaited`: a timer will look at it.
    pub(super) fn check(
        &self,
        of_sessions: impl Iterator<Item = Owner>,
        is_awaited: impl Fn(Owner) -> bool,
    ) {
        let mut counted: BTreeMap<Owner, u32> = BTreeMap::new();
        of_sessions.for_each(|owner| *counted.entry(owner).or_default() += 1);
        for (owner, entry) in &self.entries {
            let count = counted.remove(owner).unwrap_or(0);
            assert_eq!(entry.sessions, count, "an owner's sessions are counted");
            assert!(
                count > 0 || is_awaited(*owner),
                "an owner without sessions is forgotten later"
            );
        }
        assert!(counted.is_empty(), "a session's owner is known");
    }
}

//! How far one fact of this node has come into Redis, and what is to be done next.

use std::collections::BTreeSet;

/// What Redis holds of a fact. The states between are those of an order whose outcome is open or
/// was a failure: it may have been done, so it is both done again and undone as if it had been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Absent,
    Owning,
    /// In the set of what the incarnation owns, and nowhere else.
    Owned,
    Writing,
    Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Own,
    Write,
    Erase,
    Disown,
}

impl Stage {
    /// What brings the fact nearer to being there, or not; `None`: nothing.
    pub fn next(self, is_wanted: bool) -> Option<Act> {
        match (is_wanted, self) {
            (true, Stage::Absent | Stage::Owning) => Some(Act::Own),
            (true, Stage::Owned | Stage::Writing) => Some(Act::Write),
            (false, Stage::Writing | Stage::Written) => Some(Act::Erase),
            (false, Stage::Owning | Stage::Owned) => Some(Act::Disown),
            (true, Stage::Written) | (false, Stage::Absent) => None,
        }
    }
}

impl Act {
    pub fn begun(self) -> Stage {
        match self {
            Act::Own | Act::Disown => Stage::Owning,
            Act::Write | Act::Erase => Stage::Writing,
        }
    }

    pub fn done(self) -> Stage {
        match self {
            Act::Own | Act::Erase => Stage::Owned,
            Act::Write => Stage::Written,
            Act::Disown => Stage::Absent,
        }
    }
}

/// Keys that have something to be done, taken in turn so that none waits for ever.
#[derive(Debug)]
pub struct Due<K> {
    keys: BTreeSet<K>,
    last: Option<K>,
}

impl<K> Default for Due<K> {
    fn default() -> Due<K> {
        Due { keys: BTreeSet::new(), last: None }
    }
}

impl<K: Ord + Copy> Due<K> {
    pub fn add(&mut self, key: K) {
        self.keys.insert(key);
    }

    pub fn has(&self, key: &K) -> bool {
        self.keys.contains(key)
    }

    pub fn clear(&mut self) {
        self.keys.clear();
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Up to `max` keys, from where the last time ended.
    pub fn take(&mut self, max: usize) -> Vec<K> {
        let mut taken: Vec<K> = match self.last {
            Some(last) => {
                use std::ops::Bound::{Excluded, Unbounded};
                let behind = self.keys.range((Excluded(last), Unbounded));
                behind.chain(self.keys.range(..=last)).take(max).copied().collect()
            }
            None => self.keys.iter().take(max).copied().collect(),
        };
        self.last = taken.last().copied().or(self.last);
        for key in &taken {
            self.keys.remove(key);
        }
        taken.sort_unstable();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, Due, Stage};

    #[test]
    fn what_may_have_been_written_is_erased() {
        assert_eq!(Act::Write.begun().next(false), Some(Act::Erase));
        assert_eq!(Act::Own.begun().next(false), Some(Act::Disown));
        assert_eq!(Act::Erase.begun().next(true), Some(Act::Write));
        assert_eq!(Act::Disown.begun().next(true), Some(Act::Own));
    }

    #[test]
    fn every_fact_comes_and_goes_in_two_acts() {
        let mut stage = Stage::Absent;
        for (is_wanted, acts) in
            [(true, [Act::Own, Act::Write]), (false, [Act::Erase, Act::Disown])]
        {
            for act in acts {
                assert_eq!(stage.next(is_wanted), Some(act));
                stage = act.done();
            }
            assert_eq!(stage.next(is_wanted), None);
        }
    }

    #[test]
    fn keys_are_taken_in_turn() {
        let mut due = Due::default();
        (0..5).for_each(|key| due.add(key));
        assert_eq!(due.take(2), [0, 1]);
        due.add(0);
        assert_eq!(due.take(2), [2, 3]);
        assert_eq!(due.take(2), [0, 4]);
        assert_eq!(due.len(), 0);
    }
}

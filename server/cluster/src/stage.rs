//! How far Redis shows one fact of this node, and the next act.

use std::collections::BTreeSet;

/// What Redis holds of a fact. `Owning` and `Writing` mean that an order is in flight or has failed:
/// it may have been executed, so it is repeated if the fact is wanted, and undone if it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Absent,
    Owning,
    /// Only in the set of what the incarnation owns.
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
    /// The next act towards the wanted state, `None` when Redis shows it.
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

/// Keys with work to do, taken in turn so that none starves.
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

    pub fn remove(&mut self, key: &K) {
        self.keys.remove(key);
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
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

    /// Removes and returns up to `max` keys, starting after the last one taken before.
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
    fn a_fact_that_may_have_been_written_is_erased() {
        assert_eq!(Act::Write.begun().next(false), Some(Act::Erase));
        assert_eq!(Act::Own.begun().next(false), Some(Act::Disown));
        assert_eq!(Act::Erase.begun().next(true), Some(Act::Write));
        assert_eq!(Act::Disown.begun().next(true), Some(Act::Own));
    }

    #[test]
    fn a_fact_appears_and_disappears_in_two_acts() {
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

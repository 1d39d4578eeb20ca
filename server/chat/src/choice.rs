//! Whether a user follows a room, as they chose it.

/// The newest choice of a user about a room. It grows with each one, so that the larger of two is the newer,
/// without a clock and on every node. An odd one ends the following. Spec: UNR-21, UNR-26.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice(pub u32);

impl Choice {
    /// Nobody chooses so often; a report of more is wrong.
    pub const MAX: Choice = Choice(1 << 30);

    /// Whether a user who has a read mark in the room follows it.
    #[must_use]
    pub fn follows(self) -> bool {
        self.0.is_multiple_of(2)
    }

    /// The next choice. It is larger also if it says the same, because a choice made elsewhere since may say
    /// something else.
    #[must_use]
    pub fn next(self, follows: bool) -> Choice {
        let next = Choice(self.0 + 1);
        let next = if next.follows() == follows { next } else { Choice(next.0 + 1) };
        if next <= Choice::MAX { next } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::Choice;

    #[test]
    fn each_choice_is_larger_than_the_one_before() {
        let first = Choice::default();
        assert!(first.follows());
        for (from, follows, to) in [(0, false, 1), (1, false, 3), (1, true, 2), (2, true, 4)] {
            let next = Choice(from).next(follows);
            assert_eq!((next, next.follows()), (Choice(to), follows));
        }
        assert_eq!(Choice::MAX.next(false), Choice::MAX, "there is a last one");
    }
}

//! Completeness: what one member of a room is owed by each of the room's publishers.

/// Messages `from..` of every publisher of a room, as seen by one member. The common case touches
/// four bytes per message.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// First message that must arrive: the publisher's count when the join was answered.
    from: Box<[u32]>,
    /// One past the highest number seen.
    next: Box<[u32]>,
    /// (publisher, start, end) below `next` that were skipped and have not come since.
    missing: Vec<(u16, u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    InOrder,
    /// The message came, but one or more before it have not.
    Gap,
    /// A message skipped before came late: delivered, and out of order.
    OutOfOrder,
    Duplicate,
    /// Published before the join was answered: allowed, not owed.
    Edge,
    /// No publisher of this room has such an index.
    Unknown,
}

/// The result of a closed ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub expected: u64,
    pub missing: u64,
    /// Came although they were refused: not expected.
    pub refused_delivered: u64,
}

impl Ledger {
    /// `from`: each publisher's count when membership began.
    #[must_use]
    pub fn open(from: Vec<u32>) -> Self {
        let from = from.into_boxed_slice();
        Self { next: from.clone(), from, missing: Vec::new() }
    }

    #[inline]
    pub fn see(&mut self, publisher: u16, n: u32) -> Seen {
        match self.next.get_mut(usize::from(publisher)) {
            Some(next) if *next == n => {
                *next = n.wrapping_add(1);
                Seen::InOrder
            }
            Some(_) => self.see_unexpected(publisher, n),
            None => Seen::Unknown,
        }
    }

    #[cold]
    fn see_unexpected(&mut self, publisher: u16, n: u32) -> Seen {
        let next = &mut self.next[usize::from(publisher)];
        if n < self.from[usize::from(publisher)] {
            return Seen::Edge;
        }
        if n > *next {
            self.missing.push((publisher, *next, n));
            *next = n.saturating_add(1);
            return Seen::Gap;
        }
        let holds = |&(of, start, end): &(u16, u32, u32)| of == publisher && start <= n && n < end;
        let Some(at) = self.missing.iter().position(holds) else { return Seen::Duplicate };
        let (_, start, end) = self.missing.swap_remove(at);
        let rest = [(publisher, start, n), (publisher, n + 1, end)];
        self.missing.extend(rest.into_iter().filter(|(_, start, end)| start < end));
        Seen::OutOfOrder
    }

    /// One past the highest number seen of `publisher`.
    #[must_use]
    pub fn next(&self, publisher: u16) -> u32 {
        self.next.get(usize::from(publisher)).copied().unwrap_or(0)
    }

    #[must_use]
    pub fn publishers(&self) -> u16 {
        self.from.len() as u16
    }

    /// Closes the account of `publisher` at `end` (exclusive); `refused` were never broadcast.
    #[must_use]
    pub fn close(&self, publisher: u16, end: u32, refused: &[u32]) -> Tally {
        let index = usize::from(publisher);
        let (from, next) = (self.from[index], self.next[index]);
        let end = end.max(next);
        let skipped =
            || self.missing.iter().filter(|(of, ..)| *of == publisher).map(|&(_, s, e)| (s, e));
        let is_missing = |n: u32| {
            (next..end).contains(&n) || skipped().any(|(start, stop)| (start..stop).contains(&n))
        };
        let count =
            |test: &dyn Fn(u32) -> bool| refused.iter().filter(|n| test(**n)).count() as u64;
        let gaps: u64 = skipped().map(|(start, stop)| u64::from(stop - start)).sum();
        let excused = count(&is_missing);
        let came = count(&|n| (from..next).contains(&n) && !is_missing(n));
        Tally {
            expected: u64::from(end - from) - excused - came,
            missing: gaps + u64::from(end - next) - excused,
            refused_delivered: came,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: &[u32], want: &[Seen], end: u32, expected: u64, missing: u64) {
        let mut ledger = Ledger::open(vec![0, 10]);
        let seen: Vec<_> = numbers.iter().map(|n| ledger.see(1, *n)).collect();
        assert_eq!(seen, want);
        assert_eq!(ledger.close(1, end, &[]), Tally { expected, missing, refused_delivered: 0 });
        assert_eq!(ledger.close(0, 0, &[]), Tally::default());
    }

    #[test]
    fn a_run_in_order_owes_nothing() {
        check(&[10, 11, 12], &[Seen::InOrder; 3], 13, 3, 0);
    }

    #[test]
    fn loss_within_and_at_the_end_is_counted() {
        check(&[10, 13], &[Seen::InOrder, Seen::Gap], 16, 6, 4);
        check(&[], &[], 12, 2, 2);
    }

    #[test]
    fn duplicates_and_reordering_are_distinguished() {
        let want = [Seen::Gap, Seen::OutOfOrder, Seen::Duplicate, Seen::OutOfOrder, Seen::InOrder];
        check(&[12, 11, 11, 10, 13], &want, 14, 4, 0);
        check(&[10, 10], &[Seen::InOrder, Seen::Duplicate], 11, 1, 0);
    }

    #[test]
    fn messages_before_the_join_are_allowed_and_not_owed() {
        check(&[8, 9, 10], &[Seen::Edge, Seen::Edge, Seen::InOrder], 11, 1, 0);
    }

    #[test]
    fn refused_messages_are_not_owed() {
        let mut ledger = Ledger::open(vec![0]);
        ledger.see(0, 0);
        ledger.see(0, 2);
        let tally = |refused: &[u32]| {
            let Tally { expected, missing, refused_delivered } = ledger.close(0, 5, refused);
            (expected, missing, refused_delivered)
        };
        assert_eq!(tally(&[1, 3, 4]), (2, 0, 0));
        assert_eq!(tally(&[3]), (4, 2, 0));
        assert_eq!(tally(&[0, 1]), (3, 2, 1), "0 came although it was refused");
        assert_eq!(ledger.see(1, 0), Seen::Unknown);
    }
}

//! A token bucket in eight bytes (GCRA): the time at which it is full again.

use crate::now::{Now, Sent};
use crate::rate::Rate;

/// What has been taken at a [`Rate`]. It is full at first; the rate says how much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Now,
}

impl Bucket {
    /// A bucket that is full at that time, as [`Bucket::full_at`] said.
    pub fn new(full_at: Now) -> Bucket {
        Bucket { full_at }
    }

    /// When everything that was taken has come back. A time that is over says no more than that.
    pub fn full_at(self) -> Now {
        self.full_at
    }

    /// Takes `units` if they are there.
    ///
    /// # Errors
    /// They are not, and nothing is taken: in so many nanoseconds they would be, if they are no more
    /// than a burst.
    #[inline]
    pub fn take(&mut self, rate: &Rate, now: Now, units: u64) -> Result<(), u64> {
        self.take_sent(rate, now.into(), units)
    }

    /// The same for what was sent over some time: whatever came back in that time is there as well.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    #[inline]
    pub fn take_sent(&mut self, rate: &Rate, sent: Sent, units: u64) -> Result<(), u64> {
        let (mut next, now) = (*self, sent.now);
        next.charge(rate, sent.since, units);
        let wait_ns = next.open_at(rate).since(now);
        if wait_ns > 0 {
            return Err(wait_ns);
        }
        *self = next;
        Ok(())
    }

    /// Takes `units`, whether they are there or not.
    #[inline]
    pub fn charge(&mut self, rate: &Rate, now: Now, units: u64) {
        self.full_at = self.full_at.max(now).plus_ns(rate.cost_ns(units));
    }

    /// A bucket of which nothing is there until then, and a unit soon after.
    pub(crate) fn empty_until(at: Now, rate: &Rate) -> Bucket {
        Bucket { full_at: at.plus_ns(rate.burst_ns) }
    }

    /// Undoes [`Bucket::take`]: so many units count as not taken.
    #[inline]
    pub fn give_back(&mut self, rate: &Rate, units: u64) {
        self.full_at = self.full_at.minus_ns(rate.cost_ns(units));
    }

    /// From when on no more has been taken than was there.
    #[inline]
    pub fn open_at(self, rate: &Rate) -> Now {
        self.full_at.minus_ns(rate.burst_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now(5_000_000_000);

    fn rate() -> Rate {
        Rate::per_second(10, 3).expect("a limit")
    }

    #[test]
    fn a_burst_is_taken_and_one_more_waits_for_it_to_come_back() {
        let mut bucket = Bucket::default();
        assert_eq!(
            [(); 4].map(|()| bucket.take(&rate(), NOW, 1)),
            [Ok(()), Ok(()), Ok(()), Err(100_000_000)]
        );
        assert_eq!(bucket.take(&rate(), NOW.plus_ms(99), 1), Err(1_000_000));
        assert_eq!(bucket.take(&rate(), NOW.plus_ms(100), 1), Ok(()));
        assert_eq!(bucket.take(&rate(), NOW.plus_ms(100), 1), Err(100_000_000));
    }

    #[test]
    fn more_than_a_burst_is_never_there() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(&rate(), NOW, 4), Err(100_000_000));
        assert_eq!(bucket.take(&rate(), NOW.plus_ms(100_000), 4), Err(100_000_000));
        assert_eq!(bucket, Bucket::default(), "nothing was taken");
    }

    #[test]
    fn what_was_sent_over_some_time_has_what_came_back_in_it() {
        let mut bucket = Bucket::default();
        let sent = |ms| Sent { since: NOW, now: NOW.plus_ms(ms) };
        bucket.charge(&rate(), NOW, 3);
        for unit in 0..20 {
            assert_eq!(bucket.take_sent(&rate(), sent(2_000), 1), Ok(()), "{unit}");
        }
        assert_eq!(bucket.take_sent(&rate(), sent(2_000), 1), Err(100_000_000));
        assert_eq!(bucket.take_sent(&rate(), sent(2_100), 1), Ok(()));
    }

    #[test]
    fn what_is_charged_beyond_a_burst_is_owed() {
        let mut bucket = Bucket::default();
        bucket.charge(&rate(), NOW, 3);
        assert_eq!(bucket.open_at(&rate()), NOW);
        bucket.charge(&rate(), NOW, 5);
        assert_eq!(bucket.open_at(&rate()), NOW.plus_ms(500));
        assert_eq!(bucket.full_at(), NOW.plus_ms(800));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut bucket = Bucket::default();
        bucket.charge(&rate(), NOW, 3);
        bucket.give_back(&rate(), 2);
        assert_eq!(bucket.take(&rate(), NOW, 3), Err(100_000_000));
        assert_eq!(bucket.take(&rate(), NOW, 2), Ok(()));
        // More than was taken makes no bucket larger than it is.
        bucket.give_back(&rate(), 100);
        assert_eq!(bucket.take(&rate(), NOW, 4), Err(100_000_000));
        assert_eq!(bucket.take(&rate(), NOW, 3), Ok(()));
    }

    #[test]
    fn a_clock_that_is_behind_gives_nothing_back() {
        let mut bucket = Bucket::default();
        bucket.charge(&rate(), NOW.plus_ms(40), 3);
        assert_eq!(bucket.take(&rate(), NOW, 1), Err(140_000_000));
    }

    #[test]
    fn time_ends_before_a_sum_overflows() {
        let mut bucket = Bucket::new(Now(u64::MAX - 1));
        bucket.charge(&rate(), NOW, u64::MAX);
        assert_eq!(bucket.full_at(), Now(u64::MAX));
        assert!(bucket.take(&rate(), NOW, 1).is_err());
    }
}

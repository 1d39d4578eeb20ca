//! How fast something may be taken.

use std::num::NonZeroU64;

const SECOND_NS: u64 = 1_000_000_000;

/// Units in a time, and how many of them at once; see [`Bucket`](crate::Bucket).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In ticks.
    period: u64,
    per_period: NonZeroU64,
    tick_ns: u64,
    pub(crate) burst_ns: u64,
}

impl Rate {
    /// `units` in each `period_ns`, and `burst` of them at once, at least one. `None` is no limit:
    /// `units` is 0.
    pub fn new(units: u64, period_ns: u64, burst: u32) -> Option<Rate> {
        Rate::in_ticks(units, period_ns, burst, 1)
    }

    /// `units` in a second, else as [`Rate::new`].
    pub fn per_second(units: u32, burst: u32) -> Option<Rate> {
        Rate::new(units.into(), SECOND_NS, burst)
    }

    /// As [`Rate::new`], for a bucket whose time is kept in whole ticks: each cost is rounded up to one.
    /// `period_ns` is rounded down to one.
    pub fn in_ticks(units: u64, period_ns: u64, burst: u32, tick_ns: u64) -> Option<Rate> {
        let per_period = NonZeroU64::new(units)?;
        let rate = Rate { period: period_ns / tick_ns, per_period, tick_ns, burst_ns: 0 };
        // As many as fit one by one, however a single one is rounded.
        Some(rate.with_burst_ns(u64::from(burst.max(1)) * rate.cost_ns(1)))
    }

    /// The same rate; what comes back in `burst_ns` may be taken at once.
    pub fn with_burst_ns(self, burst_ns: u64) -> Rate {
        Rate { burst_ns, ..self }
    }

    /// In which time so many units come back, rounded up; at most the end of time.
    #[inline]
    pub(crate) fn cost_ns(&self, units: u64) -> u64 {
        let ticks = match units.checked_mul(self.period) {
            Some(product) => Some(product.div_ceil(self.per_period.get())),
            None => {
                let product = u128::from(units) * u128::from(self.period);
                u64::try_from(product.div_ceil(u128::from(self.per_period.get()))).ok()
            }
        };
        ticks.and_then(|ticks| ticks.checked_mul(self.tick_ns)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn a_cost_is_rounded_up_to_a_tick() {
        let costs = |rate: Rate| [0, 1, 2, 3].map(|units| rate.cost_ns(units));
        let third = Rate::per_second(3, 1).expect("a limit");
        assert_eq!(costs(third), [0, 333_333_334, 666_666_667, 1_000_000_000]);
        let coarse = Rate::in_ticks(3, 1_000_000_000, 1, 1_000).expect("a limit");
        assert_eq!(costs(coarse), [0, 333_334_000, 666_667_000, 1_000_000_000]);
    }

    #[test]
    fn a_burst_is_that_many_units_one_by_one() {
        for burst in [0, 1] {
            assert_eq!(Rate::per_second(3, burst).expect("a limit").burst_ns, 333_333_334);
        }
        assert_eq!(Rate::per_second(3, 30).expect("a limit").burst_ns, 30 * 333_333_334);
    }

    #[test]
    fn large_numbers_are_exact_as_far_as_there_is_time() {
        const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;
        let rate = Rate::new(1 << 60, DAY_NS, 1).expect("a limit");
        assert_eq!((rate.cost_ns(1), rate.cost_ns(1 << 59)), (1, DAY_NS / 2));
        let slow = Rate::new(1, DAY_NS, 1).expect("a limit");
        assert_eq!(slow.cost_ns(u64::MAX), u64::MAX);
    }

    #[test]
    fn nothing_in_a_time_is_no_limit() {
        assert_eq!(Rate::per_second(0, 7), None);
    }
}

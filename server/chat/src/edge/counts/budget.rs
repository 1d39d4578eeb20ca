//! The share of its time that a shard spends on unread counts.

use throng_engine::Now;

/// Encoding one `count` and sending it alone, measured.
pub(super) const COUNT_NS: u64 = 10_000;
/// Looking at one room or one user.
pub(super) const LOOK_NS: u64 = 100;
/// No turn spends more.
const TURN_NS_MAX: i64 = 500_000;
/// A shard without other work wakes up for so much.
const WAKE_NS: i64 = 100_000;

/// Spec: UNR-10.
pub(super) struct Budget {
    percent: u64,
    /// Below 0 after a count of many rooms.
    left_ns: i64,
    filled_at: Now,
}

impl Budget {
    pub(super) fn new(percent: u32) -> Budget {
        Budget { percent: percent.into(), left_ns: TURN_NS_MAX, filled_at: Now::default() }
    }

    pub(super) fn fill(&mut self, now: Now) {
        let come_ns = now.since(self.filled_at) / 100 * self.percent;
        self.filled_at = now;
        let left_ns = self.left_ns.saturating_add_unsigned(come_ns);
        self.left_ns = left_ns.min(TURN_NS_MAX);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left_ns <= 0
    }

    pub(super) fn spend(&mut self, ns: u64) {
        self.left_ns -= ns.cast_signed();
    }

    /// When there is something to spend again.
    pub(super) fn next_at(&self) -> Now {
        let missing_ns = (WAKE_NS - self.left_ns).max(0).cast_unsigned();
        self.filled_at.plus_ns(missing_ns.div_ceil(self.percent) * 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_counts_are_paid_in_a_second_as_the_share_allows() {
        for (percent, counts) in [(5, 5_000), (1, 1_000), (100, 100_000)] {
            let mut budget = Budget::new(percent);
            let (mut now, mut paid) = (Now::default(), 0);
            budget.fill(now);
            while now < Now::default().plus_ms(1_000) {
                while !budget.is_spent() {
                    budget.spend(COUNT_NS);
                    paid += 1;
                }
                now = budget.next_at().max(now);
                budget.fill(now);
            }
            let most = TURN_NS_MAX.unsigned_abs() / COUNT_NS;
            assert!((counts..=counts + most).contains(&paid), "{paid} counts at {percent} %");
        }
    }

    #[test]
    fn a_turn_after_a_pause_has_no_more_than_any_other() {
        let mut budget = Budget::new(5);
        budget.fill(Now::default().plus_ms(3_600_000));
        assert_eq!(budget.left_ns, TURN_NS_MAX);
        budget.spend(COUNT_NS + 1_000_000);
        assert!(budget.is_spent());
        budget.fill(budget.next_at());
        assert!(!budget.is_spent());
    }
}

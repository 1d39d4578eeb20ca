//! A budget in eight bytes: the time at which everything spent is paid for.

use throng_engine::Now;

/// Spends bytes at a rate: anything may be sent while the debt is below a burst.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    paid_at: Now,
}

impl Budget {
    const BURST_MS: u64 = 50;

    /// When the next spending is allowed.
    pub(crate) fn open_at(&self) -> Now {
        self.paid_at.minus_ns(Self::BURST_MS * 1_000_000)
    }

    pub(crate) fn is_open(&self, now: Now) -> bool {
        self.open_at() <= now
    }

    pub(crate) fn spend(&mut self, now: Now, bytes: u64, bytes_per_s: u64) {
        if bytes_per_s > 0 {
            let cost_ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s);
            self.paid_at =
                self.paid_at.max(now).plus_ns(u64::try_from(cost_ns).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use throng_engine::Now;

    #[test]
    fn a_debt_closes_the_budget_until_it_is_paid() {
        let mut budget = Budget::default();
        let now = Now(1_000_000_000);
        budget.spend(now, 1000, 1000);
        assert!(!budget.is_open(now.plus_ms(949)));
        assert!(budget.is_open(now.plus_ms(950)));
    }
}

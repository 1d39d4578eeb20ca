//! A token bucket in eight bytes (GCRA): the time at which the bucket would be full again.

use throng_engine::Now;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Now,
}

impl Bucket {
    /// Takes one token; `per_s` of 0 means no limit.
    pub(crate) fn take(&mut self, now: Now, per_s: u32, burst: u32) -> bool {
        if per_s == 0 {
            return true;
        }
        let token_ns = 1_000_000_000 / u64::from(per_s);
        let full_at = self.full_at.max(now);
        if full_at.since(now) > token_ns * u64::from(burst.max(1) - 1) {
            return false;
        }
        self.full_at = full_at.plus_ns(token_ns);
        true
    }

    pub(crate) fn is_full(&self, now: Now) -> bool {
        self.full_at <= now
    }

    /// What has been taken from the other has been taken from this one.
    pub(crate) fn take_over(&mut self, other: Bucket) {
        self.full_at = self.full_at.max(other.full_at);
    }
}

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
    use super::{Bucket, Budget};
    use throng_engine::Now;

    #[test]
    fn a_burst_passes_and_one_more_waits_for_a_token() {
        let mut bucket = Bucket::default();
        let now = Now(5_000_000_000);
        let passed = (0..100).filter(|_| bucket.take(now, 20, 60)).count();
        assert_eq!(passed, 60);
        assert!(!bucket.take(now.plus_ms(49), 20, 60));
        assert!(bucket.take(now.plus_ms(50), 20, 60));
        assert!(!bucket.take(now.plus_ms(50), 20, 60));
    }

    #[test]
    fn a_debt_closes_the_budget_until_it_is_paid() {
        let mut budget = Budget::default();
        let now = Now(1_000_000_000);
        budget.spend(now, 1000, 1000);
        assert!(!budget.is_open(now.plus_ms(949)));
        assert!(budget.is_open(now.plus_ms(950)));
    }
}

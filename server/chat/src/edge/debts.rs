//! What sessions that ended had used of their rates: the next session of the user goes on from
//! there, so that reconnecting buys nothing.

use super::*;

/// Sessions remembered in one window.
const DEBTS_MAX: usize = 65_536;

/// The buckets of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    pub(super) publishes: Bucket,
    pub(super) joins: Bucket,
}

/// In two generations, each of which lasts as long as any bucket takes to fill up.
pub(super) struct Debts {
    window_ms: u64,
    ends_at: Now,
    recent: Map<UserId, Vec<Rates>>,
    older: Map<UserId, Vec<Rates>>,
    len: usize,
}

impl Debts {
    pub(super) fn new(settings: &Settings, keyed: &Keyed) -> Debts {
        let fills_in_ms =
            |per_s: u32, burst: u32| u64::from(burst.max(1)) * 1_000 / u64::from(per_s.max(1)) + 1;
        let publishes = fills_in_ms(settings.publish_per_s, settings.publish_burst);
        let joins = fills_in_ms(settings.join_per_s, settings.join_burst);
        Debts {
            window_ms: publishes.max(joins),
            ends_at: Now::default(),
            recent: Map::with_hasher(keyed.clone()),
            older: Map::with_hasher(keyed.clone()),
            len: 0,
        }
    }

    fn forget_paid(&mut self, now: Now) {
        if self.ends_at <= now {
            self.older =
                std::mem::replace(&mut self.recent, Map::with_hasher(self.older.hasher().clone()));
            self.ends_at = now.plus_ms(self.window_ms);
            self.len = 0;
        }
    }

    /// A session of the user ends. False if there is no space to remember what it used.
    pub(super) fn leave(&mut self, now: Now, user: UserId, rates: Rates) -> bool {
        self.forget_paid(now);
        if !rates.owes(now) {
            return true;
        }
        if self.len >= DEBTS_MAX {
            return false;
        }
        self.len += 1;
        self.recent.entry(user).or_default().push(rates);
        true
    }

    /// A session of the user begins: it takes over from one that ended.
    pub(super) fn take_over(&mut self, now: Now, user: UserId, rates: &mut Rates) {
        self.forget_paid(now);
        for debts in [&mut self.recent, &mut self.older] {
            let Some(left) = debts.get_mut(&user) else { continue };
            let last = left.pop();
            if left.is_empty() {
                debts.remove(&user);
            }
            if let Some(last) = last.filter(|last| last.owes(now)) {
                rates.publishes.take_over(last.publishes);
                rates.joins.take_over(last.joins);
                return;
            }
        }
    }
}

impl Rates {
    fn owes(&self, now: Now) -> bool {
        !(self.publishes.is_full(now) && self.joins.is_full(now))
    }
}

#[cfg(test)]
mod tests {
    use super::{DEBTS_MAX, Debts, Rates};
    use crate::ids::UserId;
    use crate::settings::Settings;
    use throng_engine::Keyed;
    use throng_engine::Now;

    fn debts() -> Debts {
        Debts::new(&Settings::default(), &Keyed::new([7; 16]))
    }

    fn used(now: Now, count: u32) -> Rates {
        let mut rates = Rates::default();
        for _ in 0..count {
            assert!(rates.publishes.take(now, 20, 60));
        }
        rates
    }

    /// How many more publishes pass.
    fn left(mut rates: Rates, now: Now) -> usize {
        (0..100).filter(|_| rates.publishes.take(now, 20, 60)).count()
    }

    fn next(debts: &mut Debts, now: Now) -> usize {
        let mut rates = Rates::default();
        debts.take_over(now, UserId(1), &mut rates);
        left(rates, now)
    }

    #[test]
    fn each_session_that_ended_is_gone_on_from_once() {
        let (mut debts, now) = (debts(), Now(5_000_000_000));
        assert!(debts.leave(now, UserId(1), used(now, 60)));
        assert!(debts.leave(now, UserId(1), used(now, 50)));
        let mut sessions = [next(&mut debts, now), next(&mut debts, now), next(&mut debts, now)];
        sessions.sort_unstable();
        assert_eq!(sessions, [0, 10, 60]);
    }

    #[test]
    fn a_debt_outlives_its_window_until_it_is_paid_and_no_longer() {
        let (mut debts, start) = (debts(), Now(5_000_000_000));
        // The window begins; just before its end a session has used everything.
        debts.leave(start, UserId(2), used(start, 1));
        let late = start.plus_ms(debts.window_ms - 1);
        debts.leave(late, UserId(1), used(late, 60));
        let now = late.plus_ms(1_000);
        assert_eq!(next(&mut debts, now), 20);
        debts.leave(now, UserId(1), used(now, 60));
        assert_eq!(next(&mut debts, now.plus_ms(3_000)), 60);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut debts, now) = (debts(), Now(5_000_000_000));
        for user in 0..DEBTS_MAX {
            assert!(debts.leave(now, UserId(user as u32), used(now, 1)));
        }
        assert!(!debts.leave(now, UserId(0), used(now, 1)));
        assert!(debts.leave(now, UserId(0), Rates::default()), "there is nothing to remember");
        assert!(debts.leave(now.plus_ms(debts.window_ms), UserId(0), used(now, 60)));
    }
}

//! What a user may do in a time, whatever sessions and shards they do it on: one table for all shards.
//!
//! Each user has a [`Bucket`] in one word, with the upper half of their id. Shards share the words and no
//! lock: taking is one exchange.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_engine::{Bucket, Now, Rate, Sent};

use crate::ids::UserId;
use crate::settings::Settings;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
const DAY_NS: u64 = 24 * 60 * MINUTE_NS;

/// Tokens that the sessions of a user may show at once, besides the one that each has.
const OTHER_TOKENS_BURST: u32 = 100;

/// Users that share a set differ in the upper 16 bits of their ids.
const SETS: usize = 1 << 16;
/// Users of one set who are remembered.
const WAYS: usize = 4;
/// Sets that are made together, when the first of their users comes.
const PAGE_SETS: usize = 256;
/// A word is the upper half of the user's id, and a time in microseconds: enough for eight years.
const TICK_NS: u64 = 1_000;
const TIME_BITS: u32 = 48;
const TIME_MAX: u64 = (1 << TIME_BITS) - 1;
/// Exchanges that others were faster in, until the user is given what they ask for.
const TRIES_MAX: usize = 64;

/// The rates of all users of a process.
#[derive(Debug)]
pub struct Quotas {
    publishes: Quota,
    joins: Quota,
    uploads: Quota,
    bytes: Quota,
    other_tokens: Quota,
    displaced: AtomicU64,
}

/// Why a user has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Too many in a short time.
    Rate { wait_s: u32 },
    /// Too many bytes in a day.
    Bytes { wait_s: u32 },
}

impl Exceeded {
    /// Until the same would be allowed.
    #[must_use]
    pub fn wait_s(self) -> u32 {
        match self {
            Exceeded::Rate { wait_s } | Exceeded::Bytes { wait_s } => wait_s,
        }
    }
}

/// One bucket for each user.
#[derive(Debug)]
struct Quota {
    /// `None` is no limit.
    rate: Option<Rate>,
    pages: Box<[OnceLock<Page>]>,
}

type Page = Box<[AtomicU64]>;

impl Quotas {
    /// Full buckets for everyone.
    #[must_use]
    pub fn new(settings: &Settings) -> Quotas {
        let rate =
            |units: u32, period_ns, burst| Rate::in_ticks(units.into(), period_ns, burst, TICK_NS);
        let bytes_per_day = u64::from(settings.user_mib_per_day) << 20;
        let bytes = Rate::in_ticks(bytes_per_day, DAY_NS, 1, TICK_NS);
        let uploads = settings.uploads_per_minute;
        Quotas {
            publishes: Quota::new(rate(settings.publish_per_s, SECOND_NS, settings.publish_burst)),
            joins: Quota::new(rate(settings.join_per_s, SECOND_NS, settings.join_burst)),
            uploads: Quota::new(rate(uploads, MINUTE_NS, uploads)),
            other_tokens: Quota::new(rate(
                settings.invalid_tokens_per_s,
                SECOND_NS,
                OTHER_TOKENS_BURST,
            )),
            bytes: Quota::new(bytes.map(|rate| rate.with_burst_ns(DAY_NS))),
            displaced: AtomicU64::new(0),
        }
    }

    pub(crate) fn take_publish(&self, sent: impl Into<Sent>, user: UserId) -> Result<(), Exceeded> {
        self.take(&self.publishes, sent, user, 1).map_err(|wait_s| Exceeded::Rate { wait_s })
    }

    pub(crate) fn take_join(&self, sent: impl Into<Sent>, user: UserId) -> Result<(), Exceeded> {
        self.take(&self.joins, sent, user, 1).map_err(|wait_s| Exceeded::Rate { wait_s })
    }

    /// A token that a session of this user shows instead of its own.
    pub(crate) fn take_other_token(
        &self,
        sent: impl Into<Sent>,
        user: UserId,
    ) -> Result<(), Exceeded> {
        self.take(&self.other_tokens, sent, user, 1).map_err(|wait_s| Exceeded::Rate { wait_s })
    }

    /// Bytes that a user writes.
    pub(crate) fn take_bytes(
        &self,
        sent: impl Into<Sent>,
        user: UserId,
        bytes: u64,
    ) -> Result<(), Exceeded> {
        self.take(&self.bytes, sent, user, bytes).map_err(|wait_s| Exceeded::Bytes { wait_s })
    }

    /// An image of so many bytes.
    ///
    /// # Errors
    /// Nothing is taken from the bytes if there were too many images, and one image if there were too
    /// many bytes.
    pub fn take_upload(
        &self,
        sent: impl Into<Sent>,
        user: UserId,
        bytes: u64,
    ) -> Result<(), Exceeded> {
        let sent = sent.into();
        let uploads = self.take(&self.uploads, sent, user, 1);
        uploads.map_err(|wait_s| Exceeded::Rate { wait_s })?;
        self.take_bytes(sent, user, bytes)
    }

    /// Undoes [`Quotas::take_upload`]: nothing came of it.
    pub(crate) fn give_back_upload(&self, user: UserId, bytes: u64) {
        self.uploads.give_back(user, 1);
        self.bytes.give_back(user, bytes);
    }

    /// Users whose bucket was forgotten before it was full, because others of their set had used more.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Relaxed)
    }

    fn take(
        &self,
        quota: &Quota,
        sent: impl Into<Sent>,
        user: UserId,
        units: u64,
    ) -> Result<(), u32> {
        let taken = quota.take(sent.into(), user, units);
        if taken == Ok(Place::OfAnother) {
            self.displaced.fetch_add(1, Relaxed);
        }
        // Rounded up: who comes back then is served.
        let seconds = |wait_ns: u64| wait_ns.min(DAY_NS).div_ceil(SECOND_NS) as u32;
        taken.map(drop).map_err(seconds)
    }
}

/// Where a bucket was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// The bucket there was not full.
    OfAnother,
}

impl Quota {
    fn new(rate: Option<Rate>) -> Quota {
        Quota { rate, pages: (0..SETS / PAGE_SETS).map(|_| OnceLock::new()).collect() }
    }

    /// Takes units; else answers after how many nanoseconds they could be taken.
    fn take(&self, sent: Sent, user: UserId, units: u64) -> Result<Place, u64> {
        let Some(rate) = self.rate.filter(|_| units > 0) else { return Ok(Place::Free) };
        let ticks = |time: Now| time.0 / TICK_NS;
        let since_ticks = ticks(sent.since);
        let [since, now] = [since_ticks, ticks(sent.now)].map(|ticks| Now(ticks * TICK_NS));
        let (set, tag) = (user.0 as usize % SETS, u64::from(user.0) / SETS as u64);
        let page = self.pages[set / PAGE_SETS]
            .get_or_init(|| (0..PAGE_SETS * WAYS).map(|_| AtomicU64::new(0)).collect());
        let words = &page[set % PAGE_SETS * WAYS..][..WAYS];
        for _ in 0..TRIES_MAX {
            let (word, found) = Quota::choose(words, tag, since_ticks);
            let full_at = found & TIME_MAX;
            let is_own = found >> TIME_BITS == tag;
            // The clock of a shard stands still in a turn: another may have taken everything later than now.
            let mut bucket =
                if is_own { Bucket::new(Now(full_at * TICK_NS)) } else { Bucket::default() };
            bucket.take_sent(&rate, Sent { since, now }, units)?;
            let next = tag << TIME_BITS | (bucket.full_at().0 / TICK_NS).min(TIME_MAX);
            if word.compare_exchange(found, next, Relaxed, Relaxed).is_ok() {
                let is_displaced = !is_own && full_at > since_ticks;
                return Ok(if is_displaced { Place::OfAnother } else { Place::Free });
            }
        }
        Ok(Place::Free)
    }

    /// Gives back units, as far as it is known that the user has taken some.
    fn give_back(&self, user: UserId, units: u64) {
        let Some(rate) = self.rate else { return };
        let (set, tag) = (user.0 as usize % SETS, u64::from(user.0) / SETS as u64);
        let Some(page) = self.pages[set / PAGE_SETS].get() else { return };
        let words = &page[set % PAGE_SETS * WAYS..][..WAYS];
        let is_own = |value: u64| value >> TIME_BITS == tag;
        let own = words.iter().filter(|word| is_own(word.load(Relaxed)));
        // A word that nobody uses looks like that of a user who owes nothing.
        let Some(word) = own.max_by_key(|word| word.load(Relaxed)) else { return };
        // Another user may have taken the word meanwhile, since this one's bucket was full.
        let _: Result<u64, u64> = word.fetch_update(Relaxed, Relaxed, |found| {
            let mut bucket = Bucket::new(Now((found & TIME_MAX) * TICK_NS));
            bucket.give_back(&rate, units);
            is_own(found).then(|| (tag << TIME_BITS) | (bucket.full_at().0 / TICK_NS))
        });
    }

    /// The user's own word, else the one whose bucket is fullest, and its value. To be forgotten by
    /// coming back a user would need others in their set who have used more than they have.
    fn choose(words: &[AtomicU64], tag: u64, since_ticks: u64) -> (&AtomicU64, u64) {
        let mut fullest = (&words[0], words[0].load(Relaxed));
        for word in words {
            let value = word.load(Relaxed);
            if value >> TIME_BITS == tag && value & TIME_MAX > since_ticks {
                return (word, value);
            }
            if value & TIME_MAX < fullest.1 & TIME_MAX {
                fullest = (word, value);
            }
        }
        fullest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now(5_000_000_000);

    fn quotas() -> Quotas {
        Quotas::new(&Settings { user_mib_per_day: 1, ..Settings::default() })
    }

    #[test]
    fn a_burst_passes_and_one_more_waits_for_a_token() {
        for per_s in [20, 30, 7] {
            let settings = Settings { publish_per_s: per_s, ..Settings::default() };
            let quotas = Quotas::new(&settings);
            let take = |now| quotas.take_publish(now, UserId(1)).is_ok();
            assert_eq!((0..100).filter(|_| take(NOW)).count(), 60, "{per_s}");
            let token_ms = 1000_u64.div_ceil(per_s.into());
            assert!(!take(NOW.plus_ms(token_ms - 1)));
            assert!(take(NOW.plus_ms(token_ms)));
            assert!(!take(NOW.plus_ms(token_ms)));
        }
    }

    #[test]
    fn what_users_sent_in_a_pause_has_its_rate() {
        let quotas = quotas();
        let sent = Sent { since: NOW, now: NOW.plus_ms(60_000) };
        let accepted = |sent: Sent| {
            (0..5_000).filter(|_| quotas.take_publish(sent, UserId(1)).is_ok()).count()
        };
        assert_eq!(accepted(sent), 60 + 60 * 20, "a burst, and what came back meanwhile");
        assert_eq!(accepted(sent), 0, "once");
        assert_eq!(accepted(sent.now.plus_ms(1_000).into()), 20);
    }

    #[test]
    fn a_shard_whose_clock_is_behind_takes_no_more() {
        let quotas = quotas();
        let ahead = NOW.plus_ms(40);
        (0..60).for_each(|_| quotas.take_publish(ahead, UserId(1)).expect("within the burst"));
        assert_eq!(quotas.take_publish(NOW, UserId(1)), Err(Exceeded::Rate { wait_s: 1 }));
        assert_eq!(
            quotas.take_upload(NOW, UserId(1), u64::MAX),
            Err(Exceeded::Bytes { wait_s: 86_400 })
        );
    }

    #[test]
    fn each_user_has_a_bucket_and_nobody_elses() {
        let quotas = quotas();
        // All of one set, and of the next.
        let users = [1, 1 + (1 << 16), 1 + (2 << 16), 1 + (3 << 16), 2].map(UserId);
        for user in users {
            assert_eq!((0..100).filter(|_| quotas.take_publish(NOW, user).is_ok()).count(), 60);
        }
        for user in users {
            assert!(quotas.take_publish(NOW, user).is_err());
        }
        assert_eq!(quotas.displaced(), 0);
    }

    #[test]
    fn of_more_users_than_fit_the_one_who_used_least_is_forgotten() {
        let quotas = quotas();
        let user = |n: u32| UserId(1 + (n << 16));
        for n in 0..4 {
            for _ in 0..=n {
                quotas.take_publish(NOW, user(n)).expect("within the burst");
            }
        }
        quotas.take_publish(NOW, user(4)).expect("within the burst");
        assert_eq!(quotas.displaced(), 1);
        let left = |n| (0..100).filter(|_| quotas.take_publish(NOW, user(n)).is_ok()).count();
        assert_eq!((left(3), left(2), left(1)), (56, 57, 58));
        // A full bucket is nothing to remember.
        let later = NOW.plus_ms(10_000);
        (10..14).for_each(|n| quotas.take_publish(later, user(n)).expect("within the burst"));
        assert_eq!(quotas.displaced(), 1);
    }

    #[test]
    fn the_bytes_of_a_day_come_back_evenly() {
        let quotas = quotas();
        let take = |now, bytes| quotas.take_bytes(now, UserId(1), bytes);
        assert_eq!(take(NOW, (1 << 20) + 1), Err(Exceeded::Bytes { wait_s: 1 }));
        assert_eq!(take(NOW, 1 << 19), Ok(()));
        assert_eq!(take(NOW, 1 << 19), Ok(()));
        let Err(Exceeded::Bytes { wait_s }) = take(NOW, 1 << 18) else { panic!("it is used up") };
        assert_eq!(wait_s, 24 * 60 * 60 / 4);
        let free_at = NOW.plus_ms(u64::from(wait_s) * 1000);
        assert!(take(Now(free_at.0 - 1_000_000_000), 1 << 18).is_err());
        assert_eq!(take(free_at, 1 << 18), Ok(()));
        assert_eq!(quotas.take_bytes(NOW, UserId(2), 1 << 20), Ok(()));
    }

    #[test]
    fn images_have_a_rate_besides_their_bytes() {
        let settings = Settings { uploads_per_minute: 6, ..Settings::default() };
        let quotas = Quotas::new(&settings);
        let take = |now| quotas.take_upload(now, UserId(1), 1000);
        (0..6).for_each(|_| assert_eq!(take(NOW), Ok(())));
        assert_eq!(take(NOW), Err(Exceeded::Rate { wait_s: 10 }));
        assert_eq!(take(NOW.plus_ms(10_000)), Ok(()));
    }

    #[test]
    fn an_upload_that_is_given_back_was_none() {
        let settings =
            Settings { uploads_per_minute: 6, user_mib_per_day: 1, ..Settings::default() };
        let quotas = Quotas::new(&settings);
        for user in [0, 1, 1 + (1 << 16)].map(UserId) {
            for _ in 0..100 {
                assert_eq!(quotas.take_upload(NOW, user, 1 << 19), Ok(()));
                quotas.give_back_upload(user, 1 << 19);
            }
            (0..6).for_each(|_| assert_eq!(quotas.take_upload(NOW, user, 1000), Ok(())));
            quotas.give_back_upload(user, 1000);
            assert_eq!(quotas.take_upload(NOW, user, 1000), Ok(()));
            assert_eq!(quotas.take_upload(NOW, user, 1000), Err(Exceeded::Rate { wait_s: 10 }));
        }
        quotas.give_back_upload(UserId(77), 1000);
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let settings = Settings {
            publish_per_s: 0,
            join_per_s: 0,
            uploads_per_minute: 0,
            user_mib_per_day: 0,
            ..Settings::default()
        };
        let quotas = Quotas::new(&settings);
        for _ in 0..10_000 {
            assert!(quotas.take_publish(NOW, UserId(1)).is_ok());
            assert!(quotas.take_join(NOW, UserId(1)).is_ok());
            assert!(quotas.take_upload(NOW, UserId(1), 1 << 40).is_ok());
        }
    }
}

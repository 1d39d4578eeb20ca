//! Attempts to log in, counted per account: who guesses waits longer and longer.
//!
//! An address from which the account has been used before has a count of its own, so that strangers
//! who guess cannot lock the owner out. Names without an account are counted alike, so that the answer
//! does not show which names have one. Kept in memory, as hashes under a key of this process.
//!
//! Spec: REST-27, LIM-86.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use throng_store::{Urgency, email_key};
use throng_wire::http::ClientKey;

use crate::{RestCounters, Settings};

/// Entries of a set, and sets of a table.
const WAYS: usize = 8;
const SETS: u64 = 8192;
/// An account is forgotten so long after the last wrong password.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// For an attempt that has to wait for the outcome of others.
const OTHERS_WAIT: Duration = Duration::from_secs(1);

pub(crate) struct Attempts {
    failures_max: u32,
    wait_max: Duration,
    key: RandomState,
    tables: Mutex<Tables>,
    counters: Arc<RestCounters>,
}

#[derive(Default)]
struct Tables {
    /// Of addresses that are not known.
    accounts: Table,
    /// Of pairs of an account and an address from which it has been used.
    known: Table,
}

/// A bounded map by hash. A set that is full gives up the entry that `rank` puts lowest.
#[derive(Default)]
struct Table(HashMap<u64, Vec<Entry>>);

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    /// Wrong passwords in a row.
    failures: u32,
    /// Attempts whose outcome is not known yet.
    under_way: u32,
    touched: Instant,
    /// No attempt is admitted before.
    open_at: Instant,
}

/// An attempt that was admitted. Dropped without an outcome, it counts as if it had not been.
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    key: u64,
    pair: u64,
    urgency: Urgency,
    is_over: bool,
}

impl Attempts {
    pub fn new(settings: &Settings, counters: Arc<RestCounters>) -> Self {
        Self {
            failures_max: settings.failures_max,
            wait_max: Duration::from_secs(settings.wait_s_max.into()),
            key: RandomState::new(),
            tables: Mutex::default(),
            counters,
        }
    }

    /// Admits an attempt, or answers how long the client has to wait.
    pub fn begin(&self, name: &str, client: ClientKey) -> Result<Attempt<'_>, Duration> {
        self.begin_at(name, client, Instant::now())
    }

    fn begin_at(
        &self,
        name: &str,
        client: ClientKey,
        now: Instant,
    ) -> Result<Attempt<'_>, Duration> {
        let (account, pair) = self.keys(name, client);
        let mut attempt =
            Attempt { attempts: self, key: account, pair, urgency: Urgency::Other, is_over: false };
        let mut tables = self.lock();
        let entry = match tables.known.find(pair) {
            Some(entry) => {
                (attempt.key, attempt.urgency) = (pair, Urgency::Known);
                entry
            }
            None => tables.accounts.entry(account, now, &self.counters, Entry::weight),
        };
        if self.failures_max > 0
            && let Err(wait) = entry.admit(now, self.failures_max)
        {
            attempt.is_over = true;
            return Err(wait);
        }
        entry.under_way += 1;
        entry.touched = now;
        Ok(attempt)
    }

    /// The account is used from this address by someone who has shown a password or a token.
    pub fn know(&self, name: &str, client: ClientKey) {
        let (_, pair) = self.keys(name, client);
        self.remember(pair, Instant::now());
    }

    fn remember(&self, pair: u64, now: Instant) {
        self.lock().known.entry(pair, now, &self.counters, Entry::age).touched = now;
    }

    /// The keys of the account, and of the account at this address.
    fn keys(&self, name: &str, client: ClientKey) -> (u64, u64) {
        let name = email_key(name);
        (self.key.hash_one(&name), self.key.hash_one((&name, client)))
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// 1 s after the last wrong password that was free, then twice as long each time.
    fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(self.failures_max).min(31);
        Duration::from_secs(1 << doublings).min(self.wait_max)
    }
}

impl Attempt<'_> {
    pub fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// The password was wrong.
    pub fn wrong(mut self) {
        self.wrong_at(Instant::now());
    }

    fn wrong_at(&mut self, now: Instant) {
        let attempts = self.attempts;
        self.end(now, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            if entry.failures >= attempts.failures_max {
                entry.open_at = now + attempts.wait(entry.failures);
            }
        });
    }

    /// The password was right: the address is known from now on.
    pub fn right(mut self) {
        self.right_at(Instant::now());
    }

    fn right_at(&mut self, now: Instant) {
        let attempts = self.attempts;
        let is_known = self.urgency == Urgency::Known;
        self.end(now, |entry| {
            // Who guesses goes on where they were when the owner comes from a new address.
            if is_known || entry.failures < attempts.failures_max {
                entry.failures = 0;
            }
        });
        attempts.remember(self.pair, now);
    }

    fn end(&mut self, now: Instant, outcome: impl FnOnce(&mut Entry)) {
        self.is_over = true;
        let mut tables = self.attempts.lock();
        let counters = &self.attempts.counters;
        // It may have been given up meanwhile.
        let entry = match self.urgency {
            Urgency::Known => tables.known.entry(self.key, now, counters, Entry::age),
            Urgency::Other => tables.accounts.entry(self.key, now, counters, Entry::weight),
        };
        entry.under_way = entry.under_way.saturating_sub(1);
        entry.touched = now;
        outcome(entry);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Instant::now(), |_| ());
        }
    }
}

impl Entry {
    /// Attempts under way count as wrong ones, or many at once would all be free.
    fn admit(&mut self, now: Instant, failures_max: u32) -> Result<(), Duration> {
        if now.duration_since(self.touched) >= FORGOTTEN {
            self.failures = 0;
        }
        if self.open_at > now {
            return Err(self.open_at - now);
        }
        let at_once_max = failures_max.saturating_sub(self.failures).max(1);
        if self.under_way >= at_once_max { Err(OTHERS_WAIT) } else { Ok(()) }
    }

    /// To remove a count from its set, one needs as many wrong passwords for eight others there; which
    /// names share a set is secret.
    fn weight(&self, _: Instant) -> u64 {
        u64::from(self.failures) + u64::from(self.under_way)
    }

    /// The address that was not used for longest is given up.
    fn age(&self, now: Instant) -> u64 {
        u64::MAX - u64::try_from(now.duration_since(self.touched).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Table {
    fn find(&mut self, key: u64) -> Option<&mut Entry> {
        self.0.get_mut(&(key % SETS))?.iter_mut().find(|entry| entry.key == key)
    }

    fn entry(
        &mut self,
        key: u64,
        now: Instant,
        counters: &RestCounters,
        rank: fn(&Entry, Instant) -> u64,
    ) -> &mut Entry {
        let set = self.0.entry(key % SETS).or_default();
        let index = set.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let new = Entry { key, failures: 0, under_way: 0, touched: now, open_at: now };
            if set.len() < WAYS {
                set.push(new);
                return set.len() - 1;
            }
            let ranks = set.iter().enumerate().map(|(index, entry)| (rank(entry, now), index));
            let (_, index) = ranks.min().expect("a full set has entries");
            counters.login_counts_given_up.fetch_add(1, Relaxed);
            set[index] = new;
            index
        });
        &mut set[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ann@example.org";

    fn attempts(failures_max: u32) -> Attempts {
        let settings = Settings { failures_max, wait_s_max: 60, ..Settings::default() };
        Attempts::new(&settings, Arc::default())
    }

    fn client(n: u32) -> ClientKey {
        std::net::IpAddr::from(n.to_be_bytes()).into()
    }

    /// Seconds until the next attempt, after a wrong one that was admitted.
    fn guess(attempts: &Attempts, from: u32, now: Instant) -> Result<(), u64> {
        let begun = attempts.begin_at(NAME, client(from), now);
        begun.map(|mut attempt| attempt.wrong_at(now)).map_err(|wait| wait.as_secs())
    }

    #[test]
    fn beyond_the_free_ones_each_wrong_password_doubles_the_wait() {
        let (attempts, mut now) = (attempts(3), Instant::now());
        for from in 0..3 {
            assert_eq!(guess(&attempts, from, now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(guess(&attempts, 99, now), Err(wait));
            now += Duration::from_secs(wait) - Duration::from_millis(1);
            assert!(guess(&attempts, 99, now).is_err(), "not before {wait} s");
            now += Duration::from_millis(1);
            assert_eq!(guess(&attempts, 98, now), Ok(()));
        }
        now += FORGOTTEN;
        assert_eq!((0..4).filter(|_| guess(&attempts, 1, now).is_ok()).count(), 3);
    }

    #[test]
    fn attempts_under_way_are_no_free_ones() {
        let attempts = attempts(3);
        let under_way: Vec<_> = (0..3).map(|from| attempts.begin(NAME, client(from))).collect();
        assert!(under_way.iter().all(Result::is_ok));
        assert_eq!(attempts.begin(NAME, client(9)).err(), Some(OTHERS_WAIT));
        assert!(attempts.begin("bob@example.org", client(9)).is_ok(), "another account");
        drop(under_way);
        assert!(attempts.begin(NAME, client(9)).is_ok(), "they had no outcome");
    }

    #[test]
    fn a_known_address_counts_for_itself_and_spelling_does_not_matter() {
        let (attempts, now) = (attempts(3), Instant::now());
        let owner = client(7);
        attempts.begin_at("ANN@example.org", owner, now).expect("admitted").right_at(now);
        (0..3).for_each(|from| assert_eq!(guess(&attempts, from, now), Ok(())));
        assert_eq!(guess(&attempts, 4, now), Err(1));
        let mut attempt = attempts.begin_at(NAME, owner, now).expect("the owner is let in");
        assert_eq!(attempt.urgency(), Urgency::Known);
        attempt.right_at(now);
        assert_eq!(guess(&attempts, 4, now), Err(1), "which is no new start for those who guess");
        (0..3).for_each(|_| assert_eq!(guess(&attempts, 7, now), Ok(())));
        assert_eq!(guess(&attempts, 7, now), Err(1), "a known address may not guess either");
    }

    #[test]
    fn a_right_password_clears_what_was_mistyped() {
        let (attempts, now) = (attempts(3), Instant::now());
        (0..2).for_each(|_| assert_eq!(guess(&attempts, 1, now), Ok(())));
        attempts.begin_at(NAME, client(2), now).expect("admitted").right_at(now);
        assert_eq!((0..4).filter(|_| guess(&attempts, 1, now).is_ok()).count(), 3);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let (attempts, now) = (attempts(0), Instant::now());
        assert!((0..1000).all(|from| guess(&attempts, from, now).is_ok()));
    }

    #[test]
    fn invented_names_neither_grow_the_tables_nor_free_an_account() {
        let (attempts, now) = (attempts(3), Instant::now());
        (0..3).for_each(|from| assert_eq!(guess(&attempts, from, now), Ok(())));
        for invented in 0..200_000 {
            let name = format!("{invented}@example.org");
            let begun = attempts.begin_at(&name, client(1), now);
            begun.expect("a name of its own").wrong_at(now);
        }
        let count: usize = attempts.lock().accounts.0.values().map(Vec::len).sum();
        assert!((60_000..=WAYS * SETS as usize).contains(&count), "{count}");
        assert!(attempts.counters.login_counts_given_up.load(Relaxed) > 100_000);
        assert_eq!(guess(&attempts, 4, now), Err(1));
    }

    #[test]
    fn known_addresses_are_bounded_and_the_oldest_go_first() {
        let attempts = attempts(3);
        for n in 0..100_000 {
            attempts.know(NAME, client(n));
        }
        let mut tables = attempts.lock();
        let count: usize = tables.known.0.values().map(Vec::len).sum();
        assert!(count <= WAYS * SETS as usize);
        let (_, newest) = attempts.keys(NAME, client(99_999));
        assert!(tables.known.find(newest).is_some());
    }
}

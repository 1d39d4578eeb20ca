//! Password hashes: argon2id, and bcrypt of imported users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::{Options, PasswordCost, StoreError};

/// Computes hashes off the runtime's threads, a bounded number at once.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    params: Params,
    jobs: Arc<Semaphore>,
    waiters: Arc<AtomicUsize>,
    waiters_max: usize,
    /// Verified against for unknown users, so that they take as long as known ones.
    dummy: Arc<str>,
}

/// Result of a verification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    Wrong,
    Right,
    /// Right, but its stored hash is weaker than a new one, which this is.
    Upgrade(String),
}

impl Passwords {
    pub async fn new(options: &Options) -> Result<Self, StoreError> {
        let params = match options.password_cost {
            PasswordCost::Standard => Params::default(),
            PasswordCost::Cheapest => Params::new(Params::MIN_M_COST, Params::MIN_T_COST, 1, None)
                .expect("the minima are valid parameters"),
        };
        let mut passwords = Self {
            params,
            jobs: Arc::new(Semaphore::new(options.password_jobs.max(1))),
            waiters: Arc::default(),
            waiters_max: options.password_waiters_max,
            dummy: "".into(),
        };
        passwords.dummy = passwords.hash("no account has this password".to_owned()).await?.into();
        Ok(passwords)
    }

    pub async fn hash(&self, password: String) -> Result<String, StoreError> {
        let params = self.params.clone();
        self.run(move || hash_with(&params, &password)).await?
    }

    /// Checks `password` against `stored`; `None` means an unknown user and is always wrong.
    pub async fn verify(
        &self,
        password: String,
        stored: Option<String>,
    ) -> Result<Verification, StoreError> {
        let params = self.params.clone();
        let is_known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.to_string());
        self.run(move || {
            let is_right = matches(&password, &stored);
            if !(is_right && is_known) {
                return Ok(Verification::Wrong);
            }
            if is_weaker(&stored, &params) {
                return hash_with(&params, &password).map(Verification::Upgrade);
            }
            Ok(Verification::Right)
        })
        .await?
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let _waiter = Waiter::enter(&self.waiters, self.waiters_max).ok_or(StoreError::Busy)?;
        let permit = self.jobs.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        // The permit moves into the job: a dropped caller must not let one more job start.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            job()
        })
        .await
        .map_err(|_| StoreError::Closed)
    }
}

/// Counts a caller from its wait to its answer, dropped futures included.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn enter(waiters: &'a AtomicUsize, waiters_max: usize) -> Option<Self> {
        let waiter = Self(waiters);
        (waiters.fetch_add(1, Ordering::Relaxed) < waiters_max).then_some(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hash_with(params: &Params, password: &str) -> Result<String, StoreError> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|_| StoreError::Corrupt("password hash parameters"))
}

/// Whether a stored password hash is bcrypt.
#[must_use]
pub fn is_bcrypt(stored: &str) -> bool {
    ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| stored.starts_with(prefix))
}

fn matches(password: &str, stored: &str) -> bool {
    if is_bcrypt(stored) {
        return bcrypt::verify(password, stored).unwrap_or(false);
    }
    PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Costs only grow: a server started once with cheap hashes must not weaken stored ones.
fn is_weaker(stored: &str, params: &Params) -> bool {
    if is_bcrypt(stored) {
        return true;
    }
    PasswordHash::new(stored)
        .ok()
        .and_then(|hash| Params::try_from(&hash).ok())
        .is_none_or(|old| old.m_cost() < params.m_cost() || old.t_cost() < params.t_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Params {
        Params::new(Params::MIN_M_COST, Params::MIN_T_COST, 1, None).expect("minima")
    }

    #[tokio::test]
    async fn bcrypt_of_php_is_verified_and_upgraded() {
        let options = Options { password_cost: PasswordCost::Cheapest, ..Options::new("unused") };
        let passwords = Passwords::new(&options).await.expect("passwords");
        // The crypt_blowfish test vector, under PHP's and Python's name of the same algorithm.
        for prefix in ["$2y$", "$2b$"] {
            let stored =
                format!("{prefix}05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
            let right = passwords.verify("U*U".into(), Some(stored.clone())).await.expect("run");
            let Verification::Upgrade(upgraded) = right else { panic!("{right:?}") };
            assert!(upgraded.starts_with("$argon2id$v=19$"));
            let again = passwords.verify("U*U".into(), Some(upgraded)).await.expect("run");
            assert_eq!(again, Verification::Right);
            let wrong = passwords.verify("U*V".into(), Some(stored)).await.expect("run");
            assert_eq!(wrong, Verification::Wrong);
        }
    }

    #[tokio::test]
    async fn the_dummy_password_opens_nothing() {
        let options = Options { password_cost: PasswordCost::Cheapest, ..Options::new("unused") };
        let passwords = Passwords::new(&options).await.expect("passwords");
        let verification = passwords.verify("no account has this password".into(), None).await;
        assert_eq!(verification.expect("run"), Verification::Wrong);
    }

    #[tokio::test]
    async fn a_waiter_beyond_the_bound_is_refused() {
        let options = Options {
            password_cost: PasswordCost::Cheapest,
            password_waiters_max: 1,
            ..Options::new("unused")
        };
        let passwords = Passwords::new(&options).await.expect("passwords");
        // While every job's permit is out, the first caller waits for certain.
        let jobs = options.password_jobs as u32;
        let permits = passwords.jobs.clone().acquire_many_owned(jobs).await.expect("open");
        let (first, ()) = tokio::join!(passwords.hash("one".into()), async {
            let second = passwords.hash("two".into()).await;
            assert!(matches!(second, Err(StoreError::Busy)));
            drop(permits);
        });
        assert!(first.is_ok());
        assert!(passwords.hash("three".into()).await.is_ok());
    }

    #[test]
    fn an_expensive_hash_is_never_replaced_by_a_cheaper_one() {
        let expensive = hash_with(&Params::default(), "secret").expect("hash");
        let cheap_hash = hash_with(&cheap(), "secret").expect("hash");
        assert!(!is_weaker(&expensive, &cheap()));
        assert!(is_weaker(&cheap_hash, &Params::default()));
        assert!(!is_weaker(&expensive, &Params::default()));
    }
}

//! Why a login fails: counted, and logged for who asks.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_store::StoreError;

use crate::RestCounters;
use crate::answer::Refusal;

/// The setting that puts logins off.
pub(crate) const FAILURES_MAX: &str = "login.failures_max";

/// Why a login fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginFailure {
    /// The password is not that of the account, or there is no such account.
    WrongPassword,
    /// Too many wrong passwords for the account.
    PutOff,
    /// The client asks too often.
    Throttled,
    /// A page of another origin asks.
    Origin,
    /// The body is not JSON, is too large or too slow, or has no name and password.
    BadRequest,
    /// Too many passwords wait to be checked, or too many requests are under way.
    Busy,
    /// The store failed.
    Store,
}

impl From<&Refusal> for LoginFailure {
    fn from(refusal: &Refusal) -> LoginFailure {
        match refusal {
            Refusal::Forbidden => LoginFailure::Origin,
            Refusal::TooMany(over) if over.setting == FAILURES_MAX => LoginFailure::PutOff,
            Refusal::TooMany(_) => LoginFailure::Throttled,
            Refusal::Unauthenticated
            | Refusal::TooLarge
            | Refusal::TooSlow
            | Refusal::NotJson
            | Refusal::BadBody => LoginFailure::BadRequest,
            Refusal::TooMuch(_)
            | Refusal::Full(_)
            | Refusal::TooLong
            | Refusal::Store(StoreError::Busy(_)) => LoginFailure::Busy,
            Refusal::Store(_) => LoginFailure::Store,
        }
    }
}

impl LoginFailure {
    /// Counts it, and logs it without the name: people type passwords there.
    pub(crate) fn note(self, counters: &RestCounters, client: IpAddr) {
        let (reason, counter) = self.counted(counters);
        counter.fetch_add(1, Relaxed);
        tracing::debug!(%client, reason, "a login failed");
    }

    fn counted(self, counters: &RestCounters) -> (&'static str, &AtomicU64) {
        match self {
            LoginFailure::WrongPassword => ("wrong_password", &counters.logins_wrong),
            LoginFailure::PutOff => ("put_off", &counters.logins_put_off),
            LoginFailure::Throttled => ("throttled", &counters.logins_throttled),
            LoginFailure::Origin => ("origin", &counters.logins_of_other_origins),
            LoginFailure::BadRequest => ("bad_request", &counters.logins_malformed),
            LoginFailure::Busy => ("busy", &counters.logins_busy),
            LoginFailure::Store => ("store", &counters.logins_not_stored),
        }
    }
}

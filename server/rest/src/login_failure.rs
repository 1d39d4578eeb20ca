//! Why a login fails: counted, and logged for who asks.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_store::StoreError;

use crate::RestCounters;

/// Why a login fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginFailure {
    /// The password is not that of the account, or there is no such account.
    WrongPassword,
    /// Too many wrong passwords for the account.
    PutOff,
    /// The client asks too often.
    Throttled,
    /// Too many passwords wait to be checked.
    Busy,
    /// The store failed.
    Store,
}

impl From<&StoreError> for LoginFailure {
    fn from(error: &StoreError) -> LoginFailure {
        if matches!(error, StoreError::Busy(_)) { LoginFailure::Busy } else { LoginFailure::Store }
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
            LoginFailure::Busy => ("busy", &counters.logins_busy),
            LoginFailure::Store => ("store", &counters.logins_not_stored),
        }
    }
}

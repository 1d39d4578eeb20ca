//! Why a login or a registration fails: counted, and logged for who asks.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_store::StoreError;

use crate::RestCounters;
use crate::answer::Refusal;

/// The setting that puts logins off.
pub(crate) const FAILURES_MAX: &str = "login.failures_max";

/// How a client without a token asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRequest {
    Login,
    Registration,
}

/// Why it gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The password is not that of the account, or there is no such account.
    WrongPassword,
    /// There is an account with this name.
    NameTaken,
    /// Too many wrong passwords for the account.
    PutOff,
    /// The client asks too often.
    Throttled,
    /// A page of another origin asks.
    Origin,
    /// The body is not JSON, is too large or too slow, or has not the fields of the request.
    BadRequest,
    /// Too many passwords wait to be hashed, or too many requests are under way.
    Busy,
    /// The store failed.
    Store,
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Failure {
        match refusal {
            Refusal::Forbidden => Failure::Origin,
            Refusal::TooMany(over) if over.setting == FAILURES_MAX => Failure::PutOff,
            Refusal::TooMany(_) => Failure::Throttled,
            Refusal::Unauthenticated
            | Refusal::TooLarge
            | Refusal::TooSlow
            | Refusal::NotJson
            | Refusal::BadBody => Failure::BadRequest,
            Refusal::TooMuch(_)
            | Refusal::Full(_)
            | Refusal::TooLong
            | Refusal::Store(StoreError::Busy(_)) => Failure::Busy,
            Refusal::Store(_) => Failure::Store,
        }
    }
}

impl TokenRequest {
    /// What a request for this path asks for; `None`: something else.
    pub(crate) fn at(path: &str) -> Option<TokenRequest> {
        match path {
            "/api/login" => Some(TokenRequest::Login),
            "/api/register" => Some(TokenRequest::Registration),
            _ => None,
        }
    }

    /// Counts a failure, and logs it without the name: people type passwords there.
    pub(crate) fn failed(self, why: Failure, counters: &RestCounters, client: IpAddr) {
        let (reason, counter) = self.counted(why, counters);
        counter.fetch_add(1, Relaxed);
        match self {
            TokenRequest::Login => tracing::debug!(%client, reason, "a login failed"),
            TokenRequest::Registration => tracing::debug!(%client, reason, "a registration failed"),
        }
    }

    fn counted(self, why: Failure, counters: &RestCounters) -> (&'static str, &AtomicU64) {
        use TokenRequest::{Login, Registration};
        match (self, why) {
            (Login, Failure::WrongPassword) => ("wrong_password", &counters.logins_wrong),
            (Login, Failure::PutOff) => ("put_off", &counters.logins_put_off),
            (Login, Failure::Throttled) => ("throttled", &counters.logins_throttled),
            (Login, Failure::Origin) => ("origin", &counters.logins_of_other_origins),
            (Login, Failure::BadRequest) => ("bad_request", &counters.logins_malformed),
            (Login, Failure::Busy) => ("busy", &counters.logins_busy),
            (Login, Failure::Store) => ("store", &counters.logins_not_stored),
            (Registration, Failure::NameTaken) => {
                ("name_taken", &counters.registrations_of_taken_names)
            }
            (Registration, Failure::Throttled) => ("throttled", &counters.registrations_throttled),
            (Registration, Failure::Origin) => ("origin", &counters.registrations_of_other_origins),
            (Registration, Failure::BadRequest) => {
                ("bad_request", &counters.registrations_malformed)
            }
            (Registration, Failure::Busy) => ("busy", &counters.registrations_busy),
            (Registration, Failure::Store) => ("store", &counters.registrations_not_stored),
            (Login, Failure::NameTaken) => unreachable!("a login takes no name"),
            (Registration, Failure::WrongPassword | Failure::PutOff) => {
                unreachable!("a registration tries no password of an account")
            }
        }
    }
}

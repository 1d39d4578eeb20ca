//! What the API counts, besides its requests by route and status.

use std::sync::atomic::AtomicU64;

throng_tables::metrics! {
    /// Counts of the API since the start of the process.
    #[derive(Debug, Default)]
    pub struct RestCounters: AtomicU64, "api_";

    Counter login_counts_given_up "accounts": "Counts of wrong passwords, or known addresses, forgotten \
        to make space.";
    Counter uploads_refused "uploads": "Uploads refused because their user had sent too much.";
    Counter token_lookups_refused "requests": "Requests whose token was not looked up, because their client \
        had shown too many that are not valid.";
    Gauge bodies "bodies": "Bodies of requests that are arriving, or that are being handled.";
    Gauge bodies_bytes "bytes": "Bytes of these bodies, and 32 KiB for each.";

    [labelled]
    Counter logins_failed "logins": "Logins that failed, by why. wrong_password: or no such account; put_off: \
        too many wrong passwords for the account; throttled: the client is over http.api_per_minute; origin: \
        a page of another origin asked; bad_request: no JSON, or without a name and a password; busy: too many \
        passwords waited to be checked, or too many requests were under way; store: the database failed." {
        logins_wrong: reason = "wrong_password";
        logins_put_off: reason = "put_off";
        logins_throttled: reason = "throttled";
        logins_of_other_origins: reason = "origin";
        logins_malformed: reason = "bad_request";
        logins_busy: reason = "busy";
        logins_not_stored: reason = "store";
    }
    Counter registrations_failed "registrations": "Registrations that failed, by why. name_taken: there is an \
        account with this name; throttled: the client is over http.api_per_minute; origin: a page of another \
        origin asked; bad_request: no JSON, or a field is missing or not valid; busy: too many passwords waited \
        to be hashed, or too many requests were under way; store: the database failed." {
        registrations_of_taken_names: reason = "name_taken";
        registrations_throttled: reason = "throttled";
        registrations_of_other_origins: reason = "origin";
        registrations_malformed: reason = "bad_request";
        registrations_busy: reason = "busy";
        registrations_not_stored: reason = "store";
    }
    Counter bodies_given_up "bodies": "Bodies given up before they were whole, by why; slow: they came \
        slower than limits.bytes_per_s_min; user, users, anonymous: one user, all users, or clients whose \
        user is not known had too much under way." {
        bodies_too_slow: why = "slow";
        bodies_of_user: why = "user";
        bodies_of_users: why = "users";
        bodies_of_strangers: why = "anonymous";
    }
}

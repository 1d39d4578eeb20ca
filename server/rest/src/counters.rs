//! What the API counts, besides its requests by route and status.

use std::sync::atomic::AtomicU64;

throng_tables::metrics! {
    /// Counts of the API since the start of the process.
    #[derive(Debug, Default)]
    pub struct RestCounters: AtomicU64, "api_";

    Counter logins_put_off "logins": "Logins refused because there were too many wrong passwords for \
        their account.";
    Counter login_counts_given_up "accounts": "Counts of wrong passwords, or known addresses, forgotten \
        to make space.";
    Counter uploads_refused "uploads": "Uploads refused because their user had sent too much.";
}

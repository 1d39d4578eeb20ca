//! What a session makes its shard keep and do: the values that [`booking`](super::booking),
//! [`work`](super::work) and [`eviction`](super::eviction) act on.

use super::owners::Owner;
use super::trust::Trust;
use crate::bucket::Bucket;
use crate::now::Now;

pub(crate) struct Account {
    pub(super) trust: Trust,
    /// Bytes of messages and attachments that are not whole.
    pub(super) unfinished: usize,
    /// Bytes that the application keeps.
    pub(super) kept: usize,
    /// When what is unfinished must be whole; later, the more of it arrives. `u64::MAX`: nothing is.
    pub(super) finish_by: Now,
    /// When the application must know whose session it is. `u64::MAX`: it knows, or need not.
    pub(super) identify_by: Now,
    /// Whose session it is, if the application knows.
    pub(super) owner: Option<Owner>,
    /// The work that the session may cause; its owner has another for all of theirs.
    pub(super) work: Bucket,
    /// Units of work since it last waited, while its client address owes.
    pub(super) unpaid: u32,
    /// When they are forgotten.
    pub(super) free_again_at: Now,
}

impl Account {
    pub(super) fn new(trust: Trust, identify_by: Now) -> Account {
        Account {
            trust,
            unfinished: 0,
            kept: 0,
            finish_by: Now(u64::MAX),
            identify_by,
            owner: None,
            work: Bucket::default(),
            unpaid: 0,
            free_again_at: Now(0),
        }
    }

    pub(super) fn held_in(&self) -> usize {
        self.unfinished + self.kept
    }

    pub(super) fn due(&self) -> Now {
        self.finish_by.min(self.identify_by)
    }
}

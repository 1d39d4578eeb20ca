//! What a session makes its shard keep and do: the values that [`booking`](super::booking),
//! [`work`](super::work) and [`eviction`](super::eviction) act on.

use crate::bucket::Bucket;
use crate::now::Now;
use crate::outbox::Class;

/// How far a session is known; its bounds follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// No user has been named.
    Anonymous,
    /// It has named a user, and the application is finding out whether that is true: its messages
    /// may be as long as those of a known user, but it counts as anonymous.
    Claimed,
    /// Its user is known, or the application knows no users.
    Identified,
}

impl Trust {
    pub(super) fn class(self) -> Class {
        match self {
            Trust::Anonymous | Trust::Claimed => Class::Anonymous,
            Trust::Identified => Class::Identified,
        }
    }
}

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
    /// The work that the session may cause.
    pub(super) work: Bucket,
}

impl Account {
    pub(super) fn new(trust: Trust, identify_by: Now) -> Account {
        Account {
            trust,
            unfinished: 0,
            kept: 0,
            finish_by: Now(u64::MAX),
            identify_by,
            work: Bucket::default(),
        }
    }

    pub(super) fn held_in(&self) -> usize {
        self.unfinished + self.kept
    }

    pub(super) fn due(&self) -> Now {
        self.finish_by.min(self.identify_by)
    }
}

/// Bytes of input, and of answers to polls, that sessions hold on this shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) inbound: usize,
    pub(super) polled: usize,
}

/// Bytes that all sessions of a shard may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) anonymous: usize,
    pub(super) inbound: usize,
    pub(super) outbound: usize,
}

impl Budgets {
    pub(super) fn new(settings: &crate::settings::Settings, shards: u8) -> Budgets {
        let share = |mib: u32| ((mib as usize) << 20) / usize::from(shards);
        Budgets {
            anonymous: share(settings.anonymous.held_mib_max),
            inbound: share(settings.inbound_mib_max),
            outbound: share(settings.outbound_mib_max),
        }
    }
}

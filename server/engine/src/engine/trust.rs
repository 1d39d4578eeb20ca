//! How far it is known whose a session is.

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

    /// The setting that bounds what may wait for one client.
    pub(super) fn outbound_setting(self) -> &'static str {
        match self {
            Trust::Anonymous | Trust::Claimed => "limits.anonymous.outbound_bytes_max",
            Trust::Identified => "limits.outbound_bytes_max",
        }
    }

    /// The setting of the rate of work.
    pub(super) fn work_setting(self) -> &'static str {
        match self {
            Trust::Anonymous | Trust::Claimed => "limits.anonymous.work_per_s",
            Trust::Identified => "limits.work_per_s",
        }
    }
}

//! The sessions on long-polling whose users are not known: so many, of which the oldest of the client address that has
//! most of them goes first.
//!
//! Each costs connections of the HTTP thread, which are on no account of bytes.

use super::trust::Trust;
use super::{Carrier, CloseReason, Engine};
use crate::ids::SessionId;

impl Engine {
    /// The session may be one more. Those that have become known, moved or ended stay listed until there seem to be too
    /// many.
    pub(super) fn list_anonymous_polling(&mut self, id: SessionId) {
        let most = self.budgets.anonymous_polling;
        if most == 0 || !self.is_anonymous_polling(id) {
            return;
        }
        let mut listed = std::mem::take(&mut self.anonymous_polling);
        listed.push_back(id);
        if listed.len() > most {
            listed.retain(|id| self.is_anonymous_polling(*id));
        }
        if listed.len() > most {
            let address = |id: &SessionId| self.live(*id).address.expect("its user is not known");
            let busiest = self.addresses.most_frequent(listed.iter().map(address));
            let oldest = listed.iter().position(|id| address(id) == busiest);
            let oldest = oldest.and_then(|index| listed.remove(index));
            let oldest = oldest.expect("it was counted");
            self.end(oldest, CloseReason::Limit("limits.anonymous.polling_sessions_max"));
            self.counters.polling_displaced += 1;
        }
        self.anonymous_polling = listed;
    }

    /// The same of a session that may be listed from before its user was known. It goes last.
    pub(super) fn list_anonymous_polling_again(&mut self, id: SessionId) {
        self.anonymous_polling.retain(|listed| *listed != id);
        self.list_anonymous_polling(id);
    }

    fn is_anonymous_polling(&self, id: SessionId) -> bool {
        self.session(id).is_some_and(|session| {
            session.trust() != Trust::Identified && matches!(session.carrier, Carrier::Polling(_))
        })
    }

    /// Asserts that all are listed, and no more than there may be.
    pub(super) fn check_anonymous_polling(&self) {
        let most = self.budgets.anonymous_polling;
        if most == 0 {
            return;
        }
        assert!(self.anonymous_polling.len() <= most, "the oldest sessions make place for others");
        let listed = self.anonymous_polling.iter().filter(|id| self.is_anonymous_polling(**id));
        let mut slots: Vec<u32> = listed.map(|id| id.slot()).collect();
        slots.sort_unstable();
        assert!(slots.windows(2).all(|pair| pair[0] < pair[1]), "a session is listed once");
        for session in self.sessions().filter(|session| self.is_anonymous_polling(session.id)) {
            assert!(self.anonymous_polling.contains(&session.id), "it is listed");
        }
    }
}

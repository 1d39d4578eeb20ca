//! Whom the end of a token concerns: looked up, so that a logout costs no look at every session.

use std::collections::BTreeSet;

use crate::ids::{SessionId, TokenHash};

/// Sessions by a token that each has; at most one entry for a session.
///
/// An entry is the first bytes of the token's hash and the session's slot: eight bytes. Two tokens may begin alike, so
/// that who is found here is asked for the whole token.
#[derive(Default)]
pub(super) struct SessionsByToken(BTreeSet<(u32, u32)>);

impl SessionsByToken {
    pub(super) fn insert(&mut self, token: TokenHash, session: SessionId) {
        let is_new = self.0.insert((first_bytes(token), session.slot()));
        assert!(is_new, "a session is listed once");
    }

    pub(super) fn remove(&mut self, token: TokenHash, session: SessionId) {
        let was_listed = self.0.remove(&(first_bytes(token), session.slot()));
        assert!(was_listed, "a session with a token is listed");
    }

    /// Slots of sessions that may have the token: all that do, and those whose token begins alike.
    pub(super) fn slots(&self, token: TokenHash) -> impl Iterator<Item = usize> {
        let first = first_bytes(token);
        self.0.range((first, 0)..=(first, u32::MAX)).map(|(_, slot)| *slot as usize)
    }

    pub(super) fn has(&self, token: TokenHash, session: SessionId) -> bool {
        self.0.contains(&(first_bytes(token), session.slot()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn first_bytes(token: TokenHash) -> u32 {
    let [a, b, c, d, ..] = token.0;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use throng_engine::ShardId;

    use super::*;

    #[test]
    fn tokens_that_begin_alike_are_found_together_and_no_other() {
        let session = |slot| SessionId::new(ShardId(0), slot, 1);
        let token = |first: [u8; 4], last: u8| {
            let mut hash = [last; 32];
            hash[..4].copy_from_slice(&first);
            TokenHash(hash)
        };
        let alike = [token([0, 0, 0, 9], 1), token([0, 0, 0, 9], 2)];
        let others = [token([0, 0, 0, 8], 1), token([0, 0, 1, 9], 1), token([255; 4], 1)];
        let mut sessions = SessionsByToken::default();
        for (slot, token) in (0..).zip(alike.into_iter().chain(others)) {
            sessions.insert(token, session(slot));
        }
        assert_eq!(sessions.slots(alike[0]).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(sessions.slots(others[2]).collect::<Vec<_>>(), [4]);
        sessions.remove(alike[0], session(0));
        assert_eq!(sessions.slots(alike[0]).collect::<Vec<_>>(), [1]);
        assert_eq!((sessions.has(alike[1], session(1)), sessions.len()), (true, 4));
    }

    #[test]
    #[should_panic(expected = "a session is listed once")]
    fn a_session_that_is_listed_already_is_a_bug() {
        let session = SessionId::new(ShardId(0), 1, 1);
        let mut sessions = SessionsByToken::default();
        (0..2).for_each(|_| sessions.insert(TokenHash([7; 32]), session));
    }
}

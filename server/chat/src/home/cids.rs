//! Which messages were published lately, where rooms keep no messages that would show it.
//!
//! Spec: CHAT-90 to CHAT-97.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Cid, RoomId, Seq, UserId};
use crate::settings::Settings;
use throng_engine::Now;

/// How long a message is remembered.
pub(super) const REMEMBERED_MS: u64 = 10 * 60 * 1000;

/// What identifies a message that its author may send again.
pub(super) type Key = (UserId, RoomId, Cid);

#[derive(Default)]
pub(super) struct Cids {
    /// Where each message stands. Ordered by what peers choose, hence no hashing.
    places: BTreeMap<Key, (i64, Seq)>,
    /// When each may be forgotten, oldest first.
    ends: VecDeque<(Now, Key)>,
    per_user: BTreeMap<UserId, u32>,
}

impl Cids {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn place(&self, key: &Key) -> Option<(i64, Seq)> {
        self.places.get(key).copied()
    }

    /// Whether one more message of the user can be remembered. One user cannot use up what all have.
    pub(super) fn takes(&self, user: UserId, settings: &Settings) -> bool {
        let of_user = self.per_user.get(&user).copied().unwrap_or(0);
        self.places.len() < settings.cids_max as usize && of_user < settings.cids_per_user_max
    }

    pub(super) fn remember(&mut self, now: Now, key: Key, place: (i64, Seq)) {
        *self.per_user.entry(key.0).or_default() += 1;
        self.ends.push_back((now.plus_ms(REMEMBERED_MS), key.clone()));
        let before = self.places.insert(key, place);
        assert!(before.is_none(), "a message that is remembered is not published again");
    }

    pub(super) fn forget_old(&mut self, now: Now) {
        while let Some((_, key)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            self.places.remove(&key);
            let of_user = self.per_user.get_mut(&key.0).expect("each message is counted");
            *of_user -= 1;
            if *of_user == 0 {
                self.per_user.remove(&key.0);
            }
        }
    }

    /// Asserts that each message is counted, bounded, and forgotten some day.
    pub(super) fn check(&self, settings: &Settings) {
        assert_eq!(self.places.len(), self.ends.len(), "each message is forgotten some day");
        let counted: u64 = self.per_user.values().map(|count| u64::from(*count)).sum();
        assert_eq!(counted, self.places.len() as u64, "each message is counted");
        assert!(self.places.len() <= settings.cids_max as usize, "client ids are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: u32, cid: &str) -> Key {
        (UserId(user), RoomId(1), Cid::new(cid).expect("a client id"))
    }

    #[test]
    fn a_message_is_remembered_for_ten_minutes() {
        let (mut cids, settings) = (Cids::default(), Settings::default());
        cids.remember(Now(5), key(1, "a"), (7, Seq(3)));
        cids.forget_old(Now(5).plus_ms(REMEMBERED_MS - 1));
        assert_eq!(cids.place(&key(1, "a")), Some((7, Seq(3))));
        assert_eq!(cids.place(&key(2, "a")), None);
        cids.check(&settings);
        cids.forget_old(Now(5).plus_ms(REMEMBERED_MS));
        assert_eq!((cids.place(&key(1, "a")), cids.len(), cids.per_user.len()), (None, 0, 0));
        cids.check(&settings);
    }

    #[test]
    fn at_the_bound_of_a_user_others_are_remembered_and_at_the_bound_of_all_nobody() {
        let mut cids = Cids::default();
        let settings = Settings { cids_max: 3, cids_per_user_max: 2, ..Settings::default() };
        cids.remember(Now(1), key(1, "a"), (1, Seq(1)));
        assert!(cids.takes(UserId(1), &settings));
        cids.remember(Now(1), key(1, "b"), (2, Seq(2)));
        assert!(!cids.takes(UserId(1), &settings));
        assert!(cids.takes(UserId(2), &settings));
        cids.remember(Now(2), key(2, "a"), (3, Seq(3)));
        assert!(!cids.takes(UserId(3), &settings));
        cids.check(&settings);
        cids.forget_old(Now(1).plus_ms(REMEMBERED_MS));
        assert!(cids.takes(UserId(1), &settings) && cids.place(&key(2, "a")).is_some());
    }
}

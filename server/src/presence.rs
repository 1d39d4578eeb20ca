//! Presence as the shards publish it, for the REST API and the metrics.
//!
//! A shard that publishes a change waits while its view is read, so a view is read in parts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_chat::{Presence, RoomId, UserId};
use throng_engine::{Keyed, home_of};
use throng_rest::RoomPresence;

/// Look-ups, or entries copied, while a view is locked: some tens of microseconds.
const PART: usize = 1024;

/// The views of all shards.
#[derive(Clone)]
pub(crate) struct Views {
    shards: Arc<[Arc<Mutex<Presence>>]>,
    keyed: Keyed,
}

impl Views {
    pub(crate) fn new(shards: &Arc<[Arc<Mutex<Presence>>]>, placement: [u8; 16]) -> Views {
        Views { shards: Arc::clone(shards), keyed: Keyed::new(placement) }
    }

    /// How each of the rooms stands, in their order: each is asked of its home alone.
    pub(crate) fn rooms(&self, user: UserId, rooms: &[RoomId]) -> Vec<RoomPresence> {
        let count = u8::try_from(self.shards.len()).expect("the number of shards is a byte");
        let mut by_home = vec![Vec::new(); self.shards.len()];
        for (place, room) in rooms.iter().enumerate() {
            by_home[usize::from(home_of(&self.keyed, *room, count).0)].push((place, *room));
        }
        let mut found = vec![RoomPresence::default(); rooms.len()];
        for (view, asked) in self.shards.iter().zip(&by_home) {
            for part in asked.chunks(PART) {
                let view = lock(view);
                for (place, room) in part {
                    let is_present = view.is_present(user, *room);
                    found[*place] = RoomPresence { online: view.online(*room), is_present };
                }
            }
        }
        found
    }

    /// Users in one room or more. Those who come or go meanwhile may be counted or not.
    pub(crate) fn users(&self) -> usize {
        let mut users: BTreeSet<UserId> = BTreeSet::new();
        for view in self.shards.iter() {
            let mut after = None;
            loop {
                let part = part(view, after);
                users.extend(&part);
                if part.len() < PART {
                    break;
                }
                after = part.last().copied();
            }
        }
        users.len()
    }
}

/// The next users of the view.
fn part(view: &Mutex<Presence>, after: Option<UserId>) -> Vec<UserId> {
    lock(view).users_after(after).take(PART).collect()
}

fn lock(view: &Mutex<Presence>) -> MutexGuard<'_, Presence> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use throng_chat::PresenceChange;

    use super::*;

    const PLACEMENT: [u8; 16] = [7; 16];

    /// Users `from..=to` in the rooms, each at its home.
    fn views(shards: u8, users: impl Iterator<Item = u32> + Clone, rooms: &[u32]) -> Views {
        let views: Arc<[Arc<Mutex<Presence>>]> = (0..shards).map(|_| Arc::default()).collect();
        for room in rooms.iter().map(|room| RoomId(*room)) {
            let home = home_of(&Keyed::new(PLACEMENT), room, shards);
            let enter =
                |(user, online)| PresenceChange::Entered { user: UserId(user), room, online };
            lock(&views[usize::from(home.0)]).extend(users.clone().zip(1..).map(enter));
        }
        Views::new(&views, PLACEMENT)
    }

    #[test]
    fn rooms_are_asked_of_their_homes_in_any_order() {
        let rooms: Vec<u32> = (1..=40).collect();
        let views = views(3, 1..=2, &rooms);
        let asked = [RoomId(40), RoomId(77), RoomId(1)];
        let there = RoomPresence { online: 2, is_present: true };
        assert_eq!(views.rooms(UserId(2), &asked), [there, RoomPresence::default(), there]);
        let stranger = RoomPresence { online: 2, is_present: false };
        assert_eq!(views.rooms(UserId(3), &[RoomId(5)]), [stranger]);
    }

    #[test]
    fn a_user_of_many_rooms_counts_once_whatever_the_parts() {
        for users in [0, 1, PART, PART + 1, 3 * PART] {
            let views = views(2, (1..).take(users), &[1, 2, 3]);
            assert_eq!(views.users(), users);
        }
    }

    #[test]
    fn no_more_than_a_part_is_copied_at_a_time() {
        let views = views(1, (1..).take(2 * PART + 1), &[1]);
        let lens = [None, Some(UserId(PART as u32)), Some(UserId(2 * PART as u32))]
            .map(|after| part(&views.shards[0], after).len());
        assert_eq!(lens, [PART, PART, 1]);
    }
}

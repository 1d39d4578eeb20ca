//! What cases take turns to use, where the target gives them nothing of their own: rooms that exist, and users, since
//! a server limits registrations.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::client::rest::User;

/// After this time the rates of a user (LIM-20, LIM-21) are whole again, and so is the room they were in at rest.
const REST_TIME: Duration = Duration::from_secs(5);

/// Rooms that exist. One case has all of them at a time: cases that wait for each other's rooms would never end.
#[derive(Default)]
pub struct RoomPool {
    rooms: Vec<u64>,
    is_lent: Mutex<bool>,
    returned: Condvar,
}

impl RoomPool {
    pub fn new(rooms: Vec<u64>) -> RoomPool {
        RoomPool { rooms, ..RoomPool::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Whether the rooms are the caller's now: no other case has them, or has them back within `wait`.
    pub fn lend(&self, wait: Duration) -> bool {
        let is_lent = self.is_lent.lock().expect("no thread panics while it borrows rooms");
        let waited = self.returned.wait_timeout_while(is_lent, wait, |is_lent| *is_lent);
        let (mut is_lent, _) = waited.expect("no thread panics while it borrows rooms");
        !std::mem::replace(&mut *is_lent, true)
    }

    pub fn give_back(&self) {
        *self.is_lent.lock().expect("no thread panics while it borrows rooms") = false;
        self.returned.notify_one();
    }
}

/// Users of earlier cases, those that have rested longest first.
#[derive(Default)]
pub struct UserPool(Mutex<VecDeque<(Instant, User)>>);

impl UserPool {
    fn users(&self) -> MutexGuard<'_, VecDeque<(Instant, User)>> {
        self.0.lock().expect("no thread panics while it borrows a user")
    }

    /// A user whose rates are whole again, if there is one.
    pub fn lend(&self) -> Option<User> {
        let is_rested = |(since, _): &mut (Instant, User)| since.elapsed() >= REST_TIME;
        self.users().pop_front_if(is_rested).map(|(_, user)| user)
    }

    pub fn give_back(&self, user: User) {
        self.users().push_back((Instant::now(), user));
    }
}

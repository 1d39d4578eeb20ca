//! How far users have read: asked of homes, then of the store.

use super::*;
use crate::client_event::WantedCounts;

/// Until marks are asked for again that the store could not give.
const READS_RETRY_MS: u64 = 1_000;

/// Whether it is known how far the user has read every room.
pub(super) enum Reads {
    /// Boxed: it is needed for a moment, and users stay.
    Loading(Box<Loading>),
    Ready,
}

/// Homes and store are being asked.
#[derive(Default)]
pub(super) struct Loading {
    id: LoadId,
    homes_missing: u32,
    unasked_homes: Vec<u8>,
    /// The store is being asked.
    is_asked: bool,
    /// The user has been sent counts before.
    is_again: bool,
    /// Sessions that wait for their answer.
    pub(super) waiting: Vec<(SessionId, Waiting)>,
}

/// What waits until it is known how far the user has read.
#[derive(Clone, Copy)]
pub(super) enum Waiting {
    Login { wanted: WantedCounts, ack: AckId },
    Follow { room: RoomId, follows: bool, ack: AckId },
}

impl Waiting {
    pub(super) fn event(self) -> (EventName, AckId) {
        match self {
            Waiting::Login { ack, .. } => (EventName::Login, ack),
            Waiting::Follow { follows: true, ack, .. } => (EventName::Follow, ack),
            Waiting::Follow { follows: false, ack, .. } => (EventName::Unfollow, ack),
        }
    }
}

impl Reads {
    pub(super) fn new(id: LoadId, shards: u8) -> Reads {
        Reads::Loading(Box::new(Loading::of(id, shards)))
    }

    /// The user has been told nothing yet.
    pub(super) fn is_first(&self) -> bool {
        matches!(self, Reads::Loading(loading) if loading.is_first())
    }

    /// Homes and store are asked again, whatever was asked before.
    fn ask_again(&mut self, id: LoadId, shards: u8) {
        match self {
            Reads::Ready => {
                let loading = Loading { is_again: true, ..Loading::of(id, shards) };
                *self = Reads::Loading(Box::new(loading));
            }
            Reads::Loading(loading) => {
                loading.id = id;
                loading.homes_missing = u32::from(shards);
                loading.unasked_homes = (0..shards).collect();
                loading.is_asked = false;
            }
        }
    }

    /// What is being loaded, if that is what was asked with `id`.
    fn loading(&mut self, id: LoadId) -> Option<&mut Loading> {
        match self {
            Reads::Loading(loading) if loading.id == id => Some(loading),
            Reads::Loading(_) | Reads::Ready => None,
        }
    }
}

impl Loading {
    fn of(id: LoadId, shards: u8) -> Loading {
        Loading {
            id,
            homes_missing: u32::from(shards),
            unasked_homes: (0..shards).collect(),
            ..Loading::default()
        }
    }
}

impl Loading {
    /// The user has been told nothing yet.
    pub(super) fn is_first(&self) -> bool {
        !self.is_again
    }

    /// Asserts that marks on the way are waited for, and that each one missing is asked for.
    /// `is_due`: the edge will ask at its next settle; `has_failed`: it will after a pause.
    pub(super) fn check(&self, is_due: bool, has_failed: bool) {
        let owed = self.unasked_homes.len();
        assert!(owed as u32 <= self.homes_missing, "a home that was not asked has not answered");
        assert!(owed == 0 || is_due, "homes that were not asked will be");
        assert!(!self.is_asked || self.homes_missing == 0, "the store is asked after the homes");
        let is_coming = self.homes_missing > 0 || self.is_asked || is_due || has_failed;
        assert!(is_coming || !self.is_again, "counts that were sent before are loaded again");
        assert!(is_coming || self.waiting.is_empty(), "a login waits only for what is asked for");
    }
}

impl Edge {
    /// A home has answered; false if that is late: the user's last session has ended since, or the
    /// homes were asked again.
    pub(super) fn watched(&mut self, user: UserId, id: LoadId, known: &[Mark], now: Now) -> bool {
        let entry = self.users.get_mut(&user);
        let Some(loading) = entry.and_then(|entry| entry.reads.loading(id)) else { return false };
        let missing = loading.homes_missing.checked_sub(1);
        loading.homes_missing = missing.expect("a home answers each question once");
        if loading.homes_missing == 0 {
            self.loading.insert(user);
            self.retry(now);
        }
        for mark in known {
            self.note_mark(user, *mark);
        }
        true
    }

    /// Asks for all marks once more: other nodes may have moved them, and the report was lost.
    pub(crate) fn reload_marks(&mut self) {
        let shards = self.shards;
        for (user, entry) in &mut self.users {
            entry.reads.ask_again(self.last_load.advance(), shards);
            entry.marks.stop_reading();
            self.loading.insert(*user);
        }
    }

    /// Asks homes, then the store, how far users have read.
    pub(super) fn load(&mut self, now: Now, lanes: &mut Lanes) {
        let own = self.shard;
        if !self.reads_failed.is_empty() {
            if self.reads_retry_at <= now {
                self.loading.append(&mut self.reads_failed);
            } else {
                self.retry(self.reads_retry_at);
            }
        }
        for user in std::mem::take(&mut self.loading) {
            let entry = self.users.get_mut(&user).expect("only users with sessions are waited for");
            // The marks may have come in the turn in which a `login` asked for them.
            let Reads::Loading(loading) = &mut entry.reads else { continue };
            let Loading { id, homes_missing, unasked_homes, is_asked, .. } = &mut **loading;
            let load = *id;
            unasked_homes.retain(|shard| {
                let to = crate::ids::ShardId(*shard);
                lanes.request(to, Request::Watch { user, load, edge: own }).is_err()
            });
            let is_store_next = *homes_missing == 0;
            if is_store_next && !*is_asked {
                *is_asked = lanes.command(Command::Reads { user, load }).is_ok();
            }
            let is_sent = unasked_homes.is_empty() && (!is_store_next || *is_asked);
            if !is_sent {
                self.loading.insert(user);
                self.retry(now.plus_ms(LANE_RETRY_MS));
            }
        }
    }

    pub(crate) fn reads_loaded(
        &mut self,
        user: UserId,
        load: LoadId,
        outcome: Result<Vec<Mark>, StoreDown>,
        cx: &mut Context<'_>,
    ) {
        let entry = self.users.get_mut(&user);
        let Some(loading) = entry.and_then(|entry| entry.reads.loading(load)) else {
            // The user's last session ended while the store was asked, or the homes were asked again.
            cx.counters.stale_replies += 1;
            return;
        };
        let Loading { is_asked, is_again, waiting, .. } = loading;
        assert!(std::mem::take(is_asked), "the store answers each question once");
        let is_again = *is_again;
        let waiting = std::mem::take(waiting);
        match outcome {
            Ok(saved) => {
                for mark in saved {
                    // Homes know who reads, and what they reported is newer, unless it is of another node.
                    let known = self.users.get(&user).and_then(|entry| entry.marks.get(mark.room));
                    let is_reading = known.is_some_and(|mark| mark.is_reading);
                    self.note_mark(user, Mark { is_reading, ..mark });
                }
                let entry = self.users.get_mut(&user).expect("it was found above");
                entry.reads = Reads::Ready;
                if is_again {
                    entry.marks.change_all(&mut self.tips);
                }
                self.reads_failed.remove(&user);
                // What changed meanwhile.
                for session in entry.sessions.clone() {
                    self.wait_to_tell(session);
                }
                for (session, waiting) in waiting {
                    match waiting {
                        Waiting::Login { wanted, ack } => {
                            self.answer_login(session, user, wanted, ack, cx);
                        }
                        Waiting::Follow { room, follows, ack } => {
                            if let Err(why) = self.choose(session, user, room, follows, ack, cx) {
                                self.refuse(session, &waiting.event().0, why, ack, cx);
                            }
                        }
                    }
                }
            }
            // The next one that waits asks again, unless the user has been sent counts already.
            Err(StoreDown) => {
                if is_again {
                    self.reads_failed.insert(user);
                    self.reads_retry_at = cx.engine.now().plus_ms(READS_RETRY_MS);
                }
                for (session, waiting) in waiting {
                    let (event, ack) = waiting.event();
                    self.refuse(session, &event, Refusal::StorageUnavailable, ack, cx);
                }
            }
        }
    }
}

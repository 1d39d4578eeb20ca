//! How far users have read: asked of homes, then of the store.

use super::*;

/// Until marks are asked for again that the store could not give.
const READS_RETRY_MS: u64 = 1_000;

/// How far the user has read every room; rooms that are absent were never read.
pub(super) enum Reads {
    /// Boxed: it is needed for a moment, and users stay.
    Loading(Box<Loading>),
    Ready(Marks),
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
    marks: Marks,
    /// Sessions that wait for their `count`.
    pub(super) waiting: Vec<(SessionId, AckId)>,
}

impl Reads {
    pub(super) fn new(id: LoadId, shards: u8) -> Reads {
        Reads::Loading(Box::new(Loading::of(id, shards)))
    }

    /// Homes and store are asked again, whatever was asked before.
    fn ask_again(&mut self, id: LoadId, shards: u8) {
        match self {
            Reads::Ready(marks) => {
                // A user never reads less.
                let marks = std::mem::take(marks).not_reading();
                let loading = Loading { marks, is_again: true, ..Loading::of(id, shards) };
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
            Reads::Loading(_) | Reads::Ready(_) => None,
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

/// Sorted by room. Most users know few rooms, and a tree would cost more than the marks.
#[derive(Default)]
pub(super) struct Marks(SmallVec<[Mark; 1]>);

impl Marks {
    pub(super) fn get(&self, room: RoomId) -> Option<&Mark> {
        let index = self.0.binary_search_by_key(&room, |mark| mark.room).ok()?;
        self.0.get(index)
    }

    /// Homes report anew who is reading.
    fn not_reading(mut self) -> Marks {
        self.0.iter_mut().for_each(|mark| mark.is_reading = false);
        self
    }

    /// A user never reads less: of two nodes the one that is behind takes nothing back. True if the
    /// mark changes.
    pub(super) fn raise(&mut self, mark: Mark) -> bool {
        match self.0.binary_search_by_key(&mark.room, |known| known.room) {
            Ok(index) => {
                let raised = Mark { seq: mark.seq.max(self.0[index].seq), ..mark };
                let before = std::mem::replace(&mut self.0[index], raised);
                before != raised
            }
            Err(index) => {
                self.0.insert(index, mark);
                true
            }
        }
    }
}

impl Edge {
    pub(super) fn note_mark(&mut self, user: UserId, mark: Mark) {
        // Homes report to every edge; this one may have no session of the user.
        let Some(entry) = self.users.get_mut(&user) else { return };
        match &mut entry.reads {
            Reads::Loading(loading) => {
                loading.marks.raise(mark);
            }
            Reads::Ready(marks) => {
                if marks.raise(mark) {
                    entry.unsent.insert(mark.room);
                    self.unsent_users.insert(user);
                    self.retry(self.next_count_at);
                }
            }
        }
    }

    /// A home has answered; false if that is late: the user's last session has ended since, or the
    /// homes were asked again.
    pub(super) fn watched(&mut self, user: UserId, id: LoadId, known: &[Mark], now: Now) -> bool {
        let entry = self.users.get_mut(&user);
        let Some(loading) = entry.and_then(|entry| entry.reads.loading(id)) else { return false };
        let missing = loading.homes_missing.checked_sub(1);
        loading.homes_missing = missing.expect("a home answers each question once");
        for mark in known {
            loading.marks.raise(*mark);
        }
        if loading.homes_missing == 0 {
            self.loading.insert(user);
            self.retry(now);
        }
        true
    }

    /// Asks for all marks once more: other nodes may have moved them, and the report was lost.
    pub(crate) fn reload_marks(&mut self) {
        let shards = self.shards;
        for (user, entry) in &mut self.users {
            entry.reads.ask_again(self.last_load.advance(), shards);
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
        outcome: Result<Vec<(RoomId, Seq)>, StoreDown>,
        cx: &mut Context<'_>,
    ) {
        let entry = self.users.get_mut(&user);
        let Some(loading) = entry.and_then(|entry| entry.reads.loading(load)) else {
            // The user's last session ended while the store was asked, or the homes were asked again.
            cx.counters.stale_replies += 1;
            return;
        };
        let Loading { is_asked, is_again, marks, waiting, .. } = loading;
        assert!(std::mem::take(is_asked), "the store answers each question once");
        let is_again = *is_again;
        let waiting = std::mem::take(waiting);
        match outcome {
            Ok(saved) => {
                // What homes reported is newer than what the store knew, unless it is of another node.
                for (room, seq) in saved {
                    let is_reading = marks.get(room).is_some_and(|mark| mark.is_reading);
                    marks.raise(Mark { room, seq, is_reading });
                }
                let marks = std::mem::take(marks);
                let entry = self.users.get_mut(&user).expect("it was found above");
                entry.reads = Reads::Ready(marks);
                self.reads_failed.remove(&user);
                if is_again {
                    entry.unsent.extend(self.tips.keys().take(COUNTED_ROOMS_MAX));
                    self.unsent_users.insert(user);
                }
                for (session, ack) in waiting {
                    self.answer_login(session, user, ack, cx);
                }
            }
            // The next `login` asks again, unless the user has been sent counts already.
            Err(StoreDown) => {
                if is_again {
                    self.reads_failed.insert(user);
                    self.reads_retry_at = cx.engine.now().plus_ms(READS_RETRY_MS);
                }
                for (session, ack) in waiting {
                    self.refuse(session, &EventName::Login, Refusal::StorageUnavailable, ack, cx);
                }
            }
        }
    }
}

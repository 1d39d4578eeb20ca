//! What has not been sent to other nodes yet. State, not messages: a full lane only delays it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::Lanes;
use crate::choice::Choice;
use crate::cluster::{Signal, StoredMessage};
use crate::ids::{RoomId, Seq, UserId};
use crate::user::UserCard;

struct UserState {
    card: Arc<UserCard>,
    is_present: bool,
    seq: Seq,
}

#[derive(Default)]
pub(super) struct UnsentSignals {
    present: BTreeMap<(RoomId, UserId), UserState>,
    chosen: BTreeMap<(RoomId, UserId), Choice>,
    /// One batch per room at most: the room commits no other before.
    committed: VecDeque<(RoomId, Arc<[StoredMessage]>)>,
}

impl UnsentSignals {
    /// The user's first session of this node entered, or the last one left. Of a visit that is over
    /// before it was sent, the end is sent all the same: it has the read mark.
    pub(super) fn changed(
        &mut self,
        room: RoomId,
        card: &Arc<UserCard>,
        is_present: bool,
        seq: Seq,
    ) {
        self.present.insert((room, card.id), UserState { card: card.clone(), is_present, seq });
    }

    /// Sends a present user once more.
    pub(super) fn repeat(&mut self, room: RoomId, card: &Arc<UserCard>, seq: Seq) {
        self.changed(room, card, true, seq);
    }

    /// The user has chosen whether they follow the room.
    pub(super) fn chosen(&mut self, room: RoomId, user: UserId, choice: Choice) {
        self.chosen.insert((room, user), choice);
    }

    pub(super) fn committed(&mut self, room: RoomId, messages: Vec<StoredMessage>) {
        self.committed.push_back((room, messages.into()));
    }

    /// Asserts that each batch that is not sent is awaited by its room, and is the only one of it.
    pub(super) fn check(&self, is_awaited: impl Fn(&RoomId) -> bool) {
        for (index, (room, _)) in self.committed.iter().enumerate() {
            assert!(is_awaited(room), "a batch that is not sent is awaited");
            let mut others = self.committed.iter().take(index);
            assert!(!others.any(|(other, _)| other == room), "a room has one batch at most");
        }
    }

    /// Batches that are not sent.
    pub(super) fn batches(&self) -> usize {
        self.committed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty() && self.chosen.is_empty() && self.committed.is_empty()
    }

    /// Sends what fits; returns the rooms whose messages were sent.
    pub(super) fn send(&mut self, lanes: &mut Lanes) -> Vec<RoomId> {
        let mut sent = Vec::new();
        while lanes.signal_slots() > 0 {
            if let Some((room, messages)) = self.committed.pop_front() {
                lanes.signal(Signal::Committed { room, messages });
                sent.push(room);
            } else if let Some(((room, _), state)) = self.present.pop_first() {
                let UserState { card: user, is_present, seq } = state;
                lanes.signal(Signal::Present { room, user, is_present, seq });
            } else if let Some(((room, user), choice)) = self.chosen.pop_first() {
                lanes.signal(Signal::Chosen { room, user, choice });
            } else {
                break;
            }
        }
        sent
    }
}

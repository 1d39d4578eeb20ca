//! What other nodes have not been told yet. State, not messages: a full lane only delays it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::Lanes;
use crate::cluster::{Signal, StoredMessage};
use crate::ids::{RoomId, Seq, UserId};
use crate::user::UserCard;

struct News {
    card: Arc<UserCard>,
    is_present: bool,
    seq: Seq,
}

#[derive(Default)]
pub(super) struct Untold {
    present: BTreeMap<(RoomId, UserId), News>,
    /// One batch per room at most: the room commits no other before.
    committed: VecDeque<(RoomId, Arc<[StoredMessage]>)>,
}

impl Untold {
    /// The user's first session of this node entered, or the last one left. Of a visit that is over
    /// before anybody heard of it the end is told all the same: it says how far he has read.
    pub(super) fn changed(
        &mut self,
        room: RoomId,
        card: &Arc<UserCard>,
        is_present: bool,
        seq: Seq,
    ) {
        self.present.insert((room, card.id), News { card: card.clone(), is_present, seq });
    }

    /// Tells of a present user once more.
    pub(super) fn again(&mut self, room: RoomId, card: &Arc<UserCard>, seq: Seq) {
        self.changed(room, card, true, seq);
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
        self.present.is_empty() && self.committed.is_empty()
    }

    /// Tells what fits; returns the rooms whose messages were told.
    pub(super) fn tell(&mut self, lanes: &mut Lanes) -> Vec<RoomId> {
        let mut told = Vec::new();
        while lanes.signal_slots() > 0 {
            if let Some((room, messages)) = self.committed.pop_front() {
                lanes.signal(Signal::Committed { room, messages });
                told.push(room);
            } else if let Some(((room, _), news)) = self.present.pop_first() {
                let News { card: user, is_present, seq } = news;
                lanes.signal(Signal::Present { room, user, is_present, seq });
            } else {
                break;
            }
        }
        told
    }
}

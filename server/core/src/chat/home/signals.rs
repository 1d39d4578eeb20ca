//! What other nodes have not been told yet. State, not messages: a full lane only delays it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::chat::lanes::Lanes;
use crate::cluster::{Signal, StoredMessage};
use crate::ids::{RoomId, Seq, UserId};
use crate::input::UserCard;

struct News {
    card: Arc<UserCard>,
    is_present: bool,
    seq: Seq,
    /// Whether the others believe him present.
    was_told: bool,
}

#[derive(Default)]
pub(super) struct Untold {
    present: BTreeMap<(RoomId, UserId), News>,
    /// One batch per room at most: the room commits no other before.
    committed: VecDeque<(RoomId, Arc<[StoredMessage]>)>,
}

impl Untold {
    /// The user's first session of this node entered, or the last one left.
    pub(super) fn changed(
        &mut self,
        room: RoomId,
        card: &Arc<UserCard>,
        is_present: bool,
        seq: Seq,
    ) {
        let key = (room, card.id);
        let was_told = self.present.get(&key).map_or(!is_present, |news| news.was_told);
        if !is_present && !was_told {
            // He came and went before anybody heard of it.
            self.present.remove(&key);
            return;
        }
        let news = News { card: card.clone(), is_present, seq, was_told };
        self.present.insert(key, news);
    }

    /// Tells of a present user once more. Whether the others know of him may be uncertain, so he
    /// is not taken for untold.
    pub(super) fn again(&mut self, room: RoomId, card: &Arc<UserCard>, seq: Seq) {
        let news = News { card: card.clone(), is_present: true, seq, was_told: true };
        let entry = self.present.entry((room, card.id)).or_insert(news);
        entry.card = card.clone();
    }

    pub(super) fn committed(&mut self, room: RoomId, messages: Vec<StoredMessage>) {
        self.committed.push_back((room, messages.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty() && self.committed.is_empty()
    }

    /// Tells what fits; returns the rooms whose messages were told.
    pub(super) fn tell(&mut self, lanes: &mut Lanes) -> Vec<RoomId> {
        let mut told = Vec::new();
        while lanes.signal_room() > 0 {
            if let Some((room, messages)) = self.committed.pop_front() {
                lanes.signal(Signal::Committed { room, messages });
                told.push(room);
            } else if let Some(((room, _), news)) = self.present.pop_first() {
                let News { card: user, is_present, seq, .. } = news;
                lanes.signal(Signal::Present { room, user, is_present, seq });
            } else {
                break;
            }
        }
        told
    }
}

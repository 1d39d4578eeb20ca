//! Messages on their way: into the store, into the room's order, to the edges.

use std::sync::Arc;

use bytes::Bytes;

use super::log::{Entry, Offered, Origin, SEQ_MAX};
use super::*;
use crate::cluster::StoredMessage;
use crate::store::Appended;
use crate::store::NewMessage;

/// Messages in one commit of one room.
const APPEND_MAX: usize = 256;

/// A publish on its way through the store.
pub(super) struct PendingPublish {
    author: Arc<UserCard>,
    publish: Box<Publish>,
    origin: Origin,
}

/// An answer to a publish that is not part of a fan-out.
pub(super) struct PublishAnswer {
    pub(super) origin: Origin,
    pub(super) outcome: Result<(i64, Seq), Refusal>,
}

/// What became of a numbered message.
pub(super) enum Taken {
    InOrder,
    /// It was taken before; its publisher may still wait.
    Known(Option<PublishAnswer>),
    /// For the one before it.
    Waits,
    /// There was no space to keep it.
    Beyond,
}

impl Home {
    pub(super) fn publish(
        &mut self,
        room_id: RoomId,
        session: SessionId,
        publish: Box<Publish>,
        ack: AckId,
        lanes: &mut Lanes,
    ) {
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return refuse_publish(session, Refusal::UnknownRoom, ack, lanes);
        };
        let Some(author) = room.roster.card_of(session).cloned() else {
            return refuse_publish(session, Refusal::NotMember, ack, lanes);
        };
        let pending =
            PendingPublish { author, publish, origin: Origin { publisher: session, ack } };
        if self.numbering == Numbering::Home {
            self.next_id += 1;
            let shards = i64::from(self.shards);
            let id = self.next_id * shards + i64::from(self.shard.0);
            let seq = Seq(room.log.seq().0 + 1);
            room.take(self.now, seq, pending.numbered(id), &mut self.scratch);
        } else if room.backlog.len() >= self.settings.room_backlog_max as usize {
            return refuse_publish(session, Refusal::Busy, ack, lanes);
        } else {
            room.backlog.push_back(pending);
        }
        self.mark_dirty(room_id);
    }

    /// The store has committed the room's batch, or could not.
    pub(crate) fn appended(&mut self, room_id: RoomId, outcome: Result<Appended, StoreDown>) {
        let room = self.rooms.get_mut(&room_id).expect("a room is kept while it commits");
        let committed = std::mem::take(&mut room.committing);
        match outcome {
            Ok(Appended { first_seq, ids }) if first_seq < SEQ_MAX => {
                assert_eq!(ids.len(), committed.len(), "the store gives every message an id");
                let mut messages = Vec::new();
                for (index, (pending, id)) in committed.into_iter().zip(ids).enumerate() {
                    let seq = Seq(first_seq.0 + index as u64);
                    if self.settings.cluster {
                        messages.push(pending.stored(seq, id));
                    }
                    let entry = pending.numbered(id);
                    if let Taken::Known(answer) = room.take(self.now, seq, entry, &mut self.scratch)
                    {
                        self.publish_answers.extend(answer);
                    }
                }
                if self.settings.cluster {
                    room.is_commit_unsent = true;
                    self.unsent.committed(room_id, messages);
                }
            }
            // These numbers were never sent: the next batch takes them, unless the store gives them.
            Ok(_) | Err(StoreDown) => {
                let outcome = Err(Refusal::StorageUnavailable);
                let refuse =
                    |pending: PendingPublish| PublishAnswer { origin: pending.origin, outcome };
                self.publish_answers.extend(committed.into_iter().map(refuse));
            }
        }
        self.mark_dirty(room_id);
    }

    /// Hands the room's numbered messages to every edge with members.
    pub(super) fn flush_batch(&mut self, room_id: RoomId, lanes: &mut Lanes) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let Some(batch) = room.batch.take() else { return }; // Nothing was numbered.
        let messages = Arc::new(batch);
        for to in lanes.shards() {
            // A publisher may have left meanwhile; its edge still owes it the ack.
            let has_publisher =
                || messages.messages.iter().any(|m| m.publisher.is_some_and(|p| p.shard() == to));
            if room.roster.has_edge(to) || has_publisher() {
                lanes.deliver(to, Delivery::FanOut { room: room_id, messages: messages.clone() });
            }
        }
        self.note_tip(room_id);
    }

    pub(super) fn start_append(&mut self, room_id: RoomId, now: Now, lanes: &mut Lanes) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        // The batch before must be handed on and sent first, so that neither can pile up.
        let is_busy = !room.committing.is_empty() || room.is_commit_unsent || room.log.awaits_own();
        if is_busy || room.backlog.is_empty() {
            return;
        }
        let count = room.backlog.len().min(APPEND_MAX);
        let batch = room.backlog.iter().take(count).map(PendingPublish::row).collect();
        let first_seq = match self.numbering {
            Numbering::Home => unreachable!("its messages are numbered when they come"),
            Numbering::HomeChecked => Some(Seq(room.log.seq().0 + 1)),
            Numbering::Database | Numbering::Redis => None,
        };
        match lanes.command(Command::Append { room: room_id, first_seq, batch }) {
            Ok(()) => room.committing.extend(room.backlog.drain(..count)),
            Err(Full(_)) => {
                self.mark_dirty(room_id);
                self.retry(now.plus_ms(LANE_RETRY_MS));
            }
        }
    }

    // ---- tips ---------------------------------------------------------------------------------

    pub(super) fn note_tip(&mut self, room_id: RoomId) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        // Clients are sent no room that may not exist.
        if !(room.is_tip_due || self.unknown.contains(&room_id)) {
            room.is_tip_due = true;
            self.tips_due.push(room_id);
        }
    }

    pub(super) fn send_tips(&mut self, now: Now, lanes: &mut Lanes) {
        if self.tips_due.is_empty() {
            return;
        }
        if self.next_tip_at > now {
            return self.retry(self.next_tip_at);
        }
        while let Some(room_id) = self.tips_due.pop() {
            if lanes.delivery_slots_min() <= RESERVED_SLOTS {
                self.tips_due.push(room_id);
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            let room = self.rooms.get_mut(&room_id).expect("a room whose tip is due is known");
            room.is_tip_due = false;
            let seq = room.log.seq();
            for to in lanes.shards() {
                lanes.deliver(to, Delivery::Tip { room: room_id, seq });
            }
        }
        self.next_tip_at = now.plus_ms(u64::from(self.settings.unread_window_ms) / 2);
    }
}

impl Room {
    /// Takes a numbered message into the room's order, and with it what waited for it. One that was
    /// taken before only answers its publisher.
    pub(super) fn take(&mut self, now: Now, seq: Seq, entry: Entry, scratch: &mut String) -> Taken {
        match self.log.offer(now, seq, entry) {
            Offered::Next(entry) => {
                self.write(seq, entry, scratch);
                self.hand_on(scratch);
                Taken::InOrder
            }
            Offered::Known(Entry { id, origin, .. }) => {
                Taken::Known(origin.map(|origin| PublishAnswer { origin, outcome: Ok((id, seq)) }))
            }
            Offered::Ahead => Taken::Waits,
            Offered::Beyond => Taken::Beyond,
        }
    }

    /// Hands on what is next among what was kept.
    pub(super) fn hand_on(&mut self, scratch: &mut String) {
        while let Some(entry) = self.log.pop() {
            self.write(self.log.seq(), entry, scratch);
        }
    }

    /// Writes the message's frames into the batch.
    fn write(&mut self, seq: Seq, entry: Entry, scratch: &mut String) {
        let Entry { id, author, publish, origin } = entry;
        let key = (self.id, seq, id);
        let batch =
            self.batch.get_or_insert_with(|| Batch { messages: Vec::new(), shared: Vec::new() });
        let start = batch.shared.len();
        frames::put_message(&mut batch.shared, scratch, &author, false, &publish, key);
        let shared = start..batch.shared.len();
        // Other nodes do not send the e-mail.
        let here = author.email.is_empty().then(|| self.roster.card_here(author.id)).flatten();
        let author = here.map_or_else(|| author.clone(), |here| author.knowing(here));
        let mut own = Vec::with_capacity(shared.len() + author.email.len());
        frames::put_message(&mut own, scratch, &author, true, &publish, key);
        batch.messages.push(Sequenced {
            author: author.id,
            own: Bytes::from(own),
            shared,
            seq,
            id,
            publisher: origin.map(|origin| origin.publisher),
            ack: origin.and_then(|origin| origin.ack),
        });
    }
}

impl PendingPublish {
    fn row(&self) -> NewMessage {
        NewMessage {
            user: self.author.id,
            msg: self.publish.msg.clone(),
            img: self.publish.img.clone(),
            time: self.publish.time.clone(),
        }
    }

    fn stored(&self, seq: Seq, id: i64) -> StoredMessage {
        let NewMessage { msg, img, time, .. } = self.row();
        StoredMessage { seq, id, author: self.author.clone(), msg, img, time }
    }

    fn numbered(self, id: i64) -> Entry {
        let PendingPublish { author, publish, origin } = self;
        Entry { id, author, publish, origin: Some(origin) }
    }
}

pub(super) fn refuse_publish(session: SessionId, why: Refusal, ack: AckId, lanes: &mut Lanes) {
    lanes.deliver(session.shard(), Delivery::PublishRefused { session, why, ack });
}

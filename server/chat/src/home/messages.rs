//! Messages on their way: into the store, into the room's order, to the edges.

use std::sync::Arc;

use super::numbered_message::{NumberedMessage, Origin};
use super::reorder_buffer::{Offered, SEQ_MAX};
use super::*;
use crate::batch::Sequenced;
use crate::frames;
use crate::store::{AppendFault, Appended, Repeat};

/// Messages in one commit of one room.
const APPEND_MAX: usize = 256;

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
        counters: &mut Counters,
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
            return self.publish_unkept(room_id, pending, lanes, counters);
        }
        if room.backlog.len() >= self.settings.room_backlog_max as usize {
            return refuse_publish(session, Refusal::Busy, ack, lanes);
        }
        room.backlog.push_back(pending);
        self.mark_dirty(room_id);
    }

    /// Numbers a message that no store knows, unless it was published before.
    fn publish_unkept(
        &mut self,
        room_id: RoomId,
        pending: PendingPublish,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) {
        let Origin { publisher: session, ack } = pending.origin;
        let author = pending.author.id;
        let key = pending.publish.cid.clone().map(|cid| (author, room_id, cid));
        if let Some(key) = &key {
            self.cids.forget_old(self.now);
            if let Some((id, seq)) = self.cids.place(key) {
                counters.messages_repeated += 1;
                // The first one may be in the batch.
                self.flush_batch(room_id, lanes);
                let accepted = Delivery::PublishAccepted { session, ack, id, seq };
                return lanes.deliver(session.shard(), accepted);
            }
            if !self.cids.takes(author, &self.settings) {
                counters.cids_full += 1;
                return refuse_publish(session, Refusal::Busy, ack, lanes);
            }
        }
        self.next_id += 1;
        let id = self.next_id * i64::from(self.shards) + i64::from(self.shard.0);
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let seq = Seq(room.messages.seq().0 + 1);
        room.take(self.now, seq, pending.numbered(id), &mut self.spares);
        room.list(&mut self.dirty);
        self.is_settled = false;
        if let Some(key) = key {
            self.cids.remember(self.now, key, (id, seq));
        }
    }

    /// The store has committed the room's batch, or could not.
    pub(crate) fn appended(
        &mut self,
        room_id: RoomId,
        outcome: Result<Appended, AppendFault>,
        counters: &mut Counters,
    ) {
        let room = self.rooms.get_mut(&room_id).expect("a room is kept while it commits");
        let committed = std::mem::take(&mut room.committing);
        let fault = match outcome {
            Ok(appended) if appended.first_seq < SEQ_MAX => {
                counters.messages_repeated += appended.repeats.len() as u64;
                return self.committed(room_id, committed, appended);
            }
            // These numbers were never sent: the next batch takes them, unless the store gives them.
            Ok(_) | Err(AppendFault::StoreDown) => Refusal::StorageUnavailable,
            Err(AppendFault::Unknown) => {
                if !self.settings.ephemeral {
                    room.messages.doubt(self.now, committed.len());
                }
                Refusal::UnknownOutcome
            }
        };
        let refuse =
            |pending: PendingPublish| PublishAnswer { origin: pending.origin, outcome: Err(fault) };
        self.publish_answers.extend(committed.into_iter().map(refuse));
        self.mark_dirty(room_id);
    }

    fn committed(&mut self, room_id: RoomId, batch: Vec<PendingPublish>, appended: Appended) {
        let Appended { first_seq, ids, repeats } = appended;
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        assert_eq!(
            ids.len() + repeats.len(),
            batch.len(),
            "the store gives every message an id, its own or that of the one it repeats"
        );
        let mut places = (first_seq.0..).map(Seq).zip(ids);
        let mut repeats = repeats.into_iter().peekable();
        let mut messages = Vec::new();
        for (index, pending) in batch.into_iter().enumerate() {
            let repeat = repeats.next_if(|repeat| repeat.index == index);
            let is_repeat = repeat.is_some();
            let (seq, id, pending) = match repeat {
                None => {
                    let (seq, id) = places.next().expect("what is no repeat has a place");
                    (seq, id, pending)
                }
                Some(Repeat { seq, id, first: Some(first), .. }) => {
                    (seq, id, pending.saying(first))
                }
                // What it said comes through the log of all nodes.
                Some(Repeat { seq, id, first: None, .. }) => {
                    let answer = PublishAnswer { origin: pending.origin, outcome: Ok((id, seq)) };
                    self.publish_answers.push_back(answer);
                    continue;
                }
            };
            let stored = self.settings.cluster.then(|| pending.stored(seq, id));
            let taken = room.take(self.now, seq, pending.numbered(id), &mut self.spares);
            // A repeat that is new here is one whose commit was not answered: others lack it too.
            let is_new_here = !(is_repeat && matches!(taken, Taken::Known(_)));
            if let Taken::Known(answer) = taken {
                self.publish_answers.extend(answer);
            }
            messages.extend(stored.filter(|_| is_new_here));
        }
        assert!(repeats.next().is_none(), "a repeat is one of the batch");
        if !messages.is_empty() {
            messages.sort_by_key(|message| message.seq);
            room.is_commit_unsent = true;
            self.unsent.committed(room_id, messages);
        }
        self.mark_dirty(room_id);
    }

    /// Hands the room's numbered messages to every edge with members.
    pub(super) fn flush_batch(&mut self, room_id: RoomId, lanes: &mut Lanes) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let Some(messages) = room.batch.take() else { return }; // Nothing was numbered.
        self.spares.keep_batch(&messages);
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
        let is_busy =
            !room.committing.is_empty() || room.is_commit_unsent || room.messages.awaits_own();
        if is_busy || room.backlog.is_empty() {
            return;
        }
        let count = room.backlog.len().min(APPEND_MAX);
        let batch = room.backlog.iter().take(count).map(PendingPublish::row).collect();
        let first_seq = match self.numbering {
            Numbering::Home => unreachable!("its messages are numbered when they come"),
            Numbering::HomeChecked => Some(Seq(room.messages.seq().0 + 1)),
            Numbering::Database | Numbering::Redis => None,
        };
        let tip = room.messages.seq();
        match lanes.command(Command::Append { room: room_id, first_seq, tip, batch }) {
            Ok(()) => room.committing.extend(room.backlog.drain(..count)),
            Err(Full(_)) => {
                self.mark_dirty(room_id);
                self.retry(now.plus_ms(LANE_RETRY_MS));
            }
        }
    }
}

impl Room {
    /// Takes a numbered message into the room's order, and with it what waited for it. One that was
    /// taken before only answers its publisher.
    pub(super) fn take(
        &mut self,
        now: Now,
        seq: Seq,
        message: NumberedMessage,
        spares: &mut Spares,
    ) -> Taken {
        match self.messages.offer(now, seq, message) {
            Offered::Next(message) => {
                self.write(seq, message, spares);
                self.hand_on(spares);
                Taken::InOrder
            }
            Offered::Known(NumberedMessage { id, origin, .. }) => {
                Taken::Known(origin.map(|origin| PublishAnswer { origin, outcome: Ok((id, seq)) }))
            }
            Offered::Ahead => Taken::Waits,
            Offered::Beyond => Taken::Beyond,
        }
    }

    /// Hands on what is next among what was kept.
    pub(super) fn hand_on(&mut self, spares: &mut Spares) {
        while let Some(message) = self.messages.pop() {
            self.write(self.messages.seq(), message, spares);
        }
    }

    /// Writes the message into the batch.
    fn write(&mut self, seq: Seq, message: NumberedMessage, spares: &mut Spares) {
        let NumberedMessage { id, author, publish, origin } = message;
        // Other nodes do not send the e-mail.
        let here = author.email.is_empty().then(|| self.roster.card_here(author.id)).flatten();
        let email = &here.unwrap_or(&author).email;
        let batch = self.batch.get_or_insert_with(|| spares.batch());
        let batch = Arc::get_mut(batch).expect("what is not handed on is nobody else's");
        let Batch { messages, shared, heads } = batch;
        let (start, head_at) = (shared.len(), heads.len());
        let tail_at = frames::put_message(shared, &author, &publish, (self.id, seq, id));
        frames::put_own_head(heads, email, shared.len() - tail_at);
        messages.push(Sequenced {
            author: author.id,
            seq,
            id,
            publisher: origin.map(|origin| origin.publisher),
            ack: origin.and_then(|origin| origin.ack),
            frame: start..shared.len(),
            tail_at,
            head: head_at..heads.len(),
        });
        spares.keep_publish(publish);
    }
}

pub(super) fn refuse_publish(session: SessionId, why: Refusal, ack: AckId, lanes: &mut Lanes) {
    lanes.deliver(session.shard(), Delivery::PublishRefused { session, why, ack });
}

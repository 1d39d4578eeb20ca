//! What other nodes report about this home's rooms. It is taken as it comes: unknown rooms are looked
//! up, repetitions change nothing, and numbers that cannot be are ignored.

use super::messages::{PublishAnswer, Taken};
use super::numbered_message::NumberedMessage;
use super::reorder_buffer::SEQ_MAX;
use super::*;
use crate::cluster::{ClusterInput, NodeIx, StoredMessage};
use throng_engine::home_of;

/// Rooms that another node named and the store is asked about.
pub(super) const UNKNOWN_MAX: usize = 1024;
/// Until the store is asked again about such a room.
const LOAD_RETRY_MS: u64 = 1_000;

impl Home {
    pub(crate) fn cluster(&mut self, input: ClusterInput, counters: &mut Counters) {
        if let Some(room) = input.room()
            && !self.knows(room)
        {
            counters.cluster_ignored += 1;
            return;
        }
        match input {
            ClusterInput::Messages { room, messages } => self.receive(room, messages, counters),
            ClusterInput::Tip { room, seq } => self.expect(room, seq, counters),
            ClusterInput::Present { room, node, joined, left } => {
                for card in joined {
                    self.add_remote(room, node, &card, counters);
                }
                for (user, seq) in left {
                    self.remove_remote(room, node, user, seq);
                }
            }
            ClusterInput::Read { room, marks } => {
                for (user, seq) in marks {
                    let known = self.rooms.get(&room).expect("it was found above");
                    let is_present = known.roster.has(user);
                    self.remote_ended_reading(user, room, seq.min(SEQ_MAX), is_present);
                }
            }
            ClusterInput::Chosen { room, choices } => {
                for (user, choice) in choices {
                    if choice <= Choice::MAX {
                        self.remote_followed(user, room, choice);
                    } else {
                        counters.cluster_ignored += 1;
                    }
                }
            }
            ClusterInput::NodePresence { room, node, users } => {
                self.replace(room, node, &users, counters);
            }
            ClusterInput::NodeGone { node } => {
                let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
                for room in rooms {
                    self.replace(room, node, &[], counters);
                }
            }
            ClusterInput::Announce => self.announce(),
            // Another node may have missed it.
            ClusterInput::Resync => self.repeat_unsaved(),
            ClusterInput::Emit(_) => {}
        }
    }

    /// Whether the room is one of this home; one that is new here is looked up.
    fn knows(&mut self, room: RoomId) -> bool {
        if self.rooms.contains_key(&room) {
            return true;
        }
        let home = home_of(&self.keyed, room, self.shards);
        if home != self.shard || self.unknown.len() >= UNKNOWN_MAX {
            return false;
        }
        self.add_room(&RoomInfo { id: room, name: Box::default(), last_seq: Seq(0) });
        self.unknown.insert(room);
        self.loads_due.insert(room);
        // Joins wait until it is known.
        self.creating.entry(room).or_default();
        true
    }

    /// Asks the store about the rooms that other nodes named.
    pub(super) fn load_rooms(&mut self, now: Now, lanes: &mut Lanes) {
        while let Some(room) = self.loads_due.first().copied() {
            if self.load_at > now {
                return self.retry(self.load_at);
            }
            if lanes.command(Command::LoadRoom { room }).is_err() {
                return self.retry(now.plus_ms(LANE_RETRY_MS));
            }
            self.loads_due.pop_first();
        }
    }

    pub(crate) fn room_loaded(
        &mut self,
        room_id: RoomId,
        outcome: Result<Option<RoomInfo>, StoreDown>,
        counters: &mut Counters,
    ) {
        if !self.unknown.contains(&room_id) {
            // The answer to a `CreateRoom` came first.
            counters.stale_replies += 1;
            return;
        }
        let waiting = self.creating.remove(&room_id).expect("joins wait for an unconfirmed room");
        let refusal = outcome.is_err().then_some(Refusal::StorageUnavailable);
        self.ready_requests.extend(waiting.into_iter().map(|request| (room_id, request, refusal)));
        match outcome {
            Ok(Some(info)) => self.found(&info),
            Ok(None) => self.forget_room(room_id),
            Err(StoreDown) => {
                self.creating.entry(room_id).or_default();
                self.loads_due.insert(room_id);
                self.load_at = self.now.plus_ms(LOAD_RETRY_MS);
            }
        }
    }

    /// The store has the room.
    pub(super) fn found(&mut self, info: &RoomInfo) {
        self.unknown.remove(&info.id);
        self.add_room(info);
        let room = self.rooms.get_mut(&info.id).expect("it was added above");
        room.messages.expect(info.last_seq.min(SEQ_MAX), self.now);
        self.note_tip(info.id);
        self.catch_up(info.id);
    }

    /// There is no such room; users whom other nodes reported there are in no room.
    fn forget_room(&mut self, room_id: RoomId) {
        self.unknown.remove(&room_id);
        let room = self.rooms.remove(&room_id).expect("an unconfirmed room is kept meanwhile");
        self.dirty.retain(|dirty| *dirty != room_id);
        self.remote_present -= room.roster.remote();
        for user in room.roster.users() {
            self.remote_ended_reading(user, room_id, Seq(0), false);
        }
    }

    // ---- messages -----------------------------------------------------------------------------

    fn receive(&mut self, room_id: RoomId, messages: Vec<StoredMessage>, counters: &mut Counters) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let mut read = Seq(0);
        for message in messages {
            let seq = message.seq;
            if seq == Seq(0) || seq > SEQ_MAX {
                counters.cluster_ignored += 1;
                continue;
            }
            read = read.max(seq);
            match room.take(self.now, seq, NumberedMessage::from(message), &mut self.scratch) {
                Taken::InOrder | Taken::Waits => counters.cluster_messages += 1,
                Taken::Beyond => counters.cluster_beyond += 1,
                Taken::Known(_) => {}
            }
        }
        if !self.numbering.keeps_messages() {
            while room.messages.give_up_before(read) {
                room.hand_on(&mut self.scratch);
            }
        }
        self.catch_up(room_id);
    }

    fn expect(&mut self, room_id: RoomId, seq: Seq, counters: &mut Counters) {
        if seq > SEQ_MAX {
            counters.cluster_ignored += 1;
            return;
        }
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        room.messages.expect(seq, self.now);
        self.catch_up(room_id);
    }

    /// A room without members of this node needs no messages, only their number.
    fn catch_up(&mut self, room_id: RoomId) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        if room.messages.is_missing() && room.roster.members() == 0 {
            for (seq, message) in room.messages.skip_all() {
                let accept = |origin| PublishAnswer { origin, outcome: Ok((message.id, seq)) };
                self.publish_answers.extend(message.origin.map(accept));
            }
            self.note_tip(room_id);
        }
        self.mark_dirty(room_id);
    }

    pub(super) fn start_fetch(
        &mut self,
        room_id: RoomId,
        now: Now,
        lanes: &mut Lanes,
        counters: &mut Counters,
    ) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let Some(at) = room.messages.fetch_at() else { return }; // Nothing is missing, or it was asked for.
        let (after, upto) = room.messages.missing();
        let at = if at > now {
            at
        } else if lanes.command(Command::Fetch { room: room_id, after, upto }).is_ok() {
            room.messages.asked();
            counters.fetches += 1;
            return;
        } else {
            now.plus_ms(LANE_RETRY_MS)
        };
        self.mark_dirty(room_id);
        self.retry(at);
    }

    pub(crate) fn fetched(
        &mut self,
        room_id: RoomId,
        outcome: Result<Vec<StoredMessage>, StoreDown>,
        counters: &mut Counters,
    ) {
        let room = self.rooms.get_mut(&room_id).expect("a room is kept while it fetches");
        match outcome {
            Ok(messages) => {
                // Other nodes do not know either what became of a batch of this one.
                let must_report =
                    self.settings.cluster && room.messages.is_doubted() && !room.is_commit_unsent;
                let first = messages.first().filter(|_| self.numbering.keeps_messages());
                if first.is_some_and(|first| room.messages.skip_hole(first.seq)) {
                    room.hand_on(&mut self.scratch);
                }
                let mut found = Vec::new();
                for message in messages {
                    let seq = message.seq;
                    if seq > SEQ_MAX {
                        counters.cluster_ignored += 1;
                        continue;
                    }
                    found.extend(must_report.then(|| message.clone()));
                    room.take(self.now, seq, NumberedMessage::from(message), &mut self.scratch);
                }
                room.messages.fetched(self.now, self.numbering.keeps_messages());
                room.hand_on(&mut self.scratch);
                if !found.is_empty() {
                    room.is_commit_unsent = true;
                    self.unsent.committed(room_id, found);
                }
            }
            Err(StoreDown) => {
                counters.fetches_failed += 1;
                room.messages.not_fetched(self.now);
            }
        }
        self.catch_up(room_id);
    }

    // ---- presence -----------------------------------------------------------------------------

    fn add_remote(
        &mut self,
        room_id: RoomId,
        node: NodeIx,
        card: &Arc<UserCard>,
        counters: &mut Counters,
    ) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        if self.remote_present >= self.settings.remote_present_max as usize {
            counters.remote_present_refused += 1;
            return;
        }
        let before = room.roster.remote();
        let is_new = room.roster.add_remote(node, card);
        self.remote_present += room.roster.remote() - before;
        if is_new {
            self.remote_began_reading(card.id, room_id);
        }
        self.note_online(room_id, is_new);
    }

    fn remove_remote(&mut self, room_id: RoomId, node: NodeIx, user: UserId, seq: Seq) {
        let room = self.rooms.get_mut(&room_id).expect("the caller found the room");
        let before = room.roster.remote();
        let is_new = room.roster.remove_remote(node, user);
        if !is_armed(Canary::KeepRemote) {
            self.remote_present -= before - room.roster.remote();
        }
        // A user that was not known to be there has read all the same.
        let is_present = room.roster.has(user);
        self.remote_ended_reading(user, room_id, seq.min(SEQ_MAX), is_present);
        self.note_online(room_id, is_new);
    }

    /// Sets which users the node has in the room.
    fn replace(
        &mut self,
        room_id: RoomId,
        node: NodeIx,
        users: &[Arc<UserCard>],
        counters: &mut Counters,
    ) {
        let room = self.rooms.get(&room_id).expect("the caller found the room");
        let present: BTreeSet<UserId> = users.iter().map(|card| card.id).collect();
        let mut gone = room.roster.users_of(node);
        gone.retain(|user| !present.contains(user));
        // How far they have read only the store knows; see `ClusterInput::Resync`.
        for user in gone {
            self.remove_remote(room_id, node, user, Seq(0));
        }
        for card in users {
            self.add_remote(room_id, node, card, counters);
        }
    }

    fn note_online(&mut self, room_id: RoomId, is_new: bool) {
        if is_new {
            self.online_changed.insert(room_id);
        }
        self.mark_dirty(room_id);
    }

    /// How many are online in rooms that other nodes changed, for the REST API.
    pub(super) fn send_online(&mut self, lanes: &mut Lanes) {
        for room in std::mem::take(&mut self.online_changed) {
            // A room that the store does not have is forgotten, and has no members.
            let online = self.rooms.get(&room).map_or(0, |known| known.roster.online());
            lanes.change(PresenceChange::Online { room, online });
        }
    }

    // ---- signals ------------------------------------------------------------------------------

    /// The others may have lost what they knew of this node: sends them who is here.
    fn announce(&mut self) {
        self.repeat_unsaved();
        self.save_readers_again();
        for (id, room) in &self.rooms {
            for card in room.roster.users_here() {
                self.unsent.repeat(*id, card, room.messages.seq());
            }
        }
    }

    pub(super) fn send_signals(&mut self, now: Now, lanes: &mut Lanes, counters: &mut Counters) {
        for room_id in self.unsent.send(lanes) {
            let room = self.rooms.get_mut(&room_id);
            room.expect("a room is kept until its batch is sent").is_commit_unsent = false;
            self.mark_dirty(room_id);
        }
        if !self.unsent.is_empty() {
            counters.lane_refusals_signal += 1;
            self.retry(now.plus_ms(LANE_RETRY_MS));
        }
    }
}

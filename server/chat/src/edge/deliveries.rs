//! Deliveries of homes: answers, rosters and the fan-out.

use super::*;

impl Edge {
    pub(crate) fn delivery(
        &mut self,
        delivery: Delivery,
        engine: &mut Engine,
        counters: &mut Counters,
    ) {
        match delivery {
            Delivery::Joined { room, session, membership_id, presence_mode, seq, online, ack } => {
                self.joined(session, membership_id, presence_mode, engine);
                self.note_session(session);
                if let Some(id) = ack {
                    engine.emit_event(session, &frames::ack_room(id, room, online, seq));
                }
            }
            Delivery::JoinRefused { session, membership_id, why, ack } => {
                if self.is_late(session, engine) {
                    return;
                }
                match self.live(session).memberships.answered(membership_id) {
                    Some(Membership { joining: 0, index: None, .. }) => {
                        self.end_membership(session, membership_id);
                    }
                    Some(_) => {}
                    // The membership is over already; its client asked for an answer all the same.
                    None => engine.counters.stale_deliveries += 1,
                }
                *why.counter(counters) += 1;
                engine.emit_event(session, &frames::refusal(&EventName::Room, why, ack));
            }
            Delivery::LeaveRefused { session, why, ack } => {
                if self.is_late(session, engine) {
                    return;
                }
                *why.counter(counters) += 1;
                engine.emit_event(session, &frames::refusal(&EventName::RoomOut, why, ack));
            }
            Delivery::Left { room, session, membership_id, seq, online, frame, ack } => {
                if self.is_late(session, engine) {
                    return;
                }
                self.end_membership(session, membership_id);
                let is_connected = engine.session(session).is_some_and(|s| s.is_connected(0));
                if let Some(frame) = frame.filter(|_| is_connected) {
                    engine.emit_frame(session, &frame);
                }
                if let Some(id) = ack {
                    engine.emit_event(session, &frames::ack_room(id, room, online, seq));
                }
            }
            Delivery::PublishRefused { session, why, ack } => {
                if self.is_late(session, engine) {
                    return;
                }
                *why.counter(counters) += 1;
                engine.emit_event(session, &frames::refusal(&EventName::Message, why, ack));
            }
            Delivery::PublishAccepted { session, ack, id, seq } => {
                if self.is_late(session, engine) {
                    return;
                }
                if let Some(ack) = ack {
                    engine.emit_event(session, &frames::ack_message(ack, id, seq));
                }
            }
            Delivery::FanOut { room, messages } => self.fan_out(room, &messages, engine),
            Delivery::Roster { room, presence_mode, frame } => {
                self.roster(room, presence_mode, &frame, engine);
            }
            Delivery::MemberRoster { room, sessions, frame } => {
                for session in sessions {
                    self.member_roster(room, session, &frame, engine);
                }
            }
            Delivery::Reading { user, mark } => self.note_mark(user, mark),
            Delivery::Watched { user, load, marks } => {
                if !self.watched(user, load, &marks, engine.now()) {
                    engine.counters.stale_deliveries += 1;
                }
            }
            Delivery::Tip { room, seq } => self.note_tip(room, seq, engine.now()),
        }
    }

    /// Whether the session has ended since it asked; counted.
    fn is_late(&mut self, session: SessionId, engine: &mut Engine) -> bool {
        let is_late = self.local(session).is_none();
        engine.counters.stale_deliveries += u64::from(is_late);
        is_late
    }

    pub(super) fn joined(
        &mut self,
        session: SessionId,
        membership_id: MembershipId,
        presence_mode: PresenceMode,
        engine: &mut Engine,
    ) {
        if self.is_late(session, engine) {
            return;
        }
        let local = self.live(session);
        let user = local.identity.map(|identity| identity.user);
        // The membership is over already if its end overtook this answer.
        let Some(membership) = local.memberships.answered(membership_id).copied() else {
            engine.counters.stale_deliveries += 1;
            return;
        };
        let room_id = membership.room;
        if let Some(index) = membership.index {
            let room = self.rooms.get_mut(&room_id).expect("a member's room is known");
            let tag = &mut room.members.get_mut(index).tag;
            tag.has_roster &= tag.presence_mode == presence_mode;
            tag.presence_mode = presence_mode;
            return;
        }
        let user = user.expect("only an identified session has memberships");
        let room = self.rooms.entry(room_id).or_default();
        let tag = MemberTag { user, presence_mode, has_roster: false };
        let index = room.members.add(session, tag, engine);
        let membership = self.live(session).memberships.get_mut(membership_id);
        membership.expect("it was found above").index = Some(index);
    }

    /// The hot path: the batch is laid down once, and every member who wrote none of it is pointed
    /// to it.
    pub(super) fn fan_out(&mut self, room_id: RoomId, batch: &Batch, engine: &mut Engine) {
        // Without members here, the batch has an ack for a publisher that has left.
        if let Some(room) = self.rooms.get(&room_id) {
            // Few authors per batch, so a scan beats a set.
            let mut authors: SmallVec<[UserId; 16]> = SmallVec::new();
            for message in &batch.messages {
                if !authors.contains(&message.author) {
                    authors.push(message.author);
                }
            }
            room.members.fan_out(
                room_id.0,
                &batch.shared,
                engine,
                |member| authors.contains(&member.tag.user),
                |member, engine| deliver_each(member, batch, engine),
            );
            let deliveries = room.members.len() as u64 * batch.messages.len() as u64;
            engine.counters.deliveries += deliveries;
            engine.counters.events_out += deliveries;
        }
        let own = engine.shard();
        for message in &batch.messages {
            if let (Some(id), Some(publisher)) = (message.ack, message.publisher)
                && publisher.shard() == own
            {
                let packet = frames::ack_message(id, message.id, message.seq);
                engine.emit_event(publisher, &packet);
            }
        }
    }

    fn member_roster(
        &mut self,
        room: RoomId,
        session: SessionId,
        frame: &Bytes,
        engine: &mut Engine,
    ) {
        let index = self.local(session).and_then(|local| local.memberships.index_in(room));
        let Some(index) = index else {
            // The member left while the frame was under way.
            engine.counters.stale_deliveries += 1;
            return;
        };
        let room = self.rooms.get_mut(&room).expect("a member's room is known");
        room.members.get_mut(index).tag.has_roster = true;
        engine.counters.events_out += 1;
        engine.emit_frame(session, frame);
    }

    pub(super) fn roster(
        &mut self,
        room: RoomId,
        presence_mode: PresenceMode,
        frame: &Bytes,
        engine: &mut Engine,
    ) {
        let Some(room) = self.rooms.get_mut(&room) else {
            // The last member here left while the frame was under way.
            engine.counters.stale_deliveries += 1;
            return;
        };
        room.members.broadcast(frame, engine, |member| {
            let tag = &mut member.tag;
            if tag.presence_mode != presence_mode {
                return false;
            }
            match presence_mode {
                // Changes mean nothing before the snapshot they change.
                PresenceMode::Delta => tag.has_roster,
                PresenceMode::Full | PresenceMode::Count => {
                    tag.has_roster = true;
                    true
                }
            }
        });
    }
}

/// For the authors of the batch and for those who poll. What lies between two messages of the member
/// is one piece.
fn deliver_each(member: &Member, batch: &Batch, engine: &mut Engine) {
    let Some(pipe) = member.pipe else { return deliver_polled(member, batch, engine) };
    let mut from = 0;
    for message in &batch.messages {
        if message.author == member.tag.user {
            if from < message.shared.start {
                engine.push_frames(pipe, &batch.shared[from..message.shared.start]);
            }
            engine.push_frames(pipe, &message.own);
            from = message.shared.end;
        }
    }
    if from < batch.shared.len() {
        engine.push_frames(pipe, &batch.shared[from..]);
    }
}

fn deliver_polled(member: &Member, batch: &Batch, engine: &mut Engine) {
    for message in &batch.messages {
        if message.author == member.tag.user {
            engine.emit_frame(member.session, &message.own);
        } else {
            let frame = Bytes::copy_from_slice(&batch.shared[message.shared.clone()]);
            engine.emit_frame(member.session, &frame);
        }
    }
}

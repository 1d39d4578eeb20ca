//! What homes say: answers, rosters and the fan-out.

use super::*;

impl Edge {
    pub(crate) fn delivery(&mut self, delivery: Delivery, engine: &mut Engine) {
        match delivery {
            Delivery::Joined { room, conn, ticket, hearing, seq, online, ack } => {
                self.joined(conn, ticket, hearing, engine);
                self.note_connection(conn);
                if let Some(id) = ack {
                    engine.emit_event(conn, &frames::ack_room(id, room, online, seq));
                }
            }
            Delivery::JoinRefused { conn, ticket, why, ack } => {
                let Some(local) = self.local(conn) else { return };
                if let Some(stay) = local.rooms.iter_mut().find(|stay| stay.ticket == ticket) {
                    stay.joining = stay.joining.saturating_sub(1);
                    if stay.joining == 0 && stay.index.is_none() {
                        self.end_stay(conn, ticket);
                    }
                }
                *why.counter(&mut engine.counters) += 1;
                engine.emit_event(conn, &frames::refusal("room", why, ack));
            }
            Delivery::LeaveRefused { conn, why, ack } => {
                *why.counter(&mut engine.counters) += 1;
                engine.emit_event(conn, &frames::refusal("roomout", why, ack));
            }
            Delivery::Left { room, conn, ticket, seq, online, frame, ack } => {
                self.end_stay(conn, ticket);
                let is_connected = engine.session(conn).is_some_and(|s| s.is_connected(0));
                if let Some(frame) = frame.filter(|_| is_connected) {
                    engine.emit_frame(conn, &frame);
                }
                if let Some(id) = ack {
                    engine.emit_event(conn, &frames::ack_room(id, room, online, seq));
                }
            }
            Delivery::PublishRefused { conn, why, ack } => {
                if self.local(conn).is_some() {
                    *why.counter(&mut engine.counters) += 1;
                    engine.emit_event(conn, &frames::refusal("message", why, ack));
                }
            }
            Delivery::PublishAccepted { conn, ack, id, seq } => {
                if let Some(ack) = ack {
                    engine.emit_event(conn, &frames::ack_message(ack, id, seq));
                }
            }
            Delivery::FanOut { room, messages } => self.fan_out(room, &messages, engine),
            Delivery::Roster { room, hearing, frame } => {
                self.roster(room, hearing, &frame, engine);
            }
            Delivery::Snapshot { room, conns, frame } => {
                for conn in conns {
                    self.snapshot(room, conn, &frame, engine);
                }
            }
            Delivery::Reading { user, room, seq, is_reading } => {
                self.note_mark(user, Mark { room, seq, is_reading });
            }
            Delivery::Watched { user, marks } => self.watched(user, &marks),
            Delivery::Tip { room, seq } => {
                self.tips.insert(room, seq);
                self.changed_tips.insert(room);
            }
        }
    }

    pub(super) fn joined(
        &mut self,
        conn: ConnId,
        ticket: Ticket,
        hearing: Hearing,
        engine: &mut Engine,
    ) {
        let Some(local) = self.local(conn) else {
            engine.counters.stale_deliveries += 1;
            return;
        };
        let Some(identity) = local.identity else { return };
        // The stay is over already if its end overtook this answer.
        let Some(stay) = local.rooms.iter_mut().find(|stay| stay.ticket == ticket) else {
            engine.counters.stale_deliveries += 1;
            return;
        };
        stay.joining = stay.joining.saturating_sub(1);
        let room_id = stay.room;
        if let Some(index) = stay.index {
            if let Some(room) = self.rooms.get_mut(&room_id) {
                let member = &mut room.members[index as usize];
                member.has_roster &= member.hearing == hearing;
                member.hearing = hearing;
            }
            return;
        }
        let room = self.rooms.entry(room_id).or_default();
        let index = room.members.len() as u32;
        room.members.push(Member {
            conn,
            pipe: pipe_of(engine, conn),
            user: identity.user,
            hearing,
            has_roster: false,
        });
        if let Some(local) = self.local(conn)
            && let Some(stay) = local.rooms.iter_mut().find(|stay| stay.ticket == ticket)
        {
            stay.index = Some(index);
        }
    }

    /// The hot path: the batch is laid down once, and every member who wrote none of it is pointed
    /// to it.
    pub(super) fn fan_out(&mut self, room_id: RoomId, batch: &Batch, engine: &mut Engine) {
        if let Some(room) = self.rooms.get(&room_id) {
            let bound = engine.settings.outbound_bytes_max as usize;
            // Few authors per batch, so a scan beats a set.
            let mut authors: SmallVec<[UserId; 16]> = SmallVec::new();
            for message in &batch.messages {
                if !authors.contains(&message.author) {
                    authors.push(message.author);
                }
            }
            let span = engine.outbox.share(room_id.0, &batch.shared);
            for member in &room.members {
                match member.pipe {
                    Some(pipe) if !authors.contains(&member.user) => {
                        let queued = match span {
                            Some(span) => engine.outbox.push_span(pipe, span),
                            None => engine.outbox.push(pipe, &batch.shared),
                        };
                        if queued > bound {
                            engine.check_bound(member.conn, queued);
                        }
                    }
                    _ => deliver_each(member, batch, engine),
                }
            }
            let deliveries = room.members.len() as u64 * batch.messages.len() as u64;
            engine.counters.deliveries += deliveries;
            engine.counters.events_out += deliveries;
        }
        let own = engine.settings.shard;
        for message in &batch.messages {
            if let (Some(id), Some(publisher)) = (message.ack, message.publisher)
                && publisher.shard() == own
            {
                let packet = frames::ack_message(id, message.id, message.seq);
                engine.emit_event(publisher, &packet);
            }
        }
        if let Some(last) = batch.messages.last() {
            self.tips.insert(room_id, last.seq);
        }
    }

    fn snapshot(&mut self, room: RoomId, conn: ConnId, frame: &Bytes, engine: &mut Engine) {
        let index = self.local(conn).and_then(|local| {
            local.rooms.iter().filter(|stay| stay.room == room).find_map(|stay| stay.index)
        });
        if let Some(index) = index
            && let Some(room) = self.rooms.get_mut(&room)
        {
            room.members[index as usize].has_roster = true;
            engine.counters.events_out += 1;
            engine.emit_frame(conn, frame);
        }
    }

    pub(super) fn roster(
        &mut self,
        room: RoomId,
        hearing: Hearing,
        frame: &Bytes,
        engine: &mut Engine,
    ) {
        let Some(room) = self.rooms.get_mut(&room) else { return };
        for member in &mut room.members {
            if member.hearing != hearing {
                continue;
            }
            match hearing {
                // Changes mean nothing before the snapshot they change.
                Hearing::Delta if !member.has_roster => continue,
                Hearing::Delta => {}
                Hearing::Full | Hearing::Count => member.has_roster = true,
            }
            engine.counters.events_out += 1;
            match member.pipe {
                Some(pipe) => {
                    let queued = engine.outbox.push_shared(pipe, frame);
                    engine.check_bound(member.conn, queued);
                }
                None => engine.emit_frame(member.conn, frame),
            }
        }
    }
}

/// For the authors of the batch and for those who poll. What lies between two messages of the member
/// is one piece.
fn deliver_each(member: &Member, batch: &Batch, engine: &mut Engine) {
    let Some(pipe) = member.pipe else { return deliver_polled(member, batch, engine) };
    let mut queued = 0;
    let mut from = 0;
    for message in &batch.messages {
        if message.author == member.user {
            if from < message.shared.start {
                engine.outbox.push(pipe, &batch.shared[from..message.shared.start]);
            }
            queued = engine.outbox.push(pipe, &message.own);
            from = message.shared.end;
        }
    }
    if from < batch.shared.len() {
        queued = engine.outbox.push(pipe, &batch.shared[from..]);
    }
    engine.check_bound(member.conn, queued);
}

fn deliver_polled(member: &Member, batch: &Batch, engine: &mut Engine) {
    for message in &batch.messages {
        if message.author == member.user {
            engine.emit_frame(member.conn, &message.own);
        } else {
            let frame = Bytes::copy_from_slice(&batch.shared[message.shared.clone()]);
            engine.emit_frame(member.conn, &frame);
        }
    }
}

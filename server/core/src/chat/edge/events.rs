//! What clients say, acted upon.

use super::*;

impl Edge {
    pub(super) fn refuse(
        &mut self,
        conn: ConnId,
        name: &str,
        why: Refusal,
        ack: AckId,
        cx: &mut Context<'_>,
    ) {
        *why.counter(&mut cx.engine.counters) += 1;
        cx.engine.emit_event(conn, &frames::refusal(name, why, ack));
    }

    pub(super) fn event(&mut self, conn: ConnId, event: Event, cx: &mut Context<'_>) {
        let (events_max, bytes_max) =
            (self.settings.stall_events_max as usize, self.settings.stall_bytes_max as usize);
        let Some(local) = self.local(conn) else { return };
        if let Some(stall) = &mut local.stall {
            if stall.queue.len() >= events_max || stall.bytes + event.data.len() > bytes_max {
                return cx.engine.end(conn, CloseReason::Limit);
            }
            stall.bytes += event.data.len();
            stall.queue.push_back(Queued::Event(event));
            return;
        }
        let known = local.identity;
        let mut buffer = std::mem::take(&mut self.buffer);
        let token = event.judge(&mut buffer, self.settings.event_bytes_max as usize);
        self.buffer = buffer;
        match token {
            Err(why) => {
                let name = event.name();
                self.refuse(conn, &name, why, event.ack, cx);
            }
            Ok(Some(token)) if known.is_none_or(|known| known.token != token) => {
                if cx.lanes.command(Command::Authenticate { conn, token }).is_err() {
                    cx.engine.counters.lane_refusals_store += 1;
                    let name = event.name();
                    return self.refuse(conn, &name, Refusal::Busy, event.ack, cx);
                }
                if let Some(local) = self.local(conn) {
                    local.stall = Some(Stall::new(Waiting::Event(token, event)));
                }
            }
            Ok(_) => self.act(conn, event, cx),
        }
    }

    /// Acts on an event whose token, if any, is the connection's.
    pub(super) fn act(&mut self, conn: ConnId, event: Event, cx: &mut Context<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.try_act(conn, &event, &mut buffer, cx);
        self.buffer = buffer;
        if let Err(why) = outcome {
            let name = event.name();
            self.refuse(conn, &name, why, event.ack, cx);
        }
    }

    pub(super) fn try_act(
        &mut self,
        conn: ConnId,
        event: &Event,
        buffer: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let parsed = sio::event(&event.data).map_err(|_| Refusal::InvalidArgument)?;
        let payload = Payload::parse(sio::first_arg(parsed.args), buffer)?;
        let Some(local) = self.local(conn) else { return Ok(()) };
        let identity = local.identity.ok_or(Refusal::Unauthenticated)?;
        let ack = event.ack;
        match &*parsed.name {
            "login" => {
                self.take_join_token(conn, cx.engine.now)?;
                self.login(conn, identity.user, ack, cx);
            }
            "room" => {
                let (room, hearing) = (payload.room()?, payload.hearing()?);
                self.join(conn, identity.user, room, hearing, ack, cx)?;
            }
            "roomout" => {
                let room = payload.room()?;
                self.leave(conn, room, ack, cx)?;
            }
            "message" => self.message(conn, &payload, ack, cx)?,
            _ => return Err(Refusal::UnknownEvent),
        }
        Ok(())
    }

    pub(super) fn take_join_token(&mut self, conn: ConnId, now: Now) -> Result<(), Refusal> {
        let (per_s, burst) = (self.settings.join_per_s, self.settings.join_burst);
        let is_taken = self.local(conn).is_some_and(|l| l.rates.joins.take(now, per_s, burst));
        is_taken.then_some(()).ok_or(Refusal::RateLimited)
    }

    pub(super) fn login(&mut self, conn: ConnId, user: UserId, ack: AckId, cx: &mut Context<'_>) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        match &mut entry.reads {
            Reads::Loading(loading) => {
                loading.waiting.push((conn, ack));
                self.loading.insert(user);
            }
            Reads::Ready(_) => self.tell_counts(conn, user, ack, cx),
        }
    }

    pub(super) fn join(
        &mut self,
        conn: ConnId,
        user: UserId,
        room: RoomId,
        hearing: Hearing,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let now = cx.engine.now;
        let rooms_max = self.settings.rooms_per_session as usize;
        let is_exclusive = self.is_exclusive(conn, cx.engine);
        if self.settings.rooms_auto_create_max == 0 && !self.tips.contains_key(&room) {
            return Err(Refusal::UnknownRoom);
        }
        let card = self.users.get(&user).map(|user| user.card.clone());
        let card = card.ok_or(Refusal::Unauthenticated)?;
        self.take_join_token(conn, now)?;
        let Some(local) = self.local(conn) else { return Ok(()) };
        let known = local.rooms.iter().find(|stay| stay.room == room && !stay.is_leaving);
        let known = known.map(|stay| stay.ticket);
        let stays = local.rooms.iter().filter(|stay| !stay.is_leaving).count();
        if known.is_none() && !is_exclusive && stays >= rooms_max {
            return Err(Refusal::RoomLimit);
        }
        let ticket = known.unwrap_or(Ticket(local.last_ticket.0.wrapping_add(1)));
        self.pay_first(conn, room, cx)?;
        let to = home_of(&self.keyed, room, self.settings.shards);
        let request = Request::Join { room, conn, ticket, user: card, hearing, ack };
        if cx.lanes.request(to, request).is_err() {
            cx.engine.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy);
        }
        let Some(local) = self.local(conn) else { return Ok(()) };
        match local.rooms.iter_mut().find(|stay| stay.ticket == ticket) {
            Some(stay) => stay.joining = stay.joining.saturating_add(1),
            None => {
                local.last_ticket = ticket;
                let stay = Membership { room, ticket, joining: 1, is_leaving: false, index: None };
                local.rooms.push(stay);
            }
        }
        if is_exclusive {
            // In the order asked, whatever the home says: what comes next is from the new room.
            for owed in self.end_stays(conn, |stay| stay.room != room) {
                self.owe(owed, cx);
            }
        }
        Ok(())
    }

    /// Whether the session is in one room at a time.
    pub(super) fn is_exclusive(&self, conn: ConnId, engine: &Engine) -> bool {
        match self.settings.exclusive {
            Exclusive::Always => true,
            Exclusive::Never => false,
            Exclusive::Legacy => engine
                .session(conn)
                .is_some_and(|session| session.version == throng_wire::eio::Version::V3),
        }
    }

    pub(super) fn leave(
        &mut self,
        conn: ConnId,
        room: RoomId,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        if self.settings.rooms_auto_create_max == 0 && !self.tips.contains_key(&room) {
            return Err(Refusal::UnknownRoom);
        }
        let Some(local) = self.local(conn) else { return Ok(()) };
        let stay = local.rooms.iter_mut().find(|stay| stay.room == room && !stay.is_leaving);
        if let Some(stay) = stay {
            // The stay lasts until home has answered, so that the leaver hears everything that was
            // said before it left.
            stay.is_leaving = true;
            let ticket = stay.ticket;
            self.owe(Owed { room, conn, ticket, answer: Some(ack) }, cx);
            return Ok(());
        }
        local.last_ticket = Ticket(local.last_ticket.0.wrapping_add(1));
        let ticket = local.last_ticket;
        let now = cx.engine.now;
        self.take_join_token(conn, now)?;
        self.pay_first(conn, room, cx)?;
        let to = home_of(&self.keyed, room, self.settings.shards);
        let request = Request::Leave { room, conn, ticket, answer: Some(ack) };
        cx.lanes.request(to, request).map_err(|_| Refusal::Busy)
    }

    pub(super) fn message(
        &mut self,
        conn: ConnId,
        payload: &Payload<'_>,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let now = cx.engine.now;
        let room = payload.room()?;
        let (msg, img) = (event::text(&payload.msg)?, event::text(&payload.img)?);
        if msg.is_empty() && img.is_empty() {
            return Err(Refusal::InvalidArgument);
        }
        if msg.chars().nth(self.settings.message_chars_max as usize).is_some() {
            return Err(Refusal::TooLarge);
        }
        if !self.tips.contains_key(&room) && self.settings.rooms_auto_create_max == 0 {
            return Err(Refusal::UnknownRoom);
        }
        let (per_s, burst) = (self.settings.publish_per_s, self.settings.publish_burst);
        let image_bytes_max = self.settings.image_bytes_max as usize;
        let time = match event::time(&payload.time) {
            Some(time) => time.into(),
            None => self.server_time(now),
        };
        let Some(local) = self.local(conn) else { return Ok(()) };
        if !local.rooms.iter().any(|stay| stay.room == room && !stay.is_leaving) {
            return Err(Refusal::NotMember);
        }
        if !local.rates.publishes.take(now, per_s, burst) {
            return Err(Refusal::RateLimited);
        }
        let mut publish = Box::new(Publish { msg: msg.into(), img: Box::default(), time });
        match event::image(img, image_bytes_max)? {
            Image::None => {}
            Image::Url => publish.img = img.into(),
            Image::Data(bytes) => {
                let bytes = Bytes::from(bytes);
                if cx.lanes.command(Command::SaveImage { conn, bytes }).is_err() {
                    cx.engine.counters.lane_refusals_store += 1;
                    return Err(Refusal::Busy);
                }
                if let Some(local) = self.local(conn) {
                    let waiting = Waiting::Image { room, publish, ack };
                    match &mut local.stall {
                        Some(stall) => stall.waiting = waiting,
                        None => local.stall = Some(Stall::new(waiting)),
                    }
                }
                return Ok(());
            }
        }
        self.publish(conn, room, publish, ack, cx)
    }

    pub(super) fn publish(
        &mut self,
        conn: ConnId,
        room: RoomId,
        message: Box<Publish>,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        self.pay_first(conn, room, cx)?;
        let to = home_of(&self.keyed, room, self.settings.shards);
        let request = Request::Publish { room, conn, message, ack };
        if cx.lanes.request(to, request).is_err() {
            cx.engine.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy);
        }
        cx.engine.counters.messages_in += 1;
        Ok(())
    }

    pub(crate) fn image_saved(
        &mut self,
        conn: ConnId,
        outcome: Result<Box<str>, ImageFault>,
        cx: &mut Context<'_>,
    ) {
        let Some(local) = self.local(conn) else { return };
        let Some(stall) = local.stall.as_mut() else { return };
        if !matches!(stall.waiting, Waiting::Image { .. }) {
            return;
        }
        let token = local.identity.map_or(TokenHash([0; 32]), |identity| identity.token);
        let waiting = std::mem::replace(&mut stall.waiting, Waiting::Identity(token));
        let Waiting::Image { room, mut publish, ack } = waiting else { return };
        let result = match outcome {
            Ok(url) => {
                publish.img = url;
                self.publish(conn, room, publish, ack, cx)
            }
            Err(ImageFault::Invalid) => Err(Refusal::ImageInvalid),
            Err(ImageFault::StoreDown) => Err(Refusal::StorageUnavailable),
        };
        if let Err(why) = result {
            self.refuse(conn, "message", why, ack, cx);
        }
        self.resume(conn, cx);
    }

    pub(super) fn server_time(&self, now: Now) -> Box<str> {
        let ms = self.started_unix_ms.saturating_add((now.0 / 1_000_000) as i64);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        jiff::fmt::temporal::DateTimePrinter::new()
            .precision(Some(3))
            .timestamp_to_string(&time)
            .into()
    }
}

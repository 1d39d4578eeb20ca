//! Requests of clients, carried out.

use super::reads::Waiting;
use super::*;
use crate::client_event::WantedCounts;

impl Edge {
    pub(super) fn refuse(
        &mut self,
        session: SessionId,
        event: &EventName,
        refused: impl Into<Refused>,
        ack: AckId,
        cx: &mut Context<'_>,
    ) {
        let refused = refused.into();
        *refused.why.counter(cx.counters) += 1;
        if *event == EventName::Login || refused.why == Refusal::Unauthenticated {
            self.log_refused(session, refused.why, cx);
        }
        cx.engine.emit_event(session, &frames::refusal(event, refused, ack));
    }

    pub(super) fn log_refused(&mut self, session: SessionId, why: Refusal, cx: &mut Context<'_>) {
        let client = self.live(session).peer;
        cx.lanes.log(LogLine::Refused { session, client, code: why.code() });
    }

    pub(super) fn event(&mut self, session: SessionId, event: ClientEvent, cx: &mut Context<'_>) {
        let local = self.live(session);
        if local.pending.is_some() {
            return self.enqueue(session, Queued::Event(event), cx);
        }
        if let Err(RequestError::Event(why)) = event.request {
            return self.refuse(session, &event.name, why, event.ack, cx);
        }
        // What was put off is asked for with the first event that shows no other.
        let put_off = local.put_off.as_deref().filter(|_| local.identity.is_none());
        match event.token.or(put_off.copied()) {
            Some(token) if local.identity.is_none_or(|identity| identity.token != token) => {
                match self.ask_for(session, token, cx) {
                    Ok(()) => self.wait_for(session, Awaited::Event(token, event), cx),
                    Err(refused) => self.refuse(session, &event.name, refused, event.ack, cx),
                }
            }
            _ => self.act(session, event, cx),
        }
    }

    /// Acts on an event whose token, if any, is the connection's.
    pub(super) fn act(&mut self, session: SessionId, event: ClientEvent, cx: &mut Context<'_>) {
        let ClientEvent { name, ack, request, .. } = event;
        if let Err(refused) = self.try_act(session, ack, request, cx) {
            self.refuse(session, &name, refused, ack, cx);
        }
    }

    fn try_act(
        &mut self,
        session: SessionId,
        ack: AckId,
        request: Result<ClientRequest, RequestError>,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let local = self.live(session);
        let identity = local.identity.ok_or(Refusal::Unauthenticated)?;
        let request =
            request.map_err(|(RequestError::Event(why) | RequestError::Argument(why))| why)?;
        match request {
            ClientRequest::Login { wanted } => {
                self.quotas.take_join(cx.engine.sent(), identity.user)?;
                self.login(session, identity.user, wanted, ack, cx);
                Ok(())
            }
            ClientRequest::Join { room, presence_mode } => {
                self.join(session, identity.user, room, presence_mode, ack, cx)
            }
            ClientRequest::Leave { room } => self.leave(session, identity.user, room, ack, cx),
            ClientRequest::Message(message) => {
                self.message(session, identity.user, *message, ack, cx)
            }
            ClientRequest::Follow { room, follows } => {
                // What is refused counts too (ERR-13).
                self.quotas.take_join(cx.engine.sent(), identity.user)?;
                Ok(self.follow(session, identity.user, room, follows, ack, cx)?)
            }
        }
    }

    pub(super) fn login(
        &mut self,
        session: SessionId,
        user: UserId,
        wanted: WantedCounts,
        ack: AckId,
        cx: &mut Context<'_>,
    ) {
        let entry =
            self.users.get_mut(&user).expect("an identified session is listed with its user");
        match &mut entry.reads {
            Reads::Loading(loading) => {
                loading.waiting.push((session, Waiting::Login { wanted, ack }));
                self.loading.insert(user);
            }
            Reads::Ready => self.answer_login(session, user, wanted, ack, cx),
        }
    }

    pub(super) fn join(
        &mut self,
        session: SessionId,
        user: UserId,
        room: RoomId,
        presence_mode: PresenceMode,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        // What is refused counts too (ERR-13).
        self.quotas.take_join(cx.engine.sent(), user)?;
        let rooms_max = self.settings.rooms_per_session_max as usize;
        let is_exclusive = self.is_exclusive(session, cx.engine);
        if self.settings.auto_create_max == 0 && !self.tips.knows(room) {
            return Err(Refusal::UnknownRoom.into());
        }
        let entry = self.users.get(&user).expect("an identified session is listed with its user");
        let card = entry.card.clone();
        let local = self.live(session);
        let client = Box::new(local.peer);
        let known = local.memberships.current(room);
        if known.is_some_and(|membership| membership.joining == u16::MAX) {
            return Err(Refusal::Busy.into());
        }
        let known = known.map(|membership| membership.id);
        let memberships = local.memberships.iter().filter(|membership| !membership.is_leaving);
        if known.is_none() && !is_exclusive && memberships.count() >= rooms_max {
            return Err(Refusal::RoomLimit.into());
        }
        let membership_id = known.unwrap_or_else(|| local.memberships.next_id());
        self.send_leave_first(session, room, cx)?;
        let to = home_of(&self.keyed, room, self.shards);
        let request =
            Request::Join { room, session, client, membership_id, user: card, presence_mode, ack };
        if cx.lanes.request(to, request).is_err() {
            cx.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy.into());
        }
        self.live(session).memberships.joining(room, membership_id);
        if is_exclusive {
            // In the order asked, whatever the home says: what comes next is from the new room.
            for owed in self.end_memberships(session, |membership| membership.room != room) {
                self.send_leave(owed, cx);
            }
        }
        Ok(())
    }

    /// Whether the session is in one room at a time.
    pub(super) fn is_exclusive(&self, session: SessionId, engine: &Engine) -> bool {
        match self.settings.exclusive {
            Exclusive::Always => true,
            Exclusive::Never => false,
            Exclusive::Legacy => engine
                .session(session)
                .is_some_and(|session| session.version() == throng_wire::eio::Version::V3),
        }
    }

    pub(super) fn leave(
        &mut self,
        session: SessionId,
        user: UserId,
        room: RoomId,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        if self.settings.auto_create_max == 0 && !self.tips.knows(room) {
            return Err(Refusal::UnknownRoom.into());
        }
        let local = self.live(session);
        let client = local.peer;
        if let Some(membership) = local.memberships.current_mut(room) {
            // The membership lasts until home has answered, so that the client receives everything
            // that was published before it left.
            membership.is_leaving = true;
            let membership_id = membership.id;
            let answer = Some(ack);
            self.send_leave(LeaveDue { room, session, client, membership_id, answer }, cx);
            return Ok(());
        }
        let membership_id = local.memberships.next_id();
        self.quotas.take_join(cx.engine.sent(), user)?;
        self.send_leave_first(session, room, cx)?;
        let to = home_of(&self.keyed, room, self.shards);
        let (client, answer) = (Box::new(client), Some(ack));
        let request = Request::Leave { room, session, client, membership_id, answer };
        cx.lanes.request(to, request).map_err(|_| Refusal::Busy.into())
    }

    pub(super) fn message(
        &mut self,
        session: SessionId,
        user: UserId,
        message: MessageRequest,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let sent = cx.engine.sent();
        // What is refused counts too (ERR-13): nobody gets errors without limit.
        self.quotas.take_publish(sent, user)?;
        let MessageRequest { room, msg, img, time, cid } = message;
        if msg.is_empty() && img.is_empty() {
            return Err(Refusal::InvalidArgument.into());
        }
        if msg.chars().nth(self.settings.message_chars_max as usize).is_some() {
            return Err(Refusal::TooLarge.into());
        }
        if !self.tips.knows(room) && self.settings.auto_create_max == 0 {
            return Err(Refusal::UnknownRoom.into());
        }
        let image_bytes_max = self.settings.image_bytes_max as usize;
        let time = time.unwrap_or_else(|| server_time(cx.engine.unix_ms()));
        let local = self.live(session);
        if local.memberships.current(room).is_none() {
            return Err(Refusal::NotMember.into());
        }
        let image = img.judge(image_bytes_max)?;
        let mut publish = Box::new(Publish { msg, img: Box::default(), time, cid });
        let text_bytes = publish.msg.len() as u64;
        match image {
            Image::None => self.quotas.take_bytes(sent, user, text_bytes)?,
            Image::Url(url) => {
                self.quotas.take_bytes(sent, user, text_bytes + url.len() as u64)?;
                publish.img = url;
            }
            Image::Data { url, bytes_max } => {
                self.quotas.take_upload(sent, user, text_bytes + bytes_max as u64)?;
                let bytes = url.held();
                let cid = publish.cid.clone();
                let command = Command::SaveImage { session, user, room, cid, image: url };
                if cx.lanes.command(command).is_err() {
                    cx.counters.lane_refusals_store += 1;
                    return Err(Refusal::Busy.into());
                }
                cx.engine.keep(session, bytes);
                let taken = (user, text_bytes + bytes_max as u64);
                let awaited = Awaited::Image { room, publish, ack, bytes, taken };
                let local = self.live(session);
                match &mut local.pending {
                    Some(pending) => pending.awaited = Some(awaited),
                    None => local.pending = Some(PendingEvents::new(awaited)),
                }
                return Ok(());
            }
        }
        Ok(self.publish(session, room, publish, ack, cx)?)
    }

    pub(super) fn publish(
        &mut self,
        session: SessionId,
        room: RoomId,
        message: Box<Publish>,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        self.send_leave_first(session, room, cx)?;
        let to = home_of(&self.keyed, room, self.shards);
        let request = Request::Publish { room, session, message, ack };
        if cx.lanes.request(to, request).is_err() {
            cx.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy);
        }
        cx.counters.messages_in += 1;
        Ok(())
    }

    pub(crate) fn image_saved(
        &mut self,
        session: SessionId,
        outcome: Result<SavedImage, ImageFault>,
        cx: &mut Context<'_>,
    ) {
        let is_awaited = |local: &&mut LocalSession| {
            let awaited = local.pending.as_ref().and_then(|pending| pending.awaited.as_ref());
            matches!(awaited, Some(Awaited::Image { .. }))
        };
        let Some(local) = self.local(session).filter(is_awaited) else {
            // The session ended while its image was being saved.
            cx.counters.stale_replies += 1;
            return;
        };
        let pending = local.pending.as_mut().expect("it awaits the image");
        let Some(Awaited::Image { room, mut publish, ack, bytes, taken }) = pending.awaited.take()
        else {
            unreachable!("it awaits the image");
        };
        cx.engine.let_go(session, bytes);
        let result = match outcome {
            Ok(saved) => {
                publish.img = match saved {
                    SavedImage::Kept(url) => url,
                    // What is repeated was counted the first time.
                    SavedImage::OfFirst(url) => {
                        self.quotas.give_back_upload(taken.0, taken.1);
                        url
                    }
                };
                self.publish(session, room, publish, ack, cx)
            }
            Err(ImageFault::Invalid) => Err(Refusal::ImageInvalid),
            Err(ImageFault::TooLarge) => Err(Refusal::TooLarge),
            Err(ImageFault::StoreDown) => Err(Refusal::StorageUnavailable),
        };
        if let Err(why) = result {
            self.refuse(session, &EventName::Message, why, ack, cx);
        }
        self.resume(session, cx);
    }
}

fn server_time(unix_ms: i64) -> Box<str> {
    // The machine's clock may say anything.
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::MAX);
    jiff::fmt::temporal::DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&time).into()
}

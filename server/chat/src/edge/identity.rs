//! Whose connection it is: tokens, the events that wait for them, and who leaves with them.

use super::reads::Waiting;
use super::*;
use crate::canary::{Canary, is_armed};

impl Edge {
    pub(super) fn connected(
        &mut self,
        session: SessionId,
        auth: Option<Box<str>>,
        cx: &mut Context<'_>,
    ) {
        let Some(auth) = auth else { return }; // A CONNECT without a payload.
        match client_event::connect_token(auth) {
            Ok(Some(token)) => self.identify(session, token, cx),
            Err(why) => self.refuse(session, &EventName::Login, why, None, cx),
            Ok(None) => {}
        }
    }

    /// Asks whose token this is; events wait meanwhile.
    pub(super) fn identify(&mut self, session: SessionId, token: TokenHash, cx: &mut Context<'_>) {
        let local = self.live(session);
        if local.identity.is_some_and(|identity| identity.token == token) {
            return;
        }
        if local.pending.is_some() {
            // An earlier token is being looked up; if this one turns out invalid, that one stays
            // (SIO-19).
            return self.enqueue(session, Queued::Identity(token), cx);
        }
        match self.ask_for(session, token, cx) {
            Ok(()) => self.wait_for(session, Awaited::Identity(token), cx),
            Err(refused) => {
                // Before CONNECT the client is not notified.
                self.live(session).put_off = Some(Box::new(token));
                self.refuse(session, &EventName::Login, refused, None, cx);
            }
        }
    }

    /// Asks the store whose token it is, unless the client has shown too many that are not valid, or sessions of this
    /// user too many that were not theirs.
    pub(super) fn ask_for(
        &mut self,
        session: SessionId,
        token: TokenHash,
        cx: &mut Context<'_>,
    ) -> Result<(), Refused> {
        let local = self.live(session);
        let (client, identity) = (local.client, local.identity);
        if let Some(Identity { user, .. }) = identity {
            self.quotas
                .take_other_token(cx.engine.sent(), user)
                .inspect_err(|_| cx.counters.token_lookups_refused += 1)?;
        }
        self.invalid_tokens.take(cx.engine.now(), client).map_err(|wait_ns| {
            cx.counters.token_lookups_refused += 1;
            let retry_after_ms = Some(wait_ns.div_ceil(1_000_000));
            Refused { why: Refusal::RateLimited, retry_after_ms }
        })?;
        if cx.lanes.command(Command::Authenticate { session, token, client }).is_err() {
            self.invalid_tokens.give_back(client);
            cx.counters.lane_refusals_store += 1;
            return Err(Refusal::Busy.into());
        }
        self.live(session).put_off.take_if(|put_off| **put_off == token);
        Ok(())
    }

    /// The session's next events wait for the store to answer whose its token is.
    pub(super) fn wait_for(&mut self, session: SessionId, awaited: Awaited, cx: &mut Context<'_>) {
        let pending = PendingEvents::new(awaited);
        let token = pending.token().expect("what is waited for is about a token");
        self.live(session).pending = Some(pending);
        self.asking.insert(token, session);
        cx.engine.set_trust(session, Trust::Claimed);
    }

    /// The store knows (or does not know) a token.
    pub(crate) fn authenticated(
        &mut self,
        session: SessionId,
        token: TokenHash,
        client: ClientBucket,
        outcome: Result<Option<Arc<UserCard>>, StoreDown>,
        cx: &mut Context<'_>,
    ) {
        if !matches!(outcome, Ok(None)) {
            self.invalid_tokens.give_back(client);
        }
        let pending = self.local(session).and_then(|local| local.pending.as_mut());
        let Some(pending) = pending.filter(|pending| pending.asks_for(token)) else {
            // The session ended while its token was looked up.
            cx.counters.stale_replies += 1;
            return;
        };
        let outcome = if pending.is_revoked { Ok(None) } else { outcome };
        let event = match pending.awaited.take() {
            Some(Awaited::Event(_, event)) => Some(event),
            Some(Awaited::Identity(_)) => None,
            Some(Awaited::Image { .. }) | None => unreachable!("it asks for a token"),
        };
        if !is_armed(Canary::KeepAsking) {
            self.asking.remove(token, session);
        }
        let refusal = match outcome {
            Ok(Some(card)) => {
                self.bind(session, token, card, cx);
                None
            }
            Ok(None) => Some(Refusal::Unauthenticated),
            Err(StoreDown) => Some(Refusal::StorageUnavailable),
        };
        if self.live(session).identity.is_none() {
            cx.engine.set_trust(session, Trust::Anonymous);
        }
        match (event, refusal) {
            (Some(event), None) => self.act(session, event, cx),
            (Some(event), Some(why)) => {
                self.refuse(session, &event.name, why, event.ack, cx);
            }
            (None, Some(why)) => self.refuse(session, &EventName::Login, why, None, cx),
            (None, None) => {}
        }
        self.resume(session, cx);
    }

    /// Handles what waited, until something has to wait again.
    pub(super) fn resume(&mut self, session: SessionId, cx: &mut Context<'_>) {
        let local = self.live(session);
        let pending = local.pending.take().expect("a session resumes after it waited");
        if pending.awaited.is_some() {
            // `act` has to wait for an answer again.
            local.pending = Some(pending);
            return;
        }
        let PendingEvents { mut queue, mut bytes, .. } = *pending;
        while let Some(queued) = queue.pop_front() {
            bytes -= queued.bytes();
            cx.engine.let_go(session, queued.bytes());
            match queued {
                Queued::Event(event) => self.event(session, event, cx),
                Queued::Identity(token) => self.identify(session, token, cx),
                Queued::Disconnected => self.leave_all(session, cx),
            }
            if let Some(pending) = &mut self.live(session).pending {
                (pending.queue, pending.bytes) = (queue, bytes);
                return;
            }
        }
    }

    /// Gives the connection an identity; another user's rooms are left first.
    pub(super) fn bind(
        &mut self,
        session: SessionId,
        token: TokenHash,
        card: Arc<UserCard>,
        cx: &mut Context<'_>,
    ) {
        let user = card.id;
        let old = self.local(session).and_then(|local| local.identity);
        if old.is_some_and(|old| old.user != user) {
            self.unbind(session, cx);
        }
        let sessions_max = self.settings.sessions_per_user_max as usize;
        let (load, shards) = (self.last_load.advance(), self.shards);
        let entry = self.users.entry(user).or_insert_with(|| {
            Box::new(LocalUser {
                card: card.clone(),
                sessions: SmallVec::new(),
                marks: KnownMarks::default(),
                reads: Reads::new(load, shards),
            })
        });
        entry.card = card;
        if !entry.sessions.contains(&session) {
            if entry.sessions.len() >= sessions_max {
                cx.engine.end(session, CloseReason::Limit("limits.sessions_per_user_max"));
                return;
            }
            entry.sessions.push(session);
            if entry.sessions.len() == 1 {
                self.loading.insert(user);
            }
        }
        let local = find(&mut self.locals, session).expect("the caller found the session");
        if old.is_none_or(|old| old.user != user) {
            local.told = Told::all(self.tips.last());
        }
        let replaced = local.identity.replace(Identity { user, token });
        local.put_off = None;
        if let Some(replaced) = replaced {
            self.bound.remove(replaced.token, session);
        }
        self.bound.insert(token, session);
        if old.is_none_or(|old| old.user != user) {
            cx.lanes.log(LogLine::Identified { session, client: local.peer, user });
        }
        cx.engine.set_owner(session, Owner(user.0.into()));
        self.note_session(session);
    }

    /// Takes the identity away, and the rooms with it.
    pub(super) fn unbind(&mut self, session: SessionId, cx: &mut Context<'_>) {
        self.leave_all(session, cx);
        self.stop_waiting(session);
        let identity = self.live(session).identity.take().expect("only a bound session is unbound");
        self.bound.remove(identity.token, session);
        cx.engine.set_trust(session, Trust::Anonymous);
        self.note_session(session);
        for waiting in self.forget_session(identity.user, session) {
            let (event, ack) = waiting.event();
            self.refuse(session, &event, Refusal::Unauthenticated, ack, cx);
        }
    }

    /// Returns what of the session still waits for an answer.
    pub(super) fn forget_session(&mut self, user: UserId, session: SessionId) -> Vec<Waiting> {
        let entry =
            self.users.get_mut(&user).expect("an identified session is listed with its user");
        entry.sessions.retain(|other| *other != session);
        let mut unanswered = Vec::new();
        if let Reads::Loading(loading) = &mut entry.reads {
            let waiting = &mut loading.waiting;
            let own = waiting.iter().filter(|(other, _)| *other == session);
            unanswered.extend(own.map(|(_, waiting)| *waiting));
            waiting.retain(|(other, _)| *other != session);
        }
        if entry.sessions.is_empty() {
            let entry = self.users.remove(&user).expect("it was found above");
            self.stop_following(&entry.marks);
            self.loading.remove(&user);
            self.reads_failed.remove(&user);
        }
        unanswered
    }

    pub(crate) fn revoked(&mut self, token: TokenHash, cx: &mut Context<'_>) {
        let bound = self
            .bound
            .slots(token)
            .map(|slot| self.locals[slot].as_deref().expect("a session that is listed is served"));
        let sessions: Vec<SessionId> = bound
            .filter(|local| local.identity.is_some_and(|identity| identity.token == token))
            .map(|local| local.session)
            .collect();
        for session in sessions {
            self.unbind(session, cx);
            self.log_refused(session, Refusal::Unauthenticated, cx);
            let packet = frames::refusal(&EventName::Login, Refusal::Unauthenticated, None);
            cx.engine.emit_event(session, &packet);
        }
        // A lookup that the store answered before the logout must not bind the token after it.
        for slot in self.asking.slots(token) {
            let local = self.locals[slot].as_mut().expect("a session that is listed is served");
            let pending = local.pending.as_mut().expect("a session waits for what it asks");
            pending.is_revoked |= pending.asks_for(token);
        }
    }

    pub(crate) fn user_changed(&mut self, card: &Arc<UserCard>) {
        // Every shard is notified; this one may have no session of the user.
        if let Some(user) = self.users.get_mut(&card.id) {
            user.card = card.knowing(&user.card);
        }
    }
}

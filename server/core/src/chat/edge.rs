//! The members this shard serves: identities, memberships, what they say and what they hear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use throng_wire::sio;

use super::bucket::Bucket;
use super::event::{self, Image, Payload};
use super::frames;
use super::lane::{AckId, Batch, Delivery, Hearing, Mark, Publish, Refusal, Request};
use super::lanes::Lanes;
use super::maps::{Keyed, Map, home_of};
use crate::effect::{Command, LogLine};
use crate::engine::{Carrier, CloseReason, Engine, Happening, Session};
use crate::ids::{ConnId, PipeId, RoomId, Seq, TokenHash, UserId};
use crate::input::{ImageFault, StoreDown, UserCard};
use crate::now::Now;
use crate::settings::{Exclusive, RoomInfo, Settings};

/// Rooms in one `count` event.
const COUNTED_ROOMS_MAX: usize = 1000;
const LANE_RETRY_MS: u64 = 1;

/// One event of a client, owned so that it can wait.
pub(crate) struct Event {
    ack: AckId,
    data: Box<str>,
    is_binary: bool,
}

/// What a session's next events wait for.
enum Waiting {
    /// A token of the handshake or of CONNECT.
    Identity(TokenHash),
    /// The token of `Event`, which is handled next.
    Event(TokenHash, Event),
    Image {
        room: RoomId,
        publish: Box<Publish>,
        ack: AckId,
    },
}

/// What a session sent while it was stalled.
enum Queued {
    Event(Event),
    Identity(TokenHash),
}

struct Stall {
    waiting: Waiting,
    queue: VecDeque<Queued>,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Identity {
    user: UserId,
    token: TokenHash,
}

struct Membership {
    room: RoomId,
    /// Joins sent and not answered.
    joining: u8,
    /// Place in [`LocalRoom::members`].
    index: Option<u32>,
}

struct Local {
    conn: ConnId,
    identity: Option<Identity>,
    rooms: SmallVec<[Membership; 1]>,
    publishes: Bucket,
    joins: Bucket,
    stall: Option<Box<Stall>>,
}

/// One member as the fan-out sees it. `pipe` is the WebSocket it listens on, or `None` while it
/// polls.
#[derive(Clone, Copy)]
struct Member {
    conn: ConnId,
    pipe: Option<PipeId>,
    user: UserId,
    hearing: Hearing,
    has_roster: bool,
}

#[derive(Default)]
struct LocalRoom {
    members: Vec<Member>,
}

/// A user with at least one session here.
struct LocalUser {
    card: Arc<UserCard>,
    sessions: SmallVec<[ConnId; 2]>,
    reads: Reads,
    /// Rooms whose `count` the user has not been told.
    untold: BTreeSet<RoomId>,
}

/// How far the user has read every room; rooms that are absent were never read.
enum Reads {
    /// Homes and store are being asked; these sessions wait for their `count`.
    Loading {
        homes_missing: u32,
        watch_owed: Vec<u8>,
        /// The store is being asked.
        is_asked: bool,
        marks: Marks,
        waiting: Vec<(ConnId, AckId)>,
    },
    Ready(Marks),
}

/// Sorted by room. Most users know few rooms, and a tree would cost more than the marks.
#[derive(Default)]
struct Marks(SmallVec<[Mark; 1]>);

impl Marks {
    fn get(&self, room: RoomId) -> Option<&Mark> {
        let index = self.0.binary_search_by_key(&room, |mark| mark.room).ok()?;
        self.0.get(index)
    }

    fn insert(&mut self, mark: Mark) {
        match self.0.binary_search_by_key(&mark.room, |known| known.room) {
            Ok(index) => self.0[index] = mark,
            Err(index) => self.0.insert(index, mark),
        }
    }
}

pub(crate) struct Edge {
    settings: Settings,
    keyed: Keyed,
    started_unix_ms: i64,
    locals: Vec<Option<Box<Local>>>,
    users: Map<UserId, LocalUser>,
    rooms: Map<RoomId, LocalRoom>,
    /// Last message of every room, as far as this edge has heard.
    tips: BTreeMap<RoomId, Seq>,
    changed_tips: BTreeSet<RoomId>,
    untold_users: BTreeSet<UserId>,
    next_count_at: Now,
    /// Leaves that homes do not know yet. State, not messages: a full lane only delays them.
    owed: VecDeque<Owed>,
    /// Members whose session ended, until their grace is over.
    lingering: VecDeque<(Now, RoomId, ConnId)>,
    /// Users whose `Watch` or `Reads` did not fit a lane.
    loading: BTreeSet<UserId>,
    retry_at: Option<Now>,
    buffer: Vec<u8>,
}

struct Owed {
    room: RoomId,
    conn: ConnId,
    answer: Option<AckId>,
}

/// Engine and lanes, passed together.
pub(crate) struct Context<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) lanes: &'a mut Lanes,
}

impl Edge {
    pub(crate) fn new(
        settings: Settings,
        keyed: Keyed,
        started_unix_ms: i64,
        rooms: &[RoomInfo],
    ) -> Edge {
        Edge {
            settings,
            started_unix_ms,
            locals: Vec::new(),
            users: Map::with_hasher(keyed.clone()),
            rooms: Map::with_hasher(keyed.clone()),
            keyed,
            tips: rooms.iter().map(|room| (room.id, room.last_seq)).collect(),
            changed_tips: BTreeSet::new(),
            untold_users: BTreeSet::new(),
            next_count_at: Now::default(),
            owed: VecDeque::new(),
            lingering: VecDeque::new(),
            loading: BTreeSet::new(),
            retry_at: None,
            buffer: Vec::new(),
        }
    }

    fn local(&mut self, conn: ConnId) -> Option<&mut Local> {
        let local = self.locals.get_mut(conn.slot() as usize)?.as_deref_mut()?;
        (local.conn == conn).then_some(local)
    }

    // ---- sessions -----------------------------------------------------------------------------

    pub(crate) fn happened(&mut self, happening: Happening, cx: &mut Context<'_>) {
        match happening {
            Happening::Opened { conn, token } => {
                let slot = conn.slot() as usize;
                if self.locals.len() <= slot {
                    self.locals.resize_with(slot + 1, || None);
                }
                self.locals[slot] = Some(Box::new(Local {
                    conn,
                    identity: None,
                    rooms: SmallVec::new(),
                    publishes: Bucket::default(),
                    joins: Bucket::default(),
                    stall: None,
                }));
                if let Some(token) = token.as_deref().and_then(event::token_hash) {
                    self.identify(conn, token, cx);
                }
            }
            Happening::Connected { conn, auth, .. } => self.connected(conn, auth, cx),
            Happening::Event { conn, ack, data, attachments, .. } => {
                cx.engine.counters.messages_in += 1;
                let event = Event { ack, data, is_binary: !attachments.is_empty() };
                self.event(conn, event, cx);
            }
            Happening::Disconnected { conn, .. } => self.leave_all(conn, cx),
            Happening::Moved { conn } => self.moved(conn, cx),
            Happening::Ended { conn, reason, session } => self.ended(conn, reason, &session, cx),
            // Only endpoints without Socket.IO have these; the chat serves none.
            Happening::Text { conn, .. } | Happening::Binary { conn, .. } => {
                cx.engine.end(conn, CloseReason::ParseError);
            }
        }
    }

    fn connected(&mut self, conn: ConnId, auth: Option<Box<str>>, cx: &mut Context<'_>) {
        let Some(auth) = auth else { return };
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Auth<'a> {
            #[serde(borrow)]
            token: event::Field<'a>,
            #[serde(borrow)]
            api_token: event::Field<'a>,
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(auth.as_bytes());
        let auth: Auth<'_> = simd_json::serde::from_slice(&mut buffer).unwrap_or_default();
        let token = match (auth.api_token, auth.token) {
            (event::Field::Text(text), _) | (_, event::Field::Text(text)) => Some(text),
            _ => None,
        };
        let is_given = token.as_ref().is_some_and(|text| !text.is_empty());
        let hash = token.as_deref().and_then(event::token_hash);
        self.buffer = buffer;
        match hash {
            Some(hash) => self.identify(conn, hash, cx),
            None if is_given => {
                let packet = frames::refusal("login", Refusal::Unauthenticated, None);
                cx.engine.emit(conn, &packet);
            }
            None => {}
        }
    }

    /// Asks whose token this is; events wait meanwhile.
    fn identify(&mut self, conn: ConnId, token: TokenHash, cx: &mut Context<'_>) {
        let Some(local) = self.local(conn) else { return };
        if local.identity.is_some_and(|identity| identity.token == token) {
            return;
        }
        match &mut local.stall {
            None => local.stall = Some(Stall::new(Waiting::Identity(token))),
            // CONNECT came while the handshake's token is being looked up: the newest wins.
            Some(stall) if matches!(stall.waiting, Waiting::Identity(_)) => {
                stall.waiting = Waiting::Identity(token);
            }
            Some(stall) => return stall.queue.push_back(Queued::Identity(token)),
        }
        if cx.lanes.command(Command::Authenticate { conn, token }).is_err() {
            cx.engine.counters.lane_refusals_store += 1;
            self.refuse(conn, "login", Refusal::Busy, None, cx);
            self.resume(conn, cx);
        }
    }

    /// The store knows (or does not know) a token.
    pub(crate) fn authenticated(
        &mut self,
        conn: ConnId,
        token: TokenHash,
        outcome: Result<Option<Arc<UserCard>>, StoreDown>,
        cx: &mut Context<'_>,
    ) {
        let Some(local) = self.local(conn) else { return };
        let Some(stall) = local.stall.as_mut() else { return };
        match &stall.waiting {
            Waiting::Identity(waited) | Waiting::Event(waited, _) if *waited == token => {}
            // The answer to a token that a newer one has replaced.
            _ => return,
        }
        let event = match std::mem::replace(&mut stall.waiting, Waiting::Identity(token)) {
            Waiting::Event(_, event) => Some(event),
            _ => None,
        };
        let refusal = match outcome {
            Ok(Some(card)) => self.bind(conn, token, card, cx).err(),
            Ok(None) => Some(Refusal::Unauthenticated),
            Err(StoreDown) => Some(Refusal::StorageUnavailable),
        };
        match (event, refusal) {
            (Some(event), None) => self.act(conn, event, cx),
            (Some(event), Some(why)) => {
                let name = event.name();
                self.refuse(conn, &name, why, event.ack, cx);
            }
            (None, Some(why)) => self.refuse(conn, "login", why, None, cx),
            (None, None) => {}
        }
        self.resume(conn, cx);
    }

    /// Handles what waited, until something has to wait again.
    fn resume(&mut self, conn: ConnId, cx: &mut Context<'_>) {
        let Some(local) = self.local(conn) else { return };
        let Some(stall) = local.stall.take() else { return };
        if matches!(stall.waiting, Waiting::Image { .. } | Waiting::Event(..)) {
            // `act` stalled the session anew.
            local.stall = Some(stall);
            return;
        }
        let mut queue = stall.queue;
        while let Some(queued) = queue.pop_front() {
            match queued {
                Queued::Event(event) => self.event(conn, event, cx),
                Queued::Identity(token) => self.identify(conn, token, cx),
            }
            let Some(local) = self.local(conn) else { return };
            if let Some(stall) = &mut local.stall {
                stall.bytes = queue.iter().map(Queued::bytes).sum();
                stall.queue = queue;
                return;
            }
        }
    }

    /// Gives the connection an identity; another user's rooms are left first.
    fn bind(
        &mut self,
        conn: ConnId,
        token: TokenHash,
        card: Arc<UserCard>,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let user = card.id;
        let old = self.local(conn).and_then(|local| local.identity);
        if old.is_some_and(|old| old.user != user) {
            self.unbind(conn, cx);
        }
        let sessions_max = self.settings.sessions_per_user as usize;
        let shards = self.settings.shards;
        let entry = self.users.entry(user).or_insert_with(|| LocalUser {
            card: card.clone(),
            sessions: SmallVec::new(),
            reads: Reads::Loading {
                homes_missing: u32::from(shards),
                watch_owed: (0..shards).collect(),
                is_asked: false,
                marks: Marks::default(),
                waiting: Vec::new(),
            },
            untold: BTreeSet::new(),
        });
        entry.card = card;
        if !entry.sessions.contains(&conn) {
            if entry.sessions.len() >= sessions_max {
                return Err(Refusal::RateLimited);
            }
            entry.sessions.push(conn);
            if entry.sessions.len() == 1 {
                self.loading.insert(user);
            }
        }
        if let Some(local) = self.local(conn) {
            local.identity = Some(Identity { user, token });
        }
        Ok(())
    }

    /// Takes the identity away, and the rooms with it.
    fn unbind(&mut self, conn: ConnId, cx: &mut Context<'_>) {
        self.leave_all(conn, cx);
        let Some(local) = self.local(conn) else { return };
        let Some(identity) = local.identity.take() else { return };
        self.forget_session(identity.user, conn);
    }

    fn forget_session(&mut self, user: UserId, conn: ConnId) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        entry.sessions.retain(|other| *other != conn);
        if let Reads::Loading { waiting, .. } = &mut entry.reads {
            waiting.retain(|(other, _)| *other != conn);
        }
        if entry.sessions.is_empty() {
            self.users.remove(&user);
            self.loading.remove(&user);
            self.untold_users.remove(&user);
        }
    }

    fn leave_all(&mut self, conn: ConnId, cx: &mut Context<'_>) {
        let Some(local) = self.local(conn) else { return };
        let rooms: SmallVec<[RoomId; 4]> = local.rooms.iter().map(|m| m.room).collect();
        for room in rooms {
            self.drop_member(conn, room);
            self.owe(Owed { room, conn, answer: None }, cx);
        }
        if let Some(local) = self.local(conn) {
            local.rooms.clear();
        }
    }

    fn moved(&mut self, conn: ConnId, cx: &mut Context<'_>) {
        let Some(pipe) = pipe_of(cx.engine, conn) else { return };
        let Some(local) = self.local(conn) else { return };
        let places: SmallVec<[(RoomId, u32); 4]> =
            local.rooms.iter().filter_map(|m| Some((m.room, m.index?))).collect();
        for (room, index) in places {
            if let Some(room) = self.rooms.get_mut(&room) {
                room.members[index as usize].pipe = Some(pipe);
            }
        }
    }

    fn ended(
        &mut self,
        conn: ConnId,
        reason: CloseReason,
        session: &Session,
        cx: &mut Context<'_>,
    ) {
        let now = cx.engine.now;
        let Some(local) = self.local(conn) else { return };
        let identity = local.identity;
        let rooms: SmallVec<[RoomId; 4]> = local.rooms.iter().map(|m| m.room).collect();
        let is_stopping = reason == CloseReason::ServerStop;
        for room in rooms {
            self.drop_member(conn, room);
            if self.settings.grace_ms > 0 && !is_stopping {
                let due = now.plus_ms(u64::from(self.settings.grace_ms));
                self.lingering.push_back((due, room, conn));
            } else {
                self.owe(Owed { room, conn, answer: None }, cx);
            }
        }
        self.locals[conn.slot() as usize] = None;
        if let Some(identity) = identity {
            self.forget_session(identity.user, conn);
        }
        cx.lanes.log(LogLine::Ended {
            conn,
            user: identity.map(|identity| identity.user),
            reason: reason.name(),
            transport: session.transport_name(),
            protocol: session.protocol_name(),
            lifetime_ms: now.since(session.opened) / 1_000_000,
            messages_in: session.messages_in,
        });
    }

    pub(crate) fn revoked(&mut self, token: TokenHash, cx: &mut Context<'_>) {
        let conns: Vec<ConnId> = self
            .locals
            .iter()
            .flatten()
            .filter(|local| local.identity.is_some_and(|identity| identity.token == token))
            .map(|local| local.conn)
            .collect();
        for conn in conns {
            self.unbind(conn, cx);
            let packet = frames::refusal("login", Refusal::Unauthenticated, None);
            cx.engine.emit(conn, &packet);
        }
    }

    pub(crate) fn user_changed(&mut self, card: &Arc<UserCard>) {
        if let Some(user) = self.users.get_mut(&card.id) {
            user.card = card.clone();
        }
    }

    // ---- events -------------------------------------------------------------------------------

    fn refuse(&mut self, conn: ConnId, name: &str, why: Refusal, ack: AckId, cx: &mut Context<'_>) {
        *why.counter(&mut cx.engine.counters) += 1;
        cx.engine.emit(conn, &frames::refusal(name, why, ack));
    }

    fn event(&mut self, conn: ConnId, event: Event, cx: &mut Context<'_>) {
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
    fn act(&mut self, conn: ConnId, event: Event, cx: &mut Context<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.try_act(conn, &event, &mut buffer, cx);
        self.buffer = buffer;
        if let Err(why) = outcome {
            let name = event.name();
            self.refuse(conn, &name, why, event.ack, cx);
        }
    }

    fn try_act(
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

    fn take_join_token(&mut self, conn: ConnId, now: Now) -> Result<(), Refusal> {
        let (per_s, burst) = (self.settings.join_per_s, self.settings.join_burst);
        let is_taken = self.local(conn).is_some_and(|l| l.joins.take(now, per_s, burst));
        is_taken.then_some(()).ok_or(Refusal::RateLimited)
    }

    fn login(&mut self, conn: ConnId, user: UserId, ack: AckId, cx: &mut Context<'_>) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        match &mut entry.reads {
            Reads::Loading { waiting, .. } => {
                waiting.push((conn, ack));
                self.loading.insert(user);
            }
            Reads::Ready(_) => self.tell_counts(conn, user, ack, cx),
        }
    }

    fn join(
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
        let is_exclusive = match self.settings.exclusive {
            Exclusive::Always => true,
            Exclusive::Never => false,
            Exclusive::Legacy => cx
                .engine
                .session(conn)
                .is_some_and(|session| session.version == throng_wire::eio::Version::V3),
        };
        if self.settings.rooms_auto_create_max == 0 && !self.tips.contains_key(&room) {
            return Err(Refusal::UnknownRoom);
        }
        let card = self.users.get(&user).map(|user| user.card.clone());
        let card = card.ok_or(Refusal::Unauthenticated)?;
        self.take_join_token(conn, now)?;
        let Some(local) = self.local(conn) else { return Ok(()) };
        let is_known = local.rooms.iter().any(|m| m.room == room);
        let others: SmallVec<[RoomId; 4]> =
            local.rooms.iter().map(|m| m.room).filter(|other| *other != room).collect();
        if !is_known && !is_exclusive && local.rooms.len() >= rooms_max {
            return Err(Refusal::RoomLimit);
        }
        // A leave still owed for this very membership must reach home first.
        if self.owed.iter().any(|owed| owed.conn == conn && owed.room == room) {
            self.pay(cx);
            if self.owed.iter().any(|owed| owed.conn == conn && owed.room == room) {
                return Err(Refusal::Busy);
            }
        }
        let to = home_of(&self.keyed, room, self.settings.shards);
        let request = Request::Join { room, conn, user: card, hearing, ack };
        if cx.lanes.request(to, request).is_err() {
            cx.engine.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy);
        }
        let Some(local) = self.local(conn) else { return Ok(()) };
        match local.rooms.iter_mut().find(|m| m.room == room) {
            Some(membership) => membership.joining = membership.joining.saturating_add(1),
            None => local.rooms.push(Membership { room, joining: 1, index: None }),
        }
        if is_exclusive {
            for other in others {
                self.drop_member(conn, other);
                self.forget_membership(conn, other);
                self.owe(Owed { room: other, conn, answer: None }, cx);
            }
        }
        Ok(())
    }

    fn leave(
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
        let is_member = local.rooms.iter().any(|m| m.room == room);
        if is_member {
            // The membership stays until home has answered, so that the leaver hears everything
            // that was said before it left.
            self.owe(Owed { room, conn, answer: Some(ack) }, cx);
            return Ok(());
        }
        let now = cx.engine.now;
        self.take_join_token(conn, now)?;
        let to = home_of(&self.keyed, room, self.settings.shards);
        let request = Request::Leave { room, conn, answer: Some(ack) };
        cx.lanes.request(to, request).map_err(|_| Refusal::Busy)
    }

    fn message(
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
        if !local.rooms.iter().any(|m| m.room == room) {
            return Err(Refusal::NotMember);
        }
        if !local.publishes.take(now, per_s, burst) {
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

    fn publish(
        &mut self,
        conn: ConnId,
        room: RoomId,
        message: Box<Publish>,
        ack: AckId,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let to = home_of(&self.keyed, room, self.settings.shards);
        let request = Request::Publish { room, conn, message, ack };
        if cx.lanes.request(to, request).is_err() {
            cx.engine.counters.lane_refusals_request += 1;
            return Err(Refusal::Busy);
        }
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

    fn server_time(&self, now: Now) -> Box<str> {
        let ms = self.started_unix_ms.saturating_add((now.0 / 1_000_000) as i64);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        jiff::fmt::temporal::DateTimePrinter::new()
            .precision(Some(3))
            .timestamp_to_string(&time)
            .into()
    }

    // ---- memberships --------------------------------------------------------------------------

    /// Takes the member out of the fan-out.
    fn drop_member(&mut self, conn: ConnId, room_id: RoomId) {
        let Some(local) = self.local(conn) else { return };
        let Some(membership) = local.rooms.iter_mut().find(|m| m.room == room_id) else { return };
        let Some(index) = membership.index.take() else { return };
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.members.swap_remove(index as usize);
        let moved = room.members.get(index as usize).map(|member| member.conn);
        if room.members.is_empty() {
            self.rooms.remove(&room_id);
        }
        if let Some(moved) = moved
            && let Some(local) = self.local(moved)
            && let Some(membership) = local.rooms.iter_mut().find(|m| m.room == room_id)
        {
            membership.index = Some(index);
        }
    }

    fn forget_membership(&mut self, conn: ConnId, room: RoomId) {
        if let Some(local) = self.local(conn) {
            local.rooms.retain(|m| m.room != room);
        }
    }

    /// Sends a leave now if nothing older waits, else at the end of the turn.
    fn owe(&mut self, owed: Owed, cx: &mut Context<'_>) {
        self.owed.push_back(owed);
        if self.owed.len() == 1 {
            self.pay(cx);
        }
    }

    /// Sends owed leaves in order, as far as lanes have room.
    fn pay(&mut self, cx: &mut Context<'_>) {
        let mut kept = VecDeque::new();
        // One full lane must not hold back the others, but its own order must stand.
        let mut full = SmallVec::<[crate::ids::ShardId; 4]>::new();
        while let Some(owed) = self.owed.pop_front() {
            let to = home_of(&self.keyed, owed.room, self.settings.shards);
            let request = Request::Leave { room: owed.room, conn: owed.conn, answer: owed.answer };
            if full.contains(&to) || cx.lanes.request(to, request).is_err() {
                full.push(to);
                kept.push_back(owed);
            }
        }
        self.owed = kept;
    }

    // ---- deliveries ---------------------------------------------------------------------------

    pub(crate) fn delivery(&mut self, delivery: Delivery, engine: &mut Engine) {
        match delivery {
            Delivery::Joined { room, conn, hearing, seq, online, ack } => {
                self.joined(room, conn, hearing, engine);
                if let Some(id) = ack {
                    engine.emit(conn, &frames::ack_room(id, room, online, seq));
                }
            }
            Delivery::JoinRefused { room, conn, why, ack } => {
                if let Some(local) = self.local(conn)
                    && let Some(m) = local.rooms.iter_mut().find(|m| m.room == room)
                {
                    m.joining = m.joining.saturating_sub(1);
                    if m.joining == 0 && m.index.is_none() {
                        self.forget_membership(conn, room);
                    }
                }
                *why.counter(&mut engine.counters) += 1;
                engine.emit(conn, &frames::refusal("room", why, ack));
            }
            Delivery::Left { room, conn, seq, online, frame, ack, was_member } => {
                if was_member {
                    self.drop_member(conn, room);
                }
                if let Some(local) = self.local(conn)
                    && let Some(m) = local.rooms.iter().find(|m| m.room == room)
                    && m.joining == 0
                    && m.index.is_none()
                {
                    self.forget_membership(conn, room);
                }
                if let Some(frame) = frame {
                    engine.emit_frame(conn, &frame);
                }
                if let Some(id) = ack {
                    engine.emit(conn, &frames::ack_room(id, room, online, seq));
                }
            }
            Delivery::PublishRefused { conn, why, ack } => {
                if self.local(conn).is_some() {
                    *why.counter(&mut engine.counters) += 1;
                    engine.emit(conn, &frames::refusal("message", why, ack));
                }
            }
            Delivery::FanOut { room, messages } => self.fan_out(room, &messages, engine),
            Delivery::Roster { room, hearing, frame } => {
                self.roster(room, hearing, &frame, engine);
            }
            Delivery::Snapshot { room, conn, frame } => {
                let index = self.local(conn).and_then(|local| {
                    local.rooms.iter().find(|m| m.room == room).and_then(|m| m.index)
                });
                if let Some(index) = index
                    && let Some(room) = self.rooms.get_mut(&room)
                {
                    room.members[index as usize].has_roster = true;
                    engine.emit_frame(conn, &frame);
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

    fn joined(&mut self, room_id: RoomId, conn: ConnId, hearing: Hearing, engine: &mut Engine) {
        let Some(local) = self.local(conn) else {
            engine.counters.stale_deliveries += 1;
            return;
        };
        let Some(identity) = local.identity else { return };
        let Some(membership) = local.rooms.iter_mut().find(|m| m.room == room_id) else { return };
        membership.joining = membership.joining.saturating_sub(1);
        if let Some(index) = membership.index {
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
            && let Some(membership) = local.rooms.iter_mut().find(|m| m.room == room_id)
        {
            membership.index = Some(index);
        }
    }

    /// The hot path: appends the batch to every member's outbound bytes.
    fn fan_out(&mut self, room_id: RoomId, batch: &Batch, engine: &mut Engine) {
        if let Some(room) = self.rooms.get(&room_id) {
            let bound = engine.settings.outbound_bytes_max as usize;
            // Few authors per batch, so a scan beats a set.
            let mut authors: SmallVec<[UserId; 16]> = SmallVec::new();
            for message in &batch.messages {
                if !authors.contains(&message.author) {
                    authors.push(message.author);
                }
            }
            for member in &room.members {
                match member.pipe {
                    Some(pipe) if !authors.contains(&member.user) => {
                        let queued = engine.outbox.push(pipe, &batch.shared);
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
            if let (Some(id), true) = (message.ack, message.publisher.shard() == own) {
                let packet = frames::ack_message(id, message.id, message.seq);
                engine.emit(message.publisher, &packet);
            }
        }
        if let Some(last) = batch.messages.last() {
            self.tips.insert(room_id, last.seq);
        }
    }

    fn roster(&mut self, room: RoomId, hearing: Hearing, frame: &Bytes, engine: &mut Engine) {
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

    // ---- unread -------------------------------------------------------------------------------

    fn note_mark(&mut self, user: UserId, mark: Mark) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        match &mut entry.reads {
            Reads::Loading { marks, .. } => {
                marks.insert(mark);
            }
            Reads::Ready(marks) => {
                marks.insert(mark);
                entry.untold.insert(mark.room);
                self.untold_users.insert(user);
            }
        }
    }

    fn watched(&mut self, user: UserId, news: &[Mark]) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        let Reads::Loading { homes_missing, marks, .. } = &mut entry.reads else { return };
        *homes_missing = homes_missing.saturating_sub(1);
        for mark in news {
            marks.insert(*mark);
        }
        if *homes_missing == 0 {
            self.loading.insert(user);
        }
    }

    /// Asks homes, then the store, how far users have read.
    fn load(&mut self, now: Now, lanes: &mut Lanes) {
        let own = self.settings.shard;
        for user in std::mem::take(&mut self.loading) {
            let Some(entry) = self.users.get_mut(&user) else { continue };
            let Reads::Loading { homes_missing, watch_owed, is_asked, .. } = &mut entry.reads
            else {
                continue;
            };
            watch_owed.retain(|shard| {
                let to = crate::ids::ShardId(*shard);
                lanes.request(to, Request::Watch { user, edge: own }).is_err()
            });
            let is_store_next = *homes_missing == 0;
            if is_store_next && !*is_asked {
                *is_asked = lanes.command(Command::Reads { user }).is_ok();
            }
            let is_sent = watch_owed.is_empty() && (!is_store_next || *is_asked);
            if !is_sent {
                self.loading.insert(user);
                self.retry_at = Some(now.plus_ms(LANE_RETRY_MS));
            }
        }
    }

    pub(crate) fn reads_loaded(
        &mut self,
        user: UserId,
        outcome: Result<Vec<(RoomId, Seq)>, StoreDown>,
        cx: &mut Context<'_>,
    ) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        let Reads::Loading { homes_missing: 0, is_asked, marks, waiting, .. } = &mut entry.reads
        else {
            return;
        };
        *is_asked = false;
        let waiting = std::mem::take(waiting);
        match outcome {
            Ok(saved) => {
                // What homes said is newer than what the store knew.
                for (room, seq) in saved {
                    if marks.get(room).is_none() {
                        marks.insert(Mark { room, seq, is_reading: false });
                    }
                }
                let marks = std::mem::take(marks);
                entry.reads = Reads::Ready(marks);
                for (conn, ack) in waiting {
                    self.tell_counts(conn, user, ack, cx);
                }
            }
            // The next `login` asks again.
            Err(StoreDown) => {
                for (conn, ack) in waiting {
                    self.refuse(conn, "login", Refusal::StorageUnavailable, ack, cx);
                }
            }
        }
    }

    /// Answers `login`.
    fn tell_counts(&mut self, conn: ConnId, user: UserId, ack: AckId, cx: &mut Context<'_>) {
        let Some(entry) = self.users.get(&user) else { return };
        let Reads::Ready(marks) = &entry.reads else { return };
        let rooms = self.tips.iter().take(COUNTED_ROOMS_MAX);
        let json = frames::counts(rooms.map(|(room, seq)| (*room, unread(marks, *room, *seq))));
        cx.engine.emit(conn, &frames::count(&json));
        if let Some(id) = ack {
            cx.engine.emit(conn, &frames::ack_login(id, &entry.card, &json));
        }
    }

    /// Tells users elsewhere what changed since the last time, once per window.
    fn tell_changes(&mut self, engine: &mut Engine) {
        let now = engine.now;
        if self.changed_tips.is_empty() && self.untold_users.is_empty() {
            return;
        }
        if self.next_count_at > now {
            self.retry_at =
                Some(self.retry_at.map_or(self.next_count_at, |at| at.min(self.next_count_at)));
            return;
        }
        self.next_count_at = now.plus_ms(u64::from(self.settings.unread_window_ms));
        let changed = std::mem::take(&mut self.changed_tips);
        let shed_from = self.settings.outbound_bytes_max as usize / 2;
        let untold = std::mem::take(&mut self.untold_users);
        let users: Vec<UserId> = if changed.is_empty() {
            untold.into_iter().collect()
        } else {
            self.users.keys().copied().collect()
        };
        for user in users {
            let Some(entry) = self.users.get_mut(&user) else { continue };
            let Reads::Ready(marks) = &entry.reads else { continue };
            let mut rooms = std::mem::take(&mut entry.untold);
            let is_reading = |room: &RoomId| marks.get(*room).is_some_and(|mark| mark.is_reading);
            rooms.extend(changed.iter().filter(|room| !is_reading(room)));
            if rooms.is_empty() {
                continue;
            }
            let mut is_shed = false;
            for conn in &entry.sessions {
                let Some(Some(local)) = self.locals.get(conn.slot() as usize) else { continue };
                let is_here = |room: &RoomId| local.rooms.iter().any(|m| m.room == *room);
                let news: SmallVec<[(RoomId, u64); 4]> = rooms
                    .iter()
                    .filter(|room| !is_here(room))
                    .filter_map(|room| Some((*room, unread(marks, *room, *self.tips.get(room)?))))
                    .collect();
                if news.is_empty() {
                    continue;
                }
                if engine.queued(*conn) > shed_from {
                    // Absolute numbers: skipping one loses nothing if a later one goes out.
                    engine.counters.shed += 1;
                    is_shed = true;
                    continue;
                }
                engine.counters.events_out += 1;
                let json = frames::counts(news.into_iter());
                engine.emit(*conn, &frames::count(&json));
            }
            if is_shed {
                entry.untold = rooms;
                self.untold_users.insert(user);
            }
        }
        if !self.untold_users.is_empty() {
            self.retry_at = Some(self.next_count_at);
        }
    }

    // ---- end of turn --------------------------------------------------------------------------

    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        let now = cx.engine.now;
        self.retry_at = None;
        while let Some((due, room, conn)) = self.lingering.front().copied() {
            if due > now {
                self.retry_at = Some(due);
                break;
            }
            self.lingering.pop_front();
            self.owed.push_back(Owed { room, conn, answer: None });
        }
        if !self.owed.is_empty() {
            self.pay(cx);
            if !self.owed.is_empty() {
                cx.engine.counters.lane_refusals_request += 1;
                self.retry_at = Some(now.plus_ms(LANE_RETRY_MS));
            }
        }
        self.load(now, cx.lanes);
        self.tell_changes(cx.engine);
        cx.engine.counters.users_online = self.users.len() as u64;
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.retry_at
    }

    /// Stopping: nobody comes back, so grace ends now.
    pub(crate) fn stop(&mut self) {
        for (due, _, _) in &mut self.lingering {
            *due = Now::default();
        }
    }
}

impl Stall {
    fn new(waiting: Waiting) -> Box<Stall> {
        Box::new(Stall { waiting, queue: VecDeque::new(), bytes: 0 })
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Queued::Event(event) => event.data.len(),
            Queued::Identity(_) => 0,
        }
    }
}

impl Event {
    fn name(&self) -> String {
        sio::event(&self.data).map(|event| event.name.into_owned()).unwrap_or_default()
    }

    /// Whether the event may be acted on at all, and the token it carries.
    fn judge(&self, buffer: &mut Vec<u8>, bytes_max: usize) -> Result<Option<TokenHash>, Refusal> {
        let event = sio::event(&self.data).map_err(|_| Refusal::InvalidArgument)?;
        if !matches!(&*event.name, "login" | "room" | "roomout" | "message") {
            return Err(Refusal::UnknownEvent);
        }
        if self.is_binary {
            return Err(Refusal::BinaryUnsupported);
        }
        let payload = Payload::parse(sio::first_arg(event.args), buffer)?;
        let is_image = matches!(&payload.img, event::Field::Text(img) if img.starts_with("data:"));
        if self.data.len() > bytes_max && !(is_image && &*event.name == "message") {
            return Err(Refusal::TooLarge);
        }
        payload.token()
    }
}

fn deliver_each(member: &Member, batch: &Batch, engine: &mut Engine) {
    for message in &batch.messages {
        let is_own = message.author == member.user;
        match (member.pipe, is_own) {
            (Some(pipe), true) => {
                let queued = engine.outbox.push(pipe, &message.own);
                engine.check_bound(member.conn, queued);
            }
            (Some(pipe), false) => {
                let queued = engine.outbox.push(pipe, &batch.shared[message.shared.clone()]);
                engine.check_bound(member.conn, queued);
            }
            (None, true) => engine.emit_frame(member.conn, &message.own),
            (None, false) => {
                let frame = Bytes::copy_from_slice(&batch.shared[message.shared.clone()]);
                engine.emit_frame(member.conn, &frame);
            }
        }
    }
}

fn pipe_of(engine: &Engine, conn: ConnId) -> Option<PipeId> {
    match engine.session(conn)?.carrier {
        Carrier::Pipe(pipe) => Some(pipe),
        Carrier::Polling(_) => None,
    }
}

fn unread(marks: &Marks, room: RoomId, tip: Seq) -> u64 {
    match marks.get(room) {
        Some(mark) if mark.is_reading => 0,
        Some(mark) => tip.0.saturating_sub(mark.seq.0),
        None => tip.0,
    }
}

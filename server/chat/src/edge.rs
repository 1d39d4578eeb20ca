//! The members this shard serves: identities, memberships, requests and deliveries.

mod check;
mod counts;
mod deliveries;
mod emits;
mod events;
mod following;
mod identity;
mod known_marks;
mod members;
mod pending;
mod reads;
mod sessions_by_token;
mod signals;
mod tips;
mod tokens;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use throng_engine::rooms::{Members, Memberships};
use throng_engine::{Place, ShardId};

use super::client_event::{
    self, ClientEvent, ClientRequest, EventName, MessageRequest, RequestError,
};
use super::frames;
use super::image::Image;
use super::lane::{AckId, Batch, Delivery, Mark, MembershipId, PresenceMode, Publish, Request};
use super::refusal::{Refusal, Refused};
use crate::Lanes;
use crate::counters::Counters;
use crate::ids::{LoadId, RoomId, Seq, SessionId, TokenHash, UserId};
use crate::image::ImageFault;
use crate::invalid_tokens::{ClientBucket, InvalidTokens};
use crate::quota::Quotas;
use crate::report::LogLine;
use crate::room_info::RoomInfo;
use crate::settings::{Exclusive, Settings};
use crate::store::{Command, SavedImage, StoreDown};
use crate::user::UserCard;
use counts::{Counts, Told};
use known_marks::KnownMarks;
use pending::{Awaited, PendingEvents, Queued};
use reads::Reads;
use sessions_by_token::SessionsByToken;
use signals::SessionSignals;
use throng_engine::Now;
use throng_engine::{CloseReason, Engine, Owner, Session, SessionEvent, Trust};
use throng_engine::{Keyed, LANE_RETRY_MS, Map, home_of};
use tips::Tips;
use tokens::TokenChecks;

/// Rooms in one `count` event.
const COUNTED_ROOMS_MAX: usize = 1000;

#[derive(Clone, Copy)]
struct Identity {
    user: UserId,
    token: TokenHash,
}

type Membership = throng_engine::rooms::Membership<RoomId>;

struct LocalSession {
    session: SessionId,
    identity: Option<Identity>,
    memberships: Memberships<RoomId>,
    pending: Option<Box<PendingEvents>>,
    /// A token of the handshake or of CONNECT that the store could not be asked for.
    put_off: Option<Box<TokenHash>>,
    /// The client's address.
    peer: IpAddr,
    /// Where its client's tokens are counted that are not valid.
    client: ClientBucket,
    /// Other nodes have been sent whose session it is.
    is_signalled: bool,
    told: Told,
}

/// What the fan-out and the rosters know of a member.
#[derive(Clone, Copy)]
struct MemberTag {
    user: UserId,
    presence_mode: PresenceMode,
    has_roster: bool,
}

type Member = throng_engine::rooms::Member<MemberTag>;

#[derive(Default)]
struct LocalRoom {
    members: Members<MemberTag>,
}

/// A user with at least one session here.
struct LocalUser {
    card: Arc<UserCard>,
    sessions: SmallVec<[SessionId; 2]>,
    marks: KnownMarks,
    reads: Reads,
}

pub(crate) struct Edge {
    settings: Settings,
    shard: ShardId,
    shards: u8,
    keyed: Keyed,
    locals: Vec<Option<Box<LocalSession>>>,
    /// Sessions with an identity, by its token.
    bound: SessionsByToken,
    /// Sessions that wait for the look-up of a token.
    asking: SessionsByToken,
    /// Boxed: a table has more places than entries.
    users: Map<UserId, Box<LocalUser>>,
    rooms: Map<RoomId, LocalRoom>,
    tips: Tips,
    counts: Counts,
    /// Leaves that homes do not know yet. State, not messages: a full lane only delays them. One per
    /// membership that ended; a session that owes the leave of a room is refused there (`busy`).
    leaves_due: VecDeque<LeaveDue>,
    /// Members whose session ended, until their grace is over: the memberships that end in that time,
    /// which the rate of joins and the limit of connections bound.
    lingering: VecDeque<(Now, LeaveDue)>,
    /// Users whose `Watch` or `Reads` did not fit a lane.
    loading: BTreeSet<UserId>,
    last_load: LoadId,
    /// Users whose marks the store could not give.
    reads_failed: BTreeSet<UserId>,
    reads_retry_at: Now,
    session_signals: SessionSignals,
    token_checks: TokenChecks,
    quotas: Arc<Quotas>,
    invalid_tokens: Arc<InvalidTokens>,
    retry_at: Option<Now>,
}

struct LeaveDue {
    room: RoomId,
    session: SessionId,
    client: IpAddr,
    membership_id: MembershipId,
    answer: Option<AckId>,
}

/// What an edge acts on, passed together.
pub(crate) struct Context<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) lanes: &'a mut Lanes,
    pub(crate) counters: &'a mut Counters,
}

/// The session, if its slot has not passed to another.
fn find(locals: &mut [Option<Box<LocalSession>>], session: SessionId) -> Option<&mut LocalSession> {
    let local = locals.get_mut(session.slot() as usize)?.as_deref_mut()?;
    (local.session == session).then_some(local)
}

impl Edge {
    pub(crate) fn new(
        settings: Settings,
        quotas: Arc<Quotas>,
        invalid_tokens: Arc<InvalidTokens>,
        place: &Place,
        keyed: Keyed,
        rooms: &[RoomInfo],
    ) -> Edge {
        Edge {
            shard: place.shard,
            shards: place.shards,
            locals: Vec::new(),
            bound: SessionsByToken::default(),
            asking: SessionsByToken::default(),
            users: Map::with_hasher(keyed.clone()),
            rooms: Map::with_hasher(keyed.clone()),
            counts: Counts::new(&settings, keyed.clone()),
            settings,
            keyed,
            tips: Tips::new(rooms),
            leaves_due: VecDeque::new(),
            lingering: VecDeque::new(),
            loading: BTreeSet::new(),
            last_load: LoadId::default(),
            reads_failed: BTreeSet::new(),
            reads_retry_at: Now::default(),
            session_signals: SessionSignals::default(),
            token_checks: TokenChecks::default(),
            quotas,
            invalid_tokens,
            retry_at: None,
        }
    }

    fn local(&mut self, session: SessionId) -> Option<&mut LocalSession> {
        find(&mut self.locals, session)
    }

    /// The session, in the handling of one of its own events or of something that found it.
    fn live(&mut self, session: SessionId) -> &mut LocalSession {
        self.local(session).expect("an edge keeps a session until it has handled its end")
    }

    pub(crate) fn session_event(&mut self, session_event: SessionEvent, cx: &mut Context<'_>) {
        match session_event {
            SessionEvent::Opened { session, peer, token } => {
                let slot = session.slot() as usize;
                if self.locals.len() <= slot {
                    self.locals.resize_with(slot + 1, || None);
                }
                self.locals[slot] = Some(Box::new(LocalSession {
                    session,
                    identity: None,
                    memberships: Memberships::default(),
                    pending: None,
                    put_off: None,
                    peer,
                    client: InvalidTokens::bucket(&self.keyed, peer.into()),
                    is_signalled: false,
                    told: Told::default(),
                }));
                match token.as_deref().map(client_event::token_hash) {
                    Some(Some(token)) => self.identify(session, token, cx),
                    // The client is notified when it needs an identity.
                    Some(None) => {
                        let why = Refusal::Unauthenticated;
                        *why.counter(cx.counters) += 1;
                        self.log_refused(session, why, cx);
                    }
                    None => {}
                }
            }
            SessionEvent::Connected { session, auth, .. } => self.connected(session, auth, cx),
            SessionEvent::Event { session, ack, data, is_binary, omitted, .. } => {
                let bytes_max = self.settings.event_bytes_max as usize;
                let event = ClientEvent::parse(data, omitted, ack, is_binary, bytes_max);
                self.event(session, event, cx);
            }
            SessionEvent::Disconnected { session } => self.disconnected(session, cx),
            SessionEvent::Moved { session } => self.moved(session, cx),
            SessionEvent::Ended { session, reason, state } => {
                self.ended(session, reason, &state, cx);
            }
            // Only endpoints without Socket.IO have these; the chat serves none.
            SessionEvent::Text { session, .. } | SessionEvent::Binary { session, .. } => {
                cx.engine.end(session, CloseReason::ParseError);
            }
        }
    }

    /// The client left the namespace. What it said before is handled before, also if that still
    /// waits for its token.
    fn disconnected(&mut self, session: SessionId, cx: &mut Context<'_>) {
        self.leave_all(session, cx);
        if self.live(session).pending.is_some() {
            self.enqueue(session, Queued::Disconnected, cx);
        }
    }

    fn leave_all(&mut self, session: SessionId, cx: &mut Context<'_>) {
        for owed in self.end_memberships(session, |_| true) {
            self.send_leave(owed, cx);
        }
    }

    /// Takes the session out of rooms at once; returns the leaves that homes must get.
    fn end_memberships(
        &mut self,
        session: SessionId,
        which: impl Fn(&Membership) -> bool,
    ) -> Vec<LeaveDue> {
        let local = self.live(session);
        let client = local.peer;
        let ended: SmallVec<[(RoomId, MembershipId, bool); 2]> = local
            .memberships
            .iter()
            .filter(|membership| which(membership))
            .map(|membership| (membership.room, membership.id, membership.is_leaving))
            .collect();
        let mut owed = Vec::with_capacity(ended.len());
        for (room, membership_id, is_leaving) in ended {
            self.end_membership(session, membership_id);
            if !is_leaving {
                owed.push(LeaveDue { room, session, client, membership_id, answer: None });
            }
        }
        owed
    }

    fn moved(&mut self, session: SessionId, cx: &mut Context<'_>) {
        let local = self.live(session);
        let places: SmallVec<[(RoomId, u32); 4]> =
            local.memberships.iter().filter_map(|m| Some((m.room, m.index?))).collect();
        for (room, index) in places {
            let room = self.rooms.get_mut(&room).expect("a member's room is known");
            room.members.moved(index, cx.engine);
        }
    }

    fn ended(
        &mut self,
        session: SessionId,
        reason: CloseReason,
        state: &Session,
        cx: &mut Context<'_>,
    ) {
        let now = cx.engine.now();
        let local = self.live(session);
        let (identity, is_signalled, client) = (local.identity, local.is_signalled, local.peer);
        let asked = local.pending.as_ref().and_then(|pending| pending.token());
        let has_grace = self.settings.grace_ms > 0 && reason != CloseReason::ServerStop;
        let due = now.plus_ms(u64::from(self.settings.grace_ms));
        for owed in self.end_memberships(session, |_| true) {
            if has_grace {
                self.lingering.push_back((due, owed));
            } else {
                self.send_leave(owed, cx);
            }
        }
        self.stop_waiting(session);
        self.locals[session.slot() as usize] = None;
        self.session_signals.ended(session, is_signalled);
        if let Some(token) = asked {
            self.asking.remove(token, session);
        }
        if let Some(identity) = identity {
            self.bound.remove(identity.token, session);
            self.forget_session(identity.user, session);
        }
        cx.lanes.log(LogLine::Ended {
            session,
            client,
            user: identity.map(|identity| identity.user),
            reason: reason.name(),
            setting: reason.setting(),
            transport: state.transport_name(),
            protocol: state.protocol_name(),
            lifetime_ms: now.since(state.opened()) / 1_000_000,
            messages_in: state.messages_in(),
        });
    }

    // ---- end of turn --------------------------------------------------------------------------

    pub(crate) fn settle(&mut self, cx: &mut Context<'_>) {
        let now = cx.engine.now();
        self.retry_at = None;
        while let Some((due, _)) = self.lingering.front() {
            if *due > now {
                let due = *due;
                self.retry(due);
                break;
            }
            self.leaves_due.extend(self.lingering.pop_front().map(|(_, owed)| owed));
        }
        if !self.leaves_due.is_empty() {
            self.send_leaves_due(cx);
            if !self.leaves_due.is_empty() {
                cx.counters.lane_refusals_request += 1;
                self.retry(now.plus_ms(LANE_RETRY_MS));
            }
        }
        self.load(now, cx.lanes);
        self.ask_for_tokens(now, cx.lanes);
        self.send_counts(cx.engine, cx.counters);
        self.send_session_signals(cx);
        cx.counters.users_on_shards = self.users.len() as u64;
    }

    fn retry(&mut self, at: Now) {
        self.retry_at = Some(self.retry_at.map_or(at, |old| old.min(at)));
    }

    pub(crate) fn next_deadline(&self) -> Option<Now> {
        self.retry_at
    }

    /// Stopping: no client comes back, so grace ends now.
    pub(crate) fn stop(&mut self) {
        for (due, _) in &mut self.lingering {
            *due = Now::default();
        }
    }
}

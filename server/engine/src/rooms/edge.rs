//! Edge: the memberships of this shard's sessions in named rooms.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::items::{Ack, Direct, RoomDelivery, RoomRequest};
use super::members::Members;
use super::memberships::{Membership, MembershipId, Memberships};
use super::packets;
use super::settings::{Counters, Settings};
use crate::engine::Engine;
use crate::ids::{SessionId, ShardId, SocketId};
use crate::maps::{Keyed, Map, home_of};

/// Memberships of one session that wait for the answer to their leave: more are not begun, because all
/// are searched for each event.
const LEAVING_MAX: usize = 256;

/// Why a client cannot join a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// It is in the room, or has asked to join it.
    AlreadyIn,
    /// It is in [`Settings::rooms_per_session_max`] rooms.
    TooManyRooms,
    /// It has left rooms 256 times and their homes have not answered.
    LeavingTooMany,
    /// The name has more than [`Settings::name_bytes_max`] bytes.
    NameTooLong,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::AlreadyIn => "already in the room",
            JoinError::TooManyRooms => "in too many rooms",
            JoinError::LeavingTooMany => "has left too many rooms at once",
            JoinError::NameTooLong => "the name of the room is too long",
        })
    }
}

impl std::error::Error for JoinError {}

#[derive(Default)]
struct LocalSession {
    session: Option<SessionId>,
    /// While the namespace is connected.
    id: Option<SocketId>,
    /// By the slots of their rooms.
    memberships: Memberships<u32>,
}

/// A room that sessions of this shard are in; its slot is the interned name.
struct LocalRoom {
    name: Arc<str>,
    members: Members<()>,
    /// Memberships that name the slot, joining and leaving ones included.
    references: u32,
}

pub(super) struct Edge<M> {
    settings: Limits,
    keyed: Keyed,
    shards: u8,
    names: Map<Arc<str>, u32>,
    rooms: Vec<Option<LocalRoom>>,
    free: Vec<u32>,
    locals: Vec<LocalSession>,
    /// Requests that have not been sent, in order, by home.
    waiting: Vec<VecDeque<RoomRequest<M>>>,
    waiting_bytes: usize,
}

#[derive(Clone, Copy)]
struct Limits {
    rooms_per_session_max: u32,
    name_bytes_max: u32,
    waiting_bytes_max: usize,
}

impl<M> Edge<M> {
    pub(super) fn new<H>(settings: &Settings<H>, keyed: Keyed, shards: u8) -> Edge<M> {
        Edge {
            settings: Limits {
                rooms_per_session_max: settings.rooms_per_session_max,
                name_bytes_max: settings.name_bytes_max,
                waiting_bytes_max: settings.waiting_bytes_max as usize,
            },
            names: Map::with_hasher(keyed.clone()),
            keyed,
            shards,
            rooms: Vec::new(),
            free: Vec::new(),
            locals: Vec::new(),
            waiting: (0..shards).map(|_| VecDeque::new()).collect(),
            waiting_bytes: 0,
        }
    }

    pub(super) fn opened(&mut self, session: SessionId) {
        let slot = session.slot() as usize;
        if self.locals.len() <= slot {
            self.locals.resize_with(slot + 1, LocalSession::default);
        }
        self.locals[slot] = LocalSession { session: Some(session), ..LocalSession::default() };
    }

    fn local(&self, session: SessionId) -> Option<&LocalSession> {
        self.locals.get(session.slot() as usize).filter(|local| local.session == Some(session))
    }

    fn local_mut(&mut self, session: SessionId) -> Option<&mut LocalSession> {
        self.locals.get_mut(session.slot() as usize).filter(|local| local.session == Some(session))
    }

    pub(super) fn connected(&mut self, session: SessionId, id: SocketId) {
        self.local_mut(session).expect("a session is known until its end").id = Some(id);
    }

    /// The client's id; `None` if the namespace is not connected.
    pub(super) fn id(&self, session: SessionId) -> Option<SocketId> {
        self.local(session)?.id
    }

    fn room(&self, slot: u32) -> &LocalRoom {
        self.rooms[slot as usize].as_ref().expect("a membership keeps its room's slot")
    }

    fn room_mut(&mut self, slot: u32) -> &mut LocalRoom {
        self.rooms[slot as usize].as_mut().expect("a membership keeps its room's slot")
    }

    pub(super) fn rooms_of(&self, session: SessionId) -> Vec<String> {
        let memberships =
            self.local(session).into_iter().flat_map(|local| local.memberships.iter());
        let present = memberships.filter(|membership| !membership.is_leaving);
        present.map(|membership| self.room(membership.room).name.to_string()).collect()
    }

    pub(super) fn is_in(&self, session: SessionId, room: &str) -> bool {
        let Some(slot) = self.names.get(room) else { return false };
        self.local(session).is_some_and(|local| local.memberships.current(*slot).is_some())
    }

    /// Whether the session receives what the room's members do.
    fn is_member(&self, session: SessionId, room: &str) -> bool {
        let Some(slot) = self.names.get(room) else { return false };
        self.local(session).is_some_and(|local| local.memberships.index_in(*slot).is_some())
    }

    // ---- what handlers do ---------------------------------------------------------------------

    pub(super) fn join(&mut self, id: SocketId, name: &str) -> Result<(), JoinError> {
        let session = id.session();
        if name.len() > self.settings.name_bytes_max as usize {
            return Err(JoinError::NameTooLong);
        }
        if self.is_in(session, name) {
            return Err(JoinError::AlreadyIn);
        }
        let local = self.local(session).expect("a session is known until its end");
        let rooms = local.memberships.rooms();
        if rooms >= self.settings.rooms_per_session_max as usize {
            return Err(JoinError::TooManyRooms);
        }
        if local.memberships.len() - rooms >= LEAVING_MAX {
            return Err(JoinError::LeavingTooMany);
        }
        assert_eq!(local.id, Some(id), "only a connected client acts");
        let slot = self.intern(name);
        let room = self.room_mut(slot);
        room.references += 1;
        let room = Arc::clone(&room.name);
        let memberships = &mut self.local_mut(session).expect("it was found above").memberships;
        let membership_id = memberships.next_id();
        memberships.joining(slot, membership_id);
        self.send(&room, |room| RoomRequest::Join { room, session, membership_id, id });
        Ok(())
    }

    pub(super) fn leave(&mut self, session: SessionId, name: &str) -> bool {
        let slot = self.names.get(name);
        let local = self.local(session);
        let current = slot.zip(local).and_then(|(slot, local)| local.memberships.current(*slot));
        let Some(membership_id) = current.map(|membership| membership.id) else { return false };
        self.ask_to_end(session, membership_id);
        true
    }

    /// Asks the home to end a membership, unless it was asked before or the membership is over.
    fn ask_to_end(&mut self, session: SessionId, membership_id: MembershipId) {
        let local = self.local_mut(session);
        let membership = local.and_then(|local| local.memberships.get_mut(membership_id));
        let Some(membership) = membership.filter(|it| !it.is_leaving) else { return };
        membership.is_leaving = true;
        let slot = membership.room;
        let room = Arc::clone(&self.room(slot).name);
        self.send(&room, |room| RoomRequest::Leave { room, session, membership_id });
    }

    /// The session has left the namespace, or has ended: it receives nothing more, at once.
    pub(super) fn disconnected(&mut self, session: SessionId) {
        let local = self.local_mut(session).expect("a session is known until its end");
        local.id = None;
        for membership in local.memberships.end_all() {
            let room = Arc::clone(&self.room(membership.room).name);
            if !membership.is_leaving {
                let membership_id = membership.id;
                self.send(&room, |room| RoomRequest::Leave { room, session, membership_id });
            }
            self.forget(membership.room, membership.index);
        }
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        self.disconnected(session);
        let local = self.local_mut(session).expect("a session is known until its end");
        local.session = None;
    }

    pub(super) fn emit(&mut self, room: &str, frame: Bytes, except: Option<SocketId>) {
        self.send_to(room, |room| RoomRequest::Emit { room, frame, except });
    }

    pub(super) fn ack(&mut self, id: SocketId, room: &str, packet: String) {
        let action = Direct::Packet(packet.into());
        self.send_to(room, |room| RoomRequest::Ack { room, id, action });
    }

    pub(super) fn ack_is_in(&mut self, id: SocketId, room: &str, member: String, other: String) {
        self.send_to(room, |room| {
            let (member, other) = (member.into(), other.into());
            let action = Direct::IsIn { room: Arc::clone(&room), member, other };
            RoomRequest::Ack { room, id, action }
        });
    }

    pub(super) fn message(&mut self, room: &str, from: SocketId, message: M, ack: Ack, bytes: u32) {
        self.send_to(room, |room| RoomRequest::Message { room, from, message, ack, bytes });
    }

    pub(super) fn remove_all(&mut self, room: &str, is_disconnect: bool) {
        self.send_to(room, |room| RoomRequest::RemoveAll { room, is_disconnect });
    }

    pub(super) fn direct(&mut self, id: SocketId, action: Direct) {
        // No shard has made an id that names a shard beyond the last. The first shard counts it.
        let shard = id.session().shard();
        let to = if shard.0 < self.shards { shard } else { ShardId(0) };
        self.wait(to, RoomRequest::Direct { id, action });
    }

    pub(super) fn direct_leave(&mut self, id: SocketId, room: &str) {
        let room = self.name(room);
        self.direct(id, Direct::Leave { room, membership_id: None });
    }

    fn send_to(&mut self, room: &str, request: impl FnOnce(Arc<str>) -> RoomRequest<M>) {
        let room = self.name(room);
        self.send(&room, request);
    }

    fn send(&mut self, room: &Arc<str>, request: impl FnOnce(Arc<str>) -> RoomRequest<M>) {
        let to = home_of(&self.keyed, &**room, self.shards);
        self.wait(to, request(Arc::clone(room)));
    }

    fn wait(&mut self, to: ShardId, request: RoomRequest<M>) {
        self.waiting_bytes += request.bytes();
        self.waiting[usize::from(to.0)].push_back(request);
    }

    /// Sends what waits, in order for each home; returns whether everything fitted.
    pub(super) fn flush(
        &mut self,
        mut push: impl FnMut(ShardId, RoomRequest<M>) -> Result<(), RoomRequest<M>>,
    ) -> bool {
        let mut is_done = true;
        for (index, waiting) in self.waiting.iter_mut().enumerate() {
            while let Some(request) = waiting.pop_front() {
                let bytes = request.bytes();
                if let Err(request) = push(ShardId(index as u8), request) {
                    waiting.push_front(request);
                    is_done = false;
                    break;
                }
                self.waiting_bytes -= bytes;
            }
        }
        is_done
    }

    /// Whether the session whose event has just been handled must go: it asks for more than the
    /// lanes take.
    pub(super) fn is_over(&self) -> bool {
        self.waiting_bytes > self.settings.waiting_bytes_max
    }

    // ---- what homes answer --------------------------------------------------------------------

    /// Returns the session whose join was refused, and the room.
    pub(super) fn delivery(
        &mut self,
        delivery: RoomDelivery,
        engine: &mut Engine,
        counters: &mut Counters,
    ) -> Option<(SessionId, Arc<str>)> {
        match delivery {
            RoomDelivery::Joined { session, membership_id } => {
                let Some(slot) = self.answered(session, membership_id).map(|it| it.room) else {
                    // It left while the answer was under way; its leave is under way too.
                    engine.counters.stale_deliveries += 1;
                    return None;
                };
                let index = self.room_mut(slot).members.add(session, (), engine);
                let local = self.local_mut(session).expect("it was found above");
                let membership = local.memberships.get_mut(membership_id);
                membership.expect("it was found above").index = Some(index);
                counters.joins += 1;
            }
            RoomDelivery::Refused { session, membership_id } => {
                counters.joins_refused += 1;
                let asked = self.answered(session, membership_id).filter(|it| !it.is_leaving);
                let slot = asked.map(|asked| asked.room);
                let room = slot.map(|slot| Arc::clone(&self.room(slot).name));
                if !self.end_membership(session, membership_id) {
                    engine.counters.stale_deliveries += 1;
                }
                return room.map(|room| (session, room));
            }
            RoomDelivery::Left { session, membership_id } => {
                if self.end_membership(session, membership_id) {
                    counters.leaves += 1;
                } else {
                    engine.counters.stale_deliveries += 1;
                }
            }
            RoomDelivery::Emit { room, frame, except } => {
                self.fan_out(&room, &frame, except, engine);
            }
            RoomDelivery::RemoveAll { room, is_disconnect } => {
                self.members_leave(&room, is_disconnect, engine, counters);
            }
            RoomDelivery::Direct { id, action } => {
                let session = id.session();
                if self.id(session) != Some(id) {
                    counters.sockets_unknown += 1;
                    return None;
                }
                match action {
                    Direct::Packet(packet) => packets::send(id, &packet, engine, counters),
                    // It follows what the home has answered before.
                    Direct::IsIn { room, member, other } => {
                        let is_member = self.is_member(session, &room);
                        let packet = if is_member { member } else { other };
                        packets::send(id, &packet, engine, counters);
                    }
                    // It may have left by itself.
                    Direct::Leave { room, membership_id: None } => {
                        self.leave(session, &room);
                    }
                    Direct::Leave { membership_id: Some(membership_id), .. } => {
                        self.ask_to_end(session, membership_id);
                    }
                    Direct::Disconnect => packets::disconnect(id, engine, counters),
                }
            }
        }
        None
    }

    fn fan_out(&self, room: &str, frame: &Bytes, except: Option<SocketId>, engine: &mut Engine) {
        let Some(slot) = self.names.get(room).copied() else {
            // The last member here ended while the frame was under way.
            engine.counters.stale_deliveries += 1;
            return;
        };
        let members = &self.room(slot).members;
        let mut count = members.len() as u64;
        // A client that has left and connected again is another one, which gets it.
        let except = except.filter(|id| self.id(id.session()) == Some(*id)).map(|id| id.session());
        match except {
            None => members.fan_out(
                slot.into(),
                frame,
                engine,
                |_| false,
                |member, engine| engine.emit_frame(member.session, frame),
            ),
            Some(except) => members.fan_out(
                slot.into(),
                frame,
                engine,
                |member| member.session == except,
                |member, engine| {
                    if member.session == except {
                        count -= 1;
                    } else {
                        engine.emit_frame(member.session, frame);
                    }
                },
            ),
        }
        engine.counters.deliveries += count;
        engine.counters.events_out += count;
    }

    /// The members receive nothing more of the room. Their leaves, or their ends, are sent to home when
    /// the turn ends.
    fn members_leave(
        &mut self,
        room: &str,
        is_disconnect: bool,
        engine: &mut Engine,
        counters: &mut Counters,
    ) {
        let Some(slot) = self.names.get(room).copied() else {
            // The last member here ended while the delivery was under way.
            engine.counters.stale_deliveries += 1;
            return;
        };
        let members = self.room(slot).members.iter();
        let sessions: SmallVec<[SessionId; 8]> = members.map(|member| member.session).collect();
        for session in sessions {
            if is_disconnect {
                let id = self.id(session).expect("a member is connected");
                packets::disconnect(id, engine, counters);
            } else {
                self.take_out(session, slot);
                self.leave(session, room);
            }
        }
    }

    /// The member receives nothing more of the room, before its membership is over.
    fn take_out(&mut self, session: SessionId, slot: u32) {
        let index = self.memberships(session).listed_mut(slot).index.take();
        self.remove_member(slot, index.expect("a listed membership has a place"));
    }

    fn remove_member(&mut self, slot: u32, index: u32) {
        let Some(moved) = self.room_mut(slot).members.remove(index) else { return }; // The last.
        self.memberships(moved).listed_mut(slot).index = Some(index);
    }

    /// Those of a member.
    fn memberships(&mut self, member: SessionId) -> &mut Memberships<u32> {
        &mut self.local_mut(member).expect("a member is a session of this shard").memberships
    }

    /// The home has answered that the membership is over. False if it was over before.
    fn end_membership(&mut self, session: SessionId, membership_id: MembershipId) -> bool {
        let local = self.local_mut(session);
        let ended = local.and_then(|local| local.memberships.end(membership_id));
        let Some(ended) = ended else { return false };
        self.forget(ended.room, ended.index);
        true
    }

    /// The session has moved to a WebSocket.
    pub(super) fn moved(&mut self, session: SessionId, engine: &Engine) {
        let local = self.local(session).expect("a session is known until its end");
        let places: SmallVec<[(u32, u32); 4]> =
            local.memberships.iter().filter_map(|m| Some((m.room, m.index?))).collect();
        for (room, index) in places {
            self.room_mut(room).members.moved(index, engine);
        }
    }

    fn answered(
        &mut self,
        session: SessionId,
        membership_id: MembershipId,
    ) -> Option<&mut Membership<u32>> {
        self.local_mut(session)?.memberships.answered(membership_id)
    }

    /// One membership of the room less.
    fn forget(&mut self, slot: u32, index: Option<u32>) {
        if let Some(index) = index {
            self.remove_member(slot, index);
        }
        self.room_mut(slot).references -= 1;
        if self.room(slot).references == 0 {
            let room = self.rooms[slot as usize].take().expect("it was looked at above");
            self.names.remove(&room.name);
            self.free.push(slot);
        }
    }

    fn name(&self, name: &str) -> Arc<str> {
        match self.names.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => name.into(),
        }
    }

    fn intern(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.names.get(name) {
            return *slot;
        }
        let name: Arc<str> = name.into();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.rooms.push(None);
            self.rooms.len() as u32 - 1
        });
        let room =
            LocalRoom { name: Arc::clone(&name), members: Members::default(), references: 0 };
        self.rooms[slot as usize] = Some(room);
        self.names.insert(name, slot);
        slot
    }

    // ---- invariants ---------------------------------------------------------------------------

    /// Whether requests wait.
    pub(super) fn owes(&self) -> bool {
        self.waiting.iter().any(|requests| !requests.is_empty())
    }

    pub(super) fn check(&self, engine: &Engine) {
        let mut references = vec![0; self.rooms.len()];
        let mut members = 0;
        for local in &self.locals {
            let is_empty = local.memberships.is_empty();
            assert!(local.session.is_some() || is_empty, "only a live session has memberships");
            local.memberships.check();
            for membership in local.memberships.iter() {
                references[membership.room as usize] += 1;
                let Some(index) = membership.index else { continue };
                members += 1;
                let member = self.room(membership.room).members.iter().nth(index as usize);
                let member = member.expect("an index points to a member");
                assert_eq!(Some(member.session), local.session, "a member points back");
            }
        }
        for (slot, room) in self.rooms.iter().enumerate() {
            let Some(room) = room else { continue };
            assert_eq!(self.names.get(&room.name), Some(&(slot as u32)), "a name points back");
            assert_eq!(room.references, references[slot], "references are memberships");
            assert!(room.references > 0, "a room without memberships is forgotten");
            room.members.check(engine);
        }
        assert_eq!(self.names.len() + self.free.len(), self.rooms.len(), "a slot is used or free");
        let listed: usize = self.rooms.iter().flatten().map(|room| room.members.len()).sum();
        assert_eq!(members, listed, "members are memberships that home has answered");
        let bytes: usize = self.waiting.iter().flatten().map(RoomRequest::bytes).sum();
        assert_eq!(bytes, self.waiting_bytes, "bytes accounted are bytes held");
    }
}

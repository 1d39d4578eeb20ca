//! What an application keeps for each room, at the room's home.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use serde::Serialize;

use super::items::{Ack, Direct, RoomDelivery};
use super::memberships::MembershipId;
use super::packets;
use crate::ids::{SessionId, ShardId, SocketId};

/// What an application keeps for each room: one value, at the room's home, made by `Default` when
/// the first client joins and dropped when the last one has left. What must live longer belongs to a
/// store.
///
/// All calls about one room come in the room's order: that of its joins, leaves, events and messages.
/// What a call sends reaches the members in the same order. Nothing here may wait.
///
/// `()` keeps nothing: homes then know the number of members on each shard, and no members.
pub trait RoomState: Default + 'static {
    /// What [`super::Room::send`] sends here.
    type Message: Send + 'static;

    /// False only for `()`: no hook is called, and homes keep no members.
    const IS_KEPT: bool = true;

    /// A client asks to join; false refuses it. The reason is sent with
    /// [`RoomHome::emit_to`], or in the answer to its event from [`RoomState::message`].
    fn admits(&mut self, room: &mut RoomHome<'_>, id: SocketId) -> bool {
        let _ = (room, id);
        true
    }

    /// A client is a member from now on. What [`RoomHome::emit_to`] sends to it here comes before
    /// everything that happens in the room later: the place for a snapshot.
    fn joined(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
        let _ = (room, id);
    }

    /// A client is a member no longer: it left, was removed, or has disconnected.
    fn left(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
        let _ = (room, id);
    }

    /// A message that [`super::Room::send`] sent for the client `from`, which may be no member
    /// ([`RoomHome::has`]). `ack` is what [`RoomHome::ack`] answers. If the room has no members, the
    /// state lives for this call only.
    fn message(
        &mut self,
        room: &mut RoomHome<'_>,
        from: SocketId,
        message: Self::Message,
        ack: Ack,
    );

    /// Called for each room every [`super::Settings::tick_ms`].
    fn tick(&mut self, room: &mut RoomHome<'_>) {
        let _ = room;
    }
}

impl RoomState for () {
    type Message = Infallible;

    const IS_KEPT: bool = false;

    fn message(&mut self, _: &mut RoomHome<'_>, _: SocketId, message: Infallible, _: Ack) {
        match message {}
    }
}

/// A member, as the home of a room with state keeps it.
pub(super) struct KeptMember {
    pub(super) id: SocketId,
    pub(super) membership_id: MembershipId,
    /// It has been removed, and its edge has not answered.
    pub(super) is_leaving: bool,
}

impl KeptMember {
    /// Whether it is this client, and has not been removed.
    fn is(&self, id: SocketId) -> bool {
        self.id == id && !self.is_leaving
    }
}

/// A room at its home, for the length of one call of its [`RoomState`].
///
/// What a call sends waits at the home until the lanes take it, and the home takes no further request
/// before that. Beyond [`super::Settings::home_bytes_max`], events are dropped and counted
/// (`home_emits_dropped`); acks and removals never are.
pub struct RoomHome<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) counts: &'a [u32],
    pub(super) members: &'a mut BTreeMap<SessionId, KeptMember>,
    pub(super) out: &'a mut Outgoing,
}

impl RoomHome<'_> {
    /// The room's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The members, without those that have been removed, in the order of their shards.
    pub fn members(&self) -> impl Iterator<Item = SocketId> {
        self.members.values().filter(|member| !member.is_leaving).map(|member| member.id)
    }

    /// Whether the client is a member and has not been removed.
    pub fn has(&self, id: SocketId) -> bool {
        self.members.get(&id.session()).is_some_and(|member| member.is(id))
    }

    /// Sends an event with one argument to every member.
    ///
    /// # Panics
    /// When [`super::is_reserved`] names `name`, or `data` has no JSON.
    #[track_caller]
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        self.fan_out(name, &data, None);
    }

    /// As [`RoomHome::emit`], to every member but one.
    ///
    /// # Panics
    /// As [`RoomHome::emit`].
    #[track_caller]
    pub fn emit_except(&mut self, id: SocketId, name: &str, data: impl Serialize) {
        self.fan_out(name, &data, Some(id.session()));
    }

    #[track_caller]
    fn fan_out(&mut self, name: &str, data: &impl Serialize, except: Option<SessionId>) {
        let frame = packets::event_frame(name, data);
        let deliveries = edges(self.counts).map(|to| {
            let (room, frame) = (Arc::clone(self.name), frame.clone());
            (to, RoomDelivery::Emit { room, frame, except })
        });
        self.out.offer(deliveries.collect());
    }

    /// Sends an event with one argument to one client, which may be no member.
    ///
    /// # Panics
    /// As [`RoomHome::emit`].
    #[track_caller]
    pub fn emit_to(&mut self, id: SocketId, name: &str, data: impl Serialize) {
        let action = Direct::Packet(packets::event(name, &data).into());
        self.out.offer(vec![(id.session().shard(), RoomDelivery::Direct { id, action })]);
    }

    /// Answers an event; nothing happens when the client asked for no answer.
    ///
    /// # Panics
    /// When `data` has no JSON.
    #[track_caller]
    pub fn ack(&mut self, id: SocketId, ack: Ack, data: impl Serialize) {
        if let Some(packet) = packets::ack(ack, &data) {
            self.direct(id, Direct::Packet(packet.into()));
        }
    }

    /// Removes a member. It hears what the room hears until its shard has answered, which is when
    /// [`RoomState::left`] is called. False if it is no member.
    pub fn remove(&mut self, id: SocketId) -> bool {
        let member = self.members.get_mut(&id.session());
        let Some(member) = member.filter(|member| member.is(id)) else { return false };
        member.is_leaving = true;
        let (room, membership_id) = (Arc::clone(self.name), Some(member.membership_id));
        self.direct(id, Direct::Leave { room, membership_id });
        true
    }

    /// Disconnects a client, which may be no member.
    pub fn disconnect(&mut self, id: SocketId) {
        self.direct(id, Direct::Disconnect);
    }

    fn direct(&mut self, id: SocketId, action: Direct) {
        self.out.push(id.session().shard(), RoomDelivery::Direct { id, action });
    }
}

/// The edges with members.
pub(super) fn edges(counts: &[u32]) -> impl Iterator<Item = ShardId> {
    let counts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    counts.map(|(shard, _)| ShardId(shard as u8))
}

/// Deliveries that wait for free slots of their lanes.
pub(super) struct Outgoing {
    queue: VecDeque<(ShardId, RoomDelivery)>,
    shards: u8,
    bytes: usize,
    bytes_max: usize,
    dropped: u64,
}

impl Outgoing {
    pub(super) fn new(shards: u8, bytes_max: usize) -> Outgoing {
        Outgoing { queue: VecDeque::new(), shards, bytes: 0, bytes_max, dropped: 0 }
    }

    pub(super) fn push(&mut self, to: ShardId, delivery: RoomDelivery) {
        // An id that a client has made up may name a shard beyond the last; the first counts it.
        let to = if to.0 < self.shards { to } else { ShardId(0) };
        self.bytes += delivery.bytes();
        self.queue.push_back((to, delivery));
    }

    /// All of one event, or nothing of it.
    fn offer(&mut self, deliveries: Vec<(ShardId, RoomDelivery)>) {
        let bytes: usize = deliveries.iter().map(|(_, delivery)| delivery.bytes()).sum();
        if self.bytes + bytes > self.bytes_max {
            self.dropped += 1;
            return;
        }
        for (to, delivery) in deliveries {
            self.push(to, delivery);
        }
    }

    /// The first delivery, if its lane has a free slot.
    pub(super) fn next(
        &mut self,
        has_slot: impl FnOnce(ShardId) -> bool,
    ) -> Option<(ShardId, RoomDelivery)> {
        let next = self.queue.pop_front_if(|(to, _)| has_slot(*to))?;
        self.bytes -= next.1.bytes();
        Some(next)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn check(&self) {
        let bytes: usize = self.queue.iter().map(|(_, delivery)| delivery.bytes()).sum();
        assert_eq!(bytes, self.bytes, "bytes accounted are bytes held");
    }
}

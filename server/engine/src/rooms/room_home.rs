//! A room at its home.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::items::{Ack, Direct, RoomDelivery};
use super::kept_member::KeptMember;
use super::outgoing::Outgoing;
use super::packets;
use crate::ids::{SessionId, ShardId, SocketId};

/// A room at its home, for the length of one call of its [`RoomState`](super::RoomState).
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
        self.fan_out(name, &data, Some(id));
    }

    #[track_caller]
    fn fan_out(&mut self, name: &str, data: &impl Serialize, except: Option<SocketId>) {
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

    /// Removes a member. It receives what the other members do until its shard has answered, which is when
    /// [`RoomState::left`](super::RoomState::left) is called. False if it is no member.
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

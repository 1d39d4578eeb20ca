//! What edges and homes of named rooms send to each other.

use std::sync::Arc;

use bytes::Bytes;

use super::memberships::MembershipId;
use crate::ids::{SessionId, SocketId};

/// Whether and under which id a client waits for an answer to an event.
pub type Ack = Option<u64>;

/// From an edge to the home of a room. `M` is what edges send to [`super::RoomState::message`].
#[derive(Debug)]
pub enum RoomRequest<M> {
    /// A session joins.
    Join {
        /// The room.
        room: Arc<str>,
        /// The session.
        session: SessionId,
        /// The membership that begins.
        membership_id: MembershipId,
        /// The public id of the session's client.
        id: SocketId,
    },
    /// A session leaves.
    Leave {
        /// The room.
        room: Arc<str>,
        /// The session.
        session: SessionId,
        /// The membership that ends.
        membership_id: MembershipId,
    },
    /// A frame for all members.
    Emit {
        /// The room.
        room: Arc<str>,
        /// One whole WebSocket text frame.
        frame: Bytes,
        /// The client that does not get it.
        except: Option<SocketId>,
    },
    /// An answer that waits for what was done before it.
    Ack {
        /// The room.
        room: Arc<str>,
        /// The client that asked.
        id: SocketId,
        /// The answer.
        action: Direct,
    },
    /// A message for the room's state.
    Message {
        /// The room.
        room: Arc<str>,
        /// The client that caused it.
        from: SocketId,
        /// What the application has to say.
        message: M,
        /// The answer that the client waits for.
        ack: Ack,
        /// Bytes of the event that caused it, as an estimate of what the message holds.
        bytes: u32,
    },
    /// All members leave, or are disconnected.
    RemoveAll {
        /// The room.
        room: Arc<str>,
        /// Whether they are disconnected.
        is_disconnect: bool,
    },
    /// Something for one client. It goes to the shard of its session, which is a home to it.
    Direct {
        /// The client.
        id: SocketId,
        /// What.
        action: Direct,
    },
}

/// Something for one client.
#[derive(Debug)]
pub enum Direct {
    /// An Engine.IO packet.
    Packet(Box<str>),
    /// One of two packets.
    IsIn {
        /// The room.
        room: Arc<str>,
        /// What it gets as a member.
        member: Box<str>,
        /// What it gets otherwise.
        other: Box<str>,
    },
    /// It leaves a room.
    Leave {
        /// The room.
        room: Arc<str>,
        /// The membership; without it, the present one.
        membership_id: Option<MembershipId>,
    },
    /// It is disconnected.
    Disconnect,
}

impl Direct {
    /// Bytes of its packets.
    fn held(&self) -> usize {
        match self {
            Direct::Packet(packet) => packet.len(),
            Direct::IsIn { member, other, .. } => member.len() + other.len(),
            Direct::Leave { .. } | Direct::Disconnect => 0,
        }
    }
}

impl<M> RoomRequest<M> {
    /// What the request takes of the memory of a queue.
    pub(super) fn bytes(&self) -> usize {
        let held = match self {
            RoomRequest::Join { .. }
            | RoomRequest::Leave { .. }
            | RoomRequest::RemoveAll { .. } => 0,
            RoomRequest::Emit { frame, .. } => frame.len(),
            RoomRequest::Ack { action, .. } | RoomRequest::Direct { action, .. } => action.held(),
            RoomRequest::Message { bytes, .. } => *bytes as usize,
        };
        size_of::<RoomRequest<M>>() + held
    }
}

/// From the home of a room to an edge.
#[derive(Debug)]
pub enum RoomDelivery {
    /// The session is a member from now on.
    Joined {
        /// The session.
        session: SessionId,
        /// The membership.
        membership_id: MembershipId,
    },
    /// The room's state, or a limit, has refused the session.
    Refused {
        /// The session.
        session: SessionId,
        /// The membership that did not come about.
        membership_id: MembershipId,
    },
    /// The session is a member no longer.
    Left {
        /// The session.
        session: SessionId,
        /// The membership.
        membership_id: MembershipId,
    },
    /// A frame for all members of this shard.
    Emit {
        /// The room.
        room: Arc<str>,
        /// One whole WebSocket text frame.
        frame: Bytes,
        /// The client that does not get it.
        except: Option<SocketId>,
    },
    /// All members of this shard leave, or are disconnected.
    RemoveAll {
        /// The room.
        room: Arc<str>,
        /// Whether they are disconnected.
        is_disconnect: bool,
    },
    /// Something for one client of this shard.
    Direct {
        /// The client.
        id: SocketId,
        /// What.
        action: Direct,
    },
}

impl RoomDelivery {
    /// What the delivery takes of the memory of a queue.
    pub(super) fn bytes(&self) -> usize {
        let held = match self {
            RoomDelivery::Joined { .. }
            | RoomDelivery::Refused { .. }
            | RoomDelivery::Left { .. }
            | RoomDelivery::RemoveAll { .. } => 0,
            RoomDelivery::Emit { frame, .. } => frame.len(),
            RoomDelivery::Direct { action, .. } => action.held(),
        };
        size_of::<RoomDelivery>() + held
    }
}

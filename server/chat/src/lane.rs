//! What travels between shards. Requests go edge → home, deliveries home → edge; handling a
//! delivery never emits either, so deliveries always drain.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
pub use throng_engine::rooms::MembershipId;

use crate::choice::Choice;
use crate::ids::{Cid, LoadId, RoomId, Seq, SessionId, ShardId, UserId};
use crate::refusal::Refusal;
use crate::user::UserCard;

/// How a member wants roster changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceMode {
    /// Whole rosters in `room` and `roomout`.
    Full,
    /// One snapshot, then `presence` events with who joined and left.
    Delta,
    /// `presence` events with the number only.
    Count,
}

/// Where the answer to a request goes: the Socket.IO ack id, if the client asked for one.
pub type AckId = Option<u64>;

/// What an edge asks of a home. `client` is for the operator's log; boxed, because every request has the
/// size of the largest.
#[derive(Debug)]
pub enum Request {
    /// The session enters the room, or asks for the roster again.
    Join {
        room: RoomId,
        session: SessionId,
        client: Box<IpAddr>,
        membership_id: MembershipId,
        user: Arc<UserCard>,
        presence_mode: PresenceMode,
        ack: AckId,
    },
    /// Owed by the edge until it fits the lane; `answer` is `None` once the session is gone.
    Leave {
        room: RoomId,
        session: SessionId,
        client: Box<IpAddr>,
        membership_id: MembershipId,
        answer: Option<AckId>,
    },
    /// A message for the room.
    Publish { room: RoomId, session: SessionId, message: Box<Publish>, ack: AckId },
    /// The user has chosen whether they follow the room.
    Follow { room: RoomId, user: Arc<UserCard>, choice: Choice },
    /// The edge has its first session of `user` and wants to know what they are reading.
    Watch { user: UserId, load: LoadId, edge: ShardId },
}

impl Request {
    /// The room in whose order it has a place.
    pub(crate) fn room(&self) -> Option<RoomId> {
        match self {
            Request::Join { room, .. }
            | Request::Leave { room, .. }
            | Request::Publish { room, .. } => Some(*room),
            Request::Follow { .. } | Request::Watch { .. } => None,
        }
    }
}

/// A message that has no number yet.
#[derive(Debug)]
pub struct Publish {
    /// The text; may be empty.
    pub msg: Box<str>,
    /// URL of the image; empty without one.
    pub img: Box<str>,
    /// ISO 8601.
    pub time: Box<str>,
    /// Its author's own id for it.
    pub cid: Option<Cid>,
}

/// What a home sends to an edge.
#[derive(Debug)]
pub enum Delivery {
    /// The session is a member; `seq` is the room's last message.
    Joined {
        room: RoomId,
        session: SessionId,
        membership_id: MembershipId,
        presence_mode: PresenceMode,
        seq: Seq,
        online: u32,
        ack: AckId,
    },
    /// The session is no member, or stays the member that it was.
    JoinRefused { session: SessionId, membership_id: MembershipId, why: Refusal, ack: AckId },
    /// There is no such room to leave.
    LeaveRefused { session: SessionId, why: Refusal, ack: AckId },
    /// The member is out. `frame` is its last event of the room, unless it asked for an ack.
    Left {
        room: RoomId,
        session: SessionId,
        membership_id: MembershipId,
        seq: Seq,
        online: u32,
        frame: Option<Bytes>,
        ack: AckId,
    },
    /// The message is not in the room.
    PublishRefused { session: SessionId, why: Refusal, ack: AckId },
    /// The message was handed on before its commit was known to be this node's.
    PublishAccepted { session: SessionId, ack: AckId, id: i64, seq: Seq },
    /// Messages of one room, in order, that became durable together.
    FanOut { room: RoomId, messages: Arc<Batch> },
    /// One frame for all members of the room in this presence mode.
    Roster { room: RoomId, presence_mode: PresenceMode, frame: Bytes },
    /// One frame for some members, when their turn has come: a whole roster, or a change
    /// after it.
    MemberRoster { room: RoomId, sessions: SmallVec<[SessionId; 2]>, frame: Bytes },
    /// `user` began or stopped reading the room, or has chosen whether they follow it.
    Reading { user: UserId, mark: Mark },
    /// The answer to a `Watch`: rooms the user is reading, or whose mark is not saved yet.
    Watched { user: UserId, load: LoadId, marks: Box<[Mark]> },
    /// The room's last message is `seq`.
    Tip { room: RoomId, seq: Seq },
}

/// How far a user has read a room, and whether they follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The room.
    pub room: RoomId,
    /// The last message that the user has read.
    pub seq: Seq,
    /// The user is in the room, so all of it counts as read.
    pub is_reading: bool,
    /// The newest one that is known.
    pub choice: Choice,
}

/// Consecutive messages of one room.
#[derive(Debug)]
pub struct Batch {
    /// In order; not empty.
    pub messages: Vec<Sequenced>,
    /// The shared frames of all messages, end to end, for members who wrote none of them.
    pub shared: Vec<u8>,
}

/// One numbered message with its two ready frames.
#[derive(Debug)]
pub struct Sequenced {
    /// Who wrote it.
    pub author: UserId,
    /// For the author's own sessions.
    pub own: Bytes,
    /// For all others: this part of [`Batch::shared`].
    pub shared: std::ops::Range<usize>,
    /// Its number in the room.
    pub seq: Seq,
    /// Its number in the store.
    pub id: i64,
    /// The session of this node that published, and the ack it wants.
    pub publisher: Option<SessionId>,
    /// Under which id `publisher` waits for the answer.
    pub ack: AckId,
}

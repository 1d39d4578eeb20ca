//! What passes between this node's shards and the rest of the cluster, as plain data.
//!
//! A shard reports what others must know as [`Signal`]s and receives what other nodes report as
//! [`crate::Notice::Cluster`]. Who is a node, what is mirrored and what is read again after a fault
//! is decided elsewhere; here the two sides only agree on words.
//!
//! Spec: NODE.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::choice::Choice;
use crate::ids::{RoomId, Seq, SessionId, UserId};
use crate::user::UserCard;

/// Another node in one incarnation. Never given twice in one process, so a late
/// report about a dead node cannot touch the one that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIx(pub u16);

/// A message that has its number, whichever node gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number in the room.
    pub seq: Seq,
    /// Its number in the store.
    pub id: i64,
    /// The e-mail may be missing: what travels between nodes holds none, and home knows that of
    /// every author with a session here.
    pub author: Arc<UserCard>,
    /// The text; may be empty.
    pub msg: Box<str>,
    /// URL of the image; empty without one.
    pub img: Box<str>,
    /// ISO 8601, as its publisher or this server's clock says.
    pub time: Box<str>,
}

/// What other nodes, or another application on this node, must know of this node.
///
/// A signal is the present state of its subject. What does not fit the lane is sent later, and
/// only its newest state; nothing is lost and nothing is sent in the wrong order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// From home: the user's first session of this node entered the room, or its last one left.
    /// `seq` is their read mark. Repeated when their card changes.
    Present { room: RoomId, user: Arc<UserCard>, is_present: bool, seq: Seq },
    /// From home: the user has chosen whether they follow the room.
    Chosen { room: RoomId, user: UserId, choice: Choice },
    /// From edge: whose session it is and where; `None` once it is over.
    Session { session: SessionId, state: Option<SessionState> },
    /// From home: the store has numbered these messages of this node, in order.
    Committed { room: RoomId, messages: Arc<[StoredMessage]> },
}

/// Whose session it is and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The user it acts for.
    pub user: UserId,
    /// The rooms it is a member of.
    pub rooms: SmallVec<[RoomId; 2]>,
}

/// What a shard receives from the cluster. Inputs that name a room go to its
/// [home](throng_engine::home_of), all others to every shard; a shard ignores a room that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterInput {
    /// Numbered messages, in any order; some may be known already.
    Messages { room: RoomId, messages: Vec<StoredMessage> },
    /// The room has messages up to `seq`; home fetches what it lacks.
    Tip { room: RoomId, seq: Seq },
    /// Who entered a room on another node, and who left it, with their read mark.
    Present { room: RoomId, node: NodeIx, joined: Vec<Arc<UserCard>>, left: Vec<(UserId, Seq)> },
    /// How far users had read when they left a room on a node, whose presence of them says nothing
    /// any more, or nothing yet.
    Read { room: RoomId, marks: Vec<(UserId, Seq)> },
    /// Which of its users follow the room has been chosen on another node.
    Chosen { room: RoomId, choices: Vec<(UserId, Choice)> },
    /// All users that the node has in the room; replaces what was known.
    NodePresence { room: RoomId, node: NodeIx, users: Vec<Arc<UserCard>> },
    /// The node's lease is gone, and with it all users it had.
    NodeGone { node: NodeIx },
    /// Report everything anew: all presence, all sessions.
    Announce,
    /// Reports of other nodes may have been lost, or a dead node's marks have been raised: how far
    /// users have read, and whether their tokens have ended, is asked of the store again.
    Resync,
    /// An event of another program for our clients.
    Emit(Arc<Emit>),
}

impl ClusterInput {
    /// The room whose home must get it; `None`: every shard.
    pub fn room(&self) -> Option<RoomId> {
        match self {
            ClusterInput::Messages { room, .. }
            | ClusterInput::Tip { room, .. }
            | ClusterInput::Present { room, .. }
            | ClusterInput::Read { room, .. }
            | ClusterInput::Chosen { room, .. }
            | ClusterInput::NodePresence { room, .. } => Some(*room),
            ClusterInput::NodeGone { .. }
            | ClusterInput::Announce
            | ClusterInput::Resync
            | ClusterInput::Emit(_) => None,
        }
    }
}

/// An event that another program emits through Redis. Every session that is in one of `to` and in
/// none of `except` receives it once. It has no place in the order of a room's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    /// `None`: every session that has connected the namespace. An empty list: none.
    pub to: Option<Box<[Audience]>>,
    /// Sessions in one of these do not receive it.
    pub except: Box<[Audience]>,
    /// The JSON array of the event: `["news",{"a":1}]`. Its syntax was checked by what made it.
    pub event: Box<str>,
}

/// Some sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The members of a room.
    Room(RoomId),
    /// The sessions of a user.
    User(UserId),
}

//! Everything a shard can ask for. Plain data: printable, comparable, countable.

use bytes::Bytes;

use crate::chat::lane::{Delivery, Request};
use crate::cluster::Signal;
use crate::ids::{PipeId, PollId, RoomId, Seq, SessionId, ShardId, TokenHash, UserId};

/// Filled by `step` and `settle`, drained by the shell once per turn.
#[derive(Default)]
pub struct Effects {
    pub requests: Vec<(ShardId, Request)>,
    pub deliveries: Vec<(ShardId, Delivery)>,
    pub commands: Vec<Command>,
    /// For the other nodes; none unless [`crate::Settings::cluster`].
    pub signals: Vec<Signal>,
    pub answers: Vec<(PollId, Answer)>,
    /// Pipes to shut down now; what the outbox still holds for them is dropped.
    pub closes: Vec<PipeId>,
    pub logs: Vec<LogLine>,
}

/// Free slots at the start of a turn, indexed by shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneSlots {
    pub requests: Vec<u32>,
    pub deliveries: Vec<u32>,
    pub commands: u32,
    pub signals: u32,
}

/// An HTTP answer of the polling transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
}

/// One message on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    pub user: UserId,
    pub msg: Box<str>,
    pub img: Box<str>,
    pub time: Box<str>,
}

/// Work for the store; each is answered by exactly one [`crate::Reply`].
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Authenticate {
        conn: SessionId,
        token: TokenHash,
    },
    /// Sessions act for these tokens, and a logout of theirs may have been missed.
    CheckTokens {
        tokens: Box<[TokenHash]>,
    },
    /// The batch takes `first_seq`, `first_seq + 1`, …: all of it or nothing. `None`: the store
    /// gives the next free numbers, in the order of the commits of all nodes.
    Append {
        room: RoomId,
        first_seq: Option<Seq>,
        batch: Vec<NewMessage>,
    },
    CreateRoom {
        room: RoomId,
    },
    /// Another node spoke of a room that this one does not know. Creates nothing.
    LoadRoom {
        room: RoomId,
    },
    /// Messages with `after < seq <= upto`, in order; the store may answer with the first part.
    Fetch {
        room: RoomId,
        after: Seq,
        upto: Seq,
    },
    Reads {
        user: UserId,
    },
    /// `is_reading`: the user is in the room, so after a crash he has read all of it.
    SaveRead {
        user: UserId,
        room: RoomId,
        seq: Seq,
        is_reading: bool,
    },
    SaveImage {
        conn: SessionId,
        bytes: Bytes,
    },
}

/// One line for the operator. No payload, no token, no sid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    Entered {
        conn: SessionId,
        user: UserId,
        room: RoomId,
        online: u32,
    },
    Left {
        conn: SessionId,
        user: UserId,
        room: RoomId,
        online: u32,
    },
    /// Users of other nodes came or went; nothing for the operator.
    Online {
        room: RoomId,
        online: u32,
    },
    Ended {
        conn: SessionId,
        user: Option<UserId>,
        reason: &'static str,
        transport: &'static str,
        protocol: &'static str,
        lifetime_ms: u64,
        messages_in: u64,
    },
}

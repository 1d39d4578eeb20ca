//! Everything that can happen to a shard.

use std::net::IpAddr;
use std::sync::Arc;

use crate::chat::lane::{Delivery, Request};
use crate::cluster::{ClusterInput, StoredMessage};
use crate::ids::{PipeId, PollId, RoomId, Seq, SessionId, ShardId, TokenHash, UserId};
use crate::settings::RoomInfo;

/// Closed on purpose: this page is the whole surface.
pub enum Input<'a> {
    /// A WebSocket handshake. The shell has checked the RFC 6455 headers; the core checks the
    /// Engine.IO side and answers through the outbox, refusal included.
    Upgrade { pipe: PipeId, accept: Accept, request: EngineRequest },
    /// Bytes of an accepted pipe, unmasked in place.
    Bytes { pipe: PipeId, bytes: &'a mut [u8] },
    /// The pipe is gone; the shell will not mention it again.
    PipeClosed { pipe: PipeId, end: PipeEnd },
    /// A request of the polling transport: handshake, poll (GET) or packets (POST, `body`).
    Http { poll: PollId, request: EngineRequest, body: Result<Vec<u8>, BodyFault> },
    /// The client gave up on an unanswered request.
    HttpGone { poll: PollId },
    /// Edge to this home.
    Request { from: ShardId, request: Request },
    /// Home to this edge.
    Delivery { from: ShardId, delivery: Delivery },
    /// The store finished a [`crate::Command`].
    Reply(Reply),
    /// A token was revoked (logout): sessions bound to it lose their identity.
    Revoked(TokenHash),
    /// A user changed name or avatar.
    UserChanged(Arc<UserCard>),
    /// Another node, or a program beside us, through the cluster's backplane.
    Cluster(ClusterInput),
    /// The server is stopping: close everything, politely.
    Stop,
}

/// Why a POST has no body to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Longer than `max_payload`.
    TooLarge,
    /// Another POST of the session is still being received.
    Overlapping,
}

/// How the `101` answer is written.
pub enum Accept {
    /// The core writes it, with this `Sec-WebSocket-Accept` value.
    Write(Box<str>),
    /// It has been written already (the front desk held the connection).
    Done,
}

/// One Engine.IO HTTP request, parsed but not judged.
#[derive(Clone, Debug)]
pub struct EngineRequest {
    pub endpoint: Endpoint,
    pub method: Method,
    pub transport: Transport,
    pub eio: Eio,
    pub sid: Option<Box<str>>,
    /// EIO3 `b64`: the client cannot read binary polling bodies.
    pub b64: bool,
    /// EIO3 `j`: answer as JSONP with this index.
    pub jsonp: Option<u32>,
    /// `api_token` of the query or `Authorization: Bearer`; judged later.
    pub token: Option<Box<str>>,
    /// Whether the `Origin` header is absent, same-origin or allowed.
    pub origin_allowed: bool,
    /// The POST body is `application/octet-stream` (EIO3 binary payload).
    pub octet_stream: bool,
    pub peer: IpAddr,
}

/// What is served at the request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    SocketIo,
    /// Engine.IO messages without Socket.IO on top (`conformance` only).
    EngineIo,
    /// Plain WebSocket echo (`conformance` only).
    RawEcho,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Polling,
    Websocket,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eio {
    V3,
    V4,
    /// Missing or anything else.
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeEnd {
    /// The peer sent FIN.
    Eof,
    /// Reset, write error, shutdown.
    Failed,
}

/// What everybody may know about a user, and the e-mail only the user may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCard {
    pub id: UserId,
    pub email: Box<str>,
    pub name: Box<str>,
    pub avatar: Box<str>,
}

impl UserCard {
    /// This card, with the e-mail of an older one if it has none: other nodes do not tell it.
    pub(crate) fn knowing(self: &Arc<UserCard>, older: &UserCard) -> Arc<UserCard> {
        if self.email.is_empty() && !older.email.is_empty() {
            return Arc::new(UserCard { email: older.email.clone(), ..UserCard::clone(self) });
        }
        Arc::clone(self)
    }
}

/// The store could not do it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreDown;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFault {
    /// Not an accepted image, or too big.
    Invalid,
    StoreDown,
}

/// Where a batch stands in its room: the first message is `first_seq`, the others follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub first_seq: Seq,
    /// Message ids in the order of the batch.
    pub ids: Vec<i64>,
}

/// Answers to [`crate::Command`]s. Every command gets exactly one.
pub enum Reply {
    /// `Ok(None)`: unknown or expired token.
    Authenticated {
        conn: SessionId,
        token: TokenHash,
        outcome: Result<Option<Arc<UserCard>>, StoreDown>,
    },
    /// Those of the tokens that are unknown or expired by now.
    TokensChecked {
        tokens: Box<[TokenHash]>,
        outcome: Result<Vec<TokenHash>, StoreDown>,
    },
    Appended {
        room: RoomId,
        outcome: Result<Appended, StoreDown>,
    },
    /// `Ok(None)`: may not be created (the limit is reached).
    RoomCreated {
        room: RoomId,
        outcome: Result<Option<RoomInfo>, StoreDown>,
    },
    /// `Ok(None)`: there is no such room.
    RoomLoaded {
        room: RoomId,
        outcome: Result<Option<RoomInfo>, StoreDown>,
    },
    /// What the log has of the range, in order. Nothing means that it has nothing there.
    Fetched {
        room: RoomId,
        outcome: Result<Vec<StoredMessage>, StoreDown>,
    },
    /// What the user has read, per room; rooms never read are absent.
    Reads {
        user: UserId,
        outcome: Result<Vec<(RoomId, Seq)>, StoreDown>,
    },
    ReadSaved {
        user: UserId,
        room: RoomId,
        seq: Seq,
        is_reading: bool,
        outcome: Result<(), StoreDown>,
    },
    /// The URL under which the image is served.
    ImageSaved {
        conn: SessionId,
        outcome: Result<Box<str>, ImageFault>,
    },
}

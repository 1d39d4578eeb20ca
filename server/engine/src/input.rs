//! Everything that can happen to a shard.

use crate::engine_request::{Accept, Body, EngineRequest};
use crate::ids::{PipeId, PollId, ShardId};
use crate::items::Items;

/// Closed on purpose: this page is the whole surface.
pub enum Input<'a, A: Items> {
    /// A WebSocket handshake. The caller has checked the RFC 6455 headers; the engine checks the
    /// Engine.IO side and answers through the outbox, refusal included.
    Upgrade {
        /// The new pipe; the caller never reuses a slot with the same generation.
        pipe: PipeId,
        /// Who writes the `101`.
        accept: Accept,
        /// The request head.
        request: EngineRequest,
    },
    /// Bytes of an accepted pipe, unmasked in place.
    Bytes {
        /// Where they came from.
        pipe: PipeId,
        /// Any part of the stream, in order.
        bytes: &'a mut [u8],
    },
    /// The pipe is closed; the caller will not mention it again.
    PipeClosed {
        /// Which.
        pipe: PipeId,
        /// How it ended.
        end: PipeEnd,
    },
    /// A request of the polling transport: handshake, poll (GET) or packets (POST, `body`).
    Http {
        /// Names the request in [`crate::Effects::answers`].
        poll: PollId,
        /// The request head.
        request: EngineRequest,
        /// The packets of a POST.
        body: Body,
    },
    /// A piece of a body that is arriving. Dropped when the request has been answered: the session
    /// may have ended meanwhile.
    Body {
        /// Of which request.
        poll: PollId,
        /// Any part of it, in order.
        bytes: &'a [u8],
        /// The body is whole with it.
        is_last: bool,
    },
    /// The client closed the connection of an unanswered request, or its body cannot be read.
    HttpGone {
        /// Which.
        poll: PollId,
    },
    /// Edge to this home.
    Request {
        /// The edge.
        from: ShardId,
        /// One item of the request lane.
        request: A::Request,
    },
    /// Home to this edge.
    Delivery {
        /// The home.
        from: ShardId,
        /// One item of the delivery lane.
        delivery: A::Delivery,
    },
    /// The answer to an [`Items::Command`].
    Reply(A::Reply),
    /// From another thread of this process.
    Notice(A::Notice),
    /// The server is stopping: close every session and refuse new ones.
    Stop,
}

/// How a pipe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeEnd {
    /// The peer sent FIN.
    Eof,
    /// Reset, write error, shutdown.
    Failed,
}

//! The items of a shard's inbox.

use std::os::unix::net::UnixStream;

use throng_engine::{Answer, App, Body, EngineRequest, PollId, Sid};
use tokio::sync::oneshot;

use super::connections::Upgraded;
use super::is_identified::IsIdentified;

/// An item of a shard's inbox.
pub enum ToShard<A: App> {
    /// A polling request.
    Http {
        /// Number of this request.
        poll: PollId,
        /// Its fields.
        request: EngineRequest,
        /// The body of a POST, or that it follows.
        body: Body,
        /// Is set before the answer, which may take long.
        is_identified: IsIdentified,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// A piece of a body.
    Body {
        /// Number of the request.
        poll: PollId,
        /// Any part of the body, in order.
        bytes: Vec<u8>,
        /// The body is whole with it.
        is_last: bool,
        /// Completes when the next piece may come.
        taken: oneshot::Sender<()>,
    },
    /// The client of a polling request closed its connection before the answer.
    HttpGone {
        /// Number of the request.
        poll: PollId,
    },
    /// Asks whether the shard has the session that this handshake names.
    HasSession {
        /// The handshake.
        request: EngineRequest,
        /// Where the answer goes.
        answer: oneshot::Sender<bool>,
    },
    /// A WebSocket connection that another thread accepted.
    Upgraded(Box<Upgraded>),
    /// Asks whether the user of a session is known.
    IsIdentified {
        /// Names the session.
        sid: Sid,
        /// Where the answer goes.
        answer: oneshot::Sender<bool>,
    },
    /// A connection that was accepted on a Unix socket, non-blocking.
    Accepted(UnixStream),
    /// For the application.
    Notice(A::Notice),
    /// Stop accepting, and close all sessions with a close frame or an answer.
    Stop,
    /// End the thread.
    Exit,
}

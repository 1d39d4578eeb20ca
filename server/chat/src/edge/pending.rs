//! What a session said while something it said before waits for the store.

use crate::canary::{Canary, is_armed};

use super::*;

/// What a session's next events wait for.
pub(super) enum Awaited {
    /// A token of the handshake or of CONNECT.
    Identity(TokenHash),
    /// The token of `Event`, which is handled next.
    Event(TokenHash, ClientEvent),
    Image {
        room: RoomId,
        publish: Box<Publish>,
        ack: AckId,
        /// Of the picture; the engine has them on the session's account.
        bytes: usize,
        /// What was taken for it from the quotas of this user.
        taken: (UserId, u64),
    },
}

impl Awaited {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Awaited::Image { bytes, .. } => *bytes,
            Awaited::Identity(_) | Awaited::Event(..) => 0,
        }
    }
}

/// What a session sent meanwhile.
pub(super) enum Queued {
    Event(ClientEvent),
    Identity(TokenHash),
    /// It left the namespace.
    Disconnected,
}

pub(super) struct PendingEvents {
    /// `None` only while the answer is handled.
    pub(super) awaited: Option<Awaited>,
    pub(super) queue: VecDeque<Queued>,
    /// Of `queue`; the engine has them on the session's account.
    pub(super) bytes: usize,
    /// The token has ended while it is looked up. The answer may be from before that, and is waited for
    /// all the same: it must not be taken for the answer to a later question.
    pub(super) is_revoked: bool,
}

impl PendingEvents {
    /// The token that is being looked up.
    pub(super) fn token(&self) -> Option<TokenHash> {
        match &self.awaited {
            Some(Awaited::Identity(token) | Awaited::Event(token, _)) => Some(*token),
            Some(Awaited::Image { .. }) | None => None,
        }
    }

    pub(super) fn asks_for(&self, token: TokenHash) -> bool {
        self.token() == Some(token)
    }

    pub(super) fn new(awaited: Awaited) -> Box<PendingEvents> {
        let (awaited, queue) = (Some(awaited), VecDeque::new());
        Box::new(PendingEvents { awaited, queue, bytes: 0, is_revoked: false })
    }
}

/// What an entry costs besides the bytes of an event.
const ENTRY_BYTES: usize = size_of::<Queued>();

impl Queued {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Queued::Event(event) => ENTRY_BYTES + event.bytes,
            Queued::Identity(_) | Queued::Disconnected => ENTRY_BYTES,
        }
    }
}

impl Edge {
    /// The session waits, and this waits with it; a session that says too much meanwhile is closed.
    pub(super) fn enqueue(&mut self, session: SessionId, queued: Queued, cx: &mut Context<'_>) {
        let (events_max, bytes_max) =
            (self.settings.pending_events_max as usize, self.settings.pending_bytes_max as usize);
        let pending = self.live(session).pending.as_mut().expect("the session waits");
        let bytes = queued.bytes();
        if pending.queue.len() >= events_max {
            return cx.engine.end(session, CloseReason::Limit("limits.pending_events_max"));
        }
        if pending.bytes + bytes > bytes_max {
            return cx.engine.end(session, CloseReason::Limit("limits.pending_bytes_max"));
        }
        if !is_armed(Canary::UncountedPendingBytes) {
            pending.bytes += bytes;
        }
        pending.queue.push_back(queued);
        cx.engine.keep(session, bytes);
    }
}

//! What a session said while something it said before waits for the store.

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
    },
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

impl Queued {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Queued::Event(event) => event.bytes,
            Queued::Identity(_) | Queued::Disconnected => 0,
        }
    }
}

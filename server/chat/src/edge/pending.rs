//! What a session said while something it said before waits for the store.

use super::*;

/// One event of a client, owned so that it can wait.
pub(super) struct Event {
    pub(super) ack: AckId,
    pub(super) data: Box<str>,
    pub(super) is_binary: bool,
}

/// What a session's next events wait for.
pub(super) enum Waiting {
    /// A token of the handshake or of CONNECT.
    Identity(TokenHash),
    /// The token of `Event`, which is handled next.
    Event(TokenHash, Event),
    Image {
        room: RoomId,
        publish: Box<Publish>,
        ack: AckId,
    },
}

/// What a session sent while it was stalled.
pub(super) enum Queued {
    Event(Event),
    Identity(TokenHash),
    /// It left the namespace.
    Goodbye,
}

pub(super) struct PendingEvents {
    pub(super) waiting: Waiting,
    pub(super) queue: VecDeque<Queued>,
    pub(super) bytes: usize,
    /// The token has ended while it is looked up. The answer may be from before that, and is waited for
    /// all the same: it must not be taken for the answer to a later question.
    pub(super) is_revoked: bool,
}

impl PendingEvents {
    /// The token that is being looked up.
    pub(super) fn token(&self) -> Option<TokenHash> {
        match &self.waiting {
            Waiting::Identity(token) | Waiting::Event(token, _) => Some(*token),
            Waiting::Image { .. } => None,
        }
    }

    pub(super) fn asks_for(&self, token: TokenHash) -> bool {
        self.token() == Some(token)
    }

    pub(super) fn new(waiting: Waiting) -> Box<PendingEvents> {
        Box::new(PendingEvents { waiting, queue: VecDeque::new(), bytes: 0, is_revoked: false })
    }
}

impl Queued {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Queued::Event(event) => event.data.len(),
            Queued::Identity(_) | Queued::Goodbye => 0,
        }
    }
}

impl Event {
    pub(super) fn name(&self) -> String {
        sio::event(&self.data).map(|event| event.name.into_owned()).unwrap_or_default()
    }

    /// Whether the event may be acted on at all, and the token it carries.
    pub(super) fn judge(
        &self,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Option<TokenHash>, Refusal> {
        let event = sio::event(&self.data).map_err(|_| Refusal::InvalidArgument)?;
        if !matches!(&*event.name, "login" | "room" | "roomout" | "message") {
            return Err(Refusal::UnknownEvent);
        }
        if self.is_binary {
            return Err(Refusal::BinaryUnsupported);
        }
        let payload = Payload::parse(sio::first_arg(event.args), buffer)?;
        let is_image = matches!(&payload.img, event::Field::Text(img) if img.starts_with("data:"));
        if self.data.len() > bytes_max && !(is_image && &*event.name == "message") {
            return Err(Refusal::TooLarge);
        }
        payload.token()
    }
}

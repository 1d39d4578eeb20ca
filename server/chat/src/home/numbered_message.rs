//! A message that has its number.

use std::sync::Arc;

use crate::cluster::StoredMessage;
use crate::ids::SessionId;
use crate::lane::{AckId, Publish};
use crate::user::UserCard;

/// What has a number in its room: the place where it is kept says which.
pub(super) struct NumberedMessage {
    pub(super) id: i64,
    pub(super) author: Arc<UserCard>,
    pub(super) publish: Box<Publish>,
    /// The session of this node that waits for it.
    pub(super) origin: Option<Origin>,
}

/// A session of this node that waits for its message, and the ack it asked for.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) publisher: SessionId,
    pub(super) ack: AckId,
}

impl From<StoredMessage> for NumberedMessage {
    fn from(message: StoredMessage) -> NumberedMessage {
        let StoredMessage { id, author, msg, img, time, .. } = message;
        NumberedMessage {
            id,
            author,
            publish: Box::new(Publish { msg: msg.into(), img, time: time.into(), cid: None }),
            origin: None,
        }
    }
}

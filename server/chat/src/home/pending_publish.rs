//! A publish on its way through the store.

use std::sync::Arc;

use super::numbered_message::{NumberedMessage, Origin};
use crate::cluster::StoredMessage;
use crate::ids::Seq;
use crate::lane::Publish;
use crate::store::{First, NewMessage};
use crate::user::UserCard;

/// A publish that has no number yet.
pub(super) struct PendingPublish {
    pub(super) author: Arc<UserCard>,
    pub(super) publish: Box<Publish>,
    pub(super) origin: Origin,
}

impl PendingPublish {
    pub(super) fn row(&self) -> NewMessage {
        NewMessage {
            user: self.author.id,
            msg: self.publish.msg.as_str().into(),
            img: self.publish.img.clone(),
            time: self.publish.time.as_str().into(),
            cid: self.publish.cid.clone(),
        }
    }

    /// The same request, about what its author said the first time.
    pub(super) fn saying(mut self, first: First) -> PendingPublish {
        let First { msg, img, time } = first;
        let (msg, time) = (msg.into(), time.into());
        *self.publish = Publish { msg, img, time, cid: self.publish.cid.take() };
        self
    }

    pub(super) fn stored(&self, seq: Seq, id: i64) -> StoredMessage {
        let NewMessage { msg, img, time, .. } = self.row();
        StoredMessage { seq, id, author: self.author.clone(), msg, img, time }
    }

    pub(super) fn numbered(self, id: i64) -> NumberedMessage {
        let PendingPublish { author, publish, origin } = self;
        NumberedMessage { id, author, publish, origin: Some(origin) }
    }
}

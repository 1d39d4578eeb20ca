//! Rows of the store as values of the chat, and the other way round.

use std::sync::Arc;

use throng_chat::cluster::StoredMessage;
use throng_chat::store::{First, Repeat};
use throng_chat::{NewMessage, RoomId, RoomInfo, Seq, UserCard, UserId};
use throng_store::{MessageRow, RoomRow, UserRow};

/// A message for the store.
pub(crate) fn message(message: NewMessage) -> throng_store::NewMessage {
    throng_store::NewMessage {
        user: message.user.0,
        msg: message.msg.into(),
        img: message.img.into(),
        time: message.time.into(),
        cid: message.cid.map(Into::into),
    }
}

/// A repeated message, for a room's home.
pub(crate) fn repeat(repeat: throng_store::Repeat) -> Repeat {
    let throng_store::Repeat { index, seq, id, msg, img, time } = repeat;
    let first = First { msg: msg.into(), img: img.into(), time: time.into() };
    Repeat { index, seq: Seq(seq), id, first: Some(first) }
}

/// A message of the store, for a room's home.
pub(crate) fn stored_message(row: MessageRow) -> StoredMessage {
    StoredMessage {
        seq: Seq(row.seq),
        id: row.id,
        author: Arc::new(UserCard {
            id: UserId(row.user),
            email: row.email.into(),
            name: row.name.into(),
            avatar: row.avatar.into(),
        }),
        msg: row.msg.into(),
        img: row.img.into(),
        time: row.time.into(),
    }
}

/// A room of the store.
pub(crate) fn room_info(row: RoomRow) -> RoomInfo {
    RoomInfo { id: RoomId(row.id), name: row.name.into(), last_seq: Seq(row.last_seq) }
}

/// What others see of a user.
pub(crate) fn card(user: &UserRow) -> UserCard {
    UserCard {
        id: UserId(user.id),
        email: user.email.as_str().into(),
        name: user.name.as_str().into(),
        avatar: user.avatar.as_str().into(),
    }
}

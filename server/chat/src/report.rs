//! What the chat reports to the operator.

use crate::ids::{RoomId, SessionId, UserId};

/// One line for the operator. No payload, no token, no sid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// A user's first session entered the room; `online` users are in it now.
    Entered { session: SessionId, user: UserId, room: RoomId, online: u32 },
    /// A user's last session left the room; `online` users are in it now.
    Left { session: SessionId, user: UserId, room: RoomId, online: u32 },
    /// A session ended after `lifetime_ms`, having sent `messages_in` Engine.IO messages.
    Ended {
        session: SessionId,
        user: Option<UserId>,
        reason: &'static str,
        transport: &'static str,
        protocol: &'static str,
        lifetime_ms: u64,
        messages_in: u64,
    },
}

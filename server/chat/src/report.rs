//! What the chat reports to the operator.

use crate::ids::{RoomId, SessionId, UserId};

/// One line for the operator. No payload, no token, no sid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    Entered {
        conn: SessionId,
        user: UserId,
        room: RoomId,
        online: u32,
    },
    Left {
        conn: SessionId,
        user: UserId,
        room: RoomId,
        online: u32,
    },
    Ended {
        conn: SessionId,
        user: Option<UserId>,
        reason: &'static str,
        transport: &'static str,
        protocol: &'static str,
        lifetime_ms: u64,
        messages_in: u64,
    },
}

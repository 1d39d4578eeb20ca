//! What the chat reports to the operator.

use std::net::IpAddr;

use crate::ids::{RoomId, SessionId, UserId};

/// One line for the operator. No payload, no token, no sid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// It became known whose session it is.
    Identified { session: SessionId, client: IpAddr, user: UserId },
    /// The client was notified that it has shown no valid token, or that its token was not looked up.
    Refused { session: SessionId, client: IpAddr, code: &'static str },
    /// A user's first session entered the room; `online` users are in it now.
    Entered { session: SessionId, client: IpAddr, user: UserId, room: RoomId, online: u32 },
    /// A user's last session left the room; `online` users are in it now.
    Left { session: SessionId, client: IpAddr, user: UserId, room: RoomId, online: u32 },
    /// A session ended after `lifetime_ms`, having sent `messages_in` Engine.IO messages; `setting` is the bound that
    /// ended it, if one did.
    Ended {
        session: SessionId,
        client: IpAddr,
        user: Option<UserId>,
        reason: &'static str,
        setting: Option<&'static str>,
        transport: &'static str,
        protocol: &'static str,
        lifetime_ms: u64,
        messages_in: u64,
    },
}

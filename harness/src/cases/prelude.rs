//! The vocabulary of the cases: every table of them begins with `use super::prelude::*`.

pub use std::time::{Duration, Instant};

pub use serde_json::{Value, json};
pub use throng_codec::engine::{Data, Frame, Kind, Packet, Protocol};
pub use throng_codec::socket as sio;

pub use super::alive::*;
pub use super::checks::*;
pub use super::scenes::*;
pub use crate::capabilities::{
    ABUSE, APPLICATION, CHAT, CHAT_OF_NEW_USERS, ECHO, EVENTS, LEAVE, LEAVE_AND_ROSTER,
    NODE_COMMAND, NODES, NOTHING, REST, RESTART, RESTART_OF_NEW_USERS, ROSTER, UPGRADE,
    UPGRADE_AND_CHAT, UPGRADE_AND_ROSTER,
};
pub(crate) use crate::case::cases;
pub use crate::client::ClientError;
pub use crate::client::chat::{Chat, is_roster_of, message, roster_ids};
pub use crate::client::http::{Headers, Request, Response, percent_encode};
pub use crate::client::member::Member;
pub use crate::client::options::{Options, Transport};
pub use crate::client::poller::Poller;
pub use crate::client::rest::{PASSWORD, User};
pub use crate::client::socket::Socket;
pub use crate::client::websocket::RawSocket;
pub use crate::combo::*;
pub use crate::context::{Context, QUIET};
pub use crate::outcome::{Outcome, Stop, equal, fail, require, shown, skip};
pub use crate::together::together;

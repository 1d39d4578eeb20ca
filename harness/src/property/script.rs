//! Scripts: which clients take part, and the steps they play.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

pub const CLIENTS: usize = 6;
pub const USERS: usize = 3;
pub const ROOMS: usize = 2;
/// Range of node numbers; a target with fewer nodes takes the number modulo its own.
pub const NODES: usize = 12;

/// Which steps are frequent in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Chat = 1,
    Faults = 2,
    Crowds = 3,
    Nodes = 4,
}

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Profile::Chat => "chat",
            Profile::Faults => "faults",
            Profile::Crowds => "crowds",
            Profile::Nodes => "nodes",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Full,
    Delta,
    Count,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::Delta => "delta",
            Mode::Count => "count",
        }
    }
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    Close,
    Disconnect,
    Fin,
    Rst,
    Silence,
    Malformed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Join {
        client: usize,
        room: usize,
        mode: Mode,
    },
    Leave {
        client: usize,
        room: usize,
    },
    Say {
        client: usize,
        room: usize,
    },
    /// Messages without waiting in between.
    Burst {
        client: usize,
        room: usize,
        count: usize,
    },
    /// Leave, join and send a message without waiting.
    Bounce {
        client: usize,
        room: usize,
    },
    /// Every member sends messages at the same time.
    Babble {
        room: usize,
        count: usize,
    },
    /// Every client that is a member leaves at the same moment.
    LeaveTogether {
        room: usize,
    },
    /// Every connected client joins at the same moment.
    JoinTogether {
        room: usize,
    },
    End {
        client: usize,
        how: End,
    },
    Reconnect {
        client: usize,
    },
    Upgrade {
        client: usize,
    },
    /// A message with an invalid token.
    BadToken {
        client: usize,
        room: usize,
    },
    /// A message that is too long.
    TooLong {
        client: usize,
        room: usize,
    },
    /// Requests the unread numbers.
    Login {
        client: usize,
    },
    /// Kills a node; the first one stays.
    NodeDown {
        node: usize,
    },
    /// Starts a node that was killed.
    NodeUp {
        node: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Per client: which of the combos that the target speaks it uses, modulo their number.
    pub combos: Vec<usize>,
    pub steps: Vec<Step>,
}

fn client() -> impl Strategy<Value = usize> {
    0..CLIENTS
}

fn room() -> impl Strategy<Value = usize> {
    0..ROOMS
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Full), 1 => Just(Mode::Delta), 1 => Just(Mode::Count)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Close),
        3 => Just(End::Disconnect),
        5 => Just(End::Fin),
        5 => Just(End::Rst),
        1 => Just(End::Silence),
        3 => Just(End::Malformed),
    ]
}

fn step(profile: Profile) -> BoxedStrategy<Step> {
    match profile {
        Profile::Chat => session_step(10, 1, 1).boxed(),
        Profile::Faults => session_step(8, 1, 5).boxed(),
        Profile::Crowds => session_step(4, 6, 1).boxed(),
        Profile::Nodes => prop_oneof![
            10 => session_step(8, 2, 2),
            1 => (0..NODES).prop_map(|node| Step::NodeDown { node }),
            1 => (0..NODES).prop_map(|node| Step::NodeUp { node }),
        ]
        .boxed(),
    }
}

/// Weights: everyday events, crowds, faults.
fn session_step(everyday: u32, crowd: u32, fault: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        everyday * 3 => (client(), room(), mode())
            .prop_map(|(client, room, mode)| Step::Join { client, room, mode }),
        everyday * 2 => (client(), room()).prop_map(|(client, room)| Step::Leave { client, room }),
        everyday * 3 => (client(), room()).prop_map(|(client, room)| Step::Say { client, room }),
        everyday => (client(), room(), 2..8usize)
            .prop_map(|(client, room, count)| Step::Burst { client, room, count }),
        everyday => (client(), room()).prop_map(|(client, room)| Step::Bounce { client, room }),
        everyday => client().prop_map(|client| Step::Login { client }),
        crowd * 2 => (room(), 1..6usize).prop_map(|(room, count)| Step::Babble { room, count }),
        crowd => room().prop_map(|room| Step::LeaveTogether { room }),
        crowd * 2 => room().prop_map(|room| Step::JoinTogether { room }),
        fault * 2 => (client(), end()).prop_map(|(client, how)| Step::End { client, how }),
        fault * 2 => client().prop_map(|client| Step::Reconnect { client }),
        fault => client().prop_map(|client| Step::Upgrade { client }),
        fault => (client(), room()).prop_map(|(client, room)| Step::BadToken { client, room }),
        fault => (client(), room()).prop_map(|(client, room)| Step::TooLong { client, room }),
    ]
}

pub fn strategy(profile: Profile) -> impl Strategy<Value = Script> {
    (vec(0..4usize, CLIENTS), vec(step(profile), 4..40))
        .prop_map(|(combos, steps)| Script { combos, steps })
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Join { client, room, mode } => {
                write!(out, "client {client} joins room {room} ({})", mode.name())
            }
            Step::Leave { client, room } => write!(out, "client {client} leaves room {room}"),
            Step::Say { client, room } => {
                write!(out, "client {client} sends a message to room {room}")
            }
            Step::Burst { client, room, count } => {
                write!(out, "client {client} sends {count} messages at once in room {room}")
            }
            Step::Bounce { client, room } => {
                write!(
                    out,
                    "client {client} leaves, joins and talks in room {room} without waiting"
                )
            }
            Step::Babble { room, count } => {
                write!(out, "all members of room {room} send {count} messages at once")
            }
            Step::LeaveTogether { room } => write!(out, "all clients leave room {room} at once"),
            Step::JoinTogether { room } => write!(out, "all clients join room {room} at once"),
            Step::End { client, how } => write!(out, "client {client} ends by {how:?}"),
            Step::Reconnect { client } => write!(out, "client {client} connects again"),
            Step::Upgrade { client } => write!(out, "client {client} upgrades to WebSocket"),
            Step::BadToken { client, room } => {
                write!(out, "client {client} sends a message to room {room} with a bad token")
            }
            Step::TooLong { client, room } => {
                write!(out, "client {client} sends a message that is too long to room {room}")
            }
            Step::Login { client } => write!(out, "client {client} requests its unread numbers"),
            Step::NodeDown { node } => write!(out, "node {node} is killed"),
            Step::NodeUp { node } => write!(out, "node {node} starts again"),
        }
    }
}

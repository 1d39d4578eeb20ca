//! What a target offers, and what a case needs of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use throng_codec::engine::Protocol;

use crate::client::options::Transport;
use crate::combo::{Combo, E3P, E3W, E4P, E4W};

/// What a case needs from the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Both transports, and the move from one to the other.
    Upgrade,
    /// The HTTP API and the chat events.
    Chat,
    /// The echo surface: `message` is answered with `message-back`.
    Echo,
    /// Chat or echo: something that answers events.
    Application,
    /// More than one node.
    Nodes,
    /// Permission to kill nodes and start them again.
    NodeCommand,
    /// Permission to kill the target, which is one node, and start it again.
    Restart,
    /// Users that nobody has used before: the case is about accounts or files, about what a user has done, or about client
    /// ids, which a user may use once.
    NewUsers,
    /// A target that nobody else uses: the case runs when no other does.
    Rest,
    /// Permission to abuse the target.
    Abuse,
    /// An events file: how the target names joins, messages and deliveries.
    Events,
    /// An events file that says how a client leaves a room.
    Leave,
    /// An events file that says what a roster is.
    Roster,
}

pub const NOTHING: &[Need] = &[];
pub const CHAT: &[Need] = &[Need::Chat];
pub const CHAT_OF_NEW_USERS: &[Need] = &[Need::Chat, Need::NewUsers];
pub const ECHO: &[Need] = &[Need::Echo];
pub const APPLICATION: &[Need] = &[Need::Application];
pub const UPGRADE: &[Need] = &[Need::Upgrade];
pub const UPGRADE_AND_CHAT: &[Need] = &[Need::Upgrade, Need::Chat];
pub const NODES: &[Need] = &[Need::Chat, Need::Nodes];
pub const NODE_COMMAND: &[Need] = &[Need::Chat, Need::Nodes, Need::NodeCommand];
pub const NODE_COMMAND_OF_NEW_USERS: &[Need] =
    &[Need::Chat, Need::Nodes, Need::NodeCommand, Need::NewUsers];
pub const RESTART: &[Need] = &[Need::Chat, Need::Restart];
pub const RESTART_OF_NEW_USERS: &[Need] = &[Need::Chat, Need::Restart, Need::NewUsers];
pub const REST: &[Need] = &[Need::Chat, Need::Rest];
pub const ABUSE: &[Need] = &[Need::Chat, Need::Abuse];
pub const EVENTS: &[Need] = &[Need::Events];
pub const LEAVE: &[Need] = &[Need::Events, Need::Leave];
pub const ROSTER: &[Need] = &[Need::Events, Need::Roster];
pub const UPGRADE_AND_ROSTER: &[Need] = &[Need::Events, Need::Roster, Need::Upgrade];
pub const LEAVE_AND_ROSTER: &[Need] = &[Need::Events, Need::Leave, Need::Roster];

/// What the probe looks for, and `--require` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    Eio4Websocket,
    Eio4Polling,
    Eio3Websocket,
    Eio3Polling,
    Upgrade,
    Chat,
    Rooms,
    Echo,
}

impl Capability {
    pub const ALL: [Capability; 8] = [
        Capability::Eio4Websocket,
        Capability::Eio4Polling,
        Capability::Eio3Websocket,
        Capability::Eio3Polling,
        Capability::Upgrade,
        Capability::Chat,
        Capability::Rooms,
        Capability::Echo,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Capability::Eio4Websocket => "eio4/websocket",
            Capability::Eio4Polling => "eio4/polling",
            Capability::Eio3Websocket => "eio3/websocket",
            Capability::Eio3Polling => "eio3/polling",
            Capability::Upgrade => "upgrade",
            Capability::Chat => "chat",
            Capability::Rooms => "rooms",
            Capability::Echo => "echo",
        }
    }

    pub fn of(combo: Combo) -> Capability {
        match (combo.protocol, combo.transport) {
            (Protocol::Eio4, Transport::Websocket) => Capability::Eio4Websocket,
            (Protocol::Eio4, Transport::Polling) => Capability::Eio4Polling,
            (Protocol::Eio3, Transport::Websocket) => Capability::Eio3Websocket,
            (Protocol::Eio3, Transport::Polling) => Capability::Eio3Polling,
        }
    }

    /// By its own name, or both of a protocol or of a transport by the name of that; none is no such name.
    pub fn named(name: &str) -> Vec<Capability> {
        let fits = |capability: &Capability| {
            let own = capability.name();
            own == name || own.split('/').any(|part| part == name)
        };
        Capability::ALL.into_iter().filter(fits).collect()
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Capabilities {
    pub eio3_polling: bool,
    pub eio3_websocket: bool,
    pub eio4_polling: bool,
    pub eio4_websocket: bool,
    /// The open packet of a polling session offers the upgrade.
    pub upgrade: bool,
    /// The HTTP API registers users, so that the chat can be tested.
    pub chat: bool,
    /// `message` is answered with `message-back`: the surface of generic protocol suites.
    pub echo: bool,
    pub rooms_on_demand: bool,
    /// Rooms that are there already.
    pub rooms: Vec<u64>,
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    pub max_payload: Option<u64>,
    /// What the probe saw instead of each capability that is lacking, by its name.
    pub lacking: BTreeMap<&'static str, String>,
}

impl Capabilities {
    pub fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Eio4Websocket => self.eio4_websocket,
            Capability::Eio4Polling => self.eio4_polling,
            Capability::Eio3Websocket => self.eio3_websocket,
            Capability::Eio3Polling => self.eio3_polling,
            Capability::Upgrade => self.upgrade,
            Capability::Chat => self.chat,
            Capability::Rooms => self.rooms_on_demand,
            Capability::Echo => self.echo,
        }
    }

    pub fn speaks(&self, combo: Combo) -> bool {
        self.has(Capability::of(combo))
    }

    /// What the probe saw instead of the capability.
    pub fn instead_of(&self, capability: Capability) -> &str {
        self.lacking.get(capability.name()).map_or("the probe did not see it", String::as_str)
    }

    /// Why a case with these needs cannot run, if it cannot.
    pub fn lacks(&self, needs: &[Need]) -> Option<String> {
        let chat = || format!("the target has no chat: {}", self.instead_of(Capability::Chat));
        needs.iter().find_map(|need| match need {
            Need::Upgrade if !self.upgrade => {
                Some("the target does not offer an upgrade to WebSocket".to_owned())
            }
            Need::Chat if !self.chat => Some(chat()),
            Need::Echo if !self.echo => Some("the target has no echo surface".to_owned()),
            Need::Application if !self.chat && !self.echo => {
                Some("the target answers none of the events that the harness knows".to_owned())
            }
            Need::Upgrade | Need::Chat | Need::Echo | Need::Application => None,
            Need::NewUsers | Need::Rest => None,
            // Depends on the command line: see `Run::lacks`.
            Need::Nodes | Need::NodeCommand | Need::Restart | Need::Abuse => None,
            Need::Events | Need::Leave | Need::Roster => None,
        })
    }

    /// The combo that cases without a preference use.
    pub fn preferred(&self) -> Option<Combo> {
        [E4W, E4P, E3W, E3P].into_iter().find(|combo| self.speaks(*combo))
    }

    pub fn silence_bound(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms + self.ping_timeout_ms)
    }

    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    pub fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms)
    }
}

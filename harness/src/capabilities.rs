//! What a target offers, and what a case needs of it.

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
    /// Permission to abuse the target.
    Abuse,
}

pub const NOTHING: &[Need] = &[];
pub const CHAT: &[Need] = &[Need::Chat];
pub const ECHO: &[Need] = &[Need::Echo];
pub const APPLICATION: &[Need] = &[Need::Application];
pub const UPGRADE: &[Need] = &[Need::Upgrade];
pub const UPGRADE_AND_CHAT: &[Need] = &[Need::Upgrade, Need::Chat];
pub const NODES: &[Need] = &[Need::Chat, Need::Nodes];
pub const NODE_COMMAND: &[Need] = &[Need::Chat, Need::Nodes, Need::NodeCommand];
pub const ABUSE: &[Need] = &[Need::Chat, Need::Abuse];

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
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    pub max_payload: Option<u64>,
}

impl Capabilities {
    pub fn speaks(&self, combo: Combo) -> bool {
        match (combo.protocol, combo.transport) {
            (Protocol::Eio3, Transport::Polling) => self.eio3_polling,
            (Protocol::Eio3, Transport::Websocket) => self.eio3_websocket,
            (Protocol::Eio4, Transport::Polling) => self.eio4_polling,
            (Protocol::Eio4, Transport::Websocket) => self.eio4_websocket,
        }
    }

    /// Why a case with these needs cannot run, if it cannot.
    pub fn lacks(&self, needs: &[Need]) -> Option<&'static str> {
        needs.iter().find_map(|need| match need {
            Need::Upgrade if !self.upgrade => {
                Some("the target does not offer an upgrade to WebSocket")
            }
            Need::Chat if !self.chat => Some("the target has no chat (POST /api/register fails)"),
            Need::Echo if !self.echo => Some("the target has no echo surface"),
            Need::Application if !self.chat && !self.echo => {
                Some("the target answers none of the events that the harness knows")
            }
            Need::Upgrade | Need::Chat | Need::Echo | Need::Application => None,
            // Depends on the command line: see `Run::lacks`.
            Need::Nodes | Need::NodeCommand | Need::Abuse => None,
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

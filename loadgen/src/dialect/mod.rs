//! How a server of one kind is spoken to: what its clients send, and what they receive.

mod broker;
mod centrifugo;
mod form;
mod phoenix;
mod pusher;
mod rooms;

use std::path::Path;

use anyhow::{Context as _, ensure};
use throng_events::Events;

use crate::phase::Kind;
use crate::scenario::{EventsSource, Presence, Protocol, Scenario};

pub use broker::{Ask, Broker, Found, Greeting};
pub use form::Form;
use form::{ID, TEXT};
pub use rooms::{Rooms, name_of};

pub enum Dialect {
    /// The events of Throng over Socket.IO.
    Chat,
    /// Events that a file names, over Socket.IO.
    Rooms(Box<Rooms>),
    /// A text is a message.
    Raw,
    /// Another protocol over WebSocket.
    Broker(Box<dyn Broker>),
}

impl Dialect {
    /// # Errors
    /// A file of the scenario is unreadable or wrong.
    pub fn new(scenario: &Scenario) -> anyhow::Result<Self> {
        let names = &scenario.message;
        Ok(match scenario.protocol {
            Protocol::Eio3 | Protocol::Eio4 => match &scenario.events {
                None => Self::Chat,
                Some(EventsSource::File(path)) => Self::rooms(Events::read(path)?),
                Some(EventsSource::Inline(table)) => {
                    Self::rooms(Events::parse(&toml::to_string(table)?, "events")?)
                }
            },
            Protocol::Raw => Self::Raw,
            Protocol::Phoenix => Self::Broker(Box::new(phoenix::Phoenix::new(names))),
            Protocol::Centrifugo => Self::Broker(Box::new(centrifugo::Centrifugo::new(names))),
            Protocol::Pusher => {
                let secret = scenario.access.pusher_secret_file.as_deref().map(read).transpose()?;
                Self::Broker(Box::new(pusher::Pusher::new(names, secret)?))
            }
        })
    }

    /// # Errors
    /// The scenario wants what this server has no way to do.
    pub fn check(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let churns = scenario.phases.iter().any(|phase| phase.kind == Kind::Churn);
        ensure!(
            !churns || self.has_leave(),
            "a churn phase needs a leave that the server answers, and here is none: a reconnect phase needs none"
        );
        Ok(())
    }

    fn rooms(events: Events) -> Self {
        Self::Rooms(Box::new(Rooms::new(events)))
    }

    /// The member of CONNECT's payload that holds a user's token.
    #[must_use]
    pub fn token_member(&self) -> &'static str {
        if matches!(self, Self::Chat) { "api_token" } else { "token" }
    }

    /// What a client waits for once its connection stands.
    #[must_use]
    pub fn greeting(&self) -> &'static str {
        match self {
            Self::Chat | Self::Rooms(_) => "the Socket.IO CONNECT",
            Self::Raw => "the WebSocket upgrade",
            Self::Broker(broker) => broker.name_of_greeting(),
        }
    }

    /// Whether a client can leave a room and be sure that it has.
    #[must_use]
    pub fn has_leave(&self) -> bool {
        match self {
            Self::Chat => true,
            Self::Rooms(rooms) => rooms.events.leave.is_some(),
            Self::Raw => false,
            Self::Broker(broker) => broker.has_leave(),
        }
    }

    /// Whether a text is all there is in its string, where members receive it.
    #[inline]
    #[must_use]
    pub fn has_text_alone(&self) -> bool {
        match self {
            Self::Chat | Self::Broker(_) => true,
            Self::Rooms(rooms) => rooms.has_text_alone,
            Self::Raw => false,
        }
    }

    /// Whether members are sure to receive who is in their room.
    #[must_use]
    pub fn has_rosters(&self) -> bool {
        match self {
            Self::Rooms(rooms) => rooms.events.roster.is_some(),
            Self::Chat | Self::Raw | Self::Broker(_) => false,
        }
    }

    /// The packet that joins a room; `token`: for servers that take it with the join.
    #[must_use]
    pub fn join(&self, ask: &Ask<'_>, presence: Presence, token: Option<&str>) -> String {
        match self {
            Self::Chat => chat_join(ask, presence, token),
            Self::Rooms(rooms) => rooms.join(ask),
            Self::Raw => String::new(),
            Self::Broker(broker) => broker.join(ask),
        }
    }

    /// The packet that leaves a room, if there is one.
    #[must_use]
    pub fn leave(&self, ask: &Ask<'_>) -> Option<String> {
        match self {
            Self::Chat => {
                Some(format!("42{}[\"roomout\",{{\"roomid\":{}}}]", ask.id, ask.room_number))
            }
            Self::Rooms(rooms) => rooms.leave(ask),
            Self::Raw => None,
            Self::Broker(broker) => broker.leave(ask),
        }
    }

    /// The messages of one publisher.
    #[must_use]
    pub fn message(&self, ask: &Ask<'_>, has_ack: bool) -> Form {
        let id = if has_ack { ID } else { "" };
        Form::of(&match self {
            Self::Chat => {
                let room = ask.room_number;
                format!(
                    "42{id}[\"message\",{{\"msg\":\"{TEXT}\",\"img\":\"\",\"roomid\":{room},\"time\":\"\"}}]"
                )
            }
            Self::Rooms(rooms) => format!("42{id}{}", rooms.message(ask)),
            Self::Raw => TEXT.to_owned(),
            Self::Broker(broker) => broker.message(ask, has_ack),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    ensure!(!text.trim().is_empty(), "{} is empty", path.display());
    Ok(text.trim().to_owned())
}

fn chat_join(ask: &Ask<'_>, presence: Presence, token: Option<&str>) -> String {
    let presence = match presence {
        Presence::Full => "",
        Presence::Delta => ",\"presence\":\"delta\"",
        Presence::Count => ",\"presence\":\"count\"",
    };
    let token = token.map(|token| format!(",\"api_token\":{}", serde_json::Value::from(token)));
    let token = token.unwrap_or_default();
    format!("42{}[\"room\",{{\"roomid\":{}{presence}{token}}}]", ask.id, ask.room_number)
}

//! Scenarios to begin with, one per kind of server.

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Throng's chat.
    Throng,
    /// Plain Socket.IO with rooms: the events join, leave and message.
    Socketio,
    /// Phoenix channels: the event new_msg.
    Phoenix,
    /// Centrifugo, clients that publish.
    Centrifugo,
    /// Pusher channels, client events.
    Pusher,
    /// Plain WebSocket.
    Raw,
}

impl Preset {
    /// Keys of a scenario, as TOML.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Throng => include_str!("presets/throng.toml"),
            Self::Socketio => include_str!("presets/socketio.toml"),
            Self::Phoenix => include_str!("presets/phoenix.toml"),
            Self::Centrifugo => include_str!("presets/centrifugo.toml"),
            Self::Pusher => include_str!("presets/pusher.toml"),
            Self::Raw => include_str!("presets/raw.toml"),
        }
    }
}

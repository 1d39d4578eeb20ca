//! A scenario: everything that decides a run, readable from TOML and echoed in every report.

mod access;
mod difference;
mod events;
mod file;
mod preset;
mod room_sizes;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::arrivals::{Arrivals, Segment};
use crate::payload::Payload;
use crate::phase::Phase;
use crate::target::Target;

pub use access::Access;
pub use difference::{NOT_OF_THE_LOAD, OF_ONE_PART, differences};
pub use events::{EventsSource, MessageNames};
pub use preset::Preset;
pub use room_sizes::RoomSizes;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Socket.IO 5 over Engine.IO 4.
    #[default]
    Eio4,
    /// Socket.IO 4 over Engine.IO 3, as socket.io-client 1 and 2 speak it.
    Eio3,
    /// Plain WebSocket: every text message is broadcast to all connections of the path.
    Raw,
    /// Phoenix channels.
    Phoenix,
    /// Centrifugo's client protocol in JSON.
    Centrifugo,
    /// Pusher channels with client events.
    Pusher,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    #[default]
    Websocket,
    /// Long-polling only.
    Polling,
    /// Long-polling handshake, then the upgrade probe, as browsers do it.
    Upgrade,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    #[default]
    Full,
    Delta,
    Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Open,
    Closed,
}

/// When a closed-loop publisher may send its next message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Completion {
    /// Its own copy of the message came back.
    #[default]
    Own,
    /// The server acknowledged it.
    Ack,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Users registered through `POST /api/register`; 0: connect anonymously; none: as many as the
    /// clients need, if the server is a Throng.
    pub register: Option<usize>,
    /// A file with one API token per line, instead of registering.
    pub tokens: Option<PathBuf>,
    /// A file with the secret that signs a JSON Web Token per user (HS256).
    pub jwt_secret_file: Option<PathBuf>,
    /// Its claims; `{user}` stands for the user's number.
    pub jwt_claims: Option<serde_json::Value>,
    /// Registrations in flight at once.
    pub concurrency: usize,
    /// Longest wait for a server that limits registrations.
    pub timeout_s: u64,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            register: None,
            tokens: None,
            jwt_secret_file: None,
            jwt_claims: None,
            concurrency: 8,
            timeout_s: 900,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    pub mode: Mode,
    /// Open loop: messages per second over all publishers.
    pub rate: f64,
    /// Open loop: deliveries per second instead; wins over `rate` when set.
    pub delivery_rate: f64,
    pub arrivals: Arrivals,
    /// Closed loop: messages of one publisher in flight.
    pub outstanding: u32,
    pub completion: Completion,
    /// Closed loop: a message not completed by then gives its place to the next.
    pub completion_timeout_ms: u64,
    /// Ask for an ack with every message (Socket.IO protocols).
    pub acks: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            mode: Mode::Open,
            rate: 10.0,
            delivery_rate: 0.0,
            arrivals: Arrivals::Constant,
            outstanding: 1,
            completion: Completion::Own,
            completion_timeout_ms: 5_000,
            acks: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connect {
    /// New connections per second over all threads; 0: as fast as `concurrency` allows.
    pub rate: f64,
    /// Handshakes in flight per thread.
    pub concurrency: usize,
    /// From the first byte to the joined room.
    pub timeout_ms: u64,
    /// Quiet time between the last join and the first message.
    pub settle_ms: u64,
    /// Longest wait beyond that for rosters that are not yet right.
    pub converge_ms: u64,
    /// Reconnect (after about a second) when the server closes a connection.
    pub reconnect: bool,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            rate: 0.0,
            concurrency: 128,
            timeout_ms: 30_000,
            settle_ms: 500,
            converge_ms: 30_000,
            reconnect: false,
        }
    }
}

/// Bounds beyond which a run is void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Distrust {
    /// Share of the measured time a generator thread may be on its core.
    pub busy_max: f64,
    /// Share of the measured time a generator thread may be runnable without a core.
    pub starved_max: f64,
    /// 99th percentile of actual minus intended send time.
    pub lag_p99_max_ms: f64,
    /// Clients that could not connect and join, as a share.
    pub unjoined_max: f64,
}

impl Default for Distrust {
    fn default() -> Self {
        Self { busy_max: 0.97, starved_max: 0.05, lag_p99_max_ms: 10.0, unjoined_max: 0.0 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    pub name: String,
    /// `http://host:port` or `ws://host:port`; clients are dealt out over several.
    pub targets: Vec<String>,
    pub protocol: Protocol,
    pub transport: Transport,
    /// Path of the engine or of the raw WebSocket, instead of that of the target's URL; `{room}` stands
    /// for the room's number.
    pub path: Option<String>,
    pub users: Users,
    pub access: Access,
    /// How a Socket.IO server names its events; none: as Throng does.
    pub events: Option<EventsSource>,
    pub message: MessageNames,
    /// What a room is called where it has a name; `{number}` stands for its number.
    pub room_name: Option<String>,
    /// Whether a publisher receives its own messages; none: unless the protocol says otherwise.
    pub echo: Option<bool>,
    pub clients: usize,
    pub rooms: usize,
    pub room_sizes: RoomSizes,
    /// Rooms each client joins; it publishes into its first. 0: no joins, no messages.
    pub rooms_per_client: usize,
    /// The number of the first room.
    pub first_room: u32,
    pub presence: Presence,
    pub publishers: usize,
    pub load: Load,
    pub payload: Payload,
    pub connect: Connect,
    pub duration_s: f64,
    /// Part of the duration whose latencies and rates are not counted.
    pub warmup_s: f64,
    /// Longest wait for messages still owed after the last publish.
    pub drain_s: f64,
    /// Replaces `duration_s` when given.
    pub phases: Vec<Phase>,
    /// A delivery slower than this is counted as late.
    pub late_after_ms: u64,
    pub seed: u64,
    pub threads: usize,
    /// Cores the threads are pinned to, in turn; empty: not pinned.
    pub cores: Vec<usize>,
    /// Local addresses to connect from, in turn; empty: the kernel's choice.
    pub sources: Vec<std::net::IpAddr>,
    pub distrust: Distrust,
    /// `delivery.p99<5ms`, `completeness=1`, ….
    pub slo: Vec<crate::slo::Slo>,
    pub server_pid: Option<u32>,
    /// Prometheus text to read the server's own delivery count from.
    pub server_metrics: Option<String>,
    /// Name of the counter in it.
    pub server_deliveries_metric: String,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "run".into(),
            targets: Vec::new(),
            protocol: Protocol::Eio4,
            transport: Transport::Websocket,
            path: None,
            users: Users::default(),
            access: Access::default(),
            events: None,
            message: MessageNames::default(),
            room_name: None,
            echo: None,
            clients: 100,
            rooms: 1,
            room_sizes: RoomSizes::Equal,
            rooms_per_client: 1,
            first_room: 1,
            presence: Presence::Full,
            publishers: 1,
            load: Load::default(),
            payload: Payload::Fixed(128),
            connect: Connect::default(),
            duration_s: 10.0,
            warmup_s: 1.0,
            drain_s: 5.0,
            phases: Vec::new(),
            late_after_ms: 1_000,
            seed: 1,
            threads: 1,
            cores: Vec::new(),
            sources: Vec::new(),
            distrust: Distrust::default(),
            slo: Vec::new(),
            server_pid: None,
            server_metrics: None,
            server_deliveries_metric: "throng_deliveries_total".into(),
        }
    }
}

impl Scenario {
    /// Reads a TOML scenario, and first the one that it names with `extends`.
    ///
    /// # Errors
    /// A file cannot be read, is not TOML, or has an unknown key.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        Self::read(None, Some(path))
    }

    /// The keys of the file over those of the preset.
    ///
    /// # Errors
    /// As [`Scenario::from_file`].
    pub fn read(preset: Option<Preset>, path: Option<&Path>) -> anyhow::Result<Self> {
        let mut table = toml::Table::new();
        if let Some(preset) = preset {
            table = toml::from_str(preset.text()).context("preset")?;
        }
        let Some(path) = path else { return table.try_into().context("preset") };
        file::merge_tables(&mut table, file::read_table(path)?);
        table.try_into().with_context(|| format!("scenario {}", path.display()))
    }

    /// The name of the room with this number.
    #[must_use]
    pub fn name_of_room(&self, number: u32) -> String {
        let template = self.room_name.as_deref().unwrap_or(match self.protocol {
            Protocol::Phoenix => "room:{number}",
            Protocol::Pusher => "private-room-{number}",
            Protocol::Raw | Protocol::Eio3 | Protocol::Eio4 | Protocol::Centrifugo => {
                "room-{number}"
            }
        });
        template.replace("{number}", &number.to_string())
    }

    /// Whether a publisher receives its own messages.
    #[must_use]
    pub fn has_echo(&self) -> bool {
        self.echo.unwrap_or(self.protocol != Protocol::Pusher)
    }

    /// Socket.IO, whatever the names of its events.
    #[must_use]
    pub fn is_socketio(&self) -> bool {
        matches!(self.protocol, Protocol::Eio3 | Protocol::Eio4)
    }

    /// Seconds from the first due message to the last.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        if self.phases.is_empty() {
            self.duration_s
        } else {
            self.phases.iter().map(|phase| phase.duration_s).sum()
        }
    }

    /// The phases, or the plain duration as one hold.
    #[must_use]
    pub fn timeline(&self) -> Vec<Phase> {
        if self.phases.is_empty() {
            vec![Phase::hold("hold", self.duration_s)]
        } else {
            self.phases.clone()
        }
    }

    /// The name of the phase at `at_s` seconds after the first due message.
    #[must_use]
    pub fn phase_at(&self, at_s: f64) -> String {
        let mut end_s = 0.0;
        let mut timeline = self.timeline().into_iter();
        let current = timeline.find(|phase| {
            end_s += phase.duration_s;
            at_s < end_s
        });
        current.map_or_else(|| "drain".into(), |phase| phase.label())
    }

    /// Clients there may be at once, over all phases.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.phases.iter().filter_map(|phase| phase.clients).fold(self.clients, usize::max)
    }

    /// Messages per second over all publishers, outside phases that say otherwise.
    #[must_use]
    pub fn base_rate(&self) -> f64 {
        if self.load.delivery_rate > 0.0 {
            let fan_out = self.clients * self.rooms_per_client;
            self.load.delivery_rate / (fan_out as f64 / self.rooms as f64).max(1.0)
        } else {
            self.load.rate
        }
    }

    /// The publish rate over time.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let mut start_s = 0.0;
        let mut segments = Vec::new();
        for phase in self.timeline() {
            let end_s = start_s + phase.duration_s;
            let rate_to = phase.rate.unwrap_or_else(|| self.base_rate() * phase.rate_factor());
            let rate_from = phase.rate_from.unwrap_or(rate_to);
            segments.push(Segment { start_s, end_s, rate_from, rate_to });
            start_s = end_s;
        }
        segments
    }

    /// Path, and perhaps query, of a target.
    #[must_use]
    pub fn path<'s>(&'s self, target: &'s Target) -> &'s str {
        let given = self.path.as_deref().or(target.path.as_deref());
        given.unwrap_or(match self.protocol {
            Protocol::Raw => "/",
            Protocol::Eio3 | Protocol::Eio4 => "/socket.io/",
            Protocol::Phoenix => "/socket/websocket",
            Protocol::Centrifugo => "/connection/websocket",
            Protocol::Pusher => "/app/",
        })
    }

    /// Nothing says who the clients are, and they are to be in rooms of a chat.
    #[must_use]
    pub fn may_register(&self) -> bool {
        self.is_socketio()
            && self.events.is_none()
            && self.rooms_per_client > 0
            && !self.access.is_given()
    }

    /// # Errors
    /// Names the first setting that makes no sense.
    pub fn validate(&self) -> anyhow::Result<()> {
        ensure!(!self.targets.is_empty(), "no target given (--target http://host:port)");
        let targets = self
            .targets
            .iter()
            .map(|url| Target::parse(url))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.access.validate()?;
        let users = &self.users;
        let sources = [users.tokens.is_some(), users.jwt_secret_file.is_some()];
        ensure!(sources != [true, true], "users: tokens of a file, or signed ones, not both");
        ensure!(
            users.jwt_claims.is_none() || users.jwt_secret_file.is_some(),
            "users.jwt_claims needs users.jwt_secret_file (--jwt-secret-file)"
        );
        ensure!(
            !self.access.names_token()
                || sources.contains(&true)
                || users.register.unwrap_or(0) > 0,
            "{{token}} needs tokens: --tokens FILE, --jwt-secret-file FILE, or --users N of a Throng"
        );
        ensure!(self.clients >= 1, "at least one client");
        ensure!((1..=65_535).contains(&self.rooms), "1 to 65535 rooms");
        ensure!(self.first_room <= 999_999_999, "first_room: at most 999999999");
        ensure!(self.rooms_per_client <= self.rooms, "rooms_per_client: 0 to rooms");
        ensure!(
            self.rooms_per_client > 0 || self.publishers == 0,
            "publishers need a room: rooms_per_client is 0"
        );
        ensure!(self.publishers <= self.clients, "more publishers than clients");
        ensure!(self.clients >= self.rooms, "fewer clients than rooms");
        ensure!(self.threads >= 1 && self.threads <= self.clients, "threads: 1 to clients");
        ensure!(self.total_s() > self.warmup_s, "the warm-up takes the whole duration");
        ensure!(self.load.outstanding >= 1, "outstanding: at least 1");
        ensure!(
            self.is_socketio() || self.transport == Transport::Websocket,
            "only Socket.IO has another transport than WebSocket"
        );
        ensure!(
            self.is_socketio() || self.events.is_none(),
            "events are those of Socket.IO: protocol eio4 or eio3"
        );
        ensure!(
            self.rooms == 1 || self.name_of_room(1) != self.name_of_room(2),
            "several rooms need {{number}} in room_name"
        );
        ensure!(
            self.has_echo()
                || self.load.mode == Mode::Open
                || self.load.completion == Completion::Ack,
            "without echo a publisher does not see its own messages: completion = \"ack\" is needed"
        );
        if self.protocol == Protocol::Pusher {
            let has_key = |target: &Target| !matches!(self.path(target), "/app/" | "/");
            ensure!(
                targets.iter().all(has_key),
                "the path of a Pusher server holds the application's key: --target ws://host:port/app/KEY"
            );
            let is_public = !self.name_of_room(1).starts_with("pr");
            ensure!(
                is_public || self.access.pusher_secret_file.is_some(),
                "private and presence channels are signed: --pusher-secret-file FILE with KEY:SECRET"
            );
            ensure!(self.load.completion == Completion::Own, "Pusher does not answer a message");
        }
        if self.protocol == Protocol::Raw {
            ensure!(self.load.completion == Completion::Own, "raw WebSocket has no acks");
            ensure!(self.rooms_per_client == 1, "a raw connection is one room");
            ensure!(
                self.rooms == 1
                    || targets.iter().all(|target| self.path(target).contains("{room}")),
                "several raw rooms need {{room}} in the path"
            );
        }
        if self.load.completion == Completion::Ack && !self.load.acks {
            bail!("completion by ack needs acks");
        }
        if self.protocol == Protocol::Eio3 {
            ensure!(self.rooms_per_client <= 1, "Engine.IO 3 sessions are in one room at a time");
        }
        ensure!(
            self.load.mode == Mode::Closed || self.segments().iter().all(|s| s.rate_to >= 0.0),
            "negative rate"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_scenario_reads_from_toml() {
        let text = r#"
            name = "spike"
            targets = ["http://127.0.0.1:8090"]
            clients = 1000
            rooms = 4
            room_sizes = "zipf:1.1"
            publishers = 16
            payload = "uniform:64-512"
            cores = [1]
            sources = ["127.0.0.2", "127.0.0.3"]
            slo = ["delivery.p99<5ms", "completeness=1"]
            [users]
            register = 50
            [load]
            rate = 40
            arrivals = "poisson"
            [[phases]]
            kind = "ramp"
            duration_s = 5
            rate_from = 0
            [[phases]]
            kind = "spike"
            duration_s = 2
            factor = 10
            [[phases]]
            kind = "reconnect"
            duration_s = 10
            fraction = 0.5
            over_s = 2
        "#;
        let scenario: Scenario = toml::from_str(text).unwrap();
        scenario.validate().unwrap();
        let segments = scenario.segments();
        assert_eq!(segments.len(), 3);
        assert_eq!((segments[0].rate_from, segments[0].rate_to), (0.0, 40.0));
        assert_eq!(segments[1].rate_to, 400.0);
        assert_eq!(scenario.total_s(), 17.0);
        let echoed: Scenario =
            serde_json::from_str(&serde_json::to_string(&scenario).unwrap()).unwrap();
        assert_eq!(echoed, scenario);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<Scenario>("cleints = 5").is_err());
    }

    #[test]
    fn a_delivery_rate_is_divided_by_the_fan_out() {
        let scenario = Scenario {
            clients: 1000,
            rooms: 4,
            load: Load { delivery_rate: 40_000.0, ..Load::default() },
            ..Scenario::default()
        };
        assert_eq!(scenario.base_rate(), 160.0);
    }
}

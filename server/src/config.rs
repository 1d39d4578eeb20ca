//! From what the operator wrote to what it means: flags over environment over file over defaults.

mod reader;
mod redis;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use throng_chat::Settings;
use throng_chat::settings::Exclusive;
use throng_engine::Endpoint;
use throng_mesh::Capacity;

pub use reader::Shown;
use reader::{Fault, Reader, whole};

use crate::backplane::BackplaneConfig;
use throng_runtime::request::HttpPolicy;
use throng_runtime::shard::Tuning;

/// What a load test may set free.
const UNLIMITED_ROOMS: u32 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Everything the server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub shards: u8,
    pub database: Option<String>,
    pub log: LogFormat,
    pub log_filter: String,
    pub connections_max: u32,
    pub connections_per_ip_max: u32,
    pub request_timeout_ms: u32,
    /// Id and name.
    pub rooms: Vec<(u32, String)>,
    pub core: Settings,
    pub tuning: Tuning,
    pub lanes: Capacity,
    pub policy: HttpPolicy,
    pub http: throng_rest::Settings,
    pub store: throng_store::Options,
    /// `None`: everything in memory, one node.
    pub backplane: Option<BackplaneConfig>,
}

/// Flags, as keys and values of the same names as in the file.
#[derive(Clone, Debug, Default)]
pub struct Flags(pub Dict);

impl Flags {
    pub fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        let Some(value) = value else { return };
        match key.split_once('.') {
            None => {
                self.0.insert(key.into(), value.into());
            }
            Some((section, key)) => {
                let section = self.0.entry(section.into()).or_insert_with(|| Dict::new().into());
                if let Value::Dict(_, entries) = section {
                    entries.insert(key.into(), value.into());
                }
            }
        }
    }
}

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named("command line")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

/// All that is wrong.
#[derive(Debug)]
pub struct Faults(pub Vec<Fault>);

/// Reads the configuration; answers it with every setting as understood.
///
/// # Errors
/// All faults together.
pub fn load(file: Option<&Path>, flags: Flags) -> Result<(Config, Vec<Shown>), Faults> {
    let mut figment = Figment::new();
    if let Some(file) = file {
        if !file.is_file() {
            return Err(Faults(vec![format!("{}: there is no such file", file.display())]));
        }
        figment = figment.merge(Toml::file(file));
    }
    let environment = Env::prefixed("THRONG_").ignore(&["config", "import_from"]).split("__");
    let figment = figment.merge(environment).merge(flags);
    let mut reader = Reader::new(figment);
    let config = read(&mut reader);
    reader.check_unknown();
    if reader.faults.is_empty() { Ok((config, reader.shown)) } else { Err(Faults(reader.faults)) }
}

fn read(reader: &mut Reader) -> Config {
    let r = reader;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u8::try_from(cores).unwrap_or(u8::MAX);

    let listen: SocketAddr =
        r.text("listen", "127.0.0.1:8090", "ADDRESS:PORT", |text| text.parse().ok());
    let shards = r.number("shards", "threads", cores, 1..=255);
    let data_dir = r.text("data_dir", "./data", "a directory", |text| Some(PathBuf::from(text)));
    let database = r.secret(
        "database",
        "SQLite in data_dir",
        "sqlite://PATH, postgres://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME",
        |url| throng_store::is_database_url(url).then(|| url.to_owned()),
        throng_store::without_secrets,
    );
    let static_dir = r.optional("static_dir", "embedded client", "a directory", |text| {
        let path = PathBuf::from(text);
        path.is_dir().then_some(path)
    });
    let is_unlimited = r.flag("unlimited", false);
    let log = r.text("log", "text", "text or json", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let log_filter =
        r.text("log_filter", "info", "a filter such as info or throng=debug", |text| {
            tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned())
        });

    let mut core = chat(r);
    let own_lane_max = core.engine.own_lane_max;
    core.engine.own_lane_max = r.number("shard.own_lane_max", "items", own_lane_max, 16..=1 << 20);
    core.roster_bytes_per_turn = r.number(
        "shard.roster_bytes_per_turn",
        "bytes",
        core.roster_bytes_per_turn,
        1024..=1 << 40,
    );
    let lanes = Capacity {
        requests: r.number("shard.request_lane_max", "items", 4096, 16..=1 << 20),
        deliveries: r.number("shard.delivery_lane_max", "items", 8192, 16..=1 << 20),
    };
    let tuning = tuning(r);
    let connections_max = r.number("limits.connections_max", "connections", 200_000, 1..=1 << 24);
    let connections_per_ip_max =
        r.number("limits.connections_per_ip_max", "connections, 0 is no limit", 4096, 0..=1 << 24);
    let policy = policy(r);
    let request_timeout_ms = r.number("http.request_timeout_ms", "ms", 30_000, 100..=3_600_000);
    let mut http = http(r);
    http.static_dir = static_dir;
    http.allowed_origins = policy.allowed_origins.clone();
    let mut store = throng_store::Options::new(data_dir);
    store.synchronous =
        r.text("store.synchronous", "normal", "normal or full, for SQLite", |text| match text {
            "normal" => Some(throng_store::Synchronous::Normal),
            "full" => Some(throng_store::Synchronous::Full),
            _ => None,
        });
    connections(r, &mut store);
    store.image_bytes_max = core.image_bytes_max as usize;
    let rooms = rooms(r);
    let backplane = redis::read(r, listen, core.ephemeral);
    core.cluster = backplane.is_some();
    core.store_numbers = database.as_deref().is_some_and(throng_store::is_server_url);

    let is_public = !listen.ip().is_loopback();
    r.fault(is_unlimited && is_public, || {
        format!("unlimited: is for load tests on a loopback address, not on {listen}")
    });
    r.fault(core.engine.max_payload > core.engine.outbound_bytes_max, || {
        "max_payload: must not be above limits.outbound_bytes_max".into()
    });
    let mut config = Config {
        listen,
        shards,
        database,
        log,
        log_filter,
        connections_max,
        connections_per_ip_max,
        request_timeout_ms,
        rooms,
        core,
        tuning,
        lanes,
        policy,
        http,
        store,
        backplane,
    };
    if is_unlimited {
        config.lift_limits();
    }
    config
}

impl Config {
    /// For load tests: rates and limits per user and address go, bounds on memory stay.
    fn lift_limits(&mut self) {
        self.core.publish_per_s = 0;
        self.core.join_per_s = 0;
        self.core.sessions_per_user = u32::MAX;
        self.core.rooms_per_session = UNLIMITED_ROOMS;
        self.core.rooms_auto_create_max = UNLIMITED_ROOMS;
        self.connections_per_ip_max = 0;
        self.http.api_per_minute = 0;
        self.store = self.store.clone().unlimited();
    }
}

fn connections(r: &mut Reader, store: &mut throng_store::Options) {
    store.readers = r.number("store.readers", "connections that read", store.readers, 1..=1024);
    store.writers =
        r.number("store.writers", "connections that write, 1 for SQLite", store.writers, 2..=1024);
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let (busy, answer) = (ms(store.busy_timeout), ms(store.answer_timeout));
    let busy = r.number("store.busy_timeout_ms", "ms", busy, 10..=3_600_000);
    let answer = r.number("store.answer_timeout_ms", "ms, not SQLite", answer, 100..=3_600_000);
    store.busy_timeout = Duration::from_millis(u64::from(busy));
    store.answer_timeout = Duration::from_millis(u64::from(answer));
}

fn engine(r: &mut Reader) -> throng_engine::Settings {
    let d = throng_engine::Settings::DEFAULT;
    throng_engine::Settings {
        ping_interval_ms: r.number("ping_interval_ms", "ms", d.ping_interval_ms, 50..=3_600_000),
        ping_timeout_ms: r.number("ping_timeout_ms", "ms", d.ping_timeout_ms, 50..=3_600_000),
        connect_timeout_ms: r.number(
            "connect_timeout_ms",
            "ms",
            d.connect_timeout_ms,
            50..=3_600_000,
        ),
        max_payload: r.number("max_payload", "bytes", d.max_payload, 1024..=256 << 20),
        upgrade_timeout_ms: r.number(
            "engine.upgrade_timeout_ms",
            "ms",
            d.upgrade_timeout_ms,
            50..=3_600_000,
        ),
        allow_upgrades: r.flag("engine.allow_upgrades", d.allow_upgrades),
        fragments_max: r.number("engine.fragments_max", "frames", d.fragments_max, 1..=1 << 20),
        attachments_max: r.number(
            "engine.attachments_max",
            "per packet",
            d.attachments_max,
            0..=1000,
        ),
        json_depth_max: r.number("engine.json_depth_max", "levels", d.json_depth_max, 4..=128),
        sessions_max: r.number(
            "limits.sessions_per_shard_max",
            "sessions",
            d.sessions_max,
            1..=1 << 24,
        ),
        outbound_bytes_max: r.number(
            "limits.outbound_bytes_max",
            "bytes per client",
            d.outbound_bytes_max,
            4096..=1 << 30,
        ),
        poll_packets_max: r.number(
            "limits.poll_packets_max",
            "packets",
            d.poll_packets_max,
            16..=1 << 20,
        ),
        ..throng_engine::Settings::DEFAULT
    }
}

fn chat(r: &mut Reader) -> Settings {
    let d = Settings::DEFAULT;
    Settings {
        engine: engine(r),
        ephemeral: r.flag("ephemeral", d.ephemeral),
        sessions_per_user: r.number(
            "limits.sessions_per_user_max",
            "sessions on a shard",
            d.sessions_per_user,
            1..=1 << 24,
        ),
        rooms_per_session: r.number(
            "limits.rooms_per_session_max",
            "rooms",
            d.rooms_per_session,
            1..=1 << 20,
        ),
        pending_bytes_max: r.number(
            "limits.pending_bytes_max",
            "bytes per session",
            d.pending_bytes_max,
            4096..=1 << 30,
        ),
        pending_events_max: r.number(
            "limits.pending_events_max",
            "events per session",
            d.pending_events_max,
            1..=1 << 20,
        ),
        message_chars_max: r.number(
            "limits.message_chars_max",
            "characters",
            d.message_chars_max,
            1..=1 << 20,
        ),
        image_bytes_max: r.number(
            "limits.image_bytes_max",
            "bytes",
            d.image_bytes_max,
            1..=64 << 20,
        ),
        event_bytes_max: r.number(
            "limits.event_bytes_max",
            "bytes",
            d.event_bytes_max,
            1024..=16 << 20,
        ),
        publish_per_s: r.number(
            "limits.publish_per_s",
            "messages, 0 is no limit",
            d.publish_per_s,
            0..=1 << 20,
        ),
        publish_burst: r.number("limits.publish_burst", "messages", d.publish_burst, 1..=1 << 20),
        join_per_s: r.number(
            "limits.join_per_s",
            "joins, 0 is no limit",
            d.join_per_s,
            0..=1 << 20,
        ),
        join_burst: r.number("limits.join_burst", "joins", d.join_burst, 1..=1 << 20),
        room_backlog_max: r.number(
            "limits.room_backlog_max",
            "messages",
            d.room_backlog_max,
            1..=1 << 20,
        ),
        exclusive: r.text(
            "rooms.exclusive",
            "legacy",
            "legacy, always or never",
            |text| match text {
                "legacy" => Some(Exclusive::Legacy),
                "always" => Some(Exclusive::Always),
                "never" => Some(Exclusive::Never),
                _ => None,
            },
        ),
        rooms_auto_create_max: r.number(
            "rooms.auto_create_max",
            "rooms",
            d.rooms_auto_create_max,
            0..=1 << 20,
        ),
        grace_ms: r.number("presence.grace_ms", "ms", d.grace_ms, 0..=600_000),
        roster_budget_bytes_per_s: r.number(
            "presence.budget_bytes_per_s",
            "bytes per room and second",
            d.roster_budget_bytes_per_s,
            1024..=1 << 40,
        ),
        roster_news_bytes_per_s: r.number(
            "presence.news_bytes_per_s",
            "bytes per room and second",
            d.roster_news_bytes_per_s,
            1024..=1 << 40,
        ),
        unread_window_ms: r.number("unread.window_ms", "ms", d.unread_window_ms, 10..=60_000),
        ..d
    }
}

fn tuning(r: &mut Reader) -> Tuning {
    let d = Tuning::DEFAULT;
    Tuning {
        io_driver: r.text("io_driver", "auto", "auto, io_uring or legacy", |t| t.parse().ok()),
        is_pinned: r.flag("shard.pin", d.is_pinned),
        flush_linger_us: r.number("shard.flush_linger_us", "us", d.flush_linger_us, 0..=100_000),
        accepts_per_turn: r.number(
            "shard.accepts_per_turn",
            "connections",
            d.accepts_per_turn,
            1..=4096,
        ),
        pipes_per_turn: r.number("shard.pipes_per_turn", "pipes", d.pipes_per_turn, 1..=1 << 16),
        read_bytes_max: r.number(
            "shard.read_bytes_max",
            "bytes per pipe and turn",
            d.read_bytes_max,
            4096..=16 << 20,
        ),
        handshake_timeout_ms: r.number(
            "http.handshake_timeout_ms",
            "ms",
            d.handshake_timeout_ms,
            50..=600_000,
        ),
    }
}

fn policy(r: &mut Reader) -> HttpPolicy {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let engine_paths = r.list(
        "http.engine_paths",
        vec!["/socket.io".to_owned(), "/ws".to_owned()],
        "paths such as \"/socket.io\"",
        |value| {
            let path = text(value)?;
            let path = path.strip_suffix('/').unwrap_or(&path);
            (path.len() > 1 && path.starts_with('/')).then(|| path.to_owned())
        },
        String::clone,
    );
    let allowed_origins = r.list(
        "http.allowed_origins",
        Vec::new(),
        "origins such as \"https://chat.example\", or \"null\"",
        |value| text(value).filter(|origin| origin == "null" || is_origin(origin)),
        String::clone,
    );
    let engine_paths = engine_paths.into_iter().map(|path| (path, Endpoint::SocketIo)).collect();
    HttpPolicy { engine_paths, allowed_origins }
}

/// Scheme, host and perhaps a port, as browsers send it: no path.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.contains(['/', '*', ' '])
    })
}

fn http(r: &mut Reader) -> throng_rest::Settings {
    let d = throng_rest::Settings::default();
    throng_rest::Settings {
        api_per_minute: r.number(
            "http.api_per_minute",
            "requests per address, 0 is no limit",
            d.api_per_minute,
            0..=1 << 20,
        ),
        trusted_proxies: r.list(
            "http.trusted_proxies",
            Vec::new(),
            "IP addresses",
            |value| value.as_str().and_then(|text| text.parse::<IpAddr>().ok()),
            IpAddr::to_string,
        ),
        robot_url: r.optional("http.robot_url", "canned answer", "a URL", |t| Some(t.to_owned())),
        cookie_secure: r.flag("http.cookie_secure", d.cookie_secure),
        upload_bytes_max: r.number(
            "http.upload_bytes_max",
            "bytes",
            d.upload_bytes_max,
            1024..=256 << 20,
        ),
        ..d
    }
}

fn rooms(r: &mut Reader) -> Vec<(u32, String)> {
    let rooms = r.list(
        "rooms.list",
        vec![(1, "Lobby".to_owned()), (2, "Lounge".to_owned())],
        "tables with `id` (1 to 999999999) and `name`",
        |value| {
            let id = u32::try_from(whole(value.find_ref("id")?)?).ok()?;
            let name = value.find_ref("name")?.as_str()?.to_owned();
            ((1..=999_999_999).contains(&id) && !name.is_empty()).then_some((id, name))
        },
        |(id, name)| format!("{id} {name}"),
    );
    let mut ids: Vec<u32> = rooms.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let has_twins = ids.windows(2).any(|pair| pair[0] == pair[1]);
    r.fault(has_twins, || "rooms.list: two rooms have the same id".into());
    rooms
}

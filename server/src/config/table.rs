//! The settings of the binary itself. Those of the engine and the chat, the shard loop, the REST API,
//! the store, the cluster and Redis stand in their own crates and modules, next to what they set.

mod engine_path;
pub(super) mod log_filter;
mod origin;

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use throng_runtime::defaults;
use throng_tables::settings::{Kind, Raw, Value};
use throng_wire::http::{REQUEST_TIMEOUT_MS, TrustedProxy};

throng_tables::settings! {
    /// Where and whom the process serves.
    #[derive(Clone, Debug)]
    pub struct ServerSettings;

    [""]
    /// Address to serve; port 0 picks a free one.
    listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8090));
    /// Unix socket to serve as well, for a proxy on this machine. The rights of its directory decide who
    /// may connect; `unix` in http.trusted_proxies trusts them.
    listen_unix: Option<PathBuf> = None => "none";
    /// Threads that hold connections and rooms.
    shards: u8 = cores(), "threads", 1..=255 => "one per core";
    /// Database. A database of a server must exist. The command line is visible to other users: put a
    /// password into the file or the environment.
    database: Option<DatabaseUrl> = None => "throng.db in data_dir";
    /// Lift rate limits and limits per user and address, for load tests; needs a loopback address.
    unlimited: bool = false;
    /// Format of the log on standard error. The line `throng: …` that says why a start failed is text in both.
    log: LogFormat = LogFormat::Text;
    /// Lowest level that is logged, for all modules or for some.
    log_filter: LogFilter = LogFilter("info".to_owned());

    ["limits"]
    /// Open connections of the process.
    connections_max: u32 = defaults::CONNECTIONS_MAX, "connections", 1..=1 << 24;
    /// Open connections of one client, an IPv4 address or an IPv6 /64 network; 0: no limit. Behind a
    /// proxy of http.trusted_proxies the client is the one that it forwards.
    connections_per_ip_max: u32 = defaults::CONNECTIONS_PER_IP_MAX, "connections", 0..=1 << 24;

    ["rooms"]
    /// Rooms that exist from the start, with `id` (1 to 999999999) and `name`.
    list: Vec<RoomEntry> = vec![RoomEntry::new(1, "Lobby"), RoomEntry::new(2, "Lounge")];
    /// Who else has rooms: no other node (table), or all nodes with the same Redis (redis).
    driver: Option<Driver> = None => "redis if redis.url is set, else table";

    ["http"]
    /// Time a client has to send the head or the body of an HTTP request, and time for a whole request
    /// of the API but an upload.
    request_timeout_ms: u32 = REQUEST_TIMEOUT_MS, "ms", 100..=3_600_000;
    /// Time an idle connection is kept for its next request. Longer than the 60 s of most proxies, so that
    /// the proxy closes it first.
    keep_alive_ms: u32 = throng_runtime::http::KEEP_ALIVE_MS, "ms", 1000..=3_600_000;
    /// Requests of one client, an IPv4 address or an IPv6 /64 network, but for those of its sessions; 4 s of
    /// them at once. What is more waits, for 2 s at most; 0: no limit.
    requests_per_s: u32 = throng_runtime::http::REQUESTS_PER_S, "requests per second", 0..=1 << 20;
    /// Requests of one client that are served at once, the waiting polls of its sessions among them; 0: no limit.
    requests_per_ip_max: u32 = throng_runtime::http::REQUESTS_PER_IP_MAX, "requests", 0..=1 << 24;
    /// Proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed: addresses,
    /// networks, or unix for those on the Unix socket.
    trusted_proxies: Vec<ProxyEntry> = Vec::new();
    /// Connections of http.trusted_proxies begin with a header of the PROXY protocol, version 1 or 2;
    /// those without one are refused.
    proxy_protocol: bool = false;
    /// Paths that serve Socket.IO. None of them is a path of the API, of the web client or of operation,
    /// such as /health.
    engine_paths: Vec<EnginePath> = vec![EnginePath("/socket.io".into()), EnginePath("/ws".into())];
    /// Origins of other sites whose pages may connect and call the API: http or https, a host and perhaps a
    /// port, without a path.
    allowed_origins: Vec<Origin> = Vec::new();

    ["shard"]
    /// Items of the lane from one shard to another for requests.
    request_lane_max: usize = defaults::LANES.request_lane_max, "items", 16..=1 << 20;
    /// Items of the lane from one shard to another for deliveries.
    delivery_lane_max: usize = defaults::LANES.delivery_lane_max, "items", 16..=1 << 20;
}

throng_tables::settings! {
    /// Where operators and their programs look.
    #[derive(Clone, Debug)]
    pub struct AdminSettings;

    ["admin"]
    /// Address of its own for /metrics, /ready and /health.
    listen: Option<SocketAddr> = None => "none";
    /// Serve /metrics, /ready and /health on the public address as well.
    public: bool = true;
}

fn cores() -> u8 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u8::try_from(cores).unwrap_or(u8::MAX)
}

throng_tables::choices! {
    /// One line per event, for people or for programs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LogFormat {
        Text = "text",
        Json = "json",
    }
}

throng_tables::choices! {
    /// Who has rooms, as the original names its drivers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Driver {
        Table = "table",
        Redis = "redis",
    }
}

/// The URL of a database that the store can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl Value for DatabaseUrl {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "sqlite://PATH, postgres://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME"
            .into()
    }

    fn read(raw: &Raw, (): &()) -> Option<DatabaseUrl> {
        let url = raw.text().filter(|url| throng_store::is_database_url(url))?;
        Some(DatabaseUrl(url.to_owned()))
    }

    fn show(&self) -> String {
        throng_store::without_secrets(&self.0)
    }

    fn show_wrong(raw: &Raw) -> String {
        raw.text().map_or_else(|| "no text".to_owned(), throng_store::without_secrets)
    }
}

/// Declares a text that must fulfil a condition: `parse` answers what is kept of it, or why it does not.
macro_rules! checked_texts {
    ($($(#[$meta:meta])* $name:ident: $allowed:literal, $parse:path;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        impl Value for $name {
            type Bounds = ();
            const KIND: Kind = Kind::Text;

            fn allowed((): &()) -> String {
                $allowed.to_owned()
            }

            fn read(raw: &Raw, (): &()) -> Option<Self> {
                $parse(raw.text()?).ok().map($name)
            }

            fn show(&self) -> String {
                self.0.clone()
            }

            fn show_wrong(raw: &Raw) -> String {
                show_with_fault(raw, $parse)
            }
        }
    )+};
}

checked_texts! {
    /// What is logged.
    LogFilter: "off, error, warn, info, debug or trace, or MODULE=LEVEL for a module, such as \
        throng=debug; several with commas", log_filter::parse;
    /// A path of HTTP requests, without its trailing slash.
    EnginePath: "paths such as \"/socket.io\"", engine_path::parse;
    /// Scheme, host and perhaps a port, as browsers send it: no path.
    Origin: "origins such as \"https://chat.example\", or \"null\"", origin::parse;
}

impl LogFilter {
    /// A sentence about a filter that silences the whole server without saying `off`.
    pub fn silence(&self) -> Option<String> {
        (!log_filter::concerns_server(&self.0)).then(|| {
            format!(
                "log_filter is \"{}\", which names no module of this server, such as throng: the server \
                 logs nothing",
                self.0
            )
        })
    }
}

/// A text and what is wrong with it.
fn show_with_fault<F: Display>(raw: &Raw, parse: impl Fn(&str) -> Result<String, F>) -> String {
    let Some(text) = raw.text() else { return raw.written() };
    let Err(fault) = parse(text) else { return raw.written() };
    // An origin with a user name may have a password too.
    if text.contains('@') {
        return format!("\"{}\": {fault}", throng_store::without_secrets(text));
    }
    format!("{}: {fault}", raw.written())
}

/// A proxy, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyEntry(pub TrustedProxy);

impl Value for ProxyEntry {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "addresses such as \"10.0.0.1\", networks such as \"10.0.0.0/8\", or \"unix\"".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<ProxyEntry> {
        raw.text()?.parse().ok().map(ProxyEntry)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// One room that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEntry {
    pub id: u32,
    pub name: String,
}

impl RoomEntry {
    pub fn new(id: u32, name: &str) -> RoomEntry {
        RoomEntry { id, name: name.to_owned() }
    }
}

impl Value for RoomEntry {
    type Bounds = ();
    const KIND: Kind = Kind::Text;

    fn allowed((): &()) -> String {
        "tables with `id` (1 to 999999999) and `name`".to_owned()
    }

    fn read(raw: &Raw, (): &()) -> Option<RoomEntry> {
        let Raw::Table(table) = raw else { return None };
        if unknown_key(raw).is_some() {
            return None;
        }
        let id = u32::read(table.get("id")?, &(1..=999_999_999))?;
        let name = String::read(table.get("name")?, &())?;
        Some(RoomEntry { id, name })
    }

    fn show(&self) -> String {
        format!("{} {}", self.id, self.name)
    }

    fn show_wrong(raw: &Raw) -> String {
        match unknown_key(raw) {
            Some(key) => format!("{}: unknown key `{key}`", raw.written()),
            None => raw.written(),
        }
    }
}

/// A key that no room has.
fn unknown_key(raw: &Raw) -> Option<&str> {
    let Raw::Table(table) = raw else { return None };
    table.keys().map(String::as_str).find(|key| !["id", "name"].contains(key))
}

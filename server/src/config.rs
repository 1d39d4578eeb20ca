//! From what the operator wrote to what it means: flags over environment over file over defaults.
//!
//! A setting is declared once, in the `settings!` table of the code that uses it; [`read`] names all
//! tables. What no table can say, since it concerns several settings, stands here.

mod contradictions;
pub mod docs;
pub mod environment;
mod file;
mod reader;
pub mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use throng_chat::Settings;
use throng_engine::Endpoint;
use throng_mesh::Capacity;
use throng_redis::names::RoomNames;
use throng_wire::http::TrustedProxy;

use environment::Environment;
pub use reader::Shown;
use reader::{ConfigFault, Reader};
use table::{AdminSettings, Driver, EnginePath, ServerSettings};

use crate::backplane::BackplaneConfig;
use throng_runtime::policy::HttpPolicy;
use throng_runtime::shard::Tuning;

/// Rooms per session and created rooms when the limits are lifted.
const UNLIMITED_ROOMS: u32 = 100_000;

/// Everything the server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub chat: Settings,
    pub tuning: Tuning,
    pub rest: throng_rest::Settings,
    pub store: throng_store::Options,
    /// `None`: everything in memory, one node.
    pub backplane: Option<BackplaneConfig>,
    /// Follows from `server`.
    pub lanes: Capacity,
    /// Follows from `server`.
    pub policy: HttpPolicy,
    /// What is odd but no fault, a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Where the data is kept.
    pub fn database_url(&self) -> String {
        let url = self.server.database.as_ref();
        url.map_or_else(|| self.store.default_url(), |url| url.0.clone())
    }

    /// For load tests: rates and limits per user and address go, bounds on memory stay.
    fn lift_limits(&mut self) {
        self.chat.engine.work_per_s = 0;
        self.chat.engine.anonymous.work_per_s = 0;
        self.chat.engine.anonymous.sessions_per_ip_max = 0;
        self.chat.engine.anonymous.polling_sessions_max = 0;
        self.chat.engine.anonymous.identify_timeout_ms = 0;
        self.chat.publish_per_s = 0;
        self.chat.join_per_s = 0;
        self.chat.invalid_tokens_per_s = 0;
        self.chat.cids_per_user_max = self.chat.cids_max;
        self.chat.uploads_per_minute = 0;
        self.chat.user_mib_per_day = 0;
        self.chat.sessions_per_user_max = u32::MAX;
        self.chat.rooms_per_session_max = UNLIMITED_ROOMS;
        self.chat.auto_create_max = UNLIMITED_ROOMS;
        self.server.connections_per_ip_max = 0;
        self.server.requests_per_s = 0;
        self.server.requests_per_ip_max = 0;
        self.rest.api_per_minute = 0;
        self.rest.failures_max = 0;
        self.rest.api_per_user_per_minute = 0;
        self.store = self.store.clone().unlimited();
    }
}

/// Flags, as keys and values of the same names as in the file.
#[derive(Clone, Debug, Default)]
pub struct Flags(pub Dict);

impl Flags {
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
        let mut entries = &mut self.0;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let section = entries.entry(section.into()).or_insert_with(|| Dict::new().into());
            let Value::Dict(_, inner) = section else {
                unreachable!("no setting is named as a section is")
            };
            entries = inner;
        }
        entries.insert(name.into(), value.into());
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
pub struct Faults(pub Vec<ConfigFault>);

/// Reads the configuration; answers it with every setting as understood.
///
/// # Errors
/// All faults together.
pub fn load(file: Option<&Path>, flags: Flags) -> Result<(Config, Vec<Shown>), Faults> {
    let mut figment = Figment::new();
    if let Some(file) = file {
        file::check(file).map_err(|fault| Faults(vec![fault]))?;
        figment = figment.merge(Toml::file(file));
    }
    let mut environment = Environment::read(std::env::vars_os(), &defaults());
    let mut warnings = std::mem::take(&mut environment.warnings);
    let mut faults = std::mem::take(&mut environment.faults);
    let mut reader = Reader::new(figment.merge(environment).merge(flags));
    let config = read(&mut reader);
    warnings.extend(config.warnings);
    let config = Config { warnings, ..config };
    reader.check_unknown();
    reader.faults.append(&mut faults);
    if reader.faults.is_empty() {
        Ok((config, by_section(reader.shown)))
    } else {
        Err(Faults(reader.faults))
    }
}

/// Every setting with its default.
pub fn defaults() -> Vec<Shown> {
    let mut reader = Reader::new(Figment::new());
    read(&mut reader);
    by_section(reader.shown)
}

/// In the order in which the sections first appear.
fn by_section(shown: Vec<Shown>) -> Vec<Shown> {
    let mut sections: Vec<Vec<Shown>> = Vec::new();
    for shown in shown {
        match sections.iter_mut().find(|of| of[0].setting.section == shown.setting.section) {
            Some(section) => section.push(shown),
            None => sections.push(vec![shown]),
        }
    }
    sections.into_iter().flatten().collect()
}

/// Reads all tables.
fn read(r: &mut Reader) -> Config {
    let server = r.read(ServerSettings::rows());
    let admin = r.read(AdminSettings::rows());
    let engine = throng_engine::Settings {
        anonymous: r.read(throng_engine::AnonymousLimits::rows()),
        ..r.read(throng_engine::Settings::rows())
    };
    let chat = r.read(Settings::rows());
    let tuning = r.read(Tuning::rows());
    let rest = r.read(throng_rest::Settings::rows());
    let store = r.read(throng_store::Options::rows());
    let redis = r.read(throng_redis::Settings::rows());
    let cluster = r.read(throng_cluster::Settings::rows());

    let lanes = Capacity {
        request_lane_max: server.request_lane_max,
        delivery_lane_max: server.delivery_lane_max,
    };
    let paths = server.engine_paths.iter();
    let policy = HttpPolicy {
        engine_paths: paths.map(|path| (path.0.clone(), Endpoint::SocketIo)).collect(),
        allowed_origins: server.allowed_origins.iter().map(|origin| origin.0.clone()).collect(),
        allow_eio3: true,
        trusted_proxies: server.trusted_proxies.iter().map(|entry| entry.0).collect(),
        has_proxy_headers: server.proxy_protocol,
        ..HttpPolicy::default()
    };
    let names = RoomNames::new(&cluster.room_name);
    let by_url = if r.is_given("redis.url") { Driver::Redis } else { Driver::Table };
    let driver = server.driver.unwrap_or(by_url);

    let is_public = !server.listen.ip().is_loopback();
    r.fault(server.unlimited && is_public, || {
        format!("unlimited: is for load tests on a loopback address, not on {}", server.listen)
    });
    r.fault(engine.max_payload > engine.outbound_bytes_max, || {
        "max_payload: must not be above limits.outbound_bytes_max".into()
    });
    r.fault(server.proxy_protocol && server.trusted_proxies.is_empty(), || {
        "http.proxy_protocol: http.trusted_proxies must name the proxies that send the headers"
            .into()
    });
    r.fault(server.engine_paths.is_empty(), || {
        "http.engine_paths: there is no path, and no client could connect".to_owned()
    });
    if let Some(path) = twin(&server.engine_paths) {
        r.faults.push(format!("http.engine_paths: {path} is there twice"));
    }
    r.fault(admin.listen.is_some_and(|addr| are_one(addr, server.listen)), || {
        format!("admin.listen: the port is taken by listen ({})", server.listen)
    });
    let mut ids: Vec<u32> = server.list.iter().map(|room| room.id).collect();
    ids.sort_unstable();
    let has_twins = ids.windows(2).any(|pair| pair[0] == pair[1]);
    r.fault(has_twins, || "rooms.list: two rooms have the same id".into());
    r.fault(rest.static_dir.as_ref().is_some_and(|dir| !dir.is_dir()), || {
        format!(
            "static_dir: {} is no directory",
            rest.static_dir.clone().unwrap_or_default().display()
        )
    });
    r.fault(names.is_none(), || {
        format!(
            "redis.room_name: expected a name with {{id}} in it, found \"{}\"",
            cluster.room_name
        )
    });
    let must_wait = u64::from(redis.command_timeout_ms + redis.connect_timeout_ms);
    r.fault(cluster.lease_ms <= must_wait, || {
        "redis.lease_ms: must be above redis.connect_timeout_ms and redis.command_timeout_ms together"
            .into()
    });

    let warnings = warnings(&server, &admin);

    let mib = |mib: u32| (mib as usize) << 20;
    for (name, most) in [
        ("uploads_mib_per_user_max", rest.uploads_mib_per_user_max),
        ("uploads_mib_anonymous_max", rest.uploads_mib_anonymous_max),
    ] {
        r.fault(mib(most) < rest.upload_bytes_max, || {
            format!("http.{name}: must not be below http.upload_bytes_max")
        });
    }
    r.fault(rest.uploads_mib_max < rest.uploads_mib_per_user_max, || {
        "http.uploads_mib_max: must not be below http.uploads_mib_per_user_max".into()
    });

    let backplane = names.filter(|_| driver == Driver::Redis).map(|names| BackplaneConfig {
        cluster: throng_cluster::Settings {
            node_name: match cluster.node_name.as_str() {
                "" => server.listen.to_string(),
                name => name.to_owned(),
            },
            ephemeral: chat.ephemeral,
            ..cluster
        },
        redis,
        names,
    });
    let database = server.database.as_ref();
    let mut config = Config {
        rest: throng_rest::Settings {
            allowed_origins: policy.allowed_origins.clone(),
            request_timeout_ms: server.request_timeout_ms,
            body_timeout_ms: engine.message_timeout_ms,
            body_bytes_per_s_min: engine.bytes_per_s_min,
            is_operation_public: admin.public,
            ..rest
        },
        chat: Settings {
            engine,
            cluster: backplane.is_some(),
            store_numbers: database.is_some_and(|url| throng_store::is_server_url(&url.0)),
            ..chat
        },
        store: throng_store::Options { image_bytes_max: chat.image_bytes_max as usize, ..store },
        server,
        admin,
        warnings,
        tuning,
        backplane,
        lanes,
        policy,
    };
    if config.server.unlimited {
        config.lift_limits();
    }
    config.warnings.extend(contradictions::find(&config, r.is_given("redis.url")));
    config
}

/// A path that is there twice.
fn twin(paths: &[EnginePath]) -> Option<&str> {
    let is_twin = |(at, path): &(usize, &EnginePath)| paths[..*at].contains(path);
    paths.iter().enumerate().find(is_twin).map(|(_, path)| path.0.as_str())
}

/// Whether the second of two sockets would find its address taken.
fn are_one(one: SocketAddr, other: SocketAddr) -> bool {
    let has_one_port = one.port() == other.port() && one.port() != 0;
    let is_all = one.ip().is_unspecified() || other.ip().is_unspecified();
    has_one_port && (one.ip() == other.ip() || (is_all && one.is_ipv4() == other.is_ipv4()))
}

/// What a setting asks for and another one prevents.
fn warnings(server: &ServerSettings, admin: &AdminSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    if !admin.public && admin.listen.is_none() {
        warnings.push(
            "admin.public is false and admin.listen is not set: /metrics, /ready and /health are served nowhere"
                .into(),
        );
    }
    let trusts = |is_such: fn(&TrustedProxy) -> bool| {
        server.trusted_proxies.iter().find(|entry| is_such(&entry.0))
    };
    if trusts(|proxy| *proxy == TrustedProxy::Unix).is_some() && server.listen_unix.is_none() {
        warnings.push(
            "http.trusted_proxies has \"unix\" and listen_unix is not set: no proxy comes that way"
                .into(),
        );
    }
    if let Some(all) = trusts(TrustedProxy::is_everyone) {
        warnings.push(format!(
            "http.trusted_proxies has {}: every client is a proxy, and limits per address do not hold, because \
             it may name any address as its own",
            all.0
        ));
    }
    warnings
}

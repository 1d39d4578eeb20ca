//! The section `[redis]`, and which driver keeps the rooms.

use std::net::SocketAddr;
use std::time::Duration;

use throng_redis::Address;
use throng_redis::names::RoomNames;

use super::reader::Reader;
use crate::backplane::BackplaneConfig;

/// As the original names its drivers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    Table,
    Redis,
}

const DEFAULT_URL: &str = "redis://127.0.0.1";

/// `None` when rooms are kept in memory.
pub(super) fn read(
    r: &mut Reader,
    listen: SocketAddr,
    is_ephemeral: bool,
) -> Option<BackplaneConfig> {
    let allowed = "redis://…, rediss://…, redis+sentinel://…/SERVICE, redis+cluster://…";
    // The fault of a URL is said without repeating it.
    let show = |text: &str| match text.parse::<Address>() {
        Ok(address) => address.to_string(),
        Err(fault) => format!("something else ({fault})"),
    };
    let url = r.secret("redis.url", "none", allowed, |text| text.parse::<Address>().ok(), show);
    let default = if url.is_some() { "redis" } else { "table" };
    let driver = r.text("rooms.driver", default, "table or redis", |text| match text {
        "table" => Some(Driver::Table),
        "redis" => Some(Driver::Redis),
        _ => None,
    });
    let address = url.unwrap_or_else(|| DEFAULT_URL.parse().expect("the default is a URL"));

    let connect_timeout = r.number("redis.connect_timeout_ms", "ms", 1_000, 10..=60_000);
    let command_timeout = r.number("redis.command_timeout_ms", "ms", 1_000, 10..=60_000);
    let tls_ca = r.optional("redis.tls_ca", "the system's", "a file of PEM certificates", |path| {
        std::fs::read(path).ok().filter(|pem| pem.starts_with(b"-----BEGIN"))
    });
    let redis = throng_redis::Settings {
        address,
        tls_ca,
        connect_timeout: Duration::from_millis(connect_timeout),
        command_timeout: Duration::from_millis(command_timeout),
        connections_max: r.number("redis.connections_max", "connections", 8, 2..=1024),
    };
    let d = throng_cluster::Settings::default();
    let text = |r: &mut Reader, key, default: &str, allowed: &str| {
        r.text(key, default, allowed, |text| (!text.is_empty()).then(|| text.to_owned()))
    };
    let room_name = r.text("redis.room_name", &d.room_name, "a name with {id} in it", |text| {
        RoomNames::new(text).map(|names| (text.to_owned(), names))
    });
    let cluster = throng_cluster::Settings {
        prefix: text(r, "redis.prefix", &d.prefix, "what the keys of the cluster begin with"),
        socket_id_key: text(r, "redis.socket_id_key", &d.socket_id_key, "a key"),
        map_prefix: text(
            r,
            "redis.map_prefix",
            &d.map_prefix,
            "what the keys of the map begin with",
        ),
        room_name: room_name.0,
        log_streams: r.number("redis.log_streams", "streams", d.log_streams, 1..=1024),
        log_maxlen: r.number("redis.log_maxlen", "entries per stream", d.log_maxlen, 100..=1 << 30),
        lease_ms: r.number("redis.lease_ms", "ms", d.lease_ms, 1_000..=600_000),
        outage_poll_ms: r.number("redis.outage_poll_ms", "ms", d.outage_poll_ms, 50..=60_000),
        address: text(r, "redis.node_name", &listen.to_string(), "what people call this node"),
        ephemeral: is_ephemeral,
        ..d
    };
    let adapter_channel =
        text(r, "redis.adapter_channel", "socket.io", "the option `key` of adapters");
    let is_publishing = r.flag("redis.adapter_publish", false);
    let publication_bytes_max =
        r.number("redis.adapter_bytes_max", "bytes per publication", 64 * 1024, 256..=16 << 20);
    let must_wait = redis.command_timeout + redis.connect_timeout;
    r.fault(u128::from(cluster.lease_ms) <= must_wait.as_millis(), || {
        "redis.lease_ms: must be above redis.connect_timeout_ms and redis.command_timeout_ms together"
            .into()
    });
    (driver == Driver::Redis).then_some(BackplaneConfig {
        redis,
        cluster,
        names: room_name.1,
        adapter_channel,
        is_publishing,
        publication_bytes_max,
    })
}

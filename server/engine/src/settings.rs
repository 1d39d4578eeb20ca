//! Settings and limits of the engine as plain numbers.

/// Secrets and randomness of one run; from the operating system in production, from the seed of
/// the run in a simulation.
#[derive(Clone)]
pub struct Seed {
    /// Key of the hash room → home shard; the same on all shards of a process.
    pub placement: [u8; 16],
    /// Seeds the shard's generator of ids; different for each shard.
    pub random: [u8; 32],
    /// Wall clock at [`crate::Now`] zero, in milliseconds since the Unix epoch.
    pub started_unix_ms: i64,
}

/// The same on all shards of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two pings of an idle session, in ms.
    pub ping_interval_ms: u32,
    /// Time for the answer to a ping, in ms.
    pub ping_timeout_ms: u32,
    /// Time for the first CONNECT of a session, in ms.
    pub connect_timeout_ms: u32,
    /// Time from the probe of an upgrade to its end, in ms.
    pub upgrade_timeout_ms: u32,
    /// Bytes of one message or polling body.
    pub max_payload: u32,
    /// Polling may be upgraded to WebSocket, and is advertised so.
    pub allow_upgrades: bool,
    /// Frames of one fragmented WebSocket message.
    pub fragments_max: u32,
    /// Sessions of this shard; one more is refused.
    pub sessions_max: u32,
    /// Bytes queued for one client before it is evicted as a slow consumer.
    pub outbound_bytes_max: u32,
    /// Packets queued for a polling client between two polls.
    pub poll_packets_max: u32,
    /// Binary attachments of one packet.
    pub attachments_max: u32,
    /// Nested arrays and objects of one packet.
    pub json_depth_max: u32,
    /// Items of the lane from this shard to itself.
    pub own_lane_max: u32,
}

impl Settings {
    /// Production defaults.
    pub const DEFAULT: Settings = Settings {
        ping_interval_ms: 25_000,
        ping_timeout_ms: 20_000,
        connect_timeout_ms: 45_000,
        upgrade_timeout_ms: 10_000,
        max_payload: 4 * 1024 * 1024,
        allow_upgrades: true,
        fragments_max: 1024,
        sessions_max: 200_000,
        outbound_bytes_max: 8 * 1024 * 1024,
        poll_packets_max: 4096,
        attachments_max: 10,
        json_depth_max: 64,
        own_lane_max: 1024,
    };
}

const _: () = assert!(
    Settings::DEFAULT.max_payload <= Settings::DEFAULT.outbound_bytes_max,
    "one payload must fit the queue"
);

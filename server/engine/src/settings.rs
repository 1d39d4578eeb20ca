//! Settings and limits of the engine as plain numbers.

/// Secrets and randomness of one run; from the operating system in production, from the seed of
/// the run in a simulation.
#[derive(Clone)]
pub struct Seed {
    /// Key of the hash room → home shard; the same on all shards of a process.
    pub placement: [u8; 16],
    /// Seeds the shard's generator of ids; different for each shard.
    pub random: [u8; 32],
}

throng_tables::settings! {
    /// Limits and timeouts of the engine, the same on all shards of a process.
    ///
    /// A name with a dot, as `limits.outbound_bytes_max`, is the key that Throng's binary gives to the
    /// field of that last name here, or in [`AnonymousLimits`] (`limits.anonymous`).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Settings;

    [""]
    /// Time between two heartbeats.
    ping_interval_ms: u32 = 25_000, "ms", 50..=3_600_000;
    /// Time a client has to answer a heartbeat.
    ping_timeout_ms: u32 = 20_000, "ms", 50..=3_600_000;
    /// Time an Engine.IO 4 client has to connect to a namespace.
    connect_timeout_ms: u32 = 45_000, "ms", 50..=3_600_000;
    /// Largest WebSocket message or long-polling body a client may send. At most
    /// `limits.outbound_bytes_max`.
    max_payload: u32 = 4 * 1024 * 1024, "bytes", 1024..=256 << 20;

    ["engine"]
    /// Time a client has to finish an upgrade from long-polling to WebSocket.
    upgrade_timeout_ms: u32 = 10_000, "ms", 50..=3_600_000;
    /// Long-polling sessions may upgrade to WebSocket, and the handshake says so.
    allow_upgrades: bool = true;
    /// Fragments of one WebSocket message.
    fragments_max: u32 = 131_072, "frames", 1..=1 << 20;
    /// Binary attachments of one Socket.IO packet.
    attachments_max: u32 = 10, "attachments", 0..=1000;
    /// Nesting of the JSON in a packet.
    json_depth_max: u32 = 64, "levels", 4..=128;
    /// Values in the JSON of a packet, keys not counted.
    json_values_max: u32 = 32_768, "values", 16..=1 << 24;

    ["limits"]
    /// Sessions of one shard; one more is refused.
    sessions_per_shard_max: u32 = 200_000, "sessions", 1..=1 << 24;
    /// Bytes queued for one client; beyond it the client is closed as a slow consumer.
    outbound_bytes_max: u32 = 8 * 1024 * 1024, "bytes", 4096..=1 << 30;
    /// Packets queued for a long-polling client between two polls.
    poll_packets_max: u32 = 4096, "packets", 16..=1 << 20;
    /// Unfinished messages, and events that wait for the store, of all sessions together. Shards have
    /// equal parts of it; beyond its part a shard closes those of its sessions that hold most.
    inbound_mib_max: u32 = 256, "MiB", 1..=1 << 20;
    /// Bytes queued for all clients together; a frame of 8 KiB or more that they share counts once; in parts as
    /// `limits.inbound_mib_max`.
    outbound_mib_max: u32 = 1024, "MiB", 1..=1 << 20;
    /// Work that a session, or all sessions of a known user on a shard together, may cause: a packet is
    /// one unit, whatever becomes of it, and one more for every 4 KiB. A session beyond it is read
    /// later, and closed when it is ten seconds ahead. 0: no limit.
    work_per_s: u32 = 2000, "units per second", 0..=1 << 24;
    /// Work that may be caused at once.
    work_burst: u32 = 4000, "units", 1..=1 << 24;
    /// Time for a message that has begun to arrive, besides the time at `limits.bytes_per_s_min`.
    message_timeout_ms: u32 = 10_000, "ms", 50..=3_600_000;
    /// Slowest rate at which a message or a body may arrive.
    bytes_per_s_min: u32 = 4096, "bytes per second", 1..=1 << 30;

    ["shard"]
    /// Items of the lane from a shard to itself.
    own_lane_max: u32 = 1024, "items", 16..=1 << 20;

    fixed
    /// Those of sessions whose user is not known.
    anonymous: AnonymousLimits = AnonymousLimits::default();
}

throng_tables::settings! {
    /// Limits of sessions whose user is not known yet, where the application knows users
    /// ([`crate::App::IDENTIFIES`]). Names are those of [`Settings`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AnonymousLimits;

    ["limits.anonymous"]
    /// Largest WebSocket message or long-polling body of a session that has named no user.
    payload_bytes_max: u32 = 16 * 1024, "bytes", 1024..=256 << 20;
    /// Bytes queued for one client; beyond it the client is closed as a slow consumer.
    outbound_bytes_max: u32 = 64 * 1024, "bytes", 4096..=1 << 30;
    /// As `limits.work_per_s`, with one more unit for every 1 KiB. All such sessions of a client address on a shard have 64 times as much, those of all
    /// addresses 128 times; when they have used that up, each waits for what it has caused, the longer the more of them
    /// there are.
    work_per_s: u32 = 50, "units per second", 0..=1 << 24;
    /// Work that a session may cause at once; its client address 64 times as much, all of them 128 times.
    work_burst: u32 = 200, "units", 1..=1 << 24;
    /// Time a session has to name its user; 0: no limit, as where guests may read.
    identify_timeout_ms: u32 = 120_000, "ms", 0..=86_400_000;
    /// Bytes that all these sessions together may make the server hold; beyond it those that hold
    /// most are closed.
    held_mib_max: u32 = 8, "MiB", 1..=1 << 20;
    /// Sessions of one client address on one shard, an IPv6 network of 64 bits being one; 0: no
    /// limit.
    sessions_per_ip_max: u32 = 4096, "sessions", 0..=1 << 24;
    /// Sessions on long-polling, of all shards together, each of which has its part: the oldest of the client address
    /// that has most of them make place for more. Each costs connections of the HTTP thread. 0: no limit.
    polling_sessions_max: u32 = 1024, "sessions", 0..=1 << 24;
}

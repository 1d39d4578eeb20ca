//! Settings of a node as plain numbers and names.

throng_tables::settings! {
    /// What the operator may set, and the bounds.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Settings;

    ["redis"]
    /// Prefix of Throng's own keys; the same on every node.
    prefix: String = "throng:".to_owned();
    /// Key of the original's hash from user to fd, with the prefix that Laravel gives it.
    socket_id_key: String = "socket_id".to_owned();
    /// Prefix of the original's sets.
    map_prefix: String = "swoole:".to_owned();
    /// Name of a room in the original's sets, with {id} in it.
    room_name: String = "room{id}".to_owned();
    /// Streams over which the logs of the rooms are spread; the same on every node.
    log_streams: u16 = 16, "streams", 1..=1024;
    /// Entries kept in each stream, about.
    log_maxlen: u64 = 10_000, "entries", 100..=1 << 30;
    /// A node that is silent for so long is gone. Must be above `redis.connect_timeout_ms` and
    /// `redis.command_timeout_ms` together.
    lease_ms: u64 = 8_000, "ms", 1_000..=600_000;
    /// Time between two looks into the database for messages of other nodes while Redis is down.
    outage_poll_ms: u64 = 500, "ms", 50..=60_000;
    /// Name of this node in the registry of nodes, for operators.
    node_name: String = String::new() => "the listen address";

    fixed
    /// Time between two looks into the database while Redis is up: what a node commits that is cut
    /// off, or dies in that moment, is in no log.
    idle_poll_ms: u64 = 5_000;
    /// There is no SQL log: Redis numbers the messages.
    ephemeral: bool = false;
    /// Inputs that wait for shards before reading pauses.
    inputs_max: usize = 4_096;
    /// Commands in one `Write`.
    writes_max: usize = 1_024;
    /// Entries in one `Append`, about.
    append_max: usize = 512;
    /// Bytes of the entries in one `Append`, about.
    append_bytes_max: usize = 512 * 1024;
    /// Bytes of committed messages that wait to be appended. Of those beyond it only the number of
    /// the last is sent, and nodes that lack them read them from SQL.
    backlog_bytes_max: usize = 8 * 1024 * 1024;
    /// Publishes that wait for a number of Redis (`ephemeral`).
    numbering_max: usize = 1_024;
    /// Entries per stream in one `Read`.
    read_count: u32 = 128;
    /// Time one `Read` waits for entries.
    read_block_ms: u64 = 1_000;
    /// Nodes this one knows at a time.
    peers_max: usize = 256;
    /// Revoked tokens, changed users and freed users that wait to be sent, each.
    controls_max: usize = 4_096;
    /// Longest entry that is decoded.
    entry_bytes_max: usize = 4 * 1024 * 1024;
}

/// What distinguishes this process from every other; random numbers of the operating system in
/// production.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    /// The name of the process and the node id that it tries first.
    pub random: [u8; 16],
    /// Wall clock at [`throng_engine::Now`] zero, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

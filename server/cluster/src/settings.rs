//! Settings of a node as plain numbers and names.

/// What the operator can set, and the bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Prefix of every key of Throng: `throng:`.
    pub prefix: String,
    /// The original's hash user → fd: `socket_id`, with the prefix that Laravel is configured with.
    pub socket_id_key: String,
    /// Prefix of the original's sets: `swoole:`.
    pub map_prefix: String,
    /// Name of a room in the original's sets: `room{id}`.
    pub room_name: String,
    /// Number of streams that the rooms are spread over; the same on every node.
    pub log_streams: u16,
    /// Entries kept per stream, approximately.
    pub log_maxlen: u64,
    /// A node that does not renew its lease for this long is dead. Other nodes notice within a tenth
    /// of this time more, and sweep what it left behind.
    pub lease_ms: u64,
    /// How often the tips of all rooms are read from SQL while Redis cannot be used.
    pub outage_poll_ms: u64,
    /// How often they are read while Redis can be used: messages of a node that is cut off, or that
    /// dies right after it stored them, are in no log.
    pub idle_poll_ms: u64,
    /// The address of this node in the registry, for operators: `host:port`.
    pub address: String,
    /// There is no SQL log: Redis numbers the messages.
    pub ephemeral: bool,

    /// Inputs that may wait for the shards before reading pauses.
    pub inputs_max: usize,
    /// Commands in one `Write`.
    pub writes_max: usize,
    /// Entries in one `Append`, approximately.
    pub append_max: usize,
    /// Bytes of messages in one `Append`, approximately.
    pub append_bytes_max: usize,
    /// Bytes of committed messages that may wait to be appended. Messages above it are announced as
    /// a tip, and other nodes read them from SQL.
    pub backlog_bytes_max: usize,
    /// Publishes that may wait for their numbers from Redis (`ephemeral`).
    pub numbering_max: usize,
    /// Entries per stream in one `Read`.
    pub read_count: u32,
    /// How long one `Read` waits for entries.
    pub read_block_ms: u64,
    /// Other nodes that this one knows at a time.
    pub peers_max: usize,
    /// Revoked tokens, changed users, freed users and settled processes that may wait to be
    /// appended, each.
    pub controls_max: usize,
    /// Larger entries are skipped.
    pub entry_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            prefix: "throng:".into(),
            socket_id_key: "socket_id".into(),
            map_prefix: "swoole:".into(),
            room_name: "room{id}".into(),
            log_streams: 16,
            log_maxlen: 10_000,
            lease_ms: 8_000,
            outage_poll_ms: 500,
            idle_poll_ms: 5_000,
            address: String::new(),
            ephemeral: false,
            inputs_max: 4_096,
            writes_max: 1_024,
            append_max: 512,
            append_bytes_max: 512 * 1024,
            backlog_bytes_max: 8 * 1024 * 1024,
            numbering_max: 1_024,
            read_count: 128,
            read_block_ms: 1_000,
            peers_max: 256,
            controls_max: 4_096,
            entry_bytes_max: 4 * 1024 * 1024,
        }
    }
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

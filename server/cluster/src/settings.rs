//! Settings of the machine as plain numbers and names.

/// What the operator may set, and the bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Before every key of ours: `throng:`.
    pub prefix: String,
    /// The original's hash user → fd: `socket_id`, with whatever prefix Laravel gives it.
    pub socket_id_key: String,
    /// Before the original's sets: `swoole:`.
    pub map_prefix: String,
    /// Name of a room in the original's sets: `room{id}`.
    pub room_name: String,
    /// Streams the rooms are spread over; the same on every node.
    pub log_streams: u16,
    /// Entries kept per stream, about.
    pub log_maxlen: u64,
    /// A node that says nothing for so long is gone. What it leaves behind is swept when others
    /// have seen that, within a tenth of this more.
    pub lease_ms: u64,
    /// How often the tips of all rooms are read from SQL while Redis cannot be used.
    pub outage_poll_ms: u64,
    /// The same while it can: what a node commits that is cut off, or dies in that moment, is in
    /// no log.
    pub idle_poll_ms: u64,
    /// What this node is called in the registry, for people: `host:port`.
    pub address: String,
    /// There is no SQL log: Redis numbers the messages.
    pub ephemeral: bool,

    /// Inputs that wait for shards before reading pauses.
    pub inputs_max: usize,
    /// Commands in one `Write`.
    pub writes_max: usize,
    /// Entries in one `Append`, and its bytes, about.
    pub append_max: usize,
    pub append_bytes_max: usize,
    /// Bytes of committed messages that wait to be appended. What is more is told as a tip, and
    /// read from SQL by those who lack it.
    pub backlog_bytes_max: usize,
    /// Publishes that wait for a number of Redis (`ephemeral`).
    pub numbering_max: usize,
    /// Entries per stream in one `Read`.
    pub read_count: u32,
    pub read_block_ms: u64,
    /// Nodes this one knows at a time.
    pub peers_max: usize,
    /// Revoked tokens, changed users and freed users that wait to be told, each.
    pub controls_max: usize,
    /// Longest entry that is decoded.
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

/// What makes this process differ from every other; from the operating system in production.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    pub random: [u8; 16],
    /// Wall clock at [`throng_core::Now`] zero, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

//! Settings and limits as plain numbers. The shell reads files and flags; the core sees this.

use crate::ids::{RoomId, Seq, ShardId};

/// One room as known at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    pub id: RoomId,
    pub name: Box<str>,
    pub last_seq: Seq,
}

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

/// When a session that joins a room leaves the room it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusive {
    /// Engine.IO 3 sessions only.
    Legacy,
    Always,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub shard: ShardId,
    pub shards: u8,

    pub ping_interval_ms: u32,
    pub ping_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    pub upgrade_timeout_ms: u32,
    pub max_payload: u32,
    /// Polling may be upgraded to WebSocket, and is advertised so.
    pub allow_upgrades: bool,
    pub fragments_max: u32,

    /// Sessions of this shard; one more is refused.
    pub sessions_max: u32,
    /// Bytes queued for one client before it is evicted as a slow consumer.
    pub outbound_bytes_max: u32,
    /// Packets queued for a polling client between two polls.
    pub poll_packets_max: u32,
    pub attachments_max: u32,
    pub json_depth_max: u32,
    /// Bytes of a session's events that wait for a reply of the store.
    pub pending_bytes_max: u32,
    pub pending_events_max: u32,

    pub rooms_per_session: u32,
    /// Sessions of one user on this shard.
    pub sessions_per_user: u32,
    pub message_chars_max: u32,
    pub image_bytes_max: u32,
    /// Events that are not images are bounded by this, whatever `max_payload` says.
    pub event_bytes_max: u32,
    /// 0 means no limit.
    pub publish_per_s: u32,
    pub publish_burst: u32,
    pub join_per_s: u32,
    pub join_burst: u32,

    pub exclusive: Exclusive,
    pub grace_ms: u32,
    pub rooms_auto_create_max: u32,
    /// Of a room: whole rosters told again, and the least that a small event counts as.
    pub roster_budget_bytes_per_s: u64,
    /// Of a room: what a member must hear once, first rosters and the changes of delta members.
    pub roster_news_bytes_per_s: u64,
    /// Roster traffic of one turn, of all rooms; a send counts as 8 KiB beside its bytes. No more
    /// than 64 times as much in a second.
    pub roster_bytes_per_turn: u64,
    pub unread_window_ms: u32,
    /// Messages of one room that wait for the commit before theirs.
    pub room_backlog_max: u32,
    /// Rooms keep no messages; an ack means accepted.
    pub ephemeral: bool,
    /// One of several nodes: the store numbers messages, and others have members too.
    pub cluster: bool,
    /// The store numbers messages for one node too: what a database server has committed without
    /// saying so takes numbers that home does not know of.
    pub store_numbers: bool,
    /// Pairs of a user and another node that has him in a room of this shard.
    pub remote_present_max: u32,
    /// Items of the lane from this shard to itself.
    pub own_lane_max: u32,
}

impl Settings {
    /// Production defaults for one shard of one.
    pub const DEFAULT: Settings = Settings {
        shard: ShardId(0),
        shards: 1,
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
        pending_bytes_max: 8 * 1024 * 1024,
        pending_events_max: 1024,
        rooms_per_session: 64,
        sessions_per_user: 64,
        message_chars_max: 2000,
        image_bytes_max: 3 * 1024 * 1024,
        event_bytes_max: 64 * 1024,
        publish_per_s: 20,
        publish_burst: 60,
        join_per_s: 10,
        join_burst: 40,
        exclusive: Exclusive::Legacy,
        grace_ms: 0,
        rooms_auto_create_max: 0,
        roster_budget_bytes_per_s: 32 * 1024 * 1024,
        roster_news_bytes_per_s: 512 * 1024 * 1024,
        roster_bytes_per_turn: 16 * 1024 * 1024,
        unread_window_ms: 500,
        room_backlog_max: 4096,
        ephemeral: false,
        cluster: false,
        store_numbers: false,
        remote_present_max: 1_000_000,
        own_lane_max: 1024,
    };
}

const _: () = assert!(
    Settings::DEFAULT.max_payload <= Settings::DEFAULT.outbound_bytes_max,
    "one payload must fit the queue"
);

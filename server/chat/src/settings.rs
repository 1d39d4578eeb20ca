//! Settings and limits of the chat as plain numbers, the same on all shards of a process.

use crate::ids::{RoomId, Seq};

/// One room as known at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// The room.
    pub id: RoomId,
    /// Its name, for people.
    pub name: Box<str>,
    /// Number of its last message; 0 if it has none.
    pub last_seq: Seq,
}

/// When a session that joins a room leaves the room it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusive {
    /// Engine.IO 3 sessions only.
    Legacy,
    /// Every session.
    Always,
    /// No session.
    Never,
}

/// Limits and modes, the same on all shards of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Those of the engine.
    pub engine: throng_engine::Settings,

    /// Bytes of a session's events that wait for a reply of the store.
    pub pending_bytes_max: u32,
    /// A session's events that wait for a reply of the store.
    pub pending_events_max: u32,

    /// Rooms that one session may be in.
    pub rooms_per_session: u32,
    /// Sessions of one user on this shard.
    pub sessions_per_user: u32,
    /// Unicode characters of one message.
    pub message_chars_max: u32,
    /// Bytes of one image, decoded.
    pub image_bytes_max: u32,
    /// Events that are not images are bounded by this, whatever `max_payload` says.
    pub event_bytes_max: u32,
    /// Messages per second of one session; 0 means no limit.
    pub publish_per_s: u32,
    /// Messages that a session may publish at once.
    pub publish_burst: u32,
    /// Joins and logins per second of one session; 0 means no limit.
    pub join_per_s: u32,
    /// Joins and logins that a session may send at once.
    pub join_burst: u32,

    /// Which sessions are in one room at a time.
    pub exclusive: Exclusive,
    /// How long a member stays in the roster after its session ended, in ms.
    pub grace_ms: u32,
    /// Rooms that joins may create; 0 means that all rooms exist at start.
    pub rooms_auto_create_max: u32,
    /// Of a room: whole rosters sent again, and the least that a small event counts as.
    pub roster_budget_bytes_per_s: u64,
    /// Of a room: what a member must get once, first rosters and the changes of delta members.
    pub roster_news_bytes_per_s: u64,
    /// Roster traffic of one turn, of all rooms; a send counts as 8 KiB and its bytes. No more
    /// than 64 times as much in a second.
    pub roster_bytes_per_turn: u64,
    /// Time between two `count` events of a session, in ms.
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
    /// Pairs of a user and another node that the user is on in a room of this shard.
    pub remote_present_max: u32,
}

impl Settings {
    /// Production defaults.
    pub const DEFAULT: Settings = Settings {
        engine: throng_engine::Settings::DEFAULT,
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
    };
}

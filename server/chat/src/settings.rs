//! Settings and limits of the chat as plain numbers, the same on all shards of a process.

use crate::numbering::Numbering;

throng_tables::choices! {
    /// When a session that joins a room leaves the room it is in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Exclusive {
        /// Engine.IO 3 sessions only.
        Legacy = "legacy",
        /// Every session.
        Always = "always",
        /// No session: it is in several rooms at once.
        Never = "never",
    }
}

throng_tables::settings! {
    /// Limits and choices of the chat.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Settings;

    [""]
    /// Rooms keep no messages; an ack then means accepted, not stored.
    ephemeral: bool = false;

    ["limits"]
    /// Sessions of one user on one shard; one more is closed.
    sessions_per_user_max: u32 = 64, "sessions", 1..=1 << 24;
    /// Rooms one session may be in.
    rooms_per_session_max: u32 = 64, "rooms", 1..=1 << 20;
    /// Bytes of one session's events that wait for an answer of the store.
    pending_bytes_max: u32 = 8 * 1024 * 1024, "bytes", 4096..=1 << 30;
    /// Events of one session that wait for an answer of the store.
    pending_events_max: u32 = 1024, "events", 1..=1 << 20;
    /// Characters of one message.
    message_chars_max: u32 = 2000, "characters", 1..=1 << 20;
    /// Bytes of one decoded image.
    image_bytes_max: u32 = 3 * 1024 * 1024, "bytes", 1..=64 << 20;
    /// Bytes of one event without an image, whatever `max_payload` says.
    event_bytes_max: u32 = 64 * 1024, "bytes", 1024..=16 << 20;
    /// Messages a user may publish, in all sessions together; 0: no limit.
    publish_per_s: u32 = 20, "messages per second", 0..=1 << 20;
    /// Messages a user may publish at once.
    publish_burst: u32 = 60, "messages", 1..=1 << 20;
    /// Joins of a user, in all sessions together; 0: no limit.
    join_per_s: u32 = 10, "joins per second", 0..=1 << 20;
    /// Joins of a user at once.
    join_burst: u32 = 40, "joins", 1..=1 << 20;
    /// Tokens that are not valid, of one client, an IPv4 address or an IPv6 /64 network, on its sockets and in
    /// its requests; 0: no limit.
    invalid_tokens_per_s: u32 = 10, "tokens per second", 0..=1 << 20;
    /// Such tokens at once, with all that are being looked up: each connection of a client may have one.
    invalid_tokens_burst: u32 = 8192, "tokens", 1..=1 << 24;
    /// Images a user may send in messages and uploads, and as many at once; 0: no limit.
    uploads_per_minute: u32 = 60, "images per minute", 0..=1 << 20;
    /// Bytes of texts and images that a user who has sent nothing for a day may send. What they have sent
    /// comes back evenly within a day. Counted by each node since its start; 0: no limit.
    user_mib_per_day: u32 = 512, "MiB", 0..=1 << 20;
    /// Messages of one room that wait for the commit before theirs.
    room_backlog_max: u32 = 4096, "messages", 1..=1 << 20;
    /// Client ids of messages that a shard remembers for ten minutes where rooms keep no messages; a
    /// message with one more is refused.
    cids_max: u32 = 256 * 1024, "messages", 1..=1 << 24;
    /// The same for one user: at most this part of them is theirs.
    cids_per_user_max: u32 = 16 * 1024, "messages", 1..=1 << 24;
    /// Shortest time between two reports of unread counts to one session.
    unread_window_ms: u32 = 500, "ms", 10..=60_000;

    ["unread"]
    /// Time of a shard for unread counts. What does not fit is told later.
    core_share: u32 = 5, "percent", 1..=100;
    /// While there are at most so many rooms, users follow them all: they are told the counts also of those
    /// that they have never entered.
    follow_all_rooms_max: u32 = 16, "rooms", 0..=1 << 20;

    ["rooms"]
    /// Who leaves the room they are in when they join another: sessions of Engine.IO 3 (legacy),
    /// all, or none.
    exclusive: Exclusive = Exclusive::Legacy;
    /// Rooms that joins may create; 0: joining an unknown room is refused.
    auto_create_max: u32 = 0, "rooms", 0..=1 << 20;

    ["presence"]
    /// Time a user stays in the roster after their last session has left.
    grace_ms: u32 = 0, "ms", 0..=600_000;
    /// Roster bytes of one room for whole rosters sent again to those who had one; an event counts
    /// as 1024 bytes at least.
    roster_repeat_bytes_per_s: u64 = 32 * 1024 * 1024, "bytes per second", 1024..=1 << 40;
    /// Roster bytes of one room for what each member must receive once: first rosters, and changes
    /// for members in mode delta.
    roster_update_bytes_per_s: u64 = 512 * 1024 * 1024, "bytes per second", 1024..=1 << 40;

    ["shard"]
    /// Roster bytes that all rooms of a shard may send in one turn; a send counts as 8 KiB more. In a
    /// second they may send 64 times as much.
    roster_bytes_per_turn: u64 = 16 * 1024 * 1024, "bytes", 1024..=1 << 40;

    fixed
    /// Those of the engine.
    engine: throng_engine::Settings = throng_engine::Settings::default();
    /// One of several nodes: the store numbers messages, and others have members too.
    cluster: bool = false;
    /// The store numbers messages for one node too: what a database server has committed without
    /// saying so takes numbers that home does not know of.
    store_numbers: bool = false;
    /// Pairs of a user and another node that has them in a room of this shard.
    remote_present_max: u32 = 1_000_000;
}

impl Settings {
    /// Follows from what is kept, and who else writes.
    pub fn numbering(&self) -> Numbering {
        match (self.ephemeral, self.cluster, self.store_numbers) {
            (true, false, _) => Numbering::Home,
            (true, true, _) => Numbering::Redis,
            (false, false, false) => Numbering::HomeChecked,
            (false, true, _) | (false, false, true) => Numbering::Database,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_numbers_follows_from_what_is_kept_and_who_else_writes() {
        for (ephemeral, cluster, store_numbers, numbering) in [
            (true, false, false, Numbering::Home),
            (true, false, true, Numbering::Home),
            (true, true, false, Numbering::Redis),
            (true, true, true, Numbering::Redis),
            (false, false, false, Numbering::HomeChecked),
            (false, false, true, Numbering::Database),
            (false, true, false, Numbering::Database),
            (false, true, true, Numbering::Database),
        ] {
            let settings = Settings { ephemeral, cluster, store_numbers, ..Settings::default() };
            assert_eq!(settings.numbering(), numbering);
            assert_eq!(numbering.keeps_messages(), !ephemeral);
        }
    }
}

//! What the chat counts: plain numbers, one for each thing that can happen.

throng_tables::metrics! {
    /// The counters and gauges of the chat of one shard; those of the engine are in
    /// [`throng_engine::Counters`].
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Counters: u64, "";

    Gauge rooms "rooms": "Known rooms.";
    Gauge members "sessions": "Sessions in rooms; a session in two rooms counts twice.";
    Gauge cids_kept "messages": "Client ids of messages remembered where rooms keep no messages.";
    Gauge users_on_shards "users": "Users with a session, added up over the shards: a user with \
        sessions on two shards counts twice.";
    Counter joins "sessions": "Sessions that entered a room.";
    Counter leaves "sessions": "Sessions that left a room.";
    Counter messages_in "messages": "Messages accepted for a room.";
    Counter messages_repeated "messages": "Messages answered with the number of an earlier one that \
        had the same client id.";
    Counter token_lookups_refused "tokens": "Tokens not looked up, because their client had shown too many \
        that are not valid.";
    Counter cids_full "messages": "Messages refused because no more client ids could be remembered.";
    Counter emitted "events": "Events of other programs handed to sessions.";
    Counter shed "events": "Unread counts postponed because the client reads too slowly; a later \
        one replaces them.";
    Counter counts_sent "events": "Unread counts sent after a number had changed.";
    Counter counts_ridden "events": "Those of them that left together with other bytes, at no charge to \
        unread.core_share.";
    Counter roster_broadcasts "events": "Rosters and presence changes sent to rooms.";
    Counter roster_bytes "bytes": "Bytes of rosters and presence changes, times their recipients.";
    Counter roster_news_bytes "bytes": "The part of roster_bytes that each member must receive \
        once: first rosters and the changes for members in mode delta.";
    Counter rosters_put_off "rosters": "Rosters postponed to a later turn because this one had \
        sent enough.";
    Counter cluster_messages "messages": "Messages received from other nodes.";
    Counter cluster_beyond "messages": "Messages of other nodes dropped because they were too far \
        ahead to keep; they are read from the store later.";
    Counter cluster_ignored "entries": "Entries of other nodes about rooms of other shards, or \
        with impossible numbers.";
    Counter stale_replies "replies": "Answers of the store that came after the session had ended, \
        or after another question or answer about the same.";
    Counter fetches "requests": "Requests to read missed messages of other nodes from the store.";
    Counter fetches_failed "requests": "Such requests that failed: until one succeeds, the room \
        delivers nothing new of other nodes.";
    Counter remote_present_refused "users": "Users of other nodes not added to a roster because \
        the bound was reached: rosters are incomplete.";

    [labelled]
    Counter lane_refusals "requests": "Requests refused because a lane was full." {
        lane_refusals_request: lane = "request";
        lane_refusals_delivery: lane = "delivery";
        lane_refusals_store: lane = "store";
        lane_refusals_signal: lane = "signal";
    }
    Counter refusals "requests": "Requests refused, by error code." {
        refused_unauthenticated: code = "unauthenticated";
        refused_invalid_argument: code = "invalid_argument";
        refused_unknown_event: code = "unknown_event";
        refused_unknown_room: code = "unknown_room";
        refused_not_member: code = "not_member";
        refused_too_large: code = "too_large";
        refused_rate_limited: code = "rate_limited";
        refused_quota_exceeded: code = "quota_exceeded";
        refused_room_limit: code = "room_limit";
        refused_busy: code = "busy";
        refused_storage_unavailable: code = "storage_unavailable";
        refused_unknown_outcome: code = "unknown_outcome";
        refused_binary_unsupported: code = "binary_unsupported";
        refused_image_invalid: code = "image_invalid";
    }
}

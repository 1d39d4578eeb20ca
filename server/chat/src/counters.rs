//! What the chat counts.

throng_engine::counters! {
    /// What the chat counts; what the engine counts is in [`throng_engine::Counters`].
    Counters:
    /// Gauges.
    rooms,
    members,
    users_online,
    joins,
    leaves,
    messages_in,
    shed,
    roster_broadcasts,
    roster_bytes,
    /// Those of them that members must get once: first rosters and changes.
    roster_news_bytes,
    /// Put off to a later turn, because this one had sent enough.
    rosters_put_off,
    lane_refusals_request,
    lane_refusals_delivery,
    lane_refusals_store,
    lane_refusals_signal,
    refused_unauthenticated,
    refused_invalid_argument,
    refused_unknown_event,
    refused_unknown_room,
    refused_not_member,
    refused_too_large,
    refused_rate_limited,
    refused_room_limit,
    refused_busy,
    refused_storage_unavailable,
    refused_binary_unsupported,
    refused_image_invalid,
    /// Sessions that ended and whose use of their rates was beyond what is remembered.
    debts_forgotten,
    /// Messages of other nodes, and such as were too far ahead to keep.
    cluster_messages,
    cluster_beyond,
    /// What the cluster said of rooms that are not ours, or with numbers that cannot be.
    cluster_ignored,
    /// Asked of the log what others said and this node missed.
    fetches,
    fetches_failed,
    /// Users of other nodes beyond the bound.
    remote_present_refused,
    /// Events of other programs handed to sessions.
    emitted,
}

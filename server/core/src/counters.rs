//! Plain counters, one per thing that can happen. The shell turns them into metrics; tests use
//! them as marks.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Grows only, unless the comment says gauge.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            pub fn values(&self) -> [u64; Counters::NAMES.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

counters! {
    /// Gauges: sessions by transport and protocol.
    sessions_ws_eio3,
    sessions_ws_eio4,
    sessions_polling_eio3,
    sessions_polling_eio4,
    /// Gauges.
    rooms,
    members,
    users_online,
    opened_ws_eio3,
    opened_ws_eio4,
    opened_polling_eio3,
    opened_polling_eio4,
    upgrades,
    closed_transport_close,
    closed_transport_error,
    closed_ping_timeout,
    closed_connect_timeout,
    closed_client_disconnect,
    closed_parse_error,
    closed_too_large,
    closed_slow_consumer,
    closed_limit,
    closed_server_stop,
    closed_polling_overlap,
    joins,
    leaves,
    events_in,
    messages_in,
    deliveries,
    events_out,
    bytes_in,
    shed,
    evictions,
    roster_broadcasts,
    roster_bytes,
    /// Those of them that are paid as news.
    roster_news_bytes,
    /// Told in a later turn, because this one had told enough.
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
    /// Sessions that ended and whose use of their rates there was no room to remember.
    debts_forgotten,
    handshakes_refused,
    stale_deliveries,
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

//! What the engine counts: plain numbers, one for each thing that can happen.

throng_tables::metrics! {
    /// The counters and gauges of the engine of one shard.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Counters: u64, "";

    Counter upgrades "sessions": "Sessions moved from long-polling to a WebSocket.";
    Counter events_in "events": "Events received from clients.";
    Counter deliveries "messages": "Messages handed to member sessions.";
    Counter stale_deliveries "items": "Items of the delivery lanes that came after the session had \
        left the room or ended.";
    Counter stale_packets "packets": "Packets of clients that the server had disconnected before.";
    Counter events_out "events": "Events sent to clients.";
    Counter bytes_in "bytes": "Bytes received on WebSockets.";
    Counter reads_paused "pauses": "Times a client was read later because it had used up its work rate.";
    Gauge bodies "bodies": "Bodies of long-polling POSTs that are arriving.";
    Counter bodies_too_slow "bodies": "Bodies of long-polling POSTs that did not arrive in time.";
    Counter sessions_over_budget "sessions": "Sessions ended because all together held too many bytes.";
    Counter polling_displaced "sessions": "Sessions on long-polling whose users were not known, ended because \
        limits.anonymous.polling_sessions_max others came after them.";
    Counter late_turns "turns": "Turns that came more than a second after a deadline.";
    Counter evictions "sessions": "Sessions closed because they exceeded a limit.";

    [labelled]
    Gauge sessions "sessions": "Open sessions." {
        sessions_ws_eio3: transport = "websocket", protocol = "eio3";
        sessions_ws_eio4: transport = "websocket", protocol = "eio4";
        sessions_polling_eio3: transport = "polling", protocol = "eio3";
        sessions_polling_eio4: transport = "polling", protocol = "eio4";
    }
    Counter sessions_opened "sessions": "Sessions opened." {
        opened_ws_eio3: transport = "websocket", protocol = "eio3";
        opened_ws_eio4: transport = "websocket", protocol = "eio4";
        opened_polling_eio3: transport = "polling", protocol = "eio3";
        opened_polling_eio4: transport = "polling", protocol = "eio4";
    }
    Counter sessions_closed "sessions": "Sessions ended, by end reason." {
        closed_transport_close: reason = "transport_close";
        closed_transport_error: reason = "transport_error";
        closed_ping_timeout: reason = "ping_timeout";
        closed_connect_timeout: reason = "connect_timeout";
        closed_client_disconnect: reason = "client_disconnect";
        closed_parse_error: reason = "parse_error";
        closed_too_large: reason = "too_large";
        closed_slow_consumer: reason = "slow_consumer";
        closed_limit: reason = "limit";
        closed_server_disconnect: reason = "server_disconnect";
        closed_server_stop: reason = "server_stop";
        closed_polling_overlap: reason = "polling_overlap";
    }
}

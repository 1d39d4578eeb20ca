//! What the HTTP thread counts.

use std::sync::atomic::AtomicU64;

throng_tables::metrics! {
    /// The connections of the HTTP thread.
    #[derive(Debug, Default)]
    pub struct HttpCounters: AtomicU64, "http_";

    Gauge lingering "connections": "Connections that were answered and closed by the server, and whose \
        clients have some time to read that.";

    Counter heads_displaced "connections": "Connections closed while a request head was arriving, because \
        too many others were.";

    Counter idle_displaced "connections": "Connections closed between two requests, because too many others \
        were idle.";
    Counter requests_delayed "requests": "Requests that were served later, because their client sends more \
        than http.requests_per_s.";
    Counter requests_refused "requests": "Requests refused because they would have waited more than 2 s for \
        http.requests_per_s, or while 1024 others waited.";

    Counter requests_crowded_out "requests": "Requests refused because http.requests_per_ip_max others of their \
        client were being served.";

    [labelled]
    Counter lingered "connections": "Such connections closed for good, by what ended the wait; \
        displaced: too many others came after it." {
        lingered_client: by = "client";
        lingered_bytes: by = "bytes";
        lingered_time: by = "time";
        lingered_displaced: by = "displaced";
    }
}

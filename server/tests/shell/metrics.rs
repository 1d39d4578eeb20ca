//! What `/metrics` has.

use crate::process::{Server, read_text};

const GAUGES: &[&str] =
    &["connections", "sessions", "rooms", "members", "users_online", "lane_depth"];
const COUNTERS: &[&str] = &[
    "sessions_opened_total",
    "sessions_closed_total",
    "upgrades_total",
    "joins_total",
    "leaves_total",
    "messages_in_total",
    "deliveries_total",
    "events_out_total",
    "flushes_total",
    "bytes_in_total",
    "bytes_out_total",
    "lane_refusals_total",
    "refusals_total",
    "shed_total",
    "evictions_total",
    "roster_broadcasts_total",
    "roster_bytes_total",
    "roster_news_bytes_total",
    "store_commits_total",
    "http_requests_total",
];

#[test]
fn every_promised_metric_is_exposed_with_its_type() {
    let server = Server::throng(&["--shards", "2"], &[]);
    let mut socket = server.websocket("/socket.io/?EIO=4&transport=websocket");
    assert!(read_text(&mut socket).starts_with("0{"));
    server.get("/health");
    let text = server.get("/metrics");
    for name in GAUGES {
        assert!(text.contains(&format!("# TYPE throng_{name} gauge\n")), "{name} in\n{text}");
        assert!(text.contains(&format!("\nthrong_{name}")), "{name} in\n{text}");
    }
    for name in COUNTERS {
        assert!(text.contains(&format!("# TYPE throng_{name} counter\n")), "{name} in\n{text}");
        assert!(text.contains(&format!("\nthrong_{name}")), "{name} in\n{text}");
    }
    assert!(text.contains("throng_build_info{version="), "{text}");
    assert!(text.contains("throng_store_commit_seconds_bucket{le=\"+Inf\"}"), "{text}");
    assert!(text.contains(r#"throng_connections{transport="websocket"} 1"#), "{text}");
    let session = r#"throng_sessions{transport="websocket",protocol="eio4"} 1"#;
    assert!(text.contains(session), "{text}");
    assert!(
        text.contains(r#"throng_http_requests_total{route="/health",status="200"} 1"#),
        "{text}"
    );
}

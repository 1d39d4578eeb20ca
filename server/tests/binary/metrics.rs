//! What the server says about itself.

use std::collections::BTreeSet;

use throng::metrics::families;
use throng_tables::metrics::{Kind, Series};

use crate::process::{Server, read_text};
use throng_kit::redis::Redis;

/// Dashboards and alerts of operators use these names: none may go.
const PUBLISHED: &[(&str, &str)] = &[
    ("throng_connections", "gauge"),
    ("throng_sessions", "gauge"),
    ("throng_sessions_opened_total", "counter"),
    ("throng_sessions_closed_total", "counter"),
    ("throng_upgrades_total", "counter"),
    ("throng_handshakes_refused_total", "counter"),
    ("throng_connections_accepted_total", "counter"),
    ("throng_connections_refused_total", "counter"),
    ("throng_handshake_timeouts_total", "counter"),
    ("throng_connections_handed_over_total", "counter"),
    ("throng_rooms", "gauge"),
    ("throng_members", "gauge"),
    ("throng_users_online", "gauge"),
    ("throng_joins_total", "counter"),
    ("throng_leaves_total", "counter"),
    ("throng_events_in_total", "counter"),
    ("throng_messages_in_total", "counter"),
    ("throng_deliveries_total", "counter"),
    ("throng_events_out_total", "counter"),
    ("throng_shed_total", "counter"),
    ("throng_evictions_total", "counter"),
    ("throng_roster_broadcasts_total", "counter"),
    ("throng_roster_bytes_total", "counter"),
    ("throng_roster_news_bytes_total", "counter"),
    ("throng_rosters_put_off_total", "counter"),
    ("throng_refusals_total", "counter"),
    ("throng_turns_total", "counter"),
    ("throng_flushes_total", "counter"),
    ("throng_bytes_in_total", "counter"),
    ("throng_bytes_out_total", "counter"),
    ("throng_lane_depth", "gauge"),
    ("throng_lane_refusals_total", "counter"),
    ("throng_logs_dropped_total", "counter"),
    ("throng_store_commits_total", "counter"),
    ("throng_store_commit_failures_total", "counter"),
    ("throng_store_commit_retries_total", "counter"),
    ("throng_store_unanswered_total", "counter"),
    ("throng_store_queue_depth", "gauge"),
    ("throng_store_commit_seconds", "histogram"),
    ("throng_backplane_up", "gauge"),
    ("throng_backplane_lease", "gauge"),
    ("throng_backplane_peers", "gauge"),
    ("throng_backplane_lag_ms", "gauge"),
    ("throng_backplane_waiting", "gauge"),
    ("throng_backplane_backlog_bytes", "gauge"),
    ("throng_backplane_events_total", "counter"),
    ("throng_backplane_orders_total", "counter"),
    ("throng_backplane_bounds_hit_total", "counter"),
    ("throng_adapter_subscribed", "gauge"),
    ("throng_adapter_events_in_total", "counter"),
    ("throng_adapter_skipped_total", "counter"),
    ("throng_adapter_published_total", "counter"),
    ("throng_adapter_unpublished_total", "counter"),
    ("throng_http_requests_total", "counter"),
    ("throng_build_info", "gauge"),
];

/// Lines of `text` that begin with `# what `, as name and rest.
fn comments<'a>(text: &'a str, what: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("# {what} ");
    text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once(' ')).collect()
}

/// The family of a sample: without labels, and without what a histogram adds.
fn family<'a>(sample: &'a str, types: &BTreeSet<(&str, &str)>) -> &'a str {
    let name = sample.split(['{', ' ']).next().expect("a name");
    let parts = ["_bucket", "_sum", "_count"].into_iter();
    let base = parts.filter_map(|part| name.strip_suffix(part));
    base.into_iter().find(|base| types.contains(&(*base, "histogram"))).unwrap_or(name)
}

#[test]
fn metrics_are_those_of_the_tables() {
    let redis = Redis::start(&[]);
    let server = Server::throng(&["--shards", "2", "--redis", &redis.url()], &[]);
    server.get("/health");
    let text = server.get("/metrics");
    let types: BTreeSet<(&str, &str)> = comments(&text, "TYPE").into_iter().collect();
    let declared: Vec<(String, &str)> =
        families().map(|family| (family.exported(), family.kind.name())).collect();
    let declared: BTreeSet<(&str, &str)> =
        declared.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    assert_eq!(types, declared);
    assert_eq!(declared.len(), families().count(), "a name is declared twice");
    for published in PUBLISHED {
        assert!(types.contains(published), "{published:?} in\n{text}");
    }

    let helps: BTreeSet<&str> = comments(&text, "HELP").iter().map(|(name, _)| *name).collect();
    let names: BTreeSet<&str> = types.iter().map(|(name, _)| *name).collect();
    assert_eq!(helps, names);
    let body = text.split_once("\r\n\r\n").expect("a head and a body").1;
    let samples: BTreeSet<&str> = body
        .lines()
        .filter(|line| line.starts_with("throng_"))
        .map(|sample| family(sample, &types))
        .collect();
    assert_eq!(samples, names, "a sample without a type, or a family without a sample");
}

#[test]
fn every_series_is_exposed_before_anything_happened() {
    let server = Server::throng(&["--shards", "2"], &[]);
    let text = server.get("/metrics");
    let of_redis = ["backplane_", "adapter_"];
    for family in families() {
        if of_redis.iter().any(|prefix| family.name.starts_with(prefix)) {
            continue;
        }
        let (Series::Fixed(series), false) = (family.series, family.kind == Kind::Histogram) else {
            continue;
        };
        for labels in series {
            let labels: Vec<String> =
                labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            let labels = match labels.len() {
                0 => String::new(),
                _ => format!("{{{}}}", labels.join(",")),
            };
            let sample = format!("\n{}{labels} ", family.exported());
            assert!(text.contains(&sample), "{sample} in\n{text}");
        }
    }
}

#[test]
fn what_happens_is_counted() {
    let server = Server::throng(&["--shards", "2"], &[]);
    let mut socket = server.websocket("/socket.io/?EIO=4&transport=websocket");
    assert!(read_text(&mut socket).starts_with("0{"));
    server.get("/health");
    let text = server.get("/metrics");
    for sample in [
        "throng_build_info{version=",
        "throng_store_commit_seconds_bucket{le=\"+Inf\"}",
        r#"throng_connections{transport="websocket"} 1"#,
        r#"throng_sessions{transport="websocket",protocol="eio4"} 1"#,
        r#"throng_sessions_opened_total{transport="websocket",protocol="eio4"} 1"#,
        r#"throng_http_requests_total{route="/health",status="200"} 1"#,
    ] {
        assert!(text.contains(sample), "{sample} in\n{text}");
    }
}

#[test]
fn the_connections_that_may_be_open_are_a_gauge() {
    let server = Server::throng(&["--shards", "1", "--limits-connections-max", "70"], &[]);
    let text = server.get("/metrics");
    assert!(text.contains("\nthrong_connections_max 70\n"), "{text}");
}

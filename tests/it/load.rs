//! The load generator against the server: both must have counted the same.

use std::fs;

use serde_json::Value;
use throng_tests::http;
use throng_tests::server::{Plan, binary, fresh_dir};

/// What is counted is what matters, not how fast it goes: a busy machine voids nothing here.
const LENIENT: &str =
    "drain_s = 60.0\n[distrust]\nbusy_max = 2.0\nstarved_max = 2.0\nlag_p99_max_ms = 60000.0\n";

#[track_caller]
fn check(shards: u32, scenario: &str) -> u64 {
    let server = Plan::throng(shards).args(&["--unlimited", "--ephemeral"]).start();
    let url = format!("http://{}", server.address);
    let dir = fresh_dir();
    let (file, json) = (dir.join("scenario.toml"), dir.join("report.json"));
    let metrics = format!("server_metrics = \"{url}/metrics\"\n");
    fs::write(&file, format!("{metrics}{scenario}{LENIENT}")).unwrap();
    let mut generator = throng_kit::own(binary("throng-loadgen"));
    generator.arg("run").arg(&file).args(["--target", &url, "--quiet", "--json"]).arg(&json);
    let output = generator.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{said}", output.status);
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let number = |field: &str| report[field].as_u64().unwrap_or_else(|| panic!("{field}\n{said}"));

    assert_eq!(report["void"], false, "{said}");
    assert_eq!(report["completeness"], 1.0, "{said}");
    for fault in ["missing", "duplicated", "out_of_order", "unknown", "outside_membership"] {
        assert_eq!(number(fault), 0, "{fault}\n{said}");
    }
    let came = number("delivered") + number("edge");
    assert!(came > 1_000, "{said}");
    let counted = report["server"]["counted_deliveries"].as_u64().expect("the server was asked");
    // A delivery is counted when it is queued. What is queued for a client whose connection ends in the
    // same turn is not sent any more.
    let under_way = number("under_way");
    assert!(
        (came..=came + under_way).contains(&counted),
        "{counted} counted, {came} received, {under_way} under way to clients that hung up\n{said}"
    );
    let text = http::get(server.address, "/metrics").text();
    let counted = |metric: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("{metric}"))
    };
    assert_eq!(counted("throng_messages_in_total"), number("published"), "{said}");
    assert_eq!(counted("throng_joins_total"), number("joins"), "{said}");
    under_way
}

#[test]
fn the_servers_metrics_agree_with_the_generator() {
    let scenario = "clients = 30\npublishers = 4\nduration_s = 1.5\nwarmup_s = 0.3\n\
                    users = { register = 10 }\nload = { rate = 120.0, arrivals = \"poisson\" }\n";
    assert_eq!(check(1, scenario), 0, "no connection ends before the run does");
}

#[test]
fn they_agree_over_shards_rooms_and_people_who_come_and_go() {
    let scenario = "clients = 30\nrooms = 3\npublishers = 6\nwarmup_s = 0.3\npresence = \"delta\"\n\
                    users = { register = 30 }\nload = { rate = 200.0 }\n\
                    phases = [{ kind = \"churn\", duration_s = 1.5, per_s = 40.0 }, \
                    { kind = \"reconnect\", duration_s = 1.5, fraction = 0.5, over_s = 0.5 }]\n";
    check(3, scenario);
}

#[test]
fn a_default_run_works_against_a_default_server() {
    let server = Plan::throng(1).args(&["--ephemeral"]).start();
    let json = fresh_dir().join("report.json");
    let file = fresh_dir().join("scenario.toml");
    fs::write(&file, LENIENT).unwrap();
    let mut generator = throng_kit::own(binary("throng-loadgen"));
    generator.arg("run").arg(&file).args(["--quiet", "--duration", "2", "--json"]).arg(&json);
    let output =
        generator.args(["--target", &format!("http://{}", server.address)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{said}", output.status);
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["joined"], 100, "{said}");
    assert_eq!(report["completeness"], 1.0, "{said}");
    assert_eq!(report["errors"], serde_json::json!({}), "{said}");
}

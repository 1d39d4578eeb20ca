//! What is written after a run, and what is made of it.

mod support;

use std::path::Path;
use std::process::Output;

use support::server::{self, Options};
use support::{LENIENT, run, scratch};

fn tool(args: &[&str]) -> Output {
    throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen")).args(args).output().unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_run_writes_its_files_and_they_merge_compare_and_draw() {
    let (_server, url) = server::start(Options::default());
    let scenario = format!(
        "protocol = 'raw'\nclients = 5\nduration_s = 0.6\nwarmup_s = 0.1\n[load]\nrate = 50.0\n{LENIENT}"
    );
    let folder = scratch();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (page, prefix) = (path("run.html"), path("run"));
    let outcome = run(&url, &scenario, &["--html", &page, "--hgrm", &prefix]);
    assert_eq!(outcome.code, 0, "{}", outcome.summary);
    assert!(text(&folder.join("run.html")).contains("Delivery latency by percentile"));
    assert!(text(&folder.join("run.delivery.hgrm")).contains("#[Max"));

    let (good, bad) = (folder.join("good.json"), folder.join("bad.json"));
    std::fs::write(&good, outcome.report.to_string()).unwrap();
    let mut worse = outcome.report.clone();
    worse["deliveries_per_s"] = (outcome.number("deliveries_per_s") / 2.0).into();
    std::fs::write(&bad, worse.to_string()).unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());

    assert_eq!(tool(&["compare", good, good]).status.code(), Some(0));
    let compared = tool(&["compare", good, bad, "--html", &path("compare.html")]);
    assert_eq!(compared.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&compared.stdout).contains("-50.0%  worse"));
    assert!(text(&folder.join("compare.html")).contains("-50.0%  worse"));
    assert_eq!(tool(&["compare", good, bad, "--threshold", "60"]).status.code(), Some(0));

    let merged = tool(&["merge", good, good, "--json", &path("merged.json")]);
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    let merged: serde_json::Value =
        serde_json::from_str(&text(&folder.join("merged.json"))).unwrap();
    assert_eq!(merged["delivered"], 2 * outcome.number("delivered") as u64);
    assert_eq!(merged["latency_us"]["max"], outcome.report["latency_us"]["max"]);
}

#[test]
fn the_promised_fields_are_there() {
    let (_server, url) = server::start(Options::default());
    let scenario = format!("clients = 3\nduration_s = 0.4\nwarmup_s = 0.1\n{LENIENT}");
    let pid = std::process::id().to_string();
    let outcome = run(&url, &scenario, &["--server-pid", &pid]);
    for field in [
        "published",
        "expected",
        "delivered",
        "duplicated",
        "out_of_order",
        "deliveries_per_s",
        "latency_us.p50",
        "latency_us.p90",
        "latency_us.p99",
        "latency_us.p999",
        "latency_us.max",
        "server.cpu_us_per_delivery",
        "server.rss_per_connection_bytes",
    ] {
        assert!(outcome.number(field) >= 0.0 || field.contains("rss"), "{field}");
    }
    assert_eq!(outcome.report["schema"], "throng-loadgen/1");
    assert_eq!(outcome.report["void"], false);
    assert_eq!(outcome.report["stopped_by"], "duration");
}

#[test]
fn nonsense_is_an_error_and_not_a_report() {
    for args in [
        &["run", "--target", "https://127.0.0.1:1"][..],
        &["run", "--target", "http://127.0.0.1:1", "--clients", "2", "--publishers", "3"],
        &["run", "/no/such/scenario.toml"],
        &["run"],
    ] {
        let output = tool(args);
        assert_eq!(output.status.code(), Some(1), "{args:?} {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("throng-loadgen: "));
    }
    assert_eq!(tool(&["run", "--payload", "3"]).status.code(), Some(2));
}

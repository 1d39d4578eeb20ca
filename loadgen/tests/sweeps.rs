//! Several runs in one process, runs on a schedule, and what can be read while a run is on.

mod support;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::server::{self, Options};
use support::{LENIENT, scratch};

const SHORT: &str = "clients = 4\npublishers = 2\nduration_s = 0.5\nwarmup_s = 0.1\n\
                     [connect]\nsettle_ms = 20\n";

/// Runs a command with a scenario that writes `out.json` and `out.html`.
fn tool(command: &str, url: &str, scenario: &str, flags: &[&str]) -> (Output, PathBuf) {
    let folder = scratch();
    let file = folder.join("scenario.toml");
    std::fs::write(&file, format!("{scenario}{LENIENT}")).unwrap();
    let mut tool = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
    tool.arg(command).arg(file).args(["--target", url, "--quiet"]);
    tool.arg("--json").arg(folder.join("out.json")).arg("--html").arg(folder.join("out.html"));
    (tool.args(flags).output().unwrap(), folder)
}

fn json(folder: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("out.json")).unwrap()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_search_ends_between_a_rate_that_is_met_and_one_that_is_not() {
    let (_server, url) = server::start(Options::default());
    // Of half a second 0.4 s are measured: any rate above 50/s publishes more than this bound.
    let flags =
        ["--from", "20", "--to", "1000", "--precision", "20", "--slo", "publishes_per_s<50"];
    let (output, folder) = tool("search", &url, SHORT, &flags);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let sweep = json(&folder);
    assert_eq!(sweep["schema"], "throng-loadgen-sweep/1");
    let found = &sweep["found"];
    let (rate, above) = (found["rate"].as_f64().unwrap(), found["above"].as_f64().unwrap());
    assert!((35.0..60.0).contains(&rate) && above <= rate * 1.2, "{found} {text}");
    assert_eq!(found["limit"], "service_level");
    assert!(sweep["points"].as_array().unwrap().len() >= 4, "{text}");
    assert!(text.contains("Highest rate that meets all SLOs"), "{text}");
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(
        page.contains("Delivery latency over load") && page.contains("missed: publishes_per_s")
    );

    let none = tool("search", &url, SHORT, &["--slo", "completeness>2", "--from", "4000"]);
    assert_eq!(none.0.status.code(), Some(4), "{}", stderr(&none.0));
    assert_eq!(json(&none.1)["found"]["rate"], Value::Null);
    let without = tool("search", &url, SHORT, &[]);
    assert_eq!(without.0.status.code(), Some(1));
    assert!(stderr(&without.0).contains("a search needs SLOs"), "{}", stderr(&without.0));
}

#[test]
fn a_search_at_a_dead_port_ends_with_its_first_run_as_that_would() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (output, folder) = tool("search", &url, SHORT, &["--slo", "completeness=1"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert_eq!(json(&folder)["points"].as_array().unwrap().len(), 1, "{text}");
    assert_eq!(json(&folder)["found"]["limit"], "any_rate", "{text}");
    assert!(text.contains("VOID        clients_missing"), "{text}");
    let (output, folder) = tool("curve", &url, SHORT, &["--rates", "10,20,30"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(json(&folder)["points"].as_array().unwrap().len(), 1);
}

#[test]
fn a_curve_has_every_rate_at_each_target_of_its_own() {
    let (one, url) = server::start(Options::default());
    let (other, other_url) = server::start(Options::default());
    let flags = ["--target", &other_url, "--rates", "20,60"];
    let (output, folder) = tool("curve", &url, SHORT, &flags);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let points = json(&folder)["points"].clone();
    let asked: Vec<(&str, f64)> = points
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point["target"].as_str().unwrap(), point["rate"].as_f64().unwrap()))
        .collect();
    let want = [(&*url, 20.0), (&*url, 60.0), (&*other_url, 20.0), (&*other_url, 60.0)];
    assert_eq!(asked, want);
    let published =
        |server: &server::Server| server.published.load(std::sync::atomic::Ordering::Relaxed);
    // Half a second at each rate.
    assert_eq!((published(&one), published(&other)), (40, 40), "{}", stderr(&output));
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(page.contains(&format!("{url} p99")) && page.contains(&format!("{other_url} p99")));
}

#[test]
fn a_closed_loop_has_no_rate_to_vary() {
    let (_server, url) = server::start(Options::default());
    for (command, flags) in [
        ("curve", &["--outstanding", "2", "--rates", "5"][..]),
        ("search", &["--outstanding", "2", "--slo", "completeness=1"]),
    ] {
        let (output, _) = tool(command, &url, SHORT, flags);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("a closed loop has no rate to vary"));
    }
}

#[test]
fn the_samples_are_rows_whose_counts_add_up() {
    let (_server, url) = server::start(Options::default());
    let path = scratch().join("samples.csv");
    let flags = ["--csv", path.to_str().unwrap(), "--repeat", "2"];
    let (output, folder) = tool("run", &url, SHORT, &flags);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("repetition,second,phase,metric,us,count"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let count = |repetition: &str| -> u64 {
        let own = rows.iter().filter(|row| row[0] == repetition && row[3] == "delivery");
        own.map(|row| row[5].parse::<u64>().unwrap()).sum()
    };
    let whole = json(&folder)["latency_us"]["count"].as_u64().unwrap();
    assert_eq!(count("1") + count("2"), whole);
    assert!(count("1") > 0 && count("2") > 0);
    assert_eq!(rows.iter().filter(|row| row[0] == "3").count(), 0);
}

#[test]
fn metrics_are_served_while_a_run_is_on() {
    let (_server, url) = server::start(Options::default());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let get = |path: &str| -> Option<String> {
        let mut stream = std::net::TcpStream::connect(&address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let scenario = "clients = 4\nduration_s = 4.0\nwarmup_s = 0.1\n[load]\nrate = 50.0\n";
    std::thread::scope(|scope| {
        let run = scope.spawn(|| tool("run", &url, scenario, &["--metrics-listen", &address]));
        let mut seen = String::new();
        while !run.is_finished()
            && !seen.contains("throng_loadgen_latency_seconds{metric=\"delivery\"")
        {
            seen = get("/metrics").unwrap_or_default();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(seen.starts_with("HTTP/1.1 200 OK"), "{seen}");
        assert!(seen.contains("throng_loadgen_stage{stage=\"running\"} 1"), "{seen}");
        assert!(seen.contains("throng_loadgen_clients_joined 4"), "{seen}");
        assert!(get("/other").is_some_and(|text| text.starts_with("HTTP/1.1 404")));
        assert_eq!(run.join().unwrap().0.status.code(), Some(0));
    });
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let refused = tool("run", &url, SHORT, &["--metrics-listen", &taken]).0;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("listen on"), "{}", stderr(&refused));
}

#[test]
fn runs_on_a_schedule_begin_together_and_merge() {
    let (_server, url) = server::start(Options::default());
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let start = (now_s + 6.0).floor();
    let start_at = start.to_string();
    let flags = ["--start-at", start_at.as_str()];
    let scenario = format!("protocol = 'raw'\n{SHORT}");
    let folders: Vec<PathBuf> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..2).map(|_| scope.spawn(|| tool("run", &url, &scenario, &flags))).collect();
        runs.into_iter().map(|run| run.join().unwrap().1).collect()
    });
    let mut merge = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
    merge.arg("merge");
    for folder in &folders {
        let report = json(folder);
        let off_s = report["started_unix_s"].as_f64().unwrap() - start;
        assert!(off_s.abs() < 0.05, "{off_s} s off");
        assert_eq!(report["late_start_s"], Value::Null);
        merge.arg(folder.join("out.json"));
    }
    let merged = merge.output().unwrap();
    assert_eq!(merged.status.code(), Some(0), "{}", stderr(&merged));

    let (late, folder) = tool("run", &url, &scenario, &["--start-at", "1000"]);
    assert_eq!(late.status.code(), Some(3), "{}", stderr(&late));
    assert!(json(&folder)["void_reasons"].to_string().contains("late_start"));
}

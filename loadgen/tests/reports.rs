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

    let twice = tool(&["merge", good, good]);
    assert_eq!(twice.status.code(), Some(1), "{twice:?}");
    assert!(String::from_utf8_lossy(&twice.stderr).contains("which is there already"), "{twice:?}");
    let mut other = outcome.report.clone();
    other["run_id"] = "another".into();
    other["seed"] = 2.into();
    std::fs::write(bad, other.to_string()).unwrap();
    let merged = tool(&["merge", good, bad, "--json", &path("merged.json")]);
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    let merged: serde_json::Value =
        serde_json::from_str(&text(&folder.join("merged.json"))).unwrap();
    assert_eq!(merged["delivered"], 2 * outcome.number("delivered") as u64);
    assert_eq!(merged["latency_us"]["max"], outcome.report["latency_us"]["max"]);
}

#[test]
fn other_scenarios_are_neither_merged_nor_compared_unless_that_is_meant() {
    let (_server, url) = server::start(Options::default());
    let folder = scratch();
    let report = |name: &str, clients: u32| {
        let scenario = format!(
            "protocol = 'raw'\nclients = {clients}\nduration_s = 0.4\nwarmup_s = 0.1\n{LENIENT}"
        );
        let path = folder.join(name);
        std::fs::write(&path, run(&url, &scenario, &[]).report.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (five, six) = (report("five.json", 5), report("six.json", 6));
    for command in ["compare", "merge"] {
        let refused = tool(&[command, &five, &six]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            text.contains("clients (5, 6)") && text.contains("--different-scenarios"),
            "{text}"
        );
    }
    let meant = tool(&["compare", &five, &six, "--different-scenarios", "--threshold", "1e6"]);
    assert_eq!(meant.status.code(), Some(0), "{meant:?}");
    let apart = tool(&["merge", &five, &six, "--different-scenarios"]);
    assert!(String::from_utf8_lossy(&apart.stderr).contains("did not run at the same time"));
    std::fs::write(&five, "{}").unwrap();
    let none = tool(&["compare", &five, &six]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("is no report"), "{none:?}");
}

#[test]
fn no_command_writes_one_file_twice_or_over_what_it_reads() {
    let folder = scratch();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (report, scenario, none) = (path("a.json"), path("s.toml"), path("none/page.html"));
    std::fs::write(&scenario, "clients = 1\n").unwrap();
    let (_server, url) = server::start(Options::default());
    let outcome =
        run(&url, &format!("clients = 2\nduration_s = 0.4\nwarmup_s = 0.1\n{LENIENT}"), &[]);
    std::fs::write(&report, outcome.report.to_string()).unwrap();
    let out = path("out");
    let slo = "completeness=1";
    for (args, code) in [
        (&["run", "--json", &out, "--html", &out][..], 2),
        (&["run", "--json", &out, "--csv", &out], 2),
        (&["run", "--json", "-", "--html", "-"], 2),
        (&["run", &scenario, "--json", &scenario], 2),
        (&["search", "--target", &url, "--slo", slo, "--json", &out, "--html", &out], 2),
        (&["curve", "--target", &url, "--rates", "5", "--json", &out, "--html", &out], 2),
        (&["merge", &report, "--json", &report], 2),
        (&["merge", &report, "--json", &out, "--html", &out], 2),
        (&["compare", &report, &report, "--html", &report], 2),
        (&["report", &report, "--html", &report], 2),
        (&["run", "--html", &none], 1),
        (&["search", "--target", &url, "--slo", slo, "--html", &none], 1),
        (&["curve", "--target", &url, "--rates", "5", "--html", &none], 1),
        (&["merge", &report, "--html", &none], 1),
        (&["compare", &report, &report, "--html", &none], 1),
        (&["report", &report, "--html", &none], 1),
    ] {
        let begun = std::time::Instant::now();
        let output = tool(args);
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let says = if code == 2 { "one file" } else { "cannot write" };
        assert!(text.contains(says), "{args:?} {text}");
        // A run would take its ten seconds first.
        assert!(begun.elapsed().as_secs() < 9, "{args:?}");
        assert!(!Path::new(&out).exists(), "{args:?}");
    }
    assert_eq!(text(Path::new(&report)), outcome.report.to_string());
}

#[test]
fn repetitions_give_each_figure_a_median_and_a_spread_and_decide_a_comparison() {
    let (server, url) = server::start(Options::default());
    let scenario =
        format!("clients = 4\nduration_s = 0.4\nwarmup_s = 0.1\n[load]\nrate = 50.0\n{LENIENT}");
    let outcome = run(&url, &scenario, &["--repeat", "3", "--slo", "order_violations=0"]);
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert!(text.contains("repetition 3 of 3"), "{text}");
    let published = server.published.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(outcome.number("published"), published as f64, "{text}");
    assert_eq!(outcome.report["repetitions"].as_array().unwrap().len(), 3);
    let p99 = &outcome.report["figures"]["delivery.p99"];
    assert_eq!(p99["values"].as_array().unwrap().len(), 3, "{p99}");
    assert!(p99["min"].as_f64() <= p99["median"].as_f64(), "{p99}");
    assert!(p99["median"].as_f64() <= p99["max"].as_f64(), "{p99}");

    let (file, slower) = (scratch().join("a.json"), scratch().join("b.json"));
    std::fs::write(&file, outcome.report.to_string()).unwrap();
    let mut worse = outcome.report.clone();
    worse["figures"]["delivery.p99"]["values"] = serde_json::json!([4e6, 5e6, 6e6]);
    std::fs::write(&slower, worse.to_string()).unwrap();
    let compared = tool(&["compare", file.to_str().unwrap(), slower.to_str().unwrap()]);
    assert_eq!(compared.status.code(), Some(5), "{compared:?}");
    let table = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(table.contains("Got worse: delivery p99 µs.") && table.contains("0.050"), "{table}");
}

#[test]
fn a_server_that_leaks_shows_the_slope_of_its_memory() {
    let (_server, url) = server::start(Options::default());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    // The server is a thread of this process, which grows by 4 MB/s.
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut leaked = Vec::new();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                leaked.push(vec![1u8; 200_000]);
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            leaked.len()
        });
        let pid = std::process::id().to_string();
        let scenario = format!("clients = 2\nduration_s = 13.0\nwarmup_s = 0.5\n{LENIENT}");
        let slo = "server.rss_slope_bytes_per_s<1000";
        let outcome = run(&url, &scenario, &["--server-pid", &pid, "--slo", slo]);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome
    });
    let text = &outcome.summary;
    assert_eq!(outcome.code, 4, "{text}");
    let slope = outcome.number("server.rss_slope_bytes_per_s");
    assert!((2e6..5e6).contains(&slope), "{slope}\n{text}");
    assert!(outcome.number("server.rss_slope_error_bytes_per_s") < slope / 4.0, "{text}");
    assert!(text.contains("server      RSS grew by"), "{text}");
}

#[test]
fn what_a_run_lacks_is_said_before_anything_is_sent() {
    let (server, url) = server::start(Options::default());
    let folder = scratch();
    let nowhere = folder.join("none/run.json").to_str().unwrap().to_owned();
    let fresh = folder.join("fresh.json").to_str().unwrap().to_owned();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--json", &nowhere], 1, "cannot write"),
        (&["--hgrm", &nowhere], 1, "cannot write"),
        (&["--slo", "delivry.p99<5ms"], 2, "\"delivery.p99\""),
        (&["--slo", "server.cpu_share<1"], 1, "needs server_pid"),
        (&["--sources", "192.0.2.1"], 1, "192.0.2.1 is no address of this machine"),
        (&["--clients", "9000000", "--json", &fresh], 1, "descriptors needed"),
    ];
    for (flags, code, want) in cases {
        let output = tool(&[&["run", "--target", &url, "--quiet"], flags].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{flags:?} {text}");
        assert!(text.contains(want), "{flags:?} {text}");
    }
    assert!(server.sources.lock().unwrap().is_empty(), "a connection was made");
    assert!(!Path::new(&fresh).exists());
}

#[test]
fn help_has_a_text_for_each_option_its_default_and_the_exit_codes() {
    let output = tool(&["run", "--help"]);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(help.contains("Exit codes:") && help.contains("4  an SLO is missed"), "{help}");
    assert!(help.contains("[default: 100]"), "{help}");
    let lines: Vec<&str> = help.lines().map(str::trim).collect();
    let option = |line: &str| line.starts_with("--") || line.starts_with("-h");
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| option(line)) {
        // The text stands behind two spaces, or on the next line.
        let next = lines.get(at + 1).copied().unwrap_or_default();
        assert!(line.contains("  ") || !next.is_empty() && !option(next), "no text: {line}");
    }
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
        &["run", "--target", "ftp://127.0.0.1:1"][..],
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

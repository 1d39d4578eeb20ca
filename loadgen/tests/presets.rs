//! Runs against small servers of other protocols: what is counted must agree with their own counts.

mod support;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use support::brokers::{self, Hub, Kind, ROOMS};
use support::{LENIENT, Outcome, run};

const SCENARIO: &str = "clients = 6\npublishers = 2\nduration_s = 1.5\nwarmup_s = 0.2\n";

fn secret() -> PathBuf {
    let file = support::scratch().join("secret");
    std::fs::write(&file, "key:secret\n").unwrap();
    file
}

fn events(text: &str) -> PathBuf {
    let file = support::scratch().join("events.toml");
    std::fs::write(&file, text).unwrap();
    file
}

#[track_caller]
fn check_complete(outcome: &Outcome, hub: &Hub, members: f64) {
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert_eq!(outcome.report["errors"], serde_json::json!({}), "{text}");
    assert_eq!(outcome.number("published"), 60.0, "{text}");
    assert_eq!(outcome.number("expected"), 60.0 * members, "{text}");
    for fault in ["missing", "duplicated", "out_of_order", "unknown", "outside_membership", "edge"]
    {
        assert_eq!(outcome.number(fault), 0.0, "{fault}\n{text}");
    }
    assert_eq!(
        outcome.number("delivered"),
        hub.deliveries.load(Ordering::Relaxed) as f64,
        "{text}"
    );
    assert_eq!(hub.published.load(Ordering::Relaxed), 60);
}

fn shown(hub: &Hub, what: &str) -> usize {
    hub.shown.lock().unwrap().iter().filter(|shown| shown.contains(what)).count()
}

fn scenario(extra: &str) -> String {
    format!("{SCENARIO}{extra}\nload = {{ rate = 40.0 }}\n{LENIENT}")
}

#[test]
fn phoenix_channels() {
    let (hub, url) = brokers::start(Kind::Phoenix, "");
    let flags =
        ["--preset", "phoenix", "--auth", r#"{"user":"{user}"}"#, "--query", "token=t{client}"];
    let outcome = run(&url, &scenario("rooms = 2"), &flags);
    check_complete(&outcome, &hub, 3.0);
    assert_eq!(outcome.number("acked"), 0.0);
    assert_eq!(shown(&hub, "/socket/websocket?vsn=2.0.0&token=t5"), 1);
    assert_eq!(shown(&hub, r#"{"user":"5"}"#), 1);
}

#[test]
fn phoenix_channels_that_reply() {
    let (hub, url) = brokers::start(Kind::Phoenix, "");
    let scenario = format!("{SCENARIO}[load]\nrate = 40.0\nacks = true\n{LENIENT}");
    let outcome = run(&url, &scenario, &["--preset", "phoenix"]);
    check_complete(&outcome, &hub, 6.0);
    assert_eq!(outcome.number("acked"), 60.0, "{}", outcome.summary);
}

#[test]
fn centrifugo() {
    let (hub, url) = brokers::start(Kind::Centrifugo, "");
    let tokens = support::scratch().join("tokens");
    std::fs::write(&tokens, "one\ntwo\n").unwrap();
    let flags = ["--preset", "centrifugo", "--tokens", tokens.to_str().unwrap()];
    let outcome = run(&url, &scenario(""), &flags);
    check_complete(&outcome, &hub, 6.0);
    assert_eq!(outcome.number("acked"), 60.0, "{}", outcome.summary);
    assert_eq!(shown(&hub, r#"{"token":"two"}"#), 3);
    assert!(hub.pongs.load(Ordering::Relaxed) > 0);
}

#[test]
fn pusher_channels() {
    let (hub, url) = brokers::start(Kind::Pusher, "");
    let url = format!("{url}/app/key");
    let secret = secret();
    let flags = ["--preset", "pusher", "--pusher-secret-file", secret.to_str().unwrap()];
    let outcome = run(&url, &scenario(""), &flags);
    // A client event does not come back to its publisher.
    check_complete(&outcome, &hub, 5.0);
    assert_eq!(shown(&hub, "/app/key?protocol=7&"), 6);
    assert!(hub.pongs.load(Ordering::Relaxed) > 0);
}

#[test]
fn rooms_of_an_events_file() {
    let (hub, url) = brokers::start(Kind::Rooms, "");
    let file = events(ROOMS);
    let outcome = run(&url, &scenario("rooms = 2"), &["--events", file.to_str().unwrap()]);
    check_complete(&outcome, &hub, 3.0);
    assert_eq!(outcome.number("acked"), 60.0, "{}", outcome.summary);
    assert!(outcome.number("rosters") >= 6.0, "{}", outcome.summary);
    assert_eq!(outcome.number("unconverged"), 0.0, "{}", outcome.summary);
    assert!(outcome.number("latencies_us.convergence.count") >= 6.0);
}

#[test]
fn members_of_several_rooms_with_events_inline() {
    let (hub, url) = brokers::start(Kind::Rooms, "");
    let scenario = format!(
        "{SCENARIO}rooms = 3\nrooms_per_client = 2\n[events]\n{ROOMS}\n[load]\nrate = 40.0\n{LENIENT}"
    );
    let outcome = run(&url, &scenario, &[]);
    check_complete(&outcome, &hub, 4.0);
    assert_eq!(outcome.number("unconverged"), 0.0, "{}", outcome.summary);
}

#[test]
fn churn_where_there_is_a_leave() {
    for (kind, preset) in
        [(Kind::Phoenix, "phoenix"), (Kind::Centrifugo, "centrifugo"), (Kind::Rooms, "throng")]
    {
        let (_hub, url) = brokers::start(kind, "");
        let events = if kind == Kind::Rooms { format!("[events]\n{ROOMS}") } else { String::new() };
        let scenario = format!(
            "clients = 6\nwarmup_s = 0.1\n[[phases]]\nkind = 'churn'\nduration_s = 1.0\nper_s = 20.0\n\
             [[phases]]\nduration_s = 0.5\n{events}\n[load]\nrate = 40.0\nacks = true\n{LENIENT}"
        );
        let outcome = run(&url, &scenario, &["--preset", preset]);
        assert_eq!(outcome.code, 0, "{preset}\n{}", outcome.summary);
        assert_eq!(outcome.number("missing"), 0.0, "{preset}\n{}", outcome.summary);
        assert!(outcome.number("leaves") >= 15.0, "{preset}\n{}", outcome.summary);
        assert_eq!(outcome.number("joins"), outcome.number("leaves") + 6.0);
    }
}

#[test]
fn a_refused_join_is_named() {
    let secret = secret();
    let secret = secret.to_str().unwrap();
    let file = events(ROOMS);
    for (kind, flags, error) in [
        (Kind::Phoenix, &["--preset", "phoenix"][..], "refused: join unauthorized"),
        (Kind::Centrifugo, &["--preset", "centrifugo"], "refused: join 103 permission denied"),
        (
            Kind::Pusher,
            &["--preset", "pusher", "--path", "/app/key", "--pusher-secret-file", secret],
            "refused: join forbidden",
        ),
        (Kind::Rooms, &["--events", file.to_str().unwrap()], "refused: join closed"),
    ] {
        let closed = if kind == Kind::Pusher { "private-" } else { "room" };
        let (_hub, url) = brokers::start(kind, closed);
        let outcome = run(&url, "clients = 3\nduration_s = 2.0\n", flags);
        assert_eq!(outcome.code, 3, "{}", outcome.summary);
        assert_eq!(
            outcome.report["errors"],
            serde_json::json!({ error: 3 }),
            "{}",
            outcome.summary
        );
    }
}

#[test]
fn a_message_that_does_not_fit_is_an_error_and_no_delivery() {
    let (_hub, url) = brokers::start(Kind::Rooms, "");
    for (from, to) in [
        (r#"["talked", { room"#, r#"["said", { room"#),
        (r#"who = "{member}", "#, r#"whom = "{member}", "#),
        (r#"people = [{ id = "{member}" }] }]"#, r#"people = ["{member}"] }]"#),
    ] {
        let file = events(&ROOMS.replace(from, to));
        let text = format!(
            "clients = 3\nduration_s = 0.5\nwarmup_s = 0.1\ndrain_s = 1.0\nconnect = {{ converge_ms = 100 }}\n{LENIENT}"
        );
        let outcome = run(&url, &text, &["--events", file.to_str().unwrap()]);
        let is_roster = from.starts_with("people");
        let delivered = if is_roster { outcome.number("expected") } else { 0.0 };
        assert_eq!(outcome.number("delivered"), delivered, "{to}\n{}", outcome.summary);
        let error = &outcome.report["errors"]["an event with a text of ours does not fit `heard`"];
        assert_eq!(error.is_null(), is_roster, "{to}\n{}", outcome.summary);
    }
}

#[test]
fn rosters_that_never_come_are_no_rosters_that_are_right() {
    let (_hub, url) = brokers::start(Kind::Rooms, "");
    let file = events(&ROOMS.replace("[\"people\"", "[\"nobody\""));
    let text = format!(
        "clients = 3\nduration_s = 0.5\nwarmup_s = 0.1\ndrain_s = 1.0\nconnect = {{ converge_ms = 100 }}\n{LENIENT}"
    );
    let flags = ["--events", file.to_str().unwrap(), "--slo", "unconverged=0"];
    let outcome = run(&url, &text, &flags);
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    assert_eq!(outcome.number("unconverged"), 3.0, "{}", outcome.summary);
    assert_eq!(outcome.number("without_roster"), 3.0, "{}", outcome.summary);
    for said in ["VOID        nothing_of_rosters", "MISSED: unconverged=0"] {
        assert!(outcome.summary.contains(said), "{}", outcome.summary);
    }
    // No roster is promised: there is nothing to be right, and nothing to be met.
    let file = events(
        &ROOMS.lines().filter(|line| !line.starts_with("roster")).collect::<Vec<_>>().join("\n"),
    );
    let flags = ["--events", file.to_str().unwrap(), "--slo", "unconverged=0"];
    let outcome = run(&url, &text, &flags);
    assert_eq!(outcome.code, 4, "{}", outcome.summary);
    assert!(outcome.summary.contains("no roster was compared"), "{}", outcome.summary);
}

#[test]
fn each_member_converges_once_unless_its_room_changes() {
    let (_hub, url) = brokers::start(Kind::Rooms, "");
    let file = events(ROOMS);
    let outcome = run(&url, &scenario(""), &["--events", file.to_str().unwrap()]);
    let count = outcome.number("latencies_us.convergence.count");
    assert_eq!(count, 6.0, "{}", outcome.summary);
}

#[test]
fn what_makes_no_sense_is_refused_before_the_run() {
    let with = |line: &str| events(&format!("{ROOMS}{line}\n")).to_str().unwrap().to_owned();
    let (unknown, twice) = (with("rooster = ['a']"), with("join = ['b']"));
    let reserved = ROOMS.replace("[\"enter\"", "[\"connect\"");
    let reserved = events(&reserved).to_str().unwrap().to_owned();
    let no_leave = events(&ROOMS.replace("leave ", "# ")).to_str().unwrap().to_owned();
    let churn = support::scratch().join("churn.toml");
    std::fs::write(&churn, "[[phases]]\nkind = 'churn'\nduration_s = 5.0\n").unwrap();
    let churn = churn.to_str().unwrap();
    for (flags, says) in [
        (&["--events", &unknown][..], "events.toml: unknown key `rooster`"),
        (&["--events", &twice], "events.toml: "),
        (&["--events", &reserved], "events.toml: join: Socket.IO reserves the name \"connect\""),
        (&["--events", "/nowhere/events.toml"], "/nowhere/events.toml: "),
        (&["--events", &no_leave, churn], "a churn phase needs a leave"),
        (&["--preset", "raw", churn], "a churn phase needs a leave"),
        (&["--preset", "pusher"], "/app/KEY"),
        (&["--preset", "pusher", "--path", "/app/k"], "--pusher-secret-file"),
        (&["--preset", "phoenix", "--events", &no_leave], "events are those of Socket.IO"),
        (&["--preset", "phoenix", "--transport", "polling"], "WebSocket"),
        (
            &["--preset", "centrifugo", "--rooms", "2", "--room-name", "all"],
            "{number} in room_name",
        ),
        (
            &[
                "--preset",
                "pusher",
                "--path",
                "/app/k",
                "--room-name",
                "open",
                "--outstanding",
                "1",
            ],
            "without echo",
        ),
    ] {
        let mut tool = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
        tool.args(["run", "--target", "http://127.0.0.1:1"]).args(flags);
        let output = tool.output().unwrap();
        let code = if says.contains("events.toml: ") { 2 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{flags:?}: {said}");
    }
}

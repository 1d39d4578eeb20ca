//! What clients show of themselves, and users that the generator gets for itself.

mod support;

use std::sync::Arc;

use support::server::{self, Options, Server};
use support::{LENIENT, Outcome, run};

/// The small server counts connections in its rosters, whose users they are it does not know.
const SHORT: &str = "clients = 4\nduration_s = 0.6\nwarmup_s = 0.1\ndrain_s = 1.0\n\
                     connect = { converge_ms = 0 }\n";

#[track_caller]
fn check_complete(outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{}", outcome.summary);
    assert_eq!(outcome.number("joined"), 4.0, "{}", outcome.summary);
    assert_eq!(outcome.number("completeness"), 1.0, "{}", outcome.summary);
    assert_eq!(outcome.report["errors"], serde_json::json!({}), "{}", outcome.summary);
}

fn shown(server: &Arc<Server>, what: &str) -> usize {
    server.shown.lock().unwrap().iter().filter(|text| text.contains(what)).count()
}

#[test]
fn headers_query_and_payload_are_those_of_the_clients_user() {
    let (server, url) = server::start(Options::default());
    let tokens = support::scratch().join("tokens");
    std::fs::write(&tokens, "one\ntwo&2\n").unwrap();
    let scenario = format!(
        "{SHORT}[access]\nheaders = ['Authorization: Bearer {{token}}', 'Cookie: sid={{client}}']\n\
         query = 'who={{user}}&token={{token}}'\nauth = {{ token = '{{token}}', deep = {{ n = 1 }} }}\n{LENIENT}"
    );
    check_complete(&run(&url, &scenario, &["--tokens", tokens.to_str().unwrap()]));
    for (what, times) in [
        ("\r\nAuthorization: Bearer one\r\nCookie: sid=0\r\n", 1),
        ("\r\nAuthorization: Bearer two&2\r\n", 2),
        ("GET /socket.io/?EIO=4&transport=websocket&who=1&token=two%262 HTTP/1.1\r\n", 2),
        (r#"{"deep":{"n":1},"token":"two&2"}"#, 2),
    ] {
        assert_eq!(shown(&server, what), times, "{what}");
    }
    let flags = ["--header", "X-Client: {client}", "--query", "v=2", "--auth", r#"{"a":"{user}"}"#];
    check_complete(&run(&url, &format!("transport = 'polling'\n{SHORT}{LENIENT}"), &flags));
    assert!(shown(&server, "X-Client: 3\r\n") > 2, "each poll and post has the header");
    assert!(shown(&server, "&transport=polling&v=2&sid=") > 8);
    assert_eq!(shown(&server, r#"{"a":"3"}"#), 1);
}

#[test]
fn each_user_has_a_signed_token() {
    let (server, url) = server::start(Options::default());
    let secret = support::scratch().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let flags = [
        "--jwt-secret-file",
        secret.to_str().unwrap(),
        "--jwt-claims",
        r#"{"sub":"load-{user}"}"#,
        "--header",
        "Authorization: Bearer {token}",
    ];
    let outcome = run(&url, &format!("{SHORT}{LENIENT}"), &flags);
    check_complete(&outcome);
    assert!(!outcome.report["scenario"].to_string().contains("s3cret"));
    // {"alg":"HS256","typ":"JWT"} and the beginning of {"sub":"load-
    let begins = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJsb2FkL";
    assert_eq!(shown(&server, begins), 4);
    let shown = server.shown.lock().unwrap();
    let tokens = shown.iter().filter_map(|head| head.split("Bearer ").nth(1)?.lines().next());
    assert_eq!(tokens.collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn what_makes_no_sense_is_refused_before_the_run() {
    for (flags, says) in [
        (&["--header", "no colon"][..], "NAME: VALUE"),
        (&["--header", "A: {token}"], "--tokens FILE"),
        (&["--header", "a b: c"], "is not a name"),
        (&["--jwt-claims", "{}"], "jwt_secret_file"),
        (&["--jwt-secret-file", "/nowhere/secret"], "/nowhere/secret"),
    ] {
        let mut tool = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
        tool.args(["run", "--target", "http://127.0.0.1:1"]).args(flags);
        let output = tool.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{flags:?}: {said}");
    }
}

#[test]
fn a_run_gets_its_own_users_and_the_rooms_that_there_are() {
    let (server, url) = server::start(Options { accounts_at_once: 100, ..Options::default() });
    let scenario = format!("{SHORT}{LENIENT}");
    check_complete(&run(&url, &scenario, &[]));
    assert_eq!(shown(&server, r#"{"api_token":"token-lg1-00000@load.test"}"#), 4);
    assert_eq!(server.accounts.as_ref().unwrap().lock().unwrap().logins, 0);
    // The next run logs in.
    check_complete(&run(&url, &scenario, &[]));
    assert_eq!(server.accounts.as_ref().unwrap().lock().unwrap().logins, 1);
    // A room that there is not is named.
    let outcome = run(&url, &scenario, &["--first-room", "8"]);
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    assert!(outcome.summary.contains("names 2 rooms (7, 9) and not 8"), "{}", outcome.summary);
    assert_eq!(outcome.report["errors"]["refused: join unknown_room"], 4, "{}", outcome.summary);
}

#[test]
fn registrations_wait_as_long_as_the_server_asks() {
    let (server, url) = server::start(Options { accounts_at_once: 3, ..Options::default() });
    let outcome = run(&url, &format!("{SHORT}{LENIENT}"), &["--users", "4"]);
    check_complete(&outcome);
    assert!(
        outcome.summary.contains("of 4 users have a token; the server asks to wait 1 s"),
        "{}",
        outcome.summary
    );
    assert!(server.accounts.as_ref().unwrap().lock().unwrap().refused >= 1);
    assert_eq!(shown(&server, r#"{"api_token":"token-lg1-00003@load.test"}"#), 1);
}

#[test]
fn without_users_the_summary_says_what_is_missing() {
    let (_server, url) = server::start(Options { accounts_at_once: 3, ..Options::default() });
    let outcome = run(&url, &format!("{SHORT}{LENIENT}"), &["--users", "0"]);
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    assert_eq!(outcome.report["errors"]["refused: join unauthenticated"], 4, "{}", outcome.summary);
    assert!(outcome.summary.contains("--tokens FILE"), "{}", outcome.summary);
}

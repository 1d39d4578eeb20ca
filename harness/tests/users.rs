//! Users that are given, instead of registered.

use std::path::Path;
use std::process::Output;

use throng_harness::client::rest::Rest;
use throng_harness::client::target::Target;
use throng_harness::client::transcript::Transcript;
use throng_reference::{Defect, Options, Reference};

fn run(server: &Reference, args: &[&str]) -> Output {
    let mut program = throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"));
    let url = server.url();
    program.args(["run", "--target", &url, "--keep-going"]);
    program.args(args).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn file(name: &str, text: &str) -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(format!("users-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("a writable directory");
    path.display().to_string()
}

fn reference() -> Reference {
    Reference::start(Options::default()).expect("a free port")
}

/// Tokens of new users of the server, one per line.
fn tokens(server: &Reference, users: usize) -> String {
    let target = Target::parse(&server.url(), "/socket.io/").expect("a URL");
    let rest = Rest { target, log: Transcript::default().log("test") };
    let token = |number: usize| {
        let user = rest.register(&format!("given{number}@example.com")).expect("a user");
        format!("{}\n", user.token)
    };
    (0..users).map(token).collect()
}

#[test]
fn cases_use_given_users_and_those_that_make_users_are_skipped() {
    let server = reference();
    let list = file("six.txt", &tokens(&server, 6));
    let cases = "room.join msg.author rest.register rest.logout login.count trn.query";
    let filters: Vec<&str> = cases.split(' ').flat_map(|case| ["--filter", case]).collect();
    let output = run(&server, &[&["--tokens", &list], &filters[..]].concat());
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for case in ["room.join[eio4/websocket]", "msg.author[eio3/polling]", "trn.query[eio4/polling]"]
    {
        assert!(text.contains(&format!("pass  {case}")), "{case} in {text}");
    }
    for (case, why) in [
        ("rest.register ", "needs POST /api/register, and users are given"),
        ("login.count", "needs users of its own, and the same are given again and again"),
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("skip  {case}")));
        assert!(line.is_some_and(|line| line.contains(why)), "{case}: {line:?}");
    }
}

#[test]
fn too_few_users_are_a_reason_to_skip() {
    let server = reference();
    let list = file("one.txt", &tokens(&server, 1));
    let output = run(&server, &["--tokens", &list, "--filter", "msg.author", "--min-judged", "0"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("needs more users than the 1 that are given"), "{text}");
}

#[test]
fn a_command_gives_a_user_with_each_call() {
    let server = reference();
    let list = file("many.txt", &tokens(&server, 30));
    // Takes the first line off the file, one call at a time.
    let command = format!("flock {list} sh -c 'head -1 {list}; sed -i 1d {list}'");
    let args = ["--login-command", &command, "--filter", "msg.author", "--filter", "login.count"];
    let output = run(&server, &args);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("pass  msg.author[eio4/polling]"), "{text}");
    assert!(!text.contains("skip  msg.author"), "{text}");
}

#[test]
fn what_the_target_offers_does_not_depend_on_the_token_drawn() {
    let options = Options { defect: Some(Defect::AnonymousRefused), ..Options::default() };
    let server = Reference::start(options).expect("a free port");
    let good = tokens(&server, 1);
    let list = file("bad.txt", &format!("{good}bad\nbad\nbad\n"));
    let args = ["--profile", "upstream", "--tokens", &list, "--token-as", "query:api_token"];
    let output = run(&server, &[&args[..], &["--filter", "trn.query"]].concat());
    let text = said(&output);
    let all = "offers eio4/websocket, eio4/polling, eio3/websocket, eio3/polling, upgrade";
    assert!(text.contains(all), "{text}");
}

#[test]
fn a_token_that_nobody_knows_is_named() {
    let server = reference();
    let list = file("unknown.txt", "eyJhbGciOiJIUzI1NiJ9.e30.nobody\n");
    let output = run(&server, &["--tokens", &list, "--filter", "msg.author"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("GET /api/user with a given token: HTTP 401"), "{text}");
}

#[test]
fn faults_of_the_options_are_bad_usage() {
    let server = reference();
    let empty = file("empty.txt", "\n \n");
    for (args, what) in [
        (&["--tokens", &empty][..], "empty.txt: has no token"),
        (&["--tokens", "/nowhere/tokens.txt"], "/nowhere/tokens.txt: "),
        (
            &["--login-command", "echo no >&2; exit 7"],
            "--login-command: `echo no >&2; exit 7` ended",
        ),
        (&["--login-command", "true", "--tokens", &empty], "cannot be used with"),
        (&["--token-as", "bearer"], "--token-as goes with --profile upstream"),
        (&["--profile", "upstream", "--token-as", "cookie:x"], "none of query:NAME"),
    ] {
        let output = run(&server, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(what), "{args:?}: {}", said(&output));
    }
}

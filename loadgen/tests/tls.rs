//! Targets behind TLS.

mod support;

use std::net::TcpListener;
use std::sync::atomic::Ordering;

use support::server::{self, Options};
use support::{LENIENT, run, tls};

#[track_caller]
fn check_complete(scenario: &str, flags: impl Fn(&str) -> Vec<String>) {
    let (server, url) = server::start(Options::default());
    let (url, ca) = tls::start(&url);
    let scenario = format!(
        "clients = 6\npublishers = 2\nduration_s = 1.0\nwarmup_s = 0.2\npayload = 'uniform:64-60000'\n\
         {scenario}\n[load]\nrate = 40.0\n{LENIENT}"
    );
    let flags = flags(ca.to_str().unwrap());
    let outcome = run(&url, &scenario, &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let text = &outcome.summary;
    assert_eq!(outcome.code, 0, "{text}");
    assert_eq!(outcome.number("delivered"), 240.0, "{text}");
    assert_eq!(outcome.number("missing") + outcome.number("out_of_order"), 0.0, "{text}");
    assert_eq!(outcome.report["errors"], serde_json::json!({}), "{text}");
    assert_eq!(server.deliveries.load(Ordering::Relaxed), 240);
}

#[test]
fn each_transport_works_behind_a_certificate_of_a_given_authority() {
    let ca = |file: &str| vec!["--ca".to_owned(), file.to_owned()];
    check_complete("", ca);
    check_complete("transport = 'polling'", ca);
    check_complete("transport = 'upgrade'", ca);
    check_complete("protocol = 'raw'", ca);
}

#[test]
fn any_certificate_will_do_where_none_is_checked() {
    check_complete("", |_| vec!["--insecure".to_owned()]);
    check_complete("transport = 'polling'", |_| vec!["--insecure".to_owned()]);
}

#[track_caller]
fn check_error(url: &str, ca: Option<&str>, error: &str) {
    let flags = ca.map_or_else(Vec::new, |file| vec!["--ca", file]);
    let scenario = "clients = 3\nduration_s = 2.0\n[connect]\ntimeout_ms = 2000\n";
    let outcome = run(url, scenario, &flags);
    assert_eq!(outcome.code, 3, "{}", outcome.summary);
    let errors = outcome.report["errors"].as_object().unwrap();
    let (found, count) = errors.iter().next().unwrap();
    assert!(found.starts_with(error) && count == 3, "{}", outcome.summary);
}

#[test]
fn a_certificate_of_an_unknown_authority_is_named() {
    let (_server, url) = server::start(Options::default());
    let (secure, _) = tls::start(&url);
    let (_, other) = tls::start(&url);
    check_error(&secure, other.to_str(), "tls: invalid peer certificate");
}

#[test]
fn an_authority_that_is_its_own_server_is_named_with_what_to_do() {
    let (_server, url) = server::start(Options::default());
    let unconstrained = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (secure, ca) = tls::start_as(&url, unconstrained);
    let scenario = "clients = 3\nduration_s = 2.0\n";
    let outcome = run(&secure, scenario, &["--ca", ca.to_str().unwrap()]);
    let text = &outcome.summary;
    assert_eq!(outcome.code, 3, "{text}");
    assert!(text.contains("the certificate of the server is an authority's (CA:TRUE)"), "{text}");
    assert!(text.contains("hint        make the server a certificate of its own"), "{text}");
    assert!(!text.contains("--ca FILE trusts"), "{text}");
}

#[test]
fn a_server_that_speaks_no_tls_is_named() {
    let (_server, url) = server::start(Options::default());
    let (_, ca) = tls::start(&url);
    // The plain server takes the greeting for the beginning of a request, and waits for more.
    check_error(&url.replace("http:", "wss:"), ca.to_str(), "timeout: the TLS handshake was not");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    check_error(&url, ca.to_str(), "tls: ");
}

#[test]
fn a_file_without_certificates_is_named_before_the_run() {
    let file = support::scratch().join("none.pem");
    std::fs::write(&file, "nothing").unwrap();
    let mut tool = throng_kit::own(env!("CARGO_BIN_EXE_throng-loadgen"));
    tool.args(["run", "--target", "https://127.0.0.1:1", "--ca", file.to_str().unwrap()]);
    let output = tool.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("none.pem holds no certificate"), "{said}");
}

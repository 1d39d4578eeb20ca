//! Targets behind TLS.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use throng_reference::{Options, Reference};

fn run(target: &str, args: &[&str]) -> Output {
    let mut program = throng_kit::own(env!("CARGO_BIN_EXE_throng-harness"));
    program.args(["run", "--target", target]).args(args).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{name}", std::process::id()))
}

/// A proxy that speaks TLS for the server at `url`: its URL, and the file `name` with its certificate.
fn behind_tls(url: &str, name: &str) -> (String, String) {
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    behind_tls_with(params, url, name)
}

fn behind_tls_with(params: CertificateParams, url: &str, name: &str) -> (String, String) {
    let plain = url.strip_prefix("http://").expect("a plain server").to_owned();
    let signing_key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&signing_key).expect("a certificate");
    let file = scratch(name);
    std::fs::write(&file, cert.pem()).expect("a writable directory");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a key that fits");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, plain) = (config.clone(), plain.clone());
            thread::spawn(move || {
                let server = TcpStream::connect(plain).ok()?;
                let tls = ServerConnection::new(config).ok()?;
                carry(StreamOwned::new(tls, stream), server)
            });
        }
    });
    (url, file.display().to_string())
}

/// Carries bytes both ways, in turns, until one side ends.
fn carry(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    mut server: TcpStream,
) -> Option<()> {
    for stream in [&client.sock, &server] {
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(1))).ok()?;
    }
    loop {
        let bytes = available(&mut client)?;
        server.write_all(&bytes).ok()?;
        let bytes = available(&mut server)?;
        // Before there is something to write, a flush would wait for the handshake.
        if !bytes.is_empty() {
            client.write_all(&bytes).ok()?;
            client.flush().ok()?;
        }
    }
}

fn available(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 16 << 10];
    match from.read(&mut bytes) {
        Ok(0) => None,
        Ok(count) => Some(bytes[..count].to_vec()),
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Some(Vec::new())
        }
        Err(_) => None,
    }
}

/// Cases of every layer: HTTP, both transports, an upgrade, chat, the API, a large body, an end by each side.
const CASES: &str = "trn.query poll.whole-session poll.order up.moves ws.close ws.ping msg.author \
                     room.join rest.register eio.close-by-post eio.malformed";

fn conforms(url: &str, trust: &[&str]) {
    let filters = CASES.split_whitespace().flat_map(|case| ["--filter", case]);
    let args: Vec<&str> = trust.iter().copied().chain(["--keep-going"]).chain(filters).collect();
    let output = run(url, &args);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(" 0 skipped, 0 errors"), "{text}");
}

#[test]
fn a_target_behind_a_certificate_of_a_given_authority_is_judged_as_any() {
    let server = Reference::start(Options::default()).expect("a free port");
    let (url, ca) = behind_tls(&server.url(), "given.pem");
    conforms(&url, &["--ca", &ca]);
    conforms(&url.replace("https:", "wss:"), &["--insecure"]);
}

#[test]
fn a_certificate_that_is_not_trusted_is_the_reason_in_the_report() {
    let server = Reference::start(Options::default()).expect("a free port");
    let (url, _) = behind_tls(&server.url(), "one.pem");
    let (_, other) = behind_tls(&server.url(), "other.pem");
    let report = scratch("report.json").display().to_string();
    let output = run(&url, &["--ca", &other, "--json", &report]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("TLS: invalid peer certificate"), "{text}");
    let report = std::fs::read_to_string(report).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let unreachable = report["unreachable"].as_str().expect("a reason");
    assert!(unreachable.contains("TLS: invalid peer certificate"), "{unreachable}");
}

#[test]
fn what_is_wrong_with_a_certificate_of_ones_own_is_said_in_words() {
    let server = Reference::start(Options::default()).expect("a free port");
    let certificate = |host: &str, is_ca: bool| {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    };
    for (params, words) in [
        (certificate("127.0.0.1", true), &["CA:TRUE", "openssl req", "CA:FALSE", "--insecure"][..]),
        (certificate("example.com", false), &["another host", "subjectAltName"]),
    ] {
        let (url, ca) = behind_tls_with(params, &server.url(), "own.pem");
        let output = run(&url, &["--ca", &ca]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        for word in words {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}

#[test]
fn a_port_that_speaks_no_tls_is_named_within_ten_seconds() {
    let server = Reference::start(Options::default()).expect("a free port");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!("https://{}", silent.local_addr().expect("it is bound"));
    for (url, what) in
        [(server.url().replace("http:", "https:"), "TLS: "), (silent, "no handshake in")]
    {
        let start = Instant::now();
        let output = run(&url, &["--insecure"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains(what), "{text}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

#[test]
fn a_file_without_certificates_is_bad_usage() {
    let file = scratch("none.pem");
    std::fs::write(&file, "nothing").expect("a writable directory");
    for ca in [file.display().to_string(), "/nowhere/ca.pem".to_owned()] {
        let output = run("https://127.0.0.1:1", &["--ca", &ca]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(&ca), "{}", said(&output));
    }
}

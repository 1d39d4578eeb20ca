//! Logins, permissions and TLS.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use throng_cluster::{Failure, Order};
use throng_redis::Settings;
use throng_redis::settings::PemFile;

use crate::executor::{add, executor, members, settings};
use crate::server::Server;

const ACL: &str = "user default off\n\
    user app on >right%password ~t:* &* +@all\n\
    user reader on >right ~* &* +@read +@connection\n";

fn guarded() -> Server {
    Server::with_files(&["--aclfile", "{dir}/users.acl"], &[("users.acl", ACL)])
}

#[tokio::test]
async fn a_user_with_a_password_may_use_a_database() {
    let server = guarded();
    let url = format!("redis://app:right%25password@127.0.0.1:{}/2", server.port);
    let redis = executor(&settings(&url));
    add(&redis, "t:s", "a").await.expect("it is done");
    assert_eq!(members(&redis, "t:s").await, ["a"]);
    let other = Err(Failure::Refused { why: "denied" });
    assert_eq!(add(&redis, "u:s", "a").await, other, "a key that the user may not access");

    let login = ["--user", "app", "--pass", "right%password", "--no-auth-warning", "-n"];
    let card = |db: &'static str| server.cli(&[&login[..], &[db, "SCARD", "t:s"]].concat());
    assert_eq!((card("0"), card("2")), ("0".into(), "1".into()));
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_user_are_denied() {
    let server = guarded();
    for login in ["app:wrong@", "unknown:right@", ":wrong@", ""] {
        let redis = executor(&settings(&format!("redis://{login}127.0.0.1:{}", server.port)));
        let denied = Err(Failure::Broken { why: "auth" });
        assert_eq!(add(&redis, "t:s", "a").await, denied, "{login}");
    }
}

#[tokio::test]
async fn a_user_who_may_only_read_is_refused_writes() {
    let server = guarded();
    let redis = executor(&settings(&format!("redis://reader:right@127.0.0.1:{}", server.port)));
    assert_eq!(members(&redis, "t:s").await, Vec::<String>::new());
    assert_eq!(add(&redis, "t:s", "a").await, Err(Failure::Refused { why: "denied" }));
    let claim = Order::Claim { key: "t:n".into(), value: "v".into(), ttl_ms: 1000 };
    assert_eq!(redis.execute(claim).await, Err(Failure::Refused { why: "denied" }));
}

#[tokio::test]
async fn tls_works_and_the_certificate_is_checked() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files = [("cert.pem", &*cert.pem()), ("key.pem", &*signing_key.serialize_pem())];
    let args = [
        ["--port", "0"],
        ["--tls-port", "{port}"],
        ["--tls-cert-file", "{dir}/cert.pem"],
        ["--tls-key-file", "{dir}/key.pem"],
        ["--tls-ca-cert-file", "{dir}/cert.pem"],
        ["--tls-auth-clients", "no"],
    ];
    let server = Server::with_files(args.as_flattened(), &files);
    let authority = PemFile { path: "cert.pem".into(), pem: cert.pem().into_bytes() };
    let trusting = |url: String| Settings { tls_ca: Some(authority.clone()), ..settings(&url) };
    let redis = executor(&trusting(format!("rediss://localhost:{}", server.port)));
    add(&redis, "s", "a").await.expect("it is done");
    assert_eq!(members(&redis, "s").await, ["a"]);

    let wrong_name = executor(&trusting(format!("rediss://127.0.0.1:{}", server.port)));
    assert!(add(&wrong_name, "s", "b").await.is_err(), "the certificate is for another name");
    let distrusting = executor(&settings(&format!("rediss://localhost:{}", server.port)));
    assert!(add(&distrusting, "s", "c").await.is_err(), "the certificate is not trusted");
    let plain = executor(&settings(&format!("redis://localhost:{}", server.port)));
    assert!(add(&plain, "s", "d").await.is_err(), "the server wants TLS");
    assert_eq!(members(&redis, "s").await, ["a"]);
}

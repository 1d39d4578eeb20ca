//! What is tried at a start, on servers that refuse.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use throng_redis::adapter::Channels;
use throng_redis::{Commands, Connector, Failure, Unwritable, obstacle, rights};

use crate::executor::settings;
use crate::server::{Server, TIMEOUT, eventually};

const KEYS: [&str; 3] = ["throng:", "swoole:", "socket_id"];

struct Probe {
    connector: Arc<Connector>,
    commands: Commands,
}

fn probe(url: &str) -> Probe {
    let settings = settings(url);
    let connector = Arc::new(Connector::new(&settings).expect("usable settings"));
    let commands = Commands::new(Arc::clone(&connector), &settings);
    Probe { connector, commands }
}

impl Probe {
    async fn missing(&self) -> Result<Option<String>, Failure> {
        let channels = Channels::new("socket.io");
        rights::missing(&self.commands, &self.connector, KEYS, &channels, TIMEOUT).await
    }

    async fn unwritable(&self) -> Option<Unwritable> {
        rights::unwritable(&self.commands, "throng:").await
    }
}

#[tokio::test]
async fn a_server_that_takes_writes_keeps_nothing_of_the_probe() {
    let server = Server::start(&[]);
    let probe = probe(&server.url());
    assert_eq!(probe.missing().await, Ok(None));
    assert_eq!(probe.unwritable().await, None);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn the_commands_that_the_guide_asks_for_are_enough_for_the_probe() {
    let commands = "+@read +@write +@pubsub +@scripting +@connection +xinfo";
    let keys = "~throng:* ~socket_id ~swoole:* &socket.io#/#*";
    let server = Server::start(&["--maxmemory", "1"]);
    let mut user = vec!["ACL", "SETUSER", "node", "on", ">right"];
    user.extend(keys.split(' ').chain(commands.split(' ')));
    assert_eq!(server.cli(&user), "OK");
    let probe = probe(&server.url().replace("redis://", "redis://node:right@"));
    assert_eq!(probe.missing().await, Ok(None));
    assert_eq!(probe.unwritable().await, Some(Unwritable::Full));
}

#[tokio::test]
async fn a_server_that_is_full_or_lacks_replicas_is_found_by_a_write_and_has_all_rights() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let probe = probe(&server.url());
    for (setting, refusing, taking, expected, cure) in [
        ("maxmemory", "1", "0", Unwritable::Full, "raise maxmemory"),
        ("min-replicas-to-write", "1", "0", Unwritable::TooFewReplicas, "min-replicas-to-write"),
    ] {
        server.cli(&["CONFIG", "SET", setting, refusing]);
        assert_eq!(probe.missing().await, Ok(None), "{setting}: no right is missing");
        assert_eq!(probe.unwritable().await, Some(expected), "{setting}");
        assert!(expected.to_string().contains(cure), "{expected}");
        server.cli(&["CONFIG", "SET", setting, taking]);
        assert_eq!(probe.unwritable().await, None, "{setting}: it passes by itself");
    }
}

#[tokio::test]
async fn a_server_that_cannot_save_is_found_by_a_write_and_has_all_rights() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gone");
    fs::create_dir(&path).expect("a directory");
    let path = path.to_str().expect("it is UTF-8").to_owned();
    let server = Server::start(&["--dir", &path, "--save", "3600 1"]);
    let probe = probe(&server.url());
    assert_eq!(probe.unwritable().await, None);
    // A directory that is not there is not writable, not even for root.
    fs::remove_dir_all(&path).expect("it is ours");
    server.cli(&["BGSAVE"]);
    let has_failed = || server.cli(&["INFO", "persistence"]).contains("last_bgsave_status:err");
    eventually("it could not save", async || has_failed().then_some(())).await;
    assert_eq!(probe.missing().await, Ok(None), "no right is missing");
    assert_eq!(probe.unwritable().await, Some(Unwritable::NotSaved));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_reported_in_the_words_of_redis() {
    let server = Server::start(&[]);
    let words = "DB index is out of range".to_owned();
    let missing = probe(&format!("{}/99", server.url())).missing().await;
    assert_eq!(missing, Err(Failure::NoDatabase(words)));
    assert_eq!(probe(&format!("{}/15", server.url())).missing().await, Ok(None));
}

#[tokio::test]
async fn a_login_that_is_missing_is_no_fault_of_the_database() {
    let server = Server::start(&["--requirepass", "right"]);
    let missing = probe(&format!("{}/2", server.url())).missing().await;
    assert_eq!(missing, Err(Failure::Unauthenticated));
}

#[tokio::test]
async fn a_server_without_a_free_connection_says_so() {
    let server = Server::start(&[]);
    let address = server.url().parse().expect("a URL");
    let wait = Duration::from_secs(1);
    assert!(obstacle::find(&address, wait).await.is_none());
    let _held = held(server.port);
    server.cli(&["CONFIG", "SET", "maxclients", "1"]);
    let failure = probe(&server.url()).missing().await;
    assert_eq!(failure, Err(Failure::Down));
    let obstacle = obstacle::find(&address, wait).await.expect("there is one");
    let expected = format!(
        "Redis has no connection left at 127.0.0.1:{}: max number of clients reached",
        server.port
    );
    assert_eq!(obstacle.to_string(), expected);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_obstacle_of_the_system() {
    let url = format!("redis://127.0.0.1:{}", crate::server::free_port());
    let found = obstacle::find(&url.parse().expect("a URL"), TIMEOUT).await;
    let words = found.expect("there is one").to_string();
    assert!(words.contains("Connection refused"), "{words}");
}

/// A connection that Redis serves.
fn held(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it is up");
    stream.write_all(b"PING\r\n").expect("it reads");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"+PONG\r\n");
    stream
}

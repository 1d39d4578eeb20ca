//! Events of other programs, and messages for them, over a real server.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use throng_chat::UserCard;
use throng_chat::cluster::{Audience, Emit, StoredMessage};
use throng_chat::{RoomId, Seq, UserId};
use throng_redis::adapter::{Broadcast, Channels, UID, encode};
use throng_redis::counters::Counters;
use throng_redis::egress::Egress;
use throng_redis::ingress::Ingress;
use throng_redis::names::RoomNames;
use throng_redis::{Commands, Connector};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::executor::settings;
use crate::relay::Relay;
use crate::server::{Server, TIMEOUT, eventually, free_port};

struct Listener {
    emits: mpsc::Receiver<Arc<Emit>>,
    counters: Arc<Counters>,
}

fn names() -> RoomNames {
    RoomNames::new("room{id}").expect("a pattern")
}

fn listen(url: &str) -> Listener {
    listen_with(url, Duration::from_secs(5))
}

fn listen_with(url: &str, timeout: Duration) -> Listener {
    let counters = Arc::new(Counters::default());
    let (emits_in, emits) = mpsc::channel(16);
    let ingress = Ingress {
        connector: Arc::new(Connector::new(&settings(url)).expect("usable settings")),
        channels: Channels::new("socket.io"),
        names: names(),
        bytes_max: 1024,
        timeout,
        counters: Arc::clone(&counters),
    };
    tokio::spawn(ingress.run(emits_in));
    Listener { emits, counters }
}

impl Listener {
    async fn subscribed(&self) {
        let is_there = || self.counters.is_subscribed().then_some(());
        eventually("it is subscribed", async || is_there()).await;
    }

    async fn next(&mut self) -> Arc<Emit> {
        timeout(TIMEOUT, self.emits.recv()).await.expect("in time").expect("it listens")
    }
}

fn broadcast(uid: &str, text: &str, room: &str) -> Vec<u8> {
    encode(uid, &["alert".into(), json!({ "text": text })], room)
}

#[tokio::test]
async fn one_subscription_is_enough_for_every_room() {
    let server = Server::start(&[]);
    let mut listener = listen(&server.url());
    listener.subscribed().await;
    assert_eq!(server.cli(&["PUBSUB", "NUMPAT"]), "1");
    assert_eq!(server.cli(&["PUBSUB", "CHANNELS"]), "", "no channel by its name");
    server.publish("socket.io#/#room1#", &broadcast(UID, "of a server like us", "room1"));
    server.publish("socket.io#/#room1#", &broadcast("other!", &"x".repeat(1024), "room1"));
    server.publish("socket.io#/#", &broadcast("other!", "no room of ours", "lobby"));
    server.publish("socket.io#/#7eHxbKnqCAAAB#", b"for a socket: not even read");
    server.publish("socket.io#/#room1", b"not a channel of the adapter");
    server.publish("socket.io#/#room1#", &broadcast("other!", "one", "room1"));
    server.publish("socket.io#/#1#", &broadcast("other!", "two", "1"));
    server.publish("socket.io#/#uid_7#", &broadcast("other!", "three", "uid_7"));
    server.publish("socket.io#/#", &broadcast("other!", "four", "room2"));
    let room = |id| Audience::Room(RoomId(id));
    let user = Audience::User(UserId(7));
    for (text, to) in [("one", room(1)), ("two", room(1)), ("three", user), ("four", room(2))] {
        let emit = listener.next().await;
        assert_eq!(&*emit.event, format!(r#"["alert",{{"text":"{text}"}}]"#));
        assert_eq!(emit.to.as_deref(), Some(&[to][..]));
    }
    assert_eq!(listener.counters.events_in.load(Relaxed), 4);
    assert_eq!(listener.counters.skipped(), [("foreign", 2), ("too_large", 1)]);
}

/// Redis permits a pattern only if the same text is in the list of channels, not a wider pattern.
#[tokio::test]
async fn the_rights_that_the_guide_asks_for_are_enough_to_listen() {
    let server = Server::start(&[]);
    for (name, channels, is_enough) in
        [("wide", "&socket.io#*", false), ("exact", "&socket.io#/#*", true)]
    {
        server.cli(&["ACL", "SETUSER", name, "on", ">secret", "resetchannels", channels, "+@all"]);
        let url = server.url().replace("redis://", &format!("redis://{name}:secret@"));
        let mut listener = listen(&url);
        if is_enough {
            listener.subscribed().await;
            server.publish("socket.io#/#room1#", &broadcast("other!", "one", "room1"));
            assert!(listener.next().await.event.contains("one"));
        } else {
            let denied = || server.cli(&["ACL", "LOG"]).contains("socket.io#/#*");
            eventually("it is refused", async || denied().then_some(())).await;
            assert!(!listener.counters.is_subscribed());
        }
    }
}

#[tokio::test]
async fn subscriptions_outlive_the_server() {
    let port = free_port();
    let mut listener = listen(&format!("redis://127.0.0.1:{port}"));
    let mut server = Server::start_at(port);
    for round in 0..2 {
        listener.subscribed().await;
        server.publish("socket.io#/#room1#", &broadcast("other!", &round.to_string(), "room1"));
        assert!(listener.next().await.event.contains(&format!(r#""{round}""#)));
        server.restart();
        let is_noticed = || !listener.counters.is_subscribed();
        eventually("it notices", async || is_noticed().then_some(())).await;
    }
}

#[tokio::test]
async fn a_subscription_whose_bytes_are_swallowed_is_made_again() {
    let server = Server::start(&[]);
    let relay = Relay::before(server.port);
    let mut listener = listen_with(&relay.url(), Duration::from_secs(1));
    listener.subscribed().await;
    server.publish("socket.io#/#room1#", &broadcast("other!", "before", "room1"));
    assert!(listener.next().await.event.contains("before"));
    relay.forget();
    let begun = Instant::now();
    server.publish("socket.io#/#room1#", &broadcast("other!", "swallowed", "room1"));
    let emit = eventually("events come again", async || {
        server.publish("socket.io#/#room1#", &broadcast("other!", "after", "room1"));
        listener.emits.try_recv().ok()
    });
    assert!(emit.await.event.contains("after"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_subscription_without_publications_stays_while_redis_answers() {
    let server = Server::start(&[]);
    let mut listener = listen(&server.url());
    listener.subscribed().await;
    let connection = || {
        let clients = server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let id = clients.split(' ').find(|word| word.starts_with("id="));
        id.expect("it is connected").to_owned()
    };
    let first = connection();
    server.cli(&["CONFIG", "RESETSTAT"]);
    // The second ping is sent after the answer to the first.
    let is_asked = || server.cli(&["INFO", "commandstats"]).contains("cmdstat_ping:calls=2,");
    eventually("it is asked twice", async || is_asked().then_some(())).await;
    assert_eq!(connection(), first);
    server.publish("socket.io#/#room1#", &broadcast("other!", "one", "room1"));
    assert!(listener.next().await.event.contains("one"));
}

#[tokio::test]
async fn a_queue_that_is_full_drops_and_counts() {
    let server = Server::start(&[]);
    let mut listener = listen(&server.url());
    listener.subscribed().await;
    for n in 0..20 {
        server.publish("socket.io#/#room1#", &broadcast("other!", &n.to_string(), "room1"));
    }
    let is_counted = || listener.counters.skipped() == [("busy", 4)];
    eventually("what does not fit is counted", async || is_counted().then_some(())).await;
    for n in 0..16 {
        assert!(listener.next().await.event.contains(&format!(r#""{n}""#)));
    }
}

#[tokio::test]
async fn messages_are_published_for_the_adapter() {
    let server = Server::start(&[]);
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut other = client.get_async_pubsub().await.expect("it is up");
    other.subscribe("socket.io#/#room1#").await.expect("it subscribes");
    let settings = settings(&server.url());
    let connector = Arc::new(Connector::new(&settings).expect("usable settings"));
    let counters = Arc::new(Counters::default());
    let commands = Commands::new(connector, &settings);
    let channels = Channels::new("socket.io");
    let egress = Egress::start(commands, channels, names(), Arc::clone(&counters));
    let author = Arc::new(UserCard {
        id: UserId(7),
        email: "ann@example.com".into(),
        name: "Ann".into(),
        avatar: "/a.svg".into(),
    });
    let message = |seq| StoredMessage {
        seq: Seq(seq),
        id: 40,
        author: Arc::clone(&author),
        msg: "hi".into(),
        img: "".into(),
        time: "2026-01-01T10:00:00.000Z".into(),
    };
    egress.publish(RoomId(1), &[message(1), message(2)]);
    let mut publications = other.on_message();
    for seq in 1..=2 {
        let publication =
            timeout(TIMEOUT, publications.next()).await.expect("in time").expect("one");
        let broadcast = Broadcast::decode(publication.get_payload_bytes(), 1024);
        let broadcast = broadcast.expect("a broadcast");
        assert_eq!((&*broadcast.uid, &broadcast.rooms[..]), (UID, &["room1".to_owned()][..]));
        assert!(broadcast.event.contains(&format!(r#""seq":{seq}"#)), "{}", broadcast.event);
        assert!(!broadcast.event.contains("example.com"), "{}", broadcast.event);
    }
    let is_counted = || counters.published.load(Relaxed) == 2;
    eventually("both are counted", async || is_counted().then_some(())).await;
}

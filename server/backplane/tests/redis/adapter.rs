//! Events of other programs, and messages for them, over a real server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use throng_backplane::adapter::{Broadcast, Channels, encode};
use throng_backplane::counters::Counters;
use throng_backplane::egress::Egress;
use throng_backplane::ingress::{Ingress, UID};
use throng_backplane::names::RoomNames;
use throng_backplane::{Commands, Connector};
use throng_core::cluster::{Audience, Emit, StoredMessage};
use throng_core::input::UserCard;
use throng_core::{RoomId, Seq, UserId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::executor::settings;
use crate::server::{PATIENCE, Server, eventually, free_port};

struct Listener {
    rooms: mpsc::UnboundedSender<RoomId>,
    emits: mpsc::Receiver<Arc<Emit>>,
    counters: Arc<Counters>,
}

fn names() -> RoomNames {
    RoomNames::new("room{id}").expect("a pattern")
}

fn listen(url: &str) -> Listener {
    let counters = Arc::new(Counters::default());
    let (rooms, known) = mpsc::unbounded_channel();
    let (emits_in, emits) = mpsc::channel(16);
    let ingress = Ingress {
        connector: Arc::new(Connector::new(&settings(url)).expect("usable settings")),
        channels: Channels::new("socket.io"),
        names: names(),
        bytes_max: 1024,
        timeout: Duration::from_secs(5),
        counters: Arc::clone(&counters),
    };
    tokio::spawn(ingress.run(known, emits_in));
    Listener { rooms, emits, counters }
}

impl Listener {
    async fn subscribed(&self, server: &Server, channel: &str) {
        let count = || server.cli(&["PUBSUB", "NUMSUB", channel]);
        let is_there = || count() == format!("{channel}\n1");
        eventually("the channel is subscribed to", async || is_there().then_some(())).await;
    }

    async fn next(&mut self) -> Arc<Emit> {
        timeout(PATIENCE, self.emits.recv()).await.expect("in time").expect("it listens")
    }
}

fn broadcast(uid: &str, text: &str, room: &str) -> Vec<u8> {
    encode(uid, &["news".into(), json!({ "text": text })], room)
}

#[tokio::test]
async fn only_rooms_with_members_are_listened_to() {
    let server = Server::start(&[]);
    let mut listener = listen(&server.url());
    listener.rooms.send(RoomId(1)).expect("it listens");
    for channel in ["socket.io#/#", "socket.io#/#room1#", "socket.io#/#1#"] {
        listener.subscribed(&server, channel).await;
    }
    assert_eq!(
        server.cli(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]),
        "socket.io-request#/#\n0"
    );
    server.publish("socket.io#/#room2#", &broadcast("other!", "not here", "room2"));
    server.publish("socket.io#/#room1#", &broadcast(UID, "of a server like us", "room1"));
    server.publish("socket.io#/#room1#", &broadcast("other!", &"x".repeat(1024), "room1"));
    server.publish("socket.io#/#", &broadcast("other!", "nobody we know", "lobby"));
    server.publish("socket.io#/#room1#", &broadcast("other!", "one", "room1"));
    server.publish("socket.io#/#1#", &broadcast("other!", "two", "1"));
    server.publish("socket.io#/#uid_7#", &broadcast("other!", "three", "uid_7"));
    let room = Audience::Room(RoomId(1));
    for (text, to) in [("one", room), ("two", room), ("three", Audience::User(UserId(7)))] {
        let emit = listener.next().await;
        assert_eq!(&*emit.event, format!(r#"["news",{{"text":"{text}"}}]"#));
        assert_eq!(emit.to.as_deref(), Some(&[to][..]));
    }
    assert_eq!(listener.counters.emits(), 3);
    assert_eq!(listener.counters.skipped(), [("too_large", 1)]);
}

#[tokio::test]
async fn subscriptions_outlive_the_server() {
    let port = free_port();
    let mut listener = listen(&format!("redis://127.0.0.1:{port}"));
    listener.rooms.send(RoomId(1)).expect("it listens");
    let mut server = Server::start_at(port);
    for round in 0..2 {
        listener.subscribed(&server, "socket.io#/#room1#").await;
        server.publish("socket.io#/#room1#", &broadcast("other!", &round.to_string(), "room1"));
        assert!(listener.next().await.event.contains(&format!(r#""{round}""#)));
        server.restart();
    }
}

#[tokio::test]
async fn a_queue_that_is_full_drops_and_counts() {
    let server = Server::start(&[]);
    let mut listener = listen(&server.url());
    listener.rooms.send(RoomId(1)).expect("it listens");
    listener.subscribed(&server, "socket.io#/#1#").await;
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
    let mut heard = other.on_message();
    for seq in 1..=2 {
        let publication = timeout(PATIENCE, heard.next()).await.expect("in time").expect("one");
        let broadcast = Broadcast::decode(publication.get_payload_bytes(), 1024);
        let broadcast = broadcast.expect("a broadcast");
        assert_eq!((&*broadcast.uid, &broadcast.rooms[..]), (UID, &["room1".to_owned()][..]));
        assert!(broadcast.event.contains(&format!(r#""seq":{seq}"#)), "{}", broadcast.event);
        assert!(!broadcast.event.contains("example.com"), "{}", broadcast.event);
    }
    let is_counted = || counters.published() == 2;
    eventually("both are counted", async || is_counted().then_some(())).await;
}

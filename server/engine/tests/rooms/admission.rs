//! Who may connect: `Handler::admits`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use throng_engine::rooms::{Auth, Event, Handler, Rooms, Settings, Socket};
use throng_engine::{App as _, Eio, SocketId};

use crate::net::Net;

/// Who the clients of this shard are, by the name in their `auth`.
#[derive(Clone, Default)]
struct Members(BTreeMap<SocketId, String>);

impl Handler for Members {
    fn admits(&mut self, id: SocketId, auth: Auth<'_>) -> Result<(), String> {
        let auth: Value = auth.parse().map_err(|_| "auth is not JSON".to_owned())?;
        let name = auth["name"].as_str().ok_or("a name is needed")?;
        if name == "mallory" {
            return Err("not you".to_owned());
        }
        self.0.insert(id, name.to_owned());
        Ok(())
    }

    fn connected(&mut self, socket: &mut Socket<'_>) {
        let name = self.0[&socket.id()].clone();
        socket.emit("hello", name);
    }

    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
        let name = self.0[&socket.id()].clone();
        socket.ack(event.ack(), name);
    }

    fn disconnecting(&mut self, socket: &mut Socket<'_>) {
        self.0.remove(&socket.id()).expect("only admitted clients disconnect");
    }
}

fn net() -> Net<Rooms<Members>> {
    Net::new(1, 4, &Settings::new(Members::default()))
}

/// What the client receives, without the handshake; ids are cut off.
fn received(net: &mut Net<Rooms<Members>>) -> Vec<String> {
    let mut packets = Vec::new();
    net.drain(|_, packet| {
        if !packet.starts_with("0{") {
            let is_connect = packet.starts_with("40{\"sid\":");
            packets.push(if is_connect { "40".to_owned() } else { packet.to_owned() });
        }
    });
    packets
}

fn refusals(net: &Net<Rooms<Members>>) -> u64 {
    net.shards().map(|shard| shard.app().counters().connects_refused).sum()
}

#[test]
fn an_admitted_client_gets_connect_before_anything_else() {
    let mut net = net();
    let client = net.open(0, Eio::V4);
    net.send(client, r#"40{"name":"ada"}"#);
    assert_eq!(received(&mut net), ["40", r#"42["hello","ada"]"#]);
    net.send(client, r#"420["who"]"#);
    assert_eq!(received(&mut net), [r#"430["ada"]"#]);
    assert_eq!(refusals(&net), 0);
}

#[test]
fn a_refused_client_hears_why_and_may_ask_again() {
    let mut net = net();
    let client = net.open(0, Eio::V4);
    for (auth, message) in [
        ("", "a name is needed"),
        (r#"{"name":1}"#, "a name is needed"),
        (r#"{"name":"mallory"}"#, "not you"),
    ] {
        net.send(client, &format!("40{auth}"));
        assert_eq!(received(&mut net), [format!("44{}", json!({ "message": message }))]);
    }
    assert!(net.is_open(client));
    net.send(client, r#"40{"name":"ada"}"#);
    assert_eq!(received(&mut net), ["40", r#"42["hello","ada"]"#]);
    assert_eq!(refusals(&net), 3);
}

#[test]
fn what_a_refused_client_sent_meanwhile_means_nothing() {
    let mut net = net();
    let client = net.open(0, Eio::V4);
    for packet in [r#"40{"name":"mallory"}"#, r#"420["who"]"#] {
        net.send(client, packet);
    }
    assert_eq!(received(&mut net), [r#"44{"message":"not you"}"#]);
    let stale: u64 = net.shards().map(|shard| shard.engine().counters.stale_packets).sum();
    assert_eq!(stale, 1, "it is counted");
    net.send(client, r#"40{"name":"ada"}"#);
    assert_eq!(received(&mut net), ["40", r#"42["hello","ada"]"#]);
}

/// All in one read: a refusal must not be taken for an answer to the request behind it.
#[test]
fn a_client_that_left_before_it_was_refused_may_ask_again_at_once() {
    let mut net = net();
    let client = net.open(0, Eio::V4);
    for packet in [r#"40{"name":"mallory"}"#, r#"420["who"]"#, "41", r#"40{"name":"ada"}"#] {
        net.send(client, packet);
    }
    assert_eq!(received(&mut net), ["40", r#"42["hello","ada"]"#]);
    assert_eq!(refusals(&net), 1);
}

#[test]
fn a_client_that_left_before_it_was_admitted_hears_nothing() {
    let mut net = net();
    let client = net.open(0, Eio::V4);
    net.send(client, r#"40{"name":"ada"}"#);
    net.send(client, "41");
    let packets = received(&mut net);
    assert!(packets.is_empty() || packets == ["40", r#"42["hello","ada"]"#], "{packets:?}");
    net.close(client);
    assert!(received(&mut net).is_empty());
}

#[test]
fn a_refused_client_that_does_not_ask_again_is_closed() {
    let mut net = net();
    let client = net.open(0, Eio::V4);
    let mut heard = Vec::new();
    // Less than the connect timeout of 45 s, and more. To ask again does not extend it.
    for (until_s, is_open) in [(44, true), (46, false)] {
        while net.world_s() < until_s {
            net.pass(1_000);
            net.send(client, "3");
            net.send(client, r#"40{"name":"mallory"}"#);
            heard.extend(received(&mut net));
        }
        let is_closed = heard.iter().any(|packet| packet.starts_with("close:"));
        assert_eq!(!is_closed, is_open, "after {until_s} s: {heard:?}");
    }
    assert!(heard.contains(&"close:4003".to_owned()), "{heard:?}");
}

#[test]
fn engine_io_3_is_asked_about_without_auth() {
    let mut net = net();
    net.open(0, Eio::V3);
    assert_eq!(received(&mut net), [r#"44"a name is needed""#]);
}

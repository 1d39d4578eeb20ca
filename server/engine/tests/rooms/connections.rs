//! A session that leaves and connects again is another client: what is for the first reaches nobody.

use throng_engine::rooms::{Event, Handler, Rooms, Settings, Socket};
use throng_engine::{App as _, Eio};

use crate::net::Net;

/// Greets who connects and who leaves; answers at once or through a room.
#[derive(Clone)]
struct Polite;

impl Handler for Polite {
    fn connected(&mut self, socket: &mut Socket<'_>) {
        let id = socket.id();
        socket.emit("hello", id);
    }

    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
        let id = socket.id();
        match event.name() {
            "cut" => socket.disconnect(),
            "at once" => socket.ack(event.ack(), id),
            room => socket.room(room).ack(event.ack(), id),
        }
    }

    fn disconnecting(&mut self, socket: &mut Socket<'_>) {
        let id = socket.id();
        socket.emit("leaving", id);
        socket.disconnect();
    }
}

const LEAVE_AND_CONNECT: [&str; 2] = ["41", "40"];

/// The packets of the client, which is the first, and the id under which it is connected.
fn received(net: &mut Net<Rooms<Polite>>) -> (Vec<String>, String) {
    let mut packets = Vec::new();
    net.drain(|_, packet| packets.push(packet.to_owned()));
    packets.retain(|packet| !packet.starts_with("0{"));
    let connected = packets.iter().rev().find(|packet| packet.starts_with("40"));
    let connected = connected.map(|packet| packet.split('"').nth(3).expect("an id").to_owned());
    (packets, connected.unwrap_or_default())
}

fn unknown(net: &Net<Rooms<Polite>>) -> u64 {
    net.shards().map(|shard| shard.app().counters().sockets_unknown).sum()
}

/// All in one read, so the engine has decoded the second CONNECT before the application sees the first.
#[test]
fn what_is_done_for_the_connection_before_does_not_reach_the_present_one() {
    let mut net = Net::new(1, 4, &Settings::new(Polite));
    let client = net.open(0, Eio::V4);
    for packet in ["40", r#"421["at once"]"#, r#"422["lobby"]"#, r#"42["cut"]"#] {
        net.send(client, packet);
    }
    for packet in LEAVE_AND_CONNECT {
        net.send(client, packet);
    }
    let (packets, id) = received(&mut net);
    assert_eq!(packets, [format!(r#"40{{"sid":"{id}"}}"#), format!(r#"42["hello","{id}"]"#)]);
    // Hello, both answers, and the disconnect; leaving, and its disconnect.
    assert_eq!(unknown(&net), 6);
    net.send(client, r#"421["at once"]"#);
    assert_eq!(received(&mut net).0, [format!(r#"431["{id}"]"#)], "the present one is served");
}

#[test]
fn an_answer_that_comes_from_a_home_does_not_reach_the_next_connection() {
    const ROOMS: usize = 16;
    let mut net = Net::new(2, 16, &Settings::new(Polite));
    let client = net.connect(0, Eio::V4);
    let (_, first) = received(&mut net);
    for room in 0..ROOMS {
        net.send(client, &format!(r#"42{room}["{room}"]"#));
    }
    let mut packets = net.turn(0);
    for packet in LEAVE_AND_CONNECT {
        net.send(client, packet);
        packets.extend(net.turn(0));
    }
    let (late, _) = received(&mut net);
    let answered = packets.iter().filter(|(_, packet)| packet.starts_with("43")).count();
    assert!((1..ROOMS).contains(&answered), "homes are on both shards: {packets:?}");
    assert!(!late.iter().any(|packet| packet.contains(&first)), "{late:?}");
    let at_leaving = 2;
    assert_eq!(unknown(&net), (ROOMS - answered + at_leaving) as u64, "they are counted");
}

//! NODE: one node of several, as its own clients see the others.

mod announcing;
mod emitted;
mod order;
mod presence;
mod reading;
mod tokens;

use std::sync::Arc;

use throng_chat::cluster::{
    Audience, ClusterInput, Emit, NodeIx, SessionState, Signal, StoredMessage,
};
use throng_chat::{RoomId, Seq, Settings, UserId};
use throng_engine::PipeEnd;

use crate::chat::{room, say};
use crate::world::{Client, World, settings};

const NODE: NodeIx = NodeIx(1);

fn cluster() -> Settings {
    Settings { cluster: true, ..settings() }
}

fn on_shards(test: impl Fn(u8)) {
    for shards in [1, 3] {
        test(shards);
    }
}

fn messages(messages: &[StoredMessage]) -> ClusterInput {
    ClusterInput::Messages { room: RoomId(1), messages: messages.to_vec() }
}

fn tip(seq: u64) -> ClusterInput {
    ClusterInput::Tip { room: RoomId(1), seq: Seq(seq) }
}

fn joined(world: &World, node: NodeIx, users: &[u32]) -> ClusterInput {
    let joined = users.iter().map(|user| world.store.card(*user)).collect();
    ClusterInput::Present { room: RoomId(1), node, joined, left: Vec::new() }
}

fn left(node: NodeIx, user: u32, seq: u64) -> ClusterInput {
    let left = vec![(UserId(user), Seq(seq))];
    ClusterInput::Present { room: RoomId(1), node, joined: Vec::new(), left }
}

/// The texts and numbers of the messages received since the last call.
fn heard(client: Client, world: &mut World) -> Vec<(String, u64)> {
    let events = world.take(client).into_iter().filter(|m| m.starts_with(r#"42["message""#));
    let field = |event: &str, from: &str, to: char| {
        let start = event.find(from).expect("the field") + from.len();
        event[start..].split(to).next().expect("a value").to_owned()
    };
    let one = |event: String| {
        (field(&event, r#""msg":""#, '"'), field(&event, r#""seq":"#, '}').parse().expect("a seq"))
    };
    events.map(one).collect()
}

fn texts(client: Client, world: &mut World) -> String {
    heard(client, world).into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(" ")
}

fn online(client: Client, world: &mut World) -> u32 {
    let last = world.take(client).into_iter().rfind(|m| m.starts_with(r#"42["room"#));
    let last = last.expect("a roster");
    let start = last.find(r#""online":"#).expect("a number") + 9;
    last[start..].split(',').next().expect("a number").parse().expect("a number")
}

fn count_of_room_1(client: Client, world: &mut World) -> String {
    world.advance(2000);
    world.take(client);
    world.send(client, r#"42["login",{}]"#);
    let count = world.take(client).into_iter().rfind(|m| m.starts_with(r#"42["count""#));
    let count = count.expect("a count");
    let start = count.find(r#""room1":"#).expect("the room") + 8;
    count[start..].split(',').next().expect("a number").to_owned()
}

fn present(signals: &[Signal]) -> Vec<(u32, bool, u64)> {
    let of = |signal: &Signal| match signal {
        Signal::Present { user, is_present, seq, .. } => Some((user.id.0, *is_present, seq.0)),
        Signal::Session { .. } | Signal::Chosen { .. } | Signal::Committed { .. } => None,
    };
    signals.iter().filter_map(of).collect()
}

fn states(signals: &[Signal]) -> Vec<Option<SessionState>> {
    let of = |signal: &Signal| match signal {
        Signal::Session { state, .. } => Some(state.clone()),
        Signal::Present { .. } | Signal::Chosen { .. } | Signal::Committed { .. } => None,
    };
    signals.iter().filter_map(of).collect()
}

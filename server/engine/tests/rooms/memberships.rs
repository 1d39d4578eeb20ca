//! Joins, leaves and messages in random order, with and without state at the rooms' homes: members
//! receive exactly what was said between the acks of their join and their leave, nobody else receives
//! anything, and everything drains.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use serde_json::{Value, json};
use throng_engine::rooms::{Ack, Event, Handler, RoomHome, RoomState, Rooms, Settings, Socket};
use throng_engine::{App as _, Eio, SocketId};

use crate::net::Net;

const SHARDS: usize = 3;
const CLIENTS: usize = 6;
const ROOMS: usize = 3;

/// `join`, `leave` and `say`; each is acked through its room, in the order of the requests.
#[derive(Clone)]
struct Plain;

impl Handler for Plain {
    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
        let (room, text): (String, String) = event.args().expect("tests send both");
        let ok = match event.name() {
            "join" => socket.room(&room).join().is_ok(),
            "leave" => socket.room(&room).leave(),
            _ => {
                socket.room(&room).emit("said", json!([room, text]));
                true
            }
        };
        match event.name() {
            "join" if ok => socket.room(&room).ack_is_in(event.ack(), |is_in| is_in),
            _ => socket.room(&room).ack(event.ack(), ok),
        }
    }
}

/// A state that changes nothing.
#[derive(Default)]
struct Kept;

impl RoomState for Kept {
    type Message = Infallible;

    fn message(&mut self, _: &mut RoomHome<'_>, _: SocketId, message: Infallible, _: Ack) {
        match message {}
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Turn { shard: usize },
    Join { client: usize, room: usize },
    Leave { client: usize, room: usize },
    Say { client: usize, room: usize },
    Close { client: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || (0..CLIENTS, 0..ROOMS);
    prop_oneof![
        8 => (0..SHARDS).prop_map(|shard| Step::Turn { shard }),
        3 => at().prop_map(|(client, room)| Step::Join { client, room }),
        1 => at().prop_map(|(client, room)| Step::Leave { client, room }),
        5 => at().prop_map(|(client, room)| Step::Say { client, room }),
        1 => (0..CLIENTS).prop_map(|client| Step::Close { client }),
    ]
}

/// What a client knows.
#[derive(Default)]
struct Client {
    /// Events without an ack, by ack id.
    asked: BTreeMap<u64, (&'static str, usize)>,
    next_ack: u64,
    /// Rooms between the ack of the join and the ack of the leave.
    rooms: BTreeSet<usize>,
    /// Per membership: the number of its room, and what was received.
    memberships: Vec<(usize, Vec<usize>)>,
    current: BTreeMap<usize, usize>,
}

struct World<S: RoomState<Message = Infallible>> {
    net: Net<Rooms<Plain, S>>,
    clients: Vec<Client>,
    said: usize,
    /// Room of each text.
    room_of: Vec<usize>,
}

impl<S: RoomState<Message = Infallible>> World<S> {
    fn new(lane_max: usize) -> World<S> {
        let mut net = Net::new(SHARDS, lane_max, &Settings::new(Plain));
        for index in 0..CLIENTS {
            net.connect(index % SHARDS, Eio::V4);
        }
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let mut world = World { net, clients, said: 0, room_of: Vec::new() };
        world.drain();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Turn { shard } => {
                let received = self.net.turn(shard);
                received.iter().for_each(|(client, packet)| self.packet(*client, packet));
            }
            Step::Join { client, room } => self.ask(client, "join", room, "-"),
            Step::Leave { client, room } => self.ask(client, "leave", room, "-"),
            Step::Say { client, room } => {
                if self.net.is_open(client) && !self.clients[client].asked_any(room) {
                    let text = self.said.to_string();
                    self.said += 1;
                    self.room_of.push(room);
                    self.ask(client, "say", room, &text);
                }
            }
            Step::Close { client } => self.net.close(client),
        }
    }

    fn ask(&mut self, index: usize, name: &'static str, room: usize, text: &str) {
        let client = &mut self.clients[index];
        if !self.net.is_open(index) || client.asked_any(room) {
            return;
        }
        let ack = client.next_ack;
        client.next_ack += 1;
        client.asked.insert(ack, (name, room));
        let event = json!([name, room.to_string(), text]);
        self.net.send(index, &format!("42{ack}{event}"));
    }

    fn packet(&mut self, index: usize, text: &str) {
        let client = &mut self.clients[index];
        if let Some(ack) = text.strip_prefix("43") {
            let at = ack.find('[').expect("an array");
            let id: u64 = ack[..at].parse().expect("an ack id");
            let ok: Value = serde_json::from_str(&ack[at..]).expect("JSON");
            let (name, room) = client.asked.remove(&id).expect("acked once");
            match (name, ok[0].as_bool().expect("a boolean")) {
                ("join", true) => {
                    assert!(client.rooms.insert(room), "it was outside");
                    client.begin_membership(room);
                }
                ("join", false) => assert!(client.rooms.contains(&room), "it was inside"),
                ("leave", ok) => {
                    assert_eq!(client.rooms.remove(&room), ok);
                    client.current.remove(&room);
                }
                _ => {}
            }
        } else if let Some(event) = text.strip_prefix("42") {
            let event: Value = serde_json::from_str(event).expect("JSON");
            let room: usize = event[1][0].as_str().expect("text").parse().expect("a room");
            let said: usize = event[1][1].as_str().expect("text").parse().expect("a number");
            assert_eq!(self.room_of[said], room, "said in another room");
            let is_joining = client.asked.values().any(|asked| *asked == ("join", room));
            assert!(
                client.rooms.contains(&room) || is_joining,
                "client {index} is not in room {room} and received {event}"
            );
            if client.rooms.contains(&room) {
                let membership = client.current[&room];
                client.memberships[membership].1.push(said);
            }
        } else {
            assert!(text.starts_with("0{") || text.starts_with("40"), "{text}");
        }
    }

    /// Turns until nothing moves.
    fn drain(&mut self) {
        let mut received = Vec::new();
        self.net.drain(|client, packet| received.push((client, packet.to_owned())));
        received.iter().for_each(|(client, packet)| self.packet(*client, packet));
    }

    fn check_drained(&self) {
        assert!(self.net.are_lanes_empty());
        for (index, client) in self.clients.iter().enumerate() {
            let waits = self.net.is_open(index) && !client.asked.is_empty();
            assert!(!waits, "client {index} waits for {:?}", client.asked);
        }
        let memberships: Vec<_> =
            self.clients.iter().flat_map(|client| &client.memberships).collect();
        for (room, one) in &memberships {
            let others = memberships.iter().filter(|(other_room, _)| other_room == room);
            for (_, other) in others {
                assert_eq!(common(one, other), common(other, one), "in room {room}");
            }
        }
        for room in 0..ROOMS {
            let members = self.clients.iter().enumerate();
            let members = members.filter(|(index, _)| self.net.is_open(*index));
            let memberships = members.map(|(_, client)| client);
            let memberships = memberships
                .filter_map(|client| client.current.get(&room).map(|at| &client.memberships[*at]));
            let newest: BTreeSet<_> =
                memberships.filter_map(|(_, received)| received.last()).collect();
            assert!(newest.len() < 2, "members of room {room} received up to {newest:?}");
        }
    }
}

/// The part of `one` from the first to the last message that `other` has as well. It is the same part
/// of both if each received an unbroken part of one order.
fn common<'a>(one: &'a [usize], other: &[usize]) -> &'a [usize] {
    let is_shared = |said: &usize| other.contains(said);
    let (Some(from), Some(to)) = (one.iter().position(is_shared), one.iter().rposition(is_shared))
    else {
        return &[];
    };
    &one[from..=to]
}

impl Client {
    fn asked_any(&self, room: usize) -> bool {
        self.asked.values().any(|(_, asked)| *asked == room)
    }

    fn begin_membership(&mut self, room: usize) {
        self.current.insert(room, self.memberships.len());
        self.memberships.push((room, Vec::new()));
    }
}

fn check<S: RoomState<Message = Infallible>>(lane_max: usize, steps: Vec<Step>) {
    let mut world = World::<S>::new(lane_max);
    for step in steps {
        world.step(step);
    }
    world.drain();
    world.check_drained();

    // One more message in each room reaches exactly its members.
    for room in 0..ROOMS {
        let Some(speaker) = (0..CLIENTS).find(|client| world.net.is_open(*client)) else { break };
        let text = world.said;
        world.step(Step::Say { client: speaker, room });
        world.drain();
        for (index, client) in world.clients.iter().enumerate() {
            if !world.net.is_open(index) {
                continue;
            }
            let received = client.memberships.iter().any(|(_, received)| received.contains(&text));
            assert_eq!(received, client.rooms.contains(&room));
        }
    }

    // When all have gone, no room is left.
    for client in 0..CLIENTS {
        world.step(Step::Close { client });
    }
    world.drain();
    world.check_drained();
    let rooms: u64 = world.net.shards().map(|shard| shard.app().counters().rooms).sum();
    assert_eq!(rooms, 0);
    let members: u64 = world.net.shards().map(|shard| shard.app().counters().home_members).sum();
    assert_eq!(members, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn members_receive_exactly_what_was_said_during_their_membership(
        lane_max in 1_usize..=2,
        steps in proptest::collection::vec(step(), 40..240),
    ) {
        check::<()>(lane_max, steps);
    }

    #[test]
    fn members_of_rooms_with_state_receive_the_same(
        lane_max in 1_usize..=2,
        steps in proptest::collection::vec(step(), 40..240),
    ) {
        check::<Kept>(lane_max, steps);
    }
}

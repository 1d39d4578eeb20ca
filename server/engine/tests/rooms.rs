//! `throng_engine::rooms` on three shards driven by hand through tiny lanes, in random order: members
//! receive exactly what was said between the acks of their join and their leave, nobody else receives
//! anything, and everything drains.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use serde_json::{Value, json};
use throng_engine::rooms::{
    Event, Handler, RoomDelivery, RoomRequest, Rooms, Settings as RoomSettings, Socket,
};
use throng_engine::{
    Accept, App as _, Effects, Eio, Endpoint, EngineRequest, Input, LaneSlots, Method, Now,
    PipeEnd, PipeId, Place, Seed, Settings, Shard, ShardId, Transport,
};
use throng_wire::ws;

const SHARDS: usize = 3;
const CLIENTS: usize = 6;
const ROOMS: usize = 3;
const MASK: [u8; 4] = [1, 2, 3, 4];

/// `join`, `leave` and `say`; each is acked through its room, in the order of the requests.
#[derive(Clone)]
struct Plain;

impl Handler for Plain {
    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>) {
        let (room, text): (String, String) = event.args().expect("tests send both");
        let ok = match event.name() {
            "join" => socket.room(&room).join(),
            "leave" => socket.room(&room).leave(),
            _ => {
                socket.room(&room).emit("said", json!([room, text]));
                true
            }
        };
        socket.room(&room).ack(event.ack(), json!(ok));
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
struct Client {
    shard: usize,
    pipe: PipeId,
    is_open: bool,
    /// Bytes for the shard.
    up: Vec<u8>,
    /// Bytes of the shard that are not a whole frame.
    down: Vec<u8>,
    /// Events without an ack, by ack id.
    asked: BTreeMap<u64, (&'static str, usize)>,
    next_ack: u64,
    /// Rooms between the ack of the join and the ack of the leave.
    rooms: BTreeSet<usize>,
    /// Per stay in a room: its number, and what was received.
    stays: Vec<(usize, Vec<usize>)>,
    current: BTreeMap<usize, usize>,
}

struct World {
    shards: Vec<Shard<Rooms<Plain>>>,
    lane_max: usize,
    /// By sender and receiver.
    requests: Vec<Vec<VecDeque<RoomRequest>>>,
    deliveries: Vec<Vec<VecDeque<RoomDelivery>>>,
    clients: Vec<Client>,
    now: Now,
    said: usize,
    /// Room of each text.
    room_of: Vec<usize>,
}

fn lanes<T>() -> Vec<Vec<VecDeque<T>>> {
    (0..SHARDS).map(|_| (0..SHARDS).map(|_| VecDeque::new()).collect()).collect()
}

fn masked(text: &str) -> Vec<u8> {
    assert!(text.len() < 126, "short frames only");
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend(MASK);
    frame.extend(text.bytes().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

impl World {
    fn new(lane_max: usize) -> World {
        let shards = (0..SHARDS).map(|index| {
            let seed = Seed { placement: [3; 16], random: [index as u8; 32], started_unix_ms: 0 };
            let place = Place { shard: ShardId(index as u8), shards: SHARDS as u8, seed };
            let settings = Settings { own_lane_max: lane_max as u32, ..Settings::default() };
            Shard::new(&settings, &RoomSettings::new(Plain), &place)
        });
        let mut world = World {
            shards: shards.collect(),
            lane_max,
            requests: lanes(),
            deliveries: lanes(),
            clients: Vec::new(),
            now: Now(1_000_000_000),
            said: 0,
            room_of: Vec::new(),
        };
        for index in 0..CLIENTS {
            world.connect(index);
        }
        world.drain();
        world
    }

    fn connect(&mut self, index: usize) {
        let (shard, slot) = (index % SHARDS, (index / SHARDS) as u32);
        let pipe = PipeId { slot, generation: 1 };
        let request = EngineRequest {
            endpoint: Endpoint::SocketIo,
            method: Method::Get,
            transport: Transport::Websocket,
            eio: Eio::V4,
            sid: None,
            b64: false,
            jsonp: None,
            token: None,
            origin_allowed: true,
            octet_stream: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let slots = self.slots(shard);
        let mut effects = Effects::default();
        self.shards[shard].begin(self.now, &slots);
        let accept = Accept::Write("accept".into());
        self.shards[shard].step(Input::Upgrade { pipe, accept, request }, &mut effects);
        self.shards[shard].settle(&mut effects);
        self.apply(shard, effects);
        self.clients.push(Client {
            shard,
            pipe,
            is_open: true,
            up: masked("40"),
            down: Vec::new(),
            asked: BTreeMap::new(),
            next_ack: 0,
            rooms: BTreeSet::new(),
            stays: Vec::new(),
            current: BTreeMap::new(),
        });
    }

    fn slots(&self, from: usize) -> LaneSlots {
        let free = |len: usize| (self.lane_max - len) as u32;
        LaneSlots {
            requests: self.requests[from].iter().map(|lane| free(lane.len())).collect(),
            deliveries: self.deliveries[from].iter().map(|lane| free(lane.len())).collect(),
            commands: 0,
            signals: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Turn { shard } => {
                self.turn(shard);
            }
            Step::Join { client, room } => self.ask(client, "join", room, "-"),
            Step::Leave { client, room } => self.ask(client, "leave", room, "-"),
            Step::Say { client, room } => {
                if self.clients[client].is_open && !self.clients[client].asked_any(room) {
                    let text = self.said.to_string();
                    self.said += 1;
                    self.room_of.push(room);
                    self.ask(client, "say", room, &text);
                }
            }
            Step::Close { client } => self.clients[client].is_open = false,
        }
    }

    fn ask(&mut self, client: usize, name: &'static str, room: usize, text: &str) {
        let client = &mut self.clients[client];
        if !client.is_open || client.asked_any(room) {
            return;
        }
        let ack = client.next_ack;
        client.next_ack += 1;
        client.asked.insert(ack, (name, room));
        let event = json!([name, room.to_string(), text]);
        client.up.extend(masked(&format!("42{ack}{event}")));
    }

    /// One turn; true if anything moved.
    fn turn(&mut self, index: usize) -> bool {
        self.now = self.now.plus_ms(1);
        let slots = self.slots(index);
        let shard = &mut self.shards[index];
        let mut effects = Effects::default();
        let mut is_moving = false;
        shard.begin(self.now, &slots);
        for from in 0..SHARDS {
            while let Some(delivery) = self.deliveries[from][index].pop_front() {
                is_moving = true;
                let from = ShardId(from as u8);
                shard.step(Input::Delivery { from, delivery }, &mut effects);
                shard.check();
            }
        }
        for from in 0..SHARDS {
            while shard.takes_requests()
                && let Some(request) = self.requests[from][index].pop_front()
            {
                is_moving = true;
                let from = ShardId(from as u8);
                shard.step(Input::Request { from, request }, &mut effects);
                shard.check();
            }
        }
        for client in self.clients.iter_mut().filter(|client| client.shard == index) {
            let pipe = client.pipe;
            if !client.up.is_empty() {
                is_moving = true;
                let mut bytes = std::mem::take(&mut client.up);
                shard.step(Input::Bytes { pipe, bytes: &mut bytes }, &mut effects);
            }
            if !client.is_open && pipe.generation == 1 {
                is_moving = true;
                // The pipe is not mentioned again.
                client.pipe.generation = 2;
                shard.step(Input::PipeClosed { pipe, end: PipeEnd::Eof }, &mut effects);
            }
        }
        shard.settle(&mut effects);
        shard.check();
        is_moving |= shard.next_deadline().is_some_and(|at| at <= self.now.plus_ms(1));
        is_moving | self.apply(index, effects)
    }

    fn apply(&mut self, index: usize, effects: Effects<Rooms<Plain>>) -> bool {
        let mut is_moving = !(effects.requests.is_empty() && effects.deliveries.is_empty());
        for (to, request) in effects.requests {
            self.requests[index][usize::from(to.0)].push_back(request);
        }
        for (to, delivery) in effects.deliveries {
            self.deliveries[index][usize::from(to.0)].push_back(delivery);
        }
        for lane in self.requests[index].iter().map(VecDeque::len) {
            assert!(lane <= self.lane_max, "a request lane holds {lane}");
        }
        for lane in self.deliveries[index].iter().map(VecDeque::len) {
            assert!(lane <= self.lane_max, "a delivery lane holds {lane}");
        }
        let mut dirty = VecDeque::new();
        self.shards[index].outbox().take_dirty(&mut dirty);
        for pipe in dirty {
            let mut slices = [IoSlice::new(&[]); 8];
            let outbox = self.shards[index].outbox();
            let count = outbox.slices(pipe, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            outbox.sent(pipe, bytes.len());
            is_moving |= !bytes.is_empty();
            let mut clients = self.clients.iter_mut();
            let client = clients.position(|client| client.shard == index && client.pipe == pipe);
            if let Some(client) = client {
                self.clients[client].down.extend(bytes);
                self.read(client);
            }
        }
        is_moving
    }

    /// The client reads what arrived. Whole frames arrive: the outbox has given up all it had.
    fn read(&mut self, index: usize) {
        let bytes = std::mem::take(&mut self.clients[index].down);
        let mut at = 0;
        if bytes.starts_with(b"HTTP/1.1 101") {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            at = end.expect("a whole head") + 4;
        }
        while at < bytes.len() {
            let frame = ws::frame_at(&bytes[at..], 1);
            let payload = ws::payload_of(&bytes[at..][frame.clone()]);
            let text = std::str::from_utf8(payload).expect("text").to_owned();
            at += frame.end;
            self.packet(index, &text);
        }
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
                    client.begin_stay(room);
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
                let stay = client.current[&room];
                client.stays[stay].1.push(said);
            }
        } else {
            assert!(text.starts_with("0{") || text.starts_with("40"), "{text}");
        }
    }

    /// Turns until nothing moves.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            let mut is_moving = false;
            for index in 0..SHARDS {
                is_moving |= self.turn(index);
            }
            if !is_moving {
                return;
            }
        }
        panic!("the shards never become idle");
    }

    fn check_drained(&self) {
        assert!(self.requests.iter().flatten().all(VecDeque::is_empty));
        assert!(self.deliveries.iter().flatten().all(VecDeque::is_empty));
        for (index, client) in self.clients.iter().enumerate() {
            let waits = client.is_open && !client.asked.is_empty();
            assert!(!waits, "client {index} waits for {:?}", client.asked);
        }
        let stays: Vec<_> = self.clients.iter().flat_map(|client| &client.stays).collect();
        for (room, one) in &stays {
            let others = stays.iter().filter(|(other_room, _)| other_room == room);
            for (_, other) in others {
                assert_eq!(common(one, other), common(other, one), "in room {room}");
            }
        }
        for room in 0..ROOMS {
            let members = self.clients.iter().filter(|client| client.is_open);
            let stays =
                members.filter_map(|client| client.current.get(&room).map(|at| &client.stays[*at]));
            let newest: BTreeSet<_> = stays.filter_map(|(_, received)| received.last()).collect();
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

    fn begin_stay(&mut self, room: usize) {
        self.current.insert(room, self.stays.len());
        self.stays.push((room, Vec::new()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn members_receive_exactly_what_was_said_during_their_stay(
        lane_max in 1_usize..=2,
        steps in proptest::collection::vec(step(), 40..240),
    ) {
        let mut world = World::new(lane_max);
        for step in steps {
            world.step(step);
        }
        world.drain();
        world.check_drained();

        // One more message in each room reaches exactly its members.
        for room in 0..ROOMS {
            let Some(speaker) = world.clients.iter().position(|client| client.is_open) else { break };
            let text = world.said;
            world.step(Step::Say { client: speaker, room });
            world.drain();
            for client in world.clients.iter().filter(|client| client.is_open) {
                let received = client.stays.iter().any(|(_, received)| received.contains(&text));
                prop_assert_eq!(received, client.rooms.contains(&room));
            }
        }

        // When all have gone, no room is left.
        for client in 0..CLIENTS {
            world.step(Step::Close { client });
        }
        world.drain();
        world.check_drained();
        let rooms: u64 = world.shards.iter().map(|shard| shard.app().counters().rooms).sum();
        prop_assert_eq!(rooms, 0);
    }
}

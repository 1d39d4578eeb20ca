//! State at the homes of rooms, and what handlers do to other clients.

use serde_json::{Value, json};
use throng_engine::rooms::{
    Ack, Event, Handler, Io, JoinError, RoomHome, RoomState, Rooms, Settings, Socket,
};
use throng_engine::{App as _, Eio, SocketId};

use crate::net::Net;

const SHARDS: usize = 3;
const TICK_MS: u32 = 60_000;

/// What events mean here. Each has a room as its first argument, and another text.
#[derive(Clone)]
struct Club;

enum Message {
    Enter,
    Say(String),
    Members,
    Remove(SocketId),
    SayToOthers(SocketId),
}

impl Handler<Message> for Club {
    fn connected(&mut self, socket: &mut Socket<'_, Message>) {
        let id = socket.id();
        socket.emit("you", id);
    }

    fn event(&mut self, socket: &mut Socket<'_, Message>, event: Event<'_>) {
        let (room, text): (String, String) = event.args().expect("tests send both");
        let id = SocketId::parse(&text);
        let ack = event.ack();
        match event.name() {
            "join" => match socket.room(&room).join() {
                Ok(()) => return socket.room(&room).send(Message::Enter, ack),
                Err(error) => return socket.ack(ack, json!(format!("{error:?}"))),
            },
            "enter" => {
                let asked = socket.room(&room).join();
                let answer = |is_in| json!([is_in, asked.is_ok()]);
                return socket.room(&room).ack_is_in(ack, answer);
            }
            "come and go" => {
                let times: usize = text.parse().expect("a number");
                let mut asked = Ok(());
                for _ in 0..times {
                    asked = socket.room(&room).join();
                    socket.room(&room).leave();
                }
                return socket.room(&room).ack(ack, format!("{asked:?}"));
            }
            "leave" => assert!(socket.room(&room).leave(), "it is in"),
            "say" => return socket.room(&room).send(Message::Say(text), ack),
            "members" => return socket.room(&room).send(Message::Members, ack),
            "remove" => {
                let id = id.expect("an id");
                return socket.room(&room).send(Message::Remove(id), ack);
            }
            "say to others" => {
                let id = id.expect("an id");
                return socket.room(&room).send(Message::SayToOthers(id), ack);
            }
            "to others" => socket.room(&room).emit_to_others("said", text),
            "whisper" => socket.io().socket(id.expect("an id")).emit("whispered", &room),
            "take out" => socket.io().socket(id.expect("an id")).leave(&room),
            "cut" => socket.io().socket(id.expect("an id")).disconnect(),
            "clear" => socket.io().room(&room).remove_all(),
            "clear and say" => {
                socket.io().room(&room).remove_all();
                socket.io().room(&room).emit("after", ());
                return socket.room(&room).send(Message::Members, ack);
            }
            "cut all" => socket.io().room(&room).disconnect_all(),
            "is in" => return socket.ack(ack, socket.is_in(&room)),
            "relay" => socket.emit(&text, ()),
            other => panic!("{other} is no event of these tests"),
        }
        socket.room(&room).ack(ack, true);
    }

    fn join_refused(&mut self, socket: &mut Socket<'_, Message>, room: &str) {
        assert!(!socket.is_in(room));
        socket.emit("not in", room);
    }

    fn tick(&mut self, io: &mut Io<'_, Message>) {
        io.room("lobby").emit("server tick", ());
    }
}

/// Everything that was said. A room takes no client while `closed` was said last.
#[derive(Default)]
struct Said(Vec<String>);

impl RoomState for Said {
    type Message = Message;

    fn admits(&mut self, room: &mut RoomHome<'_>, id: SocketId) -> bool {
        let is_open = self.0.last().is_none_or(|last| last != "closed");
        if !is_open {
            room.emit_to(id, "refused", room.name().to_owned());
        }
        is_open
    }

    fn joined(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
        room.emit_to(id, "snapshot", &self.0);
        room.emit_except(id, "joined", id);
    }

    fn left(&mut self, room: &mut RoomHome<'_>, id: SocketId) {
        room.emit("left", id);
    }

    fn message(&mut self, room: &mut RoomHome<'_>, from: SocketId, message: Message, ack: Ack) {
        match message {
            Message::Enter => room.ack(from, ack, room.has(from)),
            Message::Say(text) => {
                room.emit("said", &text);
                self.0.push(text);
                room.ack(from, ack, room.has(from));
            }
            Message::Members => {
                let members: Vec<_> = room.members().collect();
                room.ack(from, ack, members);
            }
            Message::Remove(id) => {
                let was_in = room.remove(id);
                room.ack(from, ack, was_in);
            }
            Message::SayToOthers(id) => {
                room.emit_except(id, "said", ());
                room.ack(from, ack, true);
            }
        }
    }

    fn tick(&mut self, room: &mut RoomHome<'_>) {
        room.emit("room tick", room.name().to_owned());
        if self.0.last().is_some_and(|last| last == "out at the tick") {
            let members: Vec<_> = room.members().collect();
            members.into_iter().for_each(|id| assert!(room.remove(id)));
        }
    }
}

type App = Rooms<Club, Said>;

#[derive(Default)]
struct Client {
    id: String,
    heard: Vec<Value>,
    acks: Vec<Value>,
    /// `41`, and the close frame.
    ends: usize,
}

struct World {
    net: Net<App>,
    clients: Vec<Client>,
}

impl World {
    /// As many clients, one after the other on the shards.
    fn new(clients: usize) -> World {
        World::with(clients, &Settings::new(Club))
    }

    fn with(clients: usize, settings: &Settings<Club>) -> World {
        World::on(SHARDS, clients, settings)
    }

    fn on(shards: usize, clients: usize, settings: &Settings<Club>) -> World {
        let mut world = World { net: Net::new(shards, 2, settings), clients: Vec::new() };
        for index in 0..clients {
            world.net.connect(index % shards, Eio::V4);
            world.clients.push(Client::default());
        }
        world.drain();
        for client in &mut world.clients {
            assert_eq!(std::mem::take(&mut client.heard), [json!(["you", client.id])]);
        }
        world
    }

    fn drain(&mut self) {
        let clients = &mut self.clients;
        self.net.drain(|index, packet| {
            let client = &mut clients[index];
            let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            if let Some(connected) = packet.strip_prefix("40") {
                client.id = parsed(connected)["sid"].as_str().expect("an id").to_owned();
            } else if let Some(event) = packet.strip_prefix("42") {
                client.heard.push(parsed(event));
            } else if let Some(ack) = packet.strip_prefix("430") {
                client.acks.push(parsed(ack)[0].clone());
            } else if packet == "41" || packet.starts_with("close:") {
                client.ends += 1;
            } else {
                assert!(packet.starts_with("0{"), "{packet}");
            }
        });
        assert!(self.net.are_lanes_empty());
    }

    /// Sends an event; returns its answer.
    fn ask(&mut self, client: usize, name: &str, room: &str, text: &str) -> Value {
        self.net.send(client, &format!("420{}", json!([name, room, text])));
        self.drain();
        self.clients[client].acks.pop().expect("an answer")
    }

    /// What the client has received since.
    fn heard(&mut self, client: usize) -> Vec<Value> {
        std::mem::take(&mut self.clients[client].heard)
    }

    fn id(&self, client: usize) -> String {
        self.clients[client].id.clone()
    }

    /// All clients are in the lobby, and what they received of that is forgotten.
    fn in_lobby(clients: usize) -> World {
        let mut world = World::new(clients);
        world.all_join();
        world
    }

    fn all_join(&mut self) {
        for client in 0..self.clients.len() {
            assert_eq!(self.ask(client, "join", "lobby", ""), json!(true));
        }
        for client in 0..self.clients.len() {
            self.heard(client);
        }
    }

    fn count(&self, name: &str) -> u64 {
        let counters = self.net.shards().map(|shard| shard.app().counters());
        counters
            .map(|counters| throng_engine::CounterTable::value(counters, name))
            .sum::<Option<u64>>()
            .expect("a counter of that name")
    }
}

#[test]
fn a_snapshot_comes_before_everything_else_in_the_room() {
    let mut world = World::new(2);
    assert_eq!(world.ask(0, "join", "lobby", ""), json!(true));
    for text in ["one", "two"] {
        assert_eq!(world.ask(0, "say", "lobby", text), json!(true));
    }
    world.heard(0);
    world.net.send(1, &format!("420{}", json!(["join", "lobby", ""])));
    world.net.send(0, &format!("420{}", json!(["say", "lobby", "three"])));
    world.drain();
    let id = world.id(1);
    let heard = world.heard(1);
    assert_eq!(heard[0][0], "snapshot");
    let snapshot = heard[0][1].as_array().expect("texts").len();
    let after: &[Value] = if snapshot == 2 { &[json!(["said", "three"])] } else { &[] };
    assert_eq!(&heard[1..], after, "it hears what the snapshot does not have");
    let mut first = world.heard(0);
    first.sort_by_key(|event| event[0].to_string());
    assert_eq!(first, [json!(["joined", id]), json!(["said", "three"])]);
}

#[test]
fn state_ends_with_the_last_member() {
    let mut world = World::in_lobby(1);
    assert_eq!(world.ask(0, "say", "lobby", "one"), json!(true));
    assert_eq!(world.count("home_members"), 1);
    assert_eq!(world.ask(0, "leave", "lobby", ""), json!(true));
    assert_eq!((world.count("rooms"), world.count("home_members")), (0, 0));
    world.heard(0);
    assert_eq!(world.ask(0, "join", "lobby", ""), json!(true));
    assert_eq!(world.heard(0), [json!(["snapshot", []])]);
}

#[test]
fn a_message_to_a_room_without_members_is_answered_and_leaves_nothing() {
    let mut world = World::new(1);
    assert_eq!(world.ask(0, "say", "empty", "one"), json!(false));
    assert_eq!(world.ask(0, "members", "empty", ""), json!([]));
    assert_eq!(world.count("rooms"), 0);
}

#[test]
fn a_room_may_refuse_a_client_which_may_ask_again() {
    let mut world = World::new(2);
    assert_eq!(world.ask(0, "join", "lobby", ""), json!(true));
    world.ask(0, "say", "lobby", "closed");
    world.heard(0);
    assert_eq!(world.ask(1, "join", "lobby", ""), json!(false));
    assert_eq!(world.heard(1), [json!(["refused", "lobby"]), json!(["not in", "lobby"])]);
    assert_eq!(world.ask(1, "is in", "lobby", ""), json!(false));
    assert_eq!(world.count("joins_refused"), 1);
    world.ask(0, "say", "lobby", "open");
    assert_eq!(world.heard(0), [json!(["said", "open"])], "a refused client was never there");
    assert_eq!(world.heard(1), [] as [Value; 0]);
    assert_eq!(world.ask(1, "join", "lobby", ""), json!(true));
}

/// The second number of each answer says whether the client could ask.
#[test]
fn the_answer_to_a_join_says_what_the_room_has_decided() {
    let settings = Settings { rooms_per_session_max: 2, ..Settings::new(Club) };
    let mut world = World::with(2, &settings);
    assert_eq!(world.ask(0, "enter", "lobby", ""), json!([true, true]));
    assert_eq!(world.ask(0, "enter", "lobby", ""), json!([true, false]), "it is in");
    world.ask(0, "say", "lobby", "closed");
    assert_eq!(world.ask(1, "enter", "lobby", ""), json!([false, true]));
    assert_eq!(world.heard(1), [json!(["refused", "lobby"]), json!(["not in", "lobby"])]);

    // Several requests in one read.
    for packet in [json!(["enter", "lobby", ""]), json!(["enter", "lobby", ""])] {
        world.net.send(1, &format!("420{packet}"));
    }
    world.drain();
    let answers = std::mem::take(&mut world.clients[1].acks);
    assert_eq!(answers, [json!([false, true]), json!([false, false])], "both are refused");
    let requests = ["enter", "leave", "enter"].map(|name| json!([name, "open", ""]));
    for packet in &requests {
        world.net.send(1, &format!("420{packet}"));
    }
    world.drain();
    let answers = std::mem::take(&mut world.clients[1].acks);
    assert_eq!(answers, [json!([true, true]), json!(true), json!([true, true])]);
    assert_eq!(world.ask(1, "enter", "two", ""), json!([true, true]));
    assert_eq!(world.ask(1, "enter", "three", ""), json!([false, false]), "too many rooms");
}

#[test]
fn a_client_may_leave_before_it_learns_of_the_refusal() {
    let mut world = World::new(2);
    world.ask(0, "join", "lobby", "");
    world.ask(0, "say", "lobby", "closed");
    for name in ["join", "leave"] {
        world.net.send(1, &format!("42{}", json!([name, "lobby", ""])));
    }
    world.drain();
    assert_eq!((world.count("joins_refused"), world.count("leaves_late")), (1, 1));
    assert_eq!(world.heard(1), [json!(["refused", "lobby"])], "it does not want to be in any more");
    assert_eq!(world.ask(0, "members", "lobby", ""), json!([world.id(0)]));
}

#[test]
fn members_and_rooms_with_state_are_bounded() {
    let settings =
        Settings { members_per_room_max: 2, rooms_per_shard_max: 1, ..Settings::new(Club) };
    let mut world = World::with(3, &settings);
    for (client, expected) in [(0, true), (1, true), (2, false)] {
        assert_eq!(world.ask(client, "join", "lobby", ""), json!(expected));
    }
    assert_eq!(world.heard(2), [json!(["not in", "lobby"])], "a limit is no secret");
    let joined = (0..10).filter(|n| world.ask(2, "join", &n.to_string(), "") == json!(true));
    assert_eq!(joined.count(), SHARDS - 1, "one room per shard, and the lobby is one");
    assert_eq!(world.ask(0, "leave", "lobby", ""), json!(true));
    assert_eq!(world.ask(2, "join", "lobby", ""), json!(true));
}

#[test]
fn a_removed_member_hears_no_more_and_may_join_again() {
    let mut world = World::in_lobby(3);
    let removed = world.id(1);
    assert_eq!(world.ask(0, "remove", "lobby", &removed), json!(true));
    assert_eq!(world.ask(0, "remove", "lobby", &removed), json!(false), "it is out");
    assert_eq!(world.ask(1, "is in", "lobby", ""), json!(false));
    let members = world.ask(2, "members", "lobby", "");
    assert_eq!(members, json!([world.id(0), world.id(2)]));
    assert_eq!(world.heard(1), [] as [Value; 0]);
    assert_eq!(world.heard(2), [json!(["left", removed])]);
    assert_eq!(world.ask(1, "join", "lobby", ""), json!(true));
    assert_eq!(world.heard(2), [json!(["joined", removed])]);
}

#[test]
fn all_but_the_sender_hear_it() {
    let mut world = World::in_lobby(SHARDS + 1);
    assert_eq!(world.ask(0, "to others", "lobby", "hello"), json!(true));
    assert_eq!(world.heard(0), [] as [Value; 0]);
    for client in 1..=SHARDS {
        assert_eq!(world.heard(client), [json!(["said", "hello"])], "client {client}");
    }
}

#[test]
fn a_client_that_has_connected_again_is_another_client() {
    let mut world = World::in_lobby(2);
    let old = world.id(1);
    for packet in ["41", "40"] {
        world.net.send(1, packet);
    }
    assert_eq!(world.ask(1, "join", "lobby", ""), json!(true));
    assert_ne!(world.id(1), old);
    world.heard(1);
    for id in [old, world.id(1)] {
        assert_eq!(world.ask(0, "say to others", "lobby", &id), json!(true));
    }
    assert_eq!(world.heard(1), [json!(["said", null])], "it is not the client that was left out");
}

#[test]
fn one_client_is_reached_by_its_id() {
    let mut world = World::in_lobby(3);
    let id = world.id(2);
    world.ask(0, "whisper", "psst", &id);
    assert_eq!(world.heard(2), [json!(["whispered", "psst"])]);
    world.ask(0, "take out", "lobby", &id);
    assert_eq!(world.ask(2, "is in", "lobby", ""), json!(false));
    assert_eq!(world.heard(1), [json!(["left", id])]);
    world.ask(0, "cut", "", &id);
    assert_eq!(world.clients[2].ends, 2, "a disconnect, and a close frame");
    assert_eq!(world.count("sockets_unknown"), 0);
}

#[test]
fn ids_of_clients_that_have_gone_or_never_were_reach_no_client() {
    let mut world = World::new(2);
    let gone = world.id(1);
    world.net.close(1);
    world.drain();
    let forged = SocketId::new(throng_engine::SessionId(u64::MAX), [0; 7]).to_string();
    for id in [&gone, &forged] {
        world.ask(0, "whisper", "psst", id);
        world.ask(0, "cut", "", id);
        assert_eq!(world.ask(0, "remove", "lobby", id), json!(false));
    }
    assert_eq!(world.count("sockets_unknown"), 4);
}

#[test]
fn all_members_can_be_removed_or_disconnected() {
    for (name, ends) in [("clear", 0), ("cut all", 2)] {
        let mut world = World::in_lobby(SHARDS + 1);
        let outside = world.net.connect(0, Eio::V4);
        world.clients.push(Client::default());
        world.drain();
        world.heard(outside);
        assert_eq!(world.ask(outside, name, "lobby", ""), json!(true));
        assert_eq!((world.count("rooms"), world.count("home_members")), (0, 0), "{name}");
        for client in 0..=SHARDS {
            assert_eq!(world.clients[client].ends, ends, "{name}, client {client}");
        }
        assert_eq!(world.clients[outside].ends, 0);
    }
}

#[test]
fn who_has_been_removed_hears_nothing_that_comes_after() {
    let mut world = World::in_lobby(4);
    world.net.connect(1, Eio::V4);
    world.clients.push(Client::default());
    world.drain();
    let members = world.ask(4, "clear and say", "lobby", "");
    assert_eq!(members, json!([]), "home counts them no more");
    for index in 0..5 {
        let heard = world.heard(index);
        assert!(!heard.iter().any(|event| event[0] == "after"), "{index}: {heard:?}");
    }
    assert_eq!(world.ask(0, "join", "lobby", ""), json!(true), "they may come again");
}

#[test]
fn a_tick_comes_once_per_server_and_once_per_room() {
    let settings = Settings { tick_ms: TICK_MS, ..Settings::new(Club) };
    let mut world = World::with(2, &settings);
    world.all_join();
    for _ in 0..2 {
        world.net.pass(u64::from(TICK_MS));
        // Heartbeats are due as well.
        world.net.send(0, "3");
        world.net.send(1, "3");
        world.drain();
    }
    for client in 0..2 {
        let heard = world.heard(client);
        let count = |event: &Value| heard.iter().filter(|heard| *heard == event).count();
        assert_eq!(count(&json!(["server tick", null])), 2);
        assert_eq!(count(&json!(["room tick", "lobby"])), 2);
    }
}

/// The home speaks to its own edge after that has settled, and nothing else wakes the shard.
#[test]
fn a_member_that_a_tick_removes_is_gone_at_once() {
    for shards in [1, SHARDS] {
        let settings = Settings { tick_ms: 1_000, ..Settings::new(Club) };
        let mut world = World::on(shards, 2, &settings);
        world.all_join();
        world.ask(0, "say", "lobby", "out at the tick");
        assert_eq!(world.count("home_members"), 2);
        world.net.pass(1_000);
        world.drain();
        assert_eq!((world.count("home_members"), world.count("leaves")), (0, 2));
    }
}

#[test]
fn a_join_that_cannot_be_asked_for_says_why() {
    let settings = Settings { rooms_per_session_max: 2, name_bytes_max: 5, ..Settings::new(Club) };
    let mut world = World::with(1, &settings);
    let mut join = |room| world.ask(0, "join", room, "");
    let text = |error: JoinError| json!(format!("{error:?}"));
    assert_eq!(join("lobbys"), text(JoinError::NameTooLong));
    assert_eq!(join("lobby"), json!(true));
    assert_eq!(join("lobby"), text(JoinError::AlreadyIn));
    assert_eq!(join("two"), json!(true));
    assert_eq!(join("three"), text(JoinError::TooManyRooms));
}

#[test]
fn a_room_that_is_left_counts_no_more_but_not_without_end() {
    let settings = Settings { rooms_per_session_max: 1, ..Settings::new(Club) };
    let mut world = World::with(1, &settings);
    assert_eq!(world.ask(0, "come and go", "lobby", "256"), json!("Ok(())"));
    assert_eq!(world.ask(0, "come and go", "lobby", "257"), json!("Err(LeavingTooMany)"));
    assert_eq!(world.ask(0, "join", "lobby", ""), json!(true), "all leaves have been answered");
    let error = format!("{:?}", JoinError::TooManyRooms);
    assert_eq!(world.ask(0, "join", "another", ""), json!(error));
}

#[test]
fn what_one_call_at_home_sends_is_bounded() {
    let settings = Settings { home_bytes_max: 400, ..Settings::new(Club) };
    let mut world = World::with(1, &settings);
    world.all_join();
    let long = "x".repeat(70);
    assert_eq!(world.ask(0, "say", "lobby", &long), json!(true));
    assert_eq!((world.heard(0).len(), world.count("home_emits_dropped")), (1, 0));
    // The snapshot of many texts is above the limit.
    for _ in 0..8 {
        world.ask(0, "say", "lobby", &long);
    }
    world.net.connect(1, Eio::V4);
    world.clients.push(Client::default());
    assert_eq!(world.ask(1, "join", "lobby", ""), json!(true), "answers are not dropped");
    let heard = world.heard(1);
    assert!(heard.iter().all(|event| event[0] == "you"), "{heard:?}");
    assert_eq!((world.count("home_emits_dropped"), world.count("home_bytes")), (1, 0));
}

#[test]
fn the_id_of_an_engine_io_3_client_is_not_its_secret() {
    let mut net = Net::<App>::new(1, 2, &Settings::new(Club));
    let (mut open, mut id) = (Value::Null, Value::Null);
    net.connect(0, Eio::V3);
    net.drain(|_, packet| {
        if let Some(event) = packet.strip_prefix("42") {
            id = serde_json::from_str(event).expect("JSON");
        } else if let Some(text) = packet.strip_prefix('0') {
            open = serde_json::from_str(text).expect("JSON");
        }
    });
    let (sid, id) = (open["sid"].as_str().expect("a sid"), id[1].as_str().expect("an id"));
    assert_eq!((sid.len(), id.len()), (20, 20));
    assert_ne!(sid, id);
    let public = SocketId::parse(id).expect("an id of ours");
    let secret = throng_engine::Sid::parse(sid).expect("a sid of ours");
    let random = secret.random();
    assert!(!public.session().0.to_be_bytes().windows(4).any(|part| random.starts_with(part)));
    assert_eq!(public.session().slot(), secret.slot());
}

#[test]
fn a_client_that_emits_a_reserved_name_is_disconnected() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener"] {
        let mut world = World::new(1);
        world.net.send(0, &format!("42{}", json!([name])));
        world.drain();
        assert_eq!(world.clients[0].ends, 1, "{name}");
    }
}

#[test]
#[should_panic(expected = "`disconnecting` is the name of an event that Socket.IO reserves")]
fn an_application_cannot_emit_a_reserved_name() {
    let mut world = World::new(1);
    world.ask(0, "relay", "", "disconnecting");
}

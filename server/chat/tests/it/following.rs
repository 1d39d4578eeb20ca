//! UNR: who is told unread numbers, when, and in which form.

use throng_chat::cluster::{ClusterInput, Signal};
use throng_chat::{Choice, RoomId, Settings, UserId};
use throng_engine::PipeEnd;

use crate::chat::{room, say};
use crate::world::{Client, World, settings};

/// Nobody follows a room that they have not entered.
fn followed() -> Settings {
    Settings { follow_all_rooms_max: 4, ..settings() }
}

fn ask(client: Client, world: &mut World, event: &str, args: &str) -> String {
    world.send(client, &format!(r#"427["{event}",{args}]"#));
    let heard = world.take(client);
    let acked = heard.iter().find_map(|packet| packet.strip_prefix("437"));
    acked.unwrap_or_else(|| panic!("an ack in {heard:?}")).to_owned()
}

fn login(client: Client, world: &mut World, args: &str) -> String {
    world.send(client, &format!(r#"42["login",{args}]"#));
    let mut heard = world.take(client);
    heard.pop().expect("a count")
}

fn counts(client: Client, world: &mut World) -> Vec<String> {
    let mut heard = world.take(client);
    heard.retain(|packet| packet.contains("count"));
    heard
}

#[test]
fn only_who_follows_a_room_is_told_its_number() {
    for shards in [1, 3] {
        let mut world = World::new(shards, followed());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        room(alice, &mut world, 1);
        say(alice, &mut world, 1, "x");
        world.advance(1_000);
        assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{}]"#);
        say(alice, &mut world, 1, "x");
        world.advance(1_000);
        assert!(counts(bob, &mut world).is_empty(), "on {shards} shards");
        assert_eq!(ask(bob, &mut world, "follow", r#"{"roomid":"1"}"#), r#"[{"ok":true,"room":1}]"#);
        world.advance(1_000);
        assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{"room1":2}]"#);
        say(alice, &mut world, 1, "x");
        world.advance(1_000);
        assert_eq!(counts(bob, &mut world), [r#"42["count",{"room1":3}]"#]);
        assert_eq!(ask(bob, &mut world, "unfollow", r#"{"roomid":1}"#), r#"[{"ok":true,"room":1}]"#);
        say(alice, &mut world, 1, "x");
        world.advance(1_000);
        assert!(counts(bob, &mut world).is_empty());
        assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{}]"#);
    }
}

#[test]
fn whoever_follows_a_room_again_is_told_what_they_have_missed() {
    let mut world = World::new(2, settings());
    let alice = world.connect(0, Some(1));
    let bob = world.connect(1, Some(2));
    room(alice, &mut world, 1);
    login(bob, &mut world, "{}");
    ask(bob, &mut world, "unfollow", r#"{"roomid":1}"#);
    say(alice, &mut world, 1, "x");
    world.advance(1_000);
    assert!(counts(bob, &mut world).is_empty());
    world.send(bob, r#"42["follow",{"roomid":1}]"#);
    world.advance(1_000);
    assert_eq!(counts(bob, &mut world), [r#"42["count",{"room1":1}]"#]);
    world.send(bob, r#"42["follow",{"roomid":1}]"#);
    world.advance(1_000);
    assert!(counts(bob, &mut world).is_empty(), "they followed it already");
}

#[test]
fn a_room_is_followed_from_the_first_entry_until_it_is_unfollowed() {
    for shards in [1, 3] {
        let mut world = World::new(shards, followed());
        let last = usize::from(shards) - 1;
        let alice = world.connect(0, Some(1));
        let bob = world.connect(last, Some(2));
        for client in [alice, bob] {
            room(client, &mut world, 1);
        }
        world.send(bob, r#"42["roomout",{"roomid":1}]"#);
        world.close(bob, PipeEnd::Eof);
        world.advance(3_000);
        let bob = world.connect(0, Some(2));
        assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{"room1":0}]"#, "on {shards} shards");
        say(alice, &mut world, 1, "x");
        world.advance(1_000);
        assert_eq!(counts(bob, &mut world), [r#"42["count",{"room1":1}]"#]);
        ask(bob, &mut world, "unfollow", r#"{"roomid":1}"#);
        room(bob, &mut world, 1);
        world.send(bob, r#"42["roomout",{"roomid":1}]"#);
        world.close(bob, PipeEnd::Eof);
        world.advance(3_000);
        let bob = world.connect(last, Some(2));
        assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{}]"#, "the choice stands");
    }
}

#[test]
fn choices_that_come_before_it_is_known_what_was_chosen_count_in_their_order() {
    let mut world = World::new(2, followed());
    let bob = world.connect(1, Some(2));
    ask(bob, &mut world, "follow", r#"{"roomid":1}"#);
    world.close(bob, PipeEnd::Eof);
    world.advance(1_000);
    world.store.is_paused = true;
    let bob = world.connect(1, None);
    let token = crate::world::token(2);
    world.send(bob, &format!(r#"421["unfollow",{{"roomid":1,"api_token":"{token}"}}]"#));
    for (ack, event) in [(2, "follow"), (3, "unfollow")] {
        world.send(bob, &format!(r#"42{ack}["{event}",{{"roomid":1}}]"#));
    }
    assert!(world.take(bob).is_empty());
    world.store.is_paused = false;
    world.run();
    let acks = [1, 2, 3].map(|ack| format!(r#"43{ack}[{{"ok":true,"room":1}}]"#));
    assert_eq!(world.take(bob), acks);
    assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{}]"#);
    world.advance(1_000);
    assert!(!world.store.choices[&(UserId(2), RoomId(1))].follows());
}

#[test]
fn a_choice_needs_a_room_and_a_user() {
    let mut world = World::new(1, Settings { auto_create_max: 5, ..settings() });
    let (bob, nobody) = (world.connect(0, Some(2)), world.connect(0, None));
    for event in ["follow", "unfollow"] {
        for (args, code) in [
            (r#"{"roomid":99}"#, "unknown_room"),
            (r#"{"roomid":"first"}"#, "invalid_argument"),
            ("{}", "invalid_argument"),
        ] {
            let ack = ask(bob, &mut world, event, args);
            assert!(ack.contains(&format!(r#""code":"{code}""#)), "{event} {args}: {ack}");
        }
        let ack = ask(nobody, &mut world, event, r#"{"roomid":1}"#);
        assert!(ack.contains(r#""code":"unauthenticated""#), "{ack}");
    }
    assert_eq!(world.counter("rooms"), 5, "none was created");
    room(bob, &mut world, 77);
    let ack = ask(bob, &mut world, "unfollow", r#"{"roomid":77}"#);
    assert_eq!(ack, r#"[{"ok":true,"room":77}]"#, "who has just entered a new room may choose");
}

#[test]
fn a_choice_is_of_all_sessions_of_the_user_on_all_nodes() {
    let cluster = Settings { cluster: true, ..followed() };
    let mut world = World::new(3, cluster);
    let alice = world.connect(0, Some(1));
    let (bob, tab) = (world.connect(1, Some(2)), world.connect(2, Some(2)));
    room(alice, &mut world, 1);
    for client in [bob, tab] {
        login(client, &mut world, "{}");
    }
    world.take_signals();
    ask(bob, &mut world, "follow", r#"{"roomid":1}"#);
    let signals = world.take_signals();
    let choice = Choice(2);
    let chosen = Signal::Chosen { room: RoomId(1), user: UserId(2), choice };
    assert!(signals.contains(&chosen), "{signals:?}");
    say(alice, &mut world, 1, "x");
    world.advance(1_000);
    for client in [bob, tab] {
        assert_eq!(counts(client, &mut world), [r#"42["count",{"room1":1}]"#]);
    }
    let choices = vec![(UserId(2), choice.next(false)), (UserId(3), Choice(u32::MAX))];
    world.cluster(ClusterInput::Chosen { room: RoomId(1), choices });
    assert_eq!(world.counter("cluster_ignored"), 1, "nobody chooses so often");
    say(alice, &mut world, 1, "x");
    world.advance(1_000);
    for client in [bob, tab] {
        assert!(counts(client, &mut world).is_empty());
    }
    // A late report of an older choice.
    world.cluster(ClusterInput::Chosen { room: RoomId(1), choices: vec![(UserId(2), choice)] });
    assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{}]"#);
    // The node where it was chosen saves it; until then it is known here.
    for client in [bob, tab] {
        world.close(client, PipeEnd::Eof);
    }
    let bob = world.connect(0, Some(2));
    assert_eq!(login(bob, &mut world, "{}"), r#"42["count",{}]"#);
}

#[test]
fn a_session_may_want_only_the_sum_or_nothing() {
    let mut world = World::new(2, settings());
    let alice = world.connect(0, Some(1));
    let bob = world.connect(1, Some(2));
    for number in [1, 2] {
        room(alice, &mut world, number);
        say(alice, &mut world, number, "x");
    }
    world.advance(1_000);
    assert_eq!(login(bob, &mut world, r#"{"counts":"sum"}"#), r#"42["count",{"sum":2}]"#);
    say(alice, &mut world, 1, "x");
    world.advance(1_000);
    assert_eq!(counts(bob, &mut world), [r#"42["count",{"sum":3}]"#]);
    assert_eq!(login(bob, &mut world, r#"{"counts":"none"}"#), r#"42["count",{}]"#);
    say(alice, &mut world, 1, "x");
    world.advance(1_000);
    assert!(counts(bob, &mut world).is_empty());
    let all = r#"42["count",{"room1":3,"room2":1,"room3":0,"room4":0,"room5":0}]"#;
    assert_eq!(login(bob, &mut world, r#"{"counts":null}"#), all);
    for wrong in [r#""all""#, "1", "true", "{}"] {
        let ack = ask(bob, &mut world, "login", &format!(r#"{{"counts":{wrong}}}"#));
        assert!(ack.contains("invalid_argument"), "{wrong}: {ack}");
    }
}

/// Sessions of that many users, logged in, and who has sent something in room 1.
fn crowd(world: &mut World, users: u32) -> (Client, Vec<Client>) {
    let crowd: Vec<Client> = (2..2 + users).map(|user| world.connect(0, Some(user))).collect();
    for client in &crowd {
        login(*client, world, "{}");
    }
    let alice = world.connect(0, Some(1));
    room(alice, world, 1);
    world.advance(1_000);
    for client in &crowd {
        world.take(*client);
    }
    (alice, crowd)
}

#[test]
fn a_shard_tells_no_more_sessions_than_its_share_pays_for() {
    let limits = Settings { core_share: 1, ..settings() };
    let mut world = World::new(1, limits);
    let (alice, crowd) = crowd(&mut world, 140);
    say(alice, &mut world, 1, "x");
    let told = world.counter("counts_sent");
    assert!((1..=50).contains(&told), "{told} in one turn");
    // A thousand in a second.
    world.advance(30);
    let then = world.counter("counts_sent");
    assert!((told + 20..=told + 40).contains(&then), "{then} after 30 ms, {told} at once");
    world.advance(200);
    for client in &crowd {
        assert_eq!(counts(*client, &mut world), [r#"42["count",{"room1":1}]"#]);
    }
    assert_eq!(world.counter("counts_sent"), 140);
}

#[test]
fn a_count_leaves_with_what_else_leaves_for_the_session() {
    let limits = Settings { core_share: 1, ..settings() };
    let mut world = World::new(1, limits);
    let (alice, crowd) = crowd(&mut world, 140);
    let last = *crowd.last().expect("a crowd");
    say(alice, &mut world, 1, "x");
    assert!(world.take(last).is_empty(), "it is not their turn");
    world.send(last, r#"429["roomout",{"roomid":3}]"#);
    let heard = world.take(last);
    assert!(heard.contains(&r#"42["count",{"room1":1}]"#.to_owned()), "{heard:?}");
    assert_eq!(world.counter("counts_ridden"), 1);
    // No more than one in a window.
    say(alice, &mut world, 1, "x");
    world.advance(300);
    world.send(last, r#"429["roomout",{"roomid":3}]"#);
    assert!(!world.take(last).iter().any(|packet| packet.contains("count")));
    world.advance(1_000);
    assert_eq!(counts(last, &mut world), [r#"42["count",{"room1":2}]"#]);
}

//! NODE: one node of several, as its own clients see the others.

use std::sync::Arc;

use throng_core::cluster::{
    Audience, ClusterInput, ConnState, Emit, NodeIx, Signal, StoredMessage,
};
use throng_core::{PipeEnd, RoomId, Seq, Settings, UserId};

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

/// The texts and numbers of the messages heard since the last call.
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

// ---- order ------------------------------------------------------------------------------------

#[test]
fn messages_of_all_nodes_are_heard_in_one_order() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        room(alice, &mut world, 1);
        room(bob, &mut world, 1);
        let one = world.store.commit_elsewhere(1, 9, "one");
        let two = world.store.commit_elsewhere(1, 9, "two");
        say(alice, &mut world, 1, "three");
        assert_eq!(texts(bob, &mut world), "", "two messages precede it");
        world.cluster(messages(&[two]));
        assert_eq!(texts(bob, &mut world), "");
        world.cluster(messages(&[one]));
        let want = [("one", 1), ("two", 2), ("three", 3)].map(|(m, s)| (m.to_owned(), s));
        assert_eq!(heard(bob, &mut world), want);
        assert_eq!(heard(alice, &mut world), want);
        assert!(world.store.fetches.is_empty(), "nothing was missing for long");
    });
}

#[test]
fn an_ack_comes_after_the_commit_and_with_the_number_it_gave() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let first = world.store.commit_elsewhere(1, 9, "first");
    world.cluster(messages(&[first]));
    world.store.is_paused = true;
    world.take(alice);
    world.send(alice, r#"425["message",{"msg":"mine","roomid":1}]"#);
    assert!(world.take(alice).is_empty());
    let second = world.store.commit_elsewhere(1, 9, "second");
    world.cluster(messages(&[second]));
    assert_eq!(texts(alice, &mut world), "second", "a pending commit holds nobody up");
    world.store.is_paused = false;
    world.run();
    let said = world.take(alice);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains(r#""seq":3}"#), "{said:?}");
    assert_eq!(said[1], r#"435[{"ok":true,"id":1,"seq":3}]"#);
}

#[test]
fn what_is_repeated_is_heard_once() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let one = world.store.commit_elsewhere(1, 9, "one");
    let two = world.store.commit_elsewhere(1, 9, "two");
    world.cluster(messages(&[one.clone(), two.clone(), one.clone()]));
    world.cluster(messages(&[two]));
    world.cluster(tip(2));
    assert_eq!(texts(alice, &mut world), "one two");
}

#[test]
fn a_gap_is_fetched_after_a_moment_and_a_tip_at_once() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    for text in ["1", "2", "3"] {
        world.store.commit_elsewhere(1, 9, text);
    }
    let four = world.store.commit_elsewhere(1, 9, "4");
    world.cluster(messages(&[four]));
    world.advance(49);
    assert!(world.store.fetches.is_empty());
    world.advance(2);
    assert_eq!(texts(alice, &mut world), "1 2 3 4", "the store answers in parts");
    assert_eq!(world.store.fetches, [(0, 3), (2, 3)]);
    world.store.commit_elsewhere(1, 9, "5");
    world.cluster(tip(5));
    assert_eq!(texts(alice, &mut world), "5");
}

#[test]
fn a_fetch_that_fails_is_tried_again() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.commit_elsewhere(1, 9, "1");
    world.store.is_down = true;
    world.cluster(tip(1));
    assert_eq!(world.counter("fetches_failed"), 1);
    world.store.is_down = false;
    world.advance(499);
    assert_eq!(texts(alice, &mut world), "");
    world.advance(2);
    assert_eq!(texts(alice, &mut world), "1");
}

#[test]
fn a_rumour_is_forgotten_and_holds_nothing_up() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.cluster(tip(1 << 40));
    let one = world.store.commit_elsewhere(1, 9, "one");
    world.cluster(messages(&[one]));
    say(alice, &mut world, 1, "two");
    assert_eq!(texts(alice, &mut world), "one two");
    world.advance(10_000);
    assert_eq!(world.counter("fetches"), 1);
}

#[test]
fn a_message_heard_before_its_commit_was_answered_still_gets_its_ack() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        room(alice, &mut world, 1);
        world.store.is_paused = true;
        world.send(alice, r#"425["message",{"msg":"mine","roomid":1}]"#);
        // Its own message, from the log, overtakes the answer: as the store will number it.
        let mut copy = world.store.commit_elsewhere(1, 1, "mine");
        world.store.messages.clear();
        copy.id = 1;
        world.take(alice);
        world.cluster(messages(&[copy]));
        let said = world.take(alice);
        assert!(said[0].contains(r#""userid":"user1@example.com""#), "{said:?}");
        world.store.is_paused = false;
        world.run();
        assert_eq!(world.take(alice), [r#"435[{"ok":true,"id":1,"seq":1}]"#], "on {shards}");
    });
}

#[test]
fn a_room_without_members_jumps_to_its_tip() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        for _ in 0..7 {
            world.store.commit_elsewhere(1, 9, "unheard");
        }
        world.cluster(tip(7));
        let alice = world.connect(0, Some(1));
        assert_eq!(count_of_room_1(alice, &mut world), "7", "on {shards} shards");
        assert!(world.store.fetches.is_empty());
        assert!(room(alice, &mut world, 1).concat().contains(r#""seq":7"#));
    });
}

#[test]
fn what_waits_for_a_gap_is_bounded() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let all: Vec<_> =
        (0..1100).map(|n| world.store.commit_elsewhere(1, 9, &n.to_string())).collect();
    world.cluster(messages(&all[1..1025]));
    assert_eq!(world.counter("cluster_beyond"), 0);
    world.cluster(messages(&all[1025..]));
    assert_eq!(world.counter("cluster_beyond"), 75);
    world.cluster(messages(&all[..1]));
    world.advance(100);
    let numbers: Vec<u64> = heard(alice, &mut world).into_iter().map(|(_, seq)| seq).collect();
    assert_eq!(numbers, (1..=1100).collect::<Vec<u64>>());
}

#[test]
fn numbers_that_cannot_be_are_ignored() {
    let mut world = World::new(3, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let one = world.store.commit_elsewhere(1, 9, "one");
    for seq in [0, (1 << 53) + 1, u64::MAX] {
        world.cluster(messages(&[StoredMessage { seq: Seq(seq), ..one.clone() }]));
        world.cluster(tip(seq));
        world.cluster(left(NODE, 4, seq));
    }
    assert_eq!(world.counter("cluster_ignored"), 5);
    world.cluster(messages(&[one]));
    assert_eq!(texts(alice, &mut world), "one");
}

#[test]
fn an_ephemeral_room_skips_what_nobody_kept() {
    let mut world = World::new(1, Settings { ephemeral: true, ..cluster() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.forgets = true;
    world.store.commit_elsewhere(1, 9, "lost");
    let two = world.store.commit_elsewhere(1, 9, "two");
    world.cluster(messages(&[two]));
    world.advance(100);
    assert_eq!(texts(alice, &mut world), "two");
    say(alice, &mut world, 1, "three");
    assert_eq!(heard(alice, &mut world), [("three".to_owned(), 3)]);
}

// ---- presence ---------------------------------------------------------------------------------

#[test]
fn people_of_other_nodes_are_in_the_roster() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        room(alice, &mut world, 1);
        let input = joined(&world, NODE, &[2, 3]);
        world.cluster(input);
        let roster = world.take(alice).pop().expect("a roster");
        assert!(roster.contains(r#""2":{"id":2,"name":"user2""#), "{roster}");
        assert!(roster.contains(r#""online":3"#) && !roster.contains("@"), "{roster}");
        world.cluster(left(NODE, 2, 0));
        assert!(world.take(alice).pop().expect("a roster").contains(r#""online":2"#));
        world.cluster(left(NODE, 2, 0));
        assert!(world.take(alice).is_empty(), "he is gone already");
    });
}

#[test]
fn a_user_is_present_until_no_node_has_him() {
    let mut world = World::new(3, cluster());
    let alice = world.connect(0, Some(1));
    let tab = world.connect(1, Some(2));
    room(alice, &mut world, 1);
    room(tab, &mut world, 1);
    world.take(alice);
    for node in [NODE, NodeIx(2)] {
        let input = joined(&world, node, &[2]);
        world.cluster(input.clone());
        world.cluster(input);
    }
    world.close(tab, PipeEnd::Eof);
    world.cluster(left(NODE, 2, 0));
    assert!(world.take(alice).is_empty(), "others see one stay");
    world.cluster(left(NodeIx(2), 2, 0));
    assert!(world.take(alice).pop().expect("a roster").contains(r#""online":1"#));
}

#[test]
fn the_presence_of_a_node_is_replaced_and_ends_with_it() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        room(alice, &mut world, 1);
        let input = joined(&world, NODE, &[2, 3]);
        world.cluster(input);
        let input = joined(&world, NodeIx(2), &[3]);
        world.cluster(input);
        let users = vec![world.store.card(4), world.store.card(4), world.store.card(3)];
        world.cluster(ClusterInput::NodePresence { room: RoomId(1), node: NODE, users });
        let roster = world.take(alice).pop().expect("a roster");
        assert!(roster.contains(r#""online":3"#) && roster.contains(r#""4":"#), "{roster}");
        world.cluster(ClusterInput::NodeGone { node: NODE });
        assert_eq!(online(alice, &mut world), 2, "on {shards} shards");
        world.cluster(ClusterInput::NodeGone { node: NodeIx(77) });
        assert!(world.take(alice).is_empty());
    });
}

#[test]
fn a_remote_user_reads_and_his_mark_is_where_he_left() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        room(alice, &mut world, 1);
        say(alice, &mut world, 1, "1");
        assert_eq!(count_of_room_1(bob, &mut world), "1");
        let input = joined(&world, NODE, &[2]);
        world.cluster(input);
        say(alice, &mut world, 1, "2");
        assert_eq!(count_of_room_1(bob, &mut world), "0", "he reads elsewhere");
        world.cluster(left(NODE, 2, 2));
        say(alice, &mut world, 1, "3");
        assert_eq!(count_of_room_1(bob, &mut world), "1", "on {shards} shards");
        assert!(!world.store.reads.contains_key(&(UserId(2), RoomId(1))), "others save it");
    });
}

#[test]
fn a_node_that_lags_behind_takes_its_users_marks_with_it() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let bob = world.connect(0, Some(2));
        for n in ["1", "2", "3", "4"] {
            world.store.commit_elsewhere(1, 9, n);
        }
        world.cluster(tip(4));
        let input = joined(&world, NODE, &[2]);
        world.cluster(input);
        let phone = world.connect(usize::from(shards) - 1, Some(2));
        assert_eq!(count_of_room_1(phone, &mut world), "0");
        // There, only three of the four had been heard.
        world.cluster(left(NODE, 2, 3));
        assert_eq!(count_of_room_1(bob, &mut world), "1");
        assert_eq!(count_of_room_1(phone, &mut world), "1", "on {shards} shards");
    });
}

#[test]
fn a_mark_of_another_node_is_known_before_it_is_saved() {
    let mut world = World::new(3, cluster());
    for n in ["1", "2", "3"] {
        world.store.commit_elsewhere(1, 9, n);
    }
    world.cluster(tip(3));
    let input = joined(&world, NODE, &[2]);
    world.cluster(input);
    world.cluster(left(NODE, 2, 3));
    let bob = world.connect(0, Some(2));
    assert_eq!(count_of_room_1(bob, &mut world), "0");
    world.close(bob, PipeEnd::Eof);
    // Long after, the store has it.
    world.advance(10_000);
    world.store.reads.insert((UserId(2), RoomId(1)), Seq(2));
    let bob = world.connect(0, Some(2));
    assert_eq!(count_of_room_1(bob, &mut world), "1");
}

#[test]
fn how_far_a_lost_nodes_users_have_read_is_asked_of_the_store() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let bob = world.connect(0, Some(2));
        let input = joined(&world, NODE, &[2]);
        world.cluster(input);
        for text in ["1", "2", "3"] {
            world.store.commit_elsewhere(1, 9, text);
        }
        world.cluster(tip(3));
        assert_eq!(count_of_room_1(bob, &mut world), "0");
        world.cluster(ClusterInput::NodeGone { node: NODE });
        // He had left at 2, and nobody could say so.
        world.store.reads.insert((UserId(2), RoomId(1)), Seq(2));
        world.store.is_down = true;
        world.cluster(ClusterInput::Resync);
        world.advance(900);
        world.store.is_down = false;
        world.take(bob);
        world.advance(2000);
        let told = world.take(bob).concat();
        assert!(told.contains(r#""room1":1"#), "{told} on {shards} shards");
        assert_eq!(count_of_room_1(bob, &mut world), "1");
    });
}

#[test]
fn marks_asked_for_twice_are_those_of_the_second_answer() {
    let mut world = World::new(3, cluster());
    let bob = world.connect(0, Some(2));
    world.store.commit_elsewhere(1, 9, "1");
    world.cluster(tip(1));
    world.store.is_paused = true;
    world.cluster(ClusterInput::Resync);
    world.cluster(ClusterInput::Resync);
    world.store.reads.insert((UserId(2), RoomId(1)), Seq(1));
    world.store.is_paused = false;
    assert_eq!(count_of_room_1(bob, &mut world), "0");
}

#[test]
fn a_room_that_only_others_knew_is_looked_up() {
    on_shards(|shards| {
        let mut world = World::new(shards, Settings { rooms_auto_create_max: 9, ..cluster() });
        world.store.rooms.insert(RoomId(77), Seq(4));
        let users = vec![world.store.card(3)];
        world.cluster(ClusterInput::NodePresence { room: RoomId(77), node: NODE, users });
        world.advance(1000);
        let alice = world.connect(0, Some(1));
        world.send(alice, r#"42["login",{}]"#);
        assert!(world.take(alice).concat().contains(r#""room77":4"#), "on {shards} shards");
        let roster = room(alice, &mut world, 77).concat();
        assert!(roster.contains(r#""3":{"#) && roster.contains(r#""seq":4"#), "{roster}");
    });
}

#[test]
fn a_room_that_does_not_exist_is_forgotten_again() {
    let mut world = World::new(3, cluster());
    let bob = world.connect(0, Some(2));
    let users = vec![world.store.card(2)];
    world.cluster(ClusterInput::NodePresence { room: RoomId(99), node: NODE, users });
    world.cluster(ClusterInput::Tip { room: RoomId(99), seq: Seq(5) });
    world.advance(5_000);
    world.send(bob, r#"42["login",{}]"#);
    assert!(!world.take(bob).concat().contains("room99"));
    assert_eq!(world.counter("rooms"), 5);
}

#[test]
fn rooms_and_users_of_others_are_bounded() {
    let mut world = World::new(1, Settings { remote_present_max: 3, ..cluster() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let input = joined(&world, NODE, &[2, 3, 4]);
    world.cluster(input);
    assert_eq!((online(alice, &mut world), world.counter("remote_present_refused")), (4, 0));
    let input = joined(&world, NODE, &[5]);
    world.cluster(input);
    assert_eq!(world.counter("remote_present_refused"), 1);
    world.cluster(left(NODE, 2, 0));
    let input = joined(&world, NODE, &[5]);
    world.cluster(input);
    assert_eq!(online(alice, &mut world), 4);

    world.store.is_paused = true;
    for id in 0..1024 {
        world.cluster(ClusterInput::Tip { room: RoomId(1000 + id), seq: Seq(1) });
    }
    assert_eq!(world.counter("cluster_ignored"), 0);
    world.cluster(ClusterInput::Tip { room: RoomId(9999), seq: Seq(1) });
    assert_eq!(world.counter("cluster_ignored"), 1);
}

#[test]
fn many_changes_at_once_wait_for_lanes() {
    let mut world = World::with_lanes(3, cluster(), 16);
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.take(alice);
    let card = |user: u32| {
        let card = world.store.card(2);
        let name = format!("user{user}").into();
        Arc::new(throng_core::input::UserCard { id: UserId(user), name, ..(*card).clone() })
    };
    let users: Vec<_> = (100..3100).map(card).collect();
    world.cluster(ClusterInput::NodePresence { room: RoomId(1), node: NODE, users });
    world.advance(10_000);
    assert_eq!(online(alice, &mut world), 3001);
    world.cluster(ClusterInput::NodeGone { node: NODE });
    world.advance(10_000);
    assert_eq!(online(alice, &mut world), 1);
}

// ---- what others are told -----------------------------------------------------------------------

fn present(signals: &[Signal]) -> Vec<(u32, bool, u64)> {
    let of = |signal: &Signal| match signal {
        Signal::Present { user, is_present, seq, .. } => Some((user.id.0, *is_present, seq.0)),
        Signal::Connection { .. } | Signal::Committed { .. } => None,
    };
    signals.iter().filter_map(of).collect()
}

fn states(signals: &[Signal]) -> Vec<Option<ConnState>> {
    let of = |signal: &Signal| match signal {
        Signal::Connection { state, .. } => Some(state.clone()),
        Signal::Present { .. } | Signal::Committed { .. } => None,
    };
    signals.iter().filter_map(of).collect()
}

#[test]
fn others_hear_of_the_first_session_and_of_the_last() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let tabs = [world.connect(0, Some(1)), world.connect(usize::from(shards) - 1, Some(1))];
        for tab in tabs {
            room(tab, &mut world, 1);
        }
        // Another node has him as well: that is its own affair.
        let input = joined(&world, NODE, &[1]);
        world.cluster(input);
        say(tabs[0], &mut world, 1, "1");
        assert_eq!(present(&world.take_signals()), [(1, true, 0)], "on {shards} shards");
        world.close(tabs[0], PipeEnd::Eof);
        assert_eq!(present(&world.take_signals()), []);
        world.close(tabs[1], PipeEnd::Eof);
        assert_eq!(present(&world.take_signals()), [(1, false, 1)]);
        assert_eq!(world.store.reads[&(UserId(1), RoomId(1))], Seq(1));
    });
}

#[test]
fn commits_are_told_with_their_numbers() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let one = world.store.commit_elsewhere(1, 9, "one");
    world.take_signals();
    say(alice, &mut world, 1, "two");
    let told = world.take_signals();
    let [Signal::Committed { room: RoomId(1), messages: told }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((told[0].seq, &*told[0].msg, told[0].id), (Seq(2), "two", 1));
    world.cluster(messages(&[one]));
    assert!(world.take_signals().is_empty(), "what others said is not told to them");
}

#[test]
fn sessions_are_told_with_user_and_rooms() {
    let mut world = World::new(1, cluster());
    let stranger = world.connect(0, None);
    let alice = world.connect(0, Some(1));
    let state = |rooms: &[u32]| {
        let rooms = rooms.iter().map(|room| RoomId(*room)).collect();
        Some(ConnState { user: UserId(1), rooms })
    };
    assert_eq!(states(&world.take_signals()), [state(&[])]);
    room(alice, &mut world, 1);
    room(alice, &mut world, 2);
    assert_eq!(states(&world.take_signals()), [state(&[1]), state(&[1, 2])]);
    world.send(alice, r#"42["roomout",{"roomid":1}]"#);
    world.close(stranger, PipeEnd::Eof);
    assert_eq!(states(&world.take_signals()), [state(&[2])]);
    world.close(alice, PipeEnd::Eof);
    assert_eq!(states(&world.take_signals()), [None]);
}

#[test]
fn a_full_lane_delays_signals_and_only_the_newest_state_is_told() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    world.take_signals();
    world.signals_max = 0;
    let bob = world.connect(0, Some(2));
    for _ in 0..3 {
        room(alice, &mut world, 1);
        world.send(alice, r#"42["roomout",{"roomid":1}]"#);
        room(bob, &mut world, 1);
    }
    world.close(bob, PipeEnd::Eof);
    room(alice, &mut world, 1);
    assert!(world.take_signals().is_empty());
    assert!(world.counter("lane_refusals_signal") > 0);
    world.signals_max = 1;
    world.advance(50);
    let told = world.take_signals();
    assert_eq!(present(&told), [(1, true, 0)], "Bob came and went unheard");
    assert_eq!(states(&told).len(), 1);
}

#[test]
fn a_room_commits_no_more_than_it_can_tell() {
    let mut world = World::new(1, Settings { room_backlog_max: 2, publish_per_s: 0, ..cluster() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.signals_max = 0;
    for n in 1..=4 {
        world.send(alice, &format!(r#"42{n}["message",{{"msg":"{n}","roomid":1}}]"#));
    }
    let said = world.take(alice).concat();
    assert!(said.contains(r#""seq":1"#) && said.contains("busy"), "{said}");
    assert_eq!(world.store.messages.len(), 1);
    world.signals_max = 64;
    world.advance(10);
    assert_eq!(texts(alice, &mut world), "2 3");
}

#[test]
fn an_announcement_tells_everything_anew() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        world.connect(0, None);
        room(alice, &mut world, 1);
        room(bob, &mut world, 1);
        let input = joined(&world, NODE, &[3]);
        world.cluster(input);
        world.send(bob, r#"42["roomout",{"roomid":1}]"#);
        world.take_signals();
        // Another node took this one for dead: nobody of it reads any more.
        world.store.reading.clear();
        world.cluster(ClusterInput::Announce);
        let told = world.take_signals();
        assert_eq!(present(&told), [(1, true, 0)], "on {shards} shards");
        assert_eq!(Vec::from_iter(&world.store.reading), [&(1, 1)], "on {shards} shards");
        assert_eq!(states(&told).len(), 2);
    });
}

#[test]
fn a_new_name_is_told_and_heard() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let input = joined(&world, NODE, &[2]);
    world.cluster(input);
    world.take(alice);
    world.take_signals();
    for user in [1, 2] {
        let card = (*world.store.card(user)).clone();
        world.change_user(throng_core::input::UserCard { name: "new".into(), ..card });
    }
    assert_eq!(present(&world.take_signals()), [(1, true, 0)]);
    assert!(world.take(alice).concat().contains(r#""2":{"id":2,"name":"new""#));
    say(alice, &mut world, 1, "hi");
    assert!(world.take(alice).concat().contains("user1@example.com"), "his mail is kept");
}

#[test]
fn one_node_signals_nothing() {
    let mut world = World::new(1, settings());
    world.signals_max = 64;
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    say(alice, &mut world, 1, "1");
    world.close(alice, PipeEnd::Eof);
    assert!(world.take_signals().is_empty());
}

// ---- events of other programs -------------------------------------------------------------------

fn emit(world: &mut World, to: Option<&[Audience]>, except: &[Audience]) {
    world.cluster(ClusterInput::Emit(Arc::new(Emit {
        to: to.map(Into::into),
        except: except.into(),
        event: r#"["news",{"a":1}]"#.into(),
    })));
}

#[test]
fn an_emitted_event_reaches_its_audience_once() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let far = usize::from(shards) - 1;
        let alice = world.connect(0, Some(1));
        let bob = world.connect(far, Some(2));
        let carol = world.connect(0, Some(3));
        let stranger = world.connect(far, None);
        room(alice, &mut world, 1);
        room(alice, &mut world, 2);
        room(bob, &mut world, 2);
        let (one, two) = (Audience::Room(RoomId(1)), Audience::Room(RoomId(2)));
        let user = |id| Audience::User(UserId(id));
        let everyone = [alice, bob, carol, stranger];
        let mut check = |to: Option<&[Audience]>, except: &[Audience], want: [usize; 4]| {
            for client in everyone {
                world.take(client);
            }
            emit(&mut world, to, except);
            let news = r#"42["news",{"a":1}]"#;
            let got =
                everyone.map(|client| world.take(client).iter().filter(|m| *m == news).count());
            assert_eq!(got, want, "to {to:?} except {except:?} on {shards} shards");
        };
        check(Some(&[one]), &[], [1, 0, 0, 0]);
        check(Some(&[one, two, two, user(1)]), &[], [1, 1, 0, 0]);
        check(Some(&[user(3), user(99)]), &[], [0, 0, 1, 0]);
        check(Some(&[two]), &[one], [0, 1, 0, 0]);
        check(Some(&[Audience::Room(RoomId(404))]), &[], [0, 0, 0, 0]);
        check(Some(&[]), &[], [0, 0, 0, 0]);
        check(None, &[], [1, 1, 1, 1]);
        check(None, &[two, user(3)], [0, 0, 0, 1]);
    });
}

#[test]
fn who_does_not_read_emitted_events_is_evicted() {
    let mut world = World::new(1, Settings { outbound_bytes_max: 20_000, ..cluster() });
    let slow = world.connect(0, Some(1));
    world.stop_reading(slow, true);
    for _ in 0..30 {
        world.cluster(ClusterInput::Emit(Arc::new(Emit {
            to: None,
            except: Box::default(),
            event: format!(r#"["news","{}"]"#, "x".repeat(1000)).into(),
        })));
    }
    assert_eq!(world.counter("evictions"), 1);
}

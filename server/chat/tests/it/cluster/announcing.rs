//! The signals that a node sends to other nodes.

use super::*;

#[test]
fn others_hear_of_the_first_session_and_of_the_last() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let tabs = [world.connect(0, Some(1)), world.connect(usize::from(shards) - 1, Some(1))];
        for tab in tabs {
            room(tab, &mut world, 1);
        }
        // The user has a session on another node too, which reports it itself.
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
fn commits_are_announced_with_their_numbers() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let one = world.store.commit_elsewhere(1, 9, "one");
    world.take_signals();
    say(alice, &mut world, 1, "two");
    let signals = world.take_signals();
    let [Signal::Committed { room: RoomId(1), messages }] = &signals[..] else {
        panic!("{signals:?}");
    };
    assert_eq!((messages[0].seq, &*messages[0].msg, messages[0].id), (Seq(2), "two", 1));
    world.cluster(super::messages(&[one]));
    assert!(world.take_signals().is_empty(), "messages of other nodes are not sent back");
}

#[test]
fn sessions_are_announced_with_user_and_rooms() {
    let mut world = World::new(1, cluster());
    let stranger = world.connect(0, None);
    let alice = world.connect(0, Some(1));
    let state = |rooms: &[u32]| {
        let rooms = rooms.iter().map(|room| RoomId(*room)).collect();
        Some(SessionState { user: UserId(1), rooms })
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
fn a_full_lane_delays_signals_and_only_the_newest_state_is_sent() {
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
    let signals = world.take_signals();
    assert_eq!(present(&signals), [(1, true, 0), (2, false, 0)], "with the read mark of Bob");
    assert_eq!(states(&signals).len(), 1);
}

#[test]
fn a_room_commits_no_more_than_it_can_announce() {
    let mut world = World::new(1, Settings { room_backlog_max: 2, publish_per_s: 0, ..cluster() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.signals_max = 0;
    for n in 1..=4 {
        world.send(alice, &format!(r#"42{n}["message",{{"msg":"{n}","roomid":1}}]"#));
    }
    let said = world.take(alice).concat();
    assert!(said.contains(r#""seq":1"#) && said.contains("busy"), "{said}");
    assert_eq!(world.store.rows.len(), 1);
    world.signals_max = 64;
    world.advance(10);
    assert_eq!(texts(alice, &mut world), "2 3");
}

#[test]
fn an_announcement_sends_everything_again() {
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
        let signals = world.take_signals();
        assert_eq!(present(&signals), [(1, true, 0)], "on {shards} shards");
        assert_eq!(
            Vec::from_iter(&world.store.reading),
            [&(UserId(1), RoomId(1))],
            "on {shards} shards"
        );
        assert_eq!(states(&signals).len(), 2);
    });
}

#[test]
fn a_new_name_is_sent_and_received() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let input = joined(&world, NODE, &[2]);
    world.cluster(input);
    world.take(alice);
    world.take_signals();
    for user in [1, 2] {
        let card = (*world.store.card(user)).clone();
        world.change_user(throng_chat::UserCard { name: "new".into(), ..card });
    }
    assert_eq!(present(&world.take_signals()), [(1, true, 0)]);
    assert!(world.take(alice).concat().contains(r#""2":{"id":2,"name":"new""#));
    say(alice, &mut world, 1, "hi");
    assert!(world.take(alice).concat().contains("user1@example.com"), "the e-mail address is kept");
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

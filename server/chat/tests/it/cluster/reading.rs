//! How far users have read, here and elsewhere.

use super::*;

#[test]
fn a_remote_user_reads_and_their_mark_is_where_they_left() {
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
        assert_eq!(count_of_room_1(bob, &mut world), "0", "they read on another node");
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
        // There, only three of the four had arrived.
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
        // The user had left at 2, but the node was gone before it could report that.
        world.store.reads.insert((UserId(2), RoomId(1)), Seq(2));
        world.store.is_down = true;
        world.cluster(ClusterInput::Resync);
        world.advance(900);
        world.store.is_down = false;
        world.take(bob);
        world.advance(2000);
        let sent = world.take(bob).concat();
        assert!(sent.contains(r#""room1":1"#), "{sent} on {shards} shards");
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
fn what_a_user_has_read_elsewhere_counts_whenever_it_is_reported() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let alice = world.connect(0, Some(1));
        for n in 1..=5 {
            world.store.commit_elsewhere(1, 9, &n.to_string());
        }
        world.cluster(tip(5));
        assert_eq!(count_of_room_1(alice, &mut world), "5");
        // A visit that was over before it was reported.
        world.cluster(left(NODE, 1, 3));
        assert_eq!(count_of_room_1(alice, &mut world), "2");
        let read = |seq| {
            let marks = vec![(UserId(1), Seq(seq))];
            ClusterInput::Read { room: RoomId(1), marks }
        };
        world.cluster(read(5));
        assert_eq!(count_of_room_1(alice, &mut world), "0");
        world.cluster(read(4));
        assert_eq!(count_of_room_1(alice, &mut world), "0", "nobody reads less");
    });
}

#[test]
fn the_node_that_is_left_last_may_be_behind() {
    on_shards(|shards| {
        let mut world = World::new(shards, cluster());
        let (alice, phone) = (world.connect(0, Some(1)), world.connect(0, Some(1)));
        room(phone, &mut world, 1);
        let input = joined(&world, NODE, &[1]);
        world.cluster(input);
        world.cluster(left(NODE, 1, 2));
        world.send(phone, r#"42["roomout",{"roomid":1}]"#);
        for n in 1..=2 {
            world.store.commit_elsewhere(1, 9, &n.to_string());
        }
        world.cluster(tip(2));
        assert_eq!(count_of_room_1(alice, &mut world), "0", "on {shards} shards");
    });
}

#[test]
fn a_mark_that_is_not_saved_is_announced() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.is_down = true;
    world.send(alice, r#"42["roomout",{"roomid":1}]"#);
    assert_eq!(present(&world.take_signals()), [(1, true, 0), (1, false, 0)]);
    for input in [ClusterInput::Announce, ClusterInput::Resync] {
        world.cluster(input);
        assert_eq!(present(&world.take_signals()), [(1, false, 0)]);
    }
    world.store.is_down = false;
    world.advance(2_000);
    world.cluster(ClusterInput::Announce);
    assert!(present(&world.take_signals()).is_empty(), "a node that asks the store finds it");
}

//! Who is where on other nodes.

use super::*;

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
        assert!(world.take(alice).is_empty(), "they are gone already");
    });
}

#[test]
fn a_user_is_present_until_no_node_has_them() {
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
fn a_room_that_only_others_knew_is_looked_up() {
    on_shards(|shards| {
        let mut world = World::new(shards, Settings { auto_create_max: 9, ..cluster() });
        world.store.rooms.insert(RoomId(77));
        for n in ["1", "2", "3", "4"] {
            world.store.commit_elsewhere(77, 9, n);
        }
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
        Arc::new(throng_chat::UserCard { id: UserId(user), name, ..(*card).clone() })
    };
    let users: Vec<_> = (100..3100).map(card).collect();
    world.cluster(ClusterInput::NodePresence { room: RoomId(1), node: NODE, users });
    world.advance(10_000);
    assert_eq!(online(alice, &mut world), 3001);
    world.cluster(ClusterInput::NodeGone { node: NODE });
    world.advance(10_000);
    assert_eq!(online(alice, &mut world), 1);
}

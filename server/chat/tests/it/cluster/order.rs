//! One order of the messages of all nodes.

use super::*;

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
    assert_eq!(world.store.fetches, [(0, 4), (2, 4)]);
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
        world.store.rows.clear();
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
    assert_eq!(texts(alice, &mut world), "two", "what came before it would have come before");
    say(alice, &mut world, 1, "three");
    assert_eq!(heard(alice, &mut world), [("three".to_owned(), 3)]);
}

#[test]
fn in_an_ephemeral_room_ones_own_message_waits_for_those_before_it() {
    let mut world = World::new(1, Settings { ephemeral: true, ..cluster() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.forgets = true;
    let one = world.store.commit_elsewhere(1, 9, "one");
    say(alice, &mut world, 1, "two");
    world.advance(1_000);
    assert_eq!(texts(alice, &mut world), "", "Redis is slow");
    world.cluster(messages(&[one]));
    assert_eq!(texts(alice, &mut world), "one two");
    world.store.commit_elsewhere(1, 9, "lost");
    say(alice, &mut world, 1, "four");
    world.advance(6_000);
    assert_eq!(texts(alice, &mut world), "four", "nobody waits for ever");
}

/// One node on a database server: the store numbers, since a commit may stay in doubt.
#[test]
fn a_refused_commit_that_was_kept_holds_nobody_up() {
    let mut world = World::new(1, Settings { store_numbers: true, ..settings() });
    let (alice, bob) = (world.connect(0, Some(1)), world.connect(0, Some(2)));
    room(alice, &mut world, 1);
    room(bob, &mut world, 1);
    world.store.is_down = true;
    world.send(alice, r#"425["message",{"msg":"doubtful","roomid":1}]"#);
    assert!(world.take(alice).concat().contains("storage_unavailable"));
    // The answer was lost, not the transaction.
    world.store.commit_elsewhere(1, 1, "doubtful");
    world.store.is_down = false;
    world.send(alice, r#"426["message",{"msg":"next","roomid":1}]"#);
    world.advance(1_000);
    assert!(world.take(alice).concat().contains(r#"436[{"ok":true"#));
    let want = [("doubtful", 1), ("next", 2)].map(|(m, s)| (m.to_owned(), s));
    assert_eq!(heard(bob, &mut world), want);
}

#[test]
fn a_message_that_another_node_stored_is_heard_here_as_the_first_one_said() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    // This node does not know of it: the other's answer was lost, and then the author came here.
    world.store.loses_answers = true;
    world.send(alice, r#"421["message",{"msg":"first","roomid":1,"cid":"x"}]"#);
    world.store.loses_answers = false;
    world.take(alice);
    world.take_signals();
    world.send(alice, r#"422["message",{"msg":"second","roomid":1,"cid":"x"}]"#);
    let said = world.take(alice);
    assert!(said[0].contains(r#""msg":"first""#), "{said:?}");
    assert_eq!(said[1], r#"432[{"ok":true,"id":1,"seq":1}]"#);
    let signals = |world: &mut World| -> Vec<Box<str>> {
        let committed = world.take_signals().into_iter().filter_map(|signal| match signal {
            Signal::Committed { messages, .. } => Some(messages),
            _ => None,
        });
        committed.flat_map(|messages| messages.to_vec()).map(|message| message.msg).collect()
    };
    assert_eq!(signals(&mut world), ["first".into()], "others may lack it as well");
    world.send(alice, r#"423["message",{"msg":"third","roomid":1,"cid":"x"}]"#);
    assert_eq!(world.take(alice), [r#"433[{"ok":true,"id":1,"seq":1}]"#]);
    assert!(signals(&mut world).is_empty());
}

#[test]
fn a_commit_of_unknown_outcome_is_reported_to_other_nodes_once_it_is_found() {
    let mut world = World::new(1, cluster());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.loses_answers = true;
    say(alice, &mut world, 1, "in doubt");
    world.store.loses_answers = false;
    world.take_signals();
    world.advance(1_000);
    let signals = world.take_signals();
    let is_reported = |signal: &Signal| match signal {
        Signal::Committed { messages, .. } => &*messages[0].msg == "in doubt",
        _ => false,
    };
    assert_eq!(signals.iter().filter(|signal| is_reported(signal)).count(), 1, "{signals:?}");
    assert_eq!(heard(alice, &mut world), [("in doubt".to_owned(), 1)]);
}

//! Every bound when it is reached.

use std::sync::Arc;

use throng_chat::{Cid, NewMessage, RoomId, Seq, TokenHash, UserId};
use throng_engine::Now;

use super::cards::card;
use super::world::World;
use crate::model::Mode;
use crate::order::{Append, NumberFault, Numbers, Order, OrderId, Outcome};
use crate::{Cluster, Effects, Event, PublishId, Seed, Settings};

fn message(text: &str) -> (NewMessage, Arc<throng_chat::UserCard>) {
    let (img, time) = (Box::default(), Box::default());
    (NewMessage { user: UserId(1), msg: text.into(), img, time, cid: None }, card(1))
}

fn again(text: &str, cid: &str) -> (NewMessage, Arc<throng_chat::UserCard>) {
    let (message, card) = message(text);
    (NewMessage { cid: Cid::new(cid), ..message }, card)
}

fn from(id: u64, first: u64) -> (PublishId, Result<Numbers, NumberFault>) {
    (PublishId(id), Ok(Numbers { first: Seq(first), repeats: Vec::new() }))
}

const REFUSED: Result<Numbers, NumberFault> = Err(NumberFault::Refused);
const UNKNOWN: Result<Numbers, NumberFault> = Err(NumberFault::Unknown);

#[test]
fn a_full_backlog_becomes_tips() {
    let mut world = World::new(1);
    world.settings.backlog_bytes_max = 1_000;
    world.start();
    world.start();
    world.run(1_000);
    // The first is appended at once; the backlog holds a few more while that is in flight.
    for _ in 0..50 {
        world.say(0, 1, "x");
    }
    assert!(world.status(0).backlog_bytes <= 1_000);
    assert!(world.status(0).counters.backlog_full > 0);
    world.run(100);
    assert!(world.has_heard(1));
    assert!(world.node(1).messages.len() < 50, "the others came as tips");
}

#[test]
fn controls_are_queued_up_to_their_bound() {
    let mut world = World::new(1);
    world.settings.controls_max = 4;
    world.start();
    world.start();
    world.run(1_000);
    world.mode(Mode::Down);
    world.run(10);
    for byte in 0..5 {
        world.step(0, Event::Revoked(TokenHash([byte; 32])));
    }
    assert_eq!(world.status(0).counters.controls_full, 1);
    world.mode(Mode::Up);
    world.run(5_000);
    assert_eq!(world.node(1).revoked, 4);
}

#[test]
fn no_more_peers_than_the_bound_are_adopted() {
    let mut world = World::new(1);
    world.settings.peers_max = 1;
    for _ in 0..3 {
        world.start();
    }
    world.run(3_000);
    assert_eq!(world.status(0).peers, 1);
    assert!(world.status(0).counters.peers_full > 0);
}

#[test]
fn reading_pauses_while_shards_take_no_inputs() {
    let mut world = World::new(1);
    world.settings.inputs_max = 10;
    world.settings.read_count = 4;
    world.start();
    world.start();
    world.run(1_000);
    world.node(1).is_deaf = true;
    for _ in 0..100 {
        world.say(0, 1, "x");
        world.run(2);
    }
    world.run(1_000);
    // One more read than the bound: four entries of each of two streams.
    let waiting = world.node(1).inputs_waiting();
    assert!((10..=18).contains(&waiting), "{waiting}");
    world.node(1).is_deaf = false;
    world.run(10_000);
    assert!(world.has_heard(1));
}

#[test]
fn reading_pauses_while_shards_take_no_notices() {
    let mut world = World::new(1);
    world.settings.inputs_max = 10;
    world.settings.read_count = 4;
    world.start();
    world.start();
    world.run(1_000);
    world.node(1).is_deaf = true;
    for token in 0..100 {
        world.step(0, Event::Revoked(TokenHash([token; 32])));
        world.run(2);
    }
    world.run(1_000);
    let waiting = world.node(1).inputs_waiting();
    assert!((10..=18).contains(&waiting), "{waiting}");
    world.node(1).is_deaf = false;
    world.run(10_000);
    assert_eq!(world.node(1).revoked, 100);
}

fn publish(id: u64) -> Event {
    Event::Publish { id: PublishId(id), room: RoomId(1), batch: vec![message(&id.to_string())] }
}

#[test]
fn redis_numbers_messages_where_there_is_no_sql_log() {
    let mut world = World::new(1);
    world.settings.ephemeral = true;
    world.start();
    world.start();
    world.run(1_000);
    for node in [0, 1] {
        let batch = vec![message("a"), message("b")];
        world.step(node, Event::Publish { id: PublishId(1), room: RoomId(1), batch });
        world.run(50);
    }
    assert_eq!(world.node(0).numbered, [from(1, 1)]);
    assert_eq!(world.node(1).numbered, [from(1, 3)]);
    let seqs = |world: &mut World, node| -> Vec<u64> {
        world.node(node).messages.iter().map(|(_, message)| message.seq.0).collect()
    };
    // A node's own messages come back in sequence with those of the others.
    assert_eq!(seqs(&mut world, 0), [1, 2, 3, 4]);
    assert_eq!(seqs(&mut world, 1), [1, 2, 3, 4]);
}

#[test]
fn redis_numbers_a_message_once_however_often_and_wherever_it_is_published() {
    let mut world = World::new(1);
    world.settings.ephemeral = true;
    world.start();
    world.start();
    world.run(1_000);
    let batch = vec![again("a", "x"), message("b"), again("a", "x"), again("c", "y")];
    world.step(0, Event::Publish { id: PublishId(1), room: RoomId(1), batch });
    // At the same time, before either knows of the other.
    let batch = vec![again("other", "y"), again("d", "z")];
    world.step(1, Event::Publish { id: PublishId(1), room: RoomId(1), batch });
    let batch = vec![again("e", "x")];
    world.step(1, Event::Publish { id: PublishId(2), room: RoomId(2), batch });
    world.run(50);
    let numbers = |first, repeats: &[(usize, u64)]| {
        let repeats = repeats.iter().map(|(index, seq)| (*index, Seq(*seq))).collect();
        Ok(Numbers { first: Seq(first), repeats })
    };
    let mut first = world.node(0).numbered.clone();
    let mut second = world.node(1).numbered.clone();
    second.sort_by_key(|(id, _)| *id);
    assert_eq!(second.pop(), Some((PublishId(2), numbers(1, &[]))), "another room");
    let (first, second) = (first.pop().expect("numbers"), second.pop().expect("numbers"));
    if first.1 == numbers(1, &[(2, 1)]) {
        assert_eq!(second.1, numbers(4, &[(0, 3)]));
    } else {
        assert_eq!((first.1, second.1), (numbers(3, &[(2, 3), (3, 1)]), numbers(1, &[])));
    }
    let heard: Vec<_> = world.node(0).messages.iter().map(|(_, message)| message.seq.0).collect();
    assert_eq!(heard.len(), 5, "each once: {heard:?}");
    world.run(10 * 60 * 1000);
    let batch = vec![again("late", "x")];
    world.step(0, Event::Publish { id: PublishId(2), room: RoomId(2), batch });
    world.run(50);
    assert_eq!(world.node(0).numbered.pop(), Some((PublishId(2), numbers(2, &[]))));
}

#[test]
fn numbers_do_not_decrease_when_redis_loses_its_data() {
    let mut world = World::new(1);
    world.settings.ephemeral = true;
    world.start();
    world.run(1_000);
    for seq in 1..4 {
        world.step(0, publish(seq));
        world.run(50);
        world.redis.redis.clear();
        assert_eq!(world.node(0).numbered.pop(), Some(from(seq, seq)));
    }
}

#[test]
fn a_publish_above_the_bound_or_without_redis_is_refused() {
    let mut world = World::new(1);
    world.settings.ephemeral = true;
    world.settings.numbering_max = 2;
    world.start();
    world.run(1_000);
    for id in 1..=3 {
        world.step(0, publish(id));
    }
    assert_eq!(world.node(0).numbered, [(PublishId(3), REFUSED)], "the one above the bound");
    assert_eq!(world.status(0).counters.numbering_full, 1);
    world.run(50);
    assert_eq!(world.node(0).numbered.len(), 3);
    world.mode(Mode::Down);
    world.run(10);
    world.node(0).numbered.clear();
    world.step(0, publish(4));
    assert_eq!(world.node(0).numbered, [(PublishId(4), REFUSED)]);
}

/// Redis may execute the second first, and a refusal overtakes both.
#[test]
fn each_publish_of_a_room_is_answered_with_its_own_number() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.settings.ephemeral = true;
        world.settings.numbering_max = 3;
        world.start();
        world.run(1_000);
        for id in 1..=4 {
            world.step(0, publish(id));
        }
        world.run(50);
        let node = world.node(0);
        let mut placed: Vec<_> = node
            .messages
            .iter()
            .map(|(_, message)| {
                let id = message.msg.parse().expect("the id is the text");
                from(id, message.seq.0)
            })
            .chain([(PublishId(4), REFUSED)])
            .collect();
        placed.sort_unstable_by_key(|(id, _)| *id);
        let mut answered = node.numbered.clone();
        answered.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(answered, placed, "seed {seed}");
    }
}

/// What one node answers to a publish of two messages when these are their numbers, and how many outcomes did not
/// fit their orders.
fn numbered(numbers: &Numbers) -> (Result<Numbers, NumberFault>, u64) {
    let settings = Settings { ephemeral: true, ..Settings::default() };
    let mut cluster = Cluster::new(settings, Seed { random: [7; 16], started_unix_ms: 0 });
    let mut effects = Effects::default();
    let batch = vec![message("a"), message("b")];
    let publish = Event::Publish { id: PublishId(1), room: RoomId(1), batch };
    cluster.step(Now(0), publish, &mut effects);
    let is_it = |order: &Order| matches!(order, Order::Number { .. });
    let asked = effects.orders.iter().find(|(_, order)| is_it(order)).map(|(id, _)| *id);
    let order = asked.expect("Redis is asked");
    let outcome = Ok(Outcome::Numbered(numbers.clone()));
    cluster.step(Now(0), Event::Outcome { order, outcome }, &mut effects);
    assert_eq!(cluster.check(), Ok(()));
    let (id, answer) = effects.numbered.pop().expect("each publish is answered");
    assert_eq!((id, effects.numbered.len()), (PublishId(1), 0));
    (answer, cluster.status().counters.outcomes_unexpected)
}

#[test]
fn numbers_that_do_not_fit_their_batch_are_counted_and_taken_for_no_answer() {
    let numbers = |first, repeats: &[(usize, u64)]| {
        let repeats = repeats.iter().map(|(index, seq)| (*index, Seq(*seq))).collect();
        Numbers { first: Seq(first), repeats }
    };
    // The first number in room 1 with which a message would have no id.
    let beyond = 9_223_372_037;
    for fitting in [
        numbers(5, &[]),
        numbers(1, &[(0, 1)]),
        numbers(5, &[(1, 4)]),
        numbers(5, &[(0, 4), (1, 4)]),
        numbers(beyond - 3, &[]),
        numbers(5, &[(0, beyond - 1)]),
    ] {
        assert_eq!(numbered(&fitting), (Ok(fitting.clone()), 0), "{fitting:?}");
    }
    for other in [
        numbers(5, &[(2, 7)]),
        numbers(5, &[(0, 3), (2, 4)]),
        numbers(5, &[(0, 3), (0, 4)]),
        numbers(5, &[(1, 3), (0, 4)]),
        numbers(5, &[(0, 1), (1, 2), (2, 3)]),
        numbers(5, &[(0, 0)]),
        numbers(0, &[]),
        numbers(beyond - 2, &[]),
        numbers(u64::MAX, &[]),
        numbers(5, &[(0, beyond)]),
        numbers(5, &[(0, u64::MAX)]),
    ] {
        assert_eq!(numbered(&other), (UNKNOWN, 1), "{other:?}");
    }
}

#[test]
fn malformed_entries_are_counted_and_skipped() {
    let mut world = World::with_nodes(1, 1);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let log = "throng:log:{0}".to_owned();
    let broken: [Vec<_>; 6] = [
        vec![],
        vec![field("k", "m")],
        vec![field("n", "a.1"), field("q", "1"), field("k", "zz"), field("d", "{}")],
        vec![field("n", "a.1"), field("q", "x"), field("k", "s"), field("d", "{}")],
        vec![field("n", "a/1"), field("q", "1"), field("k", "s"), field("d", "{}")],
        vec![field("n", "a.1"), field("q", "1"), field("k", "m"), field("d", "{\"r\":1,\"m\":7}")],
    ];
    let entries =
        broken.iter().map(|fields| Append { stream: log.clone(), fields: fields.clone() });
    let order = Order::Append { maxlen: 100, entries: entries.collect() };
    let now = world.now;
    world.redis.give(now, 99, OrderId(0), order);
    world.run(500);
    assert_eq!(world.status(0).counters.entries_skipped, 6);
    assert!(world.status(0).is_up);
}

#[test]
fn an_entry_that_is_too_large_is_skipped() {
    let mut world = World::new(1);
    world.settings.entry_bytes_max = 500;
    world.start();
    world.start();
    world.run(1_000);
    world.say(0, 1, &"x".repeat(1_000));
    world.run(100);
    assert_eq!(world.status(1).counters.entries_skipped, 1);
    assert!(!world.has_heard(1));
    // The node reads it from SQL later.
    world.run(6_000);
    assert!(world.has_heard(1));
}

#[test]
fn an_outcome_of_no_order_is_counted_and_ignored() {
    let mut world = World::with_nodes(1, 1);
    let outcome = Ok(crate::Outcome::Held(false));
    world.step(0, Event::Outcome { order: OrderId(999_999), outcome });
    world.run(100);
    assert_eq!(world.status(0).counters.outcomes_unexpected, 1);
    assert_eq!(world.fault(), None);
}

//! One fault at a time.
use throng_chat::{RoomId, Seq, TokenHash};

use super::cards::card;
use super::world::World;
use crate::entry::{Body, encode, process_of};
use crate::model::Mode;
use crate::{Append, Event, Order};

/// The longest acceptable time until the state is correct again.
const RECOVERY_MS: u64 = 10_000;

#[track_caller]
fn assert_correct(world: &mut World) {
    if let Some(fault) = world.fault() {
        panic!("{fault}");
    }
}

/// Milliseconds until the state is correct, at most `max`.
#[track_caller]
fn wait_until_correct(world: &mut World, max: u64) -> u64 {
    let mut waited = 0;
    let mut fault = world.fault();
    while fault.is_some() && waited < max {
        world.run(20);
        waited += 20;
        fault = world.fault();
    }
    if let Some(fault) = fault {
        panic!("not correct after {max} ms: {fault}");
    }
    waited
}

fn two_with_users() -> World {
    let mut world = World::with_nodes(1, 2);
    world.enter(0, 1, &[1, 2]);
    world.enter(0, 2, &[1]);
    world.enter(1, 3, &[1]);
    world.enter(1, 1, &[]);
    world.run(200);
    assert_correct(&mut world);
    world
}

#[test]
fn a_node_alone_is_up_at_once() {
    let mut world = World::new(1);
    world.start();
    world.run(100);
    world.enter(0, 1, &[1]);
    world.run(100);
    assert_correct(&mut world);
    assert_eq!(world.node(0).announced, 1);
}

#[test]
fn nodes_that_try_the_same_id_get_different_ones() {
    let mut world = World::new(1);
    world.first_id = Some(1023);
    for _ in 0..3 {
        world.start();
    }
    world.run(1_000);
    assert_correct(&mut world);
    let mut ids: Vec<_> = (0..3).map(|node| world.status(node).node).collect();
    ids.sort_unstable();
    assert_eq!(ids, [Some(0), Some(1), Some(1023)]);
}

#[test]
fn joins_leaves_and_messages_cross() {
    let mut world = two_with_users();
    let session = world.enter(0, 9, &[2]);
    world.say(0, 2, "hello");
    world.run(100);
    assert_correct(&mut world);
    let message = world.node(1).messages.last().cloned().expect("a message arrived");
    assert_eq!((&*message.1.msg, message.1.seq.0), ("hello", 1));
    assert!(message.1.author.email.is_empty(), "no e-mail passes between nodes");
    world.move_to(0, session, 9, &[1]);
    world.run(100);
    assert_correct(&mut world);
    world.leave(0, session);
    world.run(100);
    assert_correct(&mut world);
}

#[test]
fn a_room_without_messages_is_found_through_the_database() {
    let mut world = two_with_users();
    world.sql.tips.insert(RoomId(77), Seq(0));
    let idle_ms = world.settings.idle_poll_ms;
    world.run(idle_ms + 100);
    assert!(world.has_heard(0) && world.has_heard(1));
    // Once is enough.
    let heard = world.node(1).tips;
    world.run(2 * idle_ms);
    assert_eq!(world.node(1).tips, heard);
}

#[test]
fn a_late_node_shows_the_users_present() {
    let mut world = two_with_users();
    world.say(0, 1, "before");
    world.run(100);
    world.start();
    world.run(1_000);
    assert_correct(&mut world);
    assert!(world.node(2).messages.is_empty(), "history is read from SQL");
}

#[test]
fn the_newest_remaining_connection_takes_the_fd() {
    let mut world = World::with_nodes(1, 3);
    for node in 0..3 {
        world.enter(node, 7, &[1]);
        world.run(50);
    }
    assert_correct(&mut world);
    let newest = world.enter(0, 7, &[]);
    world.run(100);
    assert_correct(&mut world);
    world.leave(0, newest);
    world.run(200);
    assert_correct(&mut world);
    world.kill(2);
    wait_for_correct_views(&mut world, RECOVERY_MS);
}

#[test]
fn a_killed_node_is_gone_within_the_lease() {
    let mut world = two_with_users();
    let name = world.status(0).incarnation;
    world.kill(0);
    wait_for_correct_views(&mut world, RECOVERY_MS);
    assert_eq!(world.node(1).gone, 1);
    // The record goes with the second pass.
    wait_until_correct(&mut world, 2 * RECOVERY_MS);
    assert!(world.sql.has_raised_marks(&name));
}

/// Waits for correct rosters and a correct map, not for the removal of the dead node's record.
#[track_caller]
fn wait_for_correct_views(world: &mut World, max: u64) -> u64 {
    let mut waited = 0;
    loop {
        match world.fault() {
            Some(fault) if !fault.starts_with("throng:nodes") => {
                assert!(waited < max, "not correct after {max} ms: {fault}");
                world.run(20);
                waited += 20;
            }
            _ => return waited,
        }
    }
}

#[test]
fn two_sweepers_share_the_work() {
    let mut world = World::with_nodes(3, 3);
    for user in 0..2_000 {
        world.enter(0, user, &[user % 100]);
    }
    world.run(2_000);
    assert_correct(&mut world);
    world.kill(0);
    wait_for_correct_views(&mut world, RECOVERY_MS);
    wait_until_correct(&mut world, 2 * RECOVERY_MS);
}

#[test]
fn redis_comes_back_empty() {
    let mut world = two_with_users();
    world.mode(Mode::Down);
    world.run(3_000);
    world.enter(0, 5, &[3]);
    world.say(0, 1, "while it is away");
    world.run(1_500);
    assert!(world.has_heard(1), "SQL replaces the logs");
    assert!(!world.status(0).is_up);
    assert_eq!(world.node(1).gone, 0, "the others are kept: nothing proves their end");
    world.redis.redis.clear();
    world.mode(Mode::Up);
    let waited = wait_until_correct(&mut world, RECOVERY_MS);
    assert_eq!((world.node(0).gone, world.node(1).gone), (0, 0), "no user flickered");
    assert!(waited < 3_000, "{waited} ms");
}

#[test]
fn redis_is_emptied_without_a_broken_connection() {
    let mut world = two_with_users();
    world.redis.redis.clear();
    wait_until_correct(&mut world, RECOVERY_MS);
    assert_eq!((world.node(0).gone, world.node(1).gone), (0, 0), "no user flickered");
}

#[test]
fn redis_is_paused_for_longer_than_the_lease() {
    let mut world = two_with_users();
    world.mode(Mode::Paused);
    let session = world.enter(1, 6, &[1]);
    world.run(5_000);
    world.leave(1, session);
    world.say(1, 1, "while it sleeps");
    world.run(5_000);
    assert!(world.has_heard(0));
    world.mode(Mode::Up);
    wait_for_correct_views(&mut world, RECOVERY_MS);
    assert_eq!((world.node(0).gone, world.node(1).gone), (0, 0), "no user flickered");
    wait_until_correct(&mut world, 2 * RECOVERY_MS);
}

#[test]
fn a_full_redis_rejects_writes_and_accepts_them_later() {
    let mut world = two_with_users();
    world.redis.redis.is_full = true;
    world.enter(0, 8, &[1]);
    world.say(0, 1, "no memory for this");
    world.run(3_000);
    let status = world.status(0);
    assert_eq!((status.is_up, status.why), (false, "oom"));
    assert!(world.has_heard(1));
    let before = status.incarnation;
    world.redis.redis.is_full = false;
    wait_until_correct(&mut world, RECOVERY_MS);
    assert_eq!(world.status(0).incarnation, before, "a rejected write ends no incarnation");
}

#[test]
fn reads_do_not_postpone_the_retry_of_a_rejected_write() {
    // With short leases the registry is read as often as a rejected write is retried.
    for lease_ms in [1_000, 1_500, 2_000, 4_000] {
        let mut world = World::new(1);
        world.settings.lease_ms = lease_ms;
        for node in 0..2 {
            world.start();
            world.enter(node, 1 + node as u32, &[1]);
        }
        world.run(1_000);
        world.redis.redis.is_full = true;
        world.enter(0, 8, &[1]);
        world.run(4_000);
        assert!(!world.status(0).is_up, "lease {lease_ms}");
        world.redis.redis.is_full = false;
        wait_until_correct(&mut world, RECOVERY_MS);
        assert!(world.status(0).is_up, "lease {lease_ms}");
    }
}

#[test]
fn a_slow_redis_costs_no_orders() {
    let mut world = two_with_users();
    world.redis.latency_ms = (300, 900);
    for user in 100..1_100 {
        world.enter(0, user, &[1]);
        world.say(0, 1, "hi");
    }
    world.run(20_000);
    assert!(world.node(0).in_flight_max < 24, "{}", world.node(0).in_flight_max);
    world.redis.latency_ms = (0, 2);
    wait_until_correct(&mut world, RECOVERY_MS);
}

#[test]
fn a_node_that_was_suspended_notices_and_rejoins() {
    let mut world = two_with_users();
    let name = world.status(0).incarnation;
    world.sleep(0);
    world.run(11_000);
    assert_eq!(world.node(1).gone, 1);
    assert!(world.sql.has_raised_marks(&name));
    world.say(1, 1, "while it sleeps");
    world.wake(0);
    wait_for_correct_views(&mut world, RECOVERY_MS);
    assert_ne!(world.status(0).incarnation, name);
    assert_eq!(world.node(0).announced, 2, "the shards report their users again");
    assert!(world.status(0).counters.resyncs > 0, "the read marks of its users were raised");
    wait_until_correct(&mut world, 2 * RECOVERY_MS);
}

#[test]
fn a_live_node_whose_read_marks_were_raised_reports_its_users_again() {
    let mut world = two_with_users();
    let name = world.status(0).incarnation;
    let process = process_of(&name).to_owned();
    let resyncs = world.status(0).counters.resyncs;
    for (processes, announced) in [(vec!["ffff".into()], 1), (vec!["ffff".into(), process], 2)] {
        let fields = encode("ffff.1", 1, &Body::MarksRaised(processes));
        let stream = "throng:log:{0}".into();
        let entries = vec![Append { stream, fields }];
        let append = Order::Append { maxlen: 100, entries };
        world.redis.redis.run(world.now, &append).expect("redis is up");
        world.run(1_000);
        assert_eq!(world.node(0).announced, announced);
    }
    assert_eq!(world.status(0).incarnation, name, "the incarnation goes on");
    assert!(world.status(0).counters.resyncs > resyncs);
    assert_correct(&mut world);
}

#[test]
fn a_short_suspension_changes_nothing() {
    let mut world = two_with_users();
    let name = world.status(0).incarnation;
    world.sleep(0);
    world.run(5_000);
    world.wake(0);
    wait_until_correct(&mut world, 2_000);
    assert_eq!((world.status(0).incarnation, world.node(1).gone), (name, 0));
}

#[test]
fn a_node_is_cut_off_and_comes_back() {
    let mut world = two_with_users();
    world.redis.cut(0);
    world.run(15_000);
    assert_eq!(world.node(1).gone, 1, "its lease has expired");
    assert_eq!(world.node(0).gone, 0, "it cannot know the state of the others");
    world.enter(0, 12, &[1]);
    world.redis.mend(0);
    wait_for_correct_views(&mut world, RECOVERY_MS);
    wait_until_correct(&mut world, 2 * RECOVERY_MS);
}

#[test]
fn a_reader_that_fell_behind_reads_everything_again() {
    let mut world = two_with_users();
    world.sleep(1);
    for user in 0..500 {
        let session = world.enter(0, 1_000 + user, &[1]);
        world.run(5);
        if user % 2 == 0 {
            world.leave(0, session);
        }
        world.say(0, 1, "x");
        world.run(5);
    }
    world.wake(1);
    wait_for_correct_views(&mut world, RECOVERY_MS);
    assert!(world.status(1).counters.resyncs > 0, "200 entries are kept, 500 were appended");
}

#[test]
fn a_stopped_node_leaves_nothing_behind() {
    let mut world = two_with_users();
    world.step(0, Event::Stop);
    world.run(500);
    assert!(world.node(0).cluster.is_stopped());
    world.kill(0);
    assert_correct(&mut world);
}

#[test]
fn a_node_may_be_stopped_at_any_moment_of_its_start() {
    for ms in 0..300 {
        let mut world = World::with_nodes(ms, 1);
        let new = world.start();
        world.run(ms / 3);
        world.step(new, Event::Revoked(TokenHash([3; 32])));
        world.step(new, Event::Stop);
        world.run(5_000);
        assert!(world.node(new).cluster.is_stopped(), "{} ms after its start", ms / 3);
    }
}

#[test]
fn controls_reach_every_other_node() {
    let mut world = World::with_nodes(1, 3);
    world.step(0, Event::Revoked(TokenHash([3; 32])));
    world.step(0, Event::UserChanged(card(4)));
    world.run(100);
    for node in [1, 2] {
        assert_eq!(world.node(node).revoked, 1);
        assert_eq!(world.node(node).changed, [card(4).id]);
    }
    assert_eq!(world.node(0).revoked, 0, "the node itself knows already");
}

#[test]
fn a_control_waits_for_redis() {
    let mut world = World::with_nodes(1, 2);
    world.mode(Mode::Down);
    world.step(0, Event::Revoked(TokenHash([3; 32])));
    world.run(1_000);
    world.mode(Mode::Up);
    world.run(5_000);
    assert_eq!(world.node(1).revoked, 1);
}

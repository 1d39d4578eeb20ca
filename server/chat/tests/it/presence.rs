//! PRES: one join and one leave per user, coalescing, deltas, counts, budget.

use throng_chat::UserCard;
use throng_chat::{Settings, UserId};
use throng_engine::PipeEnd;

use crate::chat::room;
use crate::world::{Client, World, settings};

fn join_as(client: Client, world: &mut World, presence: &str) -> Vec<String> {
    world.send(client, &format!(r#"42["room",{{"roomid":1,"presence":"{presence}"}}]"#));
    world.take(client)
}

#[test]
fn others_see_one_join_and_one_leave_per_user() {
    for shards in [1, 3] {
        let mut world = World::new(shards, settings());
        let last = usize::from(shards) - 1;
        let watcher = world.connect(0, Some(9));
        room(watcher, &mut world, 1);
        let tabs: Vec<Client> = (0..3).map(|i| world.connect(i % (last + 1), Some(1))).collect();
        let mut heard = Vec::new();
        for tab in &tabs {
            let own = room(*tab, &mut world, 1);
            let rosters = own.iter().filter(|m| m.starts_with(r#"42["room""#)).count();
            assert_eq!(rosters, 1, "each tab gets the roster: {own:?}");
            heard.extend(world.take(watcher));
        }
        assert_eq!(heard.len(), 1, "one join: {heard:?}");
        world.close(tabs[1], PipeEnd::Eof);
        world.send(tabs[0], r#"42["roomout",{"roomid":1}]"#);
        assert!(
            world.take(tabs[0])[0].contains(r#""1":{"id":1"#),
            "another tab keeps the user present"
        );
        assert!(world.take(watcher).is_empty());
        world.close(tabs[2], PipeEnd::Failed);
        let heard = world.take(watcher);
        assert_eq!(heard.len(), 1, "one leave: {heard:?}");
        assert!(heard[0].starts_with(r#"42["roomout",{"9":"#));
    }
}

#[test]
fn a_repeated_join_answers_that_session_only() {
    let mut world = World::new(3, settings());
    let alice = world.connect(0, Some(1));
    let bob = world.connect(1, Some(2));
    room(alice, &mut world, 1);
    room(bob, &mut world, 1);
    world.take(alice);
    assert_eq!(room(bob, &mut world, 1).len(), 1);
    assert!(world.take(alice).is_empty());
    assert_eq!(world.counter("joins"), 2);
}

#[test]
fn joins_of_one_turn_are_one_broadcast() {
    let mut world = World::new(1, settings());
    let watcher = world.connect(0, Some(9));
    room(watcher, &mut world, 1);
    let clients: Vec<Client> = (1..=5).map(|user| world.connect(0, Some(user))).collect();
    for client in &clients {
        world.send_quietly(*client, r#"42["room",{"roomid":1}]"#);
    }
    world.run();
    let heard = world.take(watcher);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains(r#""online":6"#));
    for client in clients {
        assert_eq!(world.take(client).len(), 1);
    }
}

#[test]
fn delta_members_get_a_snapshot_and_then_changes() {
    for shards in [1, 3] {
        let mut world = World::new(shards, settings());
        let full = world.connect(0, Some(1));
        let delta = world.connect(usize::from(shards) - 1, Some(2));
        let count = world.connect(0, Some(3));
        room(full, &mut world, 1);
        let first = join_as(delta, &mut world, "delta");
        assert_eq!(first.len(), 1, "{first:?}");
        assert!(first[0].starts_with(r#"42["room",{"1":"#));
        let first = join_as(count, &mut world, "count");
        assert_eq!(first, [r#"42["presence",{"room":1,"seq":0,"online":3,"version":3}]"#]);
        let change = world.take(delta);
        let entry = r#"{"id":3,"name":"user3","avatar":"/avatars/3.svg","src":"/avatars/3.svg"}"#;
        assert_eq!(
            change,
            [format!(
                r#"42["presence",{{"room":1,"seq":0,"online":3,"version":3,"joined":[{entry}],"left":[]}}]"#
            )]
        );
        world.close(full, PipeEnd::Eof);
        let change = world.take(delta);
        assert_eq!(change.len(), 1);
        assert!(
            change[0].ends_with(r#""online":2,"version":4,"joined":[],"left":[1]}]"#),
            "{change:?}"
        );
        assert_eq!(
            world.take(count),
            [r#"42["presence",{"room":1,"seq":0,"online":2,"version":4}]"#]
        );
    }
}

#[test]
fn rosters_beyond_the_budget_are_late_but_right() {
    let budget = Settings { roster_repeat_bytes_per_s: 4000, ..settings() };
    let mut world = World::new(1, budget);
    let clients: Vec<Client> = (1..=10).map(|user| world.connect(0, Some(user))).collect();
    for client in &clients {
        world.send(*client, r#"421["room",{"roomid":1}]"#);
    }
    let acks: usize = clients
        .iter()
        .map(|client| world.take(*client).iter().filter(|m| m.starts_with("431[")).count())
        .sum();
    assert_eq!(acks, 10, "acks do not wait for the budget");
    // 50 ms + 2 × roster bytes × members / budget, with 1024 bytes at least.
    world.advance(50 + 2 * 1000 * 1024 * 10 / 4000);
    for client in &clients {
        let last = world.take(*client).into_iter().rfind(|m| m.starts_with(r#"42["room""#));
        let last = last.expect("a roster came");
        assert!(last.contains(r#""online":10,"#), "{last}");
    }
    assert!(world.counter("roster_bytes") < 40_000, "{}", world.counter("roster_bytes"));
}

/// A roster of `members` in bytes, about; PRES-51 counts 1024 at least.
fn roster_bytes(members: u64) -> u64 {
    (members * 85).max(1024)
}

fn number(message: &str, key: &str) -> u64 {
    let from = message.rfind(key).map_or(0, |at| at + key.len());
    let digits: String = message[from..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[test]
fn members_in_mode_delta_receive_each_user_once_and_within_the_bound() {
    const CROWD: u64 = 120;
    let (budget, update_budget) = (400_000, 200_000);
    for shards in [1, 3] {
        let mut world = World::new(
            shards,
            Settings {
                roster_repeat_bytes_per_s: budget,
                roster_update_bytes_per_s: update_budget,
                ..settings()
            },
        );
        let clients: Vec<Client> = (1..=CROWD)
            .map(|user| world.connect(user as usize % usize::from(shards), Some(user as u32)))
            .collect();
        let start = world.now;
        for client in &clients {
            world.send(*client, r#"42["room",{"roomid":1,"presence":"delta"}]"#);
            world.advance(5);
        }
        let all = CROWD * roster_bytes(CROWD);
        let bound = 50 + 2000 * 1024 * CROWD / budget + 2000 * all / update_budget;
        world.advance(bound);
        let mut entries = 0;
        for client in &clients {
            let heard = world.take(*client);
            let firsts = heard.iter().filter(|m| m.starts_with(r#"42["room""#)).count();
            assert_eq!(firsts, 1, "{heard:?}");
            let last = heard.last().expect("something was heard");
            assert_eq!(number(last, r#""online":"#), CROWD, "{last}");
            entries += heard.iter().map(|m| m.matches(r#""id":"#).count() as u64).sum::<u64>();
        }
        assert!(entries >= CROWD * CROWD, "each receives all users");
        assert!(entries < CROWD * CROWD * 5 / 4, "{entries} entries, and hardly twice");
        let took_ms = world.now.since(start) / 1_000_000;
        assert!(world.counter("roster_news_bytes") <= update_budget * took_ms / 1000);
    }
}

#[test]
fn rosters_of_a_crowd_go_to_one_after_the_other_and_arrive_within_the_bound() {
    const CROWD: u64 = 60;
    let (budget, update_budget) = (150_000, 300_000);
    let mut world = World::new(
        1,
        Settings {
            roster_repeat_bytes_per_s: budget,
            roster_update_bytes_per_s: update_budget,
            ..settings()
        },
    );
    let clients: Vec<Client> =
        (1..=CROWD).map(|user| world.connect(0, Some(user as u32))).collect();
    for client in &clients {
        world.send(*client, r#"42["room",{"roomid":1}]"#);
        world.advance(5);
    }
    let all = CROWD * roster_bytes(CROWD);
    world.advance(50 + 2000 * all / budget + 2000 * all / update_budget);
    let versions = |world: &mut World| -> Vec<u64> {
        let last = |client| world.take(client).last().map_or(0, |m| number(m, r#""version":"#));
        clients.iter().copied().map(last).collect()
    };
    assert_eq!(versions(&mut world), [CROWD; CROWD as usize]);
    let quiet = world.counter("roster_bytes");
    world.advance(5_000);
    assert_eq!(world.counter("roster_bytes"), quiet, "then there is nothing to send");

    // A user joins: all get the roster again, which is more than the room may send at once.
    let (start, before) = (world.now, world.counter("roster_bytes"));
    let updates_before = world.counter("roster_news_bytes");
    let late = world.connect(0, Some(99));
    world.send(late, r#"42["room",{"roomid":1}]"#);
    assert_eq!(number(&world.take(late)[0], r#""version":"#), CROWD + 1, "it does not wait");
    let half = 1000 * all / budget / 2;
    world.advance(half);
    let so_far = versions(&mut world).iter().filter(|version| **version == CROWD + 1).count();
    assert!((1..CROWD as usize).contains(&so_far), "{so_far} after {half} ms");
    world.advance(2000 * all / budget);
    let later = versions(&mut world).iter().filter(|version| **version == CROWD + 1).count();
    assert_eq!(so_far + later, CROWD as usize, "each gets the roster once");
    let again = world.counter("roster_bytes") - before;
    let again = again - (world.counter("roster_news_bytes") - updates_before);
    let took_ms = world.now.since(start) / 1_000_000;
    assert!(again <= budget * took_ms / 1000, "{again} bytes in {took_ms} ms");
}

#[test]
fn a_turn_sends_a_limited_amount_and_leaves_the_rest_to_a_later_one() {
    // One roster of one member is more than a turn may send.
    let mut world = World::new(1, Settings { roster_bytes_per_turn: 1024, ..settings() });
    let clients: Vec<Client> = (1..=5).map(|user| world.connect(0, Some(user))).collect();
    for client in &clients {
        world.send(*client, r#"42["room",{"roomid":1}]"#);
        world.send(*client, r#"42["room",{"roomid":2}]"#);
    }
    world.advance(1000);
    clients.iter().for_each(|client| drop(world.take(*client)));
    let before = world.counter("rosters_put_off");
    let late = world.connect(0, Some(6));
    for room in 1..=2 {
        world.send_quietly(late, &format!(r#"42["room",{{"roomid":{room}}}]"#));
    }
    world.turn(0);
    let received = |world: &mut World| -> Vec<usize> {
        clients.iter().map(|client| world.take(*client).len()).collect()
    };
    assert_eq!(received(&mut world), [1; 5], "one room gets its roster");
    assert_eq!(world.counter("rosters_put_off") - before, 1);
    world.run();
    assert_eq!(received(&mut world), [0; 5], "no more at once");
    let next = world.next_deadline().expect("one room remains");
    assert!(next <= world.now.plus_ms(16));
    world.advance(16);
    assert_eq!(received(&mut world), [1; 5], "and then the other");
    world.advance(1000);
    assert_eq!(received(&mut world), [0; 5]);
}

#[test]
fn grace_absorbs_a_reload_and_ends_on_time() {
    let mut world = World::new(3, Settings { grace_ms: 2000, ..settings() });
    let watcher = world.connect(0, Some(9));
    let page = world.connect(1, Some(1));
    room(watcher, &mut world, 1);
    room(page, &mut world, 1);
    world.take(watcher);
    world.close(page, PipeEnd::Eof);
    world.advance(1000);
    let page = world.connect(2, Some(1));
    room(page, &mut world, 1);
    world.advance(5000);
    assert!(world.take(watcher).is_empty(), "nobody saw the reload");
    world.close(page, PipeEnd::Eof);
    world.advance(1999);
    assert!(world.take(watcher).is_empty());
    world.advance(2);
    assert_eq!(world.take(watcher).len(), 1);
}

#[test]
fn a_new_avatar_reaches_the_rosters() {
    let mut world = World::new(3, settings());
    let alice = world.connect(0, Some(1));
    let bob = world.connect(1, Some(2));
    room(alice, &mut world, 1);
    room(bob, &mut world, 1);
    world.take(alice);
    world.change_user(UserCard {
        id: UserId(2),
        email: "user2@example.com".into(),
        name: "user2".into(),
        avatar: "/storage/new.png".into(),
    });
    assert!(world.take(alice)[0].contains(r#""avatar":"/storage/new.png""#));
    world.send(bob, r#"42["message",{"msg":"look","roomid":1}]"#);
    assert!(world.take(alice)[0].contains(r#""src":"/storage/new.png""#));
}

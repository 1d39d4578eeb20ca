//! UNR: what each user has not read, exactly.

use throng_chat::{Reply, RoomId, Seq, UserId};
use throng_engine::{Input, PipeEnd};
use throng_world::Store as _;

use crate::chat::{room, say};
use crate::world::{Client, World, settings, token};

fn counts(client: Client, world: &mut World) -> String {
    world.send(client, r#"42["login",{}]"#);
    let heard = world.take(client);
    heard.into_iter().rfind(|m| m.starts_with(r#"42["count""#)).expect("a count")
}

#[test]
fn login_counts_every_room() {
    for shards in [1, 3] {
        let mut world = World::new(shards, settings());
        let alice = world.connect(0, Some(1));
        let none = r#"42["count",{"room1":0,"room2":0,"room3":0,"room4":0,"room5":0}]"#;
        assert_eq!(counts(alice, &mut world), none, "on {shards} shards");
        room(alice, &mut world, 1);
        say(alice, &mut world, 1, "a");
        say(alice, &mut world, 1, "b");
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        world.advance(1000);
        let two = r#"42["count",{"room1":2,"room2":0,"room3":0,"room4":0,"room5":0}]"#;
        assert_eq!(counts(bob, &mut world), two);
        assert_eq!(counts(alice, &mut world), none, "who is in the room reads");
        world.send(bob, r#"429["login",{}]"#);
        let ack = world.take(bob).pop().expect("an ack");
        let user = r#"439[{"ok":true,"user":{"id":2,"name":"user2","avatar":"/avatars/2.svg"}"#;
        assert!(ack.starts_with(user), "{ack}");
        assert!(ack.ends_with(r#""count":{"room1":2,"room2":0,"room3":0,"room4":0,"room5":0}}]"#));
    }
}

#[test]
fn leaving_fixes_the_mark_for_good() {
    for shards in [1, 3] {
        let mut world = World::new(shards, settings());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        room(alice, &mut world, 1);
        room(bob, &mut world, 1);
        say(alice, &mut world, 1, "read by both");
        world.send(bob, r#"42["roomout",{"roomid":1}]"#);
        say(alice, &mut world, 1, "missed 1");
        say(alice, &mut world, 1, "missed 2");
        world.advance(1000);
        assert!(counts(bob, &mut world).contains(r#""room1":2,"#), "on {shards} shards");
        // A second device, and one after everything was forgotten but the store.
        let phone = world.connect(0, Some(2));
        assert!(counts(phone, &mut world).contains(r#""room1":2,"#));
        world.close(phone, PipeEnd::Eof);
        world.close(bob, PipeEnd::Eof);
        let later = world.connect(0, Some(2));
        assert!(counts(later, &mut world).contains(r#""room1":2,"#));
        room(later, &mut world, 1);
        world.close(later, PipeEnd::Failed);
        let again = world.connect(usize::from(shards) - 1, Some(2));
        assert!(counts(again, &mut world).contains(r#""room1":0,"#));
    }
}

#[test]
fn users_elsewhere_hear_coalesced_counts_and_readers_do_not() {
    for shards in [1, 3] {
        let mut world = World::new(shards, settings());
        let last = usize::from(shards) - 1;
        let alice = world.connect(0, Some(1));
        let bob = world.connect(last, Some(2));
        let carol = world.connect(last, Some(3));
        for client in [alice, bob, carol] {
            counts(client, &mut world);
        }
        room(alice, &mut world, 1);
        room(carol, &mut world, 1);
        world.advance(2000);
        for client in [alice, bob, carol] {
            world.take(client);
        }
        for index in 0..7 {
            say(alice, &mut world, 1, &format!("m{index}"));
        }
        world.advance(2000);
        let heard = world.take(bob);
        assert!(heard.len() <= 2, "coalesced: {heard:?}");
        assert_eq!(heard.last().map(String::as_str), Some(r#"42["count",{"room1":7}]"#));
        assert!(!world.take(carol).iter().any(|m| m.contains("count")));
    }
}

#[test]
fn a_tab_in_the_room_reads_for_the_tab_elsewhere() {
    let mut world = World::new(3, settings());
    let alice = world.connect(0, Some(1));
    let tab = world.connect(1, Some(2));
    counts(tab, &mut world);
    room(alice, &mut world, 1);
    say(alice, &mut world, 1, "x");
    world.advance(1000);
    world.take(tab);
    let reader = world.connect(2, Some(2));
    room(reader, &mut world, 1);
    world.advance(1000);
    assert_eq!(world.take(tab), [r#"42["count",{"room1":0}]"#]);
    say(alice, &mut world, 1, "y");
    world.advance(1000);
    assert!(world.take(tab).is_empty());
}

#[test]
fn unread_waits_out_a_store_that_is_down() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    world.store.is_down = true;
    let bob = world.connect(0, None);
    world.send(bob, &format!(r#"427["login",{{"api_token":"{}"}}]"#, crate::world::token(2)));
    assert!(world.take(bob)[0].contains("storage_unavailable"));
    room(alice, &mut world, 1);
    world.send(alice, r#"42["roomout",{"roomid":1}]"#);
    world.advance(500);
    world.store.is_down = false;
    world.advance(3000);
    assert_eq!(world.store.reads.len(), 1, "the mark was saved once the store was back");
}

#[test]
fn the_last_of_some_messages_is_counted_whatever_the_time_between_them() {
    for shards in [1, 2] {
        for gaps in [(40, 60), (40, 200), (60, 130), (90, 110), (120, 40), (150, 150), (200, 70)] {
            let mut world = World::new(shards, settings());
            let alice = world.connect(0, Some(1));
            let bob = world.connect(usize::from(shards) - 1, Some(2));
            room(alice, &mut world, 1);
            room(bob, &mut world, 2);
            counts(bob, &mut world);
            world.advance(2_000);
            world.take(bob);
            for gap in [gaps.0, gaps.1, 2_000] {
                say(alice, &mut world, 1, "x");
                world.advance(gap);
            }
            let last = world.take(bob).pop();
            assert_eq!(last.as_deref(), Some(r#"42["count",{"room1":3}]"#), "{gaps:?} ms");
        }
    }
}

/// The store carries out a command now; its reply is not on its way yet.
fn carry_out(world: &mut World, index: usize) -> Reply {
    let (_, command) = world.commands.remove(index).expect("a command waits");
    world.store.serve(command)
}

/// Logs bob in and lets the store be asked how far they have read.
fn ask_for_marks(world: &mut World) -> Client {
    let bob = world.connect(0, None);
    world.send(bob, &format!(r#"42["login",{{"api_token":"{}"}}]"#, token(2)));
    world.serve_one();
    bob
}

#[test]
fn an_answer_about_a_user_who_left_is_not_taken_for_the_answer_about_their_return() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    say(alice, &mut world, 1, "read by bob elsewhere");
    world.store.is_paused = true;
    let bob = ask_for_marks(&mut world);
    let late = carry_out(&mut world, 0);
    world.close(bob, PipeEnd::Eof);
    // Another node saves what they read there.
    world.store.read(UserId(2), RoomId(1), Seq(1));
    let bob = ask_for_marks(&mut world);
    world.take(bob);
    let before = world.counter("stale_replies");
    world.report(0, Input::Reply(late));
    assert!(world.take(bob).is_empty(), "that is not what was asked now");
    assert_eq!(world.counter("stale_replies"), before + 1);
    world.serve_one();
    let heard = world.take(bob);
    assert!(heard.iter().any(|m| m.contains(r#""room1":0,"#)), "{heard:?}");
}

#[test]
fn an_answer_to_an_earlier_save_does_not_confirm_the_latest_mark() {
    let mut world = World::new(1, settings());
    let bob = world.connect(0, Some(2));
    let carol = world.connect(0, Some(3));
    world.store.is_paused = true;
    room(bob, &mut world, 1);
    world.send(bob, r#"42["roomout",{"roomid":1}]"#);
    room(carol, &mut world, 1);
    // Bob is in, out, and in again. The last is not sent yet, because a save has failed.
    world.store.is_down = true;
    let failed = carry_out(&mut world, 2);
    world.store.is_down = false;
    world.report(0, Input::Reply(failed));
    room(bob, &mut world, 1);
    assert_eq!(world.commands.len(), 2, "in and out are under way");
    world.serve_one();
    world.serve_one();
    world.store.is_paused = false;
    world.advance(2_000);
    assert!(world.store.reading.contains(&(UserId(2), RoomId(1))), "the user is in the room");
}

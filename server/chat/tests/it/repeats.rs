//! CHAT-90 to CHAT-99: messages that their author sends again.

use throng_chat::{RoomId, Seq, Settings};

use crate::chat::room;
use crate::world::{Client, World, settings};

/// Sends a message with a client id, and an ack id.
fn says(client: Client, world: &mut World, ack: u32, text: &str, cid: &str) {
    let message = format!(r#"42{ack}["message",{{"msg":"{text}","roomid":1,"cid":"{cid}"}}]"#);
    world.send(client, &message);
}

fn ack(id: u32, message: i64, seq: u64) -> String {
    format!(r#"43{id}[{{"ok":true,"id":{message},"seq":{seq}}}]"#)
}

/// The texts of the messages, and the acks.
fn received(client: Client, world: &mut World) -> Vec<String> {
    let packets =
        world.take(client).into_iter().filter(|packet| !packet.starts_with(r#"42["room"#));
    packets
        .map(|packet| match packet.split_once(r#""msg":""#) {
            Some((_, rest)) => rest.split('"').next().unwrap_or_default().to_owned(),
            None => packet,
        })
        .collect()
}

fn ephemeral() -> Settings {
    Settings { ephemeral: true, ..settings() }
}

#[test]
fn a_repeated_message_is_acked_like_the_first_and_sent_to_nobody() {
    for settings in [settings(), ephemeral()] {
        for shards in [1, 3] {
            let mut world = World::new(shards, settings.clone());
            let alice = world.connect(0, Some(1));
            let bob = world.connect(usize::from(shards) - 1, Some(2));
            room(alice, &mut world, 1);
            room(bob, &mut world, 1);
            received(alice, &mut world);
            says(alice, &mut world, 1, "once", "x");
            let heard = received(alice, &mut world);
            let (first, id) = (heard[1].clone(), heard[1].split([':', ',']).nth(3));
            let id: i64 = id.and_then(|id| id.parse().ok()).expect("an id");
            assert_eq!(first, ack(1, id, 1));
            says(alice, &mut world, 2, "once", "x");
            says(alice, &mut world, 3, "another text", "x");
            assert_eq!(received(alice, &mut world), [ack(2, id, 1), ack(3, id, 1)]);
            says(bob, &mut world, 1, "bob's", "x");
            assert_eq!(received(bob, &mut world)[..2], ["once", "bob's"]);
            assert_eq!(received(alice, &mut world), ["bob's"]);
            assert_eq!(world.counter("messages_repeated"), 2);
        }
    }
}

#[test]
fn the_image_of_a_repeated_message_is_not_kept_and_costs_no_quota() {
    let limits = Settings { uploads_per_minute: 2, user_mib_per_day: 1, ..settings() };
    let mut world = World::new(1, limits);
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let quarter = "A".repeat(4 << 16);
    let says = |world: &mut World, cid: &str| {
        let image = format!("data:image/png;base64,{quarter}");
        world.send(
            alice,
            &format!(r#"421["message",{{"img":"{image}","roomid":1,"cid":"{cid}"}}]"#),
        );
        received(alice, world).pop().expect("an ack")
    };
    assert_eq!(says(&mut world, "x"), ack(1, 1, 1));
    for _ in 0..10 {
        assert_eq!(says(&mut world, "x"), ack(1, 1, 1));
    }
    assert_eq!(world.store.images, 1);
    assert_eq!(says(&mut world, "y"), ack(1, 2, 2));
    assert_eq!(world.store.images, 2);
    assert!(says(&mut world, "z").contains("rate_limited"), "two images a minute");
}

#[test]
fn two_of_one_commit_are_one_message() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    let tab = world.connect(0, Some(1));
    for client in [alice, tab] {
        room(client, &mut world, 1);
    }
    world.store.is_paused = true;
    // The first is in the store when the others come.
    says(alice, &mut world, 1, "zero", "other");
    says(alice, &mut world, 2, "once", "x");
    says(alice, &mut world, 3, "once", "x");
    says(tab, &mut world, 4, "once", "x");
    received(alice, &mut world);
    received(tab, &mut world);
    world.store.is_paused = false;
    world.run();
    let mut heard = received(alice, &mut world);
    heard.sort();
    assert_eq!(heard, [ack(1, 1, 1), ack(2, 2, 2), ack(3, 2, 2), "once".into(), "zero".into()]);
    let mut heard = received(tab, &mut world);
    heard.sort();
    assert_eq!(heard, [ack(4, 2, 2), "once".into(), "zero".into()]);
}

#[test]
fn a_refused_message_does_not_use_up_its_client_id() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    says(alice, &mut world, 1, "outside", "x");
    assert!(received(alice, &mut world)[0].contains("not_member"));
    room(alice, &mut world, 1);
    world.store.is_down = true;
    says(alice, &mut world, 2, "down", "x");
    assert!(received(alice, &mut world)[0].contains("storage_unavailable"));
    world.store.is_down = false;
    says(alice, &mut world, 3, "at last", "x");
    assert_eq!(received(alice, &mut world), ["at last".to_owned(), ack(3, 1, 1)]);
}

#[test]
fn an_invalid_client_id_is_refused() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let long = format!(r#""{}""#, "x".repeat(65));
    for cid in [r#""""#, &long, r#""é""#, r#""\n""#, r#""\u007f""#, "null", "1", "true", "{}", "[]"]
    {
        world.send(alice, &format!(r#"421["message",{{"msg":"x","roomid":1,"cid":{cid}}}]"#));
        assert!(received(alice, &mut world)[0].contains("invalid_argument"), "{cid}");
    }
    let long = "x".repeat(64);
    for (index, cid) in [&*long, " ", "~"].into_iter().enumerate() {
        says(alice, &mut world, 1, "fine", cid);
        let seq = index as u64 + 1;
        assert_eq!(received(alice, &mut world)[1], ack(1, seq.cast_signed(), seq), "{cid}");
    }
}

/// The store has it and cannot say so, and nobody has received it.
#[test]
fn a_commit_of_unknown_outcome_is_heard_once_it_is_found() {
    for shards in [1, 3] {
        let mut world = World::new(shards, settings());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        room(alice, &mut world, 1);
        room(bob, &mut world, 1);
        received(alice, &mut world);
        received(bob, &mut world);
        world.store.loses_answers = true;
        says(alice, &mut world, 1, "in doubt", "x");
        assert!(received(alice, &mut world)[0].contains(r#""code":"unknown_outcome""#));
        world.store.loses_answers = false;
        world.store.is_down = true;
        world.advance(2_000);
        assert_eq!(received(bob, &mut world), [""; 0], "the store is still asked");
        world.store.is_down = false;
        world.advance(1_000);
        assert_eq!(received(bob, &mut world), ["in doubt"]);
        assert_eq!(received(alice, &mut world), ["in doubt"]);
        says(alice, &mut world, 2, "in doubt", "x");
        assert_eq!(received(alice, &mut world), [ack(2, 1, 1)]);
        assert_eq!(received(bob, &mut world), [""; 0]);
        let fetches = world.store.fetches.len();
        world.advance(10_000);
        assert_eq!(world.store.fetches.len(), fetches, "nothing is in doubt any more");
    }
}

/// The author asks before the store was.
#[test]
fn a_repeated_message_of_unknown_outcome_is_heard_with_what_the_first_said() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    let bob = world.connect(0, Some(2));
    room(alice, &mut world, 1);
    room(bob, &mut world, 1);
    received(bob, &mut world);
    world.store.loses_answers = true;
    says(alice, &mut world, 1, "in doubt", "x");
    received(alice, &mut world);
    world.store.loses_answers = false;
    says(alice, &mut world, 2, "another text", "x");
    assert_eq!(received(alice, &mut world), ["in doubt".to_owned(), ack(2, 1, 1)]);
    assert_eq!(received(bob, &mut world), ["in doubt"]);
    world.advance(2_000);
    assert_eq!(received(bob, &mut world), [""; 0]);
}

#[test]
fn a_commit_of_unknown_outcome_that_was_not_kept_leaves_nothing() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.loses_answers = true;
    says(alice, &mut world, 1, "in doubt", "x");
    world.store.rows.clear();
    world.store.loses_answers = false;
    received(alice, &mut world);
    world.advance(2_000);
    assert_eq!(world.store.fetches, [(0, 1)]);
    says(alice, &mut world, 2, "again", "x");
    assert_eq!(received(alice, &mut world), ["again".to_owned(), ack(2, 2, 1)]);
    assert_eq!(&*world.store.rows[&(RoomId(1), Seq(1))].msg, "again");
}

#[test]
fn without_a_store_a_client_id_is_known_for_ten_minutes() {
    let mut world = World::new(1, ephemeral());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    says(alice, &mut world, 1, "once", "x");
    let first = received(alice, &mut world)[1].clone();
    world.advance(10 * 60 * 1000 - 1_000);
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    says(alice, &mut world, 1, "once", "x");
    assert_eq!(received(alice, &mut world), [first]);
    assert_eq!(world.counter("cids_kept"), 1);
    world.advance(2_000);
    says(alice, &mut world, 1, "later", "x");
    assert_eq!(received(alice, &mut world)[0], "later");
    assert_eq!(world.counter("cids_kept"), 1);
}

#[test]
fn without_a_store_a_client_id_beyond_the_bound_is_refused_and_nothing_is_forgotten() {
    let settings = Settings { cids_max: 3, cids_per_user_max: 2, ..ephemeral() };
    let mut world = World::new(1, settings);
    let alice = world.connect(0, Some(1));
    let bob = world.connect(0, Some(2));
    let carol = world.connect(0, Some(3));
    for client in [alice, bob, carol] {
        room(client, &mut world, 1);
    }
    says(alice, &mut world, 1, "a", "1");
    says(alice, &mut world, 2, "b", "2");
    received(alice, &mut world);
    says(alice, &mut world, 3, "c", "3");
    assert!(received(alice, &mut world)[0].contains(r#""code":"busy""#), "the bound of a user");
    says(bob, &mut world, 4, "d", "1");
    received(bob, &mut world);
    received(carol, &mut world);
    says(carol, &mut world, 5, "e", "1");
    assert!(received(carol, &mut world)[0].contains(r#""code":"busy""#), "the bound of all");
    assert_eq!(world.counter("cids_full"), 2);
    received(alice, &mut world);
    says(alice, &mut world, 6, "a", "1");
    assert!(received(alice, &mut world)[0].contains(r#""seq":1}"#), "repetitions are answered");
    world.send(carol, r#"427["message",{"msg":"plain","roomid":1}]"#);
    assert_eq!(received(carol, &mut world)[0], "plain");
}

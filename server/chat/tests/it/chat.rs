//! CHAT: identity, membership, messages, order and durability.

use throng_chat::{RoomId, Seq, Settings, UserId};
use throng_engine::PipeEnd;
use throng_world::chat::hash;

use crate::world::{Client, World, settings, token};

pub fn room(client: Client, world: &mut World, room: u32) -> Vec<String> {
    world.send(client, &format!(r#"42["room",{{"roomid":"{room}"}}]"#));
    world.take(client)
}

pub fn say(client: Client, world: &mut World, room: u32, msg: &str) {
    let time = "2026-11-23T01:02:37.809Z";
    world.send(
        client,
        &format!(r#"42["message",{{"msg":"{msg}","img":"","roomid":{room},"time":"{time}"}}]"#),
    );
}

fn on_shards(test: impl Fn(u8)) {
    for shards in [1, 3] {
        test(shards);
    }
}

#[test]
fn two_people_meet_talk_and_part() {
    on_shards(|shards| {
        let mut world = World::new(shards, settings());
        let alice = world.connect(0, Some(1));
        let bob = world.connect(usize::from(shards) - 1, Some(2));
        let a = r#""1":{"id":1,"name":"user1","avatar":"/avatars/1.svg","src":"/avatars/1.svg"}"#;
        let b = r#""2":{"id":2,"name":"user2","avatar":"/avatars/2.svg","src":"/avatars/2.svg"}"#;
        let meta = |seq: u32, online: u32, version: u32| {
            format!(r#"{{"room":1,"seq":{seq},"online":{online},"version":{version}}}"#)
        };
        let alone = format!(r#"42["room",{{{a}}},{}]"#, meta(0, 1, 1));
        assert_eq!(room(alice, &mut world, 1), [alone], "on {shards} shards");
        let both = format!(r#"42["room",{{{a},{b}}},{}]"#, meta(0, 2, 2));
        assert_eq!(room(bob, &mut world, 1), std::slice::from_ref(&both));
        assert_eq!(world.take(alice), [both]);

        say(alice, &mut world, 1, "hi 你好 😀");
        let heard = |userid: &str| {
            format!(
                r#"42["message",{{"userid":"{userid}","username":"user1","src":"/avatars/1.svg","msg":"hi 你好 😀","img":"","roomid":1,"time":"2026-11-23T01:02:37.809Z","id":1,"seq":1}}]"#
            )
        };
        assert_eq!(world.take(alice), [heard("user1@example.com")]);
        assert_eq!(world.take(bob), [heard("u1")]);

        world.send(bob, r#"42["roomout",{"roomid":1}]"#);
        let after = format!(r#"42["roomout",{{{a}}},{}]"#, meta(1, 1, 3));
        assert_eq!(world.take(bob), std::slice::from_ref(&after));
        assert_eq!(world.take(alice), [after]);
        say(alice, &mut world, 1, "alone");
        assert_eq!(world.take(bob), [""; 0]);
    });
}

#[test]
fn acks_say_what_happened_and_nothing_else_does() {
    on_shards(|shards| {
        let mut world = World::new(shards, settings());
        let alice = world.connect(0, Some(1));
        world.send(alice, r#"4210["message",{"msg":"x","img":"","roomid":1}]"#);
        let refused = r#"4310[{"ok":false,"code":"not_member","message":"Enter the room first"}]"#;
        assert_eq!(world.take(alice), [refused]);
        world.send(alice, r#"4211["room",{"roomid":1}]"#);
        let events = world.take(alice);
        assert!(events.contains(&r#"4311[{"ok":true,"room":1,"online":1,"seq":0}]"#.to_owned()));
        world.send(alice, r#"4212["message",{"msg":"x","img":"","roomid":1}]"#);
        let events = world.take(alice);
        assert_eq!(events[1], r#"4312[{"ok":true,"id":1,"seq":1}]"#);
        assert_eq!(&*world.store.rows[&(RoomId(1), Seq(1))].msg, "x");
        world.send(alice, r#"4213["roomout",{"roomid":1}]"#);
        let events = world.take(alice);
        assert_eq!(events[1], r#"4313[{"ok":true,"room":1,"online":0,"seq":1}]"#);
    });
}

#[test]
fn a_message_is_heard_and_acked_only_once_it_is_durable() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.is_paused = true;
    world.send(alice, r#"421["message",{"msg":"one","roomid":1}]"#);
    world.send(alice, r#"422["message",{"msg":"two","roomid":1}]"#);
    assert_eq!(world.take(alice), [""; 0], "nothing is said before the commit");
    world.store.is_paused = false;
    world.run();
    let heard = world.take(alice).join("\n");
    assert!(
        heard.contains(r#""msg":"one""#) && heard.contains(r#"432[{"ok":true,"id":2,"seq":2}]"#)
    );
}

#[test]
fn a_failed_commit_is_refused_heard_by_nobody_and_leaves_no_gap() {
    let mut world = World::new(3, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.store.is_down = true;
    world.send(alice, r#"421["message",{"msg":"lost","roomid":1}]"#);
    let answer = world.take(alice);
    assert_eq!(answer.len(), 1);
    assert!(answer[0].starts_with(r#"431[{"ok":false,"code":"storage_unavailable""#));
    world.store.is_down = false;
    world.send(alice, r#"422["message",{"msg":"kept","roomid":1}]"#);
    let answer = world.take(alice);
    assert!(answer[0].contains(r#""seq":1"#), "{answer:?}");
    assert_eq!(world.store.rows.len(), 1);
    assert!(world.store.rows.contains_key(&(RoomId(1), Seq(1))));
}

#[test]
fn everybody_in_a_room_hears_one_order() {
    on_shards(|shards| {
        let mut world = World::new(shards, settings());
        let clients: Vec<Client> =
            (0..6).map(|i| world.connect(i % usize::from(shards), Some(i as u32 + 1))).collect();
        for client in &clients {
            room(*client, &mut world, 2);
        }
        for client in &clients {
            world.take(*client);
        }
        for round in 0..5 {
            for (index, client) in clients.iter().enumerate() {
                let text = format!(r#"42["message",{{"msg":"{round}-{index}","roomid":2}}]"#);
                world.send_quietly(*client, &text);
            }
        }
        world.run();
        let order = |heard: Vec<String>| -> Vec<String> {
            heard.iter().map(|m| m.split(r#""msg":""#).nth(1).unwrap_or(m)[..3].into()).collect()
        };
        let first = order(world.take(clients[0]));
        assert_eq!(first.len(), 30);
        for client in &clients[1..] {
            assert_eq!(order(world.take(*client)), first);
        }
    });
}

#[test]
fn without_identity_every_event_is_answered_with_login() {
    let mut world = World::new(1, settings());
    let visitor = world.connect(0, None);
    for event in ["login", "room", "roomout", "message"] {
        world.send(visitor, &format!(r#"42["{event}",{{"roomid":"1","api_token":false}}]"#));
        assert_eq!(world.take(visitor), [r#"42["login","Login to enter chat room"]"#], "{event}");
    }
    world.send(visitor, r#"427["room",{"roomid":1}]"#);
    let ack = r#"437[{"ok":false,"code":"unauthenticated","message":"Login to enter chat room"}]"#;
    assert_eq!(world.take(visitor), [ack]);
}

#[test]
fn a_token_in_an_event_wins_and_a_wrong_one_does_nothing_as_the_old_user() {
    on_shards(|shards| {
        let mut world = World::new(shards, settings());
        let tab = world.connect(0, Some(1));
        let peer = world.connect(usize::from(shards) - 1, Some(3));
        room(tab, &mut world, 1);
        room(peer, &mut world, 1);
        world.take(tab);
        for wrong in
            [r#""nonsense""#, "1", "true", "{}", r#"["a"]"#, &format!("\"{}\"", token(999))]
        {
            let event = format!(r#"42["message",{{"msg":"x","roomid":1,"api_token":{wrong}}}]"#);
            world.send(tab, &event);
            assert_eq!(world.take(tab), [r#"42["login","Login to enter chat room"]"#], "{wrong}");
        }
        assert!(world.take(peer).is_empty());
        // Somebody else logs in on the same page: the old user leaves.
        world.send(tab, &format!(r#"42["room",{{"roomid":2,"api_token":"{}"}}]"#, token(2)));
        let heard = world.take(peer);
        assert_eq!(heard.len(), 1);
        assert!(heard[0].starts_with(r#"42["roomout",{"3":"#), "{heard:?}");
        let own = world.take(tab);
        assert!(own[0].starts_with(r#"42["room",{"2":{"id":2,"#), "{own:?}");
    });
}

#[test]
fn a_legacy_session_is_in_one_room_and_reconnects_without_a_token() {
    on_shards(|shards| {
        let mut world = World::new(shards, settings());
        let page = world.connect_legacy(0, Some(1));
        let peer = world.connect(usize::from(shards) - 1, Some(2));
        room(peer, &mut world, 1);
        room(page, &mut world, 1);
        world.take(peer);
        let second = room(page, &mut world, 2);
        assert_eq!(second.len(), 1, "only the new room's roster: {second:?}");
        let heard = world.take(peer);
        assert_eq!(heard.len(), 1);
        assert!(heard[0].starts_with(r#"42["roomout","#));
        say(peer, &mut world, 1, "not for room 2");
        assert!(!world.take(page).iter().any(|heard| heard.contains("message")));
    });
}

#[test]
fn a_modern_session_may_be_in_many_rooms_up_to_the_bound() {
    let mut world = World::new(1, Settings { rooms_per_session_max: 2, ..settings() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    room(alice, &mut world, 2);
    world.send(alice, r#"425["room",{"roomid":3}]"#);
    assert!(world.take(alice)[0].contains("room_limit"));
    world.send(alice, r#"42["roomout",{"roomid":1}]"#);
    world.take(alice);
    world.send(alice, r#"426["room",{"roomid":3}]"#);
    assert!(world.take(alice).iter().any(|m| m.starts_with(r#"436[{"ok":true,"room":3"#)));
}

#[test]
fn events_behind_an_unanswered_token_wait_their_turn() {
    let mut world = World::new(1, settings());
    world.store.is_paused = true;
    let page = world.connect_legacy(0, Some(1));
    world.send(page, r#"42["login",{"name":"user1@example.com"}]"#);
    world.send(page, r#"421["room",{"roomid":"1"}]"#);
    world.send(page, r#"422["message",{"msg":"typed offline","roomid":"1"}]"#);
    assert!(world.take(page).is_empty());
    world.store.is_paused = false;
    world.run();
    let heard = world.take(page).join("\n");
    for part in ["count", r#"431[{"ok":true"#, "typed offline", r#"432[{"ok":true"#] {
        assert!(heard.contains(part), "{part} in {heard}");
    }
}

#[test]
fn an_unknown_token_in_connect_leaves_the_identity_of_the_handshake() {
    let mut world = World::new(1, settings());
    world.store.is_paused = true;
    let request = throng_engine::EngineRequest {
        token: Some(token(1).into()),
        ..crate::world::request(throng_engine::Transport::Websocket, throng_engine::Eio::V4)
    };
    let alice = world.upgrade(0, request);
    world.send(alice, &format!(r#"40{{"token":"{}"}}"#, token(999)));
    world.store.is_paused = false;
    world.run();
    world.take(alice);
    world.send(alice, r#"421["room",{"roomid":1}]"#);
    assert!(world.take(alice)[0].starts_with(r#"431[{"ok":true"#));
}

#[test]
fn a_token_of_the_wrong_shape_is_counted_like_one_that_nobody_has() {
    let handshake = |token| throng_engine::EngineRequest {
        token,
        ..crate::world::request(throng_engine::Transport::Websocket, throng_engine::Eio::V4)
    };
    let mut world = World::new(1, settings());
    let unknown = token(999);
    let mut refused = 0;
    for shown in [unknown.as_str(), "short", &unknown[1..], "é".repeat(30).as_str()] {
        let client = world.upgrade(0, handshake(None));
        world.send(client, &format!(r#"40{{"token":"{shown}"}}"#));
        assert!(world.take(client).concat().contains(r#"42["login","#), "{shown}");
        refused += 1;
        assert_eq!(world.counter("refused_unauthenticated"), refused, "{shown}");
        let client = world.upgrade(0, handshake(Some(shown.into())));
        assert!(!world.take(client).concat().contains("login"), "there is no CONNECT: {shown}");
        refused += 1;
        assert_eq!(world.counter("refused_unauthenticated"), refused, "{shown}");
    }
}

#[test]
fn an_image_is_stored_once_and_heard_as_its_url() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let data = "data:image/png;base64,iVBORw0KGgo=";
    world.send(alice, &format!(r#"421["message",{{"msg":"","img":"{data}","roomid":1}}]"#));
    let heard = world.take(alice);
    assert!(heard[0].contains(r#""img":"/storage/images/messages/aa/aa.png""#), "{heard:?}");
    for bad in ["data:text/html;base64,aaaa", "http://elsewhere/x.png", "data:image/png;base64,%%"]
    {
        world.send(alice, &format!(r#"422["message",{{"msg":"","img":"{bad}","roomid":1}}]"#));
        assert!(world.take(alice)[0].contains("image_invalid"), "{bad}");
    }
}

#[test]
fn arguments_of_the_wrong_kind_are_refused_by_name() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let long = "x".repeat(2001);
    let cases = [
        (r#"["room",{}]"#.to_owned(), "invalid_argument"),
        (r#"["room",{"roomid":false}]"#.to_owned(), "invalid_argument"),
        (r#"["room",{"roomid":"1x"}]"#.to_owned(), "invalid_argument"),
        (r#"["room",{"roomid":-1}]"#.to_owned(), "invalid_argument"),
        (r#"["room",{"roomid":1.5}]"#.to_owned(), "invalid_argument"),
        (r#"["room",{"roomid":77}]"#.to_owned(), "unknown_room"),
        (r#"["room","1"]"#.to_owned(), "invalid_argument"),
        (r#"["room",{"roomid":1,"presence":"loud"}]"#.to_owned(), "invalid_argument"),
        (r#"["message",{"roomid":1}]"#.to_owned(), "invalid_argument"),
        (r#"["message",{"roomid":1,"msg":1}]"#.to_owned(), "invalid_argument"),
        (format!(r#"["message",{{"roomid":1,"msg":"{long}"}}]"#), "too_large"),
        (r#"["message",{"roomid":2,"msg":"x"}]"#.to_owned(), "not_member"),
        (r#"["dance",{}]"#.to_owned(), "unknown_event"),
    ];
    for (event, code) in cases {
        world.send(alice, &format!("42{event}"));
        let heard = world.take(alice);
        assert_eq!(heard.len(), 1, "{event}");
        assert!(heard[0].starts_with(r#"42["chat_error",{"event":"#), "{heard:?}");
        assert!(heard[0].contains(&format!(r#""code":"{code}""#)), "{event}: {heard:?}");
        world.send(alice, &format!("429{event}"));
        let heard = world.take(alice);
        assert!(heard[0].starts_with(r#"439[{"ok":false,"code":""#), "{heard:?}");
        assert!(heard[0].contains(code));
        world.advance(1000);
        world.take(alice);
    }
}

#[test]
fn the_end_of_a_session_leaves_every_room_however_it_comes() {
    on_shards(|shards| {
        for end in ["fin", "reset", "41", "close packet", "garbage", "silence"] {
            let mut world = World::new(shards, settings());
            let alice = world.connect(0, Some(1));
            let bob = world.connect(usize::from(shards) - 1, Some(2));
            room(alice, &mut world, 1);
            room(alice, &mut world, 2);
            room(bob, &mut world, 1);
            world.take(bob);
            match end {
                "fin" => world.close(alice, PipeEnd::Eof),
                "reset" => world.close(alice, PipeEnd::Failed),
                "41" => world.send(alice, "41"),
                "close packet" => world.send(alice, "41"),
                "garbage" => world.send(alice, "4nonsense"),
                _ => {
                    world.advance(25_000);
                    world.send(bob, "3");
                    world.advance(20_016);
                }
            }
            let heard: Vec<String> =
                world.take(bob).into_iter().filter(|m| m.starts_with("42")).collect();
            assert_eq!(heard.len(), 1, "{end} on {shards}: {heard:?}");
            assert!(heard[0].starts_with(r#"42["roomout",{"2":"#), "{end}: {heard:?}");
            assert_eq!(world.counter("members"), 1, "{end}");
        }
    });
}

#[test]
fn a_revoked_token_takes_identity_and_rooms_away() {
    let mut world = World::new(3, settings());
    let alice = world.connect(0, Some(1));
    let bob = world.connect(1, Some(2));
    room(alice, &mut world, 1);
    room(bob, &mut world, 1);
    world.take(bob);
    world.take(alice);
    world.revoke(&token(1));
    assert_eq!(world.take(alice), [r#"42["login","Login to enter chat room"]"#]);
    assert_eq!(world.take(bob).len(), 1);
    world.send(alice, r#"42["room",{"roomid":1}]"#);
    assert_eq!(world.take(alice), [r#"42["login","Login to enter chat room"]"#]);
}

#[test]
fn an_answer_about_a_slots_earlier_session_does_not_reach_the_present_one() {
    let mut world = World::new(1, settings());
    let bob = world.connect(0, Some(2));
    room(bob, &mut world, 1);
    world.take(bob);
    world.store.is_paused = true;
    let earlier = world.connect(0, Some(1));
    world.close(earlier, PipeEnd::Eof);
    let present = world.connect(0, Some(1));
    let asked = world.asked();
    assert_eq!(asked[0].slot(), asked[1].slot(), "the slot has passed to another session");
    assert_ne!(asked[0], asked[1]);
    // The token was good when the first asked, and is not any more when the second does.
    world.serve_one();
    world.send(present, r#"42["room",{"roomid":1}]"#);
    assert_eq!(world.take(present), [""; 0], "its own answer is still to come");
    world.store.tokens.clear();
    world.store.is_paused = false;
    world.run();
    let refused = r#"42["login","Login to enter chat room"]"#;
    assert_eq!(world.take(present), [refused, refused]);
    assert_eq!(world.take(bob), [""; 0], "nobody has entered");
}

#[test]
fn an_answer_from_before_a_logout_gives_no_identity() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, None);
    world.store.is_paused = true;
    world.send(alice, &format!(r#"42["login",{{"api_token":"{}"}}]"#, token(1)));
    world.send(alice, r#"42["room",{"roomid":1}]"#);
    let known = world.store.tokens.clone();
    world.revoke(&token(1));
    world.store.tokens = known;
    world.store.is_paused = false;
    world.advance(100);
    let refused = r#"42["login","Login to enter chat room"]"#;
    assert_eq!(world.take(alice), [refused, refused], "neither event acts as the user");
}

#[test]
fn a_logout_concerns_who_acts_for_the_token_or_asks_for_it_and_nobody_else() {
    on_shards(|shards| {
        let mut world = World::new(shards, settings());
        let last = usize::from(shards) - 1;
        let login = |token: &str| format!(r#"42["login",{{"api_token":"{token}"}}]"#);
        let newer = "b".repeat(60);
        world.store.tokens.insert(hash(&newer), UserId(1));
        let gone = world.connect(0, Some(1));
        let (tab, phone) = (world.connect(0, Some(1)), world.connect(last, Some(1)));
        // The same user, who has logged in again on this page.
        let renewed = world.connect(0, Some(1));
        world.send(renewed, &login(&newer));
        let bob = world.connect(last, Some(2));
        world.close(gone, PipeEnd::Eof);
        // Two who have no identity yet; one of them has a slot that was the token's.
        let (guest, stranger) = (world.connect(0, None), world.connect(last, None));
        for client in [tab, phone, renewed, bob] {
            room(client, &mut world, 1);
        }
        world.store.is_paused = true;
        for client in [bob, guest] {
            world.send(client, &login(&token(1)));
        }
        world.send(stranger, &login(&token(3)));
        for client in [tab, phone, renewed, bob, guest, stranger] {
            world.take(client);
        }
        world.revoke(&token(1));
        world.store.is_paused = false;
        world.advance(100);
        let refused = r#"42["login","Login to enter chat room"]"#.to_owned();
        for client in [tab, phone, bob, guest] {
            assert!(world.take(client).contains(&refused), "on {shards} shards");
        }
        for client in [renewed, stranger] {
            assert!(!world.take(client).contains(&refused), "on {shards} shards");
        }
        for (client, text) in [(renewed, "as user 1"), (bob, "as user 2")] {
            say(client, &mut world, 1, text);
            assert!(world.take(bob).concat().contains(text), "on {shards} shards");
        }
        say(guest, &mut world, 1, "as nobody");
        assert_eq!(world.take(guest), [refused], "what it asked for has ended");
    });
}

#[test]
fn stopping_closes_everybody_with_going_away() {
    let mut world = World::new(3, settings());
    let clients: Vec<Client> = (0..3).map(|i| world.connect(i, Some(1 + i as u32))).collect();
    for client in &clients {
        room(*client, &mut world, 1);
    }
    for client in &clients {
        world.take(*client);
    }
    world.stop();
    for client in clients {
        assert_eq!(world.take(client), ["close:1001"]);
        assert!(world.is_shut(client));
    }
    assert_eq!(world.counter("members"), 0);
}

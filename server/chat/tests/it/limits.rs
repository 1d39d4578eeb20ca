//! LIM: every bound, at the bound and one past it.

use throng_chat::Settings;
use throng_engine::{Eio, EngineRequest, PipeEnd, Transport};

use crate::chat::{room, say};
use crate::world::{Client, World, request, settings, token};

#[test]
fn publishes_beyond_the_burst_are_refused_and_the_session_lives() {
    let limits = Settings { publish_per_s: 10, publish_burst: 25, ..settings() };
    let mut world = World::new(1, limits);
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    for index in 0..26 {
        say(alice, &mut world, 1, &format!("m{index}"));
    }
    let heard = world.take(alice);
    assert_eq!(heard.iter().filter(|m| m.contains("rate_limited")).count(), 1);
    assert_eq!(heard.iter().filter(|m| m.starts_with(r#"42["message""#)).count(), 25);
    world.advance(100);
    say(alice, &mut world, 1, "again");
    assert!(world.take(alice)[0].contains("again"));
}

#[test]
fn reconnecting_does_not_fill_the_bucket() {
    let limits = Settings { publish_per_s: 10, publish_burst: 25, ..settings() };
    let mut world = World::new(1, limits);
    let mut accepted = 0;
    for _ in 0..10 {
        let alice = world.connect(0, Some(1));
        room(alice, &mut world, 1);
        for index in 0..30 {
            say(alice, &mut world, 1, &format!("m{index}"));
        }
        let heard = world.take(alice);
        accepted += heard.iter().filter(|m| m.starts_with(r#"42["message""#)).count();
        world.close(alice, PipeEnd::Eof);
        world.advance(100);
    }
    assert_eq!(accepted, 25 + 9, "a burst, and what came at the rate since");
    let bob = world.connect(0, Some(2));
    room(bob, &mut world, 1);
    say(bob, &mut world, 1, "hello");
    assert!(world.take(bob).concat().contains("hello"), "another user pays nothing");
    world.advance(2_500);
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    for index in 0..25 {
        say(alice, &mut world, 1, &format!("m{index}"));
    }
    assert!(!world.take(alice).concat().contains("rate_limited"), "it is paid");
}

/// Acks of so many messages in room 1, sent at once: how many are ok, and how many say this code.
fn publish(client: Client, world: &mut World, count: usize, code: &str) -> (usize, usize) {
    for ack in 0..count {
        world.send(client, &format!(r#"42{ack}["message",{{"msg":"m","roomid":1}}]"#));
    }
    let heard = world.take(client);
    let with =
        |part: &str| heard.iter().filter(|m| m.starts_with("43") && m.contains(part)).count();
    (with(r#""ok":true"#), with(code))
}

#[test]
fn the_sessions_of_a_user_share_their_rates_on_all_shards() {
    let limits = Settings { publish_per_s: 10, publish_burst: 25, join_burst: 8, ..settings() };
    let mut world = World::new(3, limits);
    let tabs: Vec<Client> = (0..6).map(|n| world.connect(n % 3, Some(1))).collect();
    for tab in &tabs {
        let heard = room(*tab, &mut world, 1);
        assert!(heard.iter().any(|m| m.starts_with(r#"42["room""#)), "{heard:?}");
    }
    let accepted: Vec<usize> =
        tabs.iter().map(|tab| publish(*tab, &mut world, 20, "rate_limited").0).collect();
    assert_eq!(accepted, [20, 5, 0, 0, 0, 0]);
    let joined = (0..6).filter(|n| {
        let heard = room(tabs[*n as usize], &mut world, 2);
        !heard.concat().contains("rate_limited")
    });
    assert_eq!(joined.count(), 2, "six of eight joins were used");
    let other = world.connect(0, Some(2));
    room(other, &mut world, 1);
    assert_eq!(
        publish(other, &mut world, 20, "rate_limited"),
        (20, 0),
        "another user has their own"
    );
}

#[test]
fn the_bytes_of_a_day_are_the_users_and_the_refusal_says_when() {
    let limits = Settings {
        user_mib_per_day: 1,
        publish_per_s: 0,
        message_chars_max: 1 << 18,
        event_bytes_max: 1 << 20,
        ..settings()
    };
    let mut world = World::new(2, limits);
    let tabs = [world.connect(0, Some(1)), world.connect(1, Some(1))];
    for tab in tabs {
        room(tab, &mut world, 1);
    }
    let quarter = "x".repeat(1 << 18);
    for n in 0..4 {
        say(tabs[n % 2], &mut world, 1, &quarter);
        assert!(world.take(tabs[0]).concat().contains(&quarter));
    }
    let half = &quarter[..1 << 17];
    let event = format!(r#"421["message",{{"roomid":1,"msg":"{half}"}}]"#);
    world.send(tabs[0], &event);
    let eighth_of_a_day_ms = 24 * 60 * 60 * 1000 / 8;
    let heard = world.take(tabs[0]);
    assert!(
        heard[0].contains(r#""ok":false,"code":"quota_exceeded","message":"You "#),
        "{heard:?}"
    );
    assert!(
        heard[0].ends_with(&format!(r#","retry_after_ms":{eighth_of_a_day_ms}}}]"#)),
        "{heard:?}"
    );
    // An image counts as what it decodes to, and a session that comes later is no new user.
    let tab = world.connect(0, Some(1));
    room(tab, &mut world, 1);
    let image = format!("data:image/png;base64,{}", "A".repeat(1 << 18));
    let event = format!(r#"42["message",{{"roomid":1,"img":"{image}"}}]"#);
    world.send(tab, &event);
    let heard = world.take(tab);
    let refused = r#"42["chat_error",{"event":"message","code":"quota_exceeded""#;
    let heard: Vec<_> = heard.iter().filter(|m| m.starts_with(refused)).collect();
    assert!(heard.len() == 1 && heard[0].contains(r#""retry_after_ms":"#), "{heard:?}");
    assert_eq!(world.counter("refused_quota_exceeded"), 2);
    let other = world.connect(1, Some(2));
    room(other, &mut world, 1);
    world.send(other, &event);
    assert!(world.take(other).concat().contains("/storage/images/"), "another user has their own");
}

#[test]
fn images_have_a_rate_of_their_own() {
    let mut world = World::new(1, Settings { uploads_per_minute: 2, ..settings() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    world.take(alice);
    let event = r#"42["message",{"roomid":1,"img":"data:image/png;base64,iVBORw0KGgo="}]"#;
    let mut accepted = Vec::new();
    for _ in 0..3 {
        world.send(alice, event);
        accepted.push(world.take(alice).concat().contains("/storage/images/"));
    }
    assert_eq!(accepted, [true, true, false]);
    say(alice, &mut world, 1, "a text");
    assert!(world.take(alice).concat().contains("a text"));
    world.advance(30_000);
    world.take(alice);
    world.send(alice, event);
    assert!(world.take(alice).concat().contains("/storage/images/"));
}

#[test]
fn sessions_beyond_the_bound_are_refused_when_they_connect() {
    let mut world = World::new(
        1,
        Settings {
            engine: throng_engine::Settings {
                sessions_per_shard_max: 2,
                ..throng_engine::Settings::default()
            },
            ..settings()
        },
    );
    let first = world.connect(0, None);
    world.connect(0, None);
    let third = world.upgrade(0, request(Transport::Websocket, Eio::V4));
    let answer = world.take(third);
    assert!(answer[0].starts_with("HTTP/1.1 503"), "{answer:?}");
    let poll = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    assert_eq!(world.answer(poll).map(|answer| answer.0), Some(503));
    world.close(first, PipeEnd::Eof);
    let fourth = world.upgrade(0, request(Transport::Websocket, Eio::V4));
    assert!(world.take(fourth)[0].starts_with("0{"));
}

#[test]
fn sessions_of_one_user_are_bounded() {
    let mut world = World::new(1, Settings { sessions_per_user_max: 2, ..settings() });
    for _ in 0..2 {
        let tab = world.connect(0, Some(1));
        assert!(room(tab, &mut world, 1)[0].starts_with(r#"42["room""#));
    }
    let third = world.connect(0, None);
    world.send(third, &format!(r#"421["login",{{"api_token":"{}"}}]"#, token(1)));
    assert_eq!(world.take(third), ["close:4004"]);
}

#[test]
fn a_slow_reader_is_evicted_and_nobody_else_notices() {
    let limits = Settings {
        engine: throng_engine::Settings {
            outbound_bytes_max: 20_000,
            ..throng_engine::Settings::default()
        },
        publish_per_s: 0,
        ..settings()
    };
    let mut world = World::new(3, limits);
    let fast = world.connect(0, Some(1));
    let slow = world.connect(1, Some(2));
    room(fast, &mut world, 1);
    room(slow, &mut world, 1);
    world.take(fast);
    world.stop_reading(slow, true);
    let text = "x".repeat(1000);
    for _ in 0..30 {
        say(fast, &mut world, 1, &text);
    }
    let heard = world.take(fast);
    assert_eq!(heard.iter().filter(|m| m.starts_with(r#"42["message""#)).count(), 30);
    assert_eq!(heard.iter().filter(|m| m.starts_with(r#"42["roomout""#)).count(), 1);
    assert_eq!(world.counter("evictions"), 1);
    world.stop_reading(slow, false);
    assert_eq!(world.take(slow).last().map(String::as_str), Some("close:4001"));
    assert!(world.is_shut(slow));
}

#[test]
fn full_lanes_refuse_and_lose_nothing() {
    let limits = Settings {
        engine: throng_engine::Settings { own_lane_max: 12, ..throng_engine::Settings::default() },
        publish_per_s: 0,
        join_per_s: 0,
        ..settings()
    };
    let mut world = World::with_lanes(3, limits, 12);
    let clients: Vec<Client> = (0..9).map(|i| world.connect(i % 3, Some(i as u32 + 1))).collect();
    for client in &clients {
        room(*client, &mut world, 1);
        room(*client, &mut world, 2);
    }
    for client in &clients {
        world.take(*client);
    }
    for ack in 0..40 {
        for client in &clients {
            let event = format!(r#"42{ack}["message",{{"msg":"m","roomid":{}}}]"#, 1 + ack % 2);
            world.send_quietly(*client, &event);
        }
    }
    world.advance(100);
    let heard: Vec<Vec<String>> = clients.iter().map(|client| world.take(*client)).collect();
    let accepted: usize =
        heard.iter().flatten().filter(|m| m.contains(r#"[{"ok":true,"id""#)).count();
    let refused: usize = heard.iter().flatten().filter(|m| m.contains(r#""code":"busy""#)).count();
    assert_eq!(accepted + refused, 40 * 9, "every publish is answered once");
    assert!(refused > 0, "the lanes were too small for all");
    for events in &heard {
        let delivered = events.iter().filter(|m| m.starts_with(r#"42["message""#)).count();
        assert_eq!(delivered, accepted, "every accepted message reaches every member");
    }
    for client in clients {
        world.close(client, PipeEnd::Failed);
    }
    world.advance(100);
    assert_eq!(world.counter("members"), 0, "every leave arrived");
}

#[test]
fn waiting_events_are_bounded() {
    let mut world = World::new(1, Settings { pending_events_max: 3, ..settings() });
    world.store.is_paused = true;
    let page = world.connect_legacy(0, Some(1));
    for _ in 0..3 {
        world.send(page, r#"42["login",{}]"#);
    }
    assert!(world.take(page).is_empty());
    world.send(page, r#"42["login",{}]"#);
    assert_eq!(world.take(page), ["close:4004"]);
}

#[test]
fn one_event_may_not_be_larger_than_its_bound() {
    let mut world = World::new(1, Settings { event_bytes_max: 1000, ..settings() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let fits = "y".repeat(900);
    say(alice, &mut world, 1, &fits);
    assert!(world.take(alice)[0].starts_with(r#"42["message""#));
    let event = format!(r#"421["message",{{"roomid":1,"msg":"x","junk":"{}"}}]"#, "j".repeat(1000));
    world.send(alice, &event);
    assert!(world.take(alice)[0].contains("too_large"));
    let name = "n".repeat(900);
    world.send(alice, &format!(r#"42["{name}"]"#));
    let heard = world.take(alice);
    assert!(heard[0].contains("unknown_event") && heard[0].len() < 200, "{heard:?}");
}

#[test]
fn rooms_are_created_only_where_allowed() {
    let mut world = World::new(3, Settings { auto_create_max: 100, ..settings() });
    let alice = world.connect(0, Some(1));
    world.send(alice, r#"421["room",{"roomid":4711}]"#);
    let heard = world.take(alice).join("\n");
    assert!(heard.contains(r#"431[{"ok":true,"room":4711"#), "{heard}");
    say(alice, &mut world, 4711, "first");
    assert!(world.take(alice).join("\n").contains(r#""roomid":4711"#));
}

/// Where nothing is kept, each home creates its rooms; the configured ones do not count.
#[test]
fn without_a_store_joins_create_as_many_rooms_as_allowed_on_all_shards_together() {
    for shards in [1, 3] {
        let settings = Settings { ephemeral: true, auto_create_max: 2, ..settings() };
        let mut world = World::new(shards, settings);
        let alice = world.connect(0, Some(1));
        let mut joined = Vec::new();
        for room in [1, 101, 102, 103, 104, 105, 106, 107, 2, 101, 102] {
            world.send(alice, &format!(r#"421["room",{{"roomid":{room}}}]"#));
            let heard = world.take(alice).concat();
            if heard.contains(r#"431[{"ok":true"#) {
                joined.push(room);
            } else {
                assert!(heard.contains("unknown_room"), "{heard}");
            }
        }
        assert_eq!(joined, [1, 101, 102, 2, 101, 102], "on {shards} shards");
    }
}

#[test]
fn a_long_text_before_the_data_of_an_event_is_no_argument() {
    let mut world = World::new(1, Settings { event_bytes_max: 1024, ..settings() });
    let alice = world.connect(0, Some(1));
    room(alice, &mut world, 1);
    let long = "A".repeat(2000);
    world
        .send(alice, &format!(r#"42/?x="data:image{long}",7["message",{{"roomid":1,"msg":"x"}}]"#));
    let heard = world.take(alice).concat();
    assert!(heard.starts_with("437[") && heard.contains("too_large"), "{heard}");
    say(alice, &mut world, 1, "on");
    assert!(world.take(alice).concat().contains(r#""msg":"on""#), "the shard goes on");
}

/// A client at this address that has connected `/`, with the token if given in the handshake.
fn from(world: &mut World, shard: usize, ip: &str, shown: Option<&str>) -> Client {
    let peer = ip.parse().expect("an address");
    let token = shown.map(Into::into);
    let request = EngineRequest { peer, token, ..request(Transport::Websocket, Eio::V4) };
    let client = world.upgrade(shard, request);
    world.send(client, "40");
    world.take(client);
    client
}

fn invented(n: u32) -> String {
    format!("{n:x>60}")
}

fn login_with(token: &str) -> String {
    format!(r#"421["login",{{"api_token":"{token}"}}]"#)
}

fn few_invalid_tokens() -> Settings {
    Settings { invalid_tokens_per_s: 1, invalid_tokens_burst: 6, ..settings() }
}

const LATER: &str = r#"431[{"ok":false,"code":"rate_limited","message":"Too many requests, slow down","retry_after_ms":1000}]"#;

#[test]
fn tokens_that_are_not_valid_are_counted_per_client_on_all_shards() {
    let mut world = World::new(3, few_invalid_tokens());
    // In handshakes, in CONNECT and in events, on three shards.
    for shard in 0..3 {
        let client = from(&mut world, shard, "192.0.2.1", Some(&invented(1)));
        world.send(client, &login_with(&invented(2)));
        assert!(world.take(client).concat().contains("unauthenticated"));
    }
    let client = from(&mut world, 1, "192.0.2.1", None);
    for refused in 1..=3 {
        world.send(client, &login_with(&invented(3)));
        assert_eq!(world.take(client), [LATER], "the session lives");
        assert_eq!(world.counter("token_lookups_refused"), refused);
    }
    let client = world.upgrade(0, {
        let peer = "192.0.2.1".parse().expect("an address");
        EngineRequest { peer, ..request(Transport::Websocket, Eio::V4) }
    });
    world.send(client, &format!(r#"40{{"token":"{}"}}"#, invented(4)));
    let heard = world.take(client).concat();
    assert!(
        heard.contains(r#"42["chat_error",{"event":"login","code":"rate_limited","#),
        "{heard}"
    );
    // Nobody else waits.
    let other = from(&mut world, 1, "192.0.2.2", None);
    world.send(other, &login_with(&invented(5)));
    assert!(world.take(other).concat().contains("unauthenticated"));
    world.advance(1_000);
    let client = from(&mut world, 2, "192.0.2.1", None);
    world.send(client, &login_with(&invented(6)));
    assert!(world.take(client).concat().contains("unauthenticated"), "one is looked up again");
    world.send(client, &login_with(&invented(7)));
    assert_eq!(world.take(client), [LATER]);
}

/// Each has to be looked up, which costs more than to send it.
#[test]
fn a_known_user_may_show_some_tokens_of_others_on_all_shards_together() {
    let mut world = World::new(2, Settings::default());
    let tabs = [world.connect(0, Some(1)), world.connect(1, Some(1))];
    let show = |world: &mut World, tab, token: &str| {
        world.send(tab, &login_with(token));
        let answers = world.take(tab);
        let refused: Vec<_> = answers.iter().filter(|it| it.contains("rate_limited")).collect();
        assert!(refused.iter().all(|it| it.contains("retry_after_ms")), "{refused:?}");
        refused.is_empty()
    };
    // Their own costs nothing, however often they show it.
    assert!((0..30).all(|_| show(&mut world, tabs[0], &token(1))));
    let accepted = (0..150).filter(|n| show(&mut world, tabs[n % 2], &invented(8))).count();
    assert_eq!(accepted, 100);
    assert!(!show(&mut world, tabs[0], &token(2)), "valid or not");
    assert!(show(&mut world, tabs[0], &token(1)), "it is still theirs");
    world.advance(1_000);
    assert_eq!((0..50).filter(|_| show(&mut world, tabs[1], &invented(8))).count(), 10);
}

#[test]
fn valid_tokens_of_a_whole_network_do_not_count() {
    let mut world = World::new(2, few_invalid_tokens());
    for user in 1..=150 {
        let host = format!("2001:db8::{user}");
        let client = from(&mut world, user as usize % 2, &host, Some(&token(user)));
        world.send(client, r#"421["login",{}]"#);
        assert!(world.take(client).concat().contains(r#"431[{"ok":true"#), "user {user}");
    }
    // What nobody could look up does not count either.
    world.store.is_down = true;
    for n in 0..20 {
        let client = from(&mut world, 0, "2001:db8::1", None);
        world.send(client, &login_with(&token(n + 1)));
        assert!(world.take(client).concat().contains("storage_unavailable"));
    }
    assert_eq!(world.counter("token_lookups_refused"), 0);
}

#[test]
fn tokens_that_are_being_looked_up_count_until_they_are_known_to_be_valid() {
    let mut world = World::new(2, few_invalid_tokens());
    world.store.is_paused = true;
    let clients: Vec<Client> =
        (0..8).map(|n| from(&mut world, n % 2, "192.0.2.1", Some(&token(n as u32 + 1)))).collect();
    assert_eq!(world.asked().len(), 6, "as many as may be invalid");
    assert_eq!(world.counter("token_lookups_refused"), 2);
    // One whose session has ended meanwhile is given back as well.
    world.close(clients[0], PipeEnd::Eof);
    world.store.is_paused = false;
    world.run();
    for client in &clients[1..] {
        // The tokens of the last two were put off, and are looked up with their first event.
        world.send(*client, r#"421["login",{}]"#);
        let heard = world.take(*client).concat();
        assert!(heard.contains(r#"431[{"ok":true"#), "{heard}");
    }
    for n in 0..6 {
        let client = from(&mut world, 0, "192.0.2.1", None);
        world.send(client, &login_with(&invented(n)));
        assert!(world.take(client).concat().contains("unauthenticated"), "none was lost");
    }
}

#[test]
fn a_token_that_was_put_off_is_not_called_invalid_and_is_forgotten_when_another_is_valid() {
    let mut world = World::new(1, few_invalid_tokens());
    for n in 0..6 {
        from(&mut world, 0, "192.0.2.1", Some(&invented(n)));
    }
    let alice = from(&mut world, 0, "192.0.2.1", Some(&token(1)));
    let login = r#"421["login",{}]"#;
    world.send(alice, login);
    assert_eq!(world.take(alice), [LATER], "it is not said to be invalid");
    world.advance(1_000);
    world.send(alice, &login_with(&token(2)));
    assert!(world.take(alice).concat().contains(r#""user":{"id":2,"#));
    world.revoke(&token(2));
    world.take(alice);
    world.send(alice, login);
    assert!(world.take(alice).concat().contains("unauthenticated"), "the older one is not used");
}

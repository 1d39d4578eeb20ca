//! LIM-36 to LIM-39: what a session makes the server keep and do.

use throng_chat::Settings;
use throng_engine::{AnonymousLimits, Eio, EngineRequest, Method, PipeEnd, Transport};
use throng_world::masked;

use crate::transport::{sid_of, with_sid};
use crate::world::{Client, World, request, settings, token};

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

fn with_engine(engine: throng_engine::Settings) -> Settings {
    Settings { engine, ..settings() }
}

fn anonymous(anonymous: AnonymousLimits) -> Settings {
    with_engine(throng_engine::Settings { anonymous, ..throng_engine::Settings::default() })
}

/// No rate, so that bounds on bytes are what is met.
fn without_rates() -> AnonymousLimits {
    AnonymousLimits { work_per_s: 0, ..AnonymousLimits::default() }
}

/// Whether the session of the client has ended.
fn has_ended(world: &World) -> bool {
    world.shards().all(|shard| shard.engine().sessions().count() == 0)
}

/// Opens a session by polling; returns its POST.
fn opened_by_polling(world: &mut World) -> EngineRequest {
    let open = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    let (_, body) = world.answer(open).expect("a handshake is answered");
    with_sid(&sid_of(&body), Transport::Polling, Eio::V4, Method::Post)
}

#[test]
fn whatever_causes_an_answer_is_bounded_for_a_client_that_does_not_read() {
    let ping = masked(FIN | PING, &[b'x'; 125]);
    let text = |text: &str| masked(FIN | TEXT, text.as_bytes());
    let inputs = [
        ("WebSocket pings", Eio::V4, ping),
        ("Engine.IO 3 pings", Eio::V3, text(&format!("2{}", "x".repeat(500)))),
        ("unknown namespaces", Eio::V4, text("40/nowhere,")),
        ("unknown events", Eio::V4, text(r#"42["nothing"]"#)),
        ("events without identity", Eio::V4, text(r#"421["room",{"roomid":1}]"#)),
    ];
    for (name, eio, input) in inputs {
        for limits in [without_rates(), AnonymousLimits::default()] {
            let mut world = World::new(1, anonymous(limits.clone()));
            let client = match eio {
                Eio::V3 => world.connect_legacy(0, None),
                _ => world.connect(0, None),
            };
            world.stop_reading(client, true);
            for _ in 0..200 {
                world.send_bytes(client, &input.repeat(100));
                world.advance(10);
                let held = world.shards().next().expect("one").engine().held_out(client.pipe);
                // What one turn reads is answered before the turn ends.
                let most = limits.outbound_bytes_max as usize + 100 * 700;
                assert!(held <= most, "{name}: {held} bytes are held");
            }
            world.advance(20_000);
            assert!(world.is_shut(client), "{name}");
            assert!(has_ended(&world), "{name}");
        }
    }
}

#[test]
fn a_session_beyond_its_rate_is_read_later_and_loses_nothing() {
    let limits = AnonymousLimits { work_per_s: 50, work_burst: 200, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let client = world.connect(0, None);
    // CONNECT costs one unit, and a refused event as much as any other.
    for index in 0..300 {
        world.send_quietly(client, &format!(r#"42{index}["nothing"]"#));
    }
    world.run();
    let acks =
        |world: &mut World| world.take(client).iter().filter(|m| m.starts_with("43")).count();
    assert_eq!(acks(&mut world), 300, "one read is handled as a whole");
    world.send(client, r#"42300["nothing"]"#);
    assert_eq!(acks(&mut world), 0, "it owes 101 units");
    world.advance(1_900);
    assert_eq!(acks(&mut world), 0);
    world.advance(300);
    assert_eq!(acks(&mut world), 1, "it was read when it had paid");
    assert_eq!(world.counter("reads_paused"), 2);
}

#[test]
fn thousands_of_strangers_of_one_address_cause_no_more_work_than_some() {
    const STRANGERS: u32 = 127;
    let limits = AnonymousLimits { work_per_s: 50, work_burst: 200, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let event = r#"421["nothing"]"#;
    let acks = |world: &mut World, client| {
        world.take(client).iter().filter(|packet| packet.starts_with("431")).count()
    };
    let clients: Vec<_> = (0..STRANGERS).map(|_| world.connect(0, None)).collect();
    let quiet = world.connect(0, None);
    for client in &clients {
        // One read is handled as a whole.
        (0..250).for_each(|_| world.send_quietly(*client, event));
        world.run();
        assert_eq!(acks(&mut world, *client), 250);
        world.send_quietly(*client, event);
    }
    // One who has sent nothing yet waits for nobody: not for the seven units that are left besides its CONNECT.
    for _ in 0..7 {
        world.send(quiet, event);
        assert_eq!(acks(&mut world, quiet), 1);
    }
    // The first had used up their own 200 units; the last owe 251, each at half of 50 a second.
    world.advance(1_200);
    assert_eq!(acks(&mut world, clients[0]), 1);
    let last = clients[STRANGERS as usize - 1];
    world.advance(8_600);
    assert_eq!(acks(&mut world, last), 0);
    world.advance(400);
    assert_eq!(acks(&mut world, last), 1);
    // All of them owe: who reconnects has what is free, and waits for what exceeds it.
    let work = |world: &mut World| {
        for client in &clients {
            (0..250).for_each(|_| world.send_quietly(*client, event));
        }
        world.run();
    };
    work(&mut world);
    let again = world.connect(0, None);
    (0..20).for_each(|_| world.send_quietly(again, event));
    world.run();
    assert_eq!(acks(&mut world, again), 20);
    world.send_quietly(again, event);
    world.advance(1_200);
    assert_eq!(acks(&mut world, again), 0);
    world.advance(200);
    assert_eq!(acks(&mut world, again), 1, "21 units at a third of 50 a second");
    // With all of them gone, and what they owe paid for, it has its own rate.
    for client in &clients {
        world.close(*client, PipeEnd::Eof);
    }
    world.advance(30_000);
    let alone = world.connect(0, None);
    (0..210).for_each(|_| world.send_quietly(alone, event));
    world.run();
    assert_eq!(acks(&mut world, alone), 210);
    world.send_quietly(alone, event);
    world.advance(100);
    assert_eq!(acks(&mut world, alone), 0);
    world.advance(200);
    assert_eq!(acks(&mut world, alone), 1);
}

#[test]
fn who_becomes_known_waits_no_more_for_what_strangers_owe() {
    let limits = AnonymousLimits { work_per_s: 50, work_burst: 200, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let clients: Vec<_> = (0..127).map(|_| world.connect(0, None)).collect();
    for client in &clients {
        (0..250).for_each(|_| world.send_quietly(*client, r#"421["nothing"]"#));
    }
    world.run();
    let events = "\x1e42[\"nothing\"]".repeat(11);
    let post = |world: &mut World, connect: String| {
        let post = opened_by_polling(world);
        let poll = world.http(0, post, Ok(format!("{connect}{events}").as_str()));
        (poll, world.answer(poll).map(|(status, _)| status))
    };
    let known = post(&mut world, format!(r#"40{{"token":"{}"}}"#, token(1)));
    assert_eq!(known.1, Some(200));
    let (stranger, answer) = post(&mut world, "40".to_owned());
    assert_eq!(answer, None, "12 units at two shares of 50 a second");
    world.advance(400);
    assert_eq!(world.answer(stranger), None);
    world.advance(100);
    assert_eq!(world.answer(stranger).map(|(status, _)| status), Some(200));
}

#[test]
fn what_a_stranger_causes_now_and_then_waits_for_nobody() {
    let limits = AnonymousLimits { work_per_s: 50, work_burst: 200, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let clients: Vec<_> = (0..127).map(|_| world.connect(0, None)).collect();
    let quiet = world.connect(0, None);
    for round in 0..2 {
        for client in &clients {
            (0..250).for_each(|_| world.send_quietly(*client, r#"421["nothing"]"#));
        }
        world.run();
        let before = world.counter("reads_paused");
        (0..7).for_each(|_| world.send(quiet, r#"421["nothing"]"#));
        assert_eq!(world.counter("reads_paused"), before, "round {round}");
        // They owe again then, and it has its free units again.
        world.advance(20_000);
    }
}

#[test]
fn who_reconnects_again_and_again_gains_nothing() {
    let limits = AnonymousLimits { work_per_s: 50, work_burst: 200, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let event = r#"421["nothing"]"#;
    // Units that a session causes before it is read later.
    let units = |world: &mut World| {
        let client = world.connect(0, None);
        let mut units = 1;
        loop {
            world.send(client, event);
            if !world.take(client).iter().any(|packet| packet.starts_with("431")) {
                world.close(client, PipeEnd::Eof);
                return units;
            }
            units += 1;
        }
    };
    let caused: Vec<u32> = (0..70).map(|_| units(&mut world)).collect();
    assert!(caused[..63].iter().all(|units| *units == 201), "{caused:?}");
    assert!(caused[64..].iter().all(|units| *units == 9), "{caused:?}");
    // At 64 times 50 units a second.
    world.advance(1_000);
    let caused: u32 = (0..20).map(|_| units(&mut world)).sum();
    assert!((3_000..3_400).contains(&caused), "{caused}");
}

#[test]
fn all_sessions_of_a_user_share_one_rate() {
    let limits = throng_engine::Settings { work_per_s: 100, work_burst: 200, ..Default::default() };
    let mut world = World::new(1, with_engine(limits));
    let event = r#"421["nothing"]"#;
    let acks = |world: &mut World, client| {
        world.take(client).iter().filter(|packet| packet.starts_with("431")).count()
    };
    let tabs = [world.connect(0, Some(1)), world.connect(0, Some(1))];
    let other = world.connect(0, Some(2));
    for tab in tabs {
        (0..150).for_each(|_| world.send_quietly(tab, event));
    }
    world.run();
    assert_eq!(tabs.map(|tab| acks(&mut world, tab)), [150, 150]);
    // What exceeded the rate was in the second tab; the first is read once more.
    world.send(tabs[0], event);
    assert_eq!(acks(&mut world, tabs[0]), 1);
    for tab in tabs {
        world.send(tab, event);
        assert_eq!(acks(&mut world, tab), 0, "they owe 100 units");
    }
    world.send(other, event);
    assert_eq!(acks(&mut world, other), 1, "another user has their own");
    // Who reconnects gains nothing.
    for tab in tabs {
        world.close(tab, PipeEnd::Eof);
    }
    let again = world.connect(0, Some(1));
    world.send(again, event);
    world.take(again);
    world.send(again, event);
    assert_eq!(acks(&mut world, again), 0);
    world.advance(1_500);
    assert_eq!(acks(&mut world, again), 2, "it was not read before");
    // Nobody owes anything any more.
    world.close(again, PipeEnd::Eof);
    world.advance(5_000);
    let last = world.connect(0, Some(1));
    (0..190).for_each(|_| world.send_quietly(last, event));
    world.run();
    assert_eq!(acks(&mut world, last), 190);
    world.send(last, event);
    assert_eq!(acks(&mut world, last), 1);
}

#[test]
fn who_has_caused_much_lately_is_read_after_the_others() {
    let mut world = World::new(1, Settings::default());
    let tabs = [world.connect(0, Some(1)), world.connect(0, Some(1))];
    let (other, stranger) = (world.connect(0, Some(2)), world.connect(0, None));
    let preferred =
        |world: &World| [tabs[0], tabs[1], other, stranger].map(|it| world.is_preferred(it));
    assert_eq!(preferred(&world), [true, true, true, false]);
    for _ in 0..190 {
        world.send(tabs[0], r#"42["nothing"]"#);
    }
    assert_eq!(preferred(&world), [true, true, true, false], "nobody writes so much");
    for _ in 0..20 {
        world.send(tabs[1], r#"42["nothing"]"#);
    }
    assert_eq!(preferred(&world), [false, false, true, false], "they are one user");
    world.advance(100);
    world.send(other, "3");
    assert_eq!(preferred(&world), [true, true, true, false], "it has come back");
}

/// To close what comes back at once would cost the shard more than its client.
#[test]
fn what_other_sessions_of_a_user_have_caused_closes_none() {
    let limits = throng_engine::Settings { work_per_s: 100, work_burst: 200, ..Default::default() };
    let mut world = World::new(1, with_engine(limits));
    let tabs: Vec<_> = (0..20).map(|_| world.connect(0, Some(1))).collect();
    for tab in &tabs {
        (0..150).for_each(|_| world.send_quietly(*tab, r#"421["nothing"]"#));
    }
    world.run();
    // They owe 28 s.
    assert!(!has_ended(&world));
    let late = world.connect(0, Some(1));
    world.send(late, r#"421["nothing"]"#);
    world.advance(10_000);
    assert!(!world.take(late).iter().any(|packet| packet.starts_with("431")), "it waits as well");
    world.advance(20_000);
    assert!(world.take(late).iter().any(|packet| packet.starts_with("431")));
    assert!(!has_ended(&world));
}

#[test]
fn a_session_far_beyond_its_rate_is_closed() {
    let mut world = World::new(1, settings());
    let client = world.connect(0, None);
    for _ in 0..1_000 {
        world.send_quietly(client, "3");
        world.send_quietly(client, r#"42["nothing"]"#);
    }
    world.run();
    assert!(world.take(client).contains(&"close:4004".to_owned()));
    assert!(has_ended(&world));
}

#[test]
fn a_polling_client_beyond_its_rate_gets_the_answer_to_its_post_later() {
    let mut world = World::new(1, settings());
    let post = opened_by_polling(&mut world);
    let packets = vec![r#"42["nothing"]"#; 250].join("\u{1e}");
    let first = world.http(0, post.clone(), Ok(&format!("40\u{1e}{packets}")));
    assert_eq!(world.answer(first), None, "it owes 51 units");
    world.advance(1_200);
    assert_eq!(world.answer(first), Some((200, "ok".into())));
    let second = world.http(0, post.clone(), Ok(&packets));
    assert_eq!(world.answer(second), None);
    let third = world.http(0, post, Ok("3"));
    assert_eq!(world.answer(third).map(|answer| answer.0), Some(400), "it has not waited (TRN-37)");
    assert_eq!(world.answer(second), Some((200, "ok".into())), "the end of the session answers");
}

/// The WebSocket that is to take over from polling belongs to the session before it does.
#[test]
fn what_a_probe_sends_is_on_the_account_of_its_session() {
    let probe = |world: &mut World| {
        let post = opened_by_polling(world);
        let request = EngineRequest { method: Method::Get, ..post };
        let request = EngineRequest { transport: Transport::Websocket, ..request };
        world.upgrade(0, request)
    };
    let ping = masked(FIN | PING, &[b'x'; 125]);
    let mut world = World::new(1, settings());
    let client = probe(&mut world);
    for _ in 0..10 {
        world.send_bytes(client, &ping.repeat(100));
        world.run();
    }
    assert!(has_ended(&world), "it is far beyond the rate of its session");

    let mut world = World::new(1, settings());
    let client = probe(&mut world);
    world.send_bytes(client, &masked(FIN | TEXT, &[b'x'; 126]));
    world.run();
    assert_eq!(world.take(client), ["close:1009"], "a probe says little");
    assert_eq!(world.counter("sessions_polling_eio4"), 1, "its session goes on");

    // All together may hold 1 MiB.
    let limits = AnonymousLimits { held_mib_max: 1, ..without_rates() };
    let mut world = World::new(1, anonymous(limits));
    for _ in 0..20 {
        let client = probe(&mut world);
        world.stop_reading(client, true);
        world.send_bytes(client, &ping.repeat(480));
        world.run();
    }
    let held = world.shards().next().expect("one").engine().held();
    assert!(held <= 2 << 20, "{held} bytes are held, those of closing pipes with them");
    assert!(world.counter("sessions_over_budget") > 0);
}

#[test]
fn before_its_user_is_known_a_message_may_be_small_only() {
    let mut world = World::new(1, settings());
    let max = AnonymousLimits::default().payload_bytes_max as usize;
    let message = |bytes: usize| format!("42[\"nothing\",\"{}\"]", "x".repeat(bytes - 16));
    let guest = world.connect(0, None);
    world.send(guest, &message(max));
    assert!(world.take(guest).concat().contains("unknown_event"));
    world.send(guest, &message(max + 1));
    assert!(world.take(guest).contains(&"close:1009".to_owned()));
    let known = world.connect(0, Some(1));
    world.send(known, &message(max * 3));
    assert!(world.take(known).concat().contains("unknown_event"));
}

#[test]
fn who_names_a_user_need_not_wait_before_a_long_message() {
    let mut world = World::new(1, settings());
    world.store.is_paused = true;
    let long = format!("42[\"nothing\",\"{}\"]", "x".repeat(100_000));
    let clients = [token(1), "9".repeat(60)].map(|token| {
        let client = world.upgrade(0, request(Transport::Websocket, Eio::V4));
        world.send(client, &format!(r#"40{{"token":"{token}"}}"#));
        world.send(client, &long);
        assert!(!world.take(client).concat().contains("close"));
        client
    });
    // The rest of a long message does not come before the answer about its user.
    let begun = masked(FIN | TEXT, long.as_bytes());
    for client in clients {
        world.send_bytes(client, &begun[..50_000]);
    }
    world.run();
    world.store.is_paused = false;
    world.run();
    assert!(!world.take(clients[0]).concat().contains("close"), "the user is known");
    assert!(world.take(clients[1]).contains(&"close:1009".to_owned()), "nobody has that token");
}

#[test]
fn a_user_who_is_not_named_in_time_is_closed() {
    let mut world = World::new(1, settings());
    let (guest, known) = (world.connect(0, None), world.connect(0, Some(1)));
    let answer = |world: &mut World| {
        for client in [guest, known] {
            if world.take(client).contains(&"2".to_owned()) {
                world.send(client, "3");
            }
        }
    };
    for _ in 0..119 {
        world.advance(1_000);
        answer(&mut world);
    }
    assert_eq!(world.counter("closed_limit"), 0);
    world.advance(1_100);
    assert_eq!(world.take(guest), ["close:4004"]);
    assert_eq!(world.take(known), [""; 0]);
}

/// Rooms that guests may read: nobody need name a user, ever.
#[test]
fn without_a_time_limit_for_the_user_a_guest_stays() {
    let limits = AnonymousLimits { identify_timeout_ms: 0, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let guest = world.connect(0, None);
    for second in 0..3_600 {
        world.advance(1_000);
        let heard = world.take(guest);
        assert!(!heard.concat().contains("close"), "after {second} s: {heard:?}");
        if heard.contains(&"2".to_owned()) {
            world.send(guest, "3");
        }
    }
    assert!(!has_ended(&world));
    world.send(guest, r#"420["nothing"]"#);
    assert!(world.take(guest).concat().contains("unknown_event"), "it is served");
}

#[test]
fn what_is_not_finished_has_a_deadline_that_moves_with_what_arrives() {
    let begun = |bytes: usize| masked(TEXT, &vec![b'x'; bytes]);
    let unfinished: [(&str, Vec<u8>); 4] = [
        ("half a frame", masked(FIN | TEXT, &[b'4'; 100])[..50].to_vec()),
        ("a first fragment", begun(100)),
        ("an empty fragment", begun(0)),
        ("missing attachments", masked(FIN | TEXT, br#"452-["x",{"_placeholder":true,"num":0}]"#)),
    ];
    for (name, bytes) in unfinished {
        let mut world = World::new(1, settings());
        let client = world.connect(0, None);
        world.send_bytes(client, &bytes);
        world.advance(9_900);
        assert!(!has_ended(&world), "{name}");
        world.advance(300);
        assert!(world.take(client).contains(&"close:4004".to_owned()), "{name}");
    }
    // A slow client that keeps to the least rate is waited for.
    let mut world = World::new(1, settings());
    let client = world.connect(0, Some(1));
    let frame =
        masked(FIN | TEXT, format!("42[\"nothing\",\"{}\"]", "x".repeat(100_000)).as_bytes());
    for part in frame.chunks(5_000) {
        world.send_bytes(client, part);
        world.advance(1_000);
    }
    assert!(world.take(client).concat().contains("unknown_event"));
}

#[test]
fn attachments_of_events_that_have_no_use_for_them_are_not_kept() {
    let mut world = World::new(1, settings());
    let client = world.connect(0, Some(1));
    world.send(client, r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    world.send_bytes(client, &masked(FIN | BINARY, &vec![7; 1_000_000]));
    world.run();
    let held = world.shards().next().expect("one").engine().held_in();
    assert!(held < 1_000, "{held} bytes are held");
    world.send_bytes(client, &masked(FIN | BINARY, &[7]));
    world.run();
    assert!(world.take(client).concat().contains("unknown_event"));
}

#[test]
fn tokens_and_leaves_that_wait_are_bounded() {
    for packets in [r#"40{"token":"TOKEN"}"#, "41"] {
        let mut world = World::new(1, anonymous(without_rates()));
        world.store.is_paused = true;
        let client = world.upgrade(0, request(Transport::Websocket, Eio::V4));
        for index in 0..2_000 {
            world.send_quietly(client, "41");
            let token = format!("{index:0>60}");
            world.send_quietly(client, &r#"40{"token":"TOKEN"}"#.replace("TOKEN", &token));
            world.send_quietly(client, &packets.replace("TOKEN", &token));
        }
        world.run();
        assert!(has_ended(&world), "1024 may wait, or a namespace is connected twice");
    }
    let mut world = World::new(1, anonymous(without_rates()));
    world.store.is_paused = true;
    let client = world.upgrade(0, request(Transport::Websocket, Eio::V4));
    for index in 0..511 {
        world.send_quietly(client, &format!(r#"40{{"token":"{index:0>60}"}}"#));
        world.send_quietly(client, "41");
    }
    world.run();
    assert!(!has_ended(&world), "1021 wait");
}

#[test]
fn together_strangers_hold_no_more_than_their_budget_and_those_who_hold_most_go_first() {
    let limits = AnonymousLimits { held_mib_max: 1, ..without_rates() };
    let mut world = World::new(1, anonymous(limits));
    let known = world.connect(0, Some(1));
    let small = world.connect(0, None);
    world.send_bytes(small, &masked(TEXT, &[b'x'; 100]));
    let large: Vec<Client> = (0..100)
        .map(|_| {
            let client = world.connect(0, None);
            world.send_bytes(client, &masked(TEXT, &[b'x'; 16_000]));
            world.run();
            let held = world.shards().next().expect("one").engine().held_in();
            assert!(held <= 1 << 20, "{held} bytes are held");
            client
        })
        .collect();
    let closed =
        large.into_iter().filter(|client| world.take(*client).contains(&"close:4004".to_owned()));
    assert!(closed.count() > 35);
    assert_eq!(world.take(small), [""; 0]);
    assert_eq!(world.take(known), [""; 0]);
    assert!(world.counter("sessions_over_budget") > 35);
}

#[test]
fn what_is_closing_is_read_no_more() {
    let mut world = World::new(1, settings());
    let client = world.connect(0, None);
    world.stop_reading(client, true);
    world.send(client, "garbage");
    let shard = world.shards().next().expect("one");
    assert!(!shard.reads(client.pipe));
    let before = world.counter("bytes_in");
    for _ in 0..100 {
        world.send(client, r#"42["x"]"#);
    }
    assert_eq!(world.counter("bytes_in"), before);
    world.close(client, PipeEnd::Failed);
}

#[test]
fn an_address_has_so_many_anonymous_sessions() {
    let limits = AnonymousLimits { sessions_per_ip_max: 3, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let from = |ip: &str| EngineRequest {
        peer: ip.parse().expect("an address"),
        ..request(Transport::Polling, Eio::V4)
    };
    let status = |world: &mut World, request| {
        let poll = world.http(0, request, Ok(""));
        world.answer(poll).map(|answer| answer.0)
    };
    for host in 1..=3 {
        assert_eq!(status(&mut world, from(&format!("2001:db8::{host}"))), Some(200));
    }
    assert_eq!(status(&mut world, from("2001:db8::4")), Some(503), "they are one network");
    assert_eq!(status(&mut world, from("2001:db8:0:1::1")), Some(200));
    let known = EngineRequest { token: Some(token(1).into()), ..from("192.0.2.1") };
    for _ in 0..5 {
        assert_eq!(status(&mut world, known.clone()), Some(200), "known users do not count");
    }
    world.advance(60_000);
    assert_eq!(status(&mut world, from("2001:db8::4")), Some(200), "they ended without CONNECT");
}

#[test]
fn of_too_many_strangers_on_long_polling_the_oldest_goes() {
    let limits = AnonymousLimits { polling_sessions_max: 6, ..AnonymousLimits::default() };
    let mut world = World::new(2, anonymous(limits));
    let open = |world: &mut World, user: Option<u32>| {
        let token = user.map(|user| token(user).into());
        let request = EngineRequest { token, ..request(Transport::Polling, Eio::V4) };
        let poll = world.http(0, request, Ok(""));
        world.answer(poll).expect("it is served")
    };
    let displaced = |world: &World| world.counter("polling_displaced");
    // A shard has its part of them. Those whose users are known do not count, nor do WebSockets.
    for user in 1..10 {
        open(&mut world, Some(user));
        world.connect(0, None);
    }
    for count in 1..=8_u64 {
        assert_eq!(open(&mut world, None).0, 200);
        assert_eq!(displaced(&world), count.max(3) - 3);
    }
    assert_eq!(world.counter("closed_limit"), 5);
    assert_eq!(world.counter("sessions_polling_eio4"), 9 + 3);
    // Who has moved to a WebSocket, or has ended, makes place.
    world.advance(60_000);
    for _ in 0..3 {
        open(&mut world, None);
    }
    assert_eq!(displaced(&world), 5);
}

#[test]
fn one_address_cannot_displace_the_strangers_of_others() {
    let limits = AnonymousLimits { polling_sessions_max: 4, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let open = |world: &mut World, peer: &str| {
        let peer = peer.parse().expect("an address");
        let request = EngineRequest { peer, ..request(Transport::Polling, Eio::V4) };
        let poll = world.http(0, request, Ok(""));
        sid_of(&world.answer(poll).expect("it is served").1)
    };
    let is_live = |world: &mut World, sid: &str| {
        let post = with_sid(sid, Transport::Polling, Eio::V4, Method::Post);
        let poll = world.http(0, post, Ok("3"));
        world.answer(poll).expect("it is answered").0 == 200
    };
    let oldest = open(&mut world, "192.0.2.1");
    let others: Vec<String> = (0..20).map(|_| open(&mut world, "192.0.2.2")).collect();
    assert_eq!(world.counter("polling_displaced"), 17);
    assert!(is_live(&mut world, &oldest));
    let live: Vec<usize> = (0..20).filter(|index| is_live(&mut world, &others[*index])).collect();
    assert_eq!(live, [17, 18, 19]);
    // Of several that have as many, the oldest goes.
    open(&mut world, "192.0.2.3");
    open(&mut world, "192.0.2.4");
    assert!(is_live(&mut world, &oldest));
    open(&mut world, "192.0.2.5");
    assert!(!is_live(&mut world, &oldest));
}

#[test]
fn who_logs_out_on_long_polling_is_listed_once_and_goes_last() {
    let limits = AnonymousLimits { polling_sessions_max: 3, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let known =
        EngineRequest { token: Some(token(1).into()), ..request(Transport::Polling, Eio::V4) };
    world.http(0, known, Ok(""));
    for _ in 0..2 {
        world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    }
    // Known or not, it is listed already.
    world.revoke(&token(1));
    assert_eq!(world.counter("polling_displaced"), 0);
    world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    assert_eq!(world.counter("polling_displaced"), 1);
    assert_eq!(world.counter("sessions_polling_eio4"), 3);
}

#[test]
fn who_has_logged_out_is_counted_as_anonymous_again() {
    let limits = AnonymousLimits { sessions_per_ip_max: 3, ..AnonymousLimits::default() };
    let mut world = World::new(1, anonymous(limits));
    let clients: Vec<_> = (0..3).map(|_| world.connect(0, Some(1))).collect();
    world.connect(0, None);
    let status = |world: &mut World| {
        let poll = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
        world.answer(poll).map(|answer| answer.0)
    };
    assert_eq!(status(&mut world), Some(200), "known users do not count");
    world.revoke(&token(1));
    assert_eq!(status(&mut world), Some(503), "three more are not known");
    clients.iter().for_each(|client| world.close(*client, PipeEnd::Eof));
    assert_eq!(status(&mut world), Some(200));
}

#[test]
fn a_token_and_the_start_of_a_long_message_may_come_in_one_read() {
    let long = format!("42[\"nothing\",\"{}\"]", "x".repeat(100_000));
    let message = masked(FIN | TEXT, long.as_bytes());
    // With CONNECT, and with an event.
    for named in [format!(r#"40{{"token":"{}"}}"#, token(1)), login(1)] {
        let mut world = World::new(1, settings());
        let client = if named.starts_with("40") {
            world.upgrade(0, request(Transport::Websocket, Eio::V4))
        } else {
            world.connect(0, None)
        };
        let first = masked(FIN | TEXT, named.as_bytes());
        world.send_bytes(client, &[&first[..], &message[..10_000]].concat());
        world.run();
        world.send_bytes(client, &message[10_000..]);
        world.run();
        let heard = world.take(client).concat();
        assert!(!heard.contains("close") && heard.contains("unknown_event"), "{heard}");
    }
    // Who names nobody is still a stranger in the same read.
    let mut world = World::new(1, settings());
    let client = world.connect(0, None);
    let first = masked(FIN | TEXT, br#"42["nothing"]"#);
    world.send_bytes(client, &[&first[..], &message[..10_000]].concat());
    world.run();
    assert!(world.take(client).contains(&"close:1009".to_owned()));
}

fn login(user: u32) -> String {
    format!(r#"42["login",{{"api_token":"{}"}}]"#, token(user))
}

/// Two MiB for what all sessions hold, in or out.
fn two_mib() -> Settings {
    with_engine(throng_engine::Settings {
        inbound_mib_max: 2,
        outbound_mib_max: 2,
        ..throng_engine::Settings::default()
    })
}

#[test]
fn beyond_the_budget_for_input_who_holds_most_goes_first() {
    let mut world = World::new(1, two_mib());
    let hold = |world: &mut World, user: u32, bytes: usize| {
        let client = world.connect(0, Some(user));
        // The length of the frame is that of the message; the rest does not come.
        world.send_bytes(client, &masked(FIN | TEXT, &vec![b'4'; bytes * 2])[..bytes]);
        world.run();
        client
    };
    let worst = hold(&mut world, 1, 900_000);
    let others: Vec<_> = (2..4).map(|user| hold(&mut world, user, 500_000)).collect();
    let held = |world: &World| world.shards().next().expect("one").engine().held_in();
    assert!(held(&world) <= 2 << 20 && held(&world) > 1_800_000, "{}", held(&world));
    assert_eq!(world.counter("sessions_over_budget"), 0, "all of it is theirs");
    let last = hold(&mut world, 4, 300_000);
    assert!(world.take(worst).contains(&"close:4004".to_owned()));
    for client in others.into_iter().chain([last]) {
        assert!(!world.take(client).concat().contains("close"), "those who hold less live");
    }
    assert_eq!(world.counter("sessions_over_budget"), 1);
    assert!(held(&world) <= 2 << 20);
}

/// Each shard has its part of a budget, so that all together never hold more; what one does not use is not lent
/// to another.
#[test]
fn shards_have_equal_parts_of_a_budget_and_each_closes_those_of_its_own() {
    let mut world = World::new(2, two_mib());
    let hold = |world: &mut World, shard: usize, user: u32, bytes: usize| {
        let client = world.connect(shard, Some(user));
        world.send_bytes(client, &masked(FIN | TEXT, &vec![b'4'; bytes * 2])[..bytes]);
        world.run();
        client
    };
    let held =
        |world: &World| world.shards().map(|shard| shard.engine().held_in()).collect::<Vec<_>>();
    // The worst of the process is on the other shard, which is within its part.
    let elsewhere = hold(&mut world, 1, 1, 900_000);
    let worst = hold(&mut world, 0, 2, 500_000);
    let other = hold(&mut world, 0, 3, 400_000);
    assert_eq!(world.counter("sessions_over_budget"), 0, "{:?}", held(&world));
    let last = hold(&mut world, 0, 4, 300_000);
    assert!(world.take(worst).contains(&"close:4004".to_owned()));
    for client in [elsewhere, other, last] {
        assert!(!world.take(client).concat().contains("close"), "{:?}", held(&world));
    }
    assert_eq!(world.counter("sessions_over_budget"), 1);
    // However many come, and wherever.
    for user in 10..60 {
        hold(&mut world, user as usize % 3 % 2, user, 100_000 + user as usize * 1_000);
        let held = held(&world);
        assert!(held.iter().all(|held| *held <= 1 << 20), "{held:?}");
        assert!(held.iter().sum::<usize>() <= 2 << 20, "{held:?}");
    }
}

#[test]
fn beyond_the_budget_for_output_who_holds_most_goes_first() {
    let mut world = World::new(1, two_mib());
    // Pongs of Engine.IO 3 are its own: nothing is shared.
    let ask = |world: &mut World, client: Client, bytes: usize| {
        let ping = format!("2{}", "x".repeat(100_000));
        for _ in 0..bytes / 100_000 {
            world.send(client, &ping);
            world.advance(20);
        }
    };
    let silent = |world: &mut World, user: u32, bytes: usize| {
        let client = world.connect_legacy(0, Some(user));
        world.stop_reading(client, true);
        ask(world, client, bytes);
        client
    };
    let worst = silent(&mut world, 1, 900_000);
    let others: Vec<_> = (2..4).map(|user| silent(&mut world, user, 500_000)).collect();
    assert_eq!(world.counter("sessions_over_budget"), 0, "all of it is theirs");
    let last = silent(&mut world, 4, 300_000);
    assert_eq!(world.counter("sessions_over_budget"), 1);
    let engine = world.shards().next().expect("one").engine();
    let held = |client: Client| engine.held_out(client.pipe);
    assert!(held(worst) < 1_000, "{}", held(worst));
    for client in others.into_iter().chain([last]) {
        assert!(held(client) >= 300_000, "those who hold less live");
    }
    assert_eq!(world.counter("closed_slow_consumer"), 1);
}

#[test]
fn packets_that_wait_for_a_poll_have_a_bound_of_their_own() {
    let limits = throng_engine::Settings { poll_packets_max: 16, ..Default::default() };
    let mut world = World::new(1, with_engine(limits));
    let open =
        EngineRequest { token: Some(token(1).into()), ..request(Transport::Polling, Eio::V3) };
    let poll = world.http(0, open, Ok(""));
    let sid = sid_of(&world.answer(poll).expect("a handshake is answered").1);
    let get = with_sid(&sid, Transport::Polling, Eio::V3, Method::Get);
    let first = world.http(0, get, Ok(""));
    world.answer(first);
    let post = with_sid(&sid, Transport::Polling, Eio::V3, Method::Post);
    world.http(0, post.clone(), Ok(&"1:2".repeat(17)));
    let waiting = world.http(0, with_sid(&sid, Transport::Polling, Eio::V3, Method::Get), Ok(""));
    assert_eq!(world.answer(waiting).map(|answer| answer.0), Some(400), "17 are one too many");
    assert_eq!(world.counter("closed_slow_consumer"), 1);
}

/// What an answer carries is on no account any more until the client has read it. Spec: TRN-31.
#[test]
fn an_answer_to_a_poll_carries_a_part_of_what_waits() {
    let mut world = World::new(1, settings());
    let open =
        EngineRequest { token: Some(token(1).into()), ..request(Transport::Polling, Eio::V3) };
    let poll = world.http(0, open, Ok(""));
    let sid = sid_of(&world.answer(poll).expect("a handshake is answered").1);
    let post = with_sid(&sid, Transport::Polling, Eio::V3, Method::Post);
    let get = with_sid(&sid, Transport::Polling, Eio::V3, Method::Get);
    // The pongs carry what the pings do.
    let pings: String =
        (0..9).map(|ping| format!("60001:2{}", ping.to_string().repeat(60_000))).collect();
    world.http(0, post, Ok(&pings));
    let pongs: String = pings.replace(":2", ":3");
    let mut carried = String::new();
    for bytes in [240_028, 240_028, 60_007] {
        let poll = world.http(0, get.clone(), Ok(""));
        let (status, body) = world.answer(poll).expect("packets wait");
        assert_eq!((status, body.len()), (200, bytes));
        carried += &body;
    }
    assert!(carried == pongs, "every packet, in order");
    let poll = world.http(0, get, Ok(""));
    assert_eq!(world.answer(poll), None, "nothing is left");
}

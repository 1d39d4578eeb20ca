//! TRN, EIO and SIO: handshakes, heartbeats, polling, the upgrade, packets that break the rules.

use throng_chat::Settings;
use throng_engine::{AnonymousLimits, Eio, EngineRequest, Method, PipeEnd, Transport};

use crate::chat::{room, say};
use crate::world::{World, masked, request, settings, token};

pub fn sid_of(open: &str) -> String {
    let start = open.find(r#""sid":""#).expect("an open packet") + 7;
    open[start..start + 20].to_owned()
}

pub fn with_sid(sid: &str, transport: Transport, eio: Eio, method: Method) -> EngineRequest {
    EngineRequest { sid: Some(sid.into()), method, ..request(transport, eio) }
}

#[test]
fn requests_are_checked_in_the_order_of_the_reference_server() {
    let mut world = World::new(1, settings());
    let cases = [
        (
            EngineRequest { transport: Transport::Unknown, ..request(Transport::Polling, Eio::V4) },
            400,
            0,
        ),
        (EngineRequest { origin_allowed: false, ..request(Transport::Polling, Eio::V4) }, 403, 4),
        (with_sid("AAAAAAAAAAAAAAAAAAAA", Transport::Polling, Eio::V4, Method::Get), 400, 1),
        (with_sid("short", Transport::Polling, Eio::V4, Method::Get), 400, 1),
        (EngineRequest { method: Method::Post, ..request(Transport::Polling, Eio::V4) }, 400, 2),
        (request(Transport::Websocket, Eio::V4), 400, 3),
        (request(Transport::Polling, Eio::Unsupported), 400, 5),
    ];
    for (request, status, code) in cases {
        let poll = world.http(0, request.clone(), Ok(""));
        let (got, body) = world.answer(poll).expect("an answer at once");
        assert_eq!(got, status, "{request:?}");
        assert!(body.starts_with(&format!(r#"{{"code":{code},"#)), "{body}");
    }
}

#[test]
fn polling_carries_a_whole_conversation_in_both_protocols() {
    for eio in [Eio::V3, Eio::V4] {
        let mut world = World::new(1, settings());
        let open =
            EngineRequest { token: Some(token(1).into()), ..request(Transport::Polling, eio) };
        let poll = world.http(0, open, Ok(""));
        let (status, body) = world.answer(poll).expect("the handshake");
        assert_eq!(status, 200);
        let sid = sid_of(&body);
        if eio == Eio::V3 {
            assert!(body.ends_with("2:40"), "{body}");
        }
        let get = with_sid(&sid, Transport::Polling, eio, Method::Get);
        let post = with_sid(&sid, Transport::Polling, eio, Method::Post);
        let say = r#"42["message",{"msg":"你好😀","roomid":1}]"#;
        let body = match eio {
            Eio::V3 => {
                format!(r#"25:42["room",{{"roomid":"1"}}]{}:{say}"#, say.encode_utf16().count())
            }
            _ => format!("40\x1e42[\"room\",{{\"roomid\":\"1\"}}]\x1e{say}"),
        };
        let parked = world.http(0, get.clone(), Ok(""));
        assert_eq!(world.answer(parked), None, "a poll waits for a packet");
        let posted = world.http(0, post, Ok(&body));
        assert_eq!(world.answer(posted), Some((200, "ok".to_owned())));
        let mut heard = world.answer(parked).map(|answer| answer.1).unwrap_or_default();
        let next = world.http(0, get.clone(), Ok(""));
        heard += &world.answer(next).map(|answer| answer.1).unwrap_or_default();
        assert!(heard.contains(r#"42["room",{"1":"#) && heard.contains("你好😀"), "{heard}");
        if eio == Eio::V3 {
            let len: usize =
                heard.split(':').next().and_then(|l| l.parse().ok()).expect("a length");
            let packet: String = heard.split_once(':').expect("a packet").1.into();
            let units: Vec<u16> = packet.encode_utf16().take(len).collect();
            assert!(String::from_utf16(&units).expect("whole characters").ends_with(']'));
        }
    }
}

#[test]
fn a_second_poll_ends_the_session() {
    let mut world = World::new(1, settings());
    let poll = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    let sid = sid_of(&world.answer(poll).expect("open").1);
    let get = with_sid(&sid, Transport::Polling, Eio::V4, Method::Get);
    let first = world.http(0, get.clone(), Ok(""));
    let second = world.http(0, get.clone(), Ok(""));
    assert_eq!(world.answer(first), Some((200, "1".to_owned())));
    assert_eq!(world.answer(second).map(|answer| answer.0), Some(400));
    let third = world.http(0, get, Ok(""));
    assert!(world.answer(third).expect("an answer").1.contains("Session ID unknown"));
}

#[test]
fn a_cancelled_poll_and_a_close_packet_end_the_session() {
    let mut world = World::new(1, settings());
    let poll = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    let sid = sid_of(&world.answer(poll).expect("open").1);
    let get = with_sid(&sid, Transport::Polling, Eio::V4, Method::Get);
    let parked = world.http(0, get.clone(), Ok(""));
    world.http_gone(0, parked);
    let next = world.http(0, get, Ok(""));
    assert_eq!(world.answer(next).map(|answer| answer.0), Some(400));

    let poll = world.http(0, request(Transport::Polling, Eio::V3), Ok(""));
    let sid = sid_of(&world.answer(poll).expect("open").1);
    let get = with_sid(&sid, Transport::Polling, Eio::V3, Method::Get);
    let parked = world.http(0, get, Ok(""));
    let post = with_sid(&sid, Transport::Polling, Eio::V3, Method::Post);
    let posted = world.http(0, post, Ok("1:1"));
    assert_eq!(world.answer(posted), Some((200, "ok".to_owned())));
    assert_eq!(world.answer(parked), Some((200, "1:6".to_owned())));
    assert_eq!(world.counter("sessions_polling_eio3"), 0);
}

#[test]
fn a_poll_that_ends_while_its_answer_is_on_the_way_ends_the_session() {
    let mut world = World::new(1, settings());
    let poll = world.http(0, request(Transport::Polling, Eio::V3), Ok(""));
    let sid = sid_of(&world.answer(poll).expect("open").1);
    let get = with_sid(&sid, Transport::Polling, Eio::V3, Method::Get);
    let parked = world.http(0, get.clone(), Ok(""));
    let post = with_sid(&sid, Transport::Polling, Eio::V3, Method::Post);
    world.http(0, post, Ok("1:2"));
    assert_eq!(world.answer(parked), Some((200, "1:3".to_owned())));
    // The next poll shows that the answer arrived; until then the server may learn that it did not.
    let next = world.http(0, get.clone(), Ok(""));
    world.http_gone(0, parked);
    assert_eq!(world.counter("sessions_polling_eio3"), 1);
    let post = with_sid(&sid, Transport::Polling, Eio::V3, Method::Post);
    world.http(0, post, Ok("1:2"));
    assert_eq!(world.answer(next), Some((200, "1:3".to_owned())));
    world.http_gone(0, next);
    assert_eq!(world.counter("sessions_polling_eio3"), 0);
    let after = world.http(0, get, Ok(""));
    assert_eq!(world.answer(after).map(|answer| answer.0), Some(400));
}

#[test]
fn a_bad_or_oversized_body_ends_the_session() {
    let too_large = "2".repeat(AnonymousLimits::default().payload_bytes_max as usize + 1);
    for (body, status) in [("abc", 400), (too_large.as_str(), 413)] {
        let mut world = World::new(1, settings());
        let poll = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
        let sid = sid_of(&world.answer(poll).expect("open").1);
        let post = with_sid(&sid, Transport::Polling, Eio::V4, Method::Post);
        let posted = world.http(0, post, Ok(body));
        assert_eq!(world.answer(posted).map(|answer| answer.0), Some(status));
        assert_eq!(world.counter("sessions_polling_eio4"), 0);
    }
}

#[test]
fn the_upgrade_moves_the_session_and_loses_nothing() {
    for eio in [Eio::V3, Eio::V4] {
        let mut world = World::new(3, settings());
        let peer = world.connect(1, Some(2));
        room(peer, &mut world, 1);
        let open =
            EngineRequest { token: Some(token(1).into()), ..request(Transport::Polling, eio) };
        let poll = world.http(0, open, Ok(""));
        let sid = sid_of(&world.answer(poll).expect("open").1);
        let post = with_sid(&sid, Transport::Polling, eio, Method::Post);
        let join = if eio == Eio::V3 {
            r#"25:42["room",{"roomid":"1"}]"#
        } else {
            "40\x1e42[\"room\",{\"roomid\":\"1\"}]"
        };
        world.http(0, post, Ok(join));
        let get = with_sid(&sid, Transport::Polling, eio, Method::Get);
        let first = world.http(0, get.clone(), Ok(""));
        let mut heard = world.answer(first).map(|answer| answer.1).unwrap_or_default();
        let parked = world.http(0, get.clone(), Ok(""));
        let ws = world.upgrade(0, with_sid(&sid, Transport::Websocket, eio, Method::Get));
        world.send(ws, "2probe");
        assert_eq!(world.take(ws), ["3probe"]);
        heard += &world.answer(parked).expect("the probe releases the poll").1;
        say(peer, &mut world, 1, "between probe and upgrade");
        let during = world.http(0, get.clone(), Ok(""));
        heard += &world.answer(during).expect("not held while probing").1;
        say(peer, &mut world, 1, "queued");
        world.send(ws, "5");
        say(peer, &mut world, 1, "after");
        let on_ws = world.take(ws).join("\n");
        assert!(heard.contains("between probe and upgrade"), "{heard}");
        assert!(on_ws.contains("queued") && on_ws.contains("after"), "{on_ws}");
        let late = world.http(0, get, Ok(""));
        assert_eq!(world.answer(late).map(|answer| answer.0), Some(400));
        let again = world.upgrade(0, with_sid(&sid, Transport::Websocket, eio, Method::Get));
        assert!(world.is_shut(again), "one WebSocket per session");
        assert_eq!(world.counter("upgrades"), 1);
    }
}

#[test]
fn a_probe_that_never_upgrades_is_closed_and_polling_goes_on() {
    let mut world = World::new(1, settings());
    let poll = world.http(0, request(Transport::Polling, Eio::V4), Ok(""));
    let sid = sid_of(&world.answer(poll).expect("open").1);
    let ws = world.upgrade(0, with_sid(&sid, Transport::Websocket, Eio::V4, Method::Get));
    world.advance(10_010);
    assert_eq!(world.take(ws), ["close:1000"]);
    let post = with_sid(&sid, Transport::Polling, Eio::V4, Method::Post);
    let posted = world.http(0, post, Ok("40"));
    assert_eq!(world.answer(posted).map(|answer| answer.0), Some(200));
}

#[test]
fn the_server_pings_engine_io_4_and_times_the_pong_absolutely() {
    let fast = Settings {
        engine: throng_engine::Settings {
            ping_interval_ms: 300,
            ping_timeout_ms: 200,
            ..throng_engine::Settings::default()
        },
        ..settings()
    };
    let mut world = World::new(1, fast);
    let client = world.connect(0, None);
    world.advance(299);
    assert!(world.take(client).is_empty());
    for _ in 0..3 {
        world.advance(20);
        assert_eq!(world.take(client), ["2"]);
        world.send(client, "3");
        world.advance(299);
    }
    world.advance(220);
    let heard = world.take(client);
    assert_eq!(heard, ["2", "close:4002"]);
    assert_eq!(world.counter("closed_ping_timeout"), 1);
}

#[test]
fn a_late_request_meets_the_deadline_and_not_the_tick() {
    let fast = Settings {
        engine: throng_engine::Settings {
            ping_interval_ms: 300,
            ping_timeout_ms: 200,
            ..throng_engine::Settings::default()
        },
        ..settings()
    };
    for eio in [Eio::V3, Eio::V4] {
        let mut world = World::new(1, fast.clone());
        let poll = world.http(0, request(Transport::Polling, eio), Ok(""));
        let sid = sid_of(&world.answer(poll).expect("open").1);
        // The ping of Engine.IO 4 goes out in time; then no timer fires.
        world.advance(310);
        world.now = world.now.plus_ms(200);
        let get = with_sid(&sid, Transport::Polling, eio, Method::Get);
        let late = world.http(0, get, Ok(""));
        assert_eq!(world.answer(late).map(|answer| answer.0), Some(400), "{eio:?}");
    }
}

#[test]
fn engine_io_3_clients_ping_and_are_answered_with_their_data() {
    let fast = Settings {
        engine: throng_engine::Settings {
            ping_interval_ms: 300,
            ping_timeout_ms: 200,
            ..throng_engine::Settings::default()
        },
        ..settings()
    };
    let mut world = World::new(1, fast);
    let client = world.connect_legacy(0, None);
    for _ in 0..4 {
        world.advance(300);
        world.send(client, "2hello");
        assert_eq!(world.take(client), ["3hello"]);
    }
    world.advance(510);
    assert_eq!(world.take(client), ["close:4002"]);
}

#[test]
fn a_client_that_never_connects_is_closed() {
    let mut world = World::new(
        1,
        Settings {
            engine: throng_engine::Settings {
                connect_timeout_ms: 1000,
                ..throng_engine::Settings::default()
            },
            ..settings()
        },
    );
    let client = world.upgrade(0, request(Transport::Websocket, Eio::V4));
    world.take(client);
    world.advance(990);
    assert!(world.take(client).is_empty());
    world.advance(20);
    assert_eq!(world.take(client), ["close:4003"]);
}

#[test]
fn a_client_that_leaves_its_namespace_and_stays_is_closed() {
    // Also if the next heartbeat is later.
    for connect_timeout_ms in [1_000, 40_000] {
        for eio in [Eio::V3, Eio::V4] {
            let mut world = World::new(
                1,
                Settings {
                    engine: throng_engine::Settings {
                        connect_timeout_ms,
                        ..throng_engine::Settings::default()
                    },
                    ..settings()
                },
            );
            let client = match eio {
                Eio::V3 => world.connect_legacy(0, None),
                _ => world.connect(0, None),
            };
            world.take(client);
            let ping = |world: &mut World| match eio {
                Eio::V3 => world.send(client, "2"),
                _ => world.send(client, "3"),
            };
            world.send(client, "41");
            // A client that reconnects in time stays, and has the full timeout again the next time.
            world.advance(900);
            world.send(client, "40");
            world.advance(900);
            world.send(client, "41");
            world.take(client);
            let mut waited = 0;
            while waited + 10 < u64::from(connect_timeout_ms) {
                let step = (u64::from(connect_timeout_ms) - 10 - waited).min(10_000);
                world.advance(step);
                ping(&mut world);
                waited += step;
                let sent = world.take(client);
                assert!(!sent.concat().contains("close"), "{sent:?} after {waited} ms");
            }
            world.advance(20);
            assert!(world.take(client).contains(&"close:4003".to_owned()), "{connect_timeout_ms}");
        }
    }
}

#[test]
fn broken_packets_end_their_session_with_the_code_of_the_table() {
    let cases: &[(&[u8], u16)] = &[
        (b"9", 1008),
        (b"", 1008),
        (b"4", 1008),
        (b"4abc", 1008),
        (b"42", 1008),
        (b"42{}", 1008),
        (b"42[]", 1008),
        (b"42[\"room\"", 1008),
        (b"451-[\"message\",{\"_placeholder\":true,\"num\":0}]", 0),
        (b"451-[\"message\",{\"_placeholder\":true,\"num\":1}]", 1008),
        (b"451-[\"message\",{\"_placeholder\":true,\"num\":-1}]", 1008),
        (b"2", 1008),
    ];
    for (packet, code) in cases {
        let mut world = World::new(1, settings());
        let client = world.connect(0, Some(1));
        world.send_bytes(client, &masked(0x81, packet));
        world.run();
        let heard = world.take(client);
        if *code == 0 {
            assert!(heard.is_empty(), "{packet:?} waits for its attachment");
            world.send_bytes(client, &masked(0x82, b"\x01\x02"));
            world.run();
            assert!(world.take(client)[0].contains("binary_unsupported"));
        } else {
            assert_eq!(heard, [format!("close:{code}")], "{:?}", String::from_utf8_lossy(packet));
        }
    }
    let frames: &[(Vec<u8>, u16)] = &[
        (masked(0x82, b"x"), 1003),
        (masked(0xc1, b"x"), 1002),
        (masked(0x83, b"x"), 1002),
        (masked(0x81, b"\xff"), 1007),
        (vec![0x81, 1, b'x'], 1002),
        (masked(0x88, b"\x03\xe8bye"), 1000),
    ];
    for (frame, code) in frames {
        let mut world = World::new(1, settings());
        let client = world.connect(0, Some(1));
        world.send_bytes(client, frame);
        world.run();
        assert_eq!(world.take(client), [format!("close:{code}")], "{frame:?}");
        assert_eq!(world.counter("sessions_ws_eio4"), 0);
    }
}

#[test]
fn a_payload_beyond_the_bound_is_too_big() {
    let mut world = World::new(
        1,
        Settings {
            engine: throng_engine::Settings {
                max_payload: 1000,
                ..throng_engine::Settings::default()
            },
            ..settings()
        },
    );
    let client = world.connect(0, Some(1));
    world.send(client, &format!("4{}", "2".repeat(1000)));
    assert_eq!(world.take(client), ["close:1009"]);
}

#[test]
fn other_namespaces_are_refused_in_the_words_of_each_protocol() {
    let mut world = World::new(1, settings());
    let client = world.connect(0, None);
    world.send(client, "40/admin,{\"a\":1}");
    assert_eq!(world.take(client), [r#"44/admin,{"message":"Invalid namespace"}"#]);
    let client = world.connect_legacy(0, None);
    world.send(client, "40/admin");
    assert_eq!(world.take(client), [r#"44/admin,"Invalid namespace""#]);
    world.send(client, r#"42/admin,["x"]"#);
    assert_eq!(world.take(client), ["close:1008"]);
}

#[test]
fn an_event_before_connect_ends_the_session() {
    let mut world = World::new(1, settings());
    let client = world.upgrade(0, request(Transport::Websocket, Eio::V4));
    world.take(client);
    world.send(client, r#"42["login",{}]"#);
    assert_eq!(world.take(client), ["close:1008"]);
}

#[test]
fn a_late_delivery_never_reaches_the_next_session_in_the_slot() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    let mut bytes = masked(0x81, br#"42["room",{"roomid":1}]"#);
    bytes.extend(masked(0x88, b"\x03\xe8"));
    world.send_bytes(alice, &bytes);
    world.run();
    world.close(alice, PipeEnd::Eof);
    let bob = world.connect(0, Some(2));
    assert!(world.take(bob).is_empty());
    assert_eq!(world.counter("members"), 0);
}

#[test]
fn a_shard_that_was_paused_asks_its_clients_before_it_ends_them() {
    for seconds in [21, 46, 3_600] {
        let mut world = World::new(1, settings());
        let clients: Vec<_> = (0..20).map(|_| world.connect(0, Some(1))).collect();
        let legacy = world.connect_legacy(0, Some(1));
        // Some have been asked when the machine stops, some have not.
        world.advance(24_000);
        let young = world.connect(0, Some(1));
        world.advance(2_000);
        world.now = world.now.plus_ms(seconds * 1_000);
        // What they sent meanwhile is read in the first turns after that.
        world.send_quietly(legacy, "2");
        for client in &clients {
            assert_eq!(world.take(*client), ["2"]);
            world.send_quietly(*client, "3");
        }
        world.run();
        assert_eq!(world.take(young).contains(&"2".to_owned()), seconds > 21);
        world.send_quietly(young, "3");
        world.run();
        assert_eq!(world.counter("closed_ping_timeout"), 0, "{seconds} s");
    }
}

#[test]
fn a_paused_shard_waits_for_answers_that_were_late_with_it() {
    let mut world = World::new(1, settings());
    let client = world.connect(0, Some(1));
    world.advance(26_000);
    assert_eq!(world.take(client), ["2"]);
    world.now = world.now.plus_ms(60_000);
    world.run();
    assert_eq!(world.counter("closed_ping_timeout"), 0, "its answer may lie unread");
    world.advance(19_000);
    assert_eq!(world.counter("closed_ping_timeout"), 0);
    world.advance(2_000);
    assert_eq!(world.counter("closed_ping_timeout"), 1, "it is gone");
}

#[test]
fn what_a_user_sent_to_a_paused_shard_in_time_is_not_too_fast() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    world.send(alice, r#"42["room",{"roomid":1}]"#);
    let send_all = |world: &mut World, count| {
        world.take(alice);
        for number in 0..count {
            let message = format!(r#"42{number}["message",{{"roomid":1,"msg":"{number}"}}]"#);
            world.send_quietly(alice, &message);
        }
        world.run();
        let answers = world.take(alice);
        answers.iter().filter(|answer| answer.contains("rate_limited")).count()
    };
    world.advance(5_000);
    // The ping was due meanwhile.
    world.now = world.now.plus_ms(80_000);
    assert_eq!(send_all(&mut world, 1_600), 0, "twenty in a second are allowed");
    assert!(send_all(&mut world, 1_000) > 0, "the pause counts once");
    world.send_quietly(alice, "3");
    world.advance(21_000);
    assert_eq!(send_all(&mut world, 61), 1, "a burst, as ever");
}

#[test]
fn a_ping_that_goes_out_late_counts_from_then() {
    let mut world = World::new(1, settings());
    let client = world.connect(0, Some(1));
    world.now = world.now.plus_ms(25_900);
    world.run();
    assert_eq!(world.take(client), ["2"]);
    world.advance(19_900);
    assert_eq!(world.counter("closed_ping_timeout"), 0);
    world.advance(200);
    assert_eq!(world.counter("closed_ping_timeout"), 1);
}

#[test]
fn message_times_follow_the_wall_clock() {
    let mut world = World::new(1, settings());
    let alice = world.connect(0, Some(1));
    world.send(alice, r#"42["room",{"roomid":1}]"#);
    let times = [0, 1_000_000_000_000, -3_600_000].map(|unix_ms_at_zero| {
        world.set_wall_clock(unix_ms_at_zero);
        world.take(alice);
        world.send(alice, r#"42["message",{"roomid":1,"msg":"hello"}]"#);
        world.take(alice).concat()
    });
    assert!(times[0].contains("1970-01-01T00:00:01"), "{times:?}");
    assert!(times[1].contains("2001-09-09T01:46:41"), "{times:?}");
    assert!(times[2].contains("1969-12-31T23:00:01"), "{times:?}");
}

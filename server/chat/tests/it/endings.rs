//! The line about a session that a bound ended names the setting, as the operator writes it.

use throng_chat::{LogLine, Settings};
use throng_engine::{Eio, EngineRequest, Method, PipeEnd, Transport};
use throng_world::masked;

use crate::transport::{sid_of, with_sid};
use crate::world::{Client, World, request, settings, token};

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;

/// The reasons and settings of all sessions that have ended, each once.
fn ended(world: &mut World) -> Vec<(&'static str, Option<&'static str>)> {
    let of_line = |line| match line {
        LogLine::Ended { reason, setting, .. } => Some((reason, setting)),
        LogLine::Identified { .. }
        | LogLine::Refused { .. }
        | LogLine::Entered { .. }
        | LogLine::Left { .. } => None,
    };
    let mut ended: Vec<_> = world.take_logs().into_iter().filter_map(of_line).collect();
    ended.dedup();
    ended
}

fn is_key(setting: &str) -> bool {
    let chat = Settings::rows().iter().map(|row| row.setting.key());
    let engine = throng_engine::Settings::rows().iter().map(|row| row.setting.key());
    let anonymous = throng_engine::AnonymousLimits::rows().iter().map(|row| row.setting.key());
    chat.chain(engine).chain(anonymous).any(|key| key == setting)
}

/// What is played ends sessions for this reason, and for no other.
fn check(
    reason: &'static str,
    setting: &'static str,
    change: fn(&mut Settings),
    play: fn(&mut World),
) {
    assert!(is_key(setting), "{setting} is no setting");
    let mut limits = settings();
    change(&mut limits);
    let mut world = World::new(1, limits);
    world.keeps_logs = true;
    play(&mut world);
    assert_eq!(ended(&mut world), [(reason, Some(setting))]);
}

/// The client sends so many bytes of a message that is twice as long.
fn begin_message(world: &mut World, client: Client, bytes: usize) {
    world.send_bytes(client, &masked(FIN | TEXT, &vec![b'4'; bytes * 2])[..bytes]);
    world.run();
}

/// The client reads nothing, and asks for pongs of Engine.IO 3, which are its own.
fn ask_for_pongs(world: &mut World, client: Client, count: usize, bytes: usize) {
    world.stop_reading(client, true);
    let ping = format!("2{}", "x".repeat(bytes));
    for _ in 0..count {
        world.send(client, &ping);
    }
}

/// Opens a session by polling, of a user or of a stranger; returns its sid.
fn open_by_polling(world: &mut World, user: Option<u32>, eio: Eio) -> String {
    let token = user.map(|user| token(user).into());
    let open = EngineRequest { token, ..request(Transport::Polling, eio) };
    let poll = world.http(0, open, Ok(""));
    sid_of(&world.answer(poll).expect("a handshake is answered").1)
}

fn post(world: &mut World, sid: &str, eio: Eio, body: &str) {
    let post = with_sid(sid, Transport::Polling, eio, Method::Post);
    world.http(0, post, Ok(body));
}

#[test]
fn a_limit_of_a_user_or_of_what_waits_is_named() {
    check(
        "limit",
        "limits.sessions_per_user_max",
        |limits| limits.sessions_per_user_max = 1,
        |world| {
            world.connect(0, Some(1));
            world.connect(0, Some(1));
        },
    );
    check(
        "limit",
        "limits.pending_events_max",
        |limits| limits.pending_events_max = 3,
        |world| {
            world.store.is_paused = true;
            let page = world.connect_legacy(0, Some(1));
            (0..4).for_each(|_| world.send(page, r#"42["login",{}]"#));
        },
    );
    check(
        "limit",
        "limits.pending_bytes_max",
        |limits| limits.pending_bytes_max = 4096,
        |world| {
            world.store.is_paused = true;
            let page = world.connect_legacy(0, Some(1));
            let text = "x".repeat(1_500);
            let event = format!(r#"42["message",{{"roomid":1,"msg":"{text}"}}]"#);
            (0..4).for_each(|_| world.send(page, &event));
        },
    );
    check(
        "limit",
        "limits.anonymous.identify_timeout_ms",
        |limits| limits.engine.anonymous.identify_timeout_ms = 1_000,
        |world| {
            world.connect(0, None);
            world.advance(1_100);
        },
    );
    check(
        "limit",
        "limits.anonymous.polling_sessions_max",
        |limits| limits.engine.anonymous.polling_sessions_max = 1,
        |world| {
            open_by_polling(world, None, Eio::V4);
            open_by_polling(world, None, Eio::V4);
        },
    );
}

#[test]
fn a_limit_of_work_time_or_input_is_named() {
    check(
        "limit",
        "limits.anonymous.work_per_s",
        |_| {},
        |world| {
            let client = world.connect(0, None);
            for _ in 0..1_000 {
                world.send_quietly(client, "3");
                world.send_quietly(client, r#"42["nothing"]"#);
            }
            world.run();
        },
    );
    check(
        "limit",
        "limits.work_per_s",
        |limits| (limits.engine.work_per_s, limits.engine.work_burst) = (1, 1),
        |world| {
            let client = world.connect(0, Some(1));
            (0..20).for_each(|_| world.send_quietly(client, r#"42["nothing"]"#));
            world.run();
        },
    );
    check(
        "limit",
        "limits.message_timeout_ms",
        |_| {},
        |world| {
            let client = world.connect(0, None);
            begin_message(world, client, 50);
            world.advance(10_300);
        },
    );
    check(
        "limit",
        "limits.anonymous.held_mib_max",
        |limits| {
            limits.engine.anonymous.work_per_s = 0;
            limits.engine.anonymous.held_mib_max = 1;
        },
        |world| {
            for _ in 0..100 {
                let client = world.connect(0, None);
                world.send_bytes(client, &masked(TEXT, &[b'x'; 16_000]));
                world.run();
            }
        },
    );
    check(
        "limit",
        "limits.inbound_mib_max",
        |limits| limits.engine.inbound_mib_max = 1,
        |world| {
            for user in 1..=3 {
                let client = world.connect(0, Some(user));
                begin_message(world, client, 500_000);
            }
        },
    );
}

#[test]
fn the_bound_of_a_message_that_is_too_large_is_named() {
    check(
        "too_large",
        "limits.anonymous.payload_bytes_max",
        |_| {},
        |world| {
            let guest = world.connect(0, None);
            world.send(guest, &"4".repeat(20_000));
        },
    );
    check(
        "too_large",
        "limits.anonymous.payload_bytes_max",
        |_| {},
        |world| {
            let sid = open_by_polling(world, None, Eio::V4);
            post(world, &sid, Eio::V4, &"4".repeat(20_000));
        },
    );
    check(
        "too_large",
        "max_payload",
        |limits| limits.engine.max_payload = 20_000,
        |world| {
            let client = world.connect(0, Some(1));
            world.send(client, &"4".repeat(30_000));
        },
    );
    check(
        "too_large",
        "max_payload",
        |limits| limits.engine.max_payload = 20_000,
        |world| {
            let client = world.connect(0, Some(1));
            let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
            world.send(client, &format!(r#"452-["x",{placeholders}]"#));
            for _ in 0..2 {
                world.send_bytes(client, &masked(FIN | BINARY, &[7; 15_000]));
            }
            world.run();
        },
    );
    check(
        "too_large",
        "engine.fragments_max",
        |limits| limits.engine.fragments_max = 2,
        |world| {
            let client = world.connect(0, Some(1));
            world.send_bytes(client, &masked(TEXT, b"4"));
            (0..3).for_each(|_| world.send_bytes(client, &masked(CONTINUATION, b"2")));
            world.run();
        },
    );
}

#[test]
fn the_bound_of_what_waits_for_a_slow_consumer_is_named() {
    check(
        "slow_consumer",
        "limits.outbound_bytes_max",
        |limits| limits.engine.outbound_bytes_max = 20_000,
        |world| {
            let client = world.connect_legacy(0, Some(1));
            ask_for_pongs(world, client, 10, 5_000);
        },
    );
    check(
        "slow_consumer",
        "limits.anonymous.outbound_bytes_max",
        |limits| limits.engine.anonymous.work_per_s = 0,
        |world| {
            let client = world.connect_legacy(0, None);
            ask_for_pongs(world, client, 10, 10_000);
        },
    );
    check(
        "slow_consumer",
        "limits.outbound_mib_max",
        |limits| limits.engine.outbound_mib_max = 1,
        |world| {
            for user in 1..=2 {
                let client = world.connect_legacy(0, Some(user));
                ask_for_pongs(world, client, 6, 100_000);
            }
        },
    );
    check(
        "slow_consumer",
        "limits.poll_packets_max",
        |limits| limits.engine.poll_packets_max = 16,
        |world| {
            let sid = open_by_polling(world, Some(1), Eio::V3);
            let get = with_sid(&sid, Transport::Polling, Eio::V3, Method::Get);
            world.http(0, get, Ok(""));
            post(world, &sid, Eio::V3, &"1:2".repeat(17));
        },
    );
}

#[test]
fn where_no_bound_ended_a_session_none_is_named() {
    let mut world = World::new(1, settings());
    world.keeps_logs = true;
    let client = world.connect(0, Some(1));
    world.close(client, PipeEnd::Eof);
    assert_eq!(ended(&mut world), [("transport_close", None)]);
}

//! Chapter 3: acknowledgements, binary packets, disconnect; chapter 7: errors.

use std::time::Duration;

use serde_json::{Value, json};
use throng_codec::engine::{Kind, Packet, Protocol};
use throng_codec::socket as sio;

use super::socketio::{asking_socket, kills_session};
use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::chat::{Chat, message};
use crate::client::options::Transport;
use crate::client::socket::Socket;
use crate::combo::{EVERY, POLLING, WEBSOCKET};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, equal, require, skip};

const CHAT: &[Need] = &[Need::Chat];

pub const CASES: &[Case] = &[
    case(
        "ack.once",
        &["SIO-40", "SIO-42", "SIO-43"],
        EVERY,
        &[Need::Application],
        (
            "asks 30 times, some ids twice, with events without id between",
            "one acknowledgement per asking event, none for the others",
        ),
        once,
    ),
    case(
        "ack.shape",
        &["SIO-41", "CHAT-16", "CHAT-24", "CHAT-34", "CHAT-64"],
        EVERY,
        CHAT,
        (
            "asks login, room, message, roomout",
            "one object each, ok: true, and the members of the event",
        ),
        shape,
    ),
    case(
        "ack.from-client",
        &["SIO-45"],
        EVERY,
        &[],
        ("sends acknowledgements that nobody asked for", "they are ignored"),
        from_client,
    ),
    case(
        "ack.more-arguments",
        &["SIO-46"],
        EVERY,
        CHAT,
        ("sends events with further arguments", "they are ignored"),
        more_arguments,
    ),
    case(
        "ack.reserved-names",
        &["SIO-47"],
        EVERY,
        CHAT,
        ("sends events with reserved names", "unknown_event, or the session is closed"),
        reserved_names,
    ),
    case(
        "bin.stray",
        &["SIO-51", "LIM-43"],
        EVERY,
        &[],
        ("sends binary that is no attachment", "the session is closed, on WebSocket with 1003"),
        stray_binary,
    ),
    case(
        "bin.interrupted",
        &["SIO-52"],
        EVERY,
        &[],
        ("sends an event where an attachment is due", "the session is closed with 1008"),
        interrupted,
    ),
    case(
        "bin.bad-counts",
        &["SIO-53", "LIM-14", "SIO-54"],
        EVERY,
        &[],
        (
            "sends binary events without a count, with letters, with 1000, and with placeholders out of range",
            "the session is closed with 1008 for each",
        ),
        bad_counts,
    ),
    case(
        "bin.ten",
        &["LIM-14", "SIO-50", "SIO-55"],
        EVERY,
        CHAT,
        ("sends a binary event with ten attachments", "binary_unsupported once the tenth came"),
        ten_attachments,
    ),
    case(
        "bin.unsupported",
        &["SIO-55", "ERR-2"],
        EVERY,
        CHAT,
        (
            "sends `message` and others as binary events, with and without ack id",
            "binary_unsupported, nobody hears it, the session goes on",
        ),
        unsupported,
    ),
    case(
        "bin.heartbeat-between",
        &["SIO-56"],
        EVERY,
        CHAT,
        ("sends heartbeats between a binary event and its attachment", "both are handled"),
        heartbeat_between,
    ),
    case(
        "dis.leaves",
        &["SIO-60", "SIO-61", "CHAT-80", "CHAT-50"],
        EVERY,
        CHAT,
        ("sends 41 from inside two rooms", "the others see it leave both, and nothing answers it"),
        leaves,
    ),
    case(
        "dis.then-close-by-post",
        &["SIO-62"],
        POLLING,
        &[],
        ("posts 41 and then the close packet", "ok for both"),
        then_close,
    ),
    case(
        "dis.silent-afterwards",
        &["SIO-64", "SIO-61"],
        EVERY,
        CHAT,
        (
            "sends 41, then events, while others talk in the room it was in",
            "no packet comes and no event has an effect",
        ),
        silent_afterwards,
    ),
    case(
        "dis.lingering",
        &["SIO-63", "LIM-52"],
        WEBSOCKET,
        &[],
        ("sends 41 and stays", "the session is closed within the connect timeout, with 4003"),
        lingering,
    ),
    case(
        "dis.elsewhere",
        &["SIO-65"],
        EVERY,
        &[],
        ("sends 41 for a namespace that is not connected", "it is ignored"),
        elsewhere,
    ),
    case(
        "err.with-ack",
        &["ERR-1", "ERR-4", "ERR-5", "ERR-7"],
        EVERY,
        CHAT,
        (
            "sends refused events of every kind with an ack id",
            "{ok: false, code, message} and no event; the session goes on",
        ),
        with_ack,
    ),
    case(
        "err.without-ack",
        &["ERR-2", "ERR-4", "ERR-5", "ERR-7"],
        EVERY,
        CHAT,
        (
            "sends refused events of every kind without an ack id",
            "chat_error with exactly event, code, message, to that session alone",
        ),
        without_ack,
    ),
    case(
        "err.no-identity",
        &["ERR-3", "CHAT-10"],
        EVERY,
        CHAT,
        (
            "sends every event without identity, with and without an ack id",
            "`login` with \"Login to enter chat room\", or unauthenticated with that text",
        ),
        no_identity,
    ),
    case(
        "err.long-name",
        &["ERR-6", "LIM-25"],
        EVERY,
        CHAT,
        ("sends an unknown event with a name of 1000 characters", "its first 64 in the error"),
        long_name,
    ),
    case(
        "err.unknown-event",
        &["ERR-8"],
        EVERY,
        CHAT,
        (
            "sends unknown events, with identity and without, with odd names and arguments",
            "unknown_event",
        ),
        unknown_event,
    ),
    case(
        "err.bad-argument",
        &["ERR-9"],
        EVERY,
        CHAT,
        ("sends events whose argument is no object, and events without one", "invalid_argument"),
        bad_argument,
    ),
    case(
        "err.order",
        &["ERR-10", "ERR-11"],
        EVERY,
        CHAT,
        ("sends events with two faults", "identity first, then argument, room, membership"),
        order_of_errors,
    ),
];

fn once(context: &Context) -> Outcome {
    let (socket, name) = asking_socket(context)?;
    let ids: Vec<u64> = (0..15).chain([3, 3, 14, 0]).chain(100..111).collect();
    for &id in &ids {
        socket.send_packet(&sio::Packet::event(name, &[json!({})]).with_id(id))?;
        if id % 3 == 0 {
            socket.emit(name, &[json!({})])?;
        }
    }
    socket.wait_ack(110, context.wait())?;
    context.pause(QUIET);
    let mut observed: Vec<u64> = socket.acks().iter().map(|(id, ..)| *id).collect();
    let mut wanted = ids;
    observed.sort_unstable();
    wanted.sort_unstable();
    equal("the ids of the acknowledgements", &observed, &wanted)
}

fn shape(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    let login = guest.ask("login", json!({}))?;
    has_exactly("the ack of login", &login, &["ok", "user", "count"])?;
    has_exactly("user", &login["user"], &["id", "name", "avatar"])?;
    equal("user.id", &login["user"]["id"], &json!(guest.user.id))?;
    let joined = guest.join(room)?;
    has_exactly("the ack of room", &joined, &["ok", "room", "online", "seq"])?;
    equal("the ack of room", &joined, &json!({"ok": true, "room": room, "online": 1, "seq": 0}))?;
    let said = guest.say(room, "hello")?;
    has_exactly("the ack of message", &said, &["ok", "id", "seq"])?;
    let event = guest.message_with("hello")?;
    equal("id", &event["id"], &said["id"])?;
    equal("seq", &event["seq"], &said["seq"])?;
    let left = guest.leave(room)?;
    equal("the ack of roomout", &left, &json!({"ok": true, "room": room, "online": 0, "seq": 1}))?;
    let all: Vec<Value> = guest.socket.acks().into_iter().map(|(_, data, _)| data).collect();
    require(
        all.iter().all(|data| data.as_array().is_some_and(|args| args.len() == 1)),
        "one argument each",
        || format!("{all:?}"),
    )
}

fn from_client(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for text in ["30[]", "3999[{\"ok\":true}]", "31[1,2,3]"] {
        socket.send_engine(&Packet::message(text))?;
    }
    goes_on(context, &socket)
}

fn goes_on(context: &Context, socket: &Socket) -> Outcome {
    socket.send_engine(&Packet::message(ASK))?;
    socket.wait_packet(context.wait(), "an answer", |packet| packet.namespace == "/nope")?;
    Ok(())
}

fn more_arguments(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    let more = [json!({ "roomid": room }), json!("x"), json!([1, { "roomid": 2 }]), json!(null)];
    let answer = guest.socket.ask("room", &more, context.wait())?;
    accepts(&answer)?;
    equal("room", &answer["room"], &json!(room))?;
    let more = [message(room, "one"), message(room, "two")];
    accepts(&guest.socket.ask("message", &more, context.wait())?)?;
    guest.say(room, "three")?;
    guest.message_with("three")?;
    let texts: Vec<Value> = guest.messages(room).iter().map(|m| m["msg"].clone()).collect();
    equal("the messages", &texts, &vec![json!("one"), json!("three")])
}

fn reserved_names(context: &Context) -> Outcome {
    for name in
        ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
    {
        let guest = context.guest("guest")?;
        match guest.ask(name, json!({})) {
            Ok(answer) => refuses(&answer, "unknown_event")?,
            Err(_) => {
                // The POST may be refused before the poll tells of the end.
                let ended = guest.socket.wait_end(Duration::from_secs(2)).is_some();
                require(ended, "unknown_event, or a close", || format!("{name} is not answered"))?;
            }
        }
    }
    Ok(())
}

fn stray_binary(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let _ = socket.send_engine(&Packet::binary([1, 2, 3]));
    let ending = socket.wait_end(Duration::from_secs(3));
    match (context.combo.transport, ending) {
        (_, None) => crate::outcome::fail("the session is closed", "it stays open"),
        (Transport::Polling, Some(_)) => Ok(()),
        (Transport::Websocket, Some(ending)) => equal("the close code", &ending.code, &1003),
    }
}

fn interrupted(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let head = "51-[\"message\",{\"_placeholder\":true,\"num\":0}]";
    socket.send_engine(&Packet::message(head))?;
    let _ = socket.send_engine(&Packet::message("2[\"message\",{}]"));
    let ending = socket.wait_end(Duration::from_secs(3));
    match (context.combo.transport, ending) {
        (_, None) => crate::outcome::fail("the session is closed", "it stays open"),
        (Transport::Polling, Some(_)) => Ok(()),
        (Transport::Websocket, Some(ending)) => equal("the close code", &ending.code, &1008),
    }
}

fn bad_counts(context: &Context) -> Outcome {
    let placeholder = |num: &str| format!("{{\"_placeholder\":true,\"num\":{num}}}");
    let mut bad = vec![
        format!("5[\"message\",{}]", placeholder("0")),
        format!("5-[\"message\",{}]", placeholder("0")),
        format!("5x-[\"message\",{}]", placeholder("0")),
        format!("51000-[\"message\",{}]", placeholder("0")),
        format!("511-[\"message\",{}]", placeholder("0")),
    ];
    for num in ["1", "-1", "0.5", "\"0\"", "null", "18446744073709551615"] {
        bad.push(format!("51-[\"message\",{}]", placeholder(num)));
    }
    for text in bad {
        kills_session(context, &text, 1008)?;
    }
    Ok(())
}

fn ten_attachments(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let list: Vec<Value> = (0..10).map(|num| json!({ "_placeholder": true, "num": num })).collect();
    let head = format!("510-5[\"message\",{}]", json!({ "files": list }));
    guest.socket.send_engine(&Packet::message(head))?;
    for index in 0..10u8 {
        guest.socket.send_engine(&Packet::binary(vec![index; 10]))?;
    }
    refuses(&guest.socket.wait_ack(5, context.wait())?, "binary_unsupported")
}

fn unsupported(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    let guest = context.guest("guest")?;
    witness.join(room)?;
    guest.join(room)?;
    let img = json!({ "_placeholder": true, "num": 0 });
    let arg = json!({ "msg": "with binary", "img": img, "roomid": room });
    for (index, name) in ["message", "room", "login", "roomout"].iter().enumerate() {
        // Ids that no helper of this session used.
        let id = 1_000 + index as u64;
        let head = format!("51-{id}[\"{name}\",{arg}]");
        guest.socket.send_engine(&Packet::message(head))?;
        guest.socket.send_engine(&Packet::binary([1, 2, 3]))?;
        refuses(&guest.socket.wait_ack(id, context.wait())?, "binary_unsupported")?;
    }
    let head = format!("51-[\"message\",{arg}]");
    guest.socket.send_engine(&Packet::message(head))?;
    guest.socket.send_engine(&Packet::binary([1, 2, 3]))?;
    let error = guest.event("chat_error")?;
    equal("code", &error.arg(0)["code"], &json!("binary_unsupported"))?;
    equal("event", &error.arg(0)["event"], &json!("message"))?;
    guest.say(room, "plain")?;
    witness.message_with("plain")?;
    equal("the messages heard", &witness.messages(room).len(), &1)
}

fn heartbeat_between(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let head = "51-77[\"message\",{\"_placeholder\":true,\"num\":0}]";
    guest.socket.send_engine(&Packet::message(head))?;
    match guest.socket.protocol() {
        Protocol::Eio3 => {
            guest.socket.send_engine(&Packet::text(Kind::Ping, "between"))?;
            let pong = guest.socket.wait_engine(context.wait(), Kind::Pong)?;
            equal("the pong", &pong, &"between".to_owned())?;
        }
        Protocol::Eio4 => guest.socket.send_engine(&Packet::text(Kind::Pong, ""))?,
    }
    guest.socket.send_engine(&Packet::binary([5]))?;
    refuses(&guest.socket.wait_ack(77, context.wait())?, "binary_unsupported")
}

fn leaves(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    witness.roster_of(room, &[witness.user.id, guest.user.id])?;
    guest.event("room")?;
    let before = told(&guest.socket);
    guest.socket.send_packet(&sio::Packet::new(sio::Kind::Disconnect, None))?;
    let event = witness.roster_of(room, &[witness.user.id])?;
    equal("the event", &event.name, &"roomout".to_owned())?;
    context.pause(QUIET);
    equal("events for the leaver", &told(&guest.socket), &before)
}

/// Events that are about the session's own rooms: unread numbers of others come at any time.
fn told(socket: &Socket) -> usize {
    socket.events().iter().filter(|event| event.name != "count").count()
}

fn then_close(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.connect()?;
    status(&poller.post_message("1")?, 200)?;
    context.pause(Duration::from_millis(100));
    let answer = poller.post_packets(&[Packet::text(Kind::Close, "")])?;
    status(&answer, 200)?;
    equal("the body", &answer.text(), &"ok".to_owned())
}

fn silent_afterwards(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    guest.socket.send_packet(&sio::Packet::new(sio::Kind::Disconnect, None))?;
    witness.roster_of(room, &[witness.user.id])?;
    // What was on its way when the packet went out is not about this.
    context.pause(QUIET);
    let (events, acks) = (guest.socket.event_count(), guest.socket.acks().len());
    let _ = guest.socket.emit_with_id("room", &[json!({ "roomid": room })]);
    let _ = guest.emit("message", message(room, "from the beyond"));
    witness.say(room, "still here")?;
    context.pause(QUIET * 2);
    equal("events after 41", &guest.socket.event_count(), &events)?;
    equal("acks after 41", &guest.socket.acks().len(), &acks)?;
    let heard: Vec<Value> = witness.messages(room).iter().map(|m| m["msg"].clone()).collect();
    equal("the messages heard", &heard, &vec![json!("still here")])
}

fn lingering(context: &Context) -> Outcome {
    let patience = if context.run.slow { Duration::from_secs(50) } else { Duration::from_secs(6) };
    let socket = context.socket()?;
    socket.send_packet(&sio::Packet::new(sio::Kind::Disconnect, None))?;
    match socket.wait_end(patience) {
        Some(ending) => equal("the close code", &ending.code, &4003),
        None if context.run.slow => crate::outcome::fail(
            "close code 4003",
            format!("the session is open after {patience:?}"),
        ),
        None => skip(format!("the target waits longer than {patience:?}; run with --slow")),
    }
}

fn elsewhere(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_engine(&Packet::message("1/other,"))?;
    goes_on(context, &socket)
}

/// One of several codes. A room that a join would make may count as one that is there already, so
/// a server that makes rooms on demand has a choice (CHAT-20).
fn refuses_as(answer: &Value, codes: &str) -> Outcome {
    let observed = answer["code"].as_str().unwrap_or("");
    let fits = answer["ok"] == json!(false) && codes.split(" or ").any(|code| code == observed);
    require(fits, &format!("an acknowledgement {{ok: false, code: {codes}}}"), || {
        answer.to_string()
    })
}

/// The id of a room that no case makes: rooms of a run follow each other upwards.
fn unknown_room(room: u64) -> u64 {
    1 + (room + 500_000_000) % 999_000_000
}

/// Events that are refused with each code a black box can cause at will.
fn refused_events(room: u64) -> Vec<(&'static str, Value, &'static str)> {
    let long = "x".repeat(2_001);
    vec![
        ("room", json!({}), "invalid_argument"),
        ("room", json!({ "roomid": room, "presence": "some" }), "invalid_argument"),
        ("roomout", json!({ "roomid": "one" }), "invalid_argument"),
        ("message", json!({ "msg": "", "img": "", "roomid": room }), "invalid_argument"),
        ("message", json!({ "msg": 7, "roomid": room }), "invalid_argument"),
        ("message", message(unknown_room(room), "nowhere"), "unknown_room or not_member"),
        ("message", message(room, &long), "too_large"),
        (
            "message",
            json!({ "msg": "", "img": "javascript:alert(1)", "roomid": room }),
            "image_invalid",
        ),
        ("shout", json!({}), "unknown_event"),
    ]
}

fn refusable(context: &Context) -> Result<(u64, Chat), crate::outcome::Stop> {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    Ok((room, guest))
}

fn with_ack(context: &Context) -> Outcome {
    let (room, guest) = refusable(context)?;
    guest.event("room")?;
    for (name, arg, code) in refused_events(room) {
        context.step(format!("{name} that is refused as {code}"));
        let answer = guest.ask(name, arg)?;
        has_exactly("the ack", &answer, &["ok", "code", "message"])?;
        refuses_as(&answer, code)?;
        let text = answer["message"].as_str().unwrap_or("");
        require(!text.is_empty() && text.is_ascii(), "an English text", || answer.to_string())?;
    }
    guest.say(room, "still here")?;
    let event = guest.socket.wait_event(context.wait(), "the message", |event| {
        event.name == "message" || event.name == "chat_error"
    })?;
    equal("the next event", &event.name, &"message".to_owned())
}

fn without_ack(context: &Context) -> Outcome {
    let (room, guest) = refusable(context)?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    for (name, arg, code) in refused_events(room) {
        context.step(format!("{name} that is refused as {code}"));
        guest.emit(name, arg)?;
        let error = guest.event("chat_error")?;
        equal("the number of arguments", &error.args.len(), &1)?;
        has_exactly("chat_error", error.arg(0), &["event", "code", "message"])?;
        let observed = error.arg(0)["code"].as_str().unwrap_or("");
        require(code.split(" or ").any(|code| code == observed), code, || {
            error.arg(0).to_string()
        })?;
        equal("event", &error.arg(0)["event"], &json!(name))?;
    }
    guest.say(room, "still here")?;
    witness.message_with("still here")?;
    let stray = witness.socket.events().into_iter().find(|event| event.name == "chat_error");
    require(stray.is_none(), "no error for others", || format!("{stray:?}"))
}

const LOGIN_TEXT: &str = "Login to enter chat room";

fn no_identity(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let socket = context.socket()?;
    for (name, arg) in [
        ("login", json!({})),
        ("room", json!({ "roomid": room })),
        ("room", json!({ "roomid": "1", "name": false, "src": false, "api_token": false })),
        ("roomout", json!({ "roomid": room, "api_token": "" })),
        ("message", message(room, "who am I")),
    ] {
        context.step(format!("{name} {arg}"));
        let answer = socket.ask(name, std::slice::from_ref(&arg), context.wait())?;
        refuses(&answer, "unauthenticated")?;
        equal("message", &answer["message"], &json!(LOGIN_TEXT))?;
        require(socket.event_count() == 0, "no event beside the ack", || {
            format!("{:?}", socket.events())
        })?;
    }
    socket.emit("room", &[json!({ "roomid": room })])?;
    let event = socket.wait_event(context.wait(), "an event", |_| true)?;
    equal("the event", &event.name, &"login".to_owned())?;
    equal("its arguments", &event.args, &vec![json!(LOGIN_TEXT)])?;
    witness.say(room, "alone")?;
    let rosters: Vec<usize> = witness
        .socket
        .events()
        .iter()
        .filter(|event| crate::client::chat::is_roster_of(event, room))
        .map(|event| crate::client::chat::roster_ids(event.arg(0)).len())
        .collect();
    require(rosters.iter().all(|&users| users == 1), "nobody entered the room", || {
        format!("rosters of {rosters:?} users")
    })
}

fn long_name(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let name = "é".repeat(1_000);
    guest.emit(&name, json!({}))?;
    let error = guest.event("chat_error")?;
    let wanted: String = name.chars().take(64).collect();
    equal("event", &error.arg(0)["event"], &json!(wanted))
}

fn unknown_event(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    for name in ["", "Login", "messages", "chat_error", "count", "presence", "__proto__", "a b"] {
        refuses(&guest.ask(name, json!({}))?, "unknown_event")?;
    }
    refuses(&guest.ask("nope", json!("no object"))?, "unknown_event")?;
    let anonymous = context.socket()?;
    refuses(&anonymous.ask("nope", &[json!({})], context.wait())?, "unknown_event")
}

fn bad_argument(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    for name in ["login", "room", "roomout", "message"] {
        for arg in
            [json!(null), json!("1"), json!(1), json!([]), json!([{ "roomid": 1 }]), json!(true)]
        {
            let answer = guest.ask(name, arg.clone())?;
            require(answer["code"] == json!("invalid_argument"), "invalid_argument", || {
                format!("{answer} for {name} with {arg}")
            })?;
        }
    }
    for name in ["room", "roomout", "message"] {
        refuses(&guest.socket.ask(name, &[], context.wait())?, "invalid_argument")?;
    }
    accepts(&guest.socket.ask("login", &[], context.wait())?)
}

fn order_of_errors(context: &Context) -> Outcome {
    let room = context.room()?;
    let socket = context.socket()?;
    let ask = |name: &str, arg: Value| socket.ask(name, &[arg], context.wait());
    context.step("without identity, with bad arguments, unknown rooms and unknown events");
    refuses(&ask("room", json!({ "roomid": "x" }))?, "unauthenticated")?;
    refuses(&ask("message", json!({ "roomid": 0, "msg": 1 }))?, "unauthenticated")?;
    refuses(&ask("message", json!("x"))?, "invalid_argument")?;
    refuses(&ask("shout", json!("x"))?, "unknown_event")?;
    let guest = context.guest("guest")?;
    let unknown = unknown_room(room);
    context.step("with identity, outside the room");
    refuses(&guest.ask("message", json!({ "roomid": unknown, "msg": 1 }))?, "invalid_argument")?;
    let answer = guest.ask("message", message(unknown, "x"))?;
    refuses_as(&answer, "unknown_room or not_member")?;
    let other = context.observer("other")?;
    other.join(room)?;
    refuses(&guest.ask("message", json!({ "roomid": room, "msg": "" }))?, "invalid_argument")?;
    refuses(&guest.ask("message", message(room, "x"))?, "not_member")
}

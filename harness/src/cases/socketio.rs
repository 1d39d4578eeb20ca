//! Chapter 3: packets, connect, namespaces.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_codec::engine::Packet;
use throng_codec::socket as sio;

use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::Trouble;
use crate::client::options::{Options, Transport};
use crate::client::socket::Socket;
use crate::combo::{Combo, E4W, EIO3, EIO4, EVERY};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, equal, fail, require};

const ONLY_E4W: &[Combo] = &[E4W];
const CLOSES: Duration = Duration::from_secs(3);

pub const CASES: &[Case] = &[
    case(
        "sio.malformed",
        &["SIO-5", "SIO-6", "SIO-2", "LIM-45"],
        EVERY,
        &[],
        (
            "sends packets that are empty, of unknown types, with bad JSON or text after the JSON",
            "the session is closed: code 1008, by polling the close packet or an unknown sid",
        ),
        malformed,
    ),
    case(
        "sio.wrong-payloads",
        &["SIO-7", "SIO-8", "SIO-9", "SIO-6"],
        EVERY,
        &[],
        (
            "sends an EVENT without a name or array, an ACK without an array, a DISCONNECT with a payload",
            "the session is closed for each",
        ),
        wrong_payloads,
    ),
    case(
        "sio.bad-connect",
        &["SIO-9"],
        EIO4,
        &[],
        (
            "sends CONNECT with an array, a string, a boolean and half an object",
            "the session is closed for each",
        ),
        bad_connect,
    ),
    case(
        "sio.depth",
        &["SIO-10"],
        EVERY,
        &[],
        (
            "sends JSON of 30 levels, then of 200",
            "the first is accepted, the second closes the session",
        ),
        depth,
    ),
    case(
        "sio.big-ack-id",
        &["SIO-11"],
        EVERY,
        &[],
        ("sends an ack id of 25 digits", "the session is closed"),
        big_ack_id,
    ),
    case(
        "sio.ack-ids",
        &["SIO-11", "SIO-40"],
        EVERY,
        &[Need::Application],
        ("asks with the ids 0, 1, 4294967296 and 9007199254740991", "each is answered with its id"),
        ack_ids,
    ),
    case(
        "sio.packet-form",
        &["SIO-1", "SIO-3", "SIO-4", "SIO-2"],
        EVERY,
        &[],
        (
            "connects to namespaces with queries and without, with and without a comma",
            "the namespace ends at the comma, the query is no part of it, / is never written",
        ),
        packet_form,
    ),
    case(
        "sio.eio3-connect",
        &["SIO-12", "SIO-13"],
        EIO3,
        &[],
        ("opens a session", "40 right after the open packet, without a payload"),
        eio3_connect,
    ),
    case(
        "sio.connect",
        &["SIO-14", "SIO-22"],
        EIO4,
        &[],
        (
            "connects with 40 and with 40{…}",
            "40 with a sid of 20 characters that is not the engine's, unique, within 1 s",
        ),
        connect,
    ),
    case(
        "sio.silent-before-connect",
        &["SIO-15"],
        EIO4,
        &[],
        ("opens a session and waits", "no Socket.IO packet before CONNECT"),
        silent_before_connect,
    ),
    case(
        "sio.connect-timeout",
        &["SIO-16", "LIM-6", "LIM-52"],
        ONLY_E4W,
        &[],
        ("never sends CONNECT but answers pings", "close code 4003"),
        connect_timeout,
    ),
    case(
        "sio.event-before-connect",
        &["SIO-17", "LIM-45"],
        EIO4,
        &[],
        ("sends an event before CONNECT", "the session is closed with 1008"),
        event_before_connect,
    ),
    case(
        "sio.second-connect",
        &["SIO-20"],
        EIO4,
        &[],
        ("connects twice", "the same socket id again, or code 1008"),
        second_connect,
    ),
    case(
        "sio.eio3-connect-ignored",
        &["SIO-21"],
        EIO3,
        &[],
        ("sends CONNECT on Engine.IO 3", "it is ignored, the session goes on"),
        eio3_connect_ignored,
    ),
    case(
        "sio.namespace-refused",
        &["SIO-30", "SIO-35"],
        EIO4,
        &[],
        (
            "connects to /custom-nope before and after /",
            "CONNECT_ERROR with {\"message\":\"Invalid namespace\"}, and / still connects",
        ),
        namespace_refused,
    ),
    case(
        "sio.eio3-namespace-refused",
        &["SIO-31"],
        EIO3,
        &[],
        ("connects to another namespace", "44/…,\"Invalid namespace\", and the session goes on"),
        eio3_namespace_refused,
    ),
    case(
        "sio.event-elsewhere",
        &["SIO-32"],
        EIO4,
        &[],
        ("sends an EVENT and an ACK to a namespace that is not connected", "the session is closed"),
        event_elsewhere,
    ),
    case(
        "sio.eio3-event-elsewhere",
        &["SIO-33"],
        EIO3,
        &[],
        (
            "sends an EVENT to a namespace that is not connected",
            "it is ignored, or the session is closed; nothing answers it",
        ),
        eio3_event_elsewhere,
    ),
    case(
        "sio.long-namespace",
        &["SIO-34"],
        EVERY,
        &[],
        ("connects to a namespace of 50000 characters", "the refusal names at most 256 of them"),
        long_namespace,
    ),
    case(
        "sio.utf8-json",
        &["SIO-49", "SIO-44", "SIO-48"],
        EVERY,
        &[Need::Chat],
        (
            "lets two users chat beyond ASCII and listens",
            "valid UTF-8 and JSON, no ack id of the server's own, no reserved event name",
        ),
        utf8_json,
    ),
    case(
        "sio.no-disconnect",
        &["SIO-66", "SIO-48"],
        EVERY,
        &[],
        ("listens to a session that is closed for a fault", "no packet 41"),
        no_disconnect,
    ),
];

/// Sends text as an Engine.IO message on a connected session and sees the session end.
pub fn kills_session(context: &Context, text: &str, code: u16) -> Outcome {
    context.step(format!("sends 4{text}"));
    match context.combo.transport {
        Transport::Websocket => {
            let (mut socket, _) = context.connected_websocket()?;
            socket.send(&format!("4{text}"))?;
            closes_with(&mut socket, code, CLOSES)
        }
        Transport::Polling => {
            let poller = context.poller()?;
            poller.connect()?;
            // A server may see the fault while it reads the POST, or after it said ok.
            let _ = poller.post_message(text);
            is_gone(&poller)
        }
    }
}

fn malformed(context: &Context) -> Outcome {
    for text in
        ["", "7", "9[]", "x", "2[\"a\"", "2[\"a\"]x", "2{\"a\":1}", "2[\"a\",}", "2[\"\\ud\"]"]
    {
        kills_session(context, text, 1008)?;
    }
    Ok(())
}

fn wrong_payloads(context: &Context) -> Outcome {
    for text in ["2", "2[]", "2\"a\"", "2[{}]", "2[null]", "31{}", "31", "1{}", "1[\"x\"]"] {
        kills_session(context, text, 1008)?;
    }
    Ok(())
}

fn bad_connect(context: &Context) -> Outcome {
    for text in ["40[]", "40\"token\"", "40true", "40{"] {
        context.step(format!("sends {text}"));
        match context.combo.transport {
            Transport::Websocket => {
                let (mut socket, _) = context.bare_websocket()?;
                socket.send(text)?;
                closes_with(&mut socket, 1008, CLOSES)?;
            }
            Transport::Polling => {
                let poller = context.poller()?;
                let _ = poller.post_message(&text[1..]);
                is_gone(&poller)?;
            }
        }
    }
    Ok(())
}

fn nested(levels: usize) -> String {
    // The event's own array is the first level.
    let inner = levels - 1;
    format!("2[\"nope\",{}{}]", "[".repeat(inner), "]".repeat(inner))
}

fn depth(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_engine(&Packet::message(nested(30)))?;
    socket.send_engine(&Packet::message(ASK))?;
    socket.wait_packet(context.wait(), "an answer", |packet| packet.namespace == "/nope")?;
    kills_session(context, &nested(200), 1008)
}

fn big_ack_id(context: &Context) -> Outcome {
    kills_session(context, "29999999999999999999999999[\"nope\",{}]", 1008)
}

fn ack_ids(context: &Context) -> Outcome {
    let (socket, name) = asking_socket(context)?;
    for id in [0, 1, 4_294_967_296, 9_007_199_254_740_991] {
        let packet = sio::Packet::event(name, &[json!({})]).with_id(id);
        socket.send_packet(&packet)?;
        socket.wait_ack(id, context.wait())?;
    }
    context.pause(QUIET);
    let ids: Vec<u64> = socket.acks().iter().map(|(id, ..)| *id).collect();
    equal("the ids of the acks", &ids, &vec![0, 1, 4_294_967_296, 9_007_199_254_740_991])
}

/// A session and an event that it may ask an acknowledgement for.
pub fn asking_socket(context: &Context) -> Result<(Socket, &'static str), crate::outcome::Stop> {
    if context.capabilities().chat {
        let user = context.user()?;
        let options = Options { token: Some(user.token), ..context.options() };
        return Ok((Socket::connect(context.target(), options, &context.log)?, "login"));
    }
    Ok((context.socket()?, "message-with-ack"))
}

fn packet_form(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for (text, namespace) in
        [("0/a,", "/a"), ("0/b", "/b"), ("0/c?x=1&y=2,", "/c"), ("0/d/e-f,", "/d/e-f")]
    {
        socket.send_engine(&Packet::message(text))?;
        socket.wait_packet(context.wait(), &format!("the answer for {namespace}"), |packet| {
            packet.namespace == namespace && packet.kind == sio::Kind::ConnectError
        })?;
    }
    let lines = context.transcript.lines();
    let explicit = lines.iter().any(|line| {
        line.direction == crate::client::transcript::Direction::Received
            && ["40/,", "42/,", "43/,", "44/,"].iter().any(|form| line.text.contains(form))
    });
    require(!explicit, "no packet names the namespace /", || "one does".to_owned())
}

fn eio3_connect(context: &Context) -> Outcome {
    match context.combo.transport {
        Transport::Polling => {
            let poller = context.poller()?;
            let first = texts(&poller.first);
            equal("the packets after the open packet", &first, &vec!["40".to_owned()])
        }
        // The helper insists on 40 as the second frame.
        Transport::Websocket => context.bare_websocket().map(|_| ()).map_err(Into::into),
    }
}

fn connect(context: &Context) -> Outcome {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut ids = Vec::new();
    for auth in [None, Some(json!({})), Some(json!({ "token": "nobody's", "x": [1, 2] }))] {
        let options = Options { auth, ..context.options() };
        let before = Instant::now();
        let socket = Socket::connect(context.target(), options, &context.log)?;
        let took = before.elapsed();
        let id = socket.id();
        require(id.len() == 20 && id.chars().all(plain), "an id of 20 plain characters", || {
            id.clone()
        })?;
        require(id != socket.open().sid, "an id that is not the engine's sid", || id.clone())?;
        require(!ids.contains(&id), "an id of its own", || id.clone())?;
        require(took < Duration::from_millis(1_500), "an answer within 1 s", || {
            format!("{took:?}")
        })?;
        ids.push(id);
    }
    Ok(())
}

fn silent_before_connect(context: &Context) -> Outcome {
    let options = Options { connects: false, ..context.options() };
    let socket = Socket::connect(context.target(), options, &context.log)?;
    context.pause(QUIET * 2);
    let lines = context.transcript.lines();
    let early = lines.iter().find(|line| {
        line.direction == crate::client::transcript::Direction::Received
            && (line.text.starts_with('4') || line.text.contains("HTTP 200 4"))
    });
    require(early.is_none(), "no Socket.IO packet", || format!("{early:?}"))?;
    drop(socket);
    Ok(())
}

fn connect_timeout(context: &Context) -> Outcome {
    // Not announced: the default is 45 s, a target set to less closes sooner.
    let patience =
        if context.run.slow { Duration::from_secs(50) } else { Duration::from_millis(6_000) };
    let (mut socket, _) = context.bare_websocket()?;
    let start = Instant::now();
    while start.elapsed() < patience {
        match socket.receive_text(Duration::from_millis(200)) {
            Ok(text) if text == "2" => socket.send("3")?,
            Ok(_) | Err(Trouble::Timeout(_)) => {}
            Err(_) => {
                let code = socket.closed().map_or(1006, |close| close.code);
                return equal("the close code", &code, &4003);
            }
        }
    }
    if context.run.slow {
        return fail("close code 4003", format!("the session is open after {patience:?}"));
    }
    crate::outcome::skip(format!(
        "the target waits longer than {patience:?} for CONNECT; run with --slow"
    ))
}

fn event_before_connect(context: &Context) -> Outcome {
    match context.combo.transport {
        Transport::Websocket => {
            let (mut socket, _) = context.bare_websocket()?;
            socket.send("42[\"message\",{}]")?;
            closes_with(&mut socket, 1008, CLOSES)
        }
        Transport::Polling => {
            let poller = context.poller()?;
            let _ = poller.post_message("2[\"message\",{}]");
            is_gone(&poller)
        }
    }
}

fn second_connect(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let first = socket.id();
    // By polling the POST itself may be refused.
    let _ = socket.send_engine(&Packet::message("0"));
    if let Some(ending) = socket.wait_end(Duration::from_millis(700)) {
        let wanted = context.combo.transport == Transport::Polling || ending.code == 1008;
        return require(wanted, "code 1008", || format!("{ending:?}"));
    }
    let again = socket
        .wait_packet(Duration::ZERO, "CONNECT", |packet| packet.kind == sio::Kind::Connect)?;
    let id = again.data.and_then(|data| data["sid"].as_str().map(str::to_owned));
    equal("the socket id", &id, &Some(first))
}

fn eio3_connect_ignored(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_engine(&Packet::message("0"))?;
    socket.send_engine(&Packet::message(ASK))?;
    socket.wait_packet(context.wait(), "an answer", |packet| packet.namespace == "/nope")?;
    let again = socket.wait_packet(Duration::ZERO, "", |packet| packet.kind == sio::Kind::Connect);
    require(again.is_err(), "no answer to CONNECT", || format!("{again:?}"))
}

fn is_refusal(packet: &sio::Packet, namespace: &str, data: &Value) -> bool {
    packet.kind == sio::Kind::ConnectError
        && packet.namespace == namespace
        && packet.data.as_ref() == Some(data)
}

fn namespace_refused(context: &Context) -> Outcome {
    let options = Options { connects: false, ..context.options() };
    let socket = Socket::connect(context.target(), options, &context.log)?;
    let refusal = json!({ "message": "Invalid namespace" });
    socket.send_engine(&Packet::message("0/custom-nope,"))?;
    socket.wait_packet(context.wait(), "CONNECT_ERROR", |packet| {
        is_refusal(packet, "/custom-nope", &refusal)
    })?;
    socket.send_engine(&Packet::message("0"))?;
    context.eventually("CONNECT for / is answered", || {
        Ok((socket.id() != socket.open().sid).then_some(()))
    })?;
    socket.send_engine(&Packet::message("0/after-nope,{\"token\":\"x\"}"))?;
    socket.wait_packet(context.wait(), "CONNECT_ERROR", |packet| {
        is_refusal(packet, "/after-nope", &refusal)
    })?;
    require(socket.is_open(), "the session goes on", || format!("{:?}", socket.ending()))
}

fn eio3_namespace_refused(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for namespace in ["/custom-nope", "/admin?x=1"] {
        socket.send_engine(&Packet::message(format!("0{namespace},")))?;
        let name = namespace.split('?').next().unwrap_or(namespace);
        socket.wait_packet(context.wait(), "the refusal", |packet| {
            is_refusal(packet, name, &json!("Invalid namespace"))
        })?;
    }
    require(socket.is_open(), "the session goes on", || format!("{:?}", socket.ending()))
}

fn event_elsewhere(context: &Context) -> Outcome {
    for text in [
        "2/nope,[\"message\",{}]",
        "3/nope,1[]",
        "51-/nope,[\"a\",{\"_placeholder\":true,\"num\":0}]",
    ] {
        kills_session(context, text, 1008)?;
    }
    Ok(())
}

fn eio3_event_elsewhere(context: &Context) -> Outcome {
    let socket = context.socket()?;
    // By polling the POST itself may be refused.
    let _ = socket.send_engine(&Packet::message("2/nope,7[\"message\",{}]"));
    context.pause(QUIET);
    let answered = socket.wait_packet(Duration::ZERO, "", |packet| packet.namespace == "/nope");
    require(answered.is_err() && socket.acks().is_empty(), "no answer", || format!("{answered:?}"))
}

fn long_namespace(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let name = format!("/{}", "n".repeat(50_000));
    socket.send_engine(&Packet::message(format!("0{name},")))?;
    let answer = socket.wait_packet(context.wait(), "the refusal", |packet| {
        packet.kind == sio::Kind::ConnectError
    })?;
    let named = answer.namespace.chars().count();
    require(named <= 256, "a namespace of at most 256 characters", || {
        format!("{named} characters")
    })?;
    require(name.starts_with(&answer.namespace), "the first characters of it", || {
        answer.namespace.clone()
    })
}

fn utf8_json(context: &Context) -> Outcome {
    let room = context.room()?;
    let (one, two) = (context.guest("one")?, context.observer("two")?);
    one.join(room)?;
    two.join(room)?;
    for text in ["你好 😀 é", "\u{0} \u{1f} \u{7f}", "\"quoted\\ \\u0041", "a\u{2028}b\u{fffd}"]
    {
        one.say(room, text)?;
        two.message_with(text)?;
    }
    one.leave(room)?;
    // Whatever is not UTF-8 or JSON ends the client's session with a protocol error.
    for chat in [&one, &two] {
        require(chat.socket.is_open(), "only valid packets", || {
            format!("{:?}", chat.socket.ending())
        })?;
        let events = chat.socket.events();
        let asking = events.iter().find(|event| event.id.is_some());
        require(asking.is_none(), "no ack id from the server", || format!("{asking:?}"))?;
        let reserved = events.iter().find(|event| {
            matches!(
                event.name.as_str(),
                "connect"
                    | "connect_error"
                    | "disconnect"
                    | "disconnecting"
                    | "newListener"
                    | "removeListener"
            )
        });
        require(reserved.is_none(), "no event with a reserved name", || format!("{reserved:?}"))?;
    }
    Ok(())
}

fn no_disconnect(context: &Context) -> Outcome {
    let socket = context.socket()?;
    context.pause(QUIET);
    let events = socket.events();
    let greeting = events.iter().find(|event| event.name == "connect");
    require(greeting.is_none(), "no event connect", || format!("{greeting:?}"))?;
    let _ = socket.send_engine(&Packet::message("9"));
    socket.wait_end(Duration::from_secs(3));
    let farewell =
        socket.wait_packet(Duration::ZERO, "", |packet| packet.kind == sio::Kind::Disconnect);
    require(farewell.is_err(), "no packet 41", || format!("{farewell:?}"))
}

//! Chapter 2: handshake, packets, closing.

use std::collections::BTreeSet;
use std::time::Duration;

use throng_codec::engine::{Data, Frame, Kind, Packet, Protocol};
use throng_codec::payload::{self, Body};

use super::support::*;
use crate::capabilities::Need;
use crate::case::{Case, case};
use crate::client::Trouble;
use crate::client::chat::message;
use crate::client::http::Request;
use crate::client::options::Transport;
use crate::combo::{Combo, E3P, E3W, EIO4, EVERY, POLLING, WEBSOCKET};
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, equal, fail, require};

const CLOSES: Duration = Duration::from_secs(3);
const ONLY_E3W: &[Combo] = &[E3W];
const ONLY_E3P: &[Combo] = &[E3P];

pub const CASES: &[Case] = &[
    case(
        "eio.open",
        &["EIO-1", "EIO-2", "EIO-4", "EIO-5"],
        EVERY,
        &[],
        (
            "opens a session",
            "an open packet with sid of 20 characters, upgrades by transport, heartbeat times and maxPayload",
        ),
        open,
    ),
    case(
        "eio.sids-differ",
        &["EIO-3", "EIO-6"],
        EVERY,
        &[],
        ("opens 60 sessions", "60 sids, no two alike, none with long parts in common"),
        sids_differ,
    ),
    case(
        "eio.sid-is-secret",
        &["EIO-6", "CHAT-9", "REST-23"],
        EIO4,
        &[Need::Chat],
        (
            "lets three users chat and looks through all that each receives",
            "no sid, no token and no e-mail of another user",
        ),
        sid_is_secret,
    ),
    case(
        "eio.malformed",
        &["EIO-11", "EIO-12", "LIM-45"],
        WEBSOCKET,
        &[],
        ("sends text packets that are none", "close code 1008 for each"),
        malformed,
    ),
    case(
        "eio.binary",
        &["EIO-14", "SIO-50", "SIO-55"],
        EIO4,
        &[Need::Chat],
        ("sends a binary event with two attachments", "they are taken for its attachments"),
        binary_event,
    ),
    case(
        "eio.binary-eio3",
        &["EIO-15", "EIO-32", "SIO-50", "SIO-55"],
        crate::combo::EIO3,
        &[Need::Chat],
        ("sends a binary event with two attachments", "they are taken for its attachments"),
        binary_event,
    ),
    case(
        "eio.binary-payload-attachments",
        &["EIO-33"],
        ONLY_E3P,
        &[Need::Chat],
        ("posts a binary event with its attachment as a binary payload", "it is taken for one"),
        binary_payload_attachments,
    ),
    case(
        "eio.bad-binary",
        &["EIO-16"],
        ONLY_E3W,
        &[],
        ("sends an empty binary message, and one with the type 7", "close code 1008"),
        bad_binary,
    ),
    case(
        "eio.binary-answers",
        &["EIO-35", "EIO-14", "EIO-15"],
        EVERY,
        &[Need::Echo],
        ("sends binary to an echo", "it comes back in the form of protocol, transport and b64"),
        binary_answers,
    ),
    case(
        "eio.ignored-packets",
        &["EIO-17"],
        EVERY,
        &[],
        ("sends open, upgrade and noop packets", "they are ignored and the session goes on"),
        ignored_packets,
    ),
    case(
        "eio.one-open-no-upgrade",
        &["EIO-18", "EIO-10"],
        EVERY,
        &[],
        ("listens to a session for a while", "one open packet and no upgrade packet"),
        one_open,
    ),
    case(
        "eio.many-in-one-payload",
        &["EIO-30", "EIO-31"],
        POLLING,
        &[],
        ("posts three packets in one body", "all three take effect, and the answers decode"),
        many_in_one,
    ),
    case(
        "eio.utf16-lengths",
        &["EIO-31"],
        ONLY_E3P,
        &[Need::Chat],
        (
            "sends and receives text beyond ASCII, inside and outside the basic plane, by polling",
            "lengths in UTF-16 code units both ways",
        ),
        utf16_lengths,
    ),
    case(
        "eio.order",
        &["EIO-40", "CHAT-62"],
        EVERY,
        &[Need::Chat],
        ("sends 40 messages as fast as it can", "each comes back once, in order"),
        order,
    ),
    case(
        "eio.close-by-post",
        &["EIO-90", "EIO-95"],
        POLLING,
        &[],
        (
            "posts a close packet while a poll is held",
            "ok for the POST, a noop for the poll, and an unknown sid afterwards",
        ),
        close_by_post,
    ),
    case(
        "eio.close-on-websocket",
        &["EIO-91", "LIM-40"],
        WEBSOCKET,
        &[],
        ("sends a close packet", "close code 1000"),
        close_on_websocket,
    ),
    case(
        "eio.close-while-polling",
        &["EIO-92", "EIO-12"],
        POLLING,
        &[],
        (
            "posts a malformed Socket.IO packet while a poll is held",
            "the poll ends with the close packet",
        ),
        close_while_polling,
    ),
    case(
        "eio.close-between-polls",
        &["EIO-93", "SIO-5"],
        POLLING,
        &[],
        ("posts a malformed Socket.IO packet while no poll is held", "the sid is unknown"),
        close_between_polls,
    ),
    case(
        "eio.dead-connection",
        &["EIO-96", "CHAT-80", "PRES-27"],
        WEBSOCKET,
        &[Need::Chat],
        ("ends TCP with FIN, and with RST, from inside a room", "the others see the member leave"),
        dead_connection,
    ),
];

fn open(context: &Context) -> Outcome {
    let by_polling = context.combo.transport == Transport::Polling;
    let open = if by_polling { context.poller()?.open } else { context.bare_websocket()?.1 };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    require(
        open.sid.len() == 20 && open.sid.chars().all(plain),
        "a sid of 20 characters of A-Z a-z 0-9 - _",
        || open.sid.clone(),
    )?;
    let wanted: Vec<String> = if by_polling { vec!["websocket".to_owned()] } else { Vec::new() };
    equal("upgrades", &open.upgrades, &wanted)?;
    require(
        !open.ping_interval.is_zero() && !open.ping_timeout.is_zero(),
        "pingInterval and pingTimeout above 0",
        || open.raw.to_string(),
    )?;
    require(open.max_payload.is_some_and(|max| max > 0), "maxPayload above 0", || {
        open.raw.to_string()
    })
}

fn sids_differ(context: &Context) -> Outcome {
    let mut sids = BTreeSet::new();
    for _ in 0..60 {
        let sid = match context.combo.transport {
            Transport::Polling => context.poller()?.sid,
            Transport::Websocket => context.bare_websocket()?.1.sid,
        };
        require(sids.insert(sid.clone()), "a new sid", || format!("{sid} a second time"))?;
    }
    let tails: BTreeSet<&str> = sids.iter().filter_map(|sid| sid.get(8..14)).collect();
    require(tails.len() > 50, "sids that cannot be guessed from each other", || format!("{sids:?}"))
}

fn sid_is_secret(context: &Context) -> Outcome {
    let room = context.room()?;
    let guests = [context.guest("one")?, context.guest("two")?, context.guest("three")?];
    for guest in &guests {
        guest.ask("login", serde_json::json!({ "api_token": guest.user.token }))?;
        guest.join(room)?;
        guest.say(room, "hello")?;
    }
    guests[2].leave(room)?;
    guests[0].say(room, "last")?;
    guests[1].message_with("last")?;
    for guest in &guests {
        let mut seen: Vec<String> =
            guest.socket.events().iter().map(|event| format!("{:?}", event.args)).collect();
        seen.extend(guest.socket.acks().iter().map(|(_, answer, _)| answer.to_string()));
        let seen = seen.join("\n");
        for other in &guests {
            let sid = other.socket.open().sid;
            let own = other.user.id == guest.user.id;
            require(!seen.contains(&sid), "no sid", || format!("the sid of {}", other.user.name))?;
            require(!seen.contains(&other.user.token), "no token", || {
                format!("the token of {}", other.user.name)
            })?;
            require(own || !seen.contains(&other.user.email), "no e-mail of others", || {
                format!("the e-mail {}", other.user.email)
            })?;
        }
    }
    Ok(())
}

fn malformed(context: &Context) -> Outcome {
    for text in ["", "7", "9x", "x", "-1", "😀", " 2", "a4"] {
        context.step(format!("sends {text:?}"));
        let (mut socket, _) = context.connected_websocket()?;
        socket.send(text)?;
        closes_with(&mut socket, 1008, CLOSES)?;
    }
    Ok(())
}

/// An event with two attachments, acked as `binary_unsupported`, and the session lives on.
fn binary_event(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    let head = Packet::message(format!("52-7[\"message\",{placeholders}]"));
    guest.socket.send_engine(&head)?;
    guest.socket.send_engine(&Packet::binary([1, 2, 3]))?;
    context.pause(QUIET);
    let early = guest.socket.acks();
    require(early.is_empty(), "no answer before the last attachment", || format!("{early:?}"))?;
    if context.combo == E3W {
        context.step("the second attachment as base64 in a text frame");
        guest.socket.send_text("b4//4=")?;
    } else {
        guest.socket.send_engine(&Packet::binary([255, 254]))?;
    }
    let answer = guest.socket.wait_ack(7, context.wait())?;
    refuses(&answer, "binary_unsupported")?;
    accepts(&guest.ask("login", serde_json::json!({}))?)
}

fn binary_payload_attachments(context: &Context) -> Outcome {
    let user = context.user()?;
    let poller = context.poller_with(&format!("&api_token={}", user.token))?;
    let packets = [
        Packet::message(r#"51-3["message",{"_placeholder":true,"num":0}]"#),
        Packet::binary([9, 8, 7]),
    ];
    let body = payload::encode_octets(&packets);
    let path = poller.path();
    let headers = &[("Content-Type", "application/octet-stream")];
    status(&context.fetch(&Request { method: "POST", path: &path, headers, body: &body })?, 200)?;
    let seen = texts(&poller.poll()?).concat();
    require(
        seen.contains("433[") && seen.contains("binary_unsupported"),
        "ack 3 with binary_unsupported",
        || seen.clone(),
    )
}

fn bad_binary(context: &Context) -> Outcome {
    for bytes in [vec![], vec![7, 1, 2]] {
        let (mut socket, _) = context.connected_websocket()?;
        socket.send_frame(&Frame::Binary(bytes))?;
        closes_with(&mut socket, 1008, CLOSES)?;
    }
    Ok(())
}

fn binary_answers(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_engine(&Packet::message(r#"51-["message",{"_placeholder":true,"num":0}]"#))?;
    socket.send_engine(&Packet::binary([1, 2, 3, 4]))?;
    context.eventually("the attachment comes back", || {
        Ok(socket.binaries().contains(&vec![1, 2, 3, 4]).then_some(()))
    })?;
    if context.combo == E3P {
        context.step("with b64=1 the answer is text");
        let poller = context.poller_with("&b64=1")?;
        let packets = [
            Packet::message(r#"51-["message",{"_placeholder":true,"num":0}]"#),
            Packet::binary([1, 2, 3, 4]),
        ];
        poller.post_packets(&packets)?;
        for _ in 0..4 {
            let response = poller.get()?;
            require(response.has_type("text/plain"), "a text payload", || {
                format!("{:?}", response.header("content-type"))
            })?;
            let body = Body::Text(response.text());
            let packets = payload::decode(Protocol::Eio3, &body)
                .map_err(|why| Trouble::Protocol(why.to_string()))?;
            if packets.iter().any(|packet| packet.data == Data::Binary(vec![1, 2, 3, 4])) {
                return Ok(());
            }
        }
        return fail("the attachment in base64", "it did not come");
    }
    Ok(())
}

fn ignored_packets(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for kind in [Kind::Open, Kind::Upgrade, Kind::Noop] {
        socket.send_engine(&Packet::text(kind, ""))?;
    }
    context.pause(QUIET);
    require(socket.is_open(), "the session goes on", || format!("{:?}", socket.ending()))?;
    socket.send_engine(&Packet::message(ASK))?;
    socket.wait_packet(context.wait(), "an answer", |packet| packet.namespace == "/nope")?;
    Ok(())
}

fn one_open(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for index in 0..5 {
        socket.send_engine(&Packet::message(format!("0/n{index},")))?;
    }
    socket.wait_packet(context.wait(), "the last answer", |packet| packet.namespace == "/n4")?;
    context.pause(QUIET);
    let upgrade = socket.wait_engine(Duration::ZERO, Kind::Upgrade);
    require(upgrade.is_err(), "no upgrade packet", || "an upgrade packet".to_owned())?;
    let lines = context.transcript.lines();
    let opens = lines.iter().filter(|line| line.text.contains("\"pingInterval\"")).count();
    equal("the number of open packets", &opens, &1)
}

fn many_in_one(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let packets: Vec<Packet> = (0..3).map(|n| Packet::message(format!("0/m{n},"))).collect();
    status(&poller.post_packets(&packets)?, 200)?;
    let mut seen = String::new();
    for _ in 0..4 {
        seen.push_str(&texts(&poller.poll()?).concat());
        if seen.contains("44/m2,") {
            break;
        }
    }
    require((0..3).all(|n| seen.contains(&format!("44/m{n},"))), "three answers", || seen.clone())
}

fn utf16_lengths(context: &Context) -> Outcome {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    let user = context.user()?;
    let poller = context.poller_with(&format!("&api_token={}", user.token))?;
    poller.post_message(&format!("2[\"room\",{{\"roomid\":{room}}}]"))?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    let text = "hi ü☃😀 你好";
    poller.post_message(&format!("2[\"message\",{}]", message(room, text)))?;
    witness.message_with(text)?;
    let mut seen = String::new();
    for _ in 0..5 {
        // A wrong length makes the payload undecodable here.
        seen.push_str(&texts(&poller.poll()?).concat());
        if seen.contains("☃😀") {
            return Ok(());
        }
    }
    fail("the message by polling", seen)
}

fn order(context: &Context) -> Outcome {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    let texts: Vec<String> = (0..40).map(|index| format!("number {index}")).collect();
    for text in &texts {
        guest.emit("message", message(room, text))?;
    }
    guest.message_with("number 39")?;
    let observed: Vec<String> = guest
        .messages(room)
        .iter()
        .map(|event| event["msg"].as_str().unwrap_or("").to_owned())
        .collect();
    equal("the messages", &observed, &texts)
}

fn close_by_post(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.post_message(ASK)?;
    poller.poll()?;
    let mut held = context.connection()?;
    held.send(&Request::get(&poller.path()))?;
    context.pause(QUIET);
    let response = poller.post_packets(&[Packet::text(Kind::Close, "")])?;
    status(&response, 200)?;
    equal("the body", &response.text(), &"ok".to_owned())?;
    let answer = held.receive(context.wait())?;
    status(&answer, 200)?;
    let packets = poller.decode(&answer)?;
    let kinds: Vec<Kind> = packets.iter().map(|packet| packet.kind).collect();
    equal("the packets of the held poll", &kinds, &vec![Kind::Noop])?;
    is_gone(&poller)
}

fn close_on_websocket(context: &Context) -> Outcome {
    let (mut socket, _) = context.connected_websocket()?;
    socket.send("1")?;
    closes_with(&mut socket, 1000, CLOSES)
}

fn close_while_polling(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.connect()?;
    poller.post_message(ASK)?;
    poller.poll()?;
    let mut held = context.connection()?;
    held.send(&Request::get(&poller.path()))?;
    context.pause(QUIET);
    // The session ends; whether the POST still gets ok does not matter here.
    let _ = poller.post_message("9");
    let answer = held.receive(context.wait())?;
    status(&answer, 200)?;
    let packets = poller.decode(&answer)?;
    let last = packets.last().map(|packet| packet.kind);
    equal("the last packet of the held poll", &last, &Some(Kind::Close))?;
    is_gone(&poller)
}

fn close_between_polls(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.connect()?;
    let _ = poller.post_message("2{}");
    is_gone(&poller)
}

fn dead_connection(context: &Context) -> Outcome {
    let room = context.room()?;
    let mut witness = context.observer("witness")?;
    witness.join(room)?;
    // Later the heartbeat would end the session, of a server that has not seen the connection end too.
    witness.wait = witness.wait.min(context.capabilities().ping_timeout().mul_f64(0.8));
    for reset in [false, true] {
        context.step(if reset { "RST" } else { "FIN" });
        let mut guest = context.guest("guest")?;
        guest.join(room)?;
        witness.roster_of(room, &[witness.user.id, guest.user.id])?;
        if reset {
            guest.socket.reset();
        } else {
            guest.socket.hang_up();
        }
        let event = witness.roster_of(room, &[witness.user.id])?;
        equal("the event", &event.name, &"roomout".to_owned())?;
    }
    Ok(())
}

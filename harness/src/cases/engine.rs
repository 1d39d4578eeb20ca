//! Chapter 2: handshake, packets, closing.

use std::collections::BTreeSet;

use throng_codec::payload;

use super::prelude::*;

cases! {
    open "eio.open" ["EIO-1", "EIO-2", "EIO-4", "EIO-5"] over EVERY needs NOTHING
        does "opens a session"
        expects "an open packet with a sid of 20 characters, upgrades by transport, heartbeat times and maxPayload";
    sids_differ "eio.sids-differ" ["EIO-3", "EIO-6"] over EVERY needs NOTHING
        does "opens 60 sessions"
        expects "60 different sids without long common parts";
    sid_is_secret "eio.sid-is-secret" ["EIO-6", "CHAT-9", "REST-23"] over EIO4 needs CHAT_OF_NEW_USERS
        does "searches everything that three chatting users receive"
        expects "no sid, token or e-mail of another user";
    malformed "eio.malformed" ["EIO-11", "EIO-12", "LIM-45"] over WEBSOCKET needs NOTHING
        does "sends invalid text packets"
        expects "close code 1008 for each";
    binary_event "eio.binary" ["EIO-14", "SIO-50", "SIO-55"] over EIO4 needs CHAT
        does "sends a binary event with two attachments"
        expects "both are read as attachments of the event";
    binary_event "eio.binary-eio3" ["EIO-15", "EIO-32", "SIO-50", "SIO-55"] over EIO3 needs CHAT
        does "sends a binary event with two attachments"
        expects "both are read as attachments of the event";
    binary_payload_attachments "eio.binary-payload-attachments" ["EIO-33"] over ONLY_E3P needs CHAT
        does "posts a binary event and its attachment as one binary payload"
        expects "the attachment is read";
    bad_binary "eio.bad-binary" ["EIO-16"] over ONLY_E3W needs NOTHING
        does "sends an empty binary message, and one with packet type 7"
        expects "close code 1008";
    binary_answers "eio.binary-answers" ["EIO-35", "EIO-14", "EIO-15"] over EVERY needs ECHO
        does "sends binary data to an echo server"
        expects "it comes back in the form required by protocol, transport and b64";
    ignored_packets "eio.ignored-packets" ["EIO-17"] over EVERY needs NOTHING
        does "sends open, upgrade and noop packets"
        expects "they are ignored and the session stays usable";
    one_open "eio.one-open-no-upgrade" ["EIO-18", "EIO-10"] over EVERY needs NOTHING
        does "watches a session for a while"
        expects "exactly one open packet and no upgrade packet";
    many_in_one "eio.many-in-one-payload" ["EIO-30", "EIO-31"] over POLLING needs NOTHING
        does "posts three packets in one body"
        expects "all three take effect, and the answers can be decoded";
    utf16_lengths "eio.utf16-lengths" ["EIO-31"] over ONLY_E3P needs CHAT
        does "sends and receives non-ASCII text by polling, inside and outside the basic plane"
        expects "lengths count UTF-16 code units in both directions";
    order "eio.order" ["EIO-40", "CHAT-62"] over EVERY needs CHAT
        does "sends 40 messages as fast as possible"
        expects "each message comes back once, in order";
    close_by_post "eio.close-by-post" ["EIO-90", "EIO-95"] over POLLING needs NOTHING
        does "posts a close packet while a poll is held"
        expects "ok for the POST, a noop for the poll, and the sid is unknown afterwards";
    close_on_websocket "eio.close-on-websocket" ["EIO-91", "LIM-40"] over WEBSOCKET needs NOTHING
        does "sends a close packet"
        expects "close code 1000";
    close_while_polling "eio.close-while-polling" ["EIO-92", "EIO-12"] over POLLING needs NOTHING
        does "posts a malformed Socket.IO packet while a poll is held"
        expects "the held poll ends with the close packet";
    close_between_polls "eio.close-between-polls" ["EIO-93", "SIO-5"] over POLLING needs NOTHING
        does "posts a malformed Socket.IO packet while no poll is held"
        expects "the sid is unknown afterwards";
    dead_connection "eio.dead-connection" ["EIO-96", "CHAT-80", "PRES-27"] over WEBSOCKET needs CHAT
        does "ends TCP with FIN, then with RST, from a session in a room"
        expects "the other members see the user leave";
}

fn open(context: &Context) -> Outcome {
    let open = context.open()?;
    if context.judges("EIO-2") {
        is_plain_id("a sid", &open.sid)?;
    }
    let by_polling = context.combo.transport == Transport::Polling;
    let upgrades = if by_polling { json!(["websocket"]) } else { json!([]) };
    has_fields(&open.raw, json!({ "upgrades": upgrades }))?;
    for name in ["pingInterval", "pingTimeout", "maxPayload"] {
        let is_positive = open.raw[name].as_u64().is_some_and(|value| value > 0);
        require(is_positive, &format!("{name} above 0"), || open.raw.to_string())?;
    }
    Ok(())
}

fn sids_differ(context: &Context) -> Outcome {
    let mut sids = BTreeSet::new();
    for _ in 0..60 {
        let sid = context.open()?.sid;
        require(sids.insert(sid.clone()), "a new sid", || format!("{sid} a second time"))?;
    }
    let tails: BTreeSet<&str> = sids.iter().filter_map(|sid| sid.get(8..14)).collect();
    require(tails.len() > 50, "sids that cannot be guessed from each other", || format!("{sids:?}"))
}

fn sid_is_secret(context: &Context) -> Outcome {
    let room = context.room()?;
    let guests = [context.guest("one")?, context.guest("two")?, context.guest("three")?];
    for guest in &guests {
        guest.ask("login", json!({ "api_token": guest.user.token }))?;
        guest.join(room)?;
        guest.say(room, "hello")?;
    }
    guests[2].leave(room)?;
    guests[0].say_to(&guests[1], room, "last")?;
    for guest in &guests {
        let mut seen: Vec<String> =
            guest.socket.events().iter().map(|event| shown(&event.args)).collect();
        seen.extend(guest.socket.acks().iter().map(|(_, answer, _)| answer.to_string()));
        seen.push(guest.socket.id());
        seen.extend(guest.socket.others().iter().map(sio::encode));
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
        closes_after(context, 1008, |socket| socket.send(text))?;
    }
    Ok(())
}

/// An event with two attachments is acked as `binary_unsupported`, and the session stays usable.
fn binary_event(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    guest.socket.send_binary(&format!("52-7[\"message\",{placeholders}]"), &[&[1, 2, 3]])?;
    context.pause(QUIET);
    let early = guest.socket.acks().into_iter().map(|(id, answer, _)| (id, answer)).next();
    nothing("no answer before the last attachment", early)?;
    if context.combo == E3W {
        context.step("the second attachment as base64 in a text frame");
        guest.socket.send_text("b4//4=")?;
    } else {
        guest.socket.send_engine(&Packet::binary([255, 254]))?;
    }
    refuses(&guest.socket.wait_ack(7, context.wait())?, "binary_unsupported")?;
    accepts(&guest.ask("login", json!({}))?)
}

fn binary_payload_attachments(context: &Context) -> Outcome {
    let user = context.user()?;
    let poller = context.poller_of(&user)?;
    let head = Packet::message(r#"51-3["message",{"_placeholder":true,"num":0}]"#);
    let body = payload::encode_octets(&[head, Packet::binary([9, 8, 7])]);
    status(&poller.post_as("application/octet-stream", &body)?, 200)?;
    let seen = texts(&poller.poll()?).concat();
    let is_refused = seen.contains("433[") && seen.contains("binary_unsupported");
    require(is_refused, "ack 3 with binary_unsupported", || seen)
}

fn bad_binary(context: &Context) -> Outcome {
    for bytes in [vec![], vec![7, 1, 2]] {
        closes_after(context, 1008, |socket| socket.send_frame(&Frame::Binary(bytes)))?;
    }
    Ok(())
}

fn binary_answers(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let head = Packet::message(r#"51-["message",{"_placeholder":true,"num":0}]"#);
    let attachment = Packet::binary([1, 2, 3, 4]);
    socket.send_engine(&head)?;
    socket.send_engine(&attachment)?;
    context.eventually("the attachment comes back", || {
        Ok(socket.binaries().contains(&vec![1, 2, 3, 4]))
    })?;
    if context.combo == E3P {
        context.step("with b64=1 the answer is text");
        let poller = context.poller_with("&b64=1")?;
        poller.post_packets(&[head, attachment])?;
        for _ in 0..4 {
            let response = poller.get()?;
            has_type(&response, "text/plain")?;
            let packets = payload::decode_body_text(Protocol::Eio3, &response.text())?;
            if packets.iter().any(|packet| packet.data == Data::Binary(vec![1, 2, 3, 4])) {
                return Ok(());
            }
        }
        return fail("the attachment in base64", "it did not arrive");
    }
    Ok(())
}

fn ignored_packets(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for kind in [Kind::Open, Kind::Upgrade, Kind::Noop] {
        socket.send_engine(&Packet::text(kind, ""))?;
    }
    context.pause(QUIET);
    stays_open("the session stays open", &socket)?;
    goes_on(context, &socket)
}

fn one_open(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for index in 0..5 {
        socket.send_message(format!("0/n{index},"))?;
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
    let seen = poller.poll_until(|packet| is_answer(packet, "/m2"))?;
    let is_answered = |n| seen.iter().any(|packet| is_answer(packet, &format!("/m{n}")));
    require((0..3).all(is_answered), "three answers", || format!("{:?}", texts(&seen)))
}

fn utf16_lengths(context: &Context) -> Outcome {
    let (room, witness, _, poller) = polling_member(context)?;
    let text = "hi ü☃😀 你好";
    poller.post_message(&format!("2[\"message\",{}]", message(room, text)))?;
    witness.message_with(text)?;
    // A wrong length makes the payload undecodable here.
    poller.poll_until(|packet| texts(std::slice::from_ref(packet)).concat().contains("☃😀"))?;
    Ok(())
}

fn order(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let texts: Vec<String> = (0..40).map(|index| format!("number {index}")).collect();
    for text in &texts {
        guest.emit("message", message(room, text))?;
    }
    guest.message_with("number 39")?;
    equal("the messages", &guest.texts(room), &texts)
}

fn close_by_post(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut held = hold(context, &poller)?;
    is_ok(&poller.post_packets(&[Packet::text(Kind::Close, "")])?)?;
    let packets = poller.packets(held.receive(context.wait())?)?;
    equal("the packets of the held poll", &kinds(&packets), &vec![Kind::Noop])?;
    is_gone(&poller)
}

fn close_on_websocket(context: &Context) -> Outcome {
    closes_after(context, 1000, |socket| socket.send("1"))
}

fn close_while_polling(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.connect()?;
    let mut held = hold(context, &poller)?;
    // The session ends; whether the POST still gets ok does not matter here.
    let _ = poller.post_message("9");
    let packets = poller.packets(held.receive(context.wait())?)?;
    equal("the last packet of the held poll", &kinds(&packets).last(), &Some(&Kind::Close))?;
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
    let mut witness = observer_in(context, room, "witness")?;
    // Wait less than the heartbeat, which would end the session of a server that missed FIN and RST.
    witness.wait = witness.wait.min(context.capabilities().ping_timeout().mul_f64(0.8));
    for way in ["FIN", "RST"] {
        context.step(way);
        let mut guest = guest_in(context, room)?;
        witness.roster_of(room, &[witness.user.id, guest.user.id])?;
        guest.end_by(way, room)?;
        sees_leave(&witness, room, &[witness.user.id])?;
    }
    Ok(())
}

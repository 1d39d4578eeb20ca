//! Chapter 3: packets and connect.

use super::prelude::*;
use crate::client::transcript::Direction;

cases! {
    malformed "sio.malformed" ["SIO-5", "SIO-6", "SIO-2", "LIM-45"] over EVERY needs NOTHING
        does "sends packets that are empty, of unknown type, with bad JSON, or with text after the JSON"
        expects "the session is closed: code 1008 on WebSocket, close packet or unknown sid by polling";
    wrong_payloads "sio.wrong-payloads" ["SIO-7", "SIO-8", "SIO-9", "SIO-6", "SIO-70"] over EVERY needs NOTHING
        does "sends an EVENT without name or array, an ACK without array, a DISCONNECT with payload"
        expects "the session is closed for each";
    bad_connect "sio.bad-connect" ["SIO-9"] over EIO4 needs NOTHING
        does "sends CONNECT with an array, a string, a boolean and incomplete JSON"
        expects "the session is closed for each";
    depth "sio.depth" ["SIO-10"] over EVERY needs NOTHING
        does "sends JSON with 30 levels, then with 200"
        expects "the first is accepted, the second closes the session";
    big_ack_id "sio.big-ack-id" ["SIO-11"] over EVERY needs NOTHING
        does "sends an ack id with 25 digits"
        expects "the session is closed";
    ack_ids "sio.ack-ids" ["SIO-40", "SIO-11"] over EVERY needs APPLICATION
        does "requests acks with the ids 0, 1, 4294967296 and 9007199254740991"
        expects "each is acknowledged with its id";
    eio3_connect "sio.eio3-connect" ["SIO-12", "SIO-13", "SIO-23"] over EIO3 needs NOTHING
        does "opens a session"
        expects "40 directly after the open packet, without payload";
    connect "sio.connect" ["SIO-14", "SIO-22"] over EIO4 needs NOTHING
        does "connects with 40 and with 40{…}"
        expects "40 with a unique sid of 20 characters that is not the Engine.IO sid, within 1 s";
    silent_before_connect "sio.silent-before-connect" ["SIO-15"] over EIO4 needs NOTHING
        does "opens a session and waits"
        expects "no Socket.IO packet before CONNECT";
    connects_in_time "sio.connect-timeout" ["SIO-16", "LIM-6", "LIM-52"] over ONLY_E4W needs NOTHING
        does "answers pings but never sends CONNECT"
        expects "close code 4003";
    event_before_connect "sio.event-before-connect" ["SIO-17", "LIM-45"] over EIO4 needs NOTHING
        does "sends an event before CONNECT"
        expects "the session is closed with 1008";
    second_connect "sio.second-connect" ["SIO-20"] over EIO4 needs NOTHING
        does "connects twice"
        expects "the same socket id again, or close code 1008";
    second_connect_stays "sio.second-connect-stays-member" ["SIO-20"] over EIO4 needs CHAT
        does "connects twice as a member of a room"
        expects "the session ends, or is still a member";
    eio3_connect_ignored "sio.eio3-connect-ignored" ["SIO-21"] over EIO3 needs NOTHING
        does "sends CONNECT on Engine.IO 3"
        expects "it is ignored and the session stays usable";
    utf8_json "sio.utf8-json" ["SIO-49", "SIO-44", "SIO-48"] over EVERY needs CHAT
        does "records what two users receive who send non-ASCII text"
        expects "valid UTF-8 and JSON, no ack id from the server, no reserved event name";
    no_disconnect "sio.no-disconnect" ["SIO-66", "SIO-48"] over EVERY needs NOTHING
        does "watches a session that is closed for an error"
        expects "no packet 41";
}

fn malformed(context: &Context) -> Outcome {
    for text in
        ["", "7", "9[]", "x", "2[\"a\"", "2[\"a\"]x", "2{\"a\":1}", "2[\"a\",}", "2[\"\\ud\"]"]
    {
        dies_of(context, text, true)?;
    }
    Ok(())
}

fn wrong_payloads(context: &Context) -> Outcome {
    for text in ["2[]", "2\"a\"", "2[{}]", "2[null]", "31{}", "1{}", "1[\"x\"]"] {
        dies_of(context, text, true)?;
    }
    if context.judges("SIO-70") {
        dies_of(context, "2", true)?;
        dies_of(context, "31", true)?;
    }
    Ok(())
}

fn bad_connect(context: &Context) -> Outcome {
    for text in ["0[]", "0\"token\"", "0true", "0{"] {
        dies_of(context, text, false)?;
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
    socket.send_message(nested(30))?;
    goes_on(context, &socket)?;
    // In a packet that a client without a user may send at once.
    let values = vec!["0"; 1_500].join(",");
    socket.send_message(format!("2[\"nope\",[{values}]]"))?;
    goes_on(context, &socket)?;
    dies_of(context, &nested(200), true)
}

fn big_ack_id(context: &Context) -> Outcome {
    dies_of(context, "29999999999999999999999999[\"nope\",{}]", true)
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

fn eio3_connect(context: &Context) -> Outcome {
    match context.combo.transport {
        Transport::Polling => {
            let poller = context.poller()?;
            let mut first = texts(&poller.first);
            if first.is_empty() && !context.judges("SIO-23") {
                first = texts(&poller.poll()?);
            }
            // Packets of the application may follow.
            equal("the packet after the open packet", &first.first(), &Some(&"40".to_owned()))
        }
        // The helper fails unless 40 is the second frame.
        Transport::Websocket => context.bare_websocket().map(|_| ()).map_err(Into::into),
    }
}

fn connect(context: &Context) -> Outcome {
    let mut ids = Vec::new();
    for auth in [None, Some(json!({})), Some(json!({ "unknown": "member", "x": [1, 2] }))] {
        let options = Options { auth, ..context.options() };
        let before = Instant::now();
        let socket = context.socket_with(options)?;
        within("an answer within 1 s", before, Duration::from_millis(1_500))?;
        let id = socket.id();
        is_plain_id("an id", &id)?;
        require(id != socket.open().sid, "an id that is not the Engine.IO sid", || id.clone())?;
        require(!ids.contains(&id), "a unique id", || id.clone())?;
        ids.push(id);
        goes_on(context, &socket)?;
        no_packet("one answer to CONNECT", &socket, |packet| packet.kind == sio::Kind::Connect)?;
    }
    Ok(())
}

fn silent_before_connect(context: &Context) -> Outcome {
    let options = Options { connects: false, ..context.options() };
    let socket = context.socket_with(options)?;
    context.pause(QUIET * 2);
    let lines = context.transcript.lines();
    let early = lines.iter().find(|line| {
        line.direction == Direction::Received
            && (line.text.starts_with('4') || line.text.contains("HTTP 200 4"))
    });
    nothing("no Socket.IO packet", early)?;
    drop(socket);
    Ok(())
}

fn connects_in_time(context: &Context) -> Outcome {
    let (mut socket, _) = context.bare_websocket()?;
    let start = Instant::now();
    while start.elapsed() < connect_timeout(context) {
        match socket.receive_text(Duration::from_millis(200)) {
            Ok(text) if text == "2" => socket.send("3")?,
            Ok(_) | Err(ClientError::Timeout(_)) => {}
            Err(_) => {
                let code = socket.closed().map_or(1006, |close| close.code);
                return code_is(context, code, 4003);
            }
        }
    }
    outlives_connect_timeout(context)
}

fn event_before_connect(context: &Context) -> Outcome {
    dies_of(context, "2[\"message\",{}]", false)
}

fn second_connect(context: &Context) -> Outcome {
    let socket = context.socket()?;
    let first = socket.id();
    // By polling the POST itself may be refused.
    let _ = socket.send_message("0");
    if let Some(ending) = socket.wait_end(Duration::from_millis(700)) {
        let is_polling = context.combo.transport == Transport::Polling;
        let wanted = is_polling || code_fits(context, ending.code, 1008);
        return require(wanted, "code 1008", || shown(&ending));
    }
    let again = socket
        .wait_packet(Duration::ZERO, "CONNECT", |packet| packet.kind == sio::Kind::Connect)?;
    let id = again.data.and_then(|data| data["sid"].as_str().map(str::to_owned));
    equal("the socket id", &id, &Some(first))
}

fn second_connect_stays(context: &Context) -> Outcome {
    let (room, guest) = guest_in_room(context)?;
    let _ = guest.socket.send_message("0");
    if guest.socket.wait_end(Duration::from_millis(700)).is_some() {
        return Ok(());
    }
    accepts(&guest.say(room, "still a member")?)
}

fn eio3_connect_ignored(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.send_message("0")?;
    goes_on(context, &socket)?;
    no_packet("no answer to CONNECT", &socket, |packet| packet.kind == sio::Kind::Connect)
}

fn utf8_json(context: &Context) -> Outcome {
    let (room, one, two) = guest_and_witness(context)?;
    for text in ["你好 😀 é", "\u{0} \u{1f} \u{7f}", "\"quoted\\ \\u0041", "a\u{2028}b\u{fffd}"]
    {
        one.say_to(&two, room, text)?;
    }
    one.leave(room)?;
    // Invalid UTF-8 or JSON ends the client's session with a protocol error.
    for chat in [&one, &two] {
        stays_open("only valid packets", &chat.socket)?;
        never("no ack id from the server", &chat.socket, |event| event.id.is_some())?;
        never("no event with a reserved name", &chat.socket, |event| {
            RESERVED_NAMES.contains(&event.name.as_str())
        })?;
    }
    Ok(())
}

fn no_disconnect(context: &Context) -> Outcome {
    let socket = context.socket()?;
    context.pause(QUIET);
    never("no event connect", &socket, |event| event.name == "connect")?;
    let _ = socket.send_message("9");
    socket.wait_end(Duration::from_secs(3));
    no_packet("no packet 41", &socket, |packet| packet.kind == sio::Kind::Disconnect)
}

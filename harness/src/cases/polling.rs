//! Chapter 1: long-polling.

use throng_codec::payload;

use super::prelude::*;

cases! {
    handshake "poll.handshake" ["TRN-30", "TRN-32", "TRN-33", "EIO-1", "EIO-30", "EIO-34"] over POLLING needs NOTHING
        does "opens a session by polling"
        expects "200, text/plain; charset=UTF-8, no-store, and the open packet first";
    held "poll.held" ["TRN-31", "TRN-32", "TRN-33"] over POLLING needs NOTHING
        does "polls while the server has nothing to send, then causes an answer"
        expects "the request is held, then answered with at least one packet";
    post "poll.post" ["TRN-34", "TRN-33"] over POLLING needs NOTHING
        does "posts a packet"
        expects "200, text/html, body ok, no-store, and the packet takes effect";
    order "poll.order" ["TRN-35", "EIO-40"] over POLLING needs NOTHING
        does "posts several packets in one body, and several bodies"
        expects "all packets take effect once and in order";
    two_gets "poll.two-gets" ["TRN-36", "EIO-92"] over POLLING needs NOTHING
        does "polls again while a poll is held"
        expects "the held poll gets 200 with packet 1, the second gets 400, and the session is closed";
    two_posts "poll.two-posts" ["TRN-37"] over POLLING needs NOTHING
        does "posts while the body of another POST is still incomplete"
        expects "400, and the session is closed";
    dropped_get "poll.dropped-get" ["TRN-38"] over POLLING needs NOTHING
        does "drops the connection of a held poll"
        expects "the sid becomes unknown";
    too_large "poll.too-large" ["TRN-39", "TRN-48", "LIM-1", "TRN-110"] over POLLING needs NOTHING
        does "posts maxPayload bytes, then one byte more"
        expects "200 for the first, 413 for the second, and the session is closed";
    bad_payloads "poll.bad-payloads" ["EIO-36", "EIO-11", "EIO-37", "EIO-38", "TRN-40"] over POLLING needs NOTHING
        does "posts invalid payloads: empty, truncated, wrong lengths, bad UTF-8, bad base64"
        expects "400 and code 3 for each, and the session is closed";
    after_the_fault "poll.after-the-fault" ["TRN-41"] over POLLING needs CHAT
        does "posts a malformed packet followed by a chat message"
        expects "the chat message is not delivered";
    any_content_type "poll.any-content-type" ["TRN-42"] over ONLY_E4P needs NOTHING
        does "posts with several content types and without one"
        expects "each body is read as a text payload";
    binary_payload "poll.binary-payload" ["TRN-43", "EIO-33"] over ONLY_E3P needs NOTHING
        does "posts a binary payload with several packets and non-ASCII text"
        expects "all packets take effect";
    whole_session "poll.whole-session" ["TRN-44"] over POLLING needs CHAT
        does "joins a room, sends and receives messages, leaves and disconnects, by polling only"
        expects "everything works as on WebSocket";
    keep_alive "poll.keep-alive" ["TRN-46"] over POLLING needs NOTHING
        does "sends several requests, some of them pipelined, on one HTTP connection"
        expects "each request gets its own answer, in order";
}

fn handshake(context: &Context) -> Outcome {
    let response = context.get(&context.handshake_path())?;
    status(&response, 200)?;
    header(&response, "Content-Type", "text/plain; charset=UTF-8")?;
    header(&response, "Cache-Control", "no-store")?;
    let packets = payload::decode_body_text(context.combo.protocol, &response.text())?;
    equal("the first packet", &kinds(&packets).first(), &Some(&Kind::Open))
}

fn held(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut connection = hold(context, &poller)?;
    poller.post_message(ASK)?;
    let response = connection.receive(context.wait())?;
    status(&response, 200)?;
    answers(!response.body.is_empty(), &response, "a body that is not empty")?;
    header(&response, "Cache-Control", "no-store")?;
    header(&response, "Content-Type", "text/plain; charset=UTF-8")?;
    let packets = poller.decode(&response)?;
    require(!packets.is_empty(), "one packet or more", || response.text())
}

fn post(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let response = poller.post_message(ASK)?;
    is_ok(&response)?;
    has_type(&response, "text/html")?;
    header(&response, "Cache-Control", "no-store")?;
    is_answered(&poller.poll()?)
}

fn order(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut wanted = Vec::new();
    for body in 0..4 {
        let packets: Vec<Packet> =
            (0..5).map(|index| Packet::message(format!("0/n{body}-{index},"))).collect();
        wanted.extend((0..5).map(|index| format!("/n{body}-{index}")));
        status(&poller.post_packets(&packets)?, 200)?;
    }
    let packets = poller.poll_until(|packet| is_answer(packet, "/n3-4"))?;
    let answers = texts(&packets).into_iter().filter_map(|text| {
        text.strip_prefix("44").and_then(|answer| answer.split(',').next()).map(str::to_owned)
    });
    equal("the order of the answers", &answers.collect::<Vec<_>>(), &wanted)
}

fn two_gets(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut first = hold(context, &poller)?;
    context.step("a second GET");
    status(&poller.get()?, 400)?;
    let packets = poller.packets(first.receive(context.wait())?)?;
    equal("the last packet of the held poll", &kinds(&packets).last(), &Some(&Kind::Close))?;
    is_gone(&poller)
}

fn two_posts(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut slow = context.connection()?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n4",
        poller.path(),
        context.target().authority
    );
    slow.send_bytes(head.as_bytes())?;
    context.pause(QUIET);
    context.step("a second POST");
    status(&poller.post_message(ASK)?, 400)?;
    is_gone(&poller)
}

fn dropped_get(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let connection = hold(context, &poller)?;
    drop(connection);
    context.step("the connection of the held poll is dropped");
    context.pause(Duration::from_millis(500));
    is_gone(&poller)
}

fn too_large(context: &Context) -> Outcome {
    let max = max_payload(context)?;
    let poller = context.poller_with(&context.token_query()?)?;
    if context.judges("LIM-1") {
        context.step(format!("posts a body of exactly {max} bytes"));
        let exact = sized_body(poller.protocol, max);
        let answer = poller.post(&exact)?;
        status(&answer, 200)?;
        is_alive(&poller)?;
    }
    context.step(format!("posts a body of {} bytes", max + 1));
    let answer = poller.post(&sized_body(poller.protocol, max + 1))?;
    status(&answer, 413)?;
    if context.judges("TRN-48") { is_gone(&poller) } else { Ok(()) }
}

/// A payload of this many bytes: a CONNECT to a namespace with a long query, which is not part of
/// the name.
fn sized_body(protocol: Protocol, bytes: usize) -> String {
    let packet = |padding: usize| format!("40/big?{},", "x".repeat(padding));
    if protocol == Protocol::Eio4 {
        return packet(bytes - packet(0).len());
    }
    let digits = bytes.to_string().len();
    let length = bytes - digits - 1;
    // Subtracting the digits of the length may make the length one digit shorter.
    let (length, padding_digits) =
        if length.to_string().len() < digits { (length + 1, digits - 1) } else { (length, digits) };
    let body = packet(length - packet(0).len());
    assert_eq!(padding_digits, length.to_string().len());
    format!("{length}:{body}")
}

fn bad_payloads(context: &Context) -> Outcome {
    let common: &[&[u8]] = &[b"", b"x", b"\xff\xfe", b"4\xc3\x28"];
    let of_4: &[&[u8]] =
        &[b"7", b"40/a,\x1e", b"\x1e", b"40/a,\x1e\x1e40/b,", b"b!!!!", b"bAA", b"9hello"];
    let of_3: &[&[u8]] = &[
        b"40/a,",
        b"7:40/a,x",
        b"5:40/a",
        b":40/a,",
        b"-1:4",
        b"99999999999999999999:4",
        b"5:40/a,3:7ab",
        b"1:7",
    ];
    // Implementations of protocol 3 take an empty packet, any base64, and any number of their language.
    let throngs_of_3: &[&[u8]] =
        if context.judges("TRN-40") { &[b"0:", b"4:b4!!", b"0x5:40/a,"] } else { &[] };
    let (own, throngs) = match context.combo.protocol {
        Protocol::Eio4 => (of_4, &[][..]),
        Protocol::Eio3 => (of_3, throngs_of_3),
    };
    for body in common.iter().chain(own).chain(throngs) {
        context.step(format!("posts {:?}", String::from_utf8_lossy(body)));
        let poller = context.poller()?;
        let path = poller.path();
        let response = context.fetch(&Request::post(&path, body))?;
        if context.judges("TRN-40") {
            refused(&response, BAD_REQUEST)?;
        }
        is_gone(&poller)?;
    }
    Ok(())
}

fn after_the_fault(context: &Context) -> Outcome {
    let (room, witness, _, poller) = polling_member(context)?;
    let late = Packet::message(format!("2[\"message\",{}]", message(room, "after the fault")));
    let body = payload::encode_text(poller.protocol, &[late]);
    let body = match poller.protocol {
        Protocol::Eio4 => format!("x\u{1e}{body}"),
        Protocol::Eio3 => format!("1:x{body}"),
    };
    refused(&poller.post(&body)?, BAD_REQUEST)?;
    witness.roster_of(room, &[witness.user.id])?;
    context.pause(QUIET);
    nothing("no message", witness.messages(room).first())
}

fn any_content_type(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let path = poller.path();
    let types: [&[(&str, &str)]; 5] = [
        &[],
        &[("Content-Type", "application/octet-stream")],
        &[("Content-Type", "application/json")],
        &[("Content-Type", "text/html")],
        &[("Content-Type", "multipart/form-data; boundary=x")],
    ];
    for headers in types {
        context.step(format!("posts with {headers:?}"));
        let request = Request { method: "POST", path: &path, headers, body: b"40/nope," };
        status(&context.fetch(&request)?, 200)?;
        let packets = poller.poll()?;
        poller.answer_pings(&packets)?;
    }
    is_alive(&poller)
}

fn binary_payload(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let packets = [
        Packet::message("0/first?ü☃😀,"),
        Packet::text(Kind::Ping, ""),
        Packet::message("0/last,"),
    ];
    let body = payload::encode_octets(&packets);
    status(&poller.post_as("application/octet-stream", &body)?, 200)?;
    let seen = texts(&poller.poll_until(|packet| is_answer(packet, "/last"))?);
    let names = |prefix: &str| seen.iter().any(|text| text.starts_with(prefix));
    require(names("44/first,") && names("3"), "three answers", || format!("{seen:?}"))
}

fn whole_session(context: &Context) -> Outcome {
    let (room, guest, witness) = guest_and_witness_met(context)?;
    guest.say_to(&witness, room, "by post")?;
    witness.say_to(&guest, room, "by poll")?;
    guest.leave(room)?;
    witness.roster_of(room, &[witness.user.id])?;
    guest.join(room)?;
    witness.roster_of(room, &[witness.user.id, guest.user.id])?;
    guest.socket.close();
    witness.roster_of(room, &[witness.user.id])?;
    Ok(())
}

fn keep_alive(context: &Context) -> Outcome {
    let mut connection = context.connection()?;
    let good = context.handshake_path();
    let bad = context.path("transport=none");
    let mut sids = Vec::new();
    for _ in 0..3 {
        let response = connection.exchange(&Request::get(&good), context.wait())?;
        status(&response, 200)?;
        sids.push(response.text());
        refused(&connection.exchange(&Request::get(&bad), context.wait())?, UNKNOWN_TRANSPORT)?;
    }
    context.step("pipelines three requests");
    let mut connection = context.connection()?;
    connection.send(&Request::get(&bad))?;
    connection.send(&Request::get(&good))?;
    connection.send(&Request::get(&bad))?;
    refused(&connection.receive(context.wait())?, UNKNOWN_TRANSPORT)?;
    let response = connection.receive(context.wait())?;
    status(&response, 200)?;
    sids.push(response.text());
    refused(&connection.receive(context.wait())?, UNKNOWN_TRANSPORT)?;
    sids.sort();
    sids.dedup();
    equal("the number of sessions", &sids.len(), &4)
}

//! Chapter 2: the upgrade from polling to WebSocket.

use super::prelude::*;

cases! {
    probe "up.probe" ["EIO-70", "EIO-73"] over POLLING needs UPGRADE
        does "opens a WebSocket with the sid of a polling session, sends 2probe and waits"
        expects "3probe first, and nothing else before the upgrade packet";
    releases_poll "up.releases-poll" ["EIO-71", "EIO-72"] over POLLING needs UPGRADE
        does "probes while a poll is held, then polls again before the upgrade packet"
        expects "both polls are answered at once with a noop";
    moves "up.moves" ["EIO-74", "TRN-45", "TRN-14"] over POLLING needs UPGRADE
        does "upgrades while packets are queued, then asks on the WebSocket, then polls"
        expects "queued packets and the answer arrive once and in order on the WebSocket; the poll gets 400 and code 3";
    nothing_lost "up.nothing-lost" ["EIO-74", "EIO-40", "CHAT-61"] over POLLING needs UPGRADE_AND_CHAT
        does "upgrades a member while another member sends messages continuously"
        expects "the member gets every message once, in order, across the upgrade";
    posts_first "up.posts-first" ["EIO-75", "EIO-81"] over POLLING needs UPGRADE_AND_CHAT
        does "posts messages before and during the probe, then sends more on the WebSocket"
        expects "all messages are delivered in that order";
    no_probe "up.no-probe" ["EIO-76"] over POLLING needs UPGRADE
        does "sends something other than 2probe as the first frame"
        expects "that WebSocket is closed, and the session continues by polling";
    given_up "up.given-up" ["EIO-77", "EIO-82"] over POLLING needs UPGRADE
        does "closes the new WebSocket before the probe, and after it"
        expects "the session continues by polling and can still upgrade";
    timeout "up.timeout" ["EIO-78", "LIM-7"] over ONLY_E4P needs UPGRADE
        does "probes and never sends the upgrade packet"
        expects "the WebSocket is closed after the upgrade timeout, and the session continues by polling";
    second_websocket "up.second-websocket" ["EIO-79"] over POLLING needs UPGRADE
        does "opens more WebSockets with the same sid during and after the upgrade"
        expects "they are refused or closed, and the session stays usable";
    heartbeat_goes_on "up.heartbeat-goes-on" ["EIO-80"] over ONLY_E4P needs UPGRADE
        does "upgrades half a ping interval after the handshake"
        expects "the first ping arrives one interval after the handshake";
    before_connect "up.before-connect" ["EIO-70", "SIO-14"] over ONLY_E4P needs UPGRADE
        does "upgrades before the Socket.IO CONNECT, then connects"
        expects "CONNECT is answered on the WebSocket";
}

fn open_probe(context: &Context, poller: &Poller) -> Result<RawSocket, ClientError> {
    let mut socket = context.websocket(&poller.websocket_path())?;
    socket.send("2probe")?;
    let answer = socket.receive_text(context.wait())?;
    if answer == "3probe" {
        Ok(socket)
    } else {
        Err(ClientError::Protocol(format!("the first frame is {answer:?}, not 3probe")))
    }
}

/// Probes and upgrades: from here on the WebSocket is the transport.
fn upgraded(context: &Context, poller: &Poller) -> Result<RawSocket, ClientError> {
    let mut socket = open_probe(context, poller)?;
    socket.send("5")?;
    Ok(socket)
}

fn probe(context: &Context) -> Outcome {
    let poller = context.poller()?;
    context.step("something is queued before the probe");
    poller.post_message(ASK)?;
    let mut socket = open_probe(context, &poller)?;
    poller.post_message("0/later,")?;
    match socket.receive_text(QUIET) {
        Err(ClientError::Timeout(_)) => {}
        Ok(text) => return fail("nothing on the WebSocket before the upgrade packet", text),
        Err(other) => return Err(other.into()),
    }
    socket.send("5")?;
    context.text_until(&mut socket, |text| text.starts_with("44/later,"))?;
    Ok(())
}

fn releases_poll(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut held = hold(context, &poller)?;
    let _socket = open_probe(context, &poller)?;
    let start = Instant::now();
    let packets = poller.packets(held.receive(Duration::from_secs(2))?)?;
    within("at once", start, Duration::from_millis(500))?;
    equal("the packets of the held poll", &kinds(&packets), &vec![Kind::Noop])?;
    let start = Instant::now();
    let packets = poller.poll()?;
    within("within 500 ms", start, Duration::from_millis(700))?;
    equal("the packets of the next poll", &kinds(&packets), &vec![Kind::Noop])
}

fn moves(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut socket = open_probe(context, &poller)?;
    for index in 0..3 {
        poller.post_message(&format!("0/queued{index},"))?;
    }
    socket.send("5")?;
    socket.send("40/asked,")?;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|name| name != "/asked") {
        let text = context.text_until(&mut socket, |text| text.starts_with("44/"))?;
        seen.push(text[2..].split(',').next().unwrap_or("").to_owned());
    }
    let wanted = ["/queued0", "/queued1", "/queued2", "/asked"].map(str::to_owned).to_vec();
    equal("the answers", &seen, &wanted)?;
    refused(&poller.get()?, BAD_REQUEST)?;
    refused(&poller.post_message(ASK)?, BAD_REQUEST)?;
    is_alive_on(context, &mut socket)
}

fn nothing_lost(context: &Context) -> Outcome {
    let (room, mut guest, talker) = guest_and_witness_met(context)?;
    // Less than the burst of LIM-20.
    let count = 54;
    let texts: Vec<String> = (0..count).map(|index| format!("number {index}")).collect();
    for text in &texts[..18] {
        talker.emit("message", message(room, text))?;
    }
    std::thread::scope(|scope| {
        let upgrading = scope.spawn(|| guest.socket.upgrade());
        for text in &texts[18..36] {
            talker.emit("message", message(room, text))?;
            std::thread::sleep(Duration::from_millis(1));
        }
        upgrading.join().unwrap_or_else(|_| Err(ClientError::Protocol("panic".to_owned())))
    })?;
    context.step("upgraded");
    for text in &texts[36..] {
        talker.emit("message", message(room, text))?;
    }
    guest.message_with(&texts[count - 1])?;
    context.pause(QUIET);
    equal("the messages", &guest.texts(room), &texts)?;
    guest.say_to(&talker, room, "on the WebSocket")?;
    Ok(())
}

fn posts_first(context: &Context) -> Outcome {
    let (room, witness, _, poller) = polling_member(context)?;
    let say = |text: &str| format!("2[\"message\",{}]", message(room, text));
    poller.post_message(&say("before"))?;
    let mut socket = open_probe(context, &poller)?;
    poller.post_packets(&[Packet::message(say("during 1")), Packet::message(say("during 2"))])?;
    socket.send("5")?;
    socket.send(&format!("4{}", say("after")))?;
    witness.message_with("after")?;
    let wanted = ["before", "during 1", "during 2", "after"].map(str::to_owned).to_vec();
    equal("the messages", &witness.texts(room), &wanted)
}

fn no_probe(context: &Context) -> Outcome {
    let poller = context.poller()?;
    for first in ["5", "40/nope,", "2", "2other"] {
        context.step(format!("sends {first:?} first"));
        let mut socket = context.websocket(&poller.websocket_path())?;
        socket.send(first)?;
        closes(&mut socket, "that WebSocket is closed", CLOSES, |_| true)?;
        is_alive(&poller)?;
    }
    Ok(())
}

fn given_up(context: &Context) -> Outcome {
    let poller = context.poller()?;
    context.step("closes before the probe");
    let mut socket = context.websocket(&poller.websocket_path())?;
    socket.close();
    socket.wait_close(CLOSES);
    is_alive(&poller)?;
    let poller = if context.judges("EIO-82") { poller } else { context.poller()? };
    context.step("ends TCP after the probe");
    let socket = open_probe(context, &poller)?;
    socket.hang_up();
    drop(socket);
    context.pause(QUIET);
    is_alive(&poller)?;
    if !context.judges("EIO-82") {
        return Ok(());
    }
    context.step("upgrades");
    let mut socket = upgraded(context, &poller)?;
    is_alive_on(context, &mut socket)
}

fn timeout(context: &Context) -> Outcome {
    let poller = context.poller()?;
    poller.connect()?;
    let mut socket = open_probe(context, &poller)?;
    // The default plus some time; a target may be configured with less.
    let timeout = Duration::from_millis(11_500);
    let start = Instant::now();
    while start.elapsed() < timeout && socket.wait_close(Duration::from_millis(100)).is_none() {
        // A poll that begins at the end of the upgrade waits for the next packet.
        let packets = poller.poll()?;
        poller.answer_pings(&packets)?;
    }
    closes(&mut socket, "the WebSocket is closed after the upgrade timeout", CLOSES, |_| true)?;
    is_alive(&poller)
}

fn second_websocket(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut socket = open_probe(context, &poller)?;
    refused_or_closed(context, &poller, "during the probe")?;
    socket.send("5")?;
    is_alive_on(context, &mut socket)?;
    refused_or_closed(context, &poller, "after the upgrade")?;
    is_alive_on(context, &mut socket)
}

fn refused_or_closed(context: &Context, poller: &Poller, when: &str) -> Outcome {
    context.step(format!("a second WebSocket {when}"));
    let mut second = match context.websocket(&poller.websocket_path()) {
        Ok(second) => second,
        Err(ClientError::Refused(response)) => {
            return answers((400..500).contains(&response.status), &response, "a 4xx status");
        }
        Err(other) => return Err(other.into()),
    };
    let _ = second.send("2probe");
    closes(&mut second, "the second WebSocket is closed", CLOSES, |_| true)
}

fn heartbeat_goes_on(context: &Context) -> Outcome {
    let interval = context.capabilities().ping_interval();
    context.affordable(interval)?;
    let before = Instant::now();
    let poller = context.poller()?;
    // An interval that starts again here ends after the deadline.
    context.pause(interval.mul_f64(0.8));
    let mut socket = upgraded(context, &poller)?;
    let deadline = before + interval + Duration::from_millis(600);
    let left = deadline.saturating_duration_since(Instant::now());
    match socket.receive_where(left, |text| text == "2") {
        Ok(_) => {}
        Err(ClientError::Timeout(_)) => {
            return fail("a ping one interval after the handshake", "none");
        }
        Err(other) => return Err(other.into()),
    }
    let took = before.elapsed() + Duration::from_millis(15);
    require(took >= interval, "not earlier than one interval", || format!("after {took:?}"))
}

fn before_connect(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let mut socket = upgraded(context, &poller)?;
    socket.send(&format!("4{}", context.connect_text()?))?;
    let answer = context.text_until(&mut socket, |text| text.starts_with("40"))?;
    let id: Value = serde_json::from_str(&answer[2..]).unwrap_or(json!(null));
    require(id["sid"].is_string(), "40 with a sid", || answer.clone())
}

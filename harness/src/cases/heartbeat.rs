//! Chapter 2: heartbeats, with the times that the target announces.

use super::prelude::*;

/// Allowed delay where the protocol sets only a lower bound.
const SLACK: Duration = Duration::from_millis(1_500);
/// Allowed error of a measured time: clocks are read on both sides.
const ROUNDING: Duration = Duration::from_millis(15);

cases! {
    first_ping "hb.first-ping" ["EIO-50", "EIO-51", "LIM-3", "EIO-5"] over ONLY_E4W needs NOTHING
        does "waits for the first ping, answers it late, waits for the second"
        expects "the first ping one interval after the open packet, the second one interval after the pong, neither earlier";
    punctual "hb.punctual" ["EIO-52"] over ONLY_E4W needs NOTHING
        does "waits for a ping"
        expects "the ping is at most 200 ms late";
    no_pong "hb.no-pong" ["EIO-53", "LIM-4", "LIM-51", "CHAT-82", "EIO-5"] over ONLY_E4W needs NOTHING
        does "does not answer the ping"
        expects "close code 4002 after the timeout, not earlier";
    no_poll "hb.no-poll" ["EIO-54", "EIO-53"] over ONLY_E4P needs NOTHING
        does "opens a session by polling and never polls again"
        expects "the sid is unknown after ping interval plus ping timeout";
    pongs_keep_alive "hb.pongs-keep-alive" ["EIO-57", "EIO-55"] over EIO4 needs NOTHING
        does "answers every ping late but in time, and sends unsolicited pongs"
        expects "the session stays open";
    ping_from_client "hb.ping-from-client" ["EIO-56", "EIO-12"] over EIO4 needs NOTHING
        does "sends a ping on Engine.IO 4"
        expects "the session is closed: code 1008 on WebSocket, 400 by POST";
    eio3_pong "hb.eio3-pong" ["EIO-60", "EIO-65"] over EIO3 needs NOTHING
        does "sends pings with and without data"
        expects "each ping is answered by a pong with the same data";
    eio3_no_server_ping "hb.eio3-no-server-ping" ["EIO-61"] over ONLY_E3W needs NOTHING
        does "waits for longer than a ping interval"
        expects "no ping arrives";
    eio3_silence "hb.eio3-silence" ["EIO-62", "LIM-3", "LIM-4", "LIM-51"] over ONLY_E3W needs NOTHING
        does "sends nothing"
        expects "close code 4002 after ping interval plus ping timeout, not earlier";
    no_poll "hb.eio3-silence-polling" ["EIO-62"] over ONLY_E3P needs NOTHING
        does "opens a session by polling and sends nothing"
        expects "the sid is unknown after ping interval plus ping timeout";
    eio3_any_packet "hb.eio3-any-packet" ["EIO-63"] over EIO3 needs NOTHING
        does "sends packets other than pings"
        expects "the session stays open";
    eio3_pong_from_client "hb.eio3-pong-from-client" ["EIO-64", "EIO-12"] over EIO3 needs NOTHING
        does "sends a pong on Engine.IO 3"
        expects "the session is closed: code 1008 on WebSocket, 400 by POST";
    half_open "hb.half-open" ["CHAT-82", "CHAT-80"] over EVERY needs CHAT
        does "stops reading and writing in a room without ending TCP"
        expects "the other members see the user leave within ping interval plus ping timeout";
}

fn open_and_time(context: &Context) -> Result<(RawSocket, Instant, Duration, Duration), Stop> {
    let interval = context.capabilities().ping_interval();
    let timeout = context.capabilities().ping_timeout();
    let path = context.handshake_path();
    let before = Instant::now();
    let mut socket = context.websocket(&path)?;
    socket.receive_text(context.wait())?;
    socket.send("40")?;
    Ok((socket, before, interval, timeout))
}

fn next_ping(socket: &mut RawSocket, wait: Duration) -> Result<Instant, Stop> {
    let text = socket.receive_where(wait, |text| text.starts_with('2'))?;
    let at = Instant::now();
    equal("the ping", &text.as_str(), &"2")?;
    Ok(at)
}

/// The measured time is at least `bound`.
fn not_before(what: &str, bound: Duration, took: Duration) -> Outcome {
    require(took + ROUNDING >= bound, &format!("{what} not before {bound:?}"), || {
        format!("after {took:?}")
    })
}

fn first_ping(context: &Context) -> Outcome {
    let (mut socket, opened, interval, timeout) = open_and_time(context)?;
    context.affordable(interval * 2 + timeout)?;
    let first = next_ping(&mut socket, interval + SLACK)?;
    not_before("the first ping", interval, first - opened)?;
    context.pause(timeout.mul_f64(0.4).min(Duration::from_secs(2)));
    let answered = Instant::now();
    socket.send("3")?;
    let second = next_ping(&mut socket, interval + SLACK)?;
    not_before("the second ping after the pong", interval, second - answered)
}

fn punctual(context: &Context) -> Outcome {
    let interval = context.capabilities().ping_interval();
    context.affordable(interval)?;
    let (mut socket, opened, ..) = open_and_time(context)?;
    let ping = next_ping(&mut socket, interval + SLACK)?;
    let late = (ping - opened).saturating_sub(interval);
    require(late <= Duration::from_millis(200), "at most 200 ms late", || format!("{late:?} late"))
}

fn no_pong(context: &Context) -> Outcome {
    let (mut socket, opened, interval, timeout) = open_and_time(context)?;
    context.affordable(interval + timeout)?;
    closes_with(context, &mut socket, 4002, interval + timeout + SLACK)?;
    not_before("the end", interval + timeout, opened.elapsed())
}

fn no_poll(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    context.affordable(bound)?;
    let poller = context.poller()?;
    // Else it may be the timeout of the CONNECT that ends the session.
    poller.connect()?;
    context.pause(bound + Duration::from_millis(150));
    is_gone(&poller)
}

fn pongs_keep_alive(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    let interval = context.capabilities().ping_interval();
    let timeout = context.capabilities().ping_timeout();
    context.affordable(bound * 2)?;
    let start = Instant::now();
    let late = timeout.mul_f64(0.5);
    match context.combo.transport {
        Transport::Websocket => {
            let (mut socket, _) = context.connected_websocket()?;
            socket.send("3")?;
            while start.elapsed() < bound * 2 {
                next_ping(&mut socket, interval + SLACK)?;
                context.pause(late);
                socket.send("3")?;
            }
            is_alive_on(context, &mut socket)
        }
        Transport::Polling => {
            let poller = context.poller()?;
            poller.post("3")?;
            poller.connect()?;
            while start.elapsed() < bound * 2 {
                let packets = poller.poll()?;
                if packets.iter().any(|packet| packet.kind == Kind::Ping) {
                    context.pause(late);
                    status(&poller.post("3")?, 200)?;
                }
            }
            is_alive(&poller)
        }
    }
}

fn closed_by(context: &Context, packet: &Packet) -> Outcome {
    match context.combo.transport {
        Transport::Websocket => {
            let text = texts(std::slice::from_ref(packet)).concat();
            closes_after(context, 1008, |socket| socket.send(&text))
        }
        Transport::Polling => {
            let poller = context.poller()?;
            let answer = poller.post_packets(std::slice::from_ref(packet))?;
            refused(&answer, BAD_REQUEST)?;
            is_gone(&poller)
        }
    }
}

fn ping_from_client(context: &Context) -> Outcome {
    closed_by(context, &Packet::text(Kind::Ping, ""))
}

fn eio3_pong_from_client(context: &Context) -> Outcome {
    closed_by(context, &Packet::text(Kind::Pong, ""))
}

fn eio3_pong(context: &Context) -> Outcome {
    let socket = context.socket()?;
    for data in ["", "probe", "ü☃😀", "a longer text, 0123456789"] {
        socket.send_engine(&Packet::text(Kind::Ping, data))?;
        let pong = socket.wait_engine(context.wait(), Kind::Pong)?;
        if context.judges("EIO-65") {
            equal("the pong's data", &pong, &data.to_owned())?;
        }
    }
    Ok(())
}

fn eio3_no_server_ping(context: &Context) -> Outcome {
    let interval = context.capabilities().ping_interval();
    let listen = (interval.mul_f64(1.3)).min(interval + context.capabilities().ping_timeout() / 2);
    context.affordable(listen)?;
    let (mut socket, _) = context.connected_websocket()?;
    match socket.receive_where(listen, |text| text.starts_with('2')) {
        Err(ClientError::Timeout(_)) => Ok(()),
        Ok(text) => fail("no ping", format!("{text:?}")),
        Err(other) => Err(other.into()),
    }
}

fn eio3_silence(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    context.affordable(bound)?;
    let before = Instant::now();
    let (mut socket, _) = context.connected_websocket()?;
    closes_with(context, &mut socket, 4002, bound + SLACK)?;
    not_before("the end", bound, before.elapsed())
}

fn eio3_any_packet(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    context.affordable(bound * 2)?;
    let start = Instant::now();
    let step = bound.mul_f64(0.4);
    match context.combo.transport {
        Transport::Websocket => {
            let (mut socket, _) = context.connected_websocket()?;
            while start.elapsed() < bound * 2 {
                is_alive_on(context, &mut socket)?;
                context.pause(step);
            }
            is_alive_on(context, &mut socket)
        }
        Transport::Polling => {
            let poller = context.poller()?;
            while start.elapsed() < bound * 2 {
                is_alive(&poller)?;
                context.pause(step);
            }
            is_alive(&poller)
        }
    }
}

fn half_open(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    context.affordable(bound)?;
    let (room, guest, witness) = guest_and_witness_met(context)?;
    guest.socket.mute();
    let start = Instant::now();
    let timeout = bound + context.wait();
    witness.socket.wait_event(timeout, "the roster without the silent user", |event| {
        is_roster_of(event, room) && !roster_ids(event.arg(0)).contains(&guest.user.id)
    })?;
    within(&format!("within {bound:?}"), start, bound + SLACK)?;
    // Until here the connection of the silent peer is open.
    drop(guest);
    Ok(())
}

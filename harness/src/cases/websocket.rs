//! Chapter 1: WebSocket framing.

use throng_codec::websocket::{Mask, frame};

use super::prelude::*;

cases! {
    unmasked "ws.unmasked" ["TRN-53", "LIM-42"] over WEBSOCKET needs NOTHING
        does "sends an unmasked frame"
        expects "close code 1002; no frame of the server is masked";
    bad_frames "ws.bad-frames" ["TRN-54", "LIM-42"] over WEBSOCKET needs NOTHING
        does "sends reserved bits, unknown opcodes, a fragmented ping, a ping of 126 bytes and a stray continuation"
        expects "close code 1002 for each";
    bad_utf8 "ws.bad-utf8" ["TRN-55", "LIM-44"] over WEBSOCKET needs NOTHING
        does "sends text that is not valid UTF-8, in one frame and in fragments"
        expects "close code 1007";
    fragments "ws.fragments" ["TRN-56", "EIO-13"] over WEBSOCKET needs NOTHING
        does "sends a packet in fragments with a ping between them"
        expects "the packet is handled as if sent in one frame";
    ping "ws.ping" ["TRN-57"] over WEBSOCKET needs NOTHING
        does "sends WebSocket pings with data"
        expects "each ping is answered by a pong with the same data";
    ping_is_no_heartbeat "ws.ping-is-no-heartbeat" ["TRN-57", "EIO-53", "EIO-62"] over WEBSOCKET needs NOTHING
        does "sends WebSocket pings and nothing else"
        expects "the session still times out";
    close "ws.close" ["TRN-58", "LIM-58"] over WEBSOCKET needs CHAT
        does "sends a close frame from a session in a room"
        expects "a close frame in return, the end of TCP, and the other members see the user leave";
    bad_close "ws.bad-close" ["TRN-59", "LIM-42"] over WEBSOCKET needs NOTHING
        does "sends close frames with a one-byte body, invalid codes and an invalid reason"
        expects "close code 1002; 1007 or 1002 for the reason";
    too_large "ws.too-large" ["LIM-1", "LIM-2", "LIM-46", "EIO-5"] over WEBSOCKET needs NOTHING
        does "sends a message of exactly maxPayload bytes, then larger ones: in one frame, in fragments, announced only"
        expects "the first is accepted, the others are closed with 1009";
    many_fragments "ws.many-fragments" ["LIM-29"] over WEBSOCKET needs NOTHING
        does "sends a message in 65537 fragments, then one in 140000"
        expects "the first is handled, the second is closed with 1009";
    close_reason "ws.close-reason" ["LIM-56"] over WEBSOCKET needs NOTHING
        does "sends a malformed packet"
        expects "a close frame whose reason is an end reason of the protocol";
    known_codes "ws.known-codes" ["LIM-54", "LIM-55", "EIO-94", "LIM-60"] over WEBSOCKET needs NOTHING
        does "makes the server close sessions for several reasons"
        expects "every close code is in the table of the protocol";
}

fn unmasked(context: &Context) -> Outcome {
    closes_after(context, 1002, |socket| socket.send_bytes(&frame(0x81, b"40/nope,", Mask::Server)))
}

fn bad_frames(context: &Context) -> Outcome {
    let frames: [(&str, u8, &[u8]); 8] = [
        ("RSV1 without an extension", 0xc1, b"40/nope,"),
        ("RSV2", 0xa1, b"40/nope,"),
        ("RSV3", 0x91, b"40/nope,"),
        ("opcode 3", 0x83, b""),
        ("opcode 11", 0x8b, b""),
        ("a ping without FIN", 0x09, b""),
        ("a ping of 126 bytes", 0x89, &[b'x'; 126]),
        ("a continuation of nothing", 0x80, b"x"),
    ];
    for (name, first, payload) in frames {
        context.step(name);
        closes_after(context, 1002, |socket| socket.send_raw(first, payload))?;
    }
    context.step("a new message inside a fragmented one");
    closes_after(context, 1002, |socket| {
        socket.send_raw(0x01, b"40/no")?;
        socket.send_raw(0x81, b"pe,")
    })
}

fn bad_utf8(context: &Context) -> Outcome {
    let texts: [&[u8]; 4] = [b"4\xc3\x28", b"4\xed\xa0\x80", b"4\xf5\x80\x80\x80", b"4\xff"];
    for text in texts {
        closes_after(context, 1007, |socket| socket.send_raw(0x81, text))?;
    }
    context.step("in fragments, the character cut and never finished");
    closes_after(context, 1007, |socket| {
        socket.send_raw(0x01, b"4\xe2\x98")?;
        socket.send_raw(0x80, b"x")
    })
}

fn fragments(context: &Context) -> Outcome {
    let (mut socket, _) = context.connected_websocket()?;
    socket.send_raw(0x01, b"40/nur?n\xc3")?;
    socket.send_raw(0x89, b"between")?;
    socket.send_raw(0x00, b"\xbc")?;
    socket.send_raw(0x00, b"")?;
    socket.send_raw(0x80, b"r,")?;
    context.text_until(&mut socket, |text| text.starts_with("44/nur"))?;
    require(socket.pongs.iter().any(|data| data == b"between"), "a pong in between", || {
        format!("pongs: {:?}", socket.pongs)
    })?;
    context.step("the frame sent byte by byte");
    for byte in frame(0x81, b"40/slow,", Mask::Client) {
        socket.send_bytes(&[byte])?;
    }
    context.text_until(&mut socket, |text| text.starts_with("44/slow,"))?;
    Ok(())
}

fn ping(context: &Context) -> Outcome {
    let (mut socket, _) = context.connected_websocket()?;
    let long = [b'z'; 125];
    let wanted: [&[u8]; 3] = [b"", b"hello", &long];
    for data in wanted {
        socket.send_raw(0x89, data)?;
    }
    is_alive_on(context, &mut socket)?;
    let observed: Vec<&[u8]> = socket.pongs.iter().map(Vec::as_slice).collect();
    equal("the pongs", &observed, &wanted.to_vec())
}

fn ping_is_no_heartbeat(context: &Context) -> Outcome {
    let bound = context.capabilities().silence_bound();
    context.affordable(bound)?;
    let (mut socket, _) = context.connected_websocket()?;
    let start = Instant::now();
    let step = (bound / 12).max(Duration::from_millis(20));
    while start.elapsed() < bound + Duration::from_secs(2) {
        if socket.send_raw(0x89, b"still here").is_err() {
            return Ok(());
        }
        match socket.receive(step) {
            Ok(_) | Err(ClientError::Timeout(_)) => {}
            Err(_) => {
                return match socket.closed() {
                    Some(close) if close.code == 1006 || code_fits(context, close.code, 4002) => {
                        Ok(())
                    }
                    other => fail("a close with 4002", shown(&other)),
                };
            }
        }
    }
    fail("the session times out", format!("it is open after {:?}", start.elapsed()))
}

fn close(context: &Context) -> Outcome {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let path = format!("{}&api_token={}", context.handshake_path(), user.token);
    let mut socket = RawSocket::open(context.target(), &path, &context.log)?;
    socket.receive_text(context.wait())?;
    if context.combo.protocol == Protocol::Eio4 {
        socket.send("40")?;
    }
    context.text_until(&mut socket, |text| text.starts_with("40"))?;
    socket.send(&format!("42[\"room\",{{\"roomid\":{room}}}]"))?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    socket.close();
    closes_with(context, &mut socket, 1000, CLOSES)?;
    witness.roster_of(room, &[witness.user.id])?;
    tcp_ends(&mut socket, Duration::from_secs(2))
}

fn bad_close(context: &Context) -> Outcome {
    let bodies: [(&[u8], &[u16]); 6] = [
        (&[3], &[1002]),
        (&[0, 0], &[1002]),
        (&999u16.to_be_bytes(), &[1002]),
        (&1005u16.to_be_bytes(), &[1002]),
        (&5000u16.to_be_bytes(), &[1002]),
        (&[3, 232, 0xc3, 0x28], &[1007, 1002]),
    ];
    for (body, codes) in bodies {
        context.step(format!("a close frame with the body {body:?}"));
        let (mut socket, _) = context.connected_websocket()?;
        socket.send_raw(0x88, body)?;
        let expected = format!("a code of {codes:?}");
        closes(&mut socket, &expected, CLOSES, |close| codes.contains(&close.code))?;
    }
    Ok(())
}

fn too_large(context: &Context) -> Outcome {
    let max = max_payload(context)?;
    let exact = format!("40/big?{},", "x".repeat(max - 8));
    let (mut socket, _) = context.known_websocket()?;
    context.step(format!("a message of exactly {max} bytes"));
    socket.send(&exact)?;
    is_alive_on(context, &mut socket)?;
    context.step(format!("a message of {} bytes", max + 1));
    // The server may close before everything is written; only its code counts.
    let _ = socket.send(&format!("{exact}x"));
    closes_with(context, &mut socket, 1009, CLOSES)?;
    context.step("two fragments that are too large together");
    let half = vec![b'x'; max / 2 + 1];
    closes_after(context, 1009, |socket| {
        let _ = socket.send_raw(0x01, &half);
        let _ = socket.send_raw(0x80, &half);
        Ok(())
    })?;
    context.step("a frame that only announces too many bytes");
    let head = [&[0x81, 0xff][..], &(max as u64 + 1).to_be_bytes(), &[1, 2, 3, 4]].concat();
    closes_after(context, 1009, |socket| socket.send_bytes(&head))
}

fn many_fragments(context: &Context) -> Outcome {
    // A stranger may be read more slowly (LIM-36).
    let (mut socket, _) = context.known_websocket()?;
    send_in_fragments(&mut socket, b"40/alive,", 65_537)?;
    context.text_until(&mut socket, |text| text.starts_with("44/alive,"))?;
    let _ = send_in_fragments(&mut socket, b"40/nope,", 140_000);
    // A slow machine needs seconds for so many frames.
    closes_with(context, &mut socket, 1009, CLOSES * 5)
}

fn send_in_fragments(socket: &mut RawSocket, text: &[u8], count: usize) -> Result<(), ClientError> {
    let (last, rest) = text.split_last().unwrap_or((&b'x', &[]));
    let mut bytes = frame(0x01, rest, Mask::Client);
    for _ in 2..count {
        bytes.extend(frame(0x00, b"", Mask::Client));
    }
    bytes.extend(frame(0x80, &[*last], Mask::Client));
    socket.send_bytes(&bytes)
}

/// End reasons of the protocol.
const REASONS: [&str; 11] = [
    "transport_close",
    "transport_error",
    "ping_timeout",
    "connect_timeout",
    "client_disconnect",
    "parse_error",
    "too_large",
    "slow_consumer",
    "limit",
    "server_stop",
    "polling_overlap",
];

fn close_reason(context: &Context) -> Outcome {
    let (mut socket, _) = context.connected_websocket()?;
    socket.send("x")?;
    closes(&mut socket, "the reason parse_error", CLOSES, |close| close.reason == "parse_error")
}

fn known_codes(context: &Context) -> Outcome {
    let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 4001, 4002, 4003, 4004];
    let texts = ["x", "4", "1", "42{}"].map(|text| Frame::Text(text.to_owned()));
    for fault in texts.into_iter().chain([Frame::Binary(vec![4, 1, 2, 3])]) {
        let (mut socket, _) = context.connected_websocket()?;
        socket.send_frame(&fault)?;
        closes(&mut socket, "a close code and an end reason of the protocol", CLOSES, |close| {
            let has_reason = close.reason.is_empty() || REASONS.contains(&close.reason.as_str());
            allowed.contains(&close.code) && has_reason
        })?;
    }
    Ok(())
}

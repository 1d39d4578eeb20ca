//! Long-polling: GET fetches packets, POST sends packets.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use throng_codec::engine::{self, Data, Kind, Packet, Protocol};
use throng_codec::payload::{self, Body};

use crate::defect::Defect;
use crate::handshake::{engine_error, handshake_identity, protocol_of};
use crate::http::{Request, Response, parse_form, read_body};
use crate::rate::TURN;
use crate::shared::{Shared, lock};

/// Packets of one body that are handled without a pause.
const PACKETS_AT_ONCE: usize = 20;

/// Serves a poll; `None` when the client closed the connection meanwhile.
pub fn get(world: &Shared, request: &Request, stream: &TcpStream) -> io::Result<Option<Response>> {
    let sid = match request.param("sid") {
        Some(sid) => sid.to_owned(),
        None => {
            let b64 = request.param("b64").is_some_and(|value| value == "1" || value == "true");
            let sid = lock(world).open_session(world.node, protocol_of(request), false, b64);
            handshake_identity(world, request, &sid);
            sid
        }
    };
    let (pipe, protocol, b64, upgrading) = {
        let mut world = lock(world);
        let Some(session) = world.sessions.get(&sid) else {
            return Ok(Some(engine_error(1)));
        };
        let mut out = session.pipe.lock();
        if out.held {
            drop(out);
            if !world.has(Defect::SecondPollAnswered) {
                world.end_session(&sid, 1008, "polling_overlap");
                return Ok(Some(engine_error(3)));
            }
            return Ok(Some(Response::new(200, "text/plain; charset=UTF-8", "6")));
        }
        out.held = true;
        drop(out);
        (session.pipe.clone(), session.protocol, session.b64, session.upgrading)
    };
    let (at_once, holds_in_upgrade) = {
        let world = lock(world);
        (world.has(Defect::PollAnsweredAtOnce), world.has(Defect::PollHeldInUpgrade))
    };
    let packets = {
        let mut out = pipe.lock();
        loop {
            let is_released = out.released || upgrading && !holds_in_upgrade || at_once;
            if !out.queue.is_empty() || out.closed.is_some() || is_released {
                break;
            }
            out = match pipe.wake.wait_timeout(out, Duration::from_millis(10)) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
            if is_gone(stream) {
                out.held = false;
                drop(out);
                lock(world).end_session(&sid, 0, "transport_close");
                return Ok(None);
            }
        }
        out.held = false;
        out.released = false;
        let mut packets = std::mem::take(&mut out.queue);
        out.bytes = 0;
        let (is_closed, by_client) = (out.closed.is_some(), out.by_client);
        drop(out);
        if is_closed && !by_client && lock(world).has(Defect::HeldPollCut) {
            let _ = stream.shutdown(Shutdown::Both);
            return Ok(None);
        }
        let rule = lock(world).options.rule.clone();
        let by_rule = |kind: Kind| match &rule {
            Some(rule) => rule.at_poll(kind),
            None => vec![Packet::text(kind, "")],
        };
        if is_closed && !by_client {
            packets.extend(by_rule(Kind::Close));
        }
        if packets.is_empty() {
            packets.extend(by_rule(Kind::Noop));
        }
        packets
    };
    Ok(Some(answer(world, request, protocol, b64, &packets)))
}

fn is_gone(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let mut byte = [0; 1];
    let gone = match stream.peek(&mut byte) {
        Ok(count) => count == 0,
        Err(why) => why.kind() != io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).is_err() || gone
}

fn answer(
    world: &Shared,
    request: &Request,
    protocol: Protocol,
    b64: bool,
    packets: &[Packet],
) -> Response {
    let jsonp = request.param("j");
    let binary = packets.iter().any(|packet| matches!(packet.data, Data::Binary(_)));
    let octets = lock(world).has(Defect::OctetsAlways) && protocol == Protocol::Eio3;
    let binary = binary || octets;
    let response = if binary && protocol == Protocol::Eio3 && !b64 && jsonp.is_none() {
        Response::new(200, "application/octet-stream", payload::encode_octets(packets))
    } else {
        let text = if lock(world).has(Defect::ByteLengths) && protocol == Protocol::Eio3 {
            byte_counted(packets)
        } else {
            payload::encode_text(protocol, packets)
        };
        match jsonp {
            Some(index) => {
                let echoes = lock(world).has(Defect::JsonpIndexEchoed);
                let is_kept = |c: &char| echoes || c.is_ascii_digit();
                let index: String = index.chars().filter(is_kept).collect();
                let literal = serde_json::Value::from(text).to_string();
                let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
                let body = format!("___eio[{index}]({literal});");
                Response::new(200, "text/javascript; charset=UTF-8", body)
            }
            None => Response::new(200, "text/plain; charset=UTF-8", text),
        }
    };
    response.with("Cache-Control", "no-store")
}

fn byte_counted(packets: &[Packet]) -> String {
    let part = |packet: &Packet| match &packet.data {
        Data::Text(text) => format!("{}:{}{text}", text.len() + 1, packet.kind.digit()),
        Data::Binary(_) => String::new(),
    };
    packets.iter().map(part).collect()
}

pub fn post(
    world: &Shared,
    request: &Request,
    reader: &mut BufReader<TcpStream>,
) -> io::Result<Response> {
    let sid = request.param("sid").unwrap_or("").to_owned();
    let (protocol, max) = {
        let mut world = lock(world);
        let second_accepted = world.has(Defect::SecondPostAccepted);
        let Some(session) = world.sessions.get_mut(&sid) else {
            return Ok(engine_error(1));
        };
        if session.posting && !second_accepted {
            world.end_session(&sid, 1008, "polling_overlap");
            return Ok(engine_error(3).with("Connection", "close"));
        }
        session.posting = true;
        (session.protocol, world.payload_max(&sid))
    };
    let held = Some(lock(world)).filter(|world| world.has(Defect::BodyHoldsAll));
    let body = read_body(reader, request.body_length, max);
    drop(held);
    let body = body?;
    let outcome = take_body(world, request, &sid, protocol, body);
    let mut world = lock(world);
    let only_pings = world.has(Defect::OnlyPingsAreLife);
    if let Some(session) = world.sessions.get_mut(&sid) {
        session.posting = false;
        if !only_pings {
            session.last_packet_at = Instant::now();
        }
    }
    let ok = Response::new(200, "text/html", "ok").with("Cache-Control", "no-store");
    Ok(match outcome {
        Ok(()) => ok,
        Err(Broken::TooLarge) => {
            world.end_session(&sid, 1009, "too_large");
            Response::new(413, "text/plain", "").with("Cache-Control", "no-store")
        }
        Err(Broken::Malformed) if world.has(Defect::FaultyPostActs) => ok,
        Err(Broken::Malformed) => {
            world.end_session(&sid, 1008, "parse_error");
            engine_error(3)
        }
    })
}

enum Broken {
    TooLarge,
    Malformed,
}

fn take_body(
    world: &Shared,
    request: &Request,
    sid: &str,
    protocol: Protocol,
    body: Option<Vec<u8>>,
) -> Result<(), Broken> {
    let body = body.ok_or(Broken::TooLarge)?;
    let is_slowed = {
        let world = lock(world);
        let is_upgrading = world.sessions.get(sid).is_some_and(|session| session.upgrading);
        if world.has(Defect::PostDiscarded) || is_upgrading && world.has(Defect::PostsLostInUpgrade)
        {
            return Ok(());
        }
        world.is_slowed(sid)
    };
    if protocol == Protocol::Eio4
        && request.is_type("application/octet-stream")
        && lock(world).has(Defect::TypeDecides)
    {
        return Err(Broken::Malformed);
    }
    let keeps_newlines = lock(world).has(Defect::JsonpNewlinesKept);
    let takes_any = lock(world).takes_any_direction();
    let is_valid = |packet: &Packet| takes_any || has_valid_direction(protocol, packet);
    let body = body_of(request, protocol, body, keeps_newlines).ok_or(Broken::Malformed)?;
    if lock(world).has(Defect::PacketsBehindFault)
        && let Body::Text(text) = &body
    {
        // Engine.IO 4 only: the others have lengths.
        for part in text.split('\u{1e}').filter(|part| part.starts_with("42")) {
            lock(world).handle(sid, engine::decode_text(part));
        }
    }
    let decoded = payload::decode(protocol, &body);
    if decoded.is_err() && lock(world).has(Defect::BadBase64Ignored) && has_base64(&body) {
        return Ok(());
    }
    let mut packets =
        decoded.ok().filter(|packets| packets.iter().all(is_valid)).ok_or(Broken::Malformed)?;
    let (is_reversed, is_late, loses_fourth) = {
        let world = lock(world);
        let has = |defect| world.has(defect);
        (has(Defect::PostReversed), has(Defect::PostLate), has(Defect::FourthPacketLost))
    };
    if is_reversed {
        packets.reverse();
    }
    if loses_fourth {
        packets.truncate(3);
    }
    if is_late {
        let (world, sid) = (world.clone(), sid.to_owned());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            for packet in packets {
                lock(&world).handle(&sid, Ok(packet));
            }
        });
        return Ok(());
    }
    for (index, packet) in packets.into_iter().enumerate() {
        if is_slowed && index >= PACKETS_AT_ONCE {
            thread::sleep(TURN);
        }
        lock(world).handle(sid, Ok(packet));
    }
    Ok(())
}

/// Whether one of the packets is binary data as text.
fn has_base64(body: &Body) -> bool {
    match body {
        Body::Text(text) => text.split(['\u{1e}', ':']).any(|part| part.starts_with('b')),
        Body::Octets(_) => false,
    }
}

/// Pings and pongs are valid in one direction only.
fn has_valid_direction(protocol: Protocol, packet: &Packet) -> bool {
    match protocol {
        Protocol::Eio4 => packet.kind != Kind::Ping,
        Protocol::Eio3 => packet.kind != Kind::Pong,
    }
}

fn body_of(
    request: &Request,
    protocol: Protocol,
    body: Vec<u8>,
    keeps_newlines: bool,
) -> Option<Body> {
    if request.param("j").is_some() {
        let text = String::from_utf8(body).ok()?;
        let fields = parse_form(&text);
        let (_, data) = fields.into_iter().find(|(name, _)| name == "d")?;
        let text = if keeps_newlines { data } else { unescape_newlines(&data) };
        return Some(Body::Text(text));
    }
    if protocol == Protocol::Eio3 && request.is_type("application/octet-stream") {
        return Some(Body::Octets(body));
    }
    String::from_utf8(body).ok().map(Body::Text)
}

/// `\n` becomes a line feed, `\\n` becomes `\n` (TRN-72).
fn unescape_newlines(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\\\n") {
            out.push_str("\\n");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\n") {
            out.push('\n');
            rest = after;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

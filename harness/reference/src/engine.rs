//! Connections: HTTP requests, and WebSockets once upgraded.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use throng_codec::engine::{self, Frame, Protocol};
use throng_codec::websocket::{BINARY, Mask, Message, accept_key};

use crate::defect::Defect;
use crate::frames::{Fault, Reader, Writer};
use crate::handshake::{engine_error, handshake_identity, protocol_of};
use crate::http::{Request, Response, linger, read_body, read_head};
use crate::rate::{Rate, TURN};
use crate::shared::{Shared, lock};
use crate::world::{Pipe, World};
use crate::{polling, rest, upgrade};

const ENGINE_PATHS: [&str; 4] = ["/socket.io/", "/socket.io", "/ws/", "/ws"];
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// What a request and a byte of its body count for, where the client's user is not known.
const REQUEST_PACKETS: usize = 5;
const PACKET_BYTES: usize = 16;
const WRITE_WAIT: Duration = Duration::from_secs(2);
/// How long a session that ended is read, for the peer's close frame.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

pub fn serve_connection(world: &Shared, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    stream.set_read_timeout(Some(HEAD_WAIT))?;
    // What this server writes is small: a client that takes none of it in this time does not read.
    stream.set_write_timeout(Some(WRITE_WAIT))?;
    let spins = lock(world).has(Defect::UnfinishedHeadSpins);
    let mut rate = Rate::new();
    let mut packets = 0;
    let mut is_first = true;
    let (keeps_heads, loses_pipelined) = {
        let world = lock(world);
        (world.has(Defect::HeadsKept), world.has(Defect::PipelinedLost))
    };
    if keeps_heads {
        stream.set_read_timeout(None)?;
    }
    loop {
        if loses_pipelined {
            reader = BufReader::new(stream.try_clone()?);
        }
        // It is answered first, so that only clients of many requests wait.
        rate.take(packets, 0);
        let is_bounded = is_first || !lock(world).has(Defect::LaterHeadsUnlimited);
        is_first = false;
        stream.set_nonblocking(spins)?;
        let read = read_head(&mut reader, is_bounded, spins);
        stream.set_nonblocking(false)?;
        let mut request = match read {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(why) if why.kind() == io::ErrorKind::Other => {
                let refusal = Response::new(431, "text/plain", why.to_string());
                refusal.with("Connection", "close").write(&stream, true)?;
                return linger(&mut reader);
            }
            Err(why) => return Err(why),
        };
        stream.set_read_timeout(None)?;
        let rule = lock(world).options.rule.clone();
        let is_engine = lock(world).is_engine_path(&request.path);
        if let Some(rule) = &rule {
            rule.request(if is_engine { "in:engine" } else { "in:api" }, &mut request);
        }
        let by_rule = |name: &dyn Fn(&Request, &Response) -> String,
                       request: &Request,
                       response| {
            let Some(rule) = &rule else { return Ok(response) };
            rule.answer(&name(request, &response), response).ok_or(io::ErrorKind::ConnectionAborted)
        };
        let of_user = lock(world).user_of(request.param("sid").unwrap_or("")).is_some();
        // A body may hold many packets, and a request costs more than one.
        packets = if of_user { 0 } else { REQUEST_PACKETS + request.body_length / PACKET_BYTES };
        if !is_engine {
            let response = rest::answer(world, &request, &mut reader)?;
            let response = by_rule(&route_name, &request, response)?;
            response.write(&stream, request.method != "HEAD")?;
            if response.closes() {
                return linger(&mut reader);
            }
            continue;
        }
        if let Some(refusal) = refusal(world, &request) {
            if lock(world).has(Defect::BodyBeforeRefusal) {
                read_body(&mut reader, request.body_length, 0)?;
            }
            let is_early = request.is_upgrade() || request.body_length > 0;
            let refusal = if is_early { refusal.with("Connection", "close") } else { refusal };
            let refusal = by_rule(&refusal_name, &request, refusal)?;
            refusal.write(&stream, true)?;
            if !is_early {
                continue;
            }
            return if lock(world).has(Defect::EarlyAnswerCut) {
                Ok(())
            } else {
                linger(&mut reader)
            };
        }
        if request.is_upgrade() && request.param("transport") == Some("websocket") {
            return serve_websocket(world, &request, reader, stream);
        }
        let response = match request.method.as_str() {
            "OPTIONS" => Response::new(204, "text/plain", "")
                .with("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
            "POST" => polling::post(world, &request, &mut reader)?,
            _ => match polling::get(world, &request, &stream)? {
                Some(response) => response,
                None => return Ok(()),
            },
        };
        let response = by_rule(&session_name, &request, response)?;
        response.write(&stream, true)?;
        if response.closes() {
            return linger(&mut reader);
        }
    }
}

/// What a rule calls an answer of the API: `GET /api/rooms`, `401 GET /api/rooms`, `GET /storage`.
fn route_name(request: &Request, response: &Response) -> String {
    let is_api = request.path.starts_with("/api/");
    let folder = request.path.split('/').nth(1).unwrap_or("");
    let path = if is_api { request.path.clone() } else { format!("/{folder}") };
    let errno = response.errno().filter(|errno| !matches!(errno, 0 | 200));
    match (response.status, errno) {
        (200, None) => format!("{} {path}", request.method),
        (200, Some(errno)) => format!("errno {errno} {} {path}", request.method),
        (status, _) => format!("{status} {} {path}", request.method),
    }
}

/// What a rule calls an answer that carries packets: `handshake`, `poll`, `jsonp`, `post`, `413 post`.
fn session_name(request: &Request, response: &Response) -> String {
    let name = match request.method.as_str() {
        "OPTIONS" => "preflight",
        "POST" => "post",
        _ if request.param("j").is_some() => "jsonp",
        _ if request.param("sid").is_none() => "handshake",
        _ => "poll",
    };
    match response.status {
        200 | 204 => name.to_owned(),
        status => format!("{status} {name}"),
    }
}

/// What a rule calls a refusal of TRN-11 to TRN-22: `refusal:3`, `upgrade-refusal:3`.
fn refusal_name(request: &Request, refusal: &Response) -> String {
    let code = refusal.member("code").unwrap_or(9);
    let kind = if request.is_upgrade() { "upgrade-refusal" } else { "refusal" };
    format!("{kind}:{code}")
}

/// The checks TRN-11 to TRN-17 and TRN-22, in their order.
fn refusal(world: &Shared, request: &Request) -> Option<Response> {
    let transport = request.param("transport").unwrap_or("");
    if let Some(refusal) = lock(world).refuse_by_defect(request) {
        return Some(refusal);
    }
    if !matches!(transport, "polling" | "websocket") {
        return Some(engine_error(0));
    }
    let mut world = lock(world);
    let world = &mut *world;
    if transport == "polling" && world.has(Defect::PollingRefused) {
        return Some(engine_error(0));
    }
    if world.has(Defect::FieldsJudgedFirst)
        && let Some(fault) = websocket_fault(request)
    {
        return Some(fault);
    }
    let forwarded = request.header("x-forwarded-host");
    let believed = forwarded.filter(|_| world.has(Defect::ForwardsBelieved));
    let is_null = request.header("origin") == Some("null");
    let takes_null = is_null && world.has(Defect::NullOriginAccepted);
    if !request.is_from(believed.or(request.header("host"))) && !takes_null {
        return Some(engine_error(4));
    }
    if let Some(sid) = request.param("sid") {
        let Some(session) = world.sessions.get(sid) else {
            let answers_closed = world.has(Defect::ClosedSidAnswered) && world.closed.contains(sid);
            return if (world.has(Defect::SidNotChecked) || answers_closed)
                && request.method == "GET"
            {
                Some(Response::new(200, "text/plain; charset=UTF-8", "6"))
            } else {
                Some(engine_error(1))
            };
        };
        let on_websocket = transport == "websocket";
        let is_wrong = !request.is_upgrade() && on_websocket != session.on_websocket;
        let ends = is_wrong && world.has(Defect::RefusedEndsSession)
            || is_wrong && session.on_websocket && world.has(Defect::PollAfterUpgradeEnds)
            || request.is_upgrade()
                && (session.on_websocket || session.upgrading)
                && world.has(Defect::SecondWebsocketEnds);
        if ends {
            world.end_session(sid, 1008, "parse_error");
            return Some(engine_error(3));
        }
        if !request.is_upgrade() && on_websocket != session.on_websocket
            || session.on_websocket && !request.is_upgrade()
        {
            return Some(engine_error(3));
        }
        if request.is_upgrade() && (session.on_websocket || session.upgrading) {
            return Some(engine_error(3));
        }
        let known = matches!(request.method.as_str(), "GET" | "POST" | "OPTIONS");
        if !known && world.has(Defect::OtherMethodEndsSession) {
            world.end_session(sid, 1008, "parse_error");
        }
        if world.has(Defect::VersionAlwaysChecked)
            && !matches!(request.param("EIO"), Some("3" | "4"))
        {
            return Some(engine_error(5));
        }
        if request.is_upgrade() && world.has(Defect::KeyNotChecked) {
            return None;
        }
        return if known { websocket_fault(request) } else { Some(engine_error(3)) };
    }
    if request.method == "OPTIONS" {
        return None;
    }
    if request.method != "GET" {
        return Some(engine_error(2));
    }
    if transport == "websocket" && !request.is_upgrade() {
        return Some(engine_error(3));
    }
    let is_old = request.param("EIO") == Some("3");
    if is_old && world.has(Defect::OldProtocolRefused)
        || !is_old && request.param("EIO") != Some("4")
    {
        return Some(engine_error(5));
    }
    let is_user = |token: &str| world.tokens.contains_key(token);
    if !request.param("api_token").is_some_and(is_user) && world.is_full() {
        let refusal = Response::new(503, "text/plain", "too many sessions");
        // What else waits on the connection is not answered.
        return Some(refusal.with("Retry-After", "5").with("Connection", "close"));
    }
    let bad_token =
        request.param("api_token").is_some_and(|token| !world.tokens.contains_key(token));
    if world.has(Defect::AnonymousRefused) && bad_token {
        return Some(Response::new(403, "text/html", "<html>log in first</html>"));
    }
    if world.has(Defect::KeyNotChecked) {
        return None;
    }
    websocket_fault(request)
}

impl World {
    fn is_engine_path(&self, path: &str) -> bool {
        let is_gone = self.has(Defect::WsPathGone) && path.starts_with("/ws")
            || self.has(Defect::SlashNeeded) && !path.ends_with('/');
        ENGINE_PATHS.contains(&path) && !is_gone
    }

    /// What defects refuse before anything else is checked.
    fn refuse_by_defect(&mut self, request: &Request) -> Option<Response> {
        const KNOWN: [&str; 7] = ["EIO", "transport", "sid", "t", "b64", "j", "api_token"];
        let is_unknown = |(name, _): &(String, String)| !KNOWN.contains(&name.as_str());
        if self.has(Defect::UnknownParamRefused) && request.query.iter().any(is_unknown) {
            return Some(engine_error(3));
        }
        let sid = request.param("sid")?;
        if self.has(Defect::TimestampMatters) {
            let stamp = request.param("t").unwrap_or("").to_owned();
            if !self.timestamps.insert((sid.to_owned(), stamp)) {
                return Some(engine_error(3));
            }
        }
        let is_unknown = !self.sessions.contains_key(sid);
        (self.has(Defect::SessionBeforeOrigin) && is_unknown).then(|| engine_error(1))
    }

    /// A WebSocket ping is no heartbeat, but for a defect.
    fn ws_ping(&mut self, sid: &str) {
        if self.has(Defect::WsPingIsLife)
            && let Some(session) = self.sessions.get_mut(sid)
        {
            session.last_packet_at = Instant::now();
            session.pong_due = None;
            session.ping_due = Instant::now() + Duration::from_secs(3_600);
        }
    }
}

fn websocket_fault(request: &Request) -> Option<Response> {
    if !request.is_upgrade() {
        return None;
    }
    let key = request.header("sec-websocket-key").unwrap_or("");
    let key_is_valid = data_encoding::BASE64.decode(key.as_bytes()).is_ok_and(|k| k.len() == 16);
    let version_is_13 = request.header("sec-websocket-version") == Some("13");
    (!key_is_valid || !version_is_13).then(|| engine_error(3))
}

fn serve_websocket(
    world: &Shared,
    request: &Request,
    reader: BufReader<TcpStream>,
    stream: TcpStream,
) -> io::Result<()> {
    let key = request.header("sec-websocket-key").unwrap_or("");
    let mut answer = Response { status: 101, headers: Vec::new(), body: Vec::new() }
        .with("Upgrade", "websocket")
        .with("Connection", "Upgrade")
        .with("Sec-WebSocket-Accept", accept_key(key));
    let offered = request.header("sec-websocket-protocol").and_then(|list| list.split(',').next());
    if let Some(first) = offered
        && !lock(world).has(Defect::SubprotocolDropped)
    {
        answer = answer.with("Sec-WebSocket-Protocol", first.trim());
    }
    if let Some(rule) = lock(world).options.rule.clone() {
        answer = rule.answer("upgrade", answer).ok_or(io::ErrorKind::ConnectionAborted)?;
    }
    answer.write(&stream, false)?;
    let masks = lock(world).has(Defect::ServerMasks);
    let writer = Writer::new(stream.try_clone()?, masks);
    let mask = (!lock(world).has(Defect::MaskNotRequired)).then_some(Mask::Client);
    // The size of its messages depends on the session.
    let mut frames = Reader::new(reader, 0, mask);
    frames.refuses_fragments = lock(world).has(Defect::FragmentsRefused);
    let sid = match request.param("sid") {
        Some(sid) => {
            let sid = sid.to_owned();
            frames.limit(lock(world).payload_max(&sid));
            if !upgrade::probe(world, &sid, &mut frames, &writer, &stream)? {
                return Ok(());
            }
            sid
        }
        None => {
            let sid = lock(world).open_session(world.node, protocol_of(request), true, false);
            handshake_identity(world, request, &sid);
            sid
        }
    };
    let Some((protocol, pipe)) =
        lock(world).sessions.get(&sid).map(|session| (session.protocol, session.pipe.clone()))
    else {
        return Ok(());
    };
    let (write_stream, write_pipe, write_frames) =
        (stream.try_clone()?, pipe.clone(), writer.clone());
    let joins = lock(world).has(Defect::TwoInOneMessage);
    let drain = thread::spawn(move || {
        drain_to_websocket(protocol, &write_pipe, &write_frames, joins);
        // The client answers our close frame; without an answer the connection ends after this time.
        let _ = write_stream.set_read_timeout(Some(CLOSE_WAIT));
    });
    read_websocket(world, &sid, protocol, &mut frames, &writer, &pipe);
    let _ = drain.join();
    if lock(world).has(Defect::CloseLeavesTcpOpen) {
        // As long as no case waits.
        thread::sleep(Duration::from_secs(20));
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}

fn drain_to_websocket(protocol: Protocol, pipe: &Arc<Pipe>, writer: &Writer, joins: bool) {
    loop {
        let (packets, closed) = {
            let mut out = pipe.lock();
            while out.queue.is_empty() && out.closed.is_none() {
                out = match pipe.wake.wait(out) {
                    Ok(guard) => guard,
                    Err(poisoned) => poisoned.into_inner(),
                };
            }
            (std::mem::take(&mut out.queue), out.closed)
        };
        let bytes: usize = packets.iter().map(|packet| packet.data.bytes()).sum();
        if joins && packets.len() > 1 {
            let text = throng_codec::payload::encode_text(Protocol::Eio4, &packets);
            if writer.text(&text).is_err() {
                return;
            }
            continue;
        }
        for packet in packets {
            let written = match engine::encode(protocol, &packet) {
                Frame::Text(text) => writer.text(&text),
                Frame::Binary(bytes) => writer.write(BINARY, &bytes),
            };
            if written.is_err() {
                return;
            }
        }
        let mut out = pipe.lock();
        out.bytes = out.bytes.saturating_sub(bytes);
        drop(out);
        if let Some((code, reason)) = closed {
            if code != 0 {
                writer.close(code, reason);
            }
            return;
        }
    }
}

fn read_websocket(
    world: &Shared,
    sid: &str,
    protocol: Protocol,
    frames: &mut Reader<BufReader<TcpStream>>,
    writer: &Writer,
    pipe: &Arc<Pipe>,
) {
    let mut rate = Rate::new();
    let mut closed_at = None;
    loop {
        let is_slowed = {
            let world = lock(world);
            frames.limit(world.payload_max(sid));
            world.is_slowed(sid)
        };
        let message = frames.next();
        match &message {
            // What a client sends after its end has no hurry.
            _ if closed_at.is_some() => thread::sleep(TURN),
            Ok(message) if is_slowed => rate.take(1, message.bytes()),
            Ok(_) | Err(_) => {}
        }
        match message {
            Ok(Message::Text(text)) => {
                let packet = engine::decode(protocol, &Frame::Text(text));
                lock(world).handle(sid, packet);
            }
            Ok(Message::Binary(bytes)) => {
                let packet = engine::decode_binary(protocol, &bytes);
                lock(world).handle(sid, packet);
            }
            Ok(Message::Ping(data)) => {
                let mut world = lock(world);
                world.ws_ping(sid);
                let is_empty = world.has(Defect::WsPongEmpty);
                drop(world);
                writer.pong(if is_empty { b"" } else { &data });
            }
            Ok(Message::Pong(_)) => {}
            Ok(Message::Close(close)) => {
                let code = close.map_or(1000, |close| close.code);
                let mut world = lock(world);
                if !world.sessions.contains_key(sid) {
                    return;
                }
                return world.end_session(sid, code, "transport_close");
            }
            Err(Fault::Close(code)) => {
                let reason = if code == 1009 { "too_large" } else { "parse_error" };
                lock(world).end_session(sid, code, reason);
            }
            Err(Fault::Quiet) => {
                if pipe.lock().closed.is_some() {
                    return;
                }
            }
            Err(Fault::Gone) => {
                let mut world = lock(world);
                if !world.has(Defect::ForgetsReset) {
                    world.end_session(sid, 0, "transport_error");
                }
                return;
            }
        }
        if pipe.lock().closed.is_some() && !lock(world).sessions.contains_key(sid) {
            // Read on for a limited time, for the peer's close frame.
            let _ = frames.get_ref().get_ref().set_read_timeout(Some(CLOSE_WAIT));
            if closed_at.get_or_insert_with(Instant::now).elapsed() > CLOSE_WAIT {
                return;
            }
        }
    }
}

//! Checks and set-ups that many cases share.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use throng_codec::engine::{Data, Kind, Packet, Protocol};

use crate::client::ClientError;
use crate::client::chat::{Chat, is_roster_of, roster_ids};
use crate::client::http::{Connection, Request, Response};
use crate::client::options::{Options, Transport};
use crate::client::poller::{Poller, is_message};
use crate::client::rest::User;
use crate::client::socket::Socket;
use crate::client::state::Event;
use crate::client::websocket::RawSocket;
use crate::context::{Context, QUIET};
use crate::outcome::{Outcome, Stop, equal, fail, require};

/// How long a case waits for the server to close a session.
pub const CLOSES: Duration = Duration::from_secs(3);

/// Engine.IO's errors: code, status, message.
pub const UNKNOWN_TRANSPORT: (u64, u16, &str) = (0, 400, "Transport unknown");
pub const UNKNOWN_SID: (u64, u16, &str) = (1, 400, "Session ID unknown");
pub const BAD_METHOD: (u64, u16, &str) = (2, 400, "Bad handshake method");
pub const BAD_REQUEST: (u64, u16, &str) = (3, 400, "Bad request");
pub const FORBIDDEN: (u64, u16, &str) = (4, 403, "Forbidden");
pub const BAD_VERSION: (u64, u16, &str) = (5, 400, "Unsupported protocol version");

/// A new room with the session under test in it.
pub fn guest_in_room(context: &Context) -> Result<(u64, Chat), Stop> {
    let room = context.room()?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    Ok((room, guest))
}

/// A new room with an observer in it.
pub fn watched_room(context: &Context) -> Result<(u64, Chat), Stop> {
    let room = context.room()?;
    let witness = context.observer("witness")?;
    witness.join(room)?;
    Ok((room, witness))
}

/// A new room with the session under test and an observer in it.
pub fn guest_and_witness(context: &Context) -> Result<(u64, Chat, Chat), Stop> {
    let (room, witness) = watched_room(context)?;
    let guest = context.guest("guest")?;
    guest.join(room)?;
    Ok((room, guest, witness))
}

/// A new room with an observer and a polling session in it, and the user of the latter.
pub fn polling_member(context: &Context) -> Result<(u64, Chat, User, Poller), Stop> {
    let (room, witness) = watched_room(context)?;
    let user = context.user()?;
    let poller = context.poller_of(&user)?;
    poller.connect()?;
    poller.post_message(&format!("2[\"room\",{{\"roomid\":{room}}}]"))?;
    witness.roster_of(room, &[witness.user.id, user.id])?;
    Ok((room, witness, user, poller))
}

/// `count` users with one session each.
pub fn crowd(context: &Context, count: usize) -> Result<Vec<Chat>, Stop> {
    (0..count).map(|index| context.observer(&format!("crowd{index}"))).collect()
}

/// A session, and an event for which it can request acknowledgements.
pub fn asking_socket(context: &Context) -> Result<(Socket, &'static str), Stop> {
    if context.capabilities().chat {
        let user = context.user()?;
        let options = Options { token: Some(user.token), ..context.options() };
        return Ok((context.socket_with(options)?, "login"));
    }
    Ok((context.socket()?, "message-with-ack"))
}

pub fn refused(response: &Response, error: (u64, u16, &str)) -> Outcome {
    let (code, status, message) = error;
    let wanted = json!({ "code": code, "message": message });
    require(
        response.status == status && response.json() == wanted,
        &format!("status {status} and the body {wanted}"),
        || format!("status {} and the body {}", response.status, response.text()),
    )
}

pub fn status(response: &Response, status: u16) -> Outcome {
    require(response.status == status, &format!("status {status}"), || {
        format!("status {} and the body {}", response.status, response.text())
    })
}

pub fn header(response: &Response, name: &str, wanted: &str) -> Outcome {
    let observed = response.header(name);
    let fits = observed.is_some_and(|value| normal(value) == normal(wanted));
    require(fits, &format!("the header {name}: {wanted}"), || format!("{name}: {observed:?}"))
}

/// Header values may differ in case and blanks.
fn normal(value: &str) -> String {
    value.to_ascii_lowercase().replace(' ', "")
}

/// The `sid` of this session is unknown now.
pub fn is_gone(poller: &Poller) -> Outcome {
    refused(&poller.get()?, UNKNOWN_SID)
}

/// CONNECT to an unknown namespace: every server answers it, with or without chat.
pub const ASK: &str = "0/nope,";

pub fn is_answer(packet: &Packet, namespace: &str) -> bool {
    is_message(packet, &format!("4{namespace},"))
}

/// The polling session is usable: a CONNECT is answered.
pub fn is_alive(poller: &Poller) -> Outcome {
    let namespace = "/alive";
    let posted = poller.post_message(&format!("0{namespace},"))?;
    status(&posted, 200)?;
    for _ in 0..4 {
        let packets = poller.poll()?;
        if packets.iter().any(|packet| is_answer(packet, namespace)) {
            return Ok(());
        }
        answer_pings(poller, &packets)?;
    }
    fail("the session stays usable", "it does not answer")
}

pub fn answer_pings(poller: &Poller, packets: &[Packet]) -> Result<(), ClientError> {
    if poller.protocol == Protocol::Eio4 && packets.iter().any(|p| p.kind == Kind::Ping) {
        poller.post_packets(&[Packet::text(Kind::Pong, "")])?;
    }
    Ok(())
}

/// The WebSocket session is usable: a CONNECT is answered.
pub fn is_alive_on(context: &Context, socket: &mut RawSocket) -> Outcome {
    socket.send("40/alive,")?;
    context.text_until(socket, |text| text.starts_with("44/alive,"))?;
    Ok(())
}

/// The server closes the WebSocket with this code.
pub fn closes_with(socket: &mut RawSocket, code: u16, wait: Duration) -> Outcome {
    match socket.wait_close(wait) {
        Some(close) if close.code == code => Ok(()),
        Some(close) => fail(
            format!("a close frame with code {code}"),
            format!("close code {} {:?}", close.code, close.reason),
        ),
        None => fail(format!("a close frame with code {code}"), "the connection stays open"),
    }
}

pub fn texts(packets: &[Packet]) -> Vec<String> {
    let text = |packet: &Packet| match &packet.data {
        Data::Text(text) => format!("{}{text}", packet.kind.digit()),
        Data::Binary(bytes) => format!("{} bytes of binary", bytes.len()),
    };
    packets.iter().map(text).collect()
}

/// The object has exactly these fields.
pub fn has_exactly(what: &str, value: &Value, keys: &[&str]) -> Outcome {
    let mut wanted: Vec<&str> = keys.to_vec();
    wanted.sort_unstable();
    let mut observed: Vec<&str> =
        value.as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default();
    observed.sort_unstable();
    require(observed == wanted, &format!("{what} has exactly the fields {wanted:?}"), || {
        format!("{what} is {value}")
    })
}

/// An acknowledgement that refuses with this code.
pub fn refuses(answer: &Value, code: &str) -> Outcome {
    require(
        answer["ok"] == json!(false) && answer["code"] == json!(code),
        &format!("an acknowledgement {{ok: false, code: {code:?}}}"),
        || format!("{answer}"),
    )
}

pub fn accepts(answer: &Value) -> Outcome {
    require(answer["ok"] == json!(true), "an acknowledgement with ok: true", || format!("{answer}"))
}

pub fn max_payload(context: &Context) -> Result<usize, Stop> {
    match context.capabilities().max_payload {
        Some(bytes) => Ok(bytes as usize),
        None => Err(Stop::Skip("the open packet has no maxPayload".to_owned())),
    }
}

/// The member's last roster of the room, once no roster event has arrived for a while.
pub fn last_roster(context: &Context, chat: &Chat, room: u64) -> Result<Vec<u64>, Stop> {
    let rosters = || -> Vec<Event> {
        chat.socket.events().into_iter().filter(|event| is_roster_of(event, room)).collect()
    };
    let mut seen = rosters().len();
    loop {
        context.pause(QUIET);
        let now = rosters();
        if now.len() == seen {
            return Ok(now.last().map(|event| ids(event.arg(0))).unwrap_or_default());
        }
        seen = now.len();
    }
}

/// The session is usable: a CONNECT is answered.
pub fn goes_on(context: &Context, socket: &Socket) -> Outcome {
    socket.send_engine(&Packet::message(ASK))?;
    socket.wait_packet(context.wait(), "an answer", |packet| packet.namespace == "/nope")?;
    Ok(())
}

/// Sends text as an Engine.IO message on a connected session, which must end.
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
            // A server may detect the error while it reads the POST, or after it answered ok.
            let _ = poller.post_message(text);
            is_gone(&poller)
        }
    }
}

/// Value and attributes of the session cookie.
pub fn set_cookie(response: &Response) -> Result<(String, String), Stop> {
    let cookies =
        response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    for (_, cookie) in cookies {
        if let Some(rest) = cookie.strip_prefix("throng_session=") {
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            return Ok((value.to_owned(), attributes.to_ascii_lowercase()));
        }
    }
    fail("a cookie throng_session", format!("{:?}", response.headers))
}

pub fn ids(roster: &Value) -> Vec<u64> {
    roster_ids(roster).into_iter().collect()
}

pub fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// The roster has exactly these users.
pub fn users_are(what: &str, roster: &Value, users: &[u64]) -> Outcome {
    equal(what, &roster_ids(roster), &users.iter().copied().collect())
}

/// Fails if something was found.
pub fn nothing<T: fmt::Debug>(expected: &str, found: Option<T>) -> Outcome {
    match found {
        None => Ok(()),
        Some(found) => fail(expected, format!("{found:?}")),
    }
}

pub fn stays_open(what: &str, socket: &Socket) -> Outcome {
    nothing(what, socket.ending())
}

/// An acknowledgement that refuses `input` with this code.
pub fn refuses_input(answer: &Value, code: &str, input: impl fmt::Display) -> Outcome {
    require(answer["code"] == json!(code), code, || format!("{answer} for {input}"))
}

/// Takes the packets that are due, so that the next poll is held.
fn drained(context: &Context, poller: &Poller) -> Result<(), Stop> {
    poller.post_message(ASK)?;
    let packets = poller.poll()?;
    require(packets.iter().any(|packet| is_answer(packet, "/nope")), "an answer", || {
        format!("{:?}", texts(&packets))
    })?;
    context.step("the server has nothing more to send");
    Ok(())
}

/// A poll that the server holds.
pub fn hold(context: &Context, poller: &Poller) -> Result<Connection, Stop> {
    drained(context, poller)?;
    let mut connection = context.connection()?;
    connection.send(&Request::get(&poller.path()))?;
    match connection.receive(QUIET) {
        Err(ClientError::Timeout(_)) => Ok(connection),
        Ok(response) if response.text() == "2" => {
            // A ping arrived in between; the next poll is held.
            poller.post("3")?;
            connection.send(&Request::get(&poller.path()))?;
            context.pause(QUIET);
            Ok(connection)
        }
        Ok(response) => fail(
            "the poll is held while the server has nothing to send",
            format!("it is answered with {}", response.text()),
        ),
        Err(other) => Err(other.into()),
    }
}

/// The session ends; a WebSocket with this close code.
pub fn ends_with(context: &Context, socket: &Socket, code: u16) -> Outcome {
    match (context.combo.transport, socket.wait_end(CLOSES)) {
        (_, None) => fail("the session is closed", "it stays open"),
        (Transport::Polling, Some(_)) => Ok(()),
        (Transport::Websocket, Some(ending)) => equal("the close code", &ending.code, &code),
    }
}

/// The member gets no roster event after event `seen`.
pub fn no_roster_since(context: &Context, member: &Chat, seen: usize, room: u64) -> Outcome {
    context.pause(QUIET);
    let events = member.socket.events_since(seen);
    let event = events.into_iter().find(|event| is_roster_of(event, room));
    nothing("no roster event for the other members", event)
}

//! What many cases look at.

use std::time::Duration;

use serde_json::{Value, json};
use throng_codec::engine::{Data, Kind, Packet, Protocol};

use crate::client::Trouble;
use crate::client::http::Response;
use crate::client::poller::{Poller, is_message};
use crate::client::websocket::RawSocket;
use crate::context::Context;
use crate::outcome::{Outcome, Stop, fail, require};

/// Engine.IO's errors: code, status, message.
pub const UNKNOWN_TRANSPORT: (u64, u16, &str) = (0, 400, "Transport unknown");
pub const UNKNOWN_SID: (u64, u16, &str) = (1, 400, "Session ID unknown");
pub const BAD_METHOD: (u64, u16, &str) = (2, 400, "Bad handshake method");
pub const BAD_REQUEST: (u64, u16, &str) = (3, 400, "Bad request");
pub const FORBIDDEN: (u64, u16, &str) = (4, 403, "Forbidden");
pub const BAD_VERSION: (u64, u16, &str) = (5, 400, "Unsupported protocol version");

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

/// Header values differ in case and blanks where the protocol does not care.
fn normal(value: &str) -> String {
    value.to_ascii_lowercase().replace(' ', "")
}

/// The `sid` of this session is unknown now.
pub fn is_gone(poller: &Poller) -> Outcome {
    refused(&poller.get()?, UNKNOWN_SID)
}

/// A request to a namespace that does not exist: every server answers it, with or without chat.
pub const ASK: &str = "0/nope,";

pub fn is_answer(packet: &Packet, namespace: &str) -> bool {
    is_message(packet, &format!("4{namespace},"))
}

/// The polling session works: a question is answered.
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
    fail("the session goes on", "it answers nothing")
}

pub fn answer_pings(poller: &Poller, packets: &[Packet]) -> Result<(), Trouble> {
    if poller.protocol == Protocol::Eio4 && packets.iter().any(|p| p.kind == Kind::Ping) {
        poller.post_packets(&[Packet::text(Kind::Pong, "")])?;
    }
    Ok(())
}

/// The WebSocket session works.
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

/// Exactly these members, neither more nor fewer.
pub fn has_exactly(what: &str, value: &Value, keys: &[&str]) -> Outcome {
    let mut wanted: Vec<&str> = keys.to_vec();
    wanted.sort_unstable();
    let mut observed: Vec<&str> =
        value.as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default();
    observed.sort_unstable();
    require(observed == wanted, &format!("{what} has exactly the members {wanted:?}"), || {
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
        None => Err(Stop::Skip("the open packet names no maxPayload".to_owned())),
    }
}

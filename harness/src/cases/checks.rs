//! Checks of values, acknowledgements, events and HTTP answers.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use throng_codec::socket as sio;

use crate::client::chat::{Chat, roster_ids};
use crate::client::http::Response;
use crate::client::rest::{PASSWORD, Rest, User};
use crate::client::socket::Socket;
use crate::client::state::Event;
use crate::outcome::{Outcome, Stop, equal, fail, require, shown};

pub use crate::shapes::RESERVED_NAMES;

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
    let fits = response.status == status && response.json() == wanted;
    answers(fits, response, &format!("status {status} and the body {wanted}"))
}

pub fn status(response: &Response, status: u16) -> Outcome {
    answers(response.status == status, response, &format!("status {status}"))
}

/// Fails with the whole answer unless it `fits`.
pub fn answers(fits: bool, response: &Response, expected: &str) -> Outcome {
    require(fits, expected, || {
        let head = format!("status {}, {}", response.status, response.named_headers());
        format!("{head} and the body {}", response.text())
    })
}

pub fn has_type(response: &Response, mime: &str) -> Outcome {
    require(response.has_type(mime), &format!("Content-Type: {mime}"), || {
        shown(&response.header("content-type"))
    })
}

/// Status 200 and the body `ok`: the answer to a POST of a polling session.
pub fn is_ok(response: &Response) -> Outcome {
    status(response, 200)?;
    equal("the body", &response.text(), &"ok".to_owned())
}

pub fn header(response: &Response, name: &str, wanted: &str) -> Outcome {
    let observed = response.header(name);
    let fits = observed.is_some_and(|value| normal(value) == normal(wanted));
    require(fits, &format!("the header {name}: {wanted}"), || {
        format!("{name}: {}", shown(&observed))
    })
}

/// Header values may differ in case and blanks.
fn normal(value: &str) -> String {
    value.to_ascii_lowercase().replace(' ', "")
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

/// These fields of the object have these values; there may be others.
pub fn has_fields(value: &Value, wanted: Value) -> Outcome {
    let Value::Object(wanted) = wanted else { panic!("the wanted fields are an object") };
    wanted.iter().try_for_each(|(name, wanted)| equal(name, &value[name], wanted))
}

pub fn are_integers(value: &Value, fields: &[&str]) -> Outcome {
    let fits = fields.iter().all(|field| value[*field].is_u64());
    require(fits, &format!("integers in {fields:?}"), || value.to_string())
}

/// The items of a JSON list, to go through values that clients may send.
pub fn each(list: Value) -> Vec<Value> {
    let Value::Array(items) = list else { panic!("{list} is no list") };
    items
}

/// The time since `start` is at most `limit`.
pub fn within(what: &str, start: Instant, limit: Duration) -> Outcome {
    let took = start.elapsed();
    require(took <= limit, what, || format!("after {took:?}"))
}

/// The newest message of a page of history.
pub fn last_row(page: &Value) -> &Value {
    page["data"].as_array().and_then(|rows| rows.last()).unwrap_or(&Value::Null)
}

/// An acknowledgement that refuses with this code.
pub fn refuses(answer: &Value, code: &str) -> Outcome {
    require(
        answer["ok"] == json!(false) && answer["code"] == json!(code),
        &format!("an acknowledgement {{ok: false, code: {code:?}}}"),
        || format!("{answer}"),
    )
}

/// With one of several codes: a server that creates rooms on demand may treat any room as existing
/// (CHAT-20).
pub fn refuses_as(answer: &Value, codes: &str) -> Outcome {
    let observed = answer["code"].as_str().unwrap_or("");
    let fits = answer["ok"] == json!(false) && codes.split(" or ").any(|code| code == observed);
    require(fits, &format!("an acknowledgement {{ok: false, code: {codes}}}"), || {
        answer.to_string()
    })
}

pub fn accepts(answer: &Value) -> Outcome {
    require(answer["ok"] == json!(true), "an acknowledgement with ok: true", || format!("{answer}"))
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
    fail("a cookie throng_session", response.named_headers())
}

/// 20 characters of base64url: a session's `sid` or its socket id.
pub fn is_plain_id(what: &str, id: &str) -> Outcome {
    let is_plain = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let expected = format!("{what} of 20 characters of A-Z a-z 0-9 - _");
    require(id.len() == 20 && is_plain, &expected, || id.to_owned())
}

/// Fails if something was found.
pub fn nothing<T: Serialize>(expected: &str, found: Option<T>) -> Outcome {
    match found {
        None => Ok(()),
        Some(found) => fail(expected, shown(&found)),
    }
}

/// The event is refused with this code.
pub fn refuses_event(chat: &Chat, name: &str, arg: &Value, code: &str) -> Outcome {
    let answer = chat.ask(name, arg.clone())?;
    let fits = answer["ok"] == json!(false) && answer["code"] == code;
    require(fits, code, || format!("{answer} for {name} {:.80}", arg.to_string()))
}

pub fn ids(roster: &Value) -> Vec<u64> {
    roster_ids(roster).into_iter().collect()
}

/// The roster has exactly these users.
pub fn users_are(what: &str, roster: &Value, users: &[u64]) -> Outcome {
    equal(what, &roster_ids(roster), &users.iter().copied().collect())
}

/// No event of the session is `unwanted`.
pub fn never(expected: &str, socket: &Socket, unwanted: impl Fn(&Event) -> bool) -> Outcome {
    nothing(expected, socket.events().into_iter().find(unwanted))
}

/// The server has sent no Socket.IO packet that is `unwanted`, events and acknowledgements aside.
pub fn no_packet(
    expected: &str,
    socket: &Socket,
    unwanted: impl Fn(&sio::Packet) -> bool,
) -> Outcome {
    nothing(expected, socket.others().iter().find(|packet| unwanted(packet)).map(sio::encode))
}

/// Value of the session cookie of a log-in, as a request header's value.
pub fn session_cookie(rest: &Rest, user: &User) -> Result<String, Stop> {
    let (value, _) = set_cookie(&rest.post("/api/login", &credentials(&user.email))?)?;
    Ok(format!("throng_session={value}"))
}

/// The body of a registration or a log-in.
pub fn credentials(email: &str) -> Value {
    json!({ "name": email, "password": PASSWORD })
}

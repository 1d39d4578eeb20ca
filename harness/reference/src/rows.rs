//! Mutants at the border of the server, and settings that are not what the text says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::defect::Defect;
use crate::options::{EventRate, Options};
use crate::rule::Act;

/// One mutant: what it changes, how, and the clauses that it breaks.
#[derive(Clone, Debug)]
pub struct Row {
    pub clauses: Vec<&'static str>,
    pub on: String,
    pub act: Act,
    /// Every n-th is changed.
    pub every: u64,
    pub needs_default_limits: bool,
}

/// A row; several clauses are separated by blanks.
pub fn row(clauses: &'static str, on: &str, act: Act) -> Row {
    let clauses = clauses.split(' ').collect();
    Row { clauses, on: on.to_owned(), act, every: 1, needs_default_limits: false }
}

fn every(n: u64, clauses: &'static str, on: &str, act: Act) -> Row {
    Row { every: n, ..row(clauses, on, act) }
}

fn at_limits(clauses: &'static str, on: &str, act: Act) -> Row {
    Row { needs_default_limits: true, ..row(clauses, on, act) }
}

fn is(path: &str, value: impl Into<Value>) -> Act {
    Act::Set(path.to_owned(), value.into())
}

fn gone(path: &str) -> Act {
    Act::Remove(path.to_owned())
}

/// A delivery that takes so long is late by any clause.
fn late() -> Act {
    Act::Delay(Duration::from_millis(1_500))
}

pub fn rows() -> Vec<Row> {
    [transport(), engine(), socket(), chat(), presence(), errors(), api(), late_and_limited()]
        .concat()
}

fn transport() -> Vec<Row> {
    vec![
        row("TRN-11", "refusal:0", Act::Status(404)),
        row("TRN-12", "refusal:4", Act::Status(400)),
        row("TRN-13", "refusal:1", Act::Status(404)),
        row("TRN-13 EIO-93 EIO-95 EIO-54", "refusal:1", Act::Status(200)),
        row("TRN-13", "refusal:1", is("message", "Unknown session")),
        row("TRN-14 TRN-16 TRN-22", "refusal:3", Act::Status(500)),
        row("TRN-14 TRN-16 TRN-22 TRN-40", "refusal:3", is("code", 4)),
        row("TRN-15", "refusal:2", Act::Status(405)),
        row("TRN-17", "refusal:5", is("code", 3)),
        row("TRN-18", "refusal:*", Act::Header("Content-Type", Some("text/plain"))),
        row("TRN-19", "upgrade-refusal:*", Act::Header("Connection", None)),
        row("TRN-19 TRN-62", "upgrade-refusal:*", Act::Body("Forbidden")),
        row("TRN-19", "upgrade-refusal:*", Act::Status(500)),
        row("TRN-110 TRN-111", "refusal:*", Act::Drop),
        row("TRN-30", "handshake", Act::Status(201)),
        row("TRN-30", "handshake", Act::Body("2")),
        row("TRN-32", "handshake", Act::Header("Content-Type", Some("application/json"))),
        row("TRN-32", "poll", Act::Header("Content-Type", Some("application/json"))),
        row("TRN-33", "handshake", Act::Header("Cache-Control", None)),
        row("TRN-33", "poll", Act::Header("Cache-Control", None)),
        row("TRN-33", "post", Act::Header("Cache-Control", None)),
        row("TRN-31", "poll", Act::Body("")),
        row("TRN-31", "poll", Act::Status(204)),
        row("TRN-34", "post", Act::Body("OK")),
        row("TRN-34", "post", Act::Status(204)),
        row("TRN-34", "post", Act::Header("Content-Type", Some("application/json"))),
        row("TRN-36", "poll:close", Act::Drop),
        row("TRN-38", "close:0:transport_close", Act::Drop),
        row("TRN-39", "413 post", Act::Status(400)),
        row("TRN-39 TRN-48 LIM-1", "close:1009:too_large", Act::Drop),
        row("TRN-40", "close:1008:parse_error", Act::Drop),
        every(3, "TRN-44", "poll", Act::Drop),
        row("TRN-43", "in:engine", gone("header.content-type")),
        row(
            "TRN-51",
            "upgrade",
            Act::Header("Sec-WebSocket-Accept", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        ),
        row("TRN-50", "upgrade", Act::Status(200)),
        row("TRN-100", "upgrade", Act::Header("Sec-WebSocket-Protocol", Some("chat"))),
        row("TRN-53 TRN-54 TRN-59 LIM-42", "close:1002:*", Act::Code(1008)),
        row("TRN-53 TRN-54 TRN-59", "close:1002:*", Act::Drop),
        row("TRN-55 LIM-44", "close:1007:*", Act::Code(1008)),
        row("TRN-55", "close:1007:*", Act::Drop),
        row("TRN-58", "close:1000:transport_close", Act::Code(0)),
        row("TRN-58", "close:1000:transport_close", Act::Drop),
        row("TRN-12 TRN-60 TRN-62 TRN-64", "in:engine", gone("header.origin")),
        row("TRN-60", "in:engine", Act::Change("header.origin".to_owned())),
        row("TRN-63", "preflight", Act::Status(404)),
        row("TRN-63", "preflight", Act::Header("Access-Control-Allow-Methods", None)),
        row("TRN-63", "preflight", Act::Header("Access-Control-Allow-Methods", Some("GET"))),
        row("TRN-32 TRN-70 TRN-74", "jsonp", Act::Header("Content-Type", Some("text/plain"))),
        row("TRN-70", "jsonp", Act::Replace("___eio", "eio")),
        row("TRN-70", "jsonp", Act::Replace(");", ")")),
        row("TRN-71", "jsonp", Act::Replace("\\u2028", "\u{2028}")),
        row("TRN-71", "jsonp", Act::Replace("\\u2029", "\u{2029}")),
        row("TRN-3 CHAT-3 CHAT-2", "in:engine", gone("query.api_token")),
        row("TRN-65", "refusal:4", Act::Header("Access-Control-Allow-Origin", Some("*"))),
        row("TRN-65", "403 *", Act::Header("Access-Control-Allow-Origin", Some("*"))),
        row("TRN-65", "GET *", Act::Header("Access-Control-Allow-Credentials", Some("true"))),
    ]
}

fn engine() -> Vec<Row> {
    vec![
        row("EIO-1", "open", Act::Drop),
        row("EIO-18 EIO-10", "open", Act::Double),
        row("EIO-4", "open", is("upgrades", json!(["websocket"]))),
        row("EIO-4", "open", is("upgrades", json!(["webtransport", "websocket"]))),
        row("EIO-5 EIO-50", "open", is("pingInterval", 3_000)),
        row("EIO-5", "open", is("pingTimeout", 300)),
        row("EIO-5", "open", is("maxPayload", 10_000_000)),
        row("EIO-2", "open", is("sid", "short")),
        row("EIO-18 CHAT-23", "event:room", Act::Then("5")),
        row("EIO-10 EIO-1", "open", Act::Replace("\"sid\"", "\"SID\"")),
        row("EIO-12 EIO-11 SIO-5 LIM-45", "close:1008:*", Act::Code(1002)),
        row("EIO-94", "close:1008:*", Act::Code(0)),
        row("EIO-94", "close:1003:*", Act::Code(0)),
        row("EIO-14 EIO-15 EIO-32 EIO-33 SIO-50 SIO-55", "in:eio:binary", Act::Drop),
        row("EIO-30", "poll", Act::Replace("\u{1e}", "\u{1e}\u{1e}")),
        row("EIO-30", "poll", Act::Replace("\u{1e}", "\n")),
        every(5, "EIO-40", "event:message*", Act::Swap),
        every(5, "EIO-40 SIO-40", "ack:message", Act::Double),
        every(5, "EIO-40 CHAT-37", "event:message*", Act::Drop),
        row("EIO-50 EIO-51 EIO-53", "ping", Act::Drop),
        row("EIO-50", "ping", Act::Then("2x")),
        row("EIO-52", "ping", Act::Delay(Duration::from_millis(500))),
        row("EIO-53 EIO-62 LIM-51", "close:4002:*", Act::Code(4003)),
        row("EIO-55 EIO-57", "in:eio:pong", Act::Drop),
        row("EIO-60", "pong", Act::Drop),
        row("EIO-60", "pong", Act::Double),
        row("EIO-60", "pong", Act::Replace("a", "b")),
        row("EIO-63", "in:eio:message", Act::Drop),
        row("EIO-71 EIO-72", "poll:noop", late()),
        row("EIO-90 EIO-91", "in:eio:close", Act::Drop),
        row("EIO-91 LIM-40", "close:1000:client_disconnect", Act::Code(1001)),
        row("EIO-96", "close:0:transport_error", Act::Drop),
    ]
}

fn socket() -> Vec<Row> {
    vec![
        row("SIO-12 SIO-14", "connect", Act::Drop),
        row("SIO-12 SIO-14 SIO-20", "connect", Act::Double),
        row("SIO-3 CHAT-23", "event:*", Act::Replace("2[\"", "2/,[\"")),
        row("SIO-1", "connect", Act::Replace("0{", "0-{")),
        row("SIO-2", "connect", Act::Replace("0{", "7{")),
        row("SIO-15", "open", Act::Then("42[\"hello\"]")),
        row("SIO-16 SIO-63 LIM-6", "close:4003:*", Act::Drop),
        row("SIO-16 SIO-63 LIM-52", "close:4003:*", Act::Code(4002)),
        row("SIO-18 SIO-14", "in:sio:connect", Act::Drop),
        row("SIO-22", "connect", late()),
        row("SIO-30 SIO-31 SIO-35", "connect_error", Act::Drop),
        row("SIO-30", "connect_error", Act::Change("message".to_owned())),
        row("SIO-30", "connect_error", Act::Retype("message".to_owned())),
        row("SIO-31 SIO-37", "connect_error", Act::Replace("\"Invalid namespace\"", "\"no\"")),
        row("SIO-30 SIO-31 SIO-35", "connect_error", Act::Then("1")),
        row("SIO-40", "ack:*", Act::Double),
        row("SIO-40", "ack:*", Act::Drop),
        row("SIO-40 ERR-1", "refused:*", Act::Double),
        row("SIO-41", "ack:*", Act::Replace("}]", "},1]")),
        row("SIO-41", "ack:*", Act::Replace("\"ok\":true", "\"ok\":1")),
        row("SIO-44", "event:*", Act::Replace("2[\"", "27[\"")),
        row("SIO-48", "connect", Act::Then("42[\"disconnect\"]")),
        row("SIO-48", "event:room", Act::Then("42[\"connect_error\",{}]")),
        row("SIO-49", "event:message*", Act::Replace("}", ",}")),
        row("SIO-49", "event:room", Act::Replace(":", "=")),
        row("SIO-51 LIM-43", "close:1003:*", Act::Code(1008)),
        row("SIO-51", "close:1003:*", Act::Drop),
        row("SIO-55 SIO-50 ERR-2", "refused:binary_unsupported", Act::Drop),
        row("SIO-60 SIO-63 SIO-64", "in:sio:disconnect", Act::Drop),
        row("SIO-66 CHAT-15", "event:count", Act::Then("41")),
        row("SIO-66 ERR-2", "event:chat_error", Act::Then("41")),
        row("SIO-66 CHAT-12", "event:login", Act::Then("41")),
        row("SIO-35 SIO-30", "in:sio:connect-elsewhere", Act::Drop),
        row("LIM-54 LIM-55", "close:1008:*", Act::Code(4099)),
        row("LIM-54", "close:1008:*", Act::Code(3000)),
        row("LIM-55 LIM-45", "close:1008:*", Act::Code(4002)),
        row("LIM-46", "close:1009:*", Act::Code(1008)),
        row("LIM-56", "close:1008:*", Act::Reason("")),
        row("LIM-60 LIM-56", "close:1008:*", Act::Reason("the packet was not understood")),
        row("LIM-60", "close:1000:*", Act::Reason("left")),
        row("LIM-50", "close:4001:*", Act::Code(1008)),
        row("LIM-15 LIM-50", "close:4001:*", Act::Drop),
        row("LIM-51 EIO-53", "close:4002:*", Act::Drop),
    ]
}

fn chat() -> Vec<Row> {
    vec![
        row("CHAT-2 CHAT-3", "in:engine", gone("header.authorization")),
        row("CHAT-2 CHAT-6", "in:message", gone("api_token")),
        row("CHAT-2 CHAT-6", "in:room", gone("api_token")),
        row("CHAT-2", "in:login", gone("api_token")),
        row("CHAT-15", "event:count", Act::Drop),
        row("CHAT-15", "event:count", Act::Double),
        row("CHAT-16 SIO-40", "ack:login", Act::Drop),
        row("CHAT-22 CHAT-24", "in:room", Act::Drop),
        row("CHAT-26 SIO-40", "in:room", Act::Double),
        row("CHAT-23 PRES-30", "event:room", Act::Drop),
        row("CHAT-23", "event:room", Act::Double),
        row("CHAT-24", "ack:room", Act::Drop),
        row("CHAT-32 CHAT-33 CHAT-34", "in:roomout", Act::Drop),
        row("CHAT-33 CHAT-35", "event:roomout", Act::Drop),
        row("CHAT-33", "event:roomout", Act::Double),
        row("CHAT-34 CHAT-35", "ack:roomout", Act::Drop),
        row("CHAT-37", "event:message/own", Act::Drop),
        row("CHAT-37", "event:message/other", Act::Drop),
        row("CHAT-61", "event:message/own", Act::Double),
        row("CHAT-61", "event:message/other", Act::Double),
        every(2, "CHAT-61", "event:message/other", Act::Swap),
        every(4, "CHAT-61", "event:message*", Act::Drop),
        row("CHAT-37 CHAT-64", "in:message", Act::Drop),
        row("CHAT-60 SIO-40", "in:message", Act::Double),
        every(3, "CHAT-61 CHAT-37", "in:message", Act::Drop),
        row("CHAT-41", "in:message", Act::Set("msg".to_owned(), json!("same"))),
        row("CHAT-41", "event:message*", Act::Replace("  ", " ")),
        row("CHAT-41", "event:message*", Act::Replace("&", "&amp;")),
        row("CHAT-45 CHAT-46", "in:message", gone("img")),
        row("CHAT-48", "in:message", gone("time")),
        row("CHAT-48", "in:message", is("time", "2001-02-03T04:05:06Z")),
        row("CHAT-48", "event:message*", Act::Replace("Z\",\"id", "\",\"id")),
        row("CHAT-91 CHAT-90", "in:message", gone("cid")),
        row("CHAT-92", "in:message", is("cid", "1")),
        row("CHAT-31 PRES-30 PRES-40", "in:room", gone("presence")),
        row("CHAT-31", "in:room", is("presence", "delta")),
        row("CHAT-18 CHAT-19", "in:room", is("roomid", 1)),
        row(
            "CHAT-20 ERR-11",
            "refused:unknown_room",
            Act::Set("0.code".to_owned(), json!("not_member")),
        ),
        row("CHAT-30 LIM-11", "refused:room_limit", Act::Set("0.code".to_owned(), json!("busy"))),
        row(
            "CHAT-19 CHAT-42 CHAT-43 CHAT-90 CHAT-31",
            "refused:invalid_argument",
            is("0.code", "busy"),
        ),
        row(
            "CHAT-44 CHAT-47 LIM-30 LIM-10 LIM-9",
            "refused:too_large",
            is("0.code", "invalid_argument"),
        ),
        row("CHAT-47", "refused:image_invalid", is("0.code", "invalid_argument")),
        row("CHAT-51", "refused:not_member", is("0.code", "unknown_room")),
        row("CHAT-12 ERR-3", "event:login", Act::Drop),
        row("CHAT-10 CHAT-5 ERR-3", "refused:unauthenticated", is("0.code", "busy")),
        row("CHAT-8", "POST /api/register", is("user.api_token", "short")),
        row("CHAT-80 CHAT-50", "close:0:*", Act::Drop),
        row("CHAT-80 CHAT-82 EIO-62", "close:4002:ping_timeout", Act::Drop),
        row("TRN-36 TRN-37", "close:1008:polling_overlap", Act::Drop),
    ]
}

fn presence() -> Vec<Row> {
    let mut rows = Vec::new();
    for on in ["event:room", "broadcast:room", "event:roomout", "broadcast:roomout"] {
        rows.push(row("PRES-14 PRES-15", on, is("2.version", 1)));
        rows.push(row("PRES-12", on, is("2.online", 1)));
    }
    rows.extend([
        row("PRES-14 PRES-15", "broadcast:presence_delta", is("1.version", 1)),
        row("PRES-14 PRES-15 PRES-40", "broadcast:presence_count", is("1.version", 1)),
        row("PRES-20 PRES-24", "broadcast:room", Act::Drop),
        row("PRES-21 PRES-24 PRES-27", "broadcast:roomout", Act::Drop),
        every(3, "PRES-20 PRES-24", "broadcast:room", Act::Drop),
        every(3, "PRES-21 PRES-24", "broadcast:roomout", Act::Drop),
        row("PRES-22", "broadcast:room", Act::Double),
        row("PRES-23", "broadcast:room", Act::Replace("[\"room\"", "[\"roomout\"")),
        row("PRES-23 PRES-27", "broadcast:roomout", Act::Replace("[\"roomout\"", "[\"room\"")),
        row("PRES-27", "broadcast:roomout", Act::Replace("[\"roomout\"", "[\"leave\"")),
        every(2, "PRES-15 PRES-24", "broadcast:room*", Act::Swap),
        row("PRES-30 PRES-32 PRES-35", "broadcast:presence_delta", Act::Drop),
        every(3, "PRES-32 PRES-35", "broadcast:presence_delta", Act::Drop),
        row("PRES-40 PRES-41", "broadcast:presence_count", Act::Drop),
        row("PRES-40", "event:presence_count", Act::Drop),
        row("PRES-2 CHAT-9", "event:room", is("1.*.email", "someone@example.com")),
        row("PRES-3 CHAT-35", "event:roomout", Act::Replace("{},", "[],")),
        row(
            "PRES-28",
            "broadcast:room*",
            Act::Replace("/storage/images/avatars", "/storage/images/messages"),
        ),
        row("UNR-7", "update:count", Act::Drop),
        row("UNR-10", "update:count", Act::Delay(Duration::from_secs(4))),
        row("UNR-13 UNR-7", "update:count", is("1.*", 1)),
        row("UNR-2 UNR-4 UNR-15", "event:count", is("1.*", 1)),
        row("UNR-3 UNR-2 UNR-15", "event:count", is("1.*", 0)),
        row("UNR-6", "event:count", gone("1.room1")),
    ]);
    rows
}

fn errors() -> Vec<Row> {
    vec![
        row("ERR-1", "refused:*", Act::Drop),
        row("ERR-2", "event:chat_error", Act::Drop),
        row("ERR-2", "event:chat_error", Act::Double),
        row("ERR-2", "event:chat_error", Act::Replace("chat_error", "error")),
        row("ERR-4", "refused:*", is("0.code", "failed")),
        row("ERR-4", "event:chat_error", is("1.code", "failed")),
        row("ERR-5", "refused:*", is("0.message", "")),
        row("ERR-5", "event:chat_error", is("1.message", "")),
        row("ERR-6", "event:chat_error", is("1.event", "message")),
        row("ERR-7 ERR-12", "refused:*", Act::Then("1")),
        row("ERR-7", "event:chat_error", Act::Then("1")),
        row("ERR-8", "refused:unknown_event", is("0.code", "invalid_argument")),
        row("ERR-9", "refused:invalid_argument", is("0.code", "unknown_event")),
        row("ERR-10", "refused:unauthenticated", is("0.code", "invalid_argument")),
        row("ERR-11", "refused:not_member", is("0.code", "invalid_argument")),
    ]
}

fn api() -> Vec<Row> {
    let mut rows = Vec::new();
    // Each route answers with another status, another type of content, or not at all.
    for (on, clauses) in [
        ("POST /api/register", "REST-15"),
        ("POST /api/login", "REST-19"),
        ("POST /api/logout", "REST-20"),
        ("GET /api/user", "REST-22"),
        ("GET /api/rooms", "REST-30"),
        ("GET /api/history/message", "REST-40"),
        ("POST /api/file/uploadimg", "REST-50"),
        ("POST /api/file/avatar", "REST-51"),
        ("GET /api/robot", "REST-60 REST-61"),
        ("GET /health", "REST-70"),
        ("GET /ready", "REST-71"),
        ("GET /metrics", "REST-72"),
        ("GET /", "REST-74"),
        ("GET /storage", "REST-54"),
    ] {
        rows.push(row(clauses, on, Act::Status(500)));
        rows.push(row(clauses, on, Act::Drop));
    }
    for (on, clauses) in [
        ("POST /api/register", "REST-1"),
        ("POST /api/login", "REST-1 REST-19"),
        ("GET /api/user", "REST-1"),
        ("GET /api/rooms", "REST-1"),
    ] {
        rows.push(row(clauses, on, Act::Header("Content-Type", Some("text/html"))));
    }
    rows.extend([
        row("REST-2 REST-16", "errno 1 POST /api/register", Act::Status(422)),
        row("REST-2", "errno 1 POST /api/login", Act::Status(401)),
        row("REST-3", "in:api", gone("query.api_token")),
        row("REST-3", "in:api", gone("header.authorization")),
        row("REST-4", "in:api", gone("header.cookie")),
        row("REST-4", "POST /api/login", Act::Header("Set-Cookie", None)),
        row(
            "REST-4",
            "POST /api/register",
            Act::Header("Set-Cookie", Some("throng_session=x; Path=/")),
        ),
        row("REST-20", "POST /api/logout", Act::Header("Set-Cookie", None)),
        row("REST-5", "401 GET /api/rooms", Act::Status(403)),
        row("REST-5", "401 *", is("message", "Who are you?")),
        row("REST-11 REST-5", "401 *", Act::Status(200)),
        row("REST-6", "404 *", is("message", "Nothing here")),
        row("REST-6 REST-73 REST-57", "404 *", Act::Status(200)),
        row("REST-7", "405 *", Act::Status(404)),
        row("REST-15 REST-25", "in:POST /api/register", gone("src")),
        row("REST-16", "in:POST /api/register", gone("password")),
        row("REST-19", "in:POST /api/login", gone("password")),
        row("REST-25", "in:POST /api/register", is("src", "/avatars/1.svg")),
        row("REST-42 REST-44", "in:GET /api/history/message", gone("total")),
        row("REST-42 REST-43", "in:GET /api/history/message", is("current", "1")),
        row("REST-41 REST-42", "in:GET /api/history/message", is("roomid", "1")),
        row("REST-26", "in:api", gone("header.origin")),
        row("REST-26", "403 *", Act::Status(200)),
        row("REST-26", "403 *", is("message", "No")),
        row("REST-26", "415 *", Act::Status(400)),
        row("REST-26", "415 *", is("message", "No")),
        row("REST-27", "429 POST /api/login", Act::Status(403)),
        row("REST-27 LIM-35", "429 POST /api/login", Act::Header("Retry-After", None)),
        row("REST-27", "429 POST /api/login", is("message", "Later")),
        row("REST-54", "GET /storage", Act::Header("Content-Type", Some("text/html"))),
        row("REST-54", "GET /storage", Act::Header("X-Content-Type-Options", None)),
        row("REST-54", "GET /storage", Act::Header("Content-Security-Policy", None)),
        row("REST-54", "GET /storage", Act::Body("other bytes")),
        row("REST-56", "GET /storage", Act::Header("Cache-Control", None)),
        row("REST-57", "404 GET /storage", Act::Status(403)),
        row("REST-59", "401 POST /api/file*", Act::Drop),
        row("REST-60", "GET /api/robot", is("data", "{}")),
        row("REST-61", "GET /api/robot", is("data", "{\"code\":100000,\"text\":\"\"}")),
        row("REST-70", "GET /health", is("status", "fine")),
        row("REST-71", "GET /ready", is("ready", false)),
        row("REST-71", "GET /ready", is("checks", json!({ "storage": false }))),
        row("REST-72", "GET /metrics", Act::Body("{}")),
        row("REST-72", "GET /metrics", Act::Header("Content-Type", Some("application/json"))),
        row("REST-74", "GET /", Act::Header("Content-Type", Some("text/plain"))),
        row("REST-23", "GET /api/user", is("password", "secret")),
        row("REST-16", "errno 1 POST /api/register", is("message", " ")),
        row("REST-46 REST-47 CHAT-65", "GET /api/history/message", gone("data.data.0")),
        row("REST-45", "GET /api/history/message", Act::Replace("\"data\":[]", "\"data\":null")),
        row("REST-53", "POST /api/file/uploadimg", Act::Replace(".png", ".jpg")),
        row("REST-53", "POST /api/file/uploadimg", Act::Replace(".gif", ".png")),
        row(
            "REST-55",
            "POST /api/file/uploadimg",
            is("url", "/storage/images/messages/000000000000000000000000.png"),
        ),
    ]);
    rows
}

fn late_and_limited() -> Vec<Row> {
    // Every third, so that a case which waits for each of them ends.
    let slow = |(clauses, on): &(&'static str, &str)| every(3, clauses, on, late());
    let slow_ones = [
        ("PRES-51 PRES-24 PRES-50 CHAT-100", "broadcast:*"),
        ("PRES-56 CHAT-100", "event:message*"),
        ("PRES-54 CHAT-100", "ack:room"),
        ("CHAT-100", "ack:*"),
        ("CHAT-100", "ack:message"),
        ("CHAT-100", "ack:roomout"),
        ("CHAT-100", "event:message/own"),
        ("CHAT-100", "event:room"),
        ("CHAT-81 LIM-19 PRES-51 CHAT-100", "broadcast:roomout"),
    ];
    let mut rows: Vec<Row> = slow_ones.iter().map(slow).collect();
    rows.extend([
        every(10, "PRES-54", "ack:room", Act::Delay(Duration::from_millis(3_500))),
        row("CHAT-81 LIM-19", "broadcast:roomout", Act::Delay(Duration::from_secs(3))),
        at_limits("LIM-20 ERR-12", "refused:rate_limited", is("0.code", "busy")),
        at_limits("LIM-20 LIM-21 ERR-12", "refused:rate_limited", Act::Then("1")),
        at_limits("ERR-14", "refused:rate_limited", is("0.retry_after_ms", "soon")),
        at_limits("REST-8 LIM-24", "429 *", Act::Status(503)),
        at_limits("REST-8", "429 *", is("message", "Later")),
        at_limits("REST-8 LIM-35", "429 *", Act::Header("Retry-After", None)),
        at_limits("REST-8", "429 *", Act::Header("X-RateLimit-Limit", None)),
        at_limits("REST-8", "429 *", Act::Header("X-RateLimit-Remaining", None)),
        at_limits("REST-9", "401 GET /api/user", Act::Header("X-RateLimit-Limit", None)),
        at_limits("REST-9", "401 GET /api/user", Act::Header("X-RateLimit-Remaining", None)),
        at_limits("CHAT-20 LIM-16", "refused:unknown_room", is("0.code", "busy")),
    ]);
    rows
}

/// A setting that is not what the text says.
pub struct Setting {
    pub name: &'static str,
    pub clauses: Vec<&'static str>,
    pub set: fn(&mut Options),
    pub needs_default_limits: bool,
}

fn setting(clauses: &'static str, name: &'static str, set: fn(&mut Options)) -> Setting {
    Setting { name, clauses: clauses.split(' ').collect(), set, needs_default_limits: false }
}

fn limit(clauses: &'static str, name: &'static str, set: fn(&mut Options)) -> Setting {
    Setting { needs_default_limits: true, ..setting(clauses, name, set) }
}

fn rate(per_s: f64, burst: f64) -> Option<EventRate> {
    Some(EventRate { per_s, burst })
}

/// The server handles so many of something, and no more.
fn few(options: &mut Options, defect: Defect, few: usize) {
    (options.defect, options.few) = (Some(defect), few);
}

pub fn settings() -> Vec<Setting> {
    vec![
        setting("LIM-9 CHAT-44", "message_chars_max-2001", |o| o.message_chars_max = 2_001),
        setting("LIM-9 CHAT-44", "message_chars_max-1999", |o| o.message_chars_max = 1_999),
        setting("LIM-6 SIO-16", "connect_timeout-longer", |o| {
            o.connect_timeout = Duration::from_secs(300)
        }),
        setting("LIM-7 EIO-78", "upgrade_timeout-longer", |o| {
            o.upgrade_timeout = Duration::from_secs(300)
        }),
        setting("LIM-14 SIO-53", "attachments_max-9", |o| o.attachments_max = 9),
        setting("LIM-14 SIO-53", "attachments_max-11", |o| o.attachments_max = 11),
        setting("LIM-14 SIO-53", "attachments_max-1000", |o| o.attachments_max = 1_000),
        setting("LIM-10 CHAT-47 REST-52", "image_bytes_max-lifted", |o| {
            o.image_bytes_max = 1 << 30
        }),
        setting("LIM-11 CHAT-27 CHAT-30", "rooms_per_session_max-1", |o| {
            o.rooms_per_session_max = 1
        }),
        setting("LIM-15 LIM-50", "outbound_bytes_max-lifted", |o| {
            o.outbound_bytes_max = usize::MAX
        }),
        setting("LIM-18 UNR-9", "unread_window-none", |o| o.unread_window = Duration::ZERO),
        setting("LIM-18 UNR-10", "unread_window-6-s", |o| o.unread_window = Duration::from_secs(6)),
        setting("CHAT-103 CHAT-37 CHAT-61", "members-that-hear-8", |o| {
            few(o, Defect::FourthMemberDeaf, 8)
        }),
        setting("CHAT-103 CHAT-37 CHAT-61", "members-that-hear-16", |o| {
            few(o, Defect::FourthMemberDeaf, 16)
        }),
        setting("CHAT-103 CHAT-37 CHAT-61", "members-that-hear-32", |o| {
            few(o, Defect::FourthMemberDeaf, 32)
        }),
        setting("CHAT-103 CHAT-27 CHAT-61", "rooms-heard-8", |o| few(o, Defect::FourthRoomDeaf, 8)),
        setting("CHAT-103 CHAT-27 CHAT-61", "rooms-heard-16", |o| {
            few(o, Defect::FourthRoomDeaf, 16)
        }),
        setting("CHAT-103 CHAT-27 CHAT-61", "rooms-heard-32", |o| {
            few(o, Defect::FourthRoomDeaf, 32)
        }),
        setting("CHAT-103 CHAT-70", "sessions-that-hear-8", |o| few(o, Defect::FourthTabDeaf, 8)),
        setting("CHAT-103 CHAT-70", "sessions-that-hear-16", |o| few(o, Defect::FourthTabDeaf, 16)),
        setting("CHAT-103 CHAT-70", "sessions-that-hear-32", |o| few(o, Defect::FourthTabDeaf, 32)),
        setting("CHAT-103 PRES-4 PRES-12", "roster-entries-8", |o| {
            few(o, Defect::FourthEntryLost, 8)
        }),
        setting("CHAT-103 PRES-4 PRES-12", "roster-entries-16", |o| {
            few(o, Defect::FourthEntryLost, 16)
        }),
        setting("CHAT-103 PRES-4 PRES-12", "roster-entries-32", |o| {
            few(o, Defect::FourthEntryLost, 32)
        }),
        setting("CHAT-103 PRES-32", "deltas-8", |o| few(o, Defect::FourthDeltaLost, 8)),
        setting("CHAT-103 PRES-32", "deltas-16", |o| few(o, Defect::FourthDeltaLost, 16)),
        setting("CHAT-103 PRES-32", "deltas-32", |o| few(o, Defect::FourthDeltaLost, 32)),
        limit("LIM-20 LIM-28", "messages-burst-45", |o| o.limits.messages = rate(20.0, 45.0)),
        limit("LIM-20 LIM-28", "messages-19-per-s", |o| o.limits.messages = rate(15.0, 60.0)),
        limit("LIM-20 LIM-28", "messages-40-per-s", |o| o.limits.messages = rate(40.0, 60.0)),
        limit("LIM-22", "messages-burst-24", |o| o.limits.messages = rate(20.0, 24.0)),
        limit("LIM-21 LIM-28", "joins-burst-39", |o| o.limits.joins = rate(10.0, 39.0)),
    ]
}

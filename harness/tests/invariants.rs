//! Everything that a session receives is compared, each field of it.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use throng_harness::client::rest::User;
use throng_harness::client::state::Event;
use throng_harness::invariants::{Known, Received, check};
use throng_harness::shapes::check_event;

fn user(id: u64) -> User {
    let text = |what: &str| format!("{what}{id}");
    let (name, email) = (text("name"), format!("u{id}@example.com"));
    User { id, name, email, token: text("token"), avatar: format!("/avatars/{id}.svg") }
}

fn entry(id: u64) -> Value {
    let User { name, avatar, .. } = user(id);
    json!({ "id": id, "name": name, "avatar": avatar, "src": avatar })
}

fn meta(version: u64, online: u64) -> Value {
    json!({ "room": 7, "seq": 0, "online": online, "version": version })
}

fn roster(version: u64, ids: &[u64]) -> Value {
    let entries: serde_json::Map<String, Value> =
        ids.iter().map(|id| (id.to_string(), entry(*id))).collect();
    json!(["room", entries, meta(version, ids.len() as u64)])
}

fn delta(version: u64, online: u64, joined: &[u64], left: &[u64]) -> Value {
    let joined: Vec<Value> = joined.iter().map(|id| entry(*id)).collect();
    json!(["presence", {
        "room": 7, "seq": 0, "version": version, "online": online, "joined": joined, "left": left,
    }])
}

fn message(userid: &str, seq: u64) -> Value {
    json!(["message", {
        "userid": userid, "username": "name1", "src": "/avatars/1.svg", "msg": "hello", "img": "",
        "roomid": 7, "time": "2026-11-23T00:31:11.784Z", "id": 100 + seq, "seq": seq,
    }])
}

/// The same, with another value at this place.
fn with(mut event: Value, pointer: &str, value: Value) -> Value {
    *event.pointer_mut(pointer).expect("the place is there") = value;
    event
}

/// Without what is at this place.
fn without(mut event: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = event.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    parent.remove(key).expect("the place is there");
    event
}

/// The clause that the events break, received by sessions of the users 1, 2 and 3.
fn broken_by(events: &[(u64, Value)]) -> Option<&'static str> {
    let sessions: Vec<Received> = (1..=3)
        .map(|id| Received {
            label: format!("session{id}"),
            user: user(id),
            events: events
                .iter()
                .filter(|(whose, _)| *whose == id)
                .map(|(_, event)| {
                    let args = event.as_array().expect("an event is a list");
                    let name = args[0].as_str().expect("its name").to_owned();
                    Event { at: Instant::now(), name, args: args[1..].to_vec(), id: None }
                })
                .collect(),
        })
        .collect();
    let users: BTreeMap<u64, User> = (1..=3).map(|id| (id, user(id))).collect();
    let known = Known { users: &users, is_avatar_fixed: true, is_version_unique: true };
    let mut events = sessions.iter().flat_map(|session| &session.events);
    let found = events.try_for_each(check_event).and_then(|()| check(&sessions, &known));
    found.err().map(|violation| violation.clause)
}

/// What three sessions of a correct server receive.
fn right() -> Vec<(u64, Value)> {
    vec![
        (1, roster(1, &[1])),
        (1, roster(3, &[1, 2, 3])),
        (2, roster(2, &[1, 2])),
        (2, delta(3, 3, &[3], &[])),
        (3, json!(["presence", meta(3, 3)])),
        (1, message("u1@example.com", 1)),
        (2, message("u1", 1)),
        (3, message("u1", 1)),
        (1, message("u1@example.com", 2)),
        (2, message("u1", 2)),
        (3, json!(["count", { "room7": 3_000_000_000u64 }])),
        (2, delta(4, 2, &[], &[3])),
        (1, roster(4, &[1, 2])),
        (3, json!(["roomout", {}, meta(4, 2)])),
    ]
}

#[test]
fn what_a_correct_server_sends_breaks_nothing() {
    assert_eq!(broken_by(&right()), None);
}

#[test]
fn each_field_is_compared() {
    let wrong: Vec<(&str, u64, Value)> = vec![
        ("PRES-2", 1, with(roster(5, &[1, 2]), "/1/2/name", json!("name1"))),
        ("PRES-2", 1, with(roster(5, &[1, 2]), "/1/2/avatar", json!("/avatars/9.svg"))),
        ("PRES-2", 1, with(roster(5, &[1, 2]), "/1/2/src", json!(""))),
        ("PRES-2", 1, without(roster(5, &[1, 2]), "/1/2/src")),
        ("PRES-1", 1, with(roster(5, &[1, 2]), "/1/2", entry(3))),
        ("PRES-12", 1, with(roster(5, &[1, 2]), "/2/online", json!(3))),
        ("PRES-10", 1, with(roster(5, &[1, 2]), "/2/room", json!("7"))),
        ("PRES-10", 1, json!(["roomout", {}])),
        ("PRES-15", 1, roster(3, &[1, 2, 3])),
        ("PRES-14", 1, roster(4, &[1, 3])),
        ("PRES-2", 2, with(delta(5, 3, &[3], &[]), "/1/joined/0/name", json!("another"))),
        ("PRES-2", 2, without(delta(5, 3, &[3], &[]), "/1/joined/0/avatar")),
        ("PRES-32", 2, delta(5, 4, &[3], &[])),
        ("PRES-33", 2, delta(5, 2, &[2], &[2])),
        ("PRES-31", 2, with(delta(5, 1, &[], &[2]), "/1/left/0", json!("2"))),
        ("PRES-15", 2, delta(2, 3, &[3], &[])),
        ("PRES-40", 3, with(json!(["presence", meta(5, 3)]), "/1/online", json!("3"))),
        ("PRES-30", 3, delta(5, 3, &[3], &[])),
        ("CHAT-38", 2, without(message("u1", 3), "/1/time")),
        ("CHAT-38", 2, with(message("u1", 3), "/1/img", Value::Null)),
        ("CHAT-39", 2, message("u1@example.com", 3)),
        ("CHAT-39", 1, message("u1", 3)),
        ("CHAT-40", 2, with(message("u1", 3), "/1/username", json!("name2"))),
        ("CHAT-40", 2, with(message("u1", 3), "/1/src", json!("/avatars/2.svg"))),
        ("CHAT-49", 2, with(message("u1", 3), "/1/seq", json!("3"))),
        ("CHAT-49", 2, with(message("u1", 3), "/1/id", json!(101))),
        ("CHAT-61", 2, message("u1", 2)),
        ("CHAT-37", 3, with(message("u1", 2), "/1/msg", json!("changed"))),
        ("CHAT-37", 3, with(message("u1", 2), "/1/id", json!(999))),
        ("CHAT-37", 3, with(message("u1", 2), "/1/time", json!("2026-11-23T00:31:12Z"))),
        ("UNR-1", 3, json!(["count", { "room7": -1 }])),
        ("UNR-1", 3, json!(["count", { "7": 1 }])),
        ("UNR-1", 3, json!(["count", { "room7": 1 }, {}])),
    ];
    for (clause, session, event) in wrong {
        let mut events = right();
        events.push((session, event.clone()));
        assert_eq!(broken_by(&events), Some(clause), "session {session} received {event}");
    }
}

//! What a server sends, held to the schemas of the text.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use throng_codec::engine::{Kind, Protocol};
use throng_codec::socket as sio;

use crate::client::state::{Event, State};
use crate::client::transcript::Answered;
use crate::invariants::Violation;
use crate::outcome::shown;

/// Names of Socket.IO's own events.
pub const RESERVED_NAMES: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A schema that is ready to use, and the first clause that it is about.
struct Shape {
    validator: Validator,
    clause: &'static str,
}

static SHAPES: LazyLock<BTreeMap<&'static str, Shape>> = LazyLock::new(|| {
    let documents = throng_spec::schemas().map(|schema| {
        let document: Value =
            serde_json::from_str(schema.text).expect("the spec tests its schemas");
        (schema.name, document)
    });
    let documents: Vec<(&'static str, Value)> = documents.collect();
    let mut registry = Registry::new();
    for (name, document) in &documents {
        registry = registry.add(id(name), document).expect("the spec tests its schemas");
    }
    let registry = registry.prepare().expect("every reference is in the folder");
    let shape = |(name, document): &(&'static str, Value)| {
        let root = json!({ "$ref": id(name) });
        let validator = jsonschema::options().with_registry(&registry).build(&root);
        let validator = validator.expect("the spec tests its schemas");
        let about = document["$comment"].as_str().unwrap_or("");
        // Of `Spec: REST-15, REST-16` the first.
        let clause = throng_spec::clauses().map(|clause| clause.id).find(|id| {
            about.strip_prefix("Spec: ").and_then(|list| list.split([',', ' ']).next()) == Some(id)
        });
        clause.map(|clause| (*name, Shape { validator, clause }))
    };
    documents.iter().filter_map(shape).collect()
});

/// Parts of what the events say that have clauses of their own: the schema, where in it, the clause. The first that fits
/// counts.
const PARTS: [(&str, &str, &str); 12] = [
    ("s2c.message", "/0/roomid", "CHAT-49"),
    ("s2c.message", "/0/id", "CHAT-49"),
    ("s2c.message", "/0/seq", "CHAT-49"),
    ("s2c.room", "/0/", "PRES-2"),
    ("s2c.room", "/0", "PRES-1"),
    ("s2c.room", "/1", "PRES-10"),
    ("s2c.room", "", "PRES-10"),
    ("s2c.roomout", "/0/", "PRES-2"),
    ("s2c.roomout", "/0", "PRES-1"),
    ("s2c.roomout", "/1", "PRES-10"),
    ("s2c.roomout", "", "PRES-10"),
    ("s2c.presence_delta", "/0/joined/", "PRES-2"),
];

fn id(name: &str) -> String {
    format!("https://throng.invalid/schemas/{name}.json")
}

/// Holds a value to a schema.
///
/// # Errors
/// The first objection.
pub fn check(name: &str, value: &Value) -> Result<(), Violation> {
    let Some(shape) = SHAPES.get(name) else { return Ok(()) };
    let Some(objection) = shape.validator.iter_errors(value).next() else { return Ok(()) };
    let at = objection.instance_path().to_string();
    let is_of = |(schema, part, _): &&(&str, &str, &str)| *schema == name && at.starts_with(part);
    let part = PARTS.iter().find(is_of).map(|(.., clause)| *clause);
    Err(Violation {
        clause: part.unwrap_or(shape.clause),
        expected: format!("what the schema {name} allows"),
        observed: format!("{objection}: {value}"),
    })
}

/// Holds an event of a session to its schema. One that the text does not know is not for the schemas to judge.
///
/// # Errors
/// The first objection.
pub fn check_event(event: &Event) -> Result<(), Violation> {
    let args = Value::Array(event.args.clone());
    match event.name.as_str() {
        "presence" if args[0].get("joined").is_some() => check("s2c.presence_delta", &args),
        "presence" => check("s2c.presence_count", &args),
        name => check(&format!("s2c.{name}"), &args),
    }
}

/// Holds what a session received to what no server sends, whatever it is about.
///
/// # Errors
/// The first that came nevertheless.
pub fn check_packets(state: &State, protocol: Protocol) -> Result<(), Violation> {
    let never = |clause, what: &str, observed: String| {
        Err(Violation { clause, expected: format!("never {what}"), observed })
    };
    if state.is_root_named {
        return never("SIO-3", "the namespace / in a packet", "a packet with /,".to_owned());
    }
    let is_end = |packet: &&sio::Packet| packet.kind == sio::Kind::Disconnect;
    if let Some(packet) = state.others.iter().find(|packet| is_end(packet)) {
        return never("SIO-66", "DISCONNECT", sio::encode(packet));
    }
    if let Some(event) = state.events.iter().find(|event| event.id.is_some()) {
        return never("SIO-44", "an ack id of the server", shown(event));
    }
    let is_reserved = |event: &&Event| RESERVED_NAMES.contains(&event.name.as_str());
    if let Some(event) = state.events.iter().find(is_reserved) {
        return never("SIO-48", "an event with a reserved name", shown(event));
    }
    for (kind, text) in &state.engine {
        match kind {
            Kind::Upgrade => return never("EIO-18", "an upgrade packet", text.clone()),
            Kind::Ping if protocol == Protocol::Eio3 => {
                return never("EIO-61", "a ping on Engine.IO 3", text.clone());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Holds an ack to the schemas: to that of a refusal, or to any of the others.
///
/// # Errors
/// The objection of the schema that is nearest.
pub fn check_ack(args: &Value) -> Result<(), Violation> {
    let ack = &args[0];
    let name = match () {
        () if ack.get("code").is_some() => "ack.error",
        () if ack.get("user").is_some() => "ack.login",
        () if ack.get("id").is_some() => "ack.message",
        () => "ack.room",
    };
    check(name, args)
}

/// Holds an answer of the HTTP API to the schema of its route.
///
/// # Errors
/// The first objection.
pub fn check_answer(answered: &Answered) -> Result<(), Violation> {
    let path = answered.path.split('?').next().unwrap_or("");
    if path.starts_with("/api/") && answered.status == 200 && !answered.is_json_typed {
        return Err(Violation {
            clause: "REST-1",
            expected: "Content-Type: application/json".to_owned(),
            observed: format!("another at {} {path}", answered.method),
        });
    }
    let name = match (answered.method.as_str(), path) {
        _ if answered.status != 200 && path.starts_with("/api/") => "rest.message",
        ("POST", "/api/register") => "rest.register",
        ("POST", "/api/login") => "rest.login",
        ("POST", "/api/logout") => "rest.logout",
        ("GET", "/api/user") => "rest.user",
        ("GET", "/api/rooms") => "rest.rooms",
        ("GET", "/api/history/message") => "rest.history",
        ("GET", "/api/robot") => "rest.robot",
        ("POST", "/api/file/uploadimg") => "rest.uploadimg",
        ("POST", "/api/file/avatar") => "rest.avatar",
        ("GET", "/health") => "rest.health",
        ("GET", "/ready") => "rest.ready",
        _ => return Ok(()),
    };
    check(name, &answered.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_held_to_the_schema_of_its_route() {
        let answered = |path: &str, status: u16, body: Value| Answered {
            method: "GET".to_owned(),
            path: path.to_owned(),
            status,
            is_json_typed: true,
            body,
        };
        let good = answered("/health?x=1", 200, json!({ "status": "ok" }));
        assert_eq!(check_answer(&good), Ok(()));
        let bad = answered("/health", 200, json!({ "status": "ok", "more": 1 }));
        assert_eq!(check_answer(&bad).expect_err("one member too many").clause, "REST-70");
        let silent = answered("/api/rooms", 401, json!({ "message": 7 }));
        assert_eq!(check_answer(&silent).expect_err("no text").clause, "REST-5");
    }

    #[test]
    fn each_schema_of_what_is_sent_has_a_clause() {
        for schema in throng_spec::schemas() {
            assert!(SHAPES.contains_key(schema.name), "{} names no clause", schema.name);
        }
    }

    #[test]
    fn acks_differ_by_their_members() {
        assert_eq!(check_ack(&json!([{ "ok": true, "id": 1, "seq": 1 }])), Ok(()));
        let refused = json!([{ "ok": true, "code": "busy", "message": "later" }]);
        assert_eq!(check_ack(&refused).expect_err("ok is false in a refusal").clause, "ERR-1");
        assert!(check_ack(&json!([])).is_err());
    }
}

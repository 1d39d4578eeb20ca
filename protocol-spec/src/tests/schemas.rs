use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Verdict, schemas, vectors};

struct Schemas {
    documents: Vec<(String, Value)>,
}

impl Schemas {
    fn new() -> Schemas {
        let documents = schemas()
            .map(|schema| {
                let value: Value = serde_json::from_str(schema.text)
                    .unwrap_or_else(|fault| panic!("{}: {fault}", schema.name));
                let id = value["$id"].as_str().expect("an $id").to_owned();
                assert_eq!(id, format!("https://throng.invalid/schemas/{}.json", schema.name));
                (id, value)
            })
            .collect();
        Schemas { documents }
    }

    /// The first objection of the schema `name` to `value`.
    #[track_caller]
    fn objection(&self, name: &str, value: &Value) -> Option<String> {
        let mut registry = jsonschema::Registry::new();
        for (id, document) in &self.documents {
            registry = registry.add(id.as_str(), document).expect("a schema");
        }
        let registry = registry.prepare().expect("every reference is in the folder");
        let root = json!({ "$ref": format!("https://throng.invalid/schemas/{name}.json") });
        let validator = jsonschema::options()
            .with_registry(&registry)
            .build(&root)
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        validator.iter_errors(value).next().map(|fault| fault.to_string())
    }
}

#[test]
fn every_schema_is_a_schema_and_says_which_clauses_it_is_about() {
    for schema in schemas() {
        let value: Value = serde_json::from_str(schema.text).expect("JSON");
        assert_eq!(
            value["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{}",
            schema.name
        );
        jsonschema::meta::validate(&value)
            .unwrap_or_else(|fault| panic!("{}: {fault}", schema.name));
        let cited: Vec<_> = crate::citations(value["$comment"].as_str().expect("a comment"))
            .map(|c| c.id)
            .collect();
        assert!(!cited.is_empty(), "{}", schema.name);
        for id in cited {
            assert!(crate::clause(id).is_some(), "{} cites {id}", schema.name);
        }
    }
}

#[test]
fn every_schema_file_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder is part of the package")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    let listed = schemas().map(|schema| format!("{}.json", schema.name)).collect();
    assert_eq!(on_disk, listed);
}

/// What of a vector its schema describes: the first argument of a client's event, where none
/// counts as `{}` (ERR-9), and all arguments of the server's.
fn described(schema: &str, meaning: &Value) -> Value {
    let args = &meaning["args"];
    if schema.starts_with("c2s.") {
        args.get(0).cloned().unwrap_or_else(|| json!({}))
    } else {
        args.clone()
    }
}

#[test]
fn chat_vectors_agree_with_their_schemas() {
    let schemas = Schemas::new();
    let mut seen = BTreeSet::new();
    for vector in vectors("chat_events") {
        let Some(schema) = vector.meaning["schema"].as_str() else { continue };
        let objection = schemas.objection(schema, &described(schema, &vector.meaning));
        assert_eq!(
            objection.is_none(),
            vector.verdict == Verdict::Accept,
            "{} ({schema}): {objection:?}",
            vector.name
        );
        seen.insert((schema.to_owned(), vector.verdict == Verdict::Accept));
    }
    for schema in schemas_of_events() {
        assert!(seen.contains(&(schema.to_owned(), true)), "no vector of {schema}");
    }
}

fn schemas_of_events() -> impl Iterator<Item = &'static str> {
    schemas().map(|schema| schema.name).filter(|name| {
        (name.starts_with("c2s.") || name.starts_with("s2c.") || name.starts_with("ack."))
            && !matches!(*name, "c2s.connect_auth" | "s2c.connect")
    })
}

/// A refused argument is refused by its schema too, where a schema can see the reason.
#[test]
fn refused_events_break_their_schemas() {
    let schemas = Schemas::new();
    let mut checked = 0;
    for vector in vectors("chat_events") {
        let (Some(event), Some("invalid_argument" | "unauthenticated")) =
            (vector.meaning["event"].as_str(), vector.meaning["code"].as_str())
        else {
            continue;
        };
        let name = format!("c2s.{event}");
        let value = described(&name, &vector.meaning);
        assert!(schemas.objection(&name, &value).is_some(), "{} passes {name}", vector.name);
        checked += 1;
    }
    assert!(checked > 20);
}

#[test]
fn the_text_of_a_chat_vector_says_what_its_meaning_says() {
    for vector in vectors("chat_events") {
        let text = vector.text.as_deref().expect("chat events are text");
        let begin = text.find('[').expect("a payload");
        let ack = &text[1..begin];
        let payload: Value = serde_json::from_str(&text[begin..]).expect("JSON");
        let args = vector.meaning["args"].as_array().expect("arguments").clone();
        match vector.meaning["event"].as_str() {
            Some(event) => {
                assert!(text.starts_with('2'), "{}", vector.name);
                let whole: Vec<Value> = std::iter::once(Value::from(event)).chain(args).collect();
                assert_eq!(payload, Value::from(whole), "{}", vector.name);
            }
            None => {
                assert!(text.starts_with('3'), "{}", vector.name);
                assert_eq!(payload, Value::from(args), "{}", vector.name);
            }
        }
        let stated = vector.meaning["ack"].as_u64().map(|id| id.to_string()).unwrap_or_default();
        assert_eq!(ack, stated, "{}", vector.name);
    }
}

#[test]
fn open_packets_of_the_text_and_answers_of_the_api_agree_with_their_schemas() {
    let token = "T".repeat(60);
    let user = json!({"id": 1, "name": "alice", "email": "alice@example.com", "avatar": "/avatars/1.svg",
        "created_at": "2026-11-23 09:02:32", "updated_at": "2026-11-23 09:02:32"});
    let with = |more: Value| {
        let mut user = user.clone();
        for (key, value) in more.as_object().expect("an object") {
            user[key.as_str()] = value.clone();
        }
        user
    };
    let message = json!({"id": 3, "userid": "u2", "username": "bob", "src": "/avatars/2.svg", "msg": "hi",
        "img": "", "roomid": 1, "time": "2026-11-23T00:31:11.784Z", "seq": 3});
    let mut own = message.clone();
    own["cid"] = json!("b2c8-41");
    let schemas = Schemas::new();
    let mut seen = BTreeSet::new();
    for (name, value, accepted) in [
        (
            "engine.open",
            json!({"sid": "lv_VI97HAXpY6yYWAAAC", "upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 5000, "maxPayload": 1000000}),
            true,
        ),
        (
            "engine.open",
            json!({"sid": "short", "upgrades": [], "pingInterval": 1, "pingTimeout": 1, "maxPayload": 1}),
            false,
        ),
        ("engine.error", json!({"code": 1, "message": "Session ID unknown"}), true),
        ("engine.error", json!({"code": 1, "message": "Transport unknown"}), false),
        ("s2c.connect", json!({"sid": "wZX3oN0bSVIhsaknAAAI"}), true),
        ("c2s.connect_auth", json!({"api_token": 1}), true),
        ("c2s.connect_auth", json!([]), false),
        (
            "rest.register",
            json!({"errno": 0, "user": with(json!({"api_token": token})), "message": "Registered"}),
            true,
        ),
        (
            "rest.register",
            json!({"errno": 0, "user": with(json!({"api_token": token, "password": "x"})), "message": "Registered"}),
            false,
        ),
        ("rest.register", json!({"errno": 1, "message": "The name has already been taken."}), true),
        ("rest.register", json!({"errno": 1, "message": "SQLSTATE[23000]"}), false),
        (
            "rest.login",
            json!({"errno": 0, "user": with(json!({"api_token": token, "email_verified_at": null})), "message": "Logged in"}),
            true,
        ),
        ("rest.login", json!({"errno": 1, "message": "The e-mail or password is wrong."}), true),
        ("rest.logout", json!({"errno": 0, "message": "Logged out"}), true),
        ("rest.user", with(json!({"email_verified_at": null})), true),
        ("rest.user", with(json!({"email_verified_at": null, "token_hash": "x"})), false),
        ("rest.message", json!({"message": "Unauthenticated."}), true),
        (
            "rest.rooms",
            json!({"errno": 0, "rooms": [{"id": 1, "name": "Lobby", "online": 0, "seq": 0, "unread": 0}]}),
            true,
        ),
        (
            "rest.rooms",
            json!({"errno": 0, "rooms": [{"id": "1", "name": "Lobby", "online": 0, "seq": 0, "unread": 0}]}),
            false,
        ),
        (
            "rest.history",
            json!({"data": {"errno": 0, "data": [message], "total": 3, "current": 1}}),
            true,
        ),
        (
            "rest.history",
            json!({"data": {"errno": 0, "data": [own], "total": 3, "current": 1}}),
            true,
        ),
        (
            "rest.history",
            json!({"data": {"errno": 0, "data": vec![message.clone(); 21], "total": 30, "current": 1}}),
            false,
        ),
        ("rest.history", json!({"data": {"errno": 1}}), true),
        (
            "rest.uploadimg",
            json!({"errno": 200, "msg": "Saved", "url": "/storage/images/messages/a.png"}),
            true,
        ),
        (
            "rest.avatar",
            json!({"errno": 0, "data": {"url": "/storage/images/avatars/a.png"}, "msg": "Saved"}),
            true,
        ),
        (
            "rest.avatar",
            json!({"errno": 0, "data": {"url": "images/avatars/a.png"}, "msg": "Saved"}),
            false,
        ),
        ("rest.robot", json!({"data": "{\"code\":100000,\"text\":\"hi\"}"}), true),
        ("rest.health", json!({"status": "ok"}), true),
        ("rest.ready", json!({"ready": false, "checks": {"store": "down"}}), true),
    ] {
        let objection = schemas.objection(name, &value);
        assert_eq!(objection.is_none(), accepted, "{name} {value}: {objection:?}");
        if accepted {
            seen.insert(name);
        }
    }
    let is_answer = |name: &&str| name.starts_with("rest.") || name.starts_with("engine.");
    let answers = crate::schemas().map(|schema| schema.name).filter(is_answer);
    let unseen: Vec<&str> = answers.filter(|name| !seen.contains(name)).collect();
    assert!(unseen.is_empty(), "no example of {unseen:?}");
}

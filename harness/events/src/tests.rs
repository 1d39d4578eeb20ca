//! The file of the documentation, faults of files, and properties of templates.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Captured, Events, Values};

const FILE: &str = r#"
join    = ["enter", "{room}"]
leave   = ["exit", "{room}"]
message = ["talk", { room = "{room}", body = "{text}" }]
refused = [{ ok = false }]
heard   = ["talked", { room = "{room}", who = "{member}", body = "{text}" }]
roster  = ["people", { room = "{room}", people = [{ id = "{member}" }] }]
"#;

const VALUES: Values<'_> = Values { room: "red", text: "hi", member: "s1" };

fn events() -> Events {
    Events::parse(FILE, "events.toml").expect("the file of the documentation")
}

/// The file with another line for one key; an empty line removes it.
fn with(key: &str, line: &str) -> Result<Events, String> {
    let is_kept = |kept: &&str| kept.split(' ').next() != Some(key);
    let lines: Vec<&str> = FILE.lines().filter(is_kept).chain([line]).collect();
    Events::parse(&lines.join("\n"), "mine.toml").map_err(|why| why.to_string())
}

fn fault(key: &str, line: &str) -> String {
    with(key, line).expect_err(line)
}

#[test]
fn what_a_client_emits() {
    let events = events();
    assert_eq!(events.join.data(&VALUES), json!(["enter", "red"]));
    assert_eq!(events.leave.unwrap().data(&VALUES), json!(["exit", "red"]));
    assert_eq!(events.message.data(&VALUES), json!(["talk", { "room": "red", "body": "hi" }]));
    assert_eq!(events.message.name(&VALUES), "talk");
    assert_eq!(events.message.args(&VALUES), [json!({ "room": "red", "body": "hi" })]);
}

#[test]
fn what_a_client_receives() {
    let events = events();
    let args = [json!({ "body": "hi", "who": "s2", "room": "red", "at": 7 }), json!("more")];
    let heard = events.heard.fit("talked", &args);
    let expected = Captured { room: Some("red"), text: Some("hi"), members: vec!["s2"] };
    assert_eq!(heard, Some(expected));
    let data =
        json!(["people", { "room": "red", "people": [{ "id": "s2" }, { "id": "s1", "n": 1 }] }]);
    let roster = events.roster.unwrap();
    assert_eq!(roster.fit_data(&data).unwrap().members, ["s2", "s1"]);
    let empty = json!(["people", { "room": "red", "people": [] }]);
    assert!(roster.fit_data(&empty).unwrap().members.is_empty());
    assert!(roster.names_room() && events.heard.names_member());
    assert!(roster.is_named("people") && !roster.is_named("peoples"));
}

#[test]
fn what_does_not_fit() {
    let events = events();
    let roster = events.roster.unwrap();
    for (name, arg) in [
        ("talk", json!({ "room": "red", "who": "s2", "body": "hi" })),
        ("talked", json!({ "room": "red", "who": "s2" })),
        ("talked", json!({ "room": "red", "who": 2, "body": "hi" })),
        ("talked", json!(["red", "s2", "hi"])),
        ("talked", json!("hi")),
        ("talked", Value::Null),
    ] {
        assert_eq!(events.heard.fit(name, std::slice::from_ref(&arg)), None, "{name} {arg}");
    }
    assert_eq!(events.heard.fit("talked", &[]), None);
    let one_is_not_an_object =
        json!(["people", { "room": "red", "people": [{ "id": "s2" }, "s1"] }]);
    assert_eq!(roster.fit_data(&one_is_not_an_object), None);
    for data in [json!([]), json!([7]), json!({}), Value::Null] {
        assert_eq!(roster.fit_data(&data), None, "{data}");
    }
}

#[test]
fn an_ack_is_a_refusal_if_it_fits() {
    let events = events();
    assert!(events.is_refused(&[json!({ "ok": false, "error": "full" })]));
    for args in [vec![], vec![json!({ "ok": true })], vec![json!({})], vec![json!(false)]] {
        assert!(!events.is_refused(&args), "{args:?}");
    }
    let no_refusals = with("refused", "").unwrap();
    assert!(!no_refusals.is_refused(&[json!({ "ok": false })]));
    let by_status = with("refused", r#"refused = ["error: {text}"]"#).unwrap();
    assert!(by_status.is_refused(&[json!("error: full")]));
    assert!(!by_status.is_refused(&[json!("ok")]));
}

#[test]
fn names_that_socketio_reserves_are_faults_of_their_key() {
    for name in
        ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
    {
        for (key, arg) in [
            ("join", "{room}"),
            ("leave", "{room}"),
            ("message", "{room} {text}"),
            ("heard", "{text}"),
            ("roster", "{member}"),
        ] {
            let why = fault(key, &format!("{key} = [{name:?}, {arg:?}]"));
            for part in ["mine.toml", &format!("{key}:"), &format!("{name:?}"), "reserve"] {
                assert!(why.contains(part), "{why}");
            }
        }
        assert!(with("join", &format!("join = [\"{name}ed\", \"{{room}}\"]")).is_ok());
    }
}

#[test]
fn a_text_may_be_all_there_is_in_its_string() {
    let events = events();
    assert!(events.message.has_text_alone() && events.heard.has_text_alone());
    let events = with("message", r#"message = ["talk", "{room}", "{text}!"]"#).unwrap();
    assert!(!events.message.has_text_alone());
    let events = with("heard", r#"heard = ["talked", { who = "{member}", body = "> {text}" }]"#);
    assert!(!events.unwrap().heard.has_text_alone());
}

#[test]
fn a_placeholder_may_be_part_of_a_string_and_of_a_name() {
    let events =
        with("message", r#"message = ["say:{room}", "{member}> {text} {x y} {"]"#).unwrap();
    assert_eq!(events.message.data(&VALUES), json!(["say:red", "s1> hi {x y} {"]));
    let events = with("heard", r#"heard = ["room/{room}", "<{text}>"]"#).unwrap();
    let args = [json!("<hi>")];
    let captured = events.heard.fit("room/blue", &args).unwrap();
    assert_eq!((captured.room, captured.text), (Some("blue"), Some("hi")));
    let cut = [json!("<")];
    assert_eq!(events.heard.fit("room/blue", &cut), None);
}

#[test]
fn a_place_has_one_value_in_an_event() {
    let events =
        with("heard", r#"heard = ["talked", "{room}", { in = "{room}", body = "{text}" }]"#);
    let heard = events.unwrap().heard;
    let same = [json!("red"), json!({ "in": "red", "body": "hi" })];
    let other = [json!("red"), json!({ "in": "blue", "body": "hi" })];
    assert!(heard.fit("talked", &same).is_some());
    assert_eq!(heard.fit("talked", &other), None);
}

#[test]
fn a_list_of_several_templates_has_this_length() {
    let heard = with("heard", r#"heard = ["talked", ["{text}", 1, true, 0.5]]"#).unwrap().heard;
    assert!(heard.fit("talked", &[json!(["hi", 1.0, true, 0.5])]).is_some());
    for list in [json!(["hi"]), json!(["hi", 2, true, 0.5]), json!(["hi", 1, true, 0.5, 0])] {
        assert_eq!(heard.fit("talked", std::slice::from_ref(&list)), None, "{list}");
    }
}

#[test]
fn leave_refused_and_roster_may_be_absent() {
    assert_eq!(with("leave", "").unwrap().leave, None);
    assert_eq!(with("roster", "").unwrap().roster, None);
    for key in ["join", "message", "heard"] {
        let why = fault(key, "");
        assert!(why.contains(&format!("`{key}`")) && why.contains("mine.toml"), "{why}");
    }
}

#[test]
fn faults_name_the_file_and_the_key() {
    for (key, line, what) in [
        ("-", "rooster = 1", "unknown key `rooster`"),
        ("join", "join = 'enter'", "join: must be a list"),
        ("join", "join = []", "join: must be a list"),
        ("join", "join = ['']", "join: must be a list"),
        ("join", "join = [{ name = 'enter' }, '{room}']", "join: must be a list"),
        ("join", "join = ['enter']", "join: must contain {room}"),
        ("leave", "leave = ['exit', '{text}']", "leave: must contain {room}"),
        ("message", "message = ['talk', '{room}']", "message: must contain {text}"),
        ("heard", "heard = ['talked', '{room}']", "heard: must contain {text}"),
        ("heard", "heard = ['talked', '{member}: {text}']", "heard: \"{member}: {text}\" has more"),
        ("roster", "roster = ['people', []]", "roster: must contain {member}"),
        (
            "roster",
            "roster = ['people', { a = { b = '{memeber}' } }]",
            "roster: a: b: {memeber} is not",
        ),
        ("roster", "roster = ['people', '{member}', 1979-05-27]", "roster: JSON has no time"),
        ("refused", "refused = [nan]", "refused: JSON has no such number"),
        ("refused", "refused = []", "refused: must be a list"),
        ("refused", "refused = { ok = false }", "refused: must be a list"),
        ("join", "join = ['enter'", "mine.toml: TOML parse error"),
    ] {
        let why = fault(key, line);
        assert!(why.starts_with("mine.toml: ") && why.contains(what), "{line}: {why}");
    }
    let missing = Events::read("/nowhere/events.toml".as_ref()).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/events.toml: "), "{missing}");
}

proptest! {
    #[test]
    fn any_text_is_a_file_or_a_fault_of_it(text in "\\PC{0,80}") {
        if let Err(why) = Events::parse(&text, "any.toml") {
            prop_assert!(why.to_string().starts_with("any.toml: "));
        }
    }

    #[test]
    fn any_event_fits_or_does_not(args in prop::collection::vec(any_json(), 0..3)) {
        let events = events();
        for received in [&events.heard, events.roster.as_ref().unwrap()] {
            let _ = received.fit("talked", &args);
            let _ = received.fit("people", &args);
        }
        events.is_refused(&args);
    }

    /// What one client emits, with an event of the same form, is what another captures, whatever else is there.
    #[test]
    fn what_is_rendered_is_captured(
        room in "\\PC{0,12}",
        text in "\\PC{0,40}",
        members in prop::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..8),
        before in "[a-z:{]{0,3}",
        after in "[a-z:}]{0,3}",
        other in any_json(),
    ) {
        let form = format!(
            "['e', {{ r = '{before}{{room}}{after}', d = ['{{text}}{after}', 'x'], m = [{{ id = '{before}{{member}}' }}] }}]"
        );
        let lines = ["join", "message", "heard", "roster"].map(|key| format!("{key} = {form}"));
        let events = Events::parse(&lines.join("\n"), "events.toml").unwrap();
        let values = Values { room: &room, text: &text, member: "one" };
        let mut args = events.message.args(&values);
        let entry = |member: &String| json!({ "id": format!("{before}{member}"), "more": other });
        args[0]["m"] = members.iter().map(entry).collect();
        args[0]["more"] = other.clone();
        args.push(other.clone());
        for received in [&events.heard, events.roster.as_ref().unwrap()] {
            let captured = received.fit("e", &args).unwrap();
            prop_assert_eq!(captured.room, Some(room.as_str()));
            prop_assert_eq!(captured.text, Some(text.as_str()));
            prop_assert_eq!(&captured.members, &members);
            prop_assert_eq!(received.fit("f", &args), None);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(
                (prop_oneof![Just("room"), Just("who"), Just("body"), Just("people")], inner),
                0..4
            )
            .prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

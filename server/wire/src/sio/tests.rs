use proptest::prelude::*;

use super::*;
use crate::eio::Version;
use crate::sweep;

const LIMITS: Limits = Limits { depth_max: 64, values_max: 32_768, attachments_max: 10 };

fn packet(kind: Kind) -> Packet<'static> {
    Packet { kind, attachments: 0, namespace: "/", query: "", ack: None, data: None }
}

#[track_caller]
fn check(text: &str, want: Packet<'_>) {
    assert_eq!(decode(text, &LIMITS), Ok(want));
}

#[track_caller]
fn check_fault(texts: &[&str], want: Fault) {
    for text in texts {
        assert_eq!(decode(text, &LIMITS), Err(want), "{text}");
    }
}

#[track_caller]
fn check_encode(want: &str, put: impl FnOnce(&mut String)) {
    let mut out = String::new();
    put(&mut out);
    assert_eq!(out, want);
}

const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// The examples of the Socket.IO protocol texts, revisions 4 and 5.
fn examples() -> Vec<(&'static str, Packet<'static>)> {
    let admin = |kind| Packet { namespace: "/admin", ..packet(kind) };
    vec![
        ("0", packet(Kind::Connect)),
        ("0/admin,", admin(Kind::Connect)),
        (
            r#"0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#,
            Packet { data: Some(r#"{"sid":"oSO0OpakMV_3jnilAAAA"}"#), ..admin(Kind::Connect) },
        ),
        (
            r#"4{"message":"Not authorized"}"#,
            Packet { data: Some(r#"{"message":"Not authorized"}"#), ..packet(Kind::ConnectError) },
        ),
        (
            r#"4/admin,"Not authorized""#,
            Packet { data: Some(r#""Not authorized""#), ..admin(Kind::ConnectError) },
        ),
        ("1", packet(Kind::Disconnect)),
        ("1/admin,", admin(Kind::Disconnect)),
        (r#"2["hello",1]"#, Packet { data: Some(r#"["hello",1]"#), ..packet(Kind::Event) }),
        (r#"2/admin,["bar"]"#, Packet { data: Some(r#"["bar"]"#), ..admin(Kind::Event) }),
        (
            r#"212["foo"]"#,
            Packet { ack: Some(12), data: Some(r#"["foo"]"#), ..packet(Kind::Event) },
        ),
        (
            r#"2/admin,456["project:delete",123]"#,
            Packet {
                ack: Some(456),
                data: Some(r#"["project:delete",123]"#),
                ..admin(Kind::Event)
            },
        ),
        ("3/admin,456[]", Packet { ack: Some(456), data: Some("[]"), ..admin(Kind::Ack) }),
        (
            r#"3/admin,13["bar"]"#,
            Packet { ack: Some(13), data: Some(r#"["bar"]"#), ..admin(Kind::Ack) },
        ),
        (
            r#"51-["hello",{"_placeholder":true,"num":0}]"#,
            Packet {
                attachments: 1,
                data: Some(r#"["hello",{"_placeholder":true,"num":0}]"#),
                ..packet(Kind::BinaryEvent)
            },
        ),
        (
            r#"51-/admin,456["project:delete",{"_placeholder":true,"num":0}]"#,
            Packet {
                attachments: 1,
                ack: Some(456),
                data: Some(r#"["project:delete",{"_placeholder":true,"num":0}]"#),
                ..admin(Kind::BinaryEvent)
            },
        ),
        (
            r#"52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            Packet {
                attachments: 2,
                data: Some(
                    r#"["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                ),
                ..admin(Kind::BinaryEvent)
            },
        ),
        (
            r#"61-/admin,456[{"_placeholder":true,"num":0}]"#,
            Packet {
                attachments: 1,
                ack: Some(456),
                data: Some(r#"[{"_placeholder":true,"num":0}]"#),
                ..admin(Kind::BinaryAck)
            },
        ),
        (
            r#"61-15["bar",{"_placeholder":true,"num":0}]"#,
            Packet {
                attachments: 1,
                ack: Some(15),
                data: Some(r#"["bar",{"_placeholder":true,"num":0}]"#),
                ..packet(Kind::BinaryAck)
            },
        ),
    ]
}

#[test]
fn the_examples_of_the_protocol_texts_decode() {
    for (text, want) in examples() {
        check(text, want);
    }
}

#[test]
fn the_examples_of_the_protocol_texts_encode() {
    check_encode("40", |out| put_connect(out, "/", None));
    check_encode("40/admin,", |out| put_connect(out, "/admin", None));
    check_encode(r#"40/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#, |out| {
        put_connect(out, "/admin", Some("oSO0OpakMV_3jnilAAAA"));
    });
    check_encode(r#"44{"message":"Not authorized"}"#, |out| {
        put_connect_error(out, Version::V4, "/", "Not authorized");
    });
    check_encode(r#"44/admin,"Not authorized""#, |out| {
        put_connect_error(out, Version::V3, "/admin", "Not authorized");
    });
    check_encode("41", |out| put_disconnect(out, "/"));
    check_encode("41/admin,", |out| put_disconnect(out, "/admin"));
    check_encode(r#"42["hello",1]"#, |out| put_event(out, "/", None, "hello", &["1"]));
    check_encode(r#"42/admin,456["project:delete",123]"#, |out| {
        put_event(out, "/admin", Some(456), "project:delete", &["123"]);
    });
    check_encode(r#"42["foo"]"#, |out| put_event(out, "/", None, "foo", &[]));
    check_encode("43/admin,456[]", |out| put_ack(out, "/admin", 456, ""));
    check_encode(r#"4313["bar",2]"#, |out| put_ack(out, "/", 13, r#""bar",2"#));
    let hello = format!(r#"["hello",{PLACEHOLDER}]"#);
    check_encode(&format!("451-{hello}"), |out| put_binary_event(out, "/", 1, None, &hello));
    check_encode(&format!("451-/admin,456{hello}"), |out| {
        put_binary_event(out, "/admin", 1, Some(456), &hello);
    });
    check_encode(&format!("461-/admin,456[{PLACEHOLDER}]"), |out| {
        put_binary_ack(out, "/admin", 1, 456, &format!("[{PLACEHOLDER}]"));
    });
}

#[test]
fn names_and_messages_are_escaped() {
    check_encode("42[\"a\\\"\\n\",1]", |out| put_event(out, "/", None, "a\"\n", &["1"]));
    check_encode("44\"a\\\\\"", |out| put_connect_error(out, Version::V3, "/", "a\\"));
}

#[test]
fn a_refused_namespace_is_echoed_in_its_first_256_characters() {
    let name = |len: usize| format!("/{}", "é".repeat(len - 1));
    for (sent, echoed) in [(256, 256), (257, 256), (100_000, 256)] {
        check_encode(&format!(r#"44{},"no""#, name(echoed)), |out| {
            put_connect_error(out, Version::V3, &name(sent), "no");
        });
    }
}

#[test]
fn packets_that_the_reference_test_suite_sends_are_malformed() {
    check_fault(&["", "7", "abc", "/", "é"], Fault::SioTypeUnknown);
    check_fault(&["2{}", "2\"a\"", "2null", "2[]", "2[null]", "2[{}]", "3{}"], Fault::DataShape);
    check_fault(&[r#"2abc["message-with-ack",1,"2",{"3":[false]}]"#], Fault::JsonInvalid);
}

#[test]
fn data_must_have_the_shape_of_its_type() {
    check_fault(&["2", "212", "2/admin", "2/admin,", "3", "31", "51-", "61-1"], Fault::DataMissing);
    check_fault(&["0[]", "0null", "0\"a\"", "0/admin,[]", "0true"], Fault::DataShape);
    check_fault(&["1{}", "1null", "1/admin,[]"], Fault::DataShape);
    check_fault(&["4[]", "4null", "4true"], Fault::DataShape);
    check_fault(&["51-{}", "61-1{}", "31{}", "31null"], Fault::DataShape);
    check_fault(&["2[true]", "2[[\"a\"]]", "2[null,\"a\"]", "51-[{}]"], Fault::DataShape);
}

#[test]
fn malformed_json_is_malformed() {
    check_fault(
        &[
            "2[",
            "2[\"a\"",
            "2[\"a\"]]",
            "2[\"a\"] x",
            "2[\"a\",]",
            "2[\"a]",
            "2x[\"a\"]",
            "2[\"a\\x\"]",
            "0{",
            "0{a}",
            "2-1[\"a\"]",
            "21.5[\"a\"]",
            "2[\"a\u{1}\"]",
            "2,[\"a\"]",
        ],
        Fault::JsonInvalid,
    );
}

#[test]
fn json_may_be_padded_with_white_space() {
    check("2 [ \"a\" ] ", Packet { data: Some("[ \"a\" ]"), ..packet(Kind::Event) });
    assert_eq!(event(" [ \"a\" , 1 ,2 ] "), Ok(Event { name: "a".into(), args: "1 ,2" }));
}

#[test]
fn reserved_event_names_are_refused_in_any_spelling() {
    for name in
        ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
    {
        check_fault(&[&format!(r#"2["{name}"]"#)], Fault::EventReserved);
        check_fault(&[&format!(r#"51-["{name}",{PLACEHOLDER}]"#)], Fault::EventReserved);
    }
    check_fault(&[r#"2["\u0063onnect"]"#], Fault::EventReserved);
    assert!(decode(r#"2["Connect"]"#, &LIMITS).is_ok());
    assert!(decode(r#"31["connect"]"#, &LIMITS).is_ok(), "acks have no names");
}

#[test]
fn an_ack_id_is_a_u64() {
    let ack = |digits: &str| decode(&format!("2{digits}[\"a\"]"), &LIMITS).map(|p| p.ack);
    assert_eq!(ack("0"), Ok(Some(0)));
    assert_eq!(ack("007"), Ok(Some(7)));
    assert_eq!(ack("9007199254740991"), Ok(Some(9_007_199_254_740_991)));
    assert_eq!(ack("18446744073709551615"), Ok(Some(u64::MAX)));
    assert_eq!(ack("18446744073709551616"), Err(Fault::AckIdOverflow));
    assert_eq!(ack(&"9".repeat(100_000)), Err(Fault::AckIdOverflow));
    // An ack that names nothing is nobody's, and is ignored like any other that nobody asked for.
    check("3[]", Packet { data: Some("[]"), ..packet(Kind::Ack) });
}

#[test]
fn attachments_are_counted_within_the_limit() {
    check_fault(
        &["5[\"a\"]", "5-[\"a\"]", "5x-[\"a\"]", "50-[\"a\"]", "5-1-[\"a\"]", "51.0-[\"a\"]", "5"],
        Fault::AttachmentsInvalid,
    );
    let count = |n: &str| decode(&format!("5{n}-[\"a\"]"), &LIMITS).map(|p| p.attachments);
    assert_eq!(count("10"), Ok(10));
    assert_eq!(count("11"), Err(Fault::TooManyAttachments));
    assert_eq!(count("99999999999"), Err(Fault::TooManyAttachments));
    // Only binary packets have a count.
    check_fault(&["21-[\"a\"]"], Fault::JsonInvalid);
}

#[test]
fn a_namespace_ends_at_the_first_comma_and_loses_its_query() {
    check(
        "0/admin?token=1234&uid=abcd",
        Packet { namespace: "/admin", query: "token=1234&uid=abcd", ..packet(Kind::Connect) },
    );
    check("0/?a=b,", Packet { query: "a=b", ..packet(Kind::Connect) });
    check(
        r#"2/a/b,7["x",","]"#,
        Packet {
            namespace: "/a/b",
            ack: Some(7),
            data: Some(r#"["x",","]"#),
            ..packet(Kind::Event)
        },
    );
    check("1/foo", Packet { namespace: "/foo", ..packet(Kind::Disconnect) });
    let long = format!("0/{}", "a".repeat(1 << 20));
    check(&long, Packet { namespace: &long[1..], ..packet(Kind::Connect) });
}

#[test]
fn depth_is_bounded_by_the_limit() {
    let nested =
        |depth: usize| format!("2[\"a\",{}{}]", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(decode(&nested(64), &LIMITS).is_ok());
    assert_eq!(decode(&nested(65), &LIMITS), Err(Fault::JsonTooDeep));
    assert_eq!(decode(&format!("2{}", "[".repeat(1 << 20)), &LIMITS), Err(Fault::JsonTooDeep));
}

#[test]
fn an_event_is_its_name_and_the_raw_text_of_its_arguments() {
    let check = |data: &str, name: &str, args: &str| {
        assert_eq!(event(data), Ok(Event { name: name.into(), args }), "{data}");
    };
    check(r#"["foo"]"#, "foo", "");
    check(r#"["foo",{"a":1},2]"#, "foo", r#"{"a":1},2"#);
    check(r#"["f\"\u00e9\ud83d\ude00",null]"#, "f\"é😀", "null");
    check(r#"["",""]"#, "", r#""""#);
    check("[1,2]", "1", "2");
    check("[-1.5e3]", "-1.5e3", "");
    for data in ["", "[", "]", "[]", "[null]", "{}", "\"foo\"", "[\"a\"1]", "[[\"a\"]]"] {
        assert_eq!(event(data), Err(Fault::DataShape), "{data}");
    }
}

#[test]
fn the_first_argument_is_found_whatever_follows() {
    assert_eq!(first_arg(r#"{"a":[1,2]},2"#), Some(r#"{"a":[1,2]}"#));
    assert_eq!(first_arg(" \"a,b\" ,1"), Some("\"a,b\""));
    assert_eq!(first_arg("1"), Some("1"));
    assert_eq!(first_arg(""), None);
    assert_eq!(first_arg(",1"), None);
}

#[test]
fn damaged_packets_do_not_panic_and_keep_their_promises() {
    let legacy = [
        r#"2["message",{"msg":"你好😀"}]"#,
        r#"2["room",{"name":false,"src":false,"roomid":"1","api_token":false}]"#,
        r#"25["login",{"name":"a@b.c","api_token":"\ud83d"}]"#,
    ];
    let mut accepted = 0;
    for text in examples().into_iter().map(|(text, _)| text).chain(legacy) {
        sweep::damaged(text.as_bytes(), |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let Ok(packet) = decode(text, &LIMITS) else { return };
            accepted += 1;
            assert!(packet.namespace.starts_with('/'));
            let Some(data) = packet.data else { return };
            serde_json::from_str::<serde::de::IgnoredAny>(data).expect("data is JSON");
            if matches!(packet.kind, Kind::Event | Kind::BinaryEvent) {
                let event = event(data).expect("an accepted event splits");
                assert_eq!(event.args.is_empty(), first_arg(event.args).is_none());
            }
        });
    }
    assert!(accepted > 1000, "some damage is harmless: {accepted}");
}

proptest! {
    #[test]
    fn events_round_trip(
        namespace in "/|/[a-z/é]{1,10}",
        ack in any::<Option<u64>>(),
        name in ".{1,20}",
        args in prop::collection::vec(".{0,20}", 0..4),
    ) {
        prop_assume!(decode(&format!("2[{}]", serde_json::to_string(&name)?), &LIMITS).is_ok());
        let args: Vec<String> =
            args.iter().map(|arg| serde_json::json!({ "x": [arg] }).to_string()).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut out = String::new();
        put_event(&mut out, &namespace, ack, &name, &args);
        let packet = decode(out.strip_prefix('4').expect("a message"), &LIMITS)?;
        prop_assert_eq!(packet.kind, Kind::Event);
        prop_assert_eq!(packet.namespace, &namespace);
        prop_assert_eq!(packet.ack, ack);
        let event = event(packet.data.expect("an event has data"))?;
        prop_assert_eq!(&*event.name, &name);
        prop_assert_eq!(event.args, args.join(","));
        prop_assert_eq!(first_arg(event.args), args.first().copied());
    }

    #[test]
    fn acks_and_connects_round_trip(id in any::<u64>(), namespace in "/|/[a-z]{1,10}", sid in "\\w{20}") {
        let mut out = String::new();
        put_ack(&mut out, &namespace, id, "{\"ok\":true},1");
        let packet = decode(&out[1..], &LIMITS)?;
        prop_assert_eq!((packet.kind, packet.ack), (Kind::Ack, Some(id)));
        prop_assert_eq!(packet.namespace, &namespace);
        prop_assert_eq!(packet.data, Some("[{\"ok\":true},1]"));
        out.clear();
        put_connect(&mut out, &namespace, Some(&sid));
        let packet = decode(&out[1..], &LIMITS)?;
        prop_assert_eq!((packet.kind, packet.namespace), (Kind::Connect, &*namespace));
        let data: serde_json::Value = serde_json::from_str(packet.data.expect("a sid"))?;
        prop_assert_eq!(data, serde_json::json!({ "sid": sid }));
    }

    #[test]
    fn random_text_does_not_panic(text in "[0-6]?[-/,?0-9\\[\\]{}\":a-z\\\\ ]{0,30}") {
        if let Ok(packet) = decode(&text, &LIMITS) {
            prop_assert!(packet.data.is_none_or(|data| text.contains(data)));
        }
        let _ = event(&text);
        let _ = first_arg(&text);
    }
}

#[test]
fn of_an_event_too_long_to_look_at_the_name_remains() {
    let long = "x".repeat(5000);
    for (packet, rest) in [
        (format!(r#"2["name",{{"a":"{long}"#), r#"2["name"]"#.to_owned()),
        (format!(r#"53-/a,12[ "na\u00e9me" ,"{long}"]"#), r#"53-/a,12["na\u00e9me"]"#.to_owned()),
        (format!(r#"2["{long}"]"#), format!(r#"2["{}"]"#, &long[..NAME_SEEN])),
        (format!("2[\"{}\"]", "\u{e9}".repeat(5000)), format!("2[\"{}\"]", "\u{e9}".repeat(255))),
        (format!(r#"2["ab{}"]"#, r"\n".repeat(5000)), r#"2["ab"]"#.to_owned()),
        (format!("2[-17e5,{long}"), r#"2["-17e5"]"#.to_owned()),
    ] {
        assert_eq!(without_args(&packet).as_deref(), Some(&*rest), "{}", &packet[..20]);
        let limits = Limits { depth_max: 8, values_max: 8, attachments_max: 8 };
        assert!(decode(&rest, &limits).is_ok(), "{rest}");
    }
    for other in ["", "0{}", "1", "3[]", "6[]", "2", "2{", "2[", "2[ ", "2[{", "7[\"x\"]"] {
        assert_eq!(without_args(other), None, "{other}");
    }
    let far = format!("2{}[\"x\"]", "7".repeat(5000));
    assert_eq!(without_args(&far), None);
}

/// Bytes of a name that are looked at, less its quote.
const NAME_SEEN: usize = 511;

#[test]
fn an_id_of_any_length_is_no_number_of_64_bits() {
    let limits = Limits { depth_max: 8, values_max: 8, attachments_max: 8 };
    for digits in [21, 22, 5000] {
        let packet = format!("2{}[\"x\"]", "1".repeat(digits));
        assert_eq!(decode(&packet, &limits).unwrap_err(), Fault::AckIdOverflow, "{digits}");
    }
}

use std::borrow::Cow;

use bytes::Bytes;
use proptest::prelude::*;

use super::payload::{Form, Out};
use super::*;
use crate::sweep;

const PACKETS_MAX: usize = 16;

fn text(kind: Kind, data: &str) -> Packet<'_> {
    Packet { kind, data: Data::Text(data) }
}

fn binary(data: &[u8]) -> Packet<'_> {
    Packet { kind: Kind::Message, data: Data::Binary(Cow::Borrowed(data)) }
}

fn decode(version: Version, form: Form, body: &[u8]) -> Result<Vec<Packet<'_>>, Fault> {
    payload::decode(version, form, body, PACKETS_MAX)
}

#[track_caller]
fn check_text(version: Version, body: &str, want: &[Packet<'_>]) {
    assert_eq!(decode(version, Form::Text, body.as_bytes()).as_deref(), Ok(want));
}

#[track_caller]
fn check_fault(version: Version, form: Form, body: impl AsRef<[u8]>, want: Fault) {
    assert_eq!(decode(version, form, body.as_ref()), Err(want));
}

fn out_text(text: &str) -> Out {
    Out::Text(Bytes::copy_from_slice(text.as_bytes()))
}

fn out_binary(data: &[u8]) -> Out {
    Out::Binary(Bytes::copy_from_slice(data))
}

#[track_caller]
fn check_encode(version: Version, b64: bool, packets: &[Out], body: &[u8], is_binary: bool) {
    let encoded = payload::encode(version, b64, packets);
    assert_eq!(encoded.whole(), Bytes::copy_from_slice(body));
    assert_eq!(encoded.is_binary, is_binary);
}

#[test]
fn a_long_packet_is_not_copied() {
    let long = Bytes::from("x".repeat(20_000));
    let packets = [out_text("4a"), Out::Text(long.clone()), out_text("4b")];
    for (version, head, tail) in
        [(Version::V4, "4a\u{1e}", "\u{1e}4b"), (Version::V3, "2:4a20000:", "2:4b")]
    {
        let encoded = payload::encode(version, false, &packets);
        assert_eq!(encoded.parts.len(), 3);
        assert_eq!(encoded.parts[1].as_ptr(), long.as_ptr());
        assert_eq!(
            (&encoded.parts[0][..], &encoded.parts[2][..]),
            (head.as_bytes(), tail.as_bytes())
        );
        assert_eq!(encoded.whole(), encoded.parts.concat());
    }
}

#[test]
fn every_packet_type_has_its_digit() {
    let kinds = [
        ("0{}", Kind::Open, "{}"),
        ("1", Kind::Close, ""),
        ("2probe", Kind::Ping, "probe"),
        ("3probe", Kind::Pong, "probe"),
        ("4HelloWorld", Kind::Message, "HelloWorld"),
        ("5", Kind::Upgrade, ""),
        ("6", Kind::Noop, ""),
    ];
    for (packet, kind, data) in kinds {
        for version in [Version::V3, Version::V4] {
            assert_eq!(decode_text(version, packet), Ok(text(kind, data)));
        }
        assert!(packet.starts_with(kind.digit()));
    }
}

#[test]
fn an_empty_packet_and_an_unknown_type_are_malformed() {
    for version in [Version::V3, Version::V4] {
        assert_eq!(decode_text(version, ""), Err(Fault::PacketEmpty));
        for packet in ["7", "9x", "abc", "/", ":", " 2", "é"] {
            assert_eq!(decode_text(version, packet), Err(Fault::PacketTypeUnknown), "{packet}");
        }
    }
}

#[test]
fn base64_carries_the_type_in_protocol_3_only() {
    assert_eq!(decode_text(Version::V3, "b4AQIDBA=="), Ok(binary(&[1, 2, 3, 4])));
    assert_eq!(decode_text(Version::V4, "bAQIDBA=="), Ok(binary(&[1, 2, 3, 4])));
    assert_eq!(decode_text(Version::V4, "b"), Ok(binary(&[])));
    assert_eq!(decode_text(Version::V3, "b4"), Ok(binary(&[])));
    assert_eq!(decode_text(Version::V3, "b"), Err(Fault::PacketEmpty));
    assert_eq!(decode_text(Version::V3, "bAQIDBA=="), Err(Fault::PacketTypeUnknown));
    for bad in ["b4AQIDBA", "b4AQIDBA=", "b4AQ!DBA==", "b4AQIDBA===", "b4 AQIDBA==", "b4AQIDBB=="] {
        assert_eq!(decode_text(Version::V3, bad), Err(Fault::Base64Invalid), "{bad}");
    }
}

#[test]
fn binary_frames_carry_the_type_in_protocol_3_only() {
    assert_eq!(decode_binary(Version::V3, &[4, 0, 1, 2, 3, 4, 5]), Ok(binary(&[0, 1, 2, 3, 4, 5])));
    assert_eq!(decode_binary(Version::V3, &[4]), Ok(binary(&[])));
    assert_eq!(decode_binary(Version::V3, &[]), Err(Fault::PacketEmpty));
    assert_eq!(decode_binary(Version::V3, &[7, 1]), Err(Fault::PacketTypeUnknown));
    assert_eq!(decode_binary(Version::V3, b"4"), Err(Fault::PacketTypeUnknown));
    assert_eq!(decode_binary(Version::V4, &[4, 1]), Ok(binary(&[4, 1])));
    assert_eq!(decode_binary(Version::V4, &[]), Ok(binary(&[])));
}

#[test]
fn the_payload_examples_of_protocol_4_decode() {
    let hello = text(Kind::Message, "hello");
    let world = text(Kind::Message, "world");
    check_text(Version::V4, "4hello", std::slice::from_ref(&hello));
    check_text(Version::V4, "4hello\x1e2\x1e4world", &[hello.clone(), text(Kind::Ping, ""), world]);
    check_text(Version::V4, "4hello\x1ebAQIDBA==", &[hello, binary(&[1, 2, 3, 4])]);
}

#[test]
fn the_payload_examples_of_protocol_3_decode() {
    check_text(
        Version::V3,
        "6:4hello2:4€",
        &[text(Kind::Message, "hello"), text(Kind::Message, "€")],
    );
    check_text(
        Version::V3,
        "2:4€10:b4AQIDBA==",
        &[text(Kind::Message, "€"), binary(&[1, 2, 3, 4])],
    );
    // From the changelog of engine.io-parser 4.0.0; the example in the protocol text lacks the type.
    assert_eq!(
        decode(Version::V3, Form::Binary, b"\x00\x06\xff4hello\x01\x04\xff\x04\x01\x02\x03"),
        Ok(vec![text(Kind::Message, "hello"), binary(&[1, 2, 3])])
    );
}

#[test]
fn lengths_of_protocol_3_text_count_utf16_units() {
    // Recorded from the original application's page, and from socket.io-client 2.5.
    let recorded = [
        r#"28:42["message",{"msg":"你好😀"}]"#,
        r#"24:42["login","登录后才能进入聊天室"]"#,
        r#"42:42["message",{"roomid":1,"msg":"hi ü☃😀"}]"#,
    ];
    for payload in recorded {
        let (_, packet) = payload.split_once(':').expect("a length");
        check_text(Version::V3, payload, &[text(Kind::Message, &packet[1..])]);
        check_encode(Version::V3, false, &[out_text(packet)], payload.as_bytes(), false);
    }
    check_text(
        Version::V3,
        r#"28:42["login",{"name":"a@b.c"}]1:2"#,
        &[text(Kind::Message, r#"2["login",{"name":"a@b.c"}]"#), text(Kind::Ping, "")],
    );
}

#[test]
fn a_wrong_length_is_malformed() {
    let bodies =
        ["4hello", "5:4hello", "7:4hello", ":4hello", "x:4hello", "-6:4hello", "6.0:4hello", "6"];
    for body in bodies {
        check_fault(Version::V3, Form::Text, body, Fault::PayloadLengthInvalid);
    }
    check_fault(Version::V3, Form::Text, "99999999999:4", Fault::PayloadLengthInvalid);
    check_fault(Version::V3, Form::Text, "6:4hello3", Fault::PayloadLengthInvalid);
    check_fault(Version::V3, Form::Text, "0:", Fault::PacketEmpty);
    // A length that ends between the two halves of a surrogate pair.
    check_fault(Version::V3, Form::Text, "2:4😀", Fault::PayloadLengthInvalid);
    check_text(Version::V3, "3:4😀", &[text(Kind::Message, "😀")]);
    // Bytes or scalars where units belong.
    check_fault(Version::V3, Form::Text, "4:4€", Fault::PayloadLengthInvalid);
}

#[test]
fn python_engineio_3_posts_the_binary_form() {
    // Recorded from python-engineio 3.14.2.
    let body = b"\x00\x04\x07\xff42[\"message\",{\"roomid\":1,\"msg\":\"hi \xc3\xbc\xe2\x98\x83\
        \xf0\x9f\x98\x80\"}]\x00\x01\xff2\x01\x04\xff\x04\x01\x02\x03";
    let event = r#"2["message",{"roomid":1,"msg":"hi ü☃😀"}]"#;
    assert_eq!(
        decode(Version::V3, Form::Binary, body),
        Ok(vec![text(Kind::Message, event), text(Kind::Ping, ""), binary(&[1, 2, 3])])
    );
}

#[test]
fn a_broken_binary_form_is_malformed() {
    let broken: [(&[u8], Fault); 10] = [
        (b"\x02\x01\xff2", Fault::PayloadElementUnknown),
        (b"\x00", Fault::PayloadLengthInvalid),
        (b"\x00\x01", Fault::PayloadLengthInvalid),
        (b"\x00\xff2", Fault::PayloadLengthInvalid),
        (b"\x00\x0a\xff2", Fault::PayloadLengthInvalid),
        (b"\x00\x02\xff2", Fault::PayloadLengthInvalid),
        (b"\x00\x00\xff", Fault::PacketEmpty),
        (b"\x01\x00\xff", Fault::PacketEmpty),
        (b"\x00\x01\xff2\x00", Fault::PayloadLengthInvalid),
        (b"\x00\x02\xff4\xff", Fault::PayloadNotUtf8),
    ];
    for (body, fault) in broken {
        check_fault(Version::V3, Form::Binary, body, fault);
    }
    let endless = [&[0][..], &[9; 400], &[255]].concat();
    check_fault(Version::V3, Form::Binary, endless, Fault::PayloadLengthInvalid);
    // Leading zeros change nothing.
    assert_eq!(decode(Version::V3, Form::Binary, b"\0\0\x01\xff2"), Ok(vec![text(Kind::Ping, "")]));
}

#[test]
fn a_payload_holds_at_least_one_packet_and_at_most_the_limit() {
    for (version, packet, form) in [
        (Version::V4, "2", Form::Text),
        (Version::V3, "1:2", Form::Text),
        (Version::V3, "\0\x01\u{ff}2", Form::Binary),
    ] {
        // `\u{ff}` is one byte on the wire here, not UTF-8.
        let packet: Vec<u8> = packet.chars().map(|c| c as u8).collect();
        let separator: &[u8] = if version == Version::V4 { b"\x1e" } else { b"" };
        let body = |count| vec![packet.clone(); count].join(separator);
        check_fault(version, form, b"", Fault::PayloadEmpty);
        assert_eq!(decode(version, form, &body(PACKETS_MAX)).map(|p| p.len()), Ok(PACKETS_MAX));
        check_fault(version, form, body(PACKETS_MAX + 1), Fault::PayloadTooManyPackets);
    }
}

#[test]
fn a_payload_is_malformed_if_one_packet_is() {
    check_fault(Version::V4, Form::Text, "4a\x1e", Fault::PacketEmpty);
    check_fault(Version::V4, Form::Text, "\x1e4a", Fault::PacketEmpty);
    check_fault(Version::V4, Form::Text, "4a\x1e\x1e4b", Fault::PacketEmpty);
    check_fault(Version::V4, Form::Text, "4a\x1eabc", Fault::PacketTypeUnknown);
    check_fault(Version::V4, Form::Text, b"4\xff", Fault::PayloadNotUtf8);
    check_fault(Version::V3, Form::Text, b"2:4\xff", Fault::PayloadNotUtf8);
    check_fault(Version::V3, Form::Text, "2:4a1:9", Fault::PacketTypeUnknown);
}

#[test]
fn protocol_4_bodies_are_text_whatever_their_content_type() {
    assert_eq!(decode(Version::V4, Form::Binary, b"4a"), Ok(vec![text(Kind::Message, "a")]));
}

#[test]
fn poll_answers_are_encoded_as_the_reference_parsers_do() {
    // engine.io-parser 5.2 and 2.2.1, `encodePayload` of the same packets.
    let packets = [out_text("4hello"), out_text("4€"), out_binary(&[1, 2, 3, 4])];
    check_encode(Version::V4, false, &packets, "4hello\x1e4€\x1ebAQIDBA==".as_bytes(), false);
    check_encode(Version::V3, true, &packets, "6:4hello2:4€10:b4AQIDBA==".as_bytes(), false);
    check_encode(
        Version::V3,
        false,
        &packets,
        b"\x00\x06\xff4hello\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04",
        true,
    );
    // Without binary content it is text for everybody.
    check_encode(Version::V3, false, &packets[..2], "6:4hello2:4€".as_bytes(), false);
    let long = "4".repeat(120);
    let want = [b"\x00\x01\x02\x00\xff", long.as_bytes(), b"\x01\x01\xff\x04"].concat();
    check_encode(Version::V3, false, &[out_text(&long), out_binary(&[])], &want, true);
}

#[test]
fn the_handshake_is_the_open_packet() {
    let open = Open {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrades_websocket: true,
        ping_interval_ms: 25000,
        ping_timeout_ms: 20000,
        max_payload: 1_000_000,
    };
    let mut out = String::new();
    open.write(&mut out);
    assert_eq!(
        out,
        r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
    );
    out.clear();
    Open { upgrades_websocket: false, ..open }.write(&mut out);
    assert!(out.contains(r#""upgrades":[],"#), "{out}");
}

#[test]
fn jsonp_answers_are_javascript() {
    assert_eq!(payload::jsonp(4, "packet data"), r#"___eio[4]("packet data");"#);
    assert_eq!(
        payload::jsonp(0, "2:4\u{2028}\u{2029}\"\n\\"),
        r#"___eio[0]("2:4\u2028\u2029\"\n\\");"#
    );
}

#[test]
fn jsonp_bodies_are_unescaped_as_the_reference_server_does() {
    let check = |form: &str, want: &str| {
        assert_eq!(payload::jsonp_body(form.as_bytes()).as_deref(), Ok(want), "{form}");
    };
    check("d=6%3A4hello", "6:4hello");
    check("x=1&d=4a+b%C3%A9", "4a bé");
    check(r"d=4a%5Cnb", "4a\nb");
    check(r"d=4a%5C%5Cnb", r"4a\nb");
    // engine.io 6.6: only the backslash next to the `n` counts, and only one is taken.
    check(r"d=4a%5C%5C%5Cnb", r"4a\\nb");
    check(r"d=%5C%5Cx%5C%5C", r"\\x\\");
    check("d=", "");
    assert_eq!(payload::jsonp_body(b"e=1"), Err(Fault::JsonpDataMissing));
    assert_eq!(payload::jsonp_body(b""), Err(Fault::JsonpDataMissing));
}

#[test]
fn the_query_is_percent_decoded_and_the_first_of_a_name_counts() {
    let found = query("api_token=a%20b&EIO=3&transport=polling&t=Q85xlbO.0&sid=x%2Dy&b64=1&j=12");
    assert_eq!(
        found,
        Query {
            eio: Some("3".into()),
            transport: Some("polling".into()),
            sid: Some("x-y".into()),
            b64: true,
            jsonp: Some(12),
            token: Some("a b".into()),
        }
    );
    assert_eq!(query("sid=a&sid=b").sid.as_deref(), Some("a"));
    assert_eq!(query("api_token=").token.as_deref(), Some(""));
    assert_eq!(query(""), Query::default());
    assert_eq!(query("eio=4&Transport=polling"), Query::default(), "names are case-sensitive");
}

#[test]
fn b64_is_any_value_and_a_jsonp_index_keeps_its_digits_only() {
    assert!(query("b64=0").b64);
    assert!(!query("b64=").b64);
    assert_eq!(query("j=").jsonp, None);
    assert_eq!(query("j=0").jsonp, Some(0));
    assert_eq!(query("j=1%3Balert(2)").jsonp, Some(12));
    assert_eq!(query("j=alert").jsonp, Some(0));
    assert_eq!(query("j=99999999999999").jsonp, Some(0));
}

#[test]
fn damaged_payloads_do_not_panic() {
    let payloads: [&[u8]; 4] = [
        "28:42[\"message\",{\"msg\":\"你好😀\"}]10:b4AQIDBA==".as_bytes(),
        "4hello\x1e2\x1ebAQIDBA==\x1e4😀".as_bytes(),
        b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04",
        b"d=4a%5C%5Cnb%F0%9F%98%80&x",
    ];
    let mut decoded = 0;
    for payload in payloads {
        sweep::damaged(payload, |body| {
            for version in [Version::V3, Version::V4] {
                for form in [Form::Text, Form::Binary] {
                    decoded += usize::from(decode(version, form, body).is_ok());
                }
            }
            if let Ok(body) = payload::jsonp_body(body) {
                assert!(body.len() <= payload.len() * 3, "each bad byte becomes U+FFFD at most");
            }
            if let Ok(text) = std::str::from_utf8(body) {
                query(text);
            }
        });
    }
    assert!(decoded > 1000, "some damage is harmless: {decoded}");
}

fn outs() -> impl Strategy<Value = Vec<Out>> {
    let packet = prop_oneof![
        "[0-6][^\u{1e}]{0,30}".prop_map(|text| Out::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|data| Out::Binary(data.into())),
    ];
    prop::collection::vec(packet, 1..PACKETS_MAX)
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(packets in outs(), v3 in any::<bool>(), b64 in any::<bool>()) {
        let version = if v3 { Version::V3 } else { Version::V4 };
        let encoded = payload::encode(version, b64, &packets);
        let body = encoded.whole();
        let form = if encoded.is_binary { Form::Binary } else { Form::Text };
        let decoded = decode(version, form, &body).expect("our own payload");
        let again: Vec<Out> = decoded
            .iter()
            .map(|packet| match &packet.data {
                Data::Text(text) => out_text(&format!("{}{text}", packet.kind.digit())),
                Data::Binary(data) => out_binary(data),
            })
            .collect();
        prop_assert_eq!(again, packets);
    }

    #[test]
    fn random_bodies_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
        for version in [Version::V3, Version::V4] {
            for form in [Form::Text, Form::Binary] {
                if let Ok(packets) = decode(version, form, &body) {
                    prop_assert!(!packets.is_empty());
                }
            }
        }
    }
}

//! The harness's own codec against the protocol's vectors, and against itself.

use proptest::prelude::*;
use serde_json::{Value, json};
use throng_codec::engine::{self, Data, Frame, Kind, Packet, Protocol};
use throng_codec::payload::{self, Body};
use throng_codec::socket as sio;
use throng_spec::{Vector, Verdict};

fn protocols(vector: &Vector) -> Vec<Protocol> {
    match vector.protocol {
        throng_spec::Protocol::Eio3 => vec![Protocol::Eio3],
        throng_spec::Protocol::Eio4 => vec![Protocol::Eio4],
        throng_spec::Protocol::Any => vec![Protocol::Eio3, Protocol::Eio4],
    }
}

/// The vectors of packets and payloads; those of events, frames and requests are about servers.
fn vectors() -> Vec<Vector> {
    ["engine_io_packets", "engine_io_payloads", "socket_io_packets"]
        .into_iter()
        .flat_map(throng_spec::vectors)
        .collect()
}

/// What the codec makes of the bytes, as far as it knows their form.
fn decode(vector: &Vector, protocol: Protocol) -> Option<Result<String, String>> {
    let bytes = vector.wire().expect("the vectors of the protocol are sound");
    let text = String::from_utf8(bytes.clone()).map_err(|_| "not UTF-8".to_owned());
    let shown =
        |outcome: Result<String, throng_codec::Malformed>| outcome.map_err(|why| why.to_string());
    let of_text = |decode: &dyn Fn(&str) -> Result<String, String>| match &text {
        Ok(text) => decode(text),
        Err(why) => Err(why.clone()),
    };
    Some(match vector.form.as_str() {
        "packet" | "frame-text" => of_text(&|text| {
            let frame = Frame::Text(text.to_owned());
            shown(engine::decode(protocol, &frame).map(|packet| format!("{packet:?}")))
        }),
        "frame-binary" => shown(
            engine::decode(protocol, &Frame::Binary(bytes)).map(|packet| format!("{packet:?}")),
        ),
        "payload-text" => of_text(&|text| {
            shown(payload::decode_body_text(protocol, text).map(|packets| format!("{packets:?}")))
        }),
        "payload-binary" => shown(
            payload::decode(protocol, &Body::Octets(bytes)).map(|packets| format!("{packets:?}")),
        ),
        "sio" => of_text(&|text| shown(sio::decode(text).map(|packet| format!("{packet:?}")))),
        _ => return None,
    })
}

#[test]
fn vectors_decode_as_the_protocol_says() {
    let mut judged = 0;
    let mut wrong = Vec::new();
    for vector in &vectors() {
        for protocol in protocols(vector) {
            let Some(outcome) = decode(vector, protocol) else { continue };
            judged += 1;
            let fits = match vector.verdict {
                Verdict::Accept => outcome.is_ok(),
                Verdict::Reject => outcome.is_err() || is_beyond_the_codec(vector),
                Verdict::Either => true,
            };
            if !fits {
                wrong.push(format!(
                    "{} ({}, {protocol:?}): {outcome:?}",
                    vector.name, vector.clause
                ));
            }
        }
    }
    assert!(judged > 50, "only {judged} vectors are about packets and payloads");
    assert!(wrong.is_empty(), "{} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Rules of sessions, not of packets: direction, state, and limits.
fn is_beyond_the_codec(vector: &Vector) -> bool {
    matches!(
        vector.clause.as_str(),
        "EIO-56"
            | "EIO-64"
            | "SIO-32"
            | "SIO-17"
            | "SIO-51"
            | "SIO-52"
            | "SIO-53"
            | "SIO-54"
            | "LIM-14"
    )
}

/// A packet in the shape of the vectors' `meaning`.
fn meaning_of(packet: &Packet) -> Value {
    let kind = format!("{:?}", packet.kind).to_lowercase();
    if let (Kind::Open, Data::Text(text)) = (packet.kind, &packet.data)
        && let Ok(handshake) = serde_json::from_str::<Value>(text)
    {
        return json!({ "type": kind, "handshake": handshake });
    }
    match &packet.data {
        Data::Text(text) => json!({ "type": kind, "data": text }),
        Data::Binary(bytes) => {
            json!({ "type": kind, "binary": data_encoding::HEXLOWER.encode(bytes) })
        }
    }
}

#[test]
fn accepted_engine_io_vectors_mean_what_they_say() {
    let mut compared = 0;
    for vector in vectors().iter().filter(|vector| vector.verdict == Verdict::Accept) {
        for protocol in protocols(vector) {
            let bytes = vector.wire().expect("sound");
            let text = || String::from_utf8(bytes.clone()).expect("text");
            let decoded = match vector.form.as_str() {
                "frame-text" => {
                    engine::decode(protocol, &Frame::Text(text())).map(|packet| vec![packet])
                }
                "frame-binary" => {
                    engine::decode_binary(protocol, &bytes).map(|packet| vec![packet])
                }
                "payload-text" => payload::decode_body_text(protocol, &text()),
                "payload-binary" => payload::decode(protocol, &Body::Octets(bytes.clone())),
                _ => continue,
            };
            let decoded = decoded.unwrap_or_else(|why| panic!("{}: {why}", vector.name));
            let observed: Vec<Value> = decoded.iter().map(meaning_of).collect();
            let wanted = match vector.meaning.get("packets") {
                Some(packets) => packets.as_array().expect("a list").clone(),
                None => vec![vector.meaning.clone()],
            };
            assert_eq!(observed, wanted, "{} ({})", vector.name, vector.clause);
            compared += 1;
        }
    }
    assert!(compared > 80, "only {compared} vectors compared");
}

#[test]
fn accepted_socket_io_vectors_mean_what_they_say() {
    let mut compared = 0;
    for vector in vectors().iter().filter(|vector| vector.form == "sio") {
        if vector.verdict != Verdict::Accept {
            continue;
        }
        let text = String::from_utf8(vector.wire().expect("sound")).expect("text");
        let packet = sio::decode(&text).unwrap_or_else(|why| panic!("{}: {why}", vector.name));
        let meaning = &vector.meaning;
        let fact = |key: &str| meaning.get(key).filter(|value| !value.is_null());
        if let Some(namespace) = fact("nsp").and_then(Value::as_str) {
            assert_eq!(packet.namespace, namespace, "{}", vector.name);
            compared += 1;
        }
        if let Some(id) = fact("id").and_then(Value::as_u64) {
            assert_eq!(packet.id, Some(id), "{}", vector.name);
            compared += 1;
        }
        // Attachments come in later frames: the packet itself holds placeholders.
        if let Some(data) = fact("data").filter(|data| !data.to_string().contains("_binary")) {
            assert_eq!(packet.data.as_ref(), Some(data), "{}", vector.name);
            compared += 1;
        }
    }
    assert!(compared > 40, "only {compared} facts compared");
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let kind = prop_oneof![
        Just(Kind::Open),
        Just(Kind::Close),
        Just(Kind::Ping),
        Just(Kind::Pong),
        Just(Kind::Message),
        Just(Kind::Noop)
    ];
    let text = (kind, "[^\u{1e}]{0,20}").prop_map(|(kind, text)| Packet::text(kind, text));
    let binary = prop::collection::vec(any::<u8>(), 0..30).prop_map(Packet::binary);
    prop::collection::vec(prop_oneof![text, binary], 1..6)
}

proptest! {
    #[test]
    fn payloads_come_back_as_they_went(packets in packets(), eio4 in any::<bool>()) {
        let protocol = if eio4 { Protocol::Eio4 } else { Protocol::Eio3 };
        let text = payload::encode_text(protocol, &packets);
        prop_assert_eq!(payload::decode_body_text(protocol, &text).expect("own text"), packets.clone());
        if !eio4 {
            let octets = Body::Octets(payload::encode_octets(&packets));
            prop_assert_eq!(payload::decode(protocol, &octets).expect("own octets"), packets);
        }
    }

    #[test]
    fn no_bytes_make_the_codec_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in ".{0,60}") {
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            let _ = engine::decode(protocol, &Frame::Binary(bytes.clone()));
            let _ = engine::decode_text(&text);
            let _ = payload::decode(protocol, &Body::Octets(bytes.clone()));
            let _ = payload::decode_body_text(protocol, &text);
        }
        let _ = sio::decode(&text);
    }
}

#[test]
fn lengths_count_utf16_units() {
    let packet = Packet {
        kind: Kind::Message,
        data: Data::Text("2[\"message\",{\"roomid\":1,\"msg\":\"hi ü☃😀\"}]".to_owned()),
    };
    let text = payload::encode_text(Protocol::Eio3, &[packet]);
    assert!(text.starts_with("42:4"), "{text}");
}

//! The golden vectors of the protocol text, run through every codec of this crate.
//!
//! A vector that is malformed for a reason that needs a session (heartbeat direction, placeholders) or
//! the chat's rules must still decode here; those clauses are listed where they are let through.

use serde_json::{Map, Value, json};
use throng_spec::{Direction, Protocol, Vector, Verdict, vectors};

use crate::eio::{self, Version, payload};
use crate::{Fault, sio, sweep, ws};

const SIO_LIMITS: sio::Limits =
    sio::Limits { depth_max: 64, values_max: 32_768, attachments_max: 10 };
const WS_LIMITS: ws::Limits = ws::Limits { message_bytes_max: 4 << 20, fragments_max: 1024 };

fn versions(vector: &Vector) -> &'static [Version] {
    match vector.protocol {
        Protocol::Eio3 => &[Version::V3],
        Protocol::Eio4 => &[Version::V4],
        Protocol::Any => &[Version::V3, Version::V4],
    }
}

fn wire(vector: &Vector) -> Vec<u8> {
    vector.wire().expect("a vector has bytes")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unhex(value: &Value) -> Vec<u8> {
    let hex = value.as_str().expect("hexadecimal");
    data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal")
}

/// Holds a decoder's result against the vector's verdict and meaning.
#[track_caller]
fn hold(vector: &Vector, got: Result<Value, Fault>) {
    let name = &vector.name;
    match (vector.verdict, got) {
        (Verdict::Accept, got) => assert_eq!(got, Ok(vector.meaning.clone()), "{name}"),
        (Verdict::Reject, got) => assert!(got.is_err(), "{name}: {got:?}"),
        (Verdict::Either, _) => {}
    }
}

fn eio_meaning(packet: &eio::Packet<'_>) -> Value {
    let kind = match packet.kind {
        eio::Kind::Open => "open",
        eio::Kind::Close => "close",
        eio::Kind::Ping => "ping",
        eio::Kind::Pong => "pong",
        eio::Kind::Message => "message",
        eio::Kind::Upgrade => "upgrade",
        eio::Kind::Noop => "noop",
    };
    match &packet.data {
        eio::Data::Binary(data) => json!({ "type": kind, "binary": hex(data) }),
        eio::Data::Text(data) if packet.kind == eio::Kind::Open && !data.is_empty() => {
            let handshake: Value = serde_json::from_str(data).expect("a handshake is JSON");
            json!({ "type": kind, "handshake": handshake })
        }
        eio::Data::Text(data) => json!({ "type": kind, "data": data }),
    }
}

fn eio_payload(version: Version, form: payload::Form, body: &[u8]) -> Result<Value, Fault> {
    let packets = payload::decode(version, form, body, 100)?;
    Ok(json!({ "packets": packets.iter().map(eio_meaning).collect::<Vec<_>>() }))
}

#[test]
fn engine_io_decodes_every_vector() {
    let mut checked = 0;
    for vector in vectors("engine_io_packets").iter().chain(&vectors("engine_io_payloads")) {
        let bytes = wire(vector);
        for &version in versions(vector) {
            // Whether a heartbeat goes the right way is the session's to judge.
            let needs_session = ["EIO-56", "EIO-64"].contains(&&*vector.clause);
            let got = match &*vector.form {
                _ if needs_session => continue,
                "frame-text" => eio::decode_text(version, text(&bytes)).map(|p| eio_meaning(&p)),
                "frame-binary" => eio::decode_binary(version, &bytes).map(|p| eio_meaning(&p)),
                "payload-text" => eio_payload(version, payload::Form::Text, &bytes),
                "payload-binary" => eio_payload(version, payload::Form::Binary, &bytes),
                "jsonp-post" => payload::jsonp_body(&bytes).map(|text| json!({ "payload": text })),
                "jsonp-answer" => continue,
                form => panic!("unknown form {form}"),
            };
            hold(vector, got);
            checked += 1;
        }
    }
    assert!(checked > 130, "{checked}");
}

#[test]
fn engine_io_encodes_what_servers_send_as_the_vectors_have_it() {
    let mut checked = 0;
    for vector in vectors("engine_io_payloads") {
        if vector.verdict != Verdict::Accept || vector.dir == Direction::C2s {
            continue;
        }
        let bytes = wire(&vector);
        if vector.form == "jsonp-answer" {
            let index = vector.meaning["j"].as_u64().expect("an index") as u32;
            let body = vector.meaning["payload"].as_str().expect("a payload");
            assert_eq!(payload::jsonp(index, body), text(&bytes), "{}", vector.name);
            checked += 1;
            continue;
        }
        let packets = vector.meaning["packets"].as_array().expect("packets");
        let packets: Vec<_> = packets.iter().map(out).collect();
        let is_binary = vector.form == "payload-binary";
        for &version in versions(&vector) {
            let encoded = payload::encode(version, !is_binary, &packets);
            assert_eq!(encoded.whole(), bytes, "{}", vector.name);
            assert_eq!(encoded.is_binary, is_binary, "{}", vector.name);
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

fn out(packet: &Value) -> payload::Out {
    if packet.get("binary").is_some() {
        return payload::Out::Binary(unhex(&packet["binary"]).into());
    }
    let digit = match packet["type"].as_str().expect("a type") {
        "open" => 0,
        "close" => 1,
        "ping" => 2,
        "pong" => 3,
        "message" => 4,
        "upgrade" => 5,
        "noop" => 6,
        kind => panic!("unknown type {kind}"),
    };
    let data = match packet.get("handshake") {
        Some(handshake) => handshake.to_string(),
        None => packet["data"].as_str().expect("data").to_owned(),
    };
    payload::Out::Text(format!("{digit}{data}").into())
}

#[test]
fn the_handshake_is_that_of_the_vectors() {
    let mut checked = 0;
    for vector in vectors("engine_io_packets") {
        let Some(handshake) = vector.meaning.get("handshake") else { continue };
        let number = |key: &str| handshake[key].as_u64().map(|n| n as u32);
        // The Engine.IO 3 text has no maxPayload; we send it always (EIO-1).
        let Some(max_payload) = number("maxPayload") else { continue };
        let mut out = String::new();
        eio::Open {
            sid: handshake["sid"].as_str().expect("a sid"),
            upgrades_websocket: handshake["upgrades"] == json!(["websocket"]),
            ping_interval_ms: number("pingInterval").expect("an interval"),
            ping_timeout_ms: number("pingTimeout").expect("a timeout"),
            max_payload,
        }
        .write(&mut out);
        assert_eq!(Some(out), vector.text, "{}", vector.name);
        checked += 1;
    }
    assert!(checked > 0);
}

/// Puts the attachments where their placeholders are.
fn restore(value: &mut Value, attachments: &[Vec<u8>]) {
    match value {
        Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
            let num = members["num"].as_u64().expect("a number") as usize;
            *value = json!({ "_binary": hex(&attachments[num]) });
        }
        Value::Object(members) => members.values_mut().for_each(|v| restore(v, attachments)),
        Value::Array(elements) => elements.iter_mut().for_each(|v| restore(v, attachments)),
        _ => {}
    }
}

fn sio_meaning(text: &str, attachments: &[Vec<u8>]) -> Result<Value, Fault> {
    let packet = sio::decode(text, &SIO_LIMITS)?;
    let kind = match packet.kind {
        sio::Kind::Connect => "CONNECT",
        sio::Kind::Disconnect => "DISCONNECT",
        sio::Kind::Event => "EVENT",
        sio::Kind::Ack => "ACK",
        sio::Kind::ConnectError => "CONNECT_ERROR",
        sio::Kind::BinaryEvent => "BINARY_EVENT",
        sio::Kind::BinaryAck => "BINARY_ACK",
    };
    assert_eq!(packet.attachments as usize, attachments.len());
    let mut meaning = Map::new();
    meaning.insert("type".to_owned(), kind.into());
    meaning.insert("nsp".to_owned(), packet.namespace.into());
    if let Some(id) = packet.ack {
        meaning.insert("id".to_owned(), id.into());
    }
    if let Some(data) = packet.data {
        let mut data = serde_json::from_str(data).expect("data is JSON");
        restore(&mut data, attachments);
        meaning.insert("data".to_owned(), data);
    }
    Ok(meaning.into())
}

#[test]
fn socket_io_decodes_every_vector() {
    let mut checked = 0;
    for vector in vectors("socket_io_packets") {
        // Placeholders are counted when the attachments are there.
        if vector.clause == "SIO-54" || vector.verdict == Verdict::Either {
            continue;
        }
        let attachments = vector.attachments().expect("hexadecimal");
        hold(&vector, sio_meaning(text(&wire(&vector)), &attachments));
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

/// Replaces each restored attachment by its placeholder again; returns how many there were.
fn take_out(value: &mut Value, count: &mut u32) {
    match value {
        Value::Object(members) if members.contains_key("_binary") => {
            *value = json!({ "_placeholder": true, "num": *count });
            *count += 1;
        }
        Value::Object(members) => members.values_mut().for_each(|v| take_out(v, count)),
        Value::Array(elements) => elements.iter_mut().for_each(|v| take_out(v, count)),
        _ => {}
    }
}

#[test]
fn socket_io_encodes_what_servers_send_as_the_vectors_have_it() {
    let mut checked = 0;
    for vector in vectors("socket_io_packets") {
        if vector.verdict != Verdict::Accept || vector.dir == Direction::C2s {
            continue;
        }
        let meaning = &vector.meaning;
        let namespace = meaning["nsp"].as_str().expect("a namespace");
        let id = meaning.get("id").map(|id| id.as_u64().expect("an id"));
        let mut data = meaning.get("data").cloned();
        let mut attachments = 0;
        if let Some(data) = &mut data {
            take_out(data, &mut attachments);
        }
        let elements = |data: &Option<Value>| -> Vec<String> {
            let data = data.as_ref().and_then(Value::as_array).expect("an array");
            data.iter().map(Value::to_string).collect()
        };
        let whole = data.as_ref().map(Value::to_string).unwrap_or_default();
        let mut out = String::new();
        match meaning["type"].as_str().expect("a type") {
            "CONNECT" => {
                let sid = data.as_ref().map(|data| data.get("sid").and_then(Value::as_str));
                // What a client shows in its CONNECT, a server never sends.
                let Some(sid) = sid.map_or(Some(None), |sid| sid.map(Some)) else { continue };
                sio::put_connect(&mut out, namespace, sid);
            }
            "DISCONNECT" => sio::put_disconnect(&mut out, namespace),
            "EVENT" => {
                let name = data.as_ref().and_then(|data| data[0].as_str()).expect("a name");
                let args = elements(&data);
                let args: Vec<&str> = args[1..].iter().map(String::as_str).collect();
                sio::put_event(&mut out, namespace, id, name, &args);
            }
            "ACK" => {
                let id = id.expect("an id");
                sio::put_ack(&mut out, namespace, id, &elements(&data).join(","));
            }
            "CONNECT_ERROR" => {
                let data = data.as_ref().expect("a reason");
                let (version, message) = match data.as_str() {
                    Some(message) => (Version::V3, message),
                    None => (Version::V4, data["message"].as_str().expect("a message")),
                };
                // Middleware may add details; we have none to add.
                if data.as_object().is_some_and(|members| members.len() > 1) {
                    continue;
                }
                sio::put_connect_error(&mut out, version, namespace, message);
            }
            "BINARY_EVENT" => {
                sio::put_binary_event(&mut out, namespace, attachments, id, &whole);
            }
            "BINARY_ACK" => {
                let id = id.expect("an id");
                sio::put_binary_ack(&mut out, namespace, attachments, id, &whole);
            }
            kind => panic!("unknown type {kind}"),
        }
        assert_eq!(out, format!("4{}", text(&wire(&vector))), "{}", vector.name);
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn chat_events_split_into_name_and_arguments() {
    let mut checked = 0;
    for vector in vectors("chat_events") {
        // What is wrong with a refused event is the chat's to find; the packet itself is sound.
        let bytes = wire(&vector);
        let packet = sio::decode(text(&bytes), &SIO_LIMITS).expect(&vector.name);
        let data = packet.data.expect("data");
        let want = vector.meaning["args"].as_array().expect("args");
        let args = match vector.meaning.get("event") {
            Some(name) => {
                let event = sio::event(data).expect("an event");
                assert_eq!(Some(&*event.name), name.as_str(), "{}", vector.name);
                let first = sio::first_arg(event.args).map(|arg| {
                    serde_json::from_str::<Value>(arg).expect("the first argument is JSON")
                });
                assert_eq!(first.as_ref(), want.first(), "{}", vector.name);
                format!("[{}]", event.args)
            }
            None => data.to_owned(),
        };
        let args: Value = serde_json::from_str(&args).expect("arguments are JSON");
        assert_eq!(args.as_array(), Some(want), "{}", vector.name);
        let ack = vector.meaning.get("ack").and_then(Value::as_u64);
        assert_eq!(packet.ack, ack, "{}", vector.name);
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}

/// What the decoder makes of client bytes that arrive in `chunks`, in the words of the vectors.
fn ws_meaning<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Result<Value, Fault> {
    let mut decoder = ws::Decoder::default();
    let mut messages = Vec::new();
    let mut pongs = Vec::new();
    let mut control = None;
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        while let Some(message) = decoder.next(&mut input, &WS_LIMITS)? {
            match message {
                ws::Message::Text(text) => messages.push(json!({ "text": &*text })),
                ws::Message::Binary(bytes) => messages.push(json!({ "binary": hex(bytes) })),
                ws::Message::Ping(data) => pongs.push(hex(data)),
                ws::Message::Pong(data) => {
                    control = Some(json!({ "control": "pong", "data": hex(data) }));
                }
                ws::Message::Close(None) => control = Some(json!({ "control": "close" })),
                ws::Message::Close(Some((code, reason))) => {
                    control = Some(json!({ "control": "close", "code": code, "reason": reason }));
                }
            }
        }
    }
    Ok(match control {
        Some(control) => control,
        None if pongs.is_empty() => json!({ "messages": messages }),
        None => json!({ "messages": messages, "pongs": pongs }),
    })
}

#[test]
fn websocket_frames_of_clients_decode_as_the_vectors_have_it() {
    let mut checked = 0;
    for vector in vectors("websocket_frames") {
        if vector.dir == Direction::S2c {
            continue;
        }
        let bytes = wire(&vector);
        let got = ws_meaning([&bytes[..]]);
        assert_eq!(ws_meaning(bytes.chunks(1)), got, "{}", vector.name);
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(ws_meaning([head, tail]), got, "{}", vector.name);
        }
        match (&got, vector.verdict) {
            (Err(fault), Verdict::Reject) => {
                let code = json!(fault.close_code());
                let codes = vector.meaning["close_any"].as_array();
                let is_right = code == vector.meaning["close"]
                    || codes.is_some_and(|codes| codes.contains(&code));
                assert!(is_right, "{}: {code}", vector.name);
                assert_eq!(fault.clause(), vector.clause, "{}", vector.name);
            }
            _ => hold(&vector, got),
        }
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn websocket_frames_of_servers_encode_as_the_vectors_have_it() {
    let mut checked = 0;
    for vector in vectors("websocket_frames") {
        if vector.dir != Direction::S2c {
            continue;
        }
        let meaning = &vector.meaning;
        let frame = if let Some(header) = meaning.get("header") {
            let mut out = Vec::new();
            let opcode = header["opcode"].as_u64().expect("an opcode") as u8;
            let length = header["length"].as_u64().expect("a length") as usize;
            ws::put_header(&mut out, ws::OpCode::from(opcode), length);
            out.into()
        } else if meaning.get("control").is_some() {
            ws::ping_frame(&unhex(&meaning["data"]))
        } else if let Some(text) = meaning["messages"][0]["text"].as_str() {
            // We do not fragment what we send.
            if vector.name.contains("fragmented") {
                continue;
            }
            ws::text_frame(text)
        } else {
            ws::binary_frame(&unhex(&meaning["messages"][0]["binary"]))
        };
        assert_eq!(frame, wire(&vector), "{}", vector.name);
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[test]
fn damaged_vectors_do_not_panic() {
    let mut cases = 0;
    for file in throng_spec::vector_files() {
        for vector in vectors(file) {
            let bytes = wire(&vector);
            // The long ones differ from the short ones in length alone.
            if bytes.len() > 200 {
                continue;
            }
            sweep::damaged(&bytes, |bytes| {
                cases += 1;
                if vector.form == "ws-frame" {
                    let _ = ws_meaning([bytes]);
                    return;
                }
                if vector.form == "sio" {
                    let Ok(text) = std::str::from_utf8(bytes) else { return };
                    let _ = sio::decode(text, &SIO_LIMITS);
                    let _ = sio::event(text);
                    let _ = sio::first_arg(text);
                    return;
                }
                for &version in versions(&vector) {
                    for form in [payload::Form::Text, payload::Form::Binary] {
                        let _ = payload::decode(version, form, bytes, 100);
                    }
                    let _ = eio::decode_binary(version, bytes);
                    if let Ok(text) = std::str::from_utf8(bytes) {
                        let _ = eio::decode_text(version, text);
                    }
                }
                let _ = payload::jsonp_body(bytes);
            });
        }
    }
    assert!(cases > 1_000_000, "{cases}");
}

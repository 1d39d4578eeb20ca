use proptest::prelude::*;
use serde_json::{Value as Json, json};
use throng_spec::{Vector, Verdict, vectors};

use super::*;
use crate::adapter::{Channels, Scope};

const BYTES_MAX: usize = 64 * 1024;

fn channel(vector: &Vector) -> &str {
    vector.meaning["channel"].as_str().expect("the vector names its channel")
}

fn broadcasts() -> impl Iterator<Item = (Vector, Vec<u8>)> {
    let channels = Channels::new("socket.io");
    let all = vectors("redis_adapter").into_iter();
    let broadcasts = all.filter(move |vector| channels.scope(channel(vector)).is_some());
    broadcasts.map(|vector| {
        let bytes = vector.wire().expect("the vector has bytes");
        (vector, bytes)
    })
}

fn strings(names: &Json) -> Vec<String> {
    let names = names.as_array().expect("names").iter();
    names.map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)).collect()
}

#[test]
fn every_captured_broadcast_is_understood() {
    let mut count = 0;
    for (vector, bytes) in broadcasts() {
        let decoded = Broadcast::decode(&bytes, BYTES_MAX);
        count += 1;
        if vector.verdict == Verdict::Reject {
            assert_eq!(decoded, Err(Malformed::Binary), "{}", vector.name);
            continue;
        }
        let decoded = decoded.unwrap_or_else(|error| panic!("{}: {error:?}", vector.name));
        let event: Json = serde_json::from_str(&decoded.event).expect("the event is JSON");
        assert_eq!(event, vector.meaning["event"], "{}", vector.name);
        assert_eq!(decoded.uid, vector.meaning["uid"], "{}", vector.name);
        assert_eq!(decoded.rooms, strings(&vector.meaning["rooms"]), "{}", vector.name);
        assert_eq!(decoded.except, strings(&vector.meaning["except"]), "{}", vector.name);
    }
    assert_eq!(count, 19, "broadcasts among the vectors");
}

#[test]
fn requests_and_responses_are_on_channels_that_are_not_ours() {
    let channels = Channels::new("socket.io");
    let mut count = 0;
    for vector in vectors("redis_adapter").iter().filter(|vector| vector.clause == "RDS-7") {
        assert_eq!(channels.scope(channel(vector)), None, "{}", vector.name);
        count += 1;
    }
    assert_eq!(count, 16);
}

/// What we publish is, byte for byte, what the adapter would have.
#[test]
fn we_write_as_the_adapter_does() {
    let channels = Channels::new("socket.io");
    let mut count = 0;
    for (vector, bytes) in broadcasts() {
        let meaning = &vector.meaning;
        let rooms = strings(&meaning["rooms"]);
        let is_plain = vector.verdict == Verdict::Accept
            && vector.source.contains("redis-adapter@")
            && meaning["rooms"][0].is_string()
            && rooms.len() == 1
            && !["adapter: vol", "adapter: cmp"].contains(&vector.name.as_str());
        if !is_plain {
            continue;
        }
        let uid = meaning["uid"].as_str().expect("a uid");
        let event = meaning["event"].as_array().expect("an event");
        assert_eq!(encode(uid, event, &rooms[0]), bytes, "{}", vector.name);
        assert!(is_from(uid, &bytes) && !is_from(&uid[1..], &bytes) && !is_from(uid, &bytes[..4]));
        assert_eq!(channels.scope(channel(&vector)), Some(Scope::Room(&rooms[0])));
        count += 1;
    }
    assert_eq!(count, 4, "plain broadcasts of the adapter among the vectors");
}

#[test]
fn a_cut_broadcast_is_unreadable_at_every_length() {
    for (vector, bytes) in broadcasts() {
        for length in 0..bytes.len() {
            let decoded = Broadcast::decode(&bytes[..length], BYTES_MAX);
            assert_eq!(decoded, Err(Malformed::Unreadable), "{} at {length}", vector.name);
        }
    }
}

fn written(value: &rmpv::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("writing to a vector does not fail");
    bytes
}

fn fault(value: &Json) -> Malformed {
    Broadcast::decode(&written(&msgpack(value)), BYTES_MAX).expect_err("it is malformed")
}

#[test]
fn what_is_no_broadcast_is_named() {
    let packet = |data: Json| json!(["u", {"type": 2, "data": data, "nsp": "/"}, {}]);
    for (value, expected) in [
        (json!({}), Malformed::NotABroadcast),
        (json!([]), Malformed::NotABroadcast),
        (json!(["u"]), Malformed::NotABroadcast),
        (json!([null, {}, {}]), Malformed::NotABroadcast),
        (json!(["u", {"type": 3, "data": ["x"]}]), Malformed::NotABroadcast),
        (json!(["u", {"type": 2, "data": ["x"], "nsp": "/chat"}]), Malformed::OtherNamespace),
        (packet(json!([])), Malformed::NotABroadcast),
        (packet(json!([{}])), Malformed::NotABroadcast),
        (packet(json!("x")), Malformed::NotABroadcast),
        (packet(json!(["disconnect"])), Malformed::Reserved),
        (json!(["u", {"type": 2, "data": ["x"]}, {"rooms": [{}]}]), Malformed::NotABroadcast),
    ] {
        assert_eq!(fault(&value), expected, "{value}");
    }
}

#[test]
fn bounds_hold_exactly() {
    let names = |count: usize| {
        let rooms: Vec<u32> = (0..u32::try_from(count).expect("small")).collect();
        written(&msgpack(&json!(["u", {"type": 2, "data": ["x"]}, {"rooms": rooms}])))
    };
    let decoded = Broadcast::decode(&names(NAMES_MAX), BYTES_MAX).expect("it fits");
    assert_eq!(decoded.rooms.len(), NAMES_MAX);
    let more = Broadcast::decode(&names(NAMES_MAX + 1), BYTES_MAX);
    assert_eq!(more, Err(Malformed::TooManyNames));

    let bytes = names(1);
    assert!(Broadcast::decode(&bytes, bytes.len()).is_ok());
    assert_eq!(Broadcast::decode(&bytes, bytes.len() - 1), Err(Malformed::TooLarge));

    let nested = |depth: usize| {
        let inner = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        written(&msgpack(&json!(["u", {"type": 2, "data": ["x", inner]}])))
    };
    // The broadcast, its packet and the list of arguments are three levels, the number one more.
    let deepest = LEVELS_MAX - 4;
    assert!(Broadcast::decode(&nested(deepest), BYTES_MAX).is_ok());
    let deeper = Broadcast::decode(&nested(deepest + 1), BYTES_MAX);
    assert_eq!(deeper, Err(Malformed::Unreadable));
    let bomb = vec![0x91; BYTES_MAX];
    assert_eq!(Broadcast::decode(&bomb, BYTES_MAX), Err(Malformed::Unreadable));
}

#[test]
fn a_missing_namespace_and_missing_options_are_the_usual_ones() {
    let bytes = written(&msgpack(&json!(["u", {"data": ["x", 1.0], "type": 2}])));
    let decoded = Broadcast::decode(&bytes, BYTES_MAX).expect("it is a broadcast");
    assert_eq!(decoded.event, r#"["x",1]"#);
    assert!(decoded.rooms.is_empty() && decoded.except.is_empty());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Broadcast::decode(&bytes, BYTES_MAX);
    }

    #[test]
    fn a_changed_byte_does_not_panic(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let all: Vec<_> = broadcasts().collect();
        let mut bytes = all[pick.index(all.len())].1.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(decoded) = Broadcast::decode(&bytes, BYTES_MAX) {
            prop_assert!(serde_json::from_str::<Json>(&decoded.event).is_ok(), "{}", decoded.event);
        }
    }
}

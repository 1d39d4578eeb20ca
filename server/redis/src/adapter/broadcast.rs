//! Encoding and decoding of one broadcast.

use rmpv::{Value, ValueRef};
use throng_engine::rooms::is_reserved;

use super::json;

/// Nesting of arrays and maps, as for the JSON of clients. The decoder counts each level twice, for
/// the value and for its content.
const LEVELS_MAX: usize = 64;
/// Rooms, and exceptions, of one broadcast.
const NAMES_MAX: usize = 1024;
/// The packet type of an event, with binary or without.
const EVENT: u64 = 2;

/// An event for some rooms, as another program published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Id of the publisher, which ignores its own broadcasts.
    pub uid: String,
    /// The event and its arguments as a JSON array.
    pub event: String,
    /// The receivers; empty for everyone. A session in several of the rooms gets the event once.
    pub rooms: Vec<String>,
    /// Rooms whose members do not get the event.
    pub except: Vec<String>,
}

/// Why a publication is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// More bytes than the setting allows.
    TooLarge,
    /// Not msgpack, truncated, or nested too deeply.
    Unreadable,
    /// Msgpack, but not a broadcast of an event.
    NotABroadcast,
    /// For another namespace than `/`.
    OtherNamespace,
    /// An argument is binary: our events are text.
    Binary,
    /// The event's name is reserved.
    Reserved,
    /// Too many rooms or exceptions.
    TooManyNames,
}

impl Broadcast {
    /// Decodes a publication of at most `bytes_max` bytes; what follows the broadcast is ignored.
    ///
    /// # Errors
    /// [`Malformed`] says why it is not passed on.
    pub fn decode(bytes: &[u8], bytes_max: usize) -> Result<Broadcast, Malformed> {
        if bytes.len() > bytes_max {
            return Err(Malformed::TooLarge);
        }
        let value = rmpv::decode::read_value_ref_with_max_depth(&mut &bytes[..], 2 * LEVELS_MAX)
            .map_err(|_| Malformed::Unreadable)?;
        let ValueRef::Array(parts) = &value else { return Err(Malformed::NotABroadcast) };
        let [uid, packet, rest @ ..] = &parts[..] else { return Err(Malformed::NotABroadcast) };
        let uid = text(uid).ok_or(Malformed::NotABroadcast)?;
        match field(packet, "nsp").map(|nsp| text(nsp)) {
            None => {}
            Some(Some(nsp)) if nsp == "/" => {}
            Some(_) => return Err(Malformed::OtherNamespace),
        }
        let kind = field(packet, "type").and_then(ValueRef::as_u64);
        let data = field(packet, "data");
        let (Some(EVENT), Some(data @ ValueRef::Array(arguments))) = (kind, data) else {
            return Err(Malformed::NotABroadcast);
        };
        let name = arguments.first().and_then(text).ok_or(Malformed::NotABroadcast)?;
        if is_reserved(&name) {
            return Err(Malformed::Reserved);
        }
        let mut event = String::with_capacity(bytes.len());
        json::write(data, &mut event).map_err(|json::IsBinary| Malformed::Binary)?;
        let options = rest.first();
        Ok(Broadcast {
            uid,
            event,
            rooms: names(options, "rooms")?,
            except: names(options, "except")?,
        })
    }
}

/// Whether a publication begins as everything that [`encode`] writes for `uid`. An equal broadcast in
/// other bytes is found only by decoding.
pub fn is_from(uid: &str, bytes: &[u8]) -> bool {
    const ARRAY_OF_3: u8 = 0x93;
    const SHORT_TEXT: u8 = 0xa0;
    match bytes {
        [ARRAY_OF_3, length, rest @ ..] => {
            usize::from(length ^ SHORT_TEXT) == uid.len() && rest.starts_with(uid.as_bytes())
        }
        _ => false,
    }
}

/// Encodes the broadcast of one event to one room, with the keys in the order of the adapter.
pub fn encode(uid: &str, arguments: &[serde_json::Value], room: &str) -> Vec<u8> {
    let data = arguments.iter().map(msgpack).collect();
    let packet = map([
        ("type", Value::from(EVENT)),
        ("data", Value::Array(data)),
        ("nsp", Value::from("/")),
    ]);
    let options = map([
        ("rooms", Value::Array(vec![Value::from(room)])),
        ("except", Value::Array(Vec::new())),
        ("flags", Value::Map(Vec::new())),
    ]);
    let broadcast = Value::Array(vec![Value::from(uid), packet, options]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &broadcast).expect("writing to a vector does not fail");
    bytes
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
}

fn msgpack(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(msgpack).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (Value::from(key.as_str()), msgpack(value)))
                .collect(),
        ),
    }
}

fn field<'a>(map: &'a ValueRef<'a>, name: &str) -> Option<&'a ValueRef<'a>> {
    let ValueRef::Map(entries) = map else { return None };
    let found = entries.iter().find(|(key, _)| text(key).is_some_and(|key| key == name));
    found.map(|(_, value)| value)
}

/// A string, or an integer in its place: `to(42)` names the room `42`.
fn text(value: &ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::String(text) => text.as_str().map(str::to_owned),
        ValueRef::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn names(options: Option<&ValueRef<'_>>, key: &str) -> Result<Vec<String>, Malformed> {
    let Some(ValueRef::Array(names)) = options.and_then(|options| field(options, key)) else {
        return Ok(Vec::new());
    };
    if names.len() > NAMES_MAX {
        return Err(Malformed::TooManyNames);
    }
    names.iter().map(|name| text(name).ok_or(Malformed::NotABroadcast)).collect()
}

#[cfg(test)]
mod tests;

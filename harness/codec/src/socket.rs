//! Socket.IO packets, protocol 4 (over Engine.IO 3) and 5 (over Engine.IO 4): the text after the
//! Engine.IO `4`.

use super::{Malformed, malformed};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Connect,
        Kind::Disconnect,
        Kind::Event,
        Kind::Ack,
        Kind::ConnectError,
        Kind::BinaryEvent,
        Kind::BinaryAck,
    ];

    fn is_binary(self) -> bool {
        matches!(self, Kind::BinaryEvent | Kind::BinaryAck)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub kind: Kind,
    pub attachments: u64,
    pub namespace: String,
    pub id: Option<u64>,
    pub data: Option<Value>,
}

impl Packet {
    pub fn new(kind: Kind, data: Option<Value>) -> Packet {
        Packet { kind, attachments: 0, namespace: "/".to_owned(), id: None, data }
    }

    pub fn event(name: &str, args: &[Value]) -> Packet {
        let mut data = vec![Value::from(name)];
        data.extend_from_slice(args);
        Packet::new(Kind::Event, Some(Value::Array(data)))
    }

    pub fn with_id(self, id: u64) -> Packet {
        Packet { id: Some(id), ..self }
    }

    pub fn in_namespace(self, namespace: &str) -> Packet {
        Packet { namespace: namespace.to_owned(), ..self }
    }

    /// The event's name and arguments, of an event with at least a name.
    pub fn as_event(&self) -> Option<(&str, &[Value])> {
        let (name, args) = self.data.as_ref()?.as_array()?.split_first()?;
        Some((name.as_str()?, args))
    }
}

/// `<kind>[<attachments>-][<namespace>,][<id>]<data>`.
pub fn encode(packet: &Packet) -> String {
    let mut out = (packet.kind as u8).to_string();
    if packet.kind.is_binary() {
        out.push_str(&format!("{}-", packet.attachments));
    }
    if packet.namespace != "/" {
        out.push_str(&packet.namespace);
        out.push(',');
    }
    if let Some(id) = packet.id {
        out.push_str(&id.to_string());
    }
    if let Some(data) = &packet.data {
        out.push_str(&data.to_string());
    }
    out
}

pub fn decode(text: &str) -> Result<Packet, Malformed> {
    let Some(first) = text.chars().next() else {
        return malformed("an empty Socket.IO packet");
    };
    let index = first.to_digit(10).filter(|_| first.is_ascii()).map(|digit| digit as usize);
    let Some(kind) = index.and_then(|index| Kind::ALL.get(index).copied()) else {
        return malformed(format!("no Socket.IO packet type {first:?}"));
    };
    let mut rest = &text[1..];
    let mut attachments = 0;
    if kind.is_binary() {
        let Some((digits, after)) = rest.split_once('-') else {
            return malformed("a binary packet without its number of attachments");
        };
        attachments = number(digits)?;
        rest = after;
    }
    let mut namespace = "/".to_owned();
    if rest.starts_with('/') {
        let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
        // Protocol 4 lets a client append a query to the namespace; it is not part of the name.
        namespace = name.split('?').next().unwrap_or(name).to_owned();
        rest = after;
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let id = if digits == 0 { None } else { Some(number(&rest[..digits])?) };
    rest = &rest[digits..];
    let data = if rest.is_empty() {
        None
    } else {
        match serde_json::from_str(rest) {
            Ok(value) => Some(value),
            Err(why) => return malformed(format!("bad JSON: {why}")),
        }
    };
    let packet = Packet { kind, attachments, namespace, id, data };
    check_data(&packet)?;
    Ok(packet)
}

fn number(digits: &str) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return malformed(format!("bad number {digits:?}"));
    }
    digits.parse().map_err(|_| Malformed(format!("number {digits} is too large")))
}

fn check_data(packet: &Packet) -> Result<(), Malformed> {
    let data = packet.data.as_ref();
    let fits = match packet.kind {
        Kind::Connect => data.is_none_or(Value::is_object),
        Kind::Disconnect => data.is_none(),
        Kind::ConnectError => data.is_some_and(|data| data.is_object() || data.is_string()),
        Kind::Event | Kind::BinaryEvent => data
            .and_then(Value::as_array)
            .and_then(|items| items.first())
            .is_some_and(|name| name.is_string() || name.is_number()),
        Kind::Ack | Kind::BinaryAck => data.is_some_and(Value::is_array) && packet.id.is_some(),
    };
    if fits { Ok(()) } else { malformed(format!("data that does not fit {:?}", packet.kind)) }
}

//! What a session has received, in order.

use std::time::Instant;

use serde::{Serialize, Serializer};
use serde_json::Value;
use throng_codec::engine::Kind;
use throng_codec::socket as sio;

use super::open::Open;

/// One Socket.IO event, as received.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Instant,
    pub name: String,
    pub args: Vec<Value>,
    /// The ack id, if the server requests an acknowledgement.
    pub id: Option<u64>,
}

/// One event that this session sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Instant,
    pub name: String,
    pub args: Vec<Value>,
    pub id: Option<u64>,
}

/// Its name and its arguments, as on the wire.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq([&Value::from(self.name.as_str())].into_iter().chain(&self.args))
    }
}

impl Event {
    pub fn arg(&self, index: usize) -> &Value {
        self.args.get(index).unwrap_or(&Value::Null)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// WebSocket close code, or the status that ended polling; 1006 for a bare end of stream.
    pub code: u16,
    pub why: String,
}

#[derive(Default)]
pub struct State {
    pub open: Option<Open>,
    pub connected: Option<sio::Packet>,
    pub events: Vec<Event>,
    /// The events that were sent as such.
    pub sent: Vec<Sent>,
    /// A Socket.IO DISCONNECT was sent.
    pub has_disconnected: bool,
    /// Something was sent raw that may have been an event.
    pub sent_raw: bool,
    pub acks: Vec<(u64, Value, Instant)>,
    pub others: Vec<sio::Packet>,
    pub engine: Vec<(Kind, String)>,
    pub binaries: Vec<Vec<u8>>,
    pub ending: Option<Ending>,
    /// Events before this index were consumed by a wait.
    pub cursor: usize,
    pub next_id: u64,
    pub polling_paused: bool,
    pub poll_in_flight: bool,
    /// A packet wrote the namespace `/`.
    pub is_root_named: bool,
}

/// How many of the things that came instead a timeout names, and how much of each.
const NAMED_MAX: usize = 4;
const NAMED_CHARS_MAX: usize = 160;

impl State {
    /// The Socket.IO id: from the CONNECT answer, or the engine's sid in protocol 3.
    pub fn id(&self) -> String {
        let given = self.connected.as_ref().and_then(|packet| packet.data.as_ref());
        match given.and_then(|data| data["sid"].as_str()) {
            Some(id) => id.to_owned(),
            None => self.open.as_ref().map(|open| open.sid.clone()).unwrap_or_default(),
        }
    }

    /// The first acknowledgement with this id.
    pub fn ack(&self, id: u64) -> Option<&(u64, Value, Instant)> {
        self.acks.iter().find(|(got, ..)| *got == id)
    }

    /// What has come that no wait has consumed, for the report of a wait that ended without its end.
    pub fn waiting(&self) -> String {
        let events = &self.events[self.cursor.min(self.events.len())..];
        let event = |event: &Event| {
            let args: Vec<String> = event.args.iter().map(Value::to_string).collect();
            format!("{}({})", event.name, args.join(","))
        };
        let ack = |(id, value, _): &(u64, Value, Instant)| format!("ack {id} {value}");
        let other = sio::encode;
        let acks = self.acks.len().saturating_sub(NAMED_MAX);
        let came: Vec<String> = (events.iter().map(event))
            .chain(self.acks[acks..].iter().map(ack))
            .chain(self.others.iter().map(other))
            .collect();
        if came.is_empty() {
            return "nothing had come".to_owned();
        }
        let named = came.iter().rev().take(NAMED_MAX).rev();
        let named: Vec<String> =
            named.map(|text| text.chars().take(NAMED_CHARS_MAX).collect()).collect();
        format!("of {} that had come, the last: {}", came.len(), named.join("; "))
    }

    pub fn take(&mut self, packet: sio::Packet) {
        let at = Instant::now();
        match packet.kind {
            sio::Kind::Connect if packet.namespace == "/" && self.connected.is_none() => {
                self.connected = Some(packet);
            }
            sio::Kind::Event => {
                if let Some((name, args)) = packet.as_event() {
                    let (name, args) = (name.to_owned(), args.to_vec());
                    self.events.push(Event { at, name, args, id: packet.id });
                }
            }
            sio::Kind::Ack if packet.namespace == "/" => {
                let id = packet.id.unwrap_or(u64::MAX);
                self.acks.push((id, packet.data.unwrap_or(Value::Null), at));
            }
            _ => self.others.push(packet),
        }
    }
}

//! A session at a room server of others: it joins, leaves and sends by the names of an events file.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use throng_codec::socket as sio;
use throng_events::{Emit, Events, Values};

use super::ClientError;
use super::options::Transport;
use super::shared::{Orders, Shared};
use super::socket::Socket;
use super::state::Event;
use crate::deliveries::{self, Act, Kind, Texts};
use crate::outcome::{Stop, fail};

/// Numbers the namespaces of fences.
static FENCES: AtomicU64 = AtomicU64::new(0);

pub struct Member {
    pub socket: Socket,
    /// The Socket.IO id.
    pub id: String,
    record: Arc<Record>,
    wait: Duration,
}

/// What a session did and received; it stays when the session is over.
pub struct Record {
    shared: Arc<Shared>,
    events: Arc<Events>,
    asked: Mutex<Vec<Asked>>,
    /// Of all sessions of the run.
    texts: Arc<Mutex<Texts>>,
}

struct Asked {
    kind: Kind,
    room: String,
    text: String,
    at: Instant,
    /// Of the acknowledgement.
    id: u64,
}

/// A message as it was delivered; `None` where the event has no place for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivered {
    pub room: Option<String>,
    pub sender: Option<String>,
    pub text: String,
}

/// The arguments of an acknowledgement, and whether they are a refusal.
#[derive(Clone, Debug)]
pub struct Answer {
    pub is_refused: bool,
    pub args: Vec<Value>,
}

impl Member {
    pub fn new(
        socket: Socket,
        events: Arc<Events>,
        texts: Arc<Mutex<Texts>>,
        wait: Duration,
    ) -> Member {
        let (id, shared) = (socket.id(), socket.shared());
        let record = Arc::new(Record { shared, events, asked: Mutex::default(), texts });
        Member { socket, id, record, wait }
    }

    pub fn record(&self) -> Arc<Record> {
        self.record.clone()
    }

    fn events(&self) -> &Events {
        &self.record.events
    }

    /// Joins, and returns when that is acknowledged.
    pub fn join(&self, room: &str) -> Result<Answer, Stop> {
        let id = self.send_join(room)?;
        self.answer(id)
    }

    pub fn send_join(&self, room: &str) -> Result<u64, ClientError> {
        self.emit(Kind::Join, &self.events().join, room, "")
    }

    /// Leaves, and returns when that is acknowledged.
    pub fn leave(&self, room: &str) -> Result<Answer, Stop> {
        let id = self.send_leave(room)?;
        self.answer(id)
    }

    pub fn send_leave(&self, room: &str) -> Result<u64, ClientError> {
        let leave = self.events().leave.as_ref();
        let leave = leave.ok_or_else(|| ClientError::Protocol("no event to leave".to_owned()))?;
        self.emit(Kind::Leave, leave, room, "")
    }

    /// Sends a message, and returns when that is acknowledged.
    pub fn say(&self, room: &str, text: &str) -> Result<Answer, Stop> {
        let id = self.send_text(room, text)?;
        self.answer(id)
    }

    pub fn send_text(&self, room: &str, text: &str) -> Result<u64, ClientError> {
        let mut texts = self.record.texts.lock().expect("no thread panics while it adds a text");
        texts.entry(text.to_owned()).or_default().insert(room.to_owned());
        drop(texts);
        self.emit(Kind::Say, &self.events().message, room, text)
    }

    fn emit(&self, kind: Kind, event: &Emit, room: &str, text: &str) -> Result<u64, ClientError> {
        let values = Values { room, text, member: &self.id };
        let at = Instant::now();
        let id = self.socket.emit_with_id(&event.name(&values), &event.args(&values))?;
        let asked = Asked { kind, room: room.to_owned(), text: text.to_owned(), at, id };
        self.record.asked.lock().expect("no thread panics while it adds a request").push(asked);
        Ok(id)
    }

    /// Waits for the acknowledgement of a request.
    pub fn answer(&self, id: u64) -> Result<Answer, Stop> {
        let args = self.socket.wait_ack_args(id, self.wait).or_else(|why| match why {
            ClientError::Timeout(why) => fail("EVT-1: the request is acknowledged", why),
            why => Err(why.into()),
        })?;
        Ok(Answer { is_refused: self.events().is_refused(&args), args })
    }

    /// Every message that was delivered, in order.
    pub fn deliveries(&self) -> Vec<Delivered> {
        self.socket.events().iter().filter_map(|event| self.record.delivered(event)).collect()
    }

    /// How often this text was delivered.
    pub fn count(&self, text: &str) -> usize {
        self.deliveries().iter().filter(|delivered| delivered.text == text).count()
    }

    /// Waits until a message with this text is delivered.
    pub fn wait_text(&self, text: &str) -> Result<Delivered, ClientError> {
        let shown: String = text.chars().take(40).collect();
        self.socket.wait_events(self.wait, &format!("the message {shown:?}"), |events| {
            let mut delivered = events.iter().filter_map(|event| self.record.delivered(event));
            delivered.find(|delivered| delivered.text == text)
        })
    }

    /// The ids of the last roster of the room, sorted; a roster that names no room counts for each.
    pub fn roster(&self, room: &str) -> Option<Vec<String>> {
        self.record.last_roster(&self.socket.events(), room)
    }

    /// Rosters so far, of this room or of no named one.
    pub fn roster_count(&self, room: &str) -> usize {
        let Some(roster) = &self.events().roster else { return 0 };
        let is_of_room = |event: &&Event| {
            let captured = roster.fit(&event.name, &event.args);
            captured.is_some_and(|captured| captured.room.is_none_or(|of| of == room))
        };
        self.socket.events().iter().filter(is_of_room).count()
    }

    /// Waits until the last roster of the room has exactly these ids.
    pub fn wait_roster(&self, room: &str, ids: &[String]) -> Result<(), ClientError> {
        self.socket.wait_events(self.wait, "a roster", |events| {
            (self.record.last_roster(events, room).as_deref() == Some(ids)).then_some(())
        })
    }

    /// Whether a roster says which room it is of.
    pub fn rosters_name_rooms(&self) -> bool {
        self.record.rosters_name_rooms()
    }

    /// The name of an event that holds the text, and is no delivery as the events file has it.
    pub fn unfit(&self, text: &str) -> Option<String> {
        let holds = |event: &Event| event.args.iter().any(|arg| holds_text(arg, text));
        let is_unfit = |event: &&Event| holds(event) && self.record.delivered(event).is_none();
        self.socket.events().iter().find(is_unfit).map(|event| event.name.clone())
    }

    /// The names of the events that are neither deliveries nor rosters as the events file has them.
    pub fn unnamed(&self) -> BTreeSet<String> {
        let roster = self.events().roster.as_ref();
        let is_roster = |event: &Event| {
            roster.is_some_and(|roster| roster.fit(&event.name, &event.args).is_some())
        };
        let events = self.socket.events();
        let others = events
            .iter()
            .filter(|event| !is_roster(event) && self.record.delivered(event).is_none());
        others.map(|event| event.name.clone()).collect()
    }

    /// Returns when all that was sent to this session before has arrived: an answer of Socket.IO itself, which no
    /// application sees, comes after it.
    pub fn fence(&self) -> Result<(), ClientError> {
        let namespace = format!("/fence{}", FENCES.fetch_add(1, Ordering::Relaxed));
        self.socket.send_message(format!("0{namespace},"))?;
        let is_answer = |packet: &sio::Packet| packet.namespace == namespace;
        self.socket.wait_packet(self.wait, "the refusal of a namespace", is_answer).map(drop)
    }
}

fn holds_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(list) => list.iter().any(|value| holds_text(value, text)),
        Value::Object(map) => map.values().any(|value| holds_text(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Record {
    fn rosters_name_rooms(&self) -> bool {
        self.events.roster.as_ref().is_some_and(throng_events::Received::names_room)
    }

    /// The Socket.IO id.
    pub fn id(&self) -> String {
        self.shared.state().id()
    }

    /// Whether the target knows the session as one that is still there; `None` if that is not certain.
    pub fn is_present(&self) -> Option<bool> {
        let state = self.shared.state();
        let is_left = state.has_disconnected;
        match (&state.ending, self.shared.orders()) {
            (None, Orders::Run) => Some(!is_left),
            (Some(_), _) if self.shared.options.transport == Transport::Websocket => Some(false),
            // Between two polls a server cannot detect the end, and a silent session ends when its heartbeat does.
            (Some(_), _) | (None, Orders::Mute | Orders::Cut | Orders::Stop) => None,
        }
    }

    /// The last roster that says what the room's is; `None` where the session receives none, or may mean another room.
    pub fn roster(&self, room: &str) -> Option<Vec<String>> {
        let asked = self.asked.lock().expect("no thread panics while it adds a request");
        let rooms: BTreeSet<&str> = asked.iter().map(|asked| asked.room.as_str()).collect();
        let is_certain = self.rosters_name_rooms() || rooms.len() == 1;
        is_certain.then(|| self.last_roster(&self.shared.state().events, room)).flatten()
    }

    fn delivered(&self, event: &Event) -> Option<Delivered> {
        let captured = self.events.heard.fit(&event.name, &event.args)?;
        Some(Delivered {
            room: captured.room.map(str::to_owned),
            sender: captured.members.first().map(|&id| id.to_owned()),
            text: captured.text?.to_owned(),
        })
    }

    fn last_roster(&self, events: &[Event], room: &str) -> Option<Vec<String>> {
        let roster = self.events.roster.as_ref()?;
        let captured = |event: &Event| {
            let captured = roster.fit(&event.name, &event.args)?;
            let is_of_room = captured.room.is_none_or(|of| of == room);
            is_of_room.then(|| captured.members.into_iter().map(str::to_owned).collect())
        };
        let mut ids: Vec<String> = events.iter().rev().find_map(captured)?;
        ids.sort();
        Some(ids)
    }

    /// Everything so far.
    pub fn session(&self, label: &str) -> deliveries::Session {
        let state = self.shared.state();
        let answer = |id| {
            let (_, args, at) = state.ack(id)?;
            let args = args.as_array().map_or(&[][..], Vec::as_slice);
            Some(deliveries::Answer { at: *at, is_refused: self.events.is_refused(args) })
        };
        let asked = self.asked.lock().expect("no thread panics while it adds a request");
        let act = |asked: &Asked| Act {
            kind: asked.kind,
            room: asked.room.clone(),
            text: asked.text.clone(),
            at: asked.at,
            answer: answer(asked.id),
        };
        let received = state.events.iter().filter_map(|event| {
            let text = self.delivered(event)?.text;
            Some(deliveries::Received { text, at: event.at })
        });
        deliveries::Session {
            label: label.to_owned(),
            acts: asked.iter().map(act).collect(),
            received: received.collect(),
        }
    }
}

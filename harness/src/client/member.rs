//! A session at a room server of others: it joins, leaves and sends by the names of an events file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use throng_codec::socket as sio;
use throng_events::{Emit, Events, Values};

use super::ClientError;
use super::socket::Socket;
use super::state::Event;

/// Numbers the namespaces of fences.
static FENCES: AtomicU64 = AtomicU64::new(0);

pub struct Member {
    pub socket: Socket,
    /// The Socket.IO id.
    pub id: String,
    events: Arc<Events>,
    wait: Duration,
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
    pub fn new(socket: Socket, events: Arc<Events>, wait: Duration) -> Member {
        let id = socket.id();
        Member { socket, id, events, wait }
    }

    /// Joins, and returns when that is acknowledged.
    pub fn join(&self, room: &str) -> Result<Answer, ClientError> {
        let id = self.send_join(room)?;
        self.answer(id)
    }

    pub fn send_join(&self, room: &str) -> Result<u64, ClientError> {
        self.emit(&self.events.join, room, "")
    }

    /// Leaves, and returns when that is acknowledged.
    pub fn leave(&self, room: &str) -> Result<Answer, ClientError> {
        let id = self.send_leave(room)?;
        self.answer(id)
    }

    pub fn send_leave(&self, room: &str) -> Result<u64, ClientError> {
        let leave = self.events.leave.as_ref();
        let leave = leave.ok_or_else(|| ClientError::Protocol("no event to leave".to_owned()))?;
        self.emit(leave, room, "")
    }

    /// Sends a message, and returns when that is acknowledged.
    pub fn say(&self, room: &str, text: &str) -> Result<Answer, ClientError> {
        let id = self.send_text(room, text)?;
        self.answer(id)
    }

    pub fn send_text(&self, room: &str, text: &str) -> Result<u64, ClientError> {
        self.emit(&self.events.message, room, text)
    }

    fn emit(&self, event: &Emit, room: &str, text: &str) -> Result<u64, ClientError> {
        let values = Values { room, text, member: &self.id };
        self.socket.emit_with_id(&event.name(&values), &event.args(&values))
    }

    /// Waits for the acknowledgement of a request.
    pub fn answer(&self, id: u64) -> Result<Answer, ClientError> {
        let args = self.socket.wait_ack_args(id, self.wait)?;
        Ok(Answer { is_refused: self.events.is_refused(&args), args })
    }

    /// Every message that was delivered, in order.
    pub fn deliveries(&self) -> Vec<Delivered> {
        self.socket.events().iter().filter_map(|event| self.delivered(event)).collect()
    }

    fn delivered(&self, event: &Event) -> Option<Delivered> {
        let captured = self.events.heard.fit(&event.name, &event.args)?;
        Some(Delivered {
            room: captured.room.map(str::to_owned),
            sender: captured.members.first().map(|&id| id.to_owned()),
            text: captured.text?.to_owned(),
        })
    }

    /// How often this text was delivered.
    pub fn count(&self, text: &str) -> usize {
        self.deliveries().iter().filter(|delivered| delivered.text == text).count()
    }

    /// Waits until a message with this text is delivered.
    pub fn wait_text(&self, text: &str) -> Result<Delivered, ClientError> {
        let shown: String = text.chars().take(40).collect();
        self.socket.wait_events(self.wait, &format!("the message {shown:?}"), |events| {
            let mut delivered = events.iter().filter_map(|event| self.delivered(event));
            delivered.find(|delivered| delivered.text == text)
        })
    }

    /// The ids of the last roster of the room, sorted; a roster that names no room counts for each.
    pub fn roster(&self, room: &str) -> Option<Vec<String>> {
        self.last_roster(&self.socket.events(), room)
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

    /// Rosters so far, of this room or of no named one.
    pub fn roster_count(&self, room: &str) -> usize {
        let Some(roster) = &self.events.roster else { return 0 };
        let is_of_room = |event: &&Event| {
            let captured = roster.fit(&event.name, &event.args);
            captured.is_some_and(|captured| captured.room.is_none_or(|of| of == room))
        };
        self.socket.events().iter().filter(is_of_room).count()
    }

    /// Waits until the last roster of the room has exactly these ids.
    pub fn wait_roster(&self, room: &str, ids: &[String]) -> Result<(), ClientError> {
        self.socket.wait_events(self.wait, "a roster", |events| {
            (self.last_roster(events, room).as_deref() == Some(ids)).then_some(())
        })
    }

    /// Whether a roster says which room it is of.
    pub fn rosters_name_rooms(&self) -> bool {
        self.events.roster.as_ref().is_some_and(throng_events::Received::names_room)
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

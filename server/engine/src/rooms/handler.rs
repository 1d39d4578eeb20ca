//! What an application of named rooms says about events, and what it may do.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use throng_wire::{sio, ws};

use super::edge::Edge;
use crate::ids::SessionId;
use crate::sessions::{CloseReason, Engine};

/// Gives events their meaning. One value per shard, made by cloning the one in
/// [`super::Settings`].
///
/// Nothing here may wait: work that takes longer than a millisecond holds up the whole shard. A panic
/// ends the server, so that it is not run on with a broken state. Fields of the handler are one
/// shard's own: state that clients of several shards share belongs behind a lock of the application.
pub trait Handler: Clone + Send + Sync + 'static {
    /// A client connected the namespace `/`.
    fn connected(&mut self, socket: &mut Socket<'_>) {
        let _ = socket;
    }

    /// A client sent an event.
    fn event(&mut self, socket: &mut Socket<'_>, event: Event<'_>);

    /// A client is leaving the namespace, or its session has ended. It is still in
    /// [`Socket::rooms`] and is removed from them after this call.
    fn disconnecting(&mut self, socket: &mut Socket<'_>) {
        let _ = socket;
    }
}

/// Whether and under which id a client waits for an answer to an event.
pub type Ack = Option<u64>;

/// One event of a client.
#[derive(Debug)]
pub struct Event<'a> {
    pub(super) parsed: sio::Event<'a>,
    pub(super) ack: Ack,
    pub(super) attachments: &'a [Bytes],
}

impl Event<'_> {
    /// The event's name.
    pub fn name(&self) -> &str {
        &self.parsed.name
    }

    /// The arguments behind the name, as a tuple: `event.args::<(String, u32)>()`.
    ///
    /// # Errors
    /// When the arguments are not of these types, or not as many.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&format!("[{}]", self.parsed.args))
    }

    /// Binary attachments, in the order of their placeholders.
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments
    }

    /// What [`Socket::ack`] and [`Room::ack`] answer.
    pub fn ack(&self) -> Ack {
        self.ack
    }
}

/// A connected client, for the length of one call of the [`Handler`].
pub struct Socket<'a> {
    pub(super) session: SessionId,
    pub(super) id: &'a str,
    pub(super) engine: &'a mut Engine,
    pub(super) edge: &'a mut Edge,
}

impl Socket<'_> {
    /// The Socket.IO id, as the client knows it: `socket.id`. A client of Engine.IO 3 uses its
    /// session id for it, which authorises polling requests: do not send that to others where such
    /// clients are not trusted.
    pub fn id(&self) -> &str {
        self.id
    }

    /// Sends an event with one argument to this client.
    ///
    /// # Panics
    /// When `data` has no JSON: a map whose keys are not strings.
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        let mut packet = String::new();
        sio::put_event(&mut packet, "/", None, name, &[&json(&data)]);
        self.engine.emit_event(self.session, &packet);
    }

    /// Answers an event at once; nothing happens when the client asked for no answer.
    ///
    /// # Panics
    /// When `data` has no JSON: a map whose keys are not strings.
    pub fn ack(&mut self, ack: Ack, data: impl Serialize) {
        if let Some(packet) = ack_packet(ack, &data) {
            self.engine.emit_event(self.session, &packet);
        }
    }

    /// The rooms that the client is in, or has asked to join.
    pub fn rooms(&self) -> Vec<String> {
        self.edge.rooms_of(self.session)
    }

    /// Whether the client is in the room, or has asked to join it.
    pub fn is_in(&self, room: &str) -> bool {
        self.edge.is_in(self.session, room)
    }

    /// A room. What one client does with a room happens in the order in which it is done. What
    /// clients of different shards do gets one order for all members: that in which it reaches the
    /// room's home, which is not always the order in which their handlers ran.
    pub fn room<'r>(&'r mut self, name: &'r str) -> Room<'r> {
        Room { session: self.session, name, edge: self.edge }
    }

    /// Disconnects the client: it reports `io server disconnect` and does not come back by itself.
    pub fn disconnect(&mut self) {
        let mut packet = String::new();
        sio::put_disconnect(&mut packet, "/");
        self.engine.emit_event(self.session, &packet);
        self.engine.end(self.session, CloseReason::ServerDisconnect);
    }
}

/// A room and the client that acts on it.
pub struct Room<'a> {
    session: SessionId,
    name: &'a str,
    edge: &'a mut Edge,
}

impl Room<'_> {
    /// Lets the client in. False if it is in already, in too many rooms, or the name is too long
    /// (see [`super::Settings`]).
    pub fn join(&mut self) -> bool {
        self.edge.join(self.session, self.name)
    }

    /// Takes the client out. False if it is not in.
    pub fn leave(&mut self) -> bool {
        self.edge.leave(self.session, self.name)
    }

    /// Sends an event with one argument to every member, the client included if it is one.
    ///
    /// # Panics
    /// When `data` has no JSON: a map whose keys are not strings.
    pub fn emit(&mut self, name: &str, data: impl Serialize) {
        let mut packet = String::new();
        sio::put_event(&mut packet, "/", None, name, &[&json(&data)]);
        self.edge.emit(self.name, ws::text_frame(&packet));
    }

    /// Answers an event of the client once everything done with the room before has taken effect.
    ///
    /// # Panics
    /// When `data` has no JSON: a map whose keys are not strings.
    pub fn ack(&mut self, ack: Ack, data: impl Serialize) {
        if let Some(packet) = ack_packet(ack, &data) {
            self.edge.ack(self.session, self.name, packet);
        }
    }
}

fn ack_packet(ack: Ack, data: &impl Serialize) -> Option<String> {
    let mut packet = String::new();
    sio::put_ack(&mut packet, "/", ack?, &json(data));
    Some(packet)
}

/// # Panics
/// When the value has no JSON: a map whose keys are not strings.
fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("an application sends values that have JSON")
}
